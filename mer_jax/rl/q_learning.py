"""Deep Q-learning, and the same with Meta-Experience Replay.

Source: Mnih et al. (Nature 2015), "Human-level control through deep reinforcement learning".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers
from mer_jax._precision import master_of, on_wide, rounded, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.learners.mer import mer_update
from mer_jax.losses import mean_gradient
from mer_jax.networks import Model
from mer_jax.replay.batches import replay_batches
from mer_jax.replay.reservoir import Reservoir, reservoir
from mer_jax.rl._q_agent import Judge, Learned, q_agent
from mer_jax.rl.agent import Agent, AgentState, Transition


def dqn(
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    memory: Reservoir,
    discount: Any,
    epsilon: Callable[[jax.Array], Any],
    target_every: int,
    augment: Augment | None = None,
) -> Agent:
    """Deep Q-learning: after each frame one step on the mean loss of a batch of replays.

    A network of your own is a `Model` of three functions, here one layer in plain JAX:

    >>> from mer_jax.rl import fifo, q_loss
    >>> def init(key):
    ...     return {"w": 0.1 * jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}
    >>> def apply(params, obs, task=None):
    ...     return obs @ params["w"] + params["b"]
    >>> agent = dqn(
    ...     Model(init, apply, q_loss(apply)), optimizer=optax.adam(1e-3), batch_size=32,
    ...     memory=fifo(1000), discount=0.99, epsilon=optax.linear_schedule(1.0, 0.1, 1000),
    ...     target_every=100,
    ... )
    >>> seen = Transition(jnp.ones(4), jnp.int32(2), jnp.float32(1), jnp.ones(4), jnp.bool_(False))
    >>> state = agent.init(init(jax.random.key(0)), seen)
    >>> state, info = agent.update(jax.random.key(1), state, seen)
    >>> print(state.step, info.loss.shape)
    1 ()

    Args:
      model: a `q_network`, or a network of your own with a `q_loss`.
      optimizer: any optax transformation.
      batch_size: transitions replayed for each frame; fewer while there are not as many.
      memory: a `reservoir`, or a `fifo`.
      discount: of what the next frame is worth, in [0, 1]; may be traced.
      epsilon: `epsilon(step) -> []`, how often to play at random; an optax schedule.
      target_every: frames between two copies of the network into the target network.
      augment: `augment(key, transition) -> transition`, applied with a new key to each transition
        each time it is trained on, and not to what is stored nor to `info.loss`. None for none.
    Raises:
      ValueError: if a size or a rate makes no sense.
    Source: Mnih et al. (2015), algorithm 1.
    """
    optimizer = _checks.optimizer(optimizer)
    batch_size = _checks.positive_int("batch_size", batch_size)

    def learn(key: jax.Array, state: AgentState, newest: Transition, judge: Judge) -> Learned:
        batch, valid = memory.sample(key, state.memory, batch_size)
        shares = valid.astype(float) / jnp.maximum(valid.sum(), 1).astype(float)
        judged = judge(state.target, augmented(augment, key, batch, 1))
        learned, loss_fn = wide(state.params, state.master), on_wide(model.loss, state.params)
        grads = mean_gradient(loss_fn, learned, judged, shares)
        return _optimizers.descend(optimizer, grads, state.opt_state, learned, state.params)

    return q_agent(
        model, learn, memory=memory, start_optimizer=partial(_optimizers.start, optimizer),
        discount=discount, epsilon=epsilon, target_every=target_every,
    )  # fmt: skip


def dqn_mer(
    model: Model,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
    num_batches: int,
    batch_size: int,
    capacity: int,
    discount: Any,
    epsilon: Callable[[jax.Array], Any],
    target_every: int,
    augment: Augment | None = None,
) -> Agent:
    """Deep Q-learning whose replay is Meta-Experience Replay, as in algorithm 1.

    After each frame `num_batches` batches are drawn, each with the newest transition first and then
    `batch_size - 1` replays of a reservoir; each transition is one SGD step.

    Args:
      alpha, beta, gamma, num_batches, batch_size, capacity: see `mer_jax.mer`. With a single
        batch only the product of beta and gamma counts; where it is 1 nothing is pulled back, and
        this is DQN with one step a transition.
      model, discount, epsilon, target_every, augment: see `dqn`. The newest transition, too, is
        augmented anew in each batch.
    Raises:
      ValueError: if a size or a rate makes no sense.
    """
    num_batches = _checks.positive_int("num_batches", num_batches)
    batch_size = _checks.positive_int("batch_size", batch_size)
    rates = dict(
        alpha=_checks.rate("alpha", alpha),
        beta=_checks.rate("beta", beta, largest=1),
        gamma=_checks.rate("gamma", gamma, largest=1),
    )

    def learn(key: jax.Array, state: AgentState, newest: Transition, judge: Judge) -> Learned:
        batches, weights = replay_batches(key, state.memory, newest, num_batches, batch_size)
        shown = augmented(augment, key, batches, 2)
        judged = jax.vmap(judge, (None, 0))(state.target, shown)
        learned, loss_fn = wide(state.params, state.master), on_wide(model.loss, state.params)
        learned, _ = mer_update(loss_fn, learned, judged, weights, **rates)
        return rounded(learned, state.params), master_of(learned, state.params), state.opt_state

    return q_agent(
        model, learn, memory=reservoir(capacity), start_optimizer=lambda learned: (),
        discount=discount, epsilon=epsilon, target_every=target_every,
    )  # fmt: skip
