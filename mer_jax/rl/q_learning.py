"""Deep Q-learning, with uniform replay or with Meta-Experience Replay."""

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
    """Deep Q-learning (DQN): one optimizer step per frame on the mean loss of a batch of replays.

    Args:
      model: a `q_network`, or a `Model` of your own with a `q_loss`.
      optimizer: any optax transformation.
      batch_size: transitions per batch. It is smaller while `memory` holds fewer.
      memory: a `reservoir` or a `fifo`.
      discount: discount factor of future rewards, in [0, 1]. May be traced.
      epsilon: `epsilon(step) -> []`, probability of a random action, such as an optax schedule.
      target_every: number of frames between two updates of the target network.
      augment: `augment(key, transition) -> transition`, drawn anew for each replay.
    Returns:
      An `Agent`.
    Raises:
      ValueError: If an argument is out of its range or of the wrong type.
    Example:
      >>> from mer_jax.rl import fifo, q_loss
      >>> def init(key):
      ...     return {"w": 0.1 * jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}
      >>> def apply(params, obs, task=None):
      ...     return obs @ params["w"] + params["b"]
      >>> agent = dqn(
      ...     Model(init, apply, q_loss(apply)), optimizer=optax.adam(1e-3), batch_size=32,
      ...     memory=fifo(1000), discount=0.99, epsilon=lambda step: 0.1, target_every=100,
      ... )
      >>> one = Transition(jnp.ones(4), jnp.int32(2), jnp.float32(1), jnp.ones(4), jnp.bool_(False))
      >>> state = agent.init(init(jax.random.key(0)), one)
      >>> state, info = agent.update(jax.random.key(1), state, one)
      >>> print(state.step, info.loss.shape)
      1 ()

    References:
      Mnih et al. (2015), "Human-level control through deep reinforcement learning", algorithm 1.
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
    """Deep Q-learning with Meta-Experience Replay (DQN-MER).

    After each frame it draws `num_batches` batches. Each batch consists of the newest transition
    and `batch_size - 1` replays from a reservoir. Each transition of a batch is one SGD step.
    Reptile interpolates after each batch with `beta` and after all batches with `gamma`. With a
    single batch only the product of `beta` and `gamma` matters. If it is 1, this is DQN with one
    step per transition.

    Args:
      model, discount, epsilon, target_every: see `dqn`.
      alpha, beta, gamma, num_batches, batch_size, capacity: see `mer_jax.mer`.
      augment: see `dqn`. The newest transition is augmented as well, anew in each batch.
    Returns:
      An `Agent` with state `AgentState`.
    Raises:
      ValueError: If an argument is out of its range or of the wrong type.
    References:
      Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and
      Minimizing Interference".
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
