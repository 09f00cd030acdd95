"""Every learner without compiling gives what the compiled one gives."""

import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
pytest.importorskip("flashbax", reason="mer_jax.rl needs it")

from tests.mer_jax import composing


@pytest.mark.parametrize(("name", "way"), composing.cells(composing.WITHOUT_JIT))
def test_a_learner_composes(name, way):
    composing.WAYS[way].check(name)
