"""A page of text, tables and pictures, as one HTML file and as Markdown."""

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from experiments import output


class Page:
    """Markdown whose pictures are kept apart, so that it can be written in two ways."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.pictures: dict[str, bytes] = {}

    def text(self, text: str) -> None:
        self.parts.append(text)

    def table(self, table: list[list[str]], caption: str = "") -> None:
        self.parts.append(output.markdown(table, caption).strip())

    def picture(self, title: str, draw: Callable[[Any], object]) -> None:
        file = io.BytesIO()
        draw(file)
        name = f"{len(self.pictures) + 1}.png"
        self.pictures[name] = file.getvalue()
        self.parts.append(f"![{title}]({name})")

    def write(self, folder: Path, title: str) -> None:
        """report.md with its pictures, and report.html with all of them in it."""
        text = f"# {title}\n\n" + "\n\n".join(self.parts) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.pictures.items():
            output.write(folder / name, lambda part: part.write_bytes(content))  # noqa: B023
        output.write_text(folder / "report.md", text)
        for name, content in self.pictures.items():
            inline = "data:image/png;base64," + base64.b64encode(content).decode()
            text = text.replace(f"]({name})", f"]({inline})")
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        markdown.validateLink = lambda url: True  # type: ignore[method-assign]  # data: too
        body = markdown.render(text)
        output.write_text(folder / "report.html", HTML.format(title=html.escape(title), body=body))


HTML = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; height: auto }}
code {{ font-size: 85%; overflow-wrap: anywhere }}
</style>
{body}
</html>
"""
