"""Deep Q-learning (Mnih et al., Nature 2015), and the same with Meta-Experience Replay."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp
import optax

from mer_jax import buffer, checks, networks
from mer_jax.buffer import Reservoir
from mer_jax.learners.mer import mer_update
from mer_jax.losses import mean_gradient
from mer_jax.networks import Model
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


class Judged(NamedTuple):
    """What a step of Q-learning learns from: the value of `action` at `x` should be `target`.

    x: `[d]` float32; action: `[]` int32; target: `[]` float32.
    """

    x: Any
    action: Any
    target: Any


@exportable
class AgentState(NamedTuple):
    """params: the network Q; target: an earlier copy of it; opt_state: the optimizer's.

    memory: the buffer of transitions; step: `[]` int32, frames learned from.
    """

    params: Params
    target: Params
    opt_state: optax.OptState
    memory: Any
    step: jax.Array


class Agent(NamedTuple):
    """A player that learns, as pure functions.

    init: `init(params, transition) -> state`; of `transition` only shapes and dtypes are read.
    act: `act(key, state, obs) -> action []`.
    update: `update(key, state, transition) -> (state, info)`, after one frame.
    """

    init: Callable[[Params, Transition], AgentState]
    act: Callable[[jax.Array, AgentState, jax.Array], jax.Array]
    update: Callable[[jax.Array, AgentState, Transition], tuple[AgentState, Info]]


def q_network(sizes: Sequence[int]) -> Model:
    """An MLP that values actions; its loss is Huber's, on a `Judged`.

    Args:
      sizes: the length of an observation, of each hidden layer, and the number of actions.
    Raises:
      ValueError: if `sizes` has fewer than two entries or one that is not a whole number >= 1.
    """

    def huber(values: jax.Array, judged: Judged) -> jax.Array:
        return optax.losses.huber_loss(values[judged.action], judged.target)

    return networks.mlp(sizes, huber)


def fifo(capacity: int) -> Reservoir:
    """The newest `capacity` examples, flashbax's item buffer, with the functions of a reservoir.

    Raises:
      ValueError: if `capacity` is not a whole number of at least 1; in `add`, while tracing, if
        `example` is not like the one before.
    """
    capacity = checks.positive_int("capacity", capacity)
    newest = flashbax.make_item_buffer(capacity, min_length=1, sample_batch_size=1)

    def init(example: Any) -> Any:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), checks.shapes(example))
        return newest.init(zeros)

    def add(key: jax.Array, state: Any, example: Any) -> Any:
        del key  # nothing is drawn
        row = jax.tree.map(
            lambda rows: jax.ShapeDtypeStruct(rows.shape[2:], rows.dtype), state.experience
        )
        checks.same_shapes(
            "example must be like one row of the memory", row, checks.shapes(example)
        )
        return newest.add(state, example)

    def sample(key: jax.Array, state: Any, n: int) -> tuple[Any, jax.Array]:
        drawing = flashbax.make_item_buffer(capacity, min_length=1, sample_batch_size=n)
        stored = jnp.where(state.is_full, capacity, state.current_index)
        return drawing.sample(state, key).experience, jnp.arange(n) < stored

    return Reservoir(init, add, sample)


def dqn(
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    memory: Reservoir,
    discount: Any,
    epsilon: Callable[[jax.Array], Any],
    target_every: int,
) -> Agent:
    """Deep Q-learning: after each frame one step on the mean loss of a batch of replays.

    Args:
      model: a `q_network`.
      optimizer: any optax transformation.
      batch_size: transitions replayed for each frame; fewer while there are not as many.
      memory: a `reservoir`, or a `fifo`.
      discount: of what the next frame is worth, in [0, 1]; may be traced.
      epsilon: `epsilon(step) -> []`, how often to play at random; an optax schedule.
      target_every: frames between two copies of the network into the target network.
    Raises:
      ValueError: if a size or a rate makes no sense.
    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning",
      algorithm 1.
    """
    batch_size = checks.positive_int("batch_size", batch_size)
    optimizer = checks.optimizer(optimizer)
    judge = _judging(model, discount)

    def learn(key: jax.Array, state: AgentState, newest: Transition) -> tuple[Any, ...]:
        batch, valid = memory.sample(key, state.memory, batch_size)
        shares = valid / jnp.maximum(valid.sum(), 1).astype(jnp.float32)
        judged = judge(state.target, batch)
        grads = mean_gradient(model.loss, state.params, judged, shares)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return optax.apply_updates(state.params, updates), opt_state

    return _agent(model, judge, learn, memory, optimizer.init, epsilon, target_every)


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
) -> Agent:
    """Deep Q-learning whose replay is Meta-Experience Replay, as in algorithm 1.

    After each frame `num_batches` batches are drawn, each with the newest transition first and then
    `batch_size - 1` replays of a reservoir; each transition is one SGD step.

    Args:
      alpha, beta, gamma, num_batches, batch_size, capacity: see `mer_jax.mer`. With a single
        batch only the product of beta and gamma counts; where it is 1 nothing is pulled back, and
        this is DQN with one step a transition.
      model, discount, epsilon, target_every: see `dqn`.
    Raises:
      ValueError: if a size or a rate makes no sense.
    """
    num_batches = checks.positive_int("num_batches", num_batches)
    batch_size = checks.positive_int("batch_size", batch_size)
    rates = dict(
        alpha=checks.rate("alpha", alpha),
        beta=checks.rate("beta", beta, largest=1),
        gamma=checks.rate("gamma", gamma, largest=1),
    )
    judge = _judging(model, discount)

    def learn(key: jax.Array, state: AgentState, newest: Transition) -> tuple[Any, ...]:
        batches, weights = buffer.replay_batches(key, state.memory, newest, num_batches, batch_size)
        judged = jax.vmap(judge, (None, 0))(state.target, batches)
        params, _ = mer_update(model.loss, state.params, judged, weights, **rates)
        return params, state.opt_state

    memory = buffer.reservoir(capacity)
    return _agent(model, judge, learn, memory, lambda params: (), epsilon, target_every)


def _judging(model: Model, discount: Any) -> Callable[[Params, Transition], Judged]:
    """What the target network makes of transitions `[k, ...]`: r + discount max Q(s', .)."""
    discount = checks.rate("discount", discount, largest=1)

    def judge(target: Params, batch: Transition) -> Judged:
        values = jax.vmap(model.apply, (None, 0, None))(target, batch.next_obs, None)
        ahead = jnp.where(batch.terminal, 0, values.max(-1))
        return Judged(batch.obs, batch.action, batch.reward + discount * ahead)

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
      learn: `learn(key, state, newest) -> (params, opt_state)`, with the newest kept already.
    """
    target_every = checks.positive_int("target_every", target_every)
    if not callable(epsilon):
        raise ValueError(
            f"epsilon must be a function of the step, such as an optax schedule, got {epsilon!r}"
        )

    def init(params: Params, transition: Transition) -> AgentState:
        params = as_state(params)
        start = jnp.zeros((), jnp.int32)
        # The target is a copy, so that a state can be donated.
        target = jax.tree.map(jnp.copy, params)
        return AgentState(params, target, init_optimizer(params), memory.init(transition), start)

    def act(key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array:
        chance_key, action_key = jax.random.split(key)
        values = model.apply(state.params, obs, None)
        at_random = jax.random.uniform(chance_key) < epsilon(state.step)
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
        state = state._replace(memory=memory.add(add_key, state.memory, transition))
        params, opt_state = learn(learn_key, state, transition)
        step = state.step + 1
        renew = step % target_every == 0
        target = jax.tree.map(lambda new, old: jnp.where(renew, new, old), params, state.target)
        return AgentState(params, target, opt_state, state.memory, step), Info(loss)

    return Agent(init, act, update)
