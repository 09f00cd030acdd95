"""Plain English: short sentences on all pages, and no semicolons in docstrings."""

import ast
import re

import pytest

from tests.project.pages import PAGES, README, ROOT, sentences

GUIDE = ROOT / "CONTRIBUTING.md"
LONGEST = 18
"""Words of an average sentence."""
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
    for folder in ("mer_jax", "experiments", "tests", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            for line, text in docstrings(path):
                checked += 1
                if ";" in text:
                    found.append(f"{name}:{line}")
    assert not found
    assert checked > 300
