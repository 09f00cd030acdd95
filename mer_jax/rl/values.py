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
    action: `[]` int32.
    target: `[]` float32, the value that the network should give `action` at `x`.
    """

    x: Any
    action: Any
    target: Any


def q_network(sizes: Sequence[int]) -> Model:
    """A multilayer perceptron of action values, with the Huber loss.

    Args:
      sizes: length of an observation, units of each hidden layer, number of actions. For example,
        `(4, 64, 3)` has one hidden layer.
    Returns:
      A `Model`. Its `apply` gives one value for each action. Its `loss` takes a `Judged`.
    Raises:
      ValueError: If `sizes` has fewer than two entries, or an entry that is not a whole number of
        at least 1.
    """
    return networks.mlp(sizes, _huber)


def q_loss(apply: Callable[[Params, Any, Any], jax.Array]) -> LossFn:
    """The Huber loss of action values, for your own network.

    Args:
      apply: `apply(params, obs, task) -> [num_actions]`, the action values of one observation.
        Agents have no task ids, so `task` is None.
    Returns:
      `loss(params, judged) -> []`, on one `Judged`. `Model(init, apply, q_loss(apply))` is a model
      for `dqn`.
    Example:
      >>> from flax import linen as nn
      >>> module = nn.Dense(3)  # three actions
      >>> def init(key):
      ...     return module.init(key, jnp.zeros(4))
      >>> def apply(params, obs, task=None):
      ...     return module.apply(params, obs)
      >>> model = Model(init, apply, q_loss(apply))
      >>> params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
      >>> print(model.loss(params, Judged(jnp.ones(4), jnp.int32(2), jnp.float32(0.5))))
      0.125
    """

    def loss(params: Params, judged: Judged) -> jax.Array:
        return _huber(apply(params, judged.x, None), judged)

    return loss


def greedy(model: Model, params: Params) -> Callable[[jax.Array], jax.Array]:
    """The greedy policy of a network, for `evaluate`.

    Args:
      model: a `q_network`, or a network of your own, see `dqn`.
      params: the parameters, such as `state.agent.params` after `play`.
    Returns:
      `policy(obs) -> action`, `[]` int32. It takes the action with the largest value, and the first
      of equal ones.
    Example:
      >>> model = q_network((4, 8, 3))
      >>> policy = greedy(model, model.init(jax.random.key(0)))
      >>> print(policy(jnp.zeros(4)))
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
