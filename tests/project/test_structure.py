"""Modules and functions that stay short, say what they are, and import nothing above them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for package in ("mer_jax", "experiments")
    for path in (ROOT / package).rglob("*.py")
    if "results" not in path.parts
)
FLOORS = (
    ("experiments.running",),
    ("experiments.plots",),
    ("experiments.supervised", "experiments.rl", "experiments.language"),
    ("experiments.joint", "experiments.tables", "experiments.report", "experiments.bench",
     "experiments.survival", "experiments.examples"),
)  # fmt: skip
"""Folders of experiments from the ground up. Those of one floor do not import each other."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(path):
    """Names of all modules that a module imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(path):
    text = path.read_text()
    tree = ast.parse(text)
    first = (ast.get_docstring(tree) or "").split("\n")[0]
    assert first
    assert not first.startswith(("What", "How", "Makes", "Learns", "Trains", "Kills", "Measures"))
    assert ";" not in first
    assert len(text.splitlines()) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            assert node.end_lineno - start + 1 <= 60, node.name


def test_experiments_are_no_more_than_this():
    lines = [len(path.read_text().splitlines()) for path in MODULES if "experiments" in path.parts]
    assert sum(lines) <= 6900


def floor_of(name):
    for number, floor in enumerate(FLOORS):
        for room in floor:
            if name == room or name.startswith(room + "."):
                return number, room
    return None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_runs_upwards(path):
    name = name_of(path)
    if name.startswith("mer_jax"):
        assert not any(other.startswith("experiments") for other in imported(path))
        return
    mine = floor_of(name)
    for other in imported(path):
        assert not any(
            part.startswith("_") and part != "__main__" for part in other.split(".")[:-1]
        )
        assert not (other.startswith("mer_jax.") and other.split(".")[1].startswith("_")), other
        if mine and (its := floor_of(other)):
            assert its == mine or its[0] < mine[0], f"{name} imports {other}"
