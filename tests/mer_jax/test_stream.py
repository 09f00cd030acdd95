"""Runs of a learner over a stream, and its accuracy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.types import Example, Info, Learner
from tests.mer_jax.golden import at
from tests.mer_jax.problems import MODEL, blobs

pytestmark = pytest.mark.usefixtures("quick_keys")


class Counter(NamedTuple):
    params: Any
    step: Any


def test_each_step_has_its_own_key_and_they_go_on_where_they_stopped():
    def update(key, state, example):
        return Counter(state.params, state.step + 1), Info(jax.random.uniform(key))

    learner = Learner(lambda params, example: Counter(params, jnp.int32(0)), update)
    key = jax.random.key(3)
    state = learner.init(jnp.float32(0), None)
    state, first = mer_jax.run(key, learner, state, jnp.zeros(3))
    state, rest = mer_jax.run(key, learner, state, jnp.zeros(2))
    wanted = [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(5)]
    np.testing.assert_array_equal([*first.loss, *rest.loss], wanted)


def test_a_state_that_does_not_count_is_refused():
    learner = Learner(lambda params, example: params, lambda key, state, example: (state, None))
    with pytest.raises(ValueError, match=r"a state with a field `step`.*got \(\);"):
        mer_jax.run(jax.random.key(0), learner, (), jnp.zeros(2))


def test_an_update_that_returns_no_pair_is_refused():
    learner = mer_jax.online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.1))
    alone = Learner(learner.init, lambda key, state, x: learner.update(key, state, x)[0])
    with pytest.raises(ValueError, match=r"update must return \(state, info\), got OnlineState"):
        mer_jax.run(jax.random.key(0), alone, alone.init(0.0, 1.0), jnp.zeros(2))


def test_a_run_without_compilation_is_the_same():
    """As for debugging, where all numbers are concrete."""
    learner = mer_jax.online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
    how = jax.random.key(0), learner, learner.init(0.0, 1.0), jnp.ones(3)
    state, info = mer_jax.run(*how)
    with jax.disable_jit():
        step_by_step, infos = mer_jax.run(*how)
    assert step_by_step.step == state.step == 3
    np.testing.assert_array_equal(infos.loss, info.loss)


@pytest.mark.parametrize("step", [lambda step: step, lambda _: 0])
@pytest.mark.parametrize("is_watched", [False, True])
def test_an_update_that_does_not_count_is_refused(is_watched, step):
    """Each of its steps would have the same key."""
    online = mer_jax.online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.1))

    def update(key, state, x):
        after, info = online.update(key, state, x)
        return after._replace(step=step(state.step)), info

    learner = Learner(online.init, update)
    if is_watched:
        learner = mer_jax.watch(learner, lambda w, x: (w - x) ** 2, capacity=2)
    state = learner.init(0.0, 1.0)
    with pytest.raises(ValueError, match="`step` is larger by 1, got the same"):
        mer_jax.run(jax.random.key(0), learner, state, jnp.zeros(2))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state, info: (info, state), "expected OnlineState.*, got Info"),
        (lambda state, info: (state._replace(params=state.params[None]), info), r"float32\[1\]"),
        (
            lambda state, info: (state._replace(step=state.step + 1.0), info),
            r"int32\[\] at .step, got float32",
        ),
    ],
)
def test_a_state_of_another_form_is_refused(change, told):
    online = mer_jax.online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.1))
    learner = Learner(online.init, lambda *args: change(*online.update(*args)))
    with pytest.raises(ValueError, match="with a state like the one before.*" + told):
        mer_jax.run(jax.random.key(0), learner, learner.init(0.0, 1.0), jnp.zeros(2))


def test_mapped_learner_equals_one_shown_the_examples():
    base, order = blobs(0, 8), jnp.array([3, 3, 1, 0, 7])
    learner = mer_jax.mer(
        MODEL.loss, alpha=0.1, beta=0.5, gamma=0.5, num_batches=2, batch_size=3, capacity=4
    )

    def make(row):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[row], base)

    mapped = mer_jax.map_examples(learner, make)
    params, key = MODEL.init(jax.random.key(0)), jax.random.key(1)
    by_row, _ = mer_jax.run(key, mapped, mapped.init(params, order[0]), order)
    shown = jax.vmap(make)(order)
    direct, _ = mer_jax.run(key, learner, learner.init(params, make(0)), shown)
    for ours, theirs in zip(*map(jax.tree.leaves, (by_row, direct)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=30 * 2**-24)  # 30 SGD steps' rounding


def test_batches_are_the_stream_in_order():
    """Of keys too, which have no axis of bits."""
    stream = {"x": np.arange(12.0).reshape(6, 2), "key": jax.random.split(jax.random.key(0), 6)}
    batches = mer_jax.in_batches(stream, 3)
    assert jax.tree.map(jnp.shape, batches) == {"x": (2, 3, 2), "key": (2, 3)}
    np.testing.assert_array_equal(batches["x"].reshape(6, 2), stream["x"])
    assert (batches["key"][1] == stream["key"][3:]).all()


@pytest.mark.parametrize("block_size", [1, 7, 20, 100])
def test_accuracy_counts_every_example_once(block_size):
    def apply(params, x, task):
        return params * x

    x = np.eye(4, dtype=np.float32)[np.arange(20) % 4]
    y = np.where(np.arange(20) < 15, np.arange(20) % 4, -1)
    accuracy = mer_jax.accuracy(
        apply, jnp.ones(4), Example(x, y, np.zeros(20, int)), block_size=block_size
    )
    assert accuracy == 0.75


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_accuracy_leaves_out_what_is_not_present(block_size):
    """Two of four examples count, and one of them is right. The others are right, or not finite."""
    x = np.eye(4, dtype=np.float32)
    x[3, 3] = np.nan
    tests = Example(x, np.array([0, 0, 2, 3]), np.zeros(4, int))
    present = np.array([True, True, False, False])
    accuracy = mer_jax.accuracy(
        lambda params, x, task: params * x,
        jnp.ones(4),
        tests,
        block_size=block_size,
        present=present,
    )
    assert accuracy == 0.5


def test_accuracy_of_a_diverged_network_is_not_a_number():
    params = jax.tree.map(lambda p: p.at[0].set(jnp.inf), MODEL.init(jax.random.key(0)))
    assert np.isnan(mer_jax.accuracy(MODEL.apply, params, blobs(0, 10)))


SIZES: dict[str, Any] = {"batch_size": 3, "capacity": 4000}
LEARNERS = {
    "mer": mer_jax.mer(MODEL.loss, alpha=0.1, beta=0.1, gamma=1, num_batches=2, **SIZES),
    "mer_big_batch": mer_jax.mer_big_batch(MODEL.loss, alpha=0.1, gamma=0.3, **SIZES),
    "mer_current_rate": mer_jax.mer_current_rate(MODEL.loss, alpha=0.1, gamma=0.3, s=5, **SIZES),
    "er": mer_jax.er(MODEL.loss, optimizer=optax.sgd(0.1), **SIZES),
    "er_by_task": mer_jax.er_by_task(MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, **SIZES),
    "exact_alignment": mer_jax.exact_alignment(
        MODEL.loss, optimizer=optax.sgd(0.1), alpha=0.1, **SIZES
    ),
    "der": mer_jax.der(MODEL, optimizer=optax.sgd(0.1), alpha=0.1, **SIZES),
    "der_plus_plus": mer_jax.der_plus_plus(
        MODEL, optimizer=optax.sgd(0.1), alpha=0.1, beta=0.1, **SIZES
    ),
    "gem": mer_jax.gem(
        # So many that the gradients are made task by task, in a small part of the reservoir's room.
        MODEL.loss,
        optimizer=optax.sgd(0.1),
        num_tasks=20,
        num_memories=1000,
        margin=0.5,
    ),
    "agem": mer_jax.agem(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=80, num_memories=50, sample_size=3
    ),
    "ewc": mer_jax.ewc(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, num_memories=10, strength=1
    ),
    "online": mer_jax.online(MODEL.loss, optimizer=optax.sgd(0.1)),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_all_learners_share_one_shape(name):
    learner, stream = LEARNERS[name], blobs(1, 6)
    params = MODEL.init(jax.random.key(0))
    state = learner.init(params, at(stream, 0))
    state, infos = mer_jax.run(jax.random.key(1), learner, state, stream)
    assert jax.tree.structure(state.params) == jax.tree.structure(params)
    assert infos.loss.shape == (6,)
    assert state.step == 6
    # The loss before the first step, up to the rounding of numbers of size 1.
    np.testing.assert_allclose(infos.loss[0], MODEL.loss(params, at(stream, 0)), rtol=1e-6)


@pytest.mark.parametrize("seeds", [None, 3])
def test_a_donated_step_of_gem_copies_no_reservoir(seeds):
    """The compiler's count of copies with many tasks. `test_compiled.py` has the other learners."""
    learner = LEARNERS["gem"]

    def arguments():
        example = at(blobs(1, 6), 0)
        state = learner.init(MODEL.init(jax.random.key(0)), example)
        one = jax.random.key(0), state, example
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * seeds), one) if seeds else one

    update = jax.vmap(learner.update) if seeds else learner.update
    arguments = jax.eval_shape(arguments)
    rows = jax.tree.leaves(arguments[1].memory.examples)
    reservoir_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in rows)
    compiled = jax.jit(update, donate_argnums=1).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < reservoir_bytes / 4


