"""The tutorials run, on shorter streams, and hold the outputs of a whole run."""

import json

import matplotlib as mpl
import pytest

from tests.project.pages import ROOT

pytestmark = pytest.mark.usefixtures("quick_keys")

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
SHORTER = {"LENGTH = 5, 200": "LENGTH = 5, 20", "FRAMES = 20_000": "FRAMES = 100"}


def cells(path):
    """The cells of code."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_there_are_three():
    assert len(TUTORIALS) == 3


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs(path, monkeypatch):
    monkeypatch.delenv("MER_JAX_DATA_DIR", raising=False)
    monkeypatch.setattr(mpl, "rcParams", mpl.rcParams | {"backend": "agg"})
    program = "\n".join("".join(cell["source"]) for cell in cells(path))
    assert sum(program.count(long) for long in SHORTER) == 1
    for long, short in SHORTER.items():
        program = program.replace(long, short)
    exec(program, {})


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_holds_its_outputs(path):
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert all(cell["execution_count"] for cell in cells(path))
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert any("image/png" in output.get("data", {}) for output in outputs)
