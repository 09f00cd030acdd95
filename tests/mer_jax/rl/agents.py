"""Small agents, and frames for them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from mer_jax import rl
from mer_jax.rl import Transition

ALWAYS_GREEDY = optax.constant_schedule(0.0)
CAPACITY = 20_000


def linear(obs_size, num_actions):
    """Q(s, a) = w[:, a] . s + b[a], whose steps can be written down."""
    return rl.q_network((obs_size, num_actions))


def weights(w, b):
    return {"layers_0": {"kernel": jnp.float32(w), "bias": jnp.float32(b)}}


def transition(obs, action, reward, next_obs, terminal=False):
    return Transition(
        jnp.float32(obs), jnp.int32(action), jnp.float32(reward), jnp.float32(next_obs),
        jnp.bool_(terminal),
    )  # fmt: skip


def mer_agent(model, **changed):
    settings = dict(
        alpha=0.5, beta=0.4, gamma=0.5, num_batches=1, batch_size=2, capacity=4, discount=0.9,
        epsilon=ALWAYS_GREEDY, target_every=1000,
    )  # fmt: skip
    return rl.dqn_mer(model, **(settings | changed))


def small_agent(kind, capacity=CAPACITY, **changed):
    model = rl.q_network((4, 16, 3))
    shared = dict(discount=0.9, epsilon=optax.linear_schedule(1.0, 0.1, 20), target_every=20)
    if kind == "mer":
        return model, mer_agent(
            model, num_batches=2, batch_size=4, capacity=capacity, **shared | changed
        )
    memory = {"fifo": rl.fifo, "reservoir": mer_jax.reservoir}[kind](capacity)
    return model, rl.dqn(
        model, optimizer=optax.sgd(0.01), batch_size=8, memory=memory, **shared | changed
    )


def stream(length, seed=0):
    rng = np.random.default_rng(seed)
    return Transition(
        jnp.float32(rng.normal(size=(length, 3))),
        jnp.int32(rng.integers(0, 2, length)),
        jnp.float32(rng.normal(size=length)),
        jnp.float32(rng.normal(size=(length, 3))),
        jnp.asarray(rng.random(length) < 0.2),
    )


def learned(agent, model, frames, key=3):
    """The state after the frames, and after the first half of them."""
    first = jax.tree.map(lambda leaf: leaf[0], frames)
    state = agent.init(model.init(jax.random.key(9)), first)

    def step(state, frame):
        return agent.update(jax.random.fold_in(jax.random.key(key), state.step), state, frame)

    return jax.jit(lambda state: jax.lax.scan(step, state, frames))(state)
