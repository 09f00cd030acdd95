"""The wheel and the sdist: their files and metadata, and a fresh environment with the wheel."""

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import mer_jax
from tests.project.pages import rows

ROOT = Path(__file__).parents[2]
NEEDS = {"jax", "jaxlib", "numpy", "optax", "flax"}
EXTRAS = ("matplotlib", "tyro", "sklearn", "gymnax", "flashbax", "tensorflow_datasets", "PIL",
          "tensorboardX", "pytest")  # fmt: skip
FREE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""Variables with which a copy of the sources is not found."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The sdist, and the wheel that is made from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("mer_jax-*.tar.gz"), out.glob("mer_jax-*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def wheel(made):
    return made[1]


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory):
    """Python of a fresh environment with the wheel, which finds other packages here."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    install = ["-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run([sys.executable, *install], capture_output=True, text=True, env=FREE)
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    paths = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    (packages / "others.pth").write_text("\n".join(dict.fromkeys(paths)))
    return python


def test_it_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "mer_jax/py.typed" in names
    assert "mer_jax/rl/catcher.py" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mer_jax"}


def test_the_sdist_has_what_a_reader_needs(made):
    with tarfile.open(made[0]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "mer_jax/rl/catcher.py"} <= names
    assert not [name for name in names if name.startswith(("experiments", "runs", "site"))]


def test_it_tells_its_version_and_license(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        told = email.message_from_string(file.read(name).decode())
        assert any(name.endswith("licenses/LICENSE") for name in file.namelist())
    assert told["Version"] == mer_jax.__version__
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Author"] == "mer_jax contributors"
    assert "Programming Language :: Python :: 3.13" in told.get_all("Classifier")
    extras = {"experiments", "rl", "tensorboard", "test", "docs"}
    assert set(told.get_all("Provides-Extra")) == extras
    shown = rows((ROOT / "README.md").read_text(encoding="utf-8"))
    assert extras <= {name.strip("`") for name in shown}


def test_it_asks_for_four_packages_and_jaxlib(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith("METADATA")]
        lines = file.read(name).decode().splitlines()
    asked = [line.removeprefix("Requires-Dist: ") for line in lines if "Requires-Dist" in line]
    plain = {line.split(">")[0].strip() for line in asked if "extra ==" not in line}
    assert plain == NEEDS


def test_it_learns_without_the_extras(fresh, tmp_path):
    """From a fresh environment, with every other package made impossible to import."""
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
        [fresh, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=FREE
    )
    assert said.returncode == 0, said.stderr
    path, learned = said.stdout.split()
    assert Path(path).is_relative_to(fresh.parents[1])
    assert learned == "True"
