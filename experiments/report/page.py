"""A page of tables and pictures, as HTML and as Markdown."""

import base64
import functools
import hashlib
import html
import io
import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from experiments.running import files
from experiments.running.record import markdown

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
code { font-size: 85%; overflow-wrap: anywhere }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content security policy: the page's own style and embedded pictures, nothing else."""
HEAD = f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<style>{STYLE}</style>
"""
# Besides the punctuation of CommonMark: tables, strikethrough, formulas and bare links of GitHub.
_LIVE = re.compile(r"[\\`*\[\]<>|&~$#]|(?<!\w)_|_(?!\w)|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)


def escape(text: str) -> str:
    """Plain text in one line of Markdown, where nothing of it is markup."""
    return _LIVE.sub(lambda match: "\\" + match[0], " ".join(text.split()))


def code(text: str) -> str:
    """A code span of Markdown."""
    text = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if len(ticks) > 1 else f"`{text}`"


class Page:
    """A page that grows part by part. All texts are plain: both formats escape them."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.html: list[str] = []
        self.markdown: list[str] = []
        self.pictures: list[bytes] = []
        self.heading(title, 1)

    def heading(self, text: str, level: int = 2) -> None:
        """Adds a heading."""
        self.html.append(f"<h{level}>{html.escape(text)}</h{level}>")
        self.markdown.append(f"{'#' * level} {escape(text)}")

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self.html.append(f"<p>{html.escape(text)}</p>")
        self.markdown.append(escape(text))

    def table(self, rows: list[list[str]], caption: str) -> None:
        """Adds a table, its head first, with a caption below."""
        lines = []
        for tag, line in zip(["th", *["td"] * len(rows)], rows, strict=False):
            lines.append("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line))
        self.html.append("<table>\n<tr>" + "</tr>\n<tr>".join(lines) + "</tr>\n</table>")
        self.markdown.append(markdown([[*map(escape, line)] for line in rows]).strip())
        self.text(caption)

    def facts(self, facts: Mapping[str, str]) -> None:
        """Adds a list of names and values."""
        items = (
            f"<li>{html.escape(n)}: <code>{html.escape(v)}</code></li>" for n, v in facts.items()
        )
        self.html.append("<ul>\n" + "\n".join(items) + "\n</ul>")
        self.markdown.append("\n".join(f"- {escape(n)}: {code(v)}" for n, v in facts.items()))

    def picture(self, title: str, png: bytes) -> None:
        """Adds a picture, with at most 128 colours."""
        small = io.BytesIO()
        image = Image.open(io.BytesIO(png)).convert("RGB")
        image.quantize(128, Image.Quantize.FASTOCTREE).save(small, "png", optimize=True)
        self.pictures.append(small.getvalue())
        inline = base64.b64encode(small.getvalue()).decode()
        alt = html.escape(title)
        self.html.append(f'<p><img alt="{alt}" src="data:image/png;base64,{inline}"></p>')
        self.markdown.append(f"![{escape(title)}]({len(self.pictures)}.png)")

    def write(self, folder: Path) -> None:
        """Writes report.html, which includes the pictures, and report.md beside them."""
        title = f"<title>{html.escape(self.title)}</title>"
        text = "\n".join([f"{HEAD}{title}", *self.html, "</html>\n"])
        files.write_text(folder / "report.html", text)
        for number, content in enumerate(self.pictures, 1):
            save = functools.partial(Path.write_bytes, data=content)
            files.write(folder / f"{number}.png", save)
        files.write_text(folder / "report.md", "\n\n".join(self.markdown) + "\n")
