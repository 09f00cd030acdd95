"""Texts of four kinds that any Python installation has."""

import functools
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE")


class Domain(NamedTuple):
    """One kind of text. train, test: `[bytes]` uint8, of different files. source: a description."""

    name: str
    train: np.ndarray
    test: np.ndarray
    source: str


@functools.lru_cache  # the lists of files of all packages are long
def load(train_bytes: int, test_bytes: int) -> list[Domain]:
    """Python source, C headers, licences and the prose of package descriptions.

    Args:
      train_bytes, test_bytes: size of each kind. Every fifth file is test text.
    Raises:
      ValueError: if this installation has less of one kind.
    """
    paths = {name: Path(path) for name, path in sysconfig.get_paths().items()}
    folders = [paths["include"], *paths["purelib"].glob("numpy/**/include")]
    headers = [file for folder in folders for file in folder.rglob("*.h")]
    packages = other_packages()
    files = [file for package in packages for file in package.files or ()]
    licences = [Path(file.locate()) for file in files if file.name.upper().startswith(LICENCES)]
    # Older metadata has the description as a field, newer as its body, which comes last.
    prose = [(package.metadata.get_all("Description") or [""])[-1] for package in packages]
    found = {
        "Python": (_read(paths["stdlib"].glob("*.py")), "the standard library's modules"),
        "C": (_read(headers), "headers of Python and NumPy"),
        "licences": (_read(licences), "licence files of the installed packages"),
        "prose": ([text.encode() for text in prose], "descriptions of the installed packages"),
    }
    return [_domain(name, *of, train_bytes, test_bytes) for name, of in found.items()]


def other_packages() -> list[metadata.Distribution]:
    """Installed packages by name, without this one, whose description changes with the code."""
    packages = (package for package in metadata.distributions() if package.name != "mer_jax")
    return sorted(packages, key=lambda package: (package.name or "").lower())


def _read(paths: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in sorted(set(paths)) if path.is_file()]


def _domain(name: str, texts: list[bytes], source: str, *sizes: int) -> Domain:
    # Many licences are one text with other names at its end.
    different = [*{text[:200]: text for text in filter(None, texts)}.values()]
    shuffled = [different[i] for i in np.random.default_rng(0).permutation(len(different))]
    parts = [text for i, text in enumerate(shuffled) if i % 5], shuffled[::5]
    cut: list[np.ndarray] = []
    for part, size in zip(parts, sizes, strict=True):
        text = b"\n".join(part)
        if len(text) < size:
            raise ValueError(
                f"this installation has {len(text)} bytes of {name} ({source}), expected {size}; "
                "ask for less, or install more packages"
            )
        cut.append(np.frombuffer(text[:size], np.uint8))
    return Domain(name, cut[0], cut[1], source)
