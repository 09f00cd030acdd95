"""Dark experience replay, by hand and against a plain loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import Example
from mer_jax.networks import Model
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.problems import MODEL
from tests.mer_jax.problems import blobs as made

pytestmark = pytest.mark.usefixtures("quick_keys")

SIZES: dict[str, Any] = {"batch_size": 4, "capacity": 5}


def blobs(seed, size):
    """In float32, so that what is stored is what came."""
    return jax.tree.map(jnp.asarray, made(seed, size))


def two_logits(w, x, task=None):
    return w * x * jnp.float32([1, 3])


def half_square(w, example):
    return (w * example.x - example.y) ** 2 / 2


BY_HAND = Model(lambda key: jnp.float32(0), two_logits, half_square)


@pytest.mark.parametrize(("beta", "end"), [(None, 1.0), (0.5, 2.0)])
def test_two_steps_by_hand(beta, end):
    """Rate 1/2, logits (w, 3 w), label 8 and then 0, both of input 1.

    From w = 0 to 4. Then the incoming gradient is 4, that of the mean of (4, 12) squared is
    (2 · 4 + 2 · 12 · 3) / 2 = 40, and that of the label 8 is -4: 4 + 40 / 20 = 6, less 2 for beta.
    """
    how = dict(optimizer=optax.sgd(0.5), alpha=0.05, batch_size=2, capacity=3)
    if beta is None:
        learner = mer_jax.der(BY_HAND, **how)
    else:
        learner = mer_jax.der_plus_plus(BY_HAND, beta=beta, **how)
    stream = Example(jnp.ones(2), jnp.int32([8, 0]), jnp.zeros(2, jnp.int32))
    state = learner.init(jnp.float32(0), at(stream, 0))
    state, infos = quickly(lambda state: mer_jax.run(jax.random.key(0), learner, state, stream))(
        state
    )
    np.testing.assert_allclose(state.params, end, rtol=1e-6)
    np.testing.assert_array_equal(infos.loss, [32, 8])
    # Logits before the step in which the example came.
    np.testing.assert_array_equal(state.memory.examples.logits, [[0, 0], [4, 12], [0, 0]])
    np.testing.assert_array_equal(state.memory.examples.example.y, [8, 0, 0])


def in_a_loop(stream, keys, params, alpha, beta):
    """DER++ as in the paper's algorithm 2, or DER if beta is None, with the learner's draws."""
    rows, path = [], []

    def objective(params, example, first, second):
        loss = MODEL.loss(params, example)
        errors = [(MODEL.apply(params, e.x) - logits) ** 2 for e, logits in first]
        loss += alpha * jnp.mean(jnp.stack(errors)) if errors else 0
        losses = [MODEL.loss(params, e) for e, _ in second]
        return loss + (beta * jnp.mean(jnp.stack(losses)) if losses else 0)

    for n, key in enumerate(keys):
        example = at(stream, n)
        add_key, *draw_keys = jax.random.split(key, 2 if beta is None else 3)
        size = min(SIZES["batch_size"] - 1, len(rows))
        both = [
            [rows[slot] for slot in jax.random.randint(one, (3,), 0, max(len(rows), 1))[:size]]
            for one in draw_keys
        ]
        logits = MODEL.apply(params, example.x)
        grads = jax.grad(objective)(params, example, both[0], both[1] if beta is not None else [])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        path.append(params)
        if len(rows) < SIZES["capacity"]:
            rows.append((example, logits))
        elif (slot := int(jax.random.randint(add_key, (), 0, n + 1))) < len(rows):
            rows[slot] = (example, logits)
    return path, rows


@pytest.mark.parametrize("beta", [None, 0.7])
def test_steps_are_those_of_a_plain_loop(beta):
    """Sums of 30 products of numbers of size 1 in float32, ten steps in a row: 1e-5."""
    stream, keys = blobs(0, 10), jax.random.split(jax.random.key(1), 10)
    params = MODEL.init(jax.random.key(0))
    path, rows = in_a_loop(stream, keys, params, 0.6, beta)
    how = dict(optimizer=optax.sgd(0.1), alpha=0.6, **SIZES)
    if beta is None:
        learner = mer_jax.der(MODEL, **how)
    else:
        learner = mer_jax.der_plus_plus(MODEL, beta=beta, **how)
    state, update = learner.init(params, at(stream, 0)), quickly(learner.update)
    for n, expected in enumerate(path):
        state, _ = update(keys[n], state, at(stream, n))
        jax.tree.map(
            lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5),
            state.params,
            expected,
        )
    for ours, (_, logits) in zip(state.memory.examples.logits, rows, strict=True):
        np.testing.assert_allclose(ours, logits, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(state.memory.examples.example.x, [e.x for e, _ in rows])


def noise(key, example):
    return example._replace(x=example.x + jax.random.normal(key, example.x.shape))


@pytest.mark.parametrize("augment", [None, noise])
def test_weights_of_zero_are_online_learning(augment):
    """The same bits, also where the zeros are traced."""
    stream, params = blobs(0, 20), MODEL.init(jax.random.key(0))
    optimizer = optax.adam(0.1)

    def learn(learner):
        state = learner.init(params, at(stream, 0))
        state, infos = mer_jax.run(jax.random.key(1), learner, state, stream)
        return state.params, state.opt_state, infos.loss

    def dark(weight):
        how = dict(optimizer=optimizer, alpha=weight, **SIZES, augment=augment)
        return learn(mer_jax.der(MODEL, **how)), learn(
            mer_jax.der_plus_plus(MODEL, beta=weight, **how)
        )

    online = jax.jit(
        lambda: learn(mer_jax.online(MODEL.loss, optimizer=optimizer, augment=augment))
    )
    expected = online()
    for got in (*jax.jit(dark)(jnp.float32(0)), *jax.jit(lambda: dark(0.0))()):
        jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_all_is_learned_from_augmented_inputs_and_stored_without():
    """Doubled inputs, which is exact, or a stream of doubled inputs: the same bits."""
    stream, params = blobs(0, 8), MODEL.init(jax.random.key(0))
    doubled = stream._replace(x=2 * stream.x)

    def learn(stream, augment):
        how = dict(optimizer=optax.sgd(0.1), alpha=0.5, beta=0.5, **SIZES)
        learner = mer_jax.der_plus_plus(MODEL, **how, augment=augment)
        return mer_jax.run(jax.random.key(1), learner, learner.init(params, at(stream, 0)), stream)[
            0
        ]

    one, other = quickly(
        lambda: (learn(stream, lambda key, e: e._replace(x=2 * e.x)), learn(doubled, None))
    )()
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    ours, theirs = one.memory.examples, other.memory.examples
    np.testing.assert_array_equal(ours.logits, theirs.logits)
    np.testing.assert_array_equal(2 * ours.example.x, theirs.example.x)


def test_a_network_that_learns_one_by_one_learns_the_same():
    """On a CPU an `InTurnOnCPU` loss goes through the replays in turn."""
    in_turn = MODEL._replace(loss=mer_jax.losses.InTurnOnCPU(MODEL.loss))
    stream, params = blobs(0, 6), MODEL.init(jax.random.key(0))
    ends = []
    for model in (MODEL, in_turn):
        learner = mer_jax.der_plus_plus(
            model, optimizer=optax.sgd(0.1), alpha=0.5, beta=0.5, **SIZES
        )
        state = learner.init(params, at(stream, 0))
        run = quickly(lambda state, of=learner: mer_jax.run(jax.random.key(1), of, state, stream))
        ends.append(run(state)[0].params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), *ends)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mer_jax.der(MODEL.loss, optimizer=optax.sgd(0.1), alpha=1.0, **SIZES),  # type: ignore[arg-type]
         "model must be a Model with `apply` and `loss`, .*, got a DenseFirstLoss"),
        (lambda: mer_jax.der(MODEL, optimizer=optax.sgd(0.1), alpha=-1.0, **SIZES), "alpha must"),
        (lambda: mer_jax.der_plus_plus(
            MODEL, optimizer=optax.sgd(0.1), alpha=1.0, beta=-1.0, **SIZES), "beta must"),
        (lambda: mer_jax.der(MODEL, optimizer=None, alpha=1.0, **SIZES), "optax transformation"),
        (lambda: mer_jax.der(
            MODEL, optimizer=optax.sgd(0.1), alpha=1.0, batch_size=0, capacity=3), "batch_size"),
        (lambda: mer_jax.der(MODEL, optimizer=optax.sgd(0.1), alpha=1.0, **SIZES).init(
            MODEL.init(jax.random.key(0)), jnp.ones(6)), "examples must have a field `x`.*, got"),
        (lambda: mer_jax.der(
            BY_HAND._replace(apply=lambda w, x, task: w * x), optimizer=optax.sgd(0.1), alpha=1.0,
            **SIZES).init(jnp.float32(0), at(blobs(0, 1), 0)._replace(x=jnp.float32(1))),
         r"logits \[C\] of one example, got float32\[\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_says_so(call, message):
    with pytest.raises(ValueError, match=message):
        call()
