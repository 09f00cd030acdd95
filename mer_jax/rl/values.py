"""Networks of action values, their loss and their greedy policy."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import networks
from mer_jax.networks import Model
from mer_jax.types import LossFn, Params


class Judged(NamedTuple):
    """An example for the Q-learning loss, with the target value of one action.

    x: the observation, `[d]` for a `q_network`.
    action: `[]` int32, the chosen action.
    target: `[]` float32, the value that the network should give `action` at `x`.
    """

    x: Any
    action: Any
    target: Any


def q_network(sizes: Sequence[int]) -> Model:
    """Fully connected network of action values, with ReLU units and the Huber loss.

    Args:
      sizes: length of an observation, units of each hidden layer, number of actions. For example,
        `(4, 64, 3)` has one hidden layer.
    Returns:
      A `Model`. `apply(params, obs, task=None)` gives one value for each action.
      `loss(params, judged)` is the Huber loss of the value of `judged.action` at the observation
      `judged.x`. `judged` is a `Judged`, which has the target of that value.
    Raises:
      ValueError: If `sizes` has fewer than two entries. If an entry is not a whole number of at
        least 1.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.rl import q_network
      >>> model = q_network((4, 64, 3))
      >>> print(model.apply(model.init(jax.random.key(0)), jnp.zeros(4)))
      [0. 0. 0.]
    """
    return networks.mlp(sizes, _huber)


def q_loss(apply: Callable[[Params, Any, Any], jax.Array]) -> LossFn:
    """Huber loss of action values, for a network of your own.

    The loss compares the value of the chosen action with its target. It is `d^2 / 2` up to a
    difference d of 1, then linear.

    Args:
      apply: `apply(params, obs, task) -> [num_actions]`, the action values of one observation. The
        loss and the agents pass `task=None`.
    Returns:
      `loss(params, judged) -> []`, on one `Judged` with the fields `x`, `action` and `target`.
      `Model(init, apply, q_loss(apply))` is a model for `dqn`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.networks import Model
      >>> from mer_jax.rl import Judged, q_loss
      >>> def init(key):
      ...     return jnp.zeros((4, 3))  # three actions
      >>> def apply(params, obs, task=None):
      ...     return obs @ params
      >>> model = Model(init, apply, q_loss(apply))
      >>> judged = Judged(x=jnp.ones(4), action=jnp.int32(2), target=jnp.float32(0.5))
      >>> print(model.loss(model.init(jax.random.key(0)), judged))
      0.125

    References:
      Mnih et al. (2015), "Human-level control through deep reinforcement learning".
    """

    def loss(params: Params, judged: Judged) -> jax.Array:
        return _huber(apply(params, judged.x, None), judged)

    return loss


def greedy(model: Model, params: Params) -> Callable[[jax.Array], jax.Array]:
    """Greedy policy of a network, for `evaluate`.

    Args:
      model: a `q_network`, or a network of your own, see `dqn`.
      params: the parameters, such as `state.agent.params` after `play`.
    Returns:
      `policy(obs) -> action`, `[]` int32. It takes the action with the largest value, and the first
      of equal ones.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.rl import greedy, q_network
      >>> model = q_network((4, 8, 3))
      >>> policy = greedy(model, model.init(jax.random.key(0)))
      >>> print(policy(jnp.zeros(4)))  # All values are 0, so it is the first action.
      0
    """

    def policy(obs: jax.Array) -> jax.Array:
        return jnp.argmax(model.apply(params, obs, None)).astype(jnp.int32)

    return policy


def _huber(values: jax.Array, judged: Judged) -> jax.Array:
    # A sum rather than an index, whose gradient loses the sharding of the seeds in newer JAX.
    is_taken = jnp.arange(values.shape[-1], dtype=jnp.int32) == judged.action
    value = jnp.where(is_taken, values, 0).sum().astype(judged.target.dtype)
    return optax.losses.huber_loss(value, judged.target)
