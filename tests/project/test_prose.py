"""Plain English: short sentences on all pages, and no semicolons in docstrings."""

import ast
import re

import pytest

from tests.project.pages import PAGES, README, ROOT, sentences

GUIDE = ROOT / "CONTRIBUTING.md"
LONGEST = 18
"""Words of an average sentence."""
UNCLEAN = """
mer_jax/_checks mer_jax/_meshes mer_jax/alignment mer_jax/losses mer_jax/metrics mer_jax/networks
mer_jax/stream mer_jax/task_params mer_jax/types
mer_jax/data/augment mer_jax/data/benchmark_files mer_jax/data/benchmarks mer_jax/data/datasets
mer_jax/data/omniglot
mer_jax/learners/_gem_gradients mer_jax/learners/_gem_qp mer_jax/learners/_replay_step
mer_jax/learners/er mer_jax/learners/ewc mer_jax/learners/exact_alignment mer_jax/learners/gem
mer_jax/learners/mer mer_jax/learners/online mer_jax/learners/task_networks
mer_jax/replay/by_task mer_jax/replay/fifo mer_jax/replay/mixing mer_jax/replay/reservoir
mer_jax/rl/agent mer_jax/rl/catcher mer_jax/rl/flappy_bird mer_jax/rl/game mer_jax/rl/play
mer_jax/rl/q_learning mer_jax/rl/values
mer_jax/steps/gram mer_jax/steps/reptile mer_jax/steps/sgd
tests/mer_jax/
"""
"""Modules and folders whose docstrings are still to be rewritten. All others are checked."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def test_sentences_are_found():
    text = "# Head\n\nOne two three. Four\nfive: `a. b`\n\n- Six [seven](x.md)!\n\n| a | b. c |\n"
    assert sentences(text) == ["One two three.", "Four five: code", "Six seven!"]


@pytest.mark.parametrize(
    "page", [README, GUIDE, *PAGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_sentences_are_short(page):
    found = sentences(page.read_text(encoding="utf-8"))
    words = sum(len(sentence.split()) for sentence in found)
    assert words <= LONGEST * len(found), f"{words / len(found):.1f} words a sentence"


def prose(text):
    """A docstring without code, in which a semicolon is not one of the text."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith((">>>", "..."))]
    return re.sub(r"`[^`]*`", "", "\n".join(kept))


def docstrings(path):
    """Docstrings of a module, its classes and functions, and its strings that document a name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, DOCUMENTED):
            for part in node.body:
                value = part.value if isinstance(part, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield part.lineno, prose(value.value)


def test_docstrings_have_no_semicolons():
    found, checked = [], 0
    unclean = tuple(name if name.endswith("/") else f"{name}.py" for name in UNCLEAN.split())
    for folder in ("mer_jax", "experiments", "tests", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(unclean):
                continue
            for line, text in docstrings(path):
                checked += 1
                if ";" in text:
                    found.append(f"{name}:{line}")
    assert not found
    assert checked > 300
