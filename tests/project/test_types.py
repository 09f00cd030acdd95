"""The public interface under type checkers, with keywords and with what it must refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "typed_use.py"
STRICT = """\
[mypy]
strict = true
# As where the package is installed: its types are read, and it is not judged itself.
[mypy-mer_jax.*]
follow_imports = silent
# Whose authors give no types.
[mypy-optax.*]
ignore_missing_imports = true
"""
WRONG = {
    "learner.update(key=KEY, state=state, sample=EXAMPLE)": "an argument of another name",
    "buffer.sample(key=KEY, state=state, n=2.5)": "a share for a number",
    "state.memories": "a field that the state does not have",
}
PRELUDE = """\
import jax, jax.numpy as jnp, mer_jax
KEY = jax.random.key(0)
EXAMPLE = mer_jax.Example(jnp.ones(4), jnp.int32(0), jnp.int32(0))
model = mer_jax.networks.mlp((4, 3))
learner = mer_jax.mer(
    model.loss, alpha=0.1, beta=0.1, gamma=1.0, num_batches=2, batch_size=3, capacity=5
)
state = learner.init(model.init(KEY), EXAMPLE)
buffer = mer_jax.reservoir(5)
"""


def check(checker: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *checker, str(file)]
    return subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True)


@pytest.fixture(params=["mypy", "pyright"])
def checker(request, tmp_path):
    if request.param == "mypy":
        settings = tmp_path / "mypy.ini"
        settings.write_text(STRICT)
        return ["mypy", "--config-file", str(settings)]
    pytest.importorskip("pyright")
    if check(["pyright"], Path("--version")).returncode:
        pytest.skip("pyright cannot fetch its program here")
    return ["pyright", "--pythonpath", sys.executable]


def test_the_public_interface_type_checks(checker):
    done = check(checker, SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_wrong_is_refused(checker, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(PRELUDE + "\n".join(WRONG) + "\n")
    done = check(checker, file)
    first = PRELUDE.count("\n") + 1
    for line, what in enumerate(WRONG.values(), first):
        assert f"wrong.py:{line}:" in done.stdout, f"{what}\n{done.stdout}"
