"""The README and the pages of the documentation, their programs, tables and prose."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def programs(page: Path) -> list[str]:
    """The blocks of Python code of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run(page: Path, *, start: int = 0, end: int | None = None, names: dict | None = None) -> dict:
    """Runs blocks of a page one after another, and returns their names."""
    names = {} if names is None else names
    for program in programs(page)[start:end]:
        exec(program, names)
    return names


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell, as lists of the other cells."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {row[0]: row[1:] for row in cells}


def links(text: str) -> list[str]:
    """Targets of the links and pictures that lead into the repository."""
    return re.findall(r"\]\(((?!http|#)[^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def sentences(text: str) -> list[str]:
    """The sentences of a page, without code, tables, headings, equations, links and pictures."""
    text = re.sub(r"```.*?```|<!--.*?-->|\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    # Code and numbers have no end of a sentence within them, and count as one word.
    text = re.sub(r"`[^`]*`", "code", text)
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if paragraph.strip().startswith(("|", "#", ":::")):
            continue
        paragraph = re.sub(r"^\s*(?:[-*]|\d+\.) ", "", paragraph)
        found += re.split(r"(?<=[.!?])[*)\"]*\s+", " ".join(paragraph.split()))
    return [sentence for sentence in found if re.search(r"\w", sentence)]
