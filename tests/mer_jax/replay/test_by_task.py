"""Memories with a fixed number of examples of each task."""

import math

import jax
import numpy as np
import pytest

from mer_jax.replay import by_task
from tests.mer_jax.compiling import quickly

KEPT = {keep: quickly(keep) for keep in (by_task.keep_first, by_task.keep_last)}
of_task = quickly(by_task.of_task)


def kept(keep, offers, num_tasks=2, room=3):
    memory = by_task.empty(num_tasks, room, np.float32(0))
    for task, value in offers:
        memory = KEPT[keep](memory, np.int32(task), np.float32(value))
    return memory


OFFERS = [(1, 1), (1, 2), (0, 9), (1, 3), (1, 4), (1, 5)]


def test_the_first_are_kept():
    memory = kept(by_task.keep_first, OFFERS)
    np.testing.assert_array_equal(memory.examples, [[9, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(memory.num_seen, [1, 5])


def test_the_last_are_kept():
    np.testing.assert_array_equal(kept(by_task.keep_last, OFFERS).examples[1], [4, 5, 3])


def test_a_task_is_its_examples_and_their_shares():
    memory = kept(by_task.keep_last, OFFERS)
    for task, rows, shares in ((0, [9, 9, 9], [1, 0, 0]), (1, [4, 5, 3], [1 / 3] * 3)):
        ours = of_task(memory, np.int32(task))
        np.testing.assert_array_equal(ours[0], rows)
        np.testing.assert_allclose(ours[1], shares)
    _, shares = of_task(kept(by_task.keep_last, []), np.int32(0))
    np.testing.assert_array_equal(shares, [0, 0, 0])


def test_others_are_drawn_uniformly_and_each_at_most_once():
    """Of 9 examples of the other tasks 4 are drawn: each with chance 4/9, never twice."""
    offers = [(task, 10 * task + i) for task in (0, 2, 3) for i in range(3)] + [(1, 99)] * 3
    memory = kept(by_task.keep_last, offers, num_tasks=5)

    def draw(key):
        return by_task.sample_others(key, memory, np.int32(1), 4)

    rows, shares = quickly(jax.vmap(draw))(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(shares, 1 / 4)
    assert all(len(set(row)) == 4 for row in rows.tolist())
    values, counts = np.unique(rows, return_counts=True)
    np.testing.assert_array_equal(values, [0, 1, 2, 20, 21, 22, 30, 31, 32])
    chance = 4 / 9
    deviation = np.sqrt(chance * (1 - chance) / 4000)
    np.testing.assert_allclose(counts / 4000, chance, atol=5 * deviation)


@pytest.mark.parametrize(("size", "num_draws"), [(6, 3), (5, 5), (7, 1), (5, 4)])
def test_every_set_is_as_likely(size, num_draws):
    keys = jax.random.split(jax.random.key(0), 8000)
    drawn = quickly(jax.vmap(lambda key: by_task.distinct(key, size, num_draws)))(keys)
    sets, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    chance = 1 / math.comb(size, num_draws)
    assert len(sets) == math.comb(size, num_draws)
    deviation = np.sqrt(chance * (1 - chance) / 8000)
    np.testing.assert_allclose(counts / 8000, chance, rtol=0, atol=5 * deviation)


draw_five = quickly(lambda key, size: by_task.distinct(key, size, 5))


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_draw_of_more_than_there_is_begins_with_all(size):
    drawn = np.asarray(draw_five(jax.random.key(0), np.int32(size)))
    assert sorted(drawn[:size].tolist()) == list(range(size))
    assert (drawn[size:] >= size).all()


def test_all_are_drawn_where_there_are_fewer():
    memory = kept(by_task.keep_last, [(0, 1), (0, 2), (1, 7)])
    draw = quickly(by_task.sample_others, static_argnums=3)
    rows, shares = jax.device_get(draw(jax.random.key(0), memory, np.int32(1), 50))
    assert sorted(rows[shares > 0].tolist()) == [1, 2]
    np.testing.assert_allclose(shares[shares > 0], 1 / 2)
    _, shares = draw(jax.random.key(0), memory, np.int32(0), 50)
    assert (np.asarray(shares) > 0).sum() == 1


def test_an_example_unlike_the_others_is_refused():
    memory = by_task.empty(2, 3, np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"expected float32\[4\] at itself, got float32\[\]"):
        jax.eval_shape(by_task.keep_first, memory, 0, np.float32(1))
