"""Networks of action values, and their loss."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import networks
from mer_jax.networks import Model
from mer_jax.types import LossFn, Params


class Judged(NamedTuple):
    """An example for the loss of Q-learning: the value of `action` at `x` should be `target`.

    x: an observation, `[d]` for a `q_network`; action: `[]` int32; target: `[]` float32.
    """

    x: Any
    action: Any
    target: Any


def q_network(sizes: Sequence[int]) -> Model:
    """An MLP that values actions; its loss is Huber's, on a `Judged`.

    Args:
      sizes: the length of an observation, of each hidden layer, and the number of actions.
    Raises:
      ValueError: if `sizes` has fewer than two entries or one that is not a whole number >= 1.
    """
    return networks.mlp(sizes, _huber)


def q_loss(apply: Callable[[Params, Any, Any], jax.Array]) -> LossFn:
    """Huber's loss on a `Judged`, for a network of your own.

    For a Flax module, `apply` is `lambda params, obs, task=None: module.apply(params, obs)`, and
    the model's `init` is `lambda key: module.init(key, obs)`.

    Args:
      apply: `apply(params, obs, None) -> [num_actions]`, the value of each action for one
        observation. The third argument is the task, which an agent is not told.
    Returns:
      `loss(params, judged) -> []`; with it `Model(init, apply, q_loss(apply))` is a model for
      `dqn`, which shows an example.
    """

    def loss(params: Params, judged: Judged) -> jax.Array:
        return _huber(apply(params, judged.x, None), judged)

    return loss


def greedy(model: Model, params: Params) -> Callable[[jax.Array], jax.Array]:
    """The policy that takes the action with the largest value, for `evaluate`.

    >>> model = q_network((4, 8, 3))
    >>> policy = greedy(model, model.init(jax.random.key(0)))
    >>> print(policy(jnp.zeros(4)))
    0

    Args:
      model: a `q_network`, or a network of your own, see `dqn`.
      params: its parameters, such as `state.agent.params` after `play`.
    Returns:
      `policy(obs) -> action`, `[]` int32. Of equal values the first action is taken.
    """

    def policy(obs: jax.Array) -> jax.Array:
        return jnp.argmax(model.apply(params, obs, None)).astype(jnp.int32)

    return policy


def _huber(values: jax.Array, judged: Judged) -> jax.Array:
    value = values[judged.action].astype(judged.target.dtype)
    return optax.losses.huber_loss(value, judged.target)
