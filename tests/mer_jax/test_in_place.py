"""Writes in place: a draw and then an addition write one row, by the compiler's own analysis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import networks
from mer_jax.rl import fifo
from tests.mer_jax.compiling import QUICK_KEYS

pytestmark = pytest.mark.usefixtures("quick_keys")

CAPACITY = 4000
SEEDS = 4
KEY = jax.eval_shape(lambda: jax.random.key(0, impl=QUICK_KEYS))
ROW = {
    "x": jax.ShapeDtypeStruct((256,), jnp.float32),
    "key": KEY,
    "few": jax.ShapeDtypeStruct((8,), jnp.int4),
}
MEMORY = mer_jax.reservoir(CAPACITY)


def result(drawn: Any) -> jax.Array:
    """Something that is made of all that was drawn."""
    # Bits, since a normal distribution takes longer to compile.
    noise = jax.vmap(lambda key: jax.random.bits(key, (256,)))(drawn["key"]).astype(jnp.float32)
    return jnp.sum(drawn["x"] * noise) + jnp.sum(drawn["few"].astype(jnp.float32))


def draws_and_adds(memory, num_draws):
    def step(key, state, example):
        drawn, _, state = memory.sample_and_add(key, state, example, num_draws)
        return state, result(drawn)

    return step


def adds_after_draws(num_draws):
    def step(key, state, example):
        draw_key, add_key = jax.random.split(key)
        told = result(MEMORY.sample(draw_key, state, num_draws)[0])
        return MEMORY.add(add_key, MEMORY.after(state, told), example), told

    return step


def adds_a_batch(num_draws):
    def step(key, state, example):
        draw_key, add_key = jax.random.split(key)
        drawn, _ = MEMORY.sample(draw_key, state, num_draws)
        batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), example)
        return MEMORY.add_batch(add_key, MEMORY.after(state, drawn), batch), result(drawn)

    return step


def mixes(num_draws):
    def step(key, state, example):
        batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2 * num_draws), example)
        mixed, state = mer_jax.mix(key, state, batch, replay_share=0.5)
        return state, mixed

    return step


def watches(augment):
    def loss(params, example):
        return jnp.sum((params - example["x"]) ** 2)

    learner = mer_jax.online(loss, optimizer=optax.sgd(0.1))
    return mer_jax.watch(learner, loss, CAPACITY, augment)


STEPS = {
    **{f"sample_and_add, {n}": draws_and_adds(MEMORY, n) for n in (1, 10)},
    **{f"fifo's sample_and_add, {n}": draws_and_adds(fifo(CAPACITY), n) for n in (1, 10)},
    **{f"sample, then add, {n}": adds_after_draws(n) for n in (1, 10)},
    **{f"sample, then add_batch, {n}": adds_a_batch(n) for n in (1, 10)},
    **{f"mix, {n}": mixes(n) for n in (1, 10)},
    "watch": watches(None).update,
    "watch, augmented": watches(
        lambda key, example: example | {"x": example["x"] + jax.random.uniform(key, (256,))}
    ).update,
}


def state_of(name):
    if name.startswith("watch"):
        return jax.eval_shape(watches(None).init, jnp.zeros(256), ROW)
    return jax.eval_shape(MEMORY.init, ROW)


def many(tree, size):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), tree)


def alone(step, state):
    return step, (KEY, state, ROW)


def in_a_scan(step, state):
    def scan(key, state, rows):
        return jax.lax.scan(lambda state, row: step(key, state, row), state, rows)

    return scan, (KEY, state, many(ROW, 10))


def in_a_vmap(step, state):
    return jax.vmap(step), many((KEY, state, ROW), SEEDS)


def in_a_scan_of_a_vmap(step, state):
    scan, arguments = in_a_scan(step, state)
    return jax.vmap(scan), many(arguments, SEEDS)


CELLS = [
    (name, way)
    for name in STEPS
    for way in (alone, in_a_scan, in_a_vmap, in_a_scan_of_a_vmap)
    # Of a single draw, only where XLA has most to see through.
    if not name.endswith(", 1") or way is in_a_scan_of_a_vmap
]


@pytest.mark.parametrize(("name", "way"), CELLS)
def test_what_is_drawn_from_and_then_written_is_written_in_place(name, way):
    """A copy of the images alone would be 4 MB for each seed."""
    function, arguments = way(STEPS[name], state_of(name))
    compiled = jax.jit(function, donate_argnums=1).lower(*arguments).compile()
    images = CAPACITY * 256 * 4 * (SEEDS if "vmap" in way.__name__ else 1)
    assert compiled.memory_analysis().alias_size_in_bytes > images  # the result takes its place
    assert compiled.memory_analysis().temp_size_in_bytes < images / 10


FREEZES = optax.masked(optax.set_to_zero(), True)
"""So that only the state of what comes before it depends on what is drawn."""
LEARNERS = {
    "ewc": mer_jax.ewc(
        lambda w, e: jnp.sum((w - e.x) ** 2),
        optimizer=optax.sgd(0.1), num_tasks=2, num_memories=CAPACITY, strength=1.0,
    ),
    "er, frozen": mer_jax.er(
        lambda w, e: jnp.sum((w - e.x) ** 2),
        optimizer=optax.chain(optax.adam(0.1), FREEZES), batch_size=5, capacity=CAPACITY,
    ),
    "der_plus_plus, frozen": mer_jax.der_plus_plus(
        networks.Model(jnp.zeros, lambda w, x, task: w * x, lambda w, e: jnp.sum((w - e.x) ** 2)),
        optimizer=optax.chain(optax.adam(0.1), FREEZES), alpha=0.1, beta=0.1, batch_size=5,
        capacity=CAPACITY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_writes_in_place(name):
    """EWC's gradient on all that it keeps of a task is one array as large, a copy would be two."""
    example = mer_jax.Example(jnp.zeros(256), jnp.int32(0), jnp.int32(0))
    state = jax.eval_shape(LEARNERS[name].init, jnp.zeros(256), example)
    step = jax.jit(LEARNERS[name].update, donate_argnums=1)
    images, temporary = CAPACITY * 256 * 4, step.lower(KEY, state, example).compile()
    allowed = {"ewc": 1.1, "er, frozen": 0.1, "der_plus_plus, frozen": 0.1}[name]
    assert temporary.memory_analysis().temp_size_in_bytes < allowed * images


