"""A whole run of an agent in the modes of JAX and on a mesh."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from mer_jax import rl
from tests.mer_jax.rl.agents import small_agent

ROOT = Path(__file__).parents[3]


def whole_run(kind, make_key=jax.random.key):
    """A function of a seed: its network after 30 frames, the infos, and what it then gains."""
    env = rl.Scaled(rl.Catcher(64))
    params = rl.CatcherParams(fall_speed=0.06, max_steps_in_episode=40)
    model, agent = small_agent(kind, 25)

    def run(seed):
        network_key, *keys = jax.random.split(make_key(seed), 4)
        state = rl.start(keys[0], agent, env, params, model.init(network_key))
        state, infos = rl.play(keys[1], agent, env, params, state, 30)
        policy = rl.greedy(model, state.agent.params)
        return state, infos, rl.evaluate(keys[2], policy, env, params, 3, 50)

    return run


MODES = {
    "x64": lambda: jax.enable_x64(True),
    "strict": lambda: jax.numpy_dtype_promotion("strict"),
    "rank": lambda: jax.numpy_rank_promotion("raise"),
    "nans": lambda: jax.debug_nans(True),
    "infs": lambda: jax.debug_infs(True),
    "leaks": lambda: jax.checking_leaks(),
}


@pytest.fixture(scope="module")
def plain_run():
    return jax.jit(whole_run("mer"))(jnp.uint32(3))


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_jax_change_no_number(mode, plain_run):
    with MODES[mode]():
        came = jax.jit(whole_run("mer"))(jnp.uint32(3))
    assert jax.tree.map(jnp.result_type, came) == jax.tree.map(jnp.result_type, plain_run)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), came, plain_run
    )


def test_old_keys_are_the_same_and_other_generators_work(plain_run):
    came = jax.jit(whole_run("mer", jax.random.PRNGKey))(jnp.uint32(3))
    jax.tree.map(np.testing.assert_array_equal, came, plain_run)
    rbg = jax.jit(whole_run("mer", lambda seed: jax.random.key(seed, impl="rbg")))(jnp.uint32(3))
    assert np.isfinite(rbg[1].loss).all()


ON_MESHES = """
import contextlib, sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from tests.mer_jax.rl.test_modes import whole_run

assert jax.device_count() == 4
run = jax.vmap(whole_run(sys.argv[1]))
seeds = np.arange(4, dtype=np.uint32)
expected = jax.jit(run)(seeds)
mesh = jax.make_mesh((4,), ("seed",))
placed = jax.device_put(seeds, NamedSharding(mesh, P("seed")))
manual = jax.shard_map(run, mesh=mesh, in_specs=P("seed"), out_specs=P("seed"))
for program, context in (
    (run, contextlib.nullcontext()), (run, jax.set_mesh(mesh)), (manual, contextlib.nullcontext())
):
    with context:
        came = jax.jit(program)(placed)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), came, expected
    )
    assert {leaf.sharding.spec[0] for leaf in jax.tree.leaves(came)} == {"seed"}
print("the same")
"""


@pytest.mark.parametrize("kind", ["fifo", "mer"])
def test_seeds_on_a_mesh_give_the_same(kind):
    """Under a vmap with explicit axes, with and without a mesh of the context, and by hand."""
    flags = "--xla_force_host_platform_device_count=4"
    result = subprocess.run(
        [sys.executable, "-c", ON_MESHES, kind], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.stdout.strip() == "the same", result.stderr[-2000:]
