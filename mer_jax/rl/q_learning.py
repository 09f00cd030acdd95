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
from mer_jax.losses import mean_gradient
from mer_jax.networks import Model
from mer_jax.replay.batches import replay_batches
from mer_jax.replay.reservoir import Reservoir, reservoir
from mer_jax.rl._q_agent import Judge, Learn, Learned, q_agent
from mer_jax.rl.agent import Agent, AgentState, Transition
from mer_jax.steps.mer_update import mer_rates, mer_update


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
      batch_size: number of transitions per batch. It is smaller while `memory` holds fewer.
      memory: a `reservoir` or a `fifo`. The newest transition is stored before the batch is drawn.
      discount: discount factor of future rewards, in [0, 1]. May be traced.
      epsilon: `epsilon(step) -> []`, probability of a random action, such as an optax schedule.
      target_every: number of frames between two updates of the target network.
      augment: `augment(key, transition) -> transition`, with a new key for each replay.
    Returns:
      An `Agent` with state `AgentState`. `info.loss` is the newest transition's, before the update.
    Raises:
      ValueError: If an argument is out of its range or of the wrong type.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax.rl import Transition, dqn, fifo, q_network
      >>> model = q_network((4, 3))
      >>> agent = dqn(
      ...     model, optimizer=optax.adam(1e-3), batch_size=32, memory=fifo(1000),
      ...     discount=0.99, epsilon=lambda step: 0.1, target_every=100,
      ... )
      >>> one = Transition(jnp.ones(4), jnp.int32(2), jnp.float32(1), jnp.ones(4), jnp.bool_(False))
      >>> state = agent.init(model.init(jax.random.key(0)), one)
      >>> state, info = jax.jit(agent.update)(jax.random.key(1), state, one)
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

    After each frame the newest transition is offered to a reservoir. The agent then trains on
    `num_batches` batches. A batch is the newest transition, then up to `batch_size - 1` replays,
    which may repeat it. SGD takes one step on each transition. A Reptile step with rate `beta`
    follows each batch. In the end, one with rate `gamma` goes from the parameters before the frame
    towards those after the last batch.
    With a single batch only the product of `beta` and `gamma` matters.

    Args:
      model, discount, epsilon, target_every: see `dqn`.
      alpha: learning rate of the SGD steps, at least 0. All three rates may be traced.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
      num_batches: s, number of batches per frame.
      batch_size: k, number of transitions in a batch, the newest one included.
      capacity: |M|, number of transitions that the reservoir holds.
      augment: see `dqn`. The newest transition is augmented as well, with a new key in each batch.
    Returns:
      An `Agent` with state `AgentState`. `info.loss` is the newest transition's, before the update.
    Raises:
      ValueError: If an argument is out of its range or of the wrong type.
    Example:
      >>> import jax
      >>> from mer_jax.rl import Catcher, dqn_mer, play, q_network, start
      >>> env, model, keys = Catcher(), q_network((4, 3)), jax.random.split(jax.random.key(0), 3)
      >>> agent = dqn_mer(
      ...     model, alpha=0.1, beta=0.1, gamma=1.0, num_batches=1, batch_size=8, capacity=100,
      ...     discount=0.99, epsilon=lambda step: 0.1, target_every=100,
      ... )
      >>> state = start(keys[1], agent, env, env.default_params, model.init(keys[0]))
      >>> state, info = play(keys[2], agent, env, env.default_params, state, num_frames=3)
      >>> print(info.loss.shape)
      (3,)

    References:
      Riemer et al. (2019), DQN-MER.
    """
    num_batches = _checks.positive_int("num_batches", num_batches)
    batch_size = _checks.positive_int("batch_size", batch_size)
    rates = mer_rates(alpha, beta, gamma)
    learn = _mer_learning(model, rates, num_batches, batch_size, augment)
    return q_agent(
        model, learn, memory=reservoir(capacity), start_optimizer=lambda learned: (),
        discount=discount, epsilon=epsilon, target_every=target_every,
    )  # fmt: skip


def _mer_learning(
    model: Model, rates: dict[str, Any], num_batches: int, batch_size: int, augment: Augment | None
) -> Learn:
    """The learning rule of `dqn_mer`."""

    def learn(key: jax.Array, state: AgentState, newest: Transition, judge: Judge) -> Learned:
        batches, weights = replay_batches(key, state.memory, newest, num_batches, batch_size)
        shown = augmented(augment, key, batches, 2)
        judged = jax.vmap(judge, (None, 0))(state.target, shown)
        learned, loss_fn = wide(state.params, state.master), on_wide(model.loss, state.params)
        learned, _ = mer_update(loss_fn, learned, judged, weights, **rates)
        return rounded(learned, state.params), master_of(learned, state.params), state.opt_state

    return learn