def test_accuracy_of_those_present():
    y = np.int32([0, 1, 0, 0])
    x = np.eye(2, dtype=np.float32)[[0, 1, 1, 1]]
    example = Example(x, y, y)
    present = jnp.array([True, True, True, False])
    accuracy = mer_jax.accuracy(lambda params, x, task: x, jnp.ones(1), example, present=present)
    np.testing.assert_allclose(accuracy, 2 / 3)


def test_what_is_no_prediction_is_not_judged():
    """A logit that is not finite, on an example that counts, and labels that are not numbers."""
    examples = mer_jax.Example(jnp.float32([1, 0]), jnp.int32([0, 1]), jnp.int32([0, 0]))

    def apply(params, x, task):
        return jnp.stack([params, jnp.log(x)])

    def judged(present):
        return mer_jax.accuracy(apply, jnp.float32(2), examples, present=jnp.array(present))

    assert judged([True, False]) == 1
    assert jnp.isnan(judged([True, True]))
    one_hot = examples._replace(y=jnp.eye(2, dtype=jnp.int32))
    with pytest.raises(ValueError, match=r"got dict without x, y, task; let `make` return"):
        mer_jax.accuracy(lambda p, x, task: x, 0.0, {"point": jnp.ones((2, 3))})
    with pytest.raises(ValueError, match=r"y must be one label, got shape \[2\]"):
        mer_jax.accuracy(apply, jnp.float32(2), one_hot)
