"""Seeds and parameters sharded over four devices, with the numbers of a single device.

The number of devices is set before JAX starts, so the cases run in a process of their own:
`python -m tests.mer_jax.test_on_devices FILE` writes to FILE how each went.
"""

import functools
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from unittest import mock

import jax
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
pytest.importorskip("flashbax", reason="mer_jax.rl needs it")

from tests.mer_jax import composing
from tests.mer_jax.compiling import QUICK_KEYS
from tests.mer_jax.data import test_augment
from tests.mer_jax.rl import test_q_learning
from tests.mer_jax.steps import test_reptile

ROOT = Path(__file__).parents[2]
OTHERS = {
    "sharded rows": composing.sharded_rows,
    "agents": test_q_learning.on_devices,
    "augmentations": test_augment.on_devices,
    "an anchor": test_reptile.on_devices,
}
"""Checks that are not about one learner."""


def failures() -> dict[str, str]:
    """The traceback of each case that fails."""
    checks = {
        f"{name}, {way}": functools.partial(composing.WAYS[way].check, name)
        for name, way in composing.cells(composing.ON_DEVICES)
    }
    checks |= {name: functools.partial(composing.part_on_devices, name) for name in composing.PARTS}
    found = {}
    with mock.patch("jax.random.key", functools.partial(jax.random.key, impl=QUICK_KEYS)):
        for name, check in (checks | OTHERS).items():
            try:
                check()
            except Exception:
                found[name] = traceback.format_exc()
    return found


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    file = tmp_path_factory.mktemp("devices") / "failed.json"
    devices = f"--xla_force_host_platform_device_count={composing.SEEDS}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {devices}",
    }
    subprocess.run([sys.executable, "-m", __name__, file], cwd=ROOT, env=environment, check=True)
    return json.loads(file.read_text())


@pytest.mark.parametrize(("name", "way"), composing.cells(composing.ON_DEVICES))
def test_seeds_on_devices(failed, name, way):
    found = failed.get(f"{name}, {way}")
    if (name, way) == ("la_maml, second order", "mesh") and jax.__version_info__ >= (0, 11):
        assert "is not found in mesh" in found, "JAX is mended: change this and docs/composing.md"
        pytest.skip("JAX 0.11 loses the sharding of the gradient of what a scan closes over")
    assert found is None, found


@pytest.mark.parametrize("name", [*OTHERS, *composing.PARTS])
def test_parts_on_devices(failed, name):
    assert name not in failed, failed[name]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(failures()))
