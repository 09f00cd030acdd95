"""Equality of every learner in every mode of JAX, donated, exported, in half precision.

`python -m tests.mer_jax.test_composes` writes the table of `docs/composing.md`.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
pytest.importorskip("flashbax", reason="mer_jax.rl needs it")

import mer_jax
from mer_jax import Example
from tests.mer_jax import composing

PAGE = Path(__file__).parents[2] / "docs/composing.md"


@pytest.mark.parametrize(("name", "way"), composing.cells(composing.ON_ONE))
def test_a_learner_composes(name, way):
    composing.WAYS[way].check(name)


def with_tables(page: str) -> str:
    """The page, whose table and list of ways are those of `composing`."""
    for name, content in (("table", composing.table()), ("ways", composing.list_of_ways())):
        between = re.compile(f"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        page, count = between.subn(lambda found: found[1] + content + found[2], page)  # noqa: B023
        assert count == 1
    return page


def test_the_page_shows_what_is_tested():
    page = PAGE.read_text()
    assert page == with_tables(page), "run `python -m tests.mer_jax.test_composes`"


def test_the_bounds_tell_a_run_from_no_run():
    """No learner stays so near to its start that a bound would hide it."""
    for name, case in composing.LEARNERS.items():
        state, _ = composing.plain_result(name)
        moved = jax.tree.map(lambda a, b: abs(a - b).max(), state.params, case.params)
        assert max(jax.tree.leaves(moved)) > composing.half_bound(jnp.bfloat16), name


def half_square(w, x):
    return (w - x) ** 2 / 2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_small_steps_add_up_in_half_precision(dtype):
    """Each of 3,000 steps goes 0.0065 of the way, which is less than the spacing of bfloat16 at 1.

    x is rounded once, w where the gradient w - x becomes 0, and w once more at the end.
    """
    learner = mer_jax.mer(
        half_square, alpha=0.1, beta=0.01, gamma=1.0, num_batches=1, batch_size=10, capacity=100
    )
    w, stream = jnp.array(1, dtype), jnp.full(3000, 1.3, dtype)
    state = learner.init(w, stream[0])
    state, _ = jax.jit(lambda state: mer_jax.run(jax.random.key(0), learner, state, stream))(state)
    assert state.params.dtype == dtype
    rounding = float(jnp.finfo(dtype).eps) / 2
    np.testing.assert_allclose(
        np.float32(state.params), 1.3, rtol=0, atol=3 * 1.3 * rounding + 1e-4
    )


@pytest.mark.parametrize("size", [1, 300, 3e4])
@pytest.mark.parametrize("name", ["gem", "agem"])
def test_large_gradients_in_half_precision(name, size):
    """A gradient of (size, size) against a past one of (-size, 0) loses its first component."""
    settings = {"optimizer": optax.sgd(2.0**-16), "num_tasks": 2, "num_memories": 4}
    learner = {
        "gem": lambda loss: mer_jax.gem(loss, **settings, margin=0.0),
        "agem": lambda loss: mer_jax.agem(loss, **settings, sample_size=4),
    }[name](lambda params, example: params @ example.x)
    past, incoming = (
        Example(jnp.float16(x), jnp.int32(0), jnp.int32(task))
        for task, x in enumerate([[-size, 0], [size, size]])
    )
    state = learner.init(jnp.zeros(2, jnp.float16), past)
    step = jax.jit(learner.update)
    before, _ = step(jax.random.key(0), state, past)
    after, _ = step(jax.random.key(1), before, incoming)
    moved = np.float32(after.params) - np.float32(before.params)
    # A relative error of 2^-10 in the product, and the spacing of the smallest float16 numbers.
    expected = np.array([0, -size * 2.0**-16])
    np.testing.assert_allclose(moved, expected, rtol=0, atol=size * 2.0**-26 + 2.0**-24)


def test_shares_are_exact_in_double_precision():
    """At rate 1 three equal examples lead exactly to where they are, and s = 1/3 a third there."""
    with jax.enable_x64(True):
        w, x = jnp.float64(0), jnp.float64(1)
        er = mer_jax.er(half_square, optimizer=optax.sgd(1.0), batch_size=3, capacity=3)
        state = er.init(w, x)
        for number in range(3):
            state, _ = jax.jit(er.update)(jax.random.key(number), state._replace(params=w), x)
        assert state.params == 1
        rates = dict(alpha=1.0, gamma=1.0, s=1 / 3)
        learner = mer_jax.mer_current_rate(half_square, **rates, batch_size=1, capacity=3)
        state = learner.init(w, x)
        for number in range(2):  # the first is only stored
            state, _ = jax.jit(learner.update)(jax.random.key(number), state, x)
        assert state.params == 1 / 3


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
