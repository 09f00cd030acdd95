"""Batches with a share of replays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from tests.mer_jax.compiling import quickly


def batches(count, size):
    return np.arange(count * size, dtype=np.int32).reshape(count, size)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_batch_has_its_share_of_replays_and_the_reservoir_only_what_was_new(share):
    buffer = mer_jax.reservoir(1000)
    state = buffer.init(np.int32(0))
    mix = quickly(lambda key, state, batch: mer_jax.mix(key, state, batch, share))
    num_replays = round(8 * share)
    learned = []
    for number, batch in enumerate(batches(12, 8)):
        before = set(learned)
        mixed, state = mix(jax.random.key(number), state, batch)
        mixed = np.asarray(mixed)
        assert mixed.shape == (8,)
        replaced = min(num_replays, len(before))
        np.testing.assert_array_equal(mixed[: 8 - num_replays], batch[: 8 - num_replays])
        drawn = mixed[8 - num_replays : 8 - num_replays + replaced]
        assert set(drawn.tolist()) <= before
        rest = 8 - num_replays + replaced
        np.testing.assert_array_equal(mixed[rest:], batch[rest:])
        learned += batch[: 8 - num_replays].tolist() + batch[rest:].tolist()
        assert int(state.num_seen) == len(learned)
        np.testing.assert_array_equal(np.asarray(state.examples)[: len(learned)], learned)


def test_what_is_mixed_may_be_any_pytree_in_one_program():
    buffer = mer_jax.reservoir(16)
    tokens = np.arange(60, dtype=np.int32).reshape(5, 4, 3)
    stream = {"tokens": tokens, "weight": np.ones((5, 4), np.float32)}
    first = jax.tree.map(lambda leaf: leaf[0, 0], stream)

    def step(carry, batch):
        key, state = carry
        mix_key, key = jax.random.split(key)
        mixed, state = mer_jax.mix(mix_key, state, batch, 0.5)
        return (key, state), mixed

    start = (jax.random.key(0), buffer.init(first))
    (_, state), mixed = quickly(lambda start: jax.lax.scan(step, start, stream))(start)
    assert mixed["tokens"].shape == (5, 4, 3)
    assert int(state.num_seen) == 4 + 4 * 2  # the first batch finds nothing to replay
    np.testing.assert_array_equal(np.asarray(mixed["tokens"])[:, :2], tokens[:, :2])


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ({}, "an axis of examples in common"),
        (np.int32(3), "an axis of examples in common"),
        ((np.zeros(4), np.zeros(3)), "an axis of examples in common"),
        ((np.zeros(4, np.int32),), r"expected int32\[\], got \(int32\[\],\)"),
        (np.zeros(4, np.float32), r"expected int32\[\] at itself, got float32\[\]"),
        (np.zeros((4, 2), np.int32), r"expected int32\[\] at itself, got int32\[2\]"),
    ],
)
def test_batches_unlike_the_reservoir(batch, says):
    state = mer_jax.reservoir(4).init(jnp.int32(0))
    with pytest.raises(ValueError, match=says):
        mer_jax.mix(jax.random.key(0), state, batch, 0.5)


def test_a_share_is_no_traced_number():
    state = mer_jax.reservoir(4).init(jnp.int32(0))
    mix = jax.jit(lambda share: mer_jax.mix(jax.random.key(0), state, jnp.arange(4), share))
    with pytest.raises(
        ValueError, match=r"replay_share must be a plain number, got the traced .*; make it static"
    ):
        mix(0.5)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_bad_shares(share):
    buffer = mer_jax.reservoir(4)
    with pytest.raises(ValueError, match="replay_share must be a number from 0 to 1, got"):
        mer_jax.mix(jax.random.key(0), buffer.init(jnp.int32(0)), jnp.arange(4), share)
