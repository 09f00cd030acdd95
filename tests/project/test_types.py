"""The public interface under a type checker, with keywords and with what it must refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "typed_use.py"
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


def check(*checker: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *checker]
    return subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True)


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> list[str]:
    """Pyright's lines on errors, in `typed_use.py` and in a program of what is wrong.

    mypy reads `typed_use.py` with all the other files, by its own command.
    """
    pytest.importorskip("pyright")
    if check("pyright", "--version").returncode:
        pytest.skip("pyright cannot fetch its program here")
    wrong = tmp_path_factory.mktemp("types") / "wrong.py"
    wrong.write_text(PRELUDE + "\n".join(WRONG) + "\n")
    done = check("pyright", "--pythonpath", sys.executable, str(SCRIPT), str(wrong))
    # 1 for errors in the programs, 2 for one of the checker.
    assert done.returncode == 1, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if " error: " in line]


def test_the_public_interface_type_checks(errors):
    assert [line for line in errors if "wrong.py:" not in line] == []


def test_what_is_wrong_is_refused(errors):
    first = PRELUDE.count("\n") + 1
    for line, what in enumerate(WRONG.values(), first):
        assert any(f"wrong.py:{line}:" in error for error in errors), f"{what}\n{errors}"
