"""Hooks of the documentation site: links into the repository, equations, and docstrings."""

import re
from pathlib import Path
from typing import Any

import griffe
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


class Docstrings(griffe.Extension):
    """Brings docstrings into the form that mkdocstrings reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one module, class or function."""
        if obj.docstring:
            obj.docstring.value = markdown_of(obj.docstring.value, fields=obj.is_class)


SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes|Examples?):$")
SOURCE = re.compile(r"(Source|References?):\s*(.*)")
FIELD = re.compile(r"(\w+(?:, \w+)*): (?=\S)")


def markdown_of(text: str, fields: bool) -> str:
    """A docstring with blank lines before its sections, fences around its code, and lists.

    Args:
      fields: whether lines `name: text` are the fields of a class.
    """
    lines: list[str] = []
    in_code = in_source = False
    for line in text.splitlines():
        if in_code and not line.strip():
            lines.append("```")
            in_code = False
        elif not in_code and line.startswith(">>>"):
            lines += ["", "```pycon"]
            in_code = True
        elif SECTION.match(line):
            lines.append("")
            line = line.replace("Example:", "Examples:")
        elif found := SOURCE.match(line):
            line = f"\n**{found[1]}:** {found[2]}"
        elif fields and not in_code and FIELD.match(line):
            line = FIELD.sub(r"\n- `\1`: ", line, count=1)
        in_source = line.startswith("\n**") or (in_source and line.startswith(" "))
        lines.append(line.strip(" ") if in_source else line)
    return "\n".join([*lines, "```"] if in_code else lines)
