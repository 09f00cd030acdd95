"""Uses of the public interface for type checkers, checked by mypy and by `test_types.py`.

Every call is by keyword, and every result has the type that its name promises.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

import mer_jax
import mer_jax.rl
from mer_jax import Example, Info, Learner, ReservoirState
from mer_jax.alignment import WatchedInfo, WatchedState
from mer_jax.learners._replay_step import ReplayState
from mer_jax.learners.ewc import EWCState
from mer_jax.learners.mer import MERState

KEY = jax.random.key(0)
MODEL = mer_jax.networks.mlp((4, 8, 3))
EXAMPLE = Example(x=jnp.ones(4), y=jnp.int32(0), task=jnp.int32(0))


def one_step() -> jax.Array:
    learner = mer_jax.mer(
        MODEL.loss, alpha=0.1, beta=0.1, gamma=1.0, num_batches=2, batch_size=3, capacity=5
    )
    state: MERState = learner.init(params=MODEL.init(KEY), example=EXAMPLE)
    info: Info
    state, info = learner.update(key=KEY, state=state, example=EXAMPLE)
    stored: ReservoirState = state.memory
    seen: jax.Array = stored.num_seen
    return info.loss + seen + state.step


def any_learner() -> jax.Array:
    er = mer_jax.er(MODEL.loss, optimizer=optax.sgd(0.1), batch_size=3, capacity=5)
    replayed: ReplayState = er.init(MODEL.init(KEY), EXAMPLE)
    stream = jax.tree.map(lambda leaf: leaf[None], EXAMPLE)
    replayed, infos = mer_jax.run(key=KEY, learner=er, state=replayed, stream=stream)
    ewc = mer_jax.ewc(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, num_memories=5, strength=1.0
    )
    consolidated: EWCState = ewc.init(MODEL.init(KEY), EXAMPLE)
    dark = mer_jax.der_plus_plus(
        model=MODEL, optimizer=optax.sgd(0.1), alpha=0.1, beta=0.5, batch_size=3, capacity=5
    )
    darkened: ReplayState = dark.init(MODEL.init(KEY), EXAMPLE)
    return infos.loss[0] + replayed.step + consolidated.step + darkened.step


def watched() -> jax.Array:
    plain = mer_jax.online(MODEL.loss, optimizer=optax.sgd(0.1))
    shown = mer_jax.map_examples(learner=plain, make=lambda number: EXAMPLE)
    learner = mer_jax.watch(learner=shown, loss_fn=MODEL.loss, capacity=5)
    state: WatchedState[mer_jax.learners.online.OnlineState] = learner.init(
        params=MODEL.init(KEY), example=jnp.int32(0)
    )
    told: WatchedInfo
    state, told = learner.update(key=KEY, state=state, example=jnp.int32(0))
    return told.dot + state.learner.step


class Mean(NamedTuple):
    """The state of a learner of one's own."""

    params: jax.Array
    step: jax.Array


def own_learner() -> Learner[Mean, Info]:
    def init(params: jax.Array, example: jax.Array) -> Mean:
        return Mean(params, jnp.zeros((), jnp.int32))

    def update(key: jax.Array, state: Mean, example: jax.Array) -> tuple[Mean, Info]:
        step = state.step + 1
        return Mean(state.params + (example - state.params) / step, step), Info(state.params)

    return Learner(init=init, update=update)


def memory() -> jax.Array:
    buffer = mer_jax.reservoir(capacity=5)
    state = buffer.init(example=EXAMPLE)
    state = buffer.add(key=KEY, state=state, example=EXAMPLE)
    rows, valid = buffer.sample(key=KEY, state=state, n=2)
    state = buffer.add_batch(key=KEY, state=state, batch=rows)
    rows, valid, state = buffer.sample_and_add(key=KEY, state=state, example=EXAMPLE, n=2)
    state = buffer.add(key=KEY, state=buffer.after(state=state, result=rows), example=EXAMPLE)
    return valid.all() & (state.num_seen > 0)


def agent() -> jax.Array:
    player = mer_jax.rl.dqn(
        mer_jax.rl.q_network((4, 8, 3)), optimizer=optax.sgd(0.1), batch_size=2,
        memory=mer_jax.rl.fifo(capacity=5), discount=0.9, epsilon=lambda step: 0.1, target_every=10,
    )  # fmt: skip
    obs = jnp.ones(4)
    seen = mer_jax.rl.Transition(obs, jnp.int32(0), jnp.float32(0), obs, jnp.bool_(False))
    state = player.init(params=MODEL.init(KEY), transition=seen)
    action: jax.Array = player.act(key=KEY, state=state, obs=obs)
    state, info = player.update(key=KEY, state=state, transition=seen)
    return info.loss + action + state.step


def wrong() -> None:
    """Each comment counts as unused, and thus as an error, where mypy accepts the line."""
    er = mer_jax.er(MODEL.loss, optimizer=optax.sgd(0.1), batch_size=3, capacity=5)
    state = er.init(MODEL.init(KEY), EXAMPLE)
    er.update(key=KEY, state=state, sample=EXAMPLE)  # type: ignore[call-arg]
    mer_jax.reservoir(5).sample(key=KEY, state=state.memory, n=2.5)  # type: ignore[arg-type]
    state.memories  # type: ignore[attr-defined]  # noqa: B018
