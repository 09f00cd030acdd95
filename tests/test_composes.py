"""Every learner in every way of running it gives what the plain run gives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
pytest.importorskip("flashbax", reason="mer_jax.rl needs it")

import composing
import mer_jax


@pytest.mark.parametrize(("name", "way"), composing.cells(on_devices=False))
def test_a_learner_composes(name, way):
    composing.WAYS[way].check(name)
