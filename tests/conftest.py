"""Settings of all tests and of the programs that they start."""

import os
from importlib import metadata
from pathlib import Path

# Several test processes may share one accelerator.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Accelerators round the factors of products to fewer bits unless told not to.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# Most programs run once, on few numbers, so quick compilation matters more than fast code.
# These options leave XLA's own passes as they are, and thus the copies that tests count.
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
# XLA ends the process at a flag that it does not know, and pytest hides its message.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICKLY)
# All processes and later runs share compiled programs. The cache includes the smallest programs,
# since most tests run single operations.
compiled = Path(__file__).parents[1] / ".compiled_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import functools  # noqa: E402
import gc  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from mer_jax.data import omniglot  # noqa: E402
from tests.mer_jax.compiling import QUICK_KEYS  # noqa: E402

# Tracing makes millions of objects, nearly all of which are freed without a search for cycles.
gc.freeze()
gc.set_threshold(100_000, 50, 100)
jax.devices()
"""JAX has started, so that a program within a test changes no flags for those after it."""

LONG = (
    "test_on_devices", "test_composes", "test_q_learning", "test_supervised_study", "test_loop",
    "test_examples", "test_mer", "test_gem", "test_docs", "test_types", "test_choosing",
    "test_language_study", "test_rl_study", "test_fuzz_flags",
)  # fmt: skip
"""The slowest modules of tests, slowest first."""


def pytest_collection_modifyitems(items):
    """Starts the slowest modules first, so that no core waits for one at the end."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.module.__name__.split(".")[-1], len(LONG)))


@pytest.fixture(scope="module")
def quick_keys():
    """`jax.random.key` makes keys that compile quickly, where any good draw is good enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jax.random.key", functools.partial(jax.random.key, impl=QUICK_KEYS))
        yield


@pytest.fixture
def unrendered(monkeypatch):
    """Pictures are made whole and saved without pixels, where another test renders the same."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, path, **how: path.write_bytes(b"")
    )


@pytest.fixture
def made_omniglot(monkeypatch):
    """A synthetic Omniglot with alphabets of two and four characters.

    A character is a patch in one of six places, with noise.
    """
    rng = np.random.default_rng(0)
    label, drawer = np.divmod(np.arange(120), 20)
    images = rng.integers(0, 60, (120, 28, 28)).astype(np.uint8)
    for image, which in zip(images, label, strict=True):
        row, column = divmod(which, 3)
        image[14 * row : 14 * row + 10, 9 * column : 9 * column + 9] = 255
    data = omniglot.Omniglot(
        images,
        label.astype(np.int32),
        (label >= 2).astype(np.int32),
        drawer.astype(np.int32),
        ("A", "B"),
    )
    monkeypatch.setattr(omniglot, "load", lambda data_dir=None, on_download=print: data)
