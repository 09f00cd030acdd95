"""A page of text, tables and pictures, as one HTML file and as Markdown."""

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from experiments.running import files
from experiments.running.record import markdown


class Page:
    """Markdown texts, and pictures by file name."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.pictures: dict[str, bytes] = {}

    def table(self, heading: str, table: list[list[str]], caption: str) -> None:
        """Adds a table below a heading."""
        self.parts.append(f"{heading}\n\n{markdown(table, caption).strip()}")

    def draw(self, draw: Callable[..., object], title: str, **how: Any) -> None:
        """Adds the picture that `draw(file, title=title, **how)` makes."""
        file, name = io.BytesIO(), f"{len(self.pictures) + 1}.png"
        draw(file, title=title, **how)
        self.pictures[name] = file.getvalue()
        self.parts.append(f"![{title}]({name})")

    def write(self, folder: Path, title: str) -> None:
        """Writes report.md with its pictures, and report.html, which includes them."""
        text = f"# {title}\n\n" + "\n\n".join(self.parts) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / "report.md", text)
        for name, content in self.pictures.items():
            files.write(folder / name, lambda part: part.write_bytes(content))  # noqa: B023
            inline = "data:image/png;base64," + base64.b64encode(content).decode()
            text = text.replace(f"]({name})", f"]({inline})")
        reader = MarkdownIt("commonmark", {"html": False}).enable("table")
        reader.validateLink = lambda url: True  # type: ignore[method-assign]  # data: too
        page = HTML.format(title=html.escape(title), body=reader.render(text))
        files.write_text(folder / "report.html", page)


HTML = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; height: auto }}
code {{ font-size: 85%; overflow-wrap: anywhere }}
</style>
{body}
</html>
"""
