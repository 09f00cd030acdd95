"""Deep Q-learning (Mnih et al., Nature 2015), and the same with Meta-Experience Replay."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax.custom_batching import custom_vmap

from mer_jax import _checks, _optimizers
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, rounded, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.learners.mer import mer_update
from mer_jax.losses import mean_gradient
from mer_jax.networks import Model
from mer_jax.replay.reservoir import Reservoir, ReservoirState, replay_batches, reservoir
from mer_jax.rl.values import Judged
from mer_jax.types import Info, Params, as_state, exportable


@exportable
class Transition(NamedTuple):
    """One frame; a leading axis makes it a batch.

    obs, next_obs: `[d]` float32, before and after; of a frame that a time limit cut short, too.
    action: `[]` int32. reward: `[]` float32.
    terminal: `[]` bool, whether the game is over, so that nothing can follow.
    """

    obs: Any
    action: Any
    reward: Any
    next_obs: Any
    terminal: Any


@exportable
class AgentState(NamedTuple):
    """params: the network Q; target: an earlier copy of it; opt_state: the optimizer's.

    memory: the stored transitions; step: `[]` int32, frames learned from.
    master: float32 copies of the params of fewer than 32 bits, None for the others.
    """

    params: Params
    target: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array
    master: Params = None


class Init(Protocol):
    """Signature of `Agent.init`."""

    def __call__(self, params: Params, transition: Transition) -> AgentState: ...


class Act(Protocol):
    """Signature of `Agent.act`."""

    def __call__(self, key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array: ...


class Update(Protocol):
    """Signature of `Agent.update`."""

    def __call__(
        self, key: jax.Array, state: AgentState, transition: Transition
    ) -> tuple[AgentState, Info]: ...


class Values(Protocol):
    """Signature of `Agent.values`."""

    def __call__(self, params: Params, obs: Any) -> jax.Array: ...


class Agent(NamedTuple):
    """A player that learns, as pure functions.

    init: `init(params, transition) -> state`; of `transition` only shapes and dtypes are read.
    act: `act(key, state, obs) -> action []`.
    update: `update(key, state, transition) -> (state, info)`, after one frame; info has `.loss`.
    values: `values(params, obs) -> [num_actions]`, by which `start` checks the network; None for
      an agent that has no such values.
    """

    init: Init
    act: Act
    update: Update
    values: Values | None = None


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

    For a Flax module, `init` is `lambda key: module.init(key, obs)` and `apply` is
    `lambda params, obs, task=None: module.apply(params, obs)`.

    Args:
      model: a `q_network`, or a network of your own: `apply(params, obs, None) -> [num_actions]`
        and `loss(params, judged) -> []`, see `q_loss`. One observation, without a batch axis.
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
    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning",
      algorithm 1.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    optimizer = _checks.optimizer(optimizer)
    judge = _judging(model, discount)

    def learn(key: jax.Array, state: AgentState, newest: Transition) -> tuple[Any, ...]:
        batch, valid = memory.sample(key, state.memory, batch_size)
        shares = valid.astype(float) / jnp.maximum(valid.sum(), 1).astype(float)
        judged = judge(state.target, augmented(augment, key, batch, 1))
        learned, loss_fn = wide(state.params, state.master), on_wide(model.loss, state.params)
        grads = mean_gradient(loss_fn, learned, judged, shares)
        return _optimizers.descend(optimizer, grads, state.opt_state, learned, state.params)

    def init_optimizer(learned: Params) -> optax.OptState:
        return _optimizers.start(optimizer, learned)

    return _agent(model, judge, learn, memory, init_optimizer, epsilon, target_every)


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
    judge = _judging(model, discount)

    def learn(key: jax.Array, state: AgentState, newest: Transition) -> tuple[Any, ...]:
        batches, weights = replay_batches(key, state.memory, newest, num_batches, batch_size)
        shown = augmented(augment, key, batches, 2)
        judged = jax.vmap(judge, (None, 0))(state.target, shown)
        learned, loss_fn = wide(state.params, state.master), on_wide(model.loss, state.params)
        learned, _ = mer_update(loss_fn, learned, judged, weights, **rates)
        return rounded(learned, state.params), master_of(learned, state.params), state.opt_state

    memory = reservoir(capacity)
    return _agent(model, judge, learn, memory, lambda params: (), epsilon, target_every)


@custom_vmap
def _once(step: jax.Array) -> jax.Array:
    """1, which the compiler cannot know, unless under a `vmap`."""
    return (step >= 0).astype(jnp.int32)


@_once.def_vmap
def _once_for_all(
    axis_size: int, in_batched: list[bool], step: jax.Array
) -> tuple[jax.Array, bool]:
    del axis_size, in_batched, step
    return jnp.ones((), jnp.int32), False


def _add_apart(
    memory: Reservoir, key: jax.Array, state: AgentState, newest: Transition
) -> ReservoirState:
    """The stored transitions with the newest, written before anything is drawn from it.

    XLA fuses the write of a row with the reads that follow, does it twice, and copies all rows for
    that. It fuses nothing across the border of a loop. Under a `vmap` a write is not fused, and
    the loop is known to run once and vanishes.
    """
    kept = varying_like(state.memory, key, newest)
    return jax.lax.fori_loop(
        0, _once(state.step), lambda _, kept: memory.add(key, kept, newest), kept
    )


def _judging(model: Model, discount: Any) -> Callable[[Params, Transition], Judged]:
    """What the target network makes of transitions `[k, ...]`: r + discount max Q(s', .)."""
    discount = _checks.rate("discount", discount, largest=1)

    def judge(target: Params, batch: Transition) -> Judged:
        values = jax.vmap(model.apply, (None, 0, None))(target, batch.next_obs, None)
        ahead = jnp.where(batch.terminal, 0, values.max(-1))
        # Returns are sums, for which half precision is too little.
        ahead = ahead.astype(jnp.promote_types(ahead.dtype, jnp.float32))
        later = jnp.asarray(discount, ahead.dtype) * ahead
        return Judged(batch.obs, batch.action, batch.reward.astype(ahead.dtype) + later)

    return judge


def _agent(
    model: Model,
    judge: Callable[[Params, Transition], Judged],
    learn: Callable[[jax.Array, AgentState, Transition], tuple[Any, ...]],
    memory: Reservoir,
    init_optimizer: Callable[[Params], optax.OptState],
    epsilon: Callable[[jax.Array], Any],
    target_every: int,
) -> Agent:
    """What both share: play, keep the transition, learn, and now and then renew the target.

    Args:
      learn: `learn(key, state, newest) -> (params, master, opt_state)`, with the newest kept
        already.
      init_optimizer: `init_optimizer(learned) -> opt_state`, of the `_precision.wide` parameters.
    """
    target_every = _checks.positive_int("target_every", target_every)
    if not callable(epsilon):
        raise ValueError(
            f"epsilon must be a function of the step, such as an optax schedule, got {epsilon!r}"
        )

    def init(params: Params, transition: Transition) -> AgentState:
        params = as_state(params)
        learned = wide(params)
        start = jnp.zeros((), jnp.int32)
        # The target is a copy, so that a state can be donated.
        target = jax.tree.map(jnp.copy, params)
        opt_state, master = init_optimizer(learned), master_of(learned, params)
        state = AgentState(params, target, opt_state, memory.init(transition), start, master)
        return varying_like(state, params, transition)

    def act(key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array:
        chance_key, action_key = jax.random.split(key)
        values = model.apply(state.params, obs, None)
        chance = jax.random.uniform(chance_key, (), jnp.float32)
        at_random = chance < jnp.asarray(epsilon(state.step), jnp.float32)
        action = jax.random.randint(action_key, (), 0, values.shape[-1], jnp.int32)
        return jnp.where(at_random, action, jnp.argmax(values).astype(jnp.int32))

    def update(
        key: jax.Array, state: AgentState, transition: Transition
    ) -> tuple[AgentState, Info]:
        add_key, learn_key = jax.random.split(key)
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], transition)
        loss = model.loss(
            state.params, jax.tree.map(lambda leaf: leaf[0], judge(state.target, one))
        )
        state = state._replace(memory=_add_apart(memory, add_key, state, transition))
        params, master, opt_state = learn(learn_key, state, transition)
        step = state.step + 1
        renew = step % target_every == 0
        target = jax.tree.map(lambda new, old: jnp.where(renew, new, old), params, state.target)
        return AgentState(params, target, opt_state, state.memory, step, master), Info(loss)

    def values(params: Params, obs: Any) -> jax.Array:
        return model.apply(params, obs, None)

    return Agent(init, act, update, values)
