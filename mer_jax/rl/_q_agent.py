"""Parts shared by all Q-learning agents: play, storage and the target network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.custom_batching import custom_vmap

from mer_jax import _calls, _checks
from mer_jax._described import described
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, wide
from mer_jax.losses import one_number
from mer_jax.networks import Model
from mer_jax.replay.reservoir import Reservoir, ReservoirState
from mer_jax.rl.agent import Agent, AgentState, Transition
from mer_jax.rl.values import Judged
from mer_jax.types import Info, Params, as_state

Judge = Callable[[Params, Transition], Judged]
"""`judge(target, transitions) -> Judged`, with leading axes `[k]`."""

Learned = tuple[Params, Params, optax.OptState]
"""The parameters, their float32 copies (`_precision.master_of`) and the optimizer's state."""

Learn = Callable[[jax.Array, AgentState, Transition, Judge], Learned]
"""`learn(key, state, newest, judge) -> Learned`. The newest transition is already stored."""


def q_agent(
    model: Model,
    learn: Learn,
    *,
    memory: Reservoir,
    start_optimizer: Callable[[Params], optax.OptState],
    discount: Any,
    epsilon: Callable[[jax.Array], Any],
    target_every: int,
) -> Agent:
    """A Q-learning agent with the training step `learn`. The other arguments are those of `dqn`.

    Args:
      start_optimizer: `start_optimizer(learned) -> opt_state`, for parameters of at least 32 bits.
    """
    judge = judging(model, discount)
    target_every = _checks.positive_int("target_every", target_every)
    epsilon = _chance_of(epsilon)
    like, advice = "a reservoir or a fifo", "give mer_jax.rl.fifo(capacity)"
    _checks.with_functions("memory", memory, "init add sample", like=like, advice=advice)
    apply, loss_fn = apply_of(model), one_number(model.loss)

    def init(params: Params, transition: Transition) -> AgentState:
        params = as_state(params)
        learned = wide(params)
        start = jnp.zeros((), jnp.int32)
        # A copy, since a donated state must not hold the same array twice.
        target = jax.tree.map(jnp.copy, params)
        opt_state, master = start_optimizer(learned), master_of(learned, params)
        state = AgentState(params, target, opt_state, memory.init(transition), start, master)
        return varying_like(state, params, transition)

    def act(key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array:
        chance_key, action_key = jax.random.split(key)
        values = apply(state.params, obs, None)
        chance = jax.random.uniform(chance_key, (), jnp.float32)
        at_random = chance < jnp.asarray(epsilon(state.step), jnp.float32)
        action = jax.random.randint(action_key, (), 0, values.shape[-1], jnp.int32)
        return jnp.where(at_random, action, jnp.argmax(values).astype(jnp.int32))

    def update(
        key: jax.Array, state: AgentState, transition: Transition
    ) -> tuple[AgentState, Info]:
        add_key, learn_key = jax.random.split(key)
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], transition)
        judged = jax.tree.map(lambda leaf: leaf[0], judge(state.target, one))
        loss = loss_fn(state.params, judged)
        state = state._replace(memory=_add_apart(memory, add_key, state, transition))
        params, master, opt_state = learn(learn_key, state, transition, judge)
        step = state.step + 1
        renew = step % target_every == 0
        target = jax.tree.map(lambda new, old: jnp.where(renew, new, old), params, state.target)
        return AgentState(params, target, opt_state, state.memory, step, master), Info(loss)

    def values(params: Params, obs: Any) -> jax.Array:
        return apply(params, obs, None)

    act = _checks.of_state(AgentState, act, "act(key, state, obs)")
    update = _checks.of_state(AgentState, update, "update(key, state, transition)")
    return Agent(init, act, update, values)


def _chance_of(epsilon: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """The chance of a random action as a function, whose errors become one line."""
    if not callable(epsilon):
        raise ValueError(
            f"epsilon must be a function of the step, got {described(epsilon)}; give an optax "
            "schedule, such as optax.constant_schedule(0.1)"
        )
    return _calls.explained(
        epsilon, "epsilon(step)", gives="give the chance of a random action", advice="take the step"
    )


def apply_of(model: Model) -> Callable[..., jax.Array]:
    """`model.apply`, whose errors become one line."""
    _checks.with_functions(
        "model",
        model,
        "apply loss",
        like="a Model, such as mer_jax.rl.q_network(...)",
        advice="give the model itself, or make one by mer_jax.networks.Model(init, apply, loss)",
    )
    return _calls.explained(
        model.apply,
        "model.apply(params, obs, task)",
        gives="give a value for each action",
        advice="take these three, and give one observation that fits the parameters",
    )


def judging(model: Model, discount: Any) -> Judge:
    """The Q-learning targets of transitions `[k, ...]`: r + discount max Q(s', .)."""
    discount, apply = _checks.rate("discount", discount, largest=1), apply_of(model)

    def judge(target: Params, batch: Transition) -> Judged:
        values = jax.vmap(apply, (None, 0, None))(target, batch.next_obs, None)
        ahead = jnp.where(batch.terminal, 0, values.max(-1))
        # Half precision is too coarse for returns, which are sums.
        ahead = ahead.astype(jnp.promote_types(ahead.dtype, jnp.float32))
        later = jnp.asarray(discount, ahead.dtype) * ahead
        return Judged(batch.obs, batch.action, batch.reward.astype(ahead.dtype) + later)

    return judge


@custom_vmap
def _once(step: jax.Array) -> jax.Array:
    """The number 1, unknown to the compiler except under a `vmap`."""
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
    """Stores the newest transition in an operation that XLA does not fuse with reads.

    XLA would fuse the write of a row with later reads, write twice, and copy all rows for that. It
    does not fuse across the border of a loop. Under a `vmap` the write is not fused anyway. The
    compiler then knows that the loop runs once and removes it.
    """
    kept = varying_like(state.memory, key, newest)
    return jax.lax.fori_loop(
        0, _once(state.step), lambda _, kept: memory.add(key, kept, newest), kept
    )
