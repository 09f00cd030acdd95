"""Every learner donated, exported and in half precision gives what the plain run gives."""

import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
pytest.importorskip("flashbax", reason="mer_jax.rl needs it")

from tests.mer_jax import composing


@pytest.mark.parametrize(("name", "way"), composing.cells(composing.PROGRAMS))
def test_a_learner_composes(name, way):
    composing.WAYS[way].check(name)
