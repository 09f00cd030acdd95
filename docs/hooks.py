"""Hooks of the documentation site: links into the repository, and equations as MathML."""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"(!?)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def outside(page: File, target: str) -> Path | None:
    """The file of the repository that a link of a page leads to, None if it is another page."""
    path = (DOCS / page.src_uri).parent.joinpath(target).resolve()
    return None if path.is_relative_to(DOCS) else path


def on_files(files: Files, config: Any) -> Files:
    """Adds the pictures of the repository that a page shows."""
    shown = set()
    for page in files.documentation_pages():
        for is_picture, _, target, _ in LINK.findall(page.content_string):
            if is_picture and (path := outside(page, target)):
                shown.add(path)
    for path in sorted(shown):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Shows pictures from the site, and other files of the repository as text without a link."""

    def within_site(found: re.Match[str]) -> str:
        is_picture, text, target, _ = found.groups()
        if (path := outside(page.file, target)) is None:
            return found[0]
        up = "../" * page.file.src_uri.count("/")
        return f"![{text}]({up}{path.relative_to(ROOT).as_posix()})" if is_picture else text

    return LINK.sub(within_site, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Writes equations as MathML, which browsers show without a script."""

    def mathml(found: re.Match[str]) -> str:
        latex = found[2].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return convert(latex.strip(), display="block" if found[1] == "div" else "inline")

    return EQUATION.sub(mathml, html)