def test_a_draw_whose_reads_are_not_shown_copies():
    """So that the test above can fail."""

    def step(key, state, example):
        drawn, _ = MEMORY.sample(key, state, 3)
        return MEMORY.add(key, state, example), drawn["x"]

    function, arguments = in_a_scan(step, state_of("reservoir"))
    compiled = jax.jit(function, donate_argnums=1).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes > CAPACITY * 256 * 4


def test_keys_and_small_integers_are_drawn_as_they_were_stored():
    rows = {
        "key": jax.random.split(jax.random.key(1), 6),
        "few": jnp.arange(-3, 3).astype(jnp.int4),
        "number": jnp.arange(6, dtype=jnp.int32),
    }
    memory = mer_jax.reservoir(6)

    def loss(params, example):
        return (params - example["number"]) ** 2 + 0 * jax.random.uniform(example["key"])

    learner = mer_jax.watch(mer_jax.online(loss, optimizer=optax.sgd(0.1)), loss, capacity=6)

    @jax.jit
    def draws(rows):
        first = jax.tree.map(lambda leaf: leaf[0], rows)
        state = memory.add_batch(jax.random.key(0), memory.init(first), rows)
        drawn = memory.sample(jax.random.key(2), state, 5)
        mixed = mer_jax.mix(jax.random.key(3), state, rows, replay_share=0.5)
        begun = learner.init(jnp.float32(0), first)
        return state, drawn, mixed, mer_jax.run(jax.random.key(4), learner, begun, rows)[1]

    stored, (drawn, valid), (mixed, after), infos = draws(rows)
    assert_same_rows(stored.examples, rows, np.arange(6))
    assert valid.all()
    assert_same_rows(drawn, rows, drawn["number"])
    assert after.num_seen == 9
    assert_same_rows(mixed, rows, mixed["number"])
    assert_same_rows(infos.past, rows, infos.past["number"], infos.has_past)


def assert_same_rows(ours, rows, numbers, present=True):
    """Each row is the stored one of that number."""
    for name in ("key", "few"):
        expected, came = (
            np.asarray(jax.random.key_data(leaf) if name == "key" else leaf.astype(jnp.int32))
            for leaf in (rows[name][np.asarray(numbers)], ours[name])
        )
        mask = np.reshape(np.broadcast_to(present, len(came)), (-1, *[1] * (came.ndim - 1)))
        np.testing.assert_array_equal(np.where(mask, came, expected), expected)
