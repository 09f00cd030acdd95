"""The wheel: what it holds, and that it works with only what it asks for."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS = {"jax", "jaxlib", "numpy", "optax", "flax"}
EXTRAS = ("matplotlib", "tyro", "sklearn", "gymnax", "flashbax", "tensorflow_datasets", "PIL",
          "tensorboardX", "markdown_it", "pydantic", "pytest")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", out, ROOT]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode and "Could not find a version" in made.stderr:
        pytest.skip("a wheel is made with setuptools, which cannot be downloaded here")
    assert made.returncode == 0, made.stderr
    (path,) = out.glob("mer_jax-*.whl")
    return path


def test_it_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "mer_jax/py.typed" in names
    assert "mer_jax/rl/catcher.py" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mer_jax"}


def test_it_asks_for_four_packages_and_jaxlib(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith("METADATA")]
        lines = file.read(name).decode().splitlines()
    asked = [line.removeprefix("Requires-Dist: ") for line in lines if "Requires-Dist" in line]
    plain = {line.split(">")[0].strip() for line in asked if "extra ==" not in line}
    assert plain == NEEDS


def test_it_learns_without_the_extras(wheel, tmp_path):
    """From the wheel alone, with every other package made impossible to import."""
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path)
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"
        "import jax, jax.numpy as jnp, mer_jax\n"
        "import mer_jax.data.benchmarks, mer_jax.data.datasets\n"
        "model = mer_jax.networks.mlp((2, 4, 2))\n"
        "learner = mer_jax.mer(model.loss, alpha=0.1, beta=0.1, gamma=1.0, num_batches=2,\n"
        "                      batch_size=3, capacity=5)\n"
        "example = mer_jax.Example(jnp.ones(2), jnp.int32(1), jnp.int32(0))\n"
        "state = learner.init(model.init(jax.random.key(0)), example)\n"
        "state, info = jax.jit(learner.update)(jax.random.key(1), state, example)\n"
        "print(mer_jax.__file__, bool(info.loss > 0))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    path, learned = said.stdout.split()
    assert Path(path).is_relative_to(tmp_path)
    assert learned == "True"
