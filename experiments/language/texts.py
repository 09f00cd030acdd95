"""Texts of four kinds that any Python installation has."""

import hashlib
import sysconfig
from collections.abc import Iterable
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np


class Domain(NamedTuple):
    """One kind of text. train, test: `[bytes]` uint8, of different files. source: a description."""

    name: str
    train: np.ndarray
    test: np.ndarray
    source: str


def load(train_bytes: int, test_bytes: int) -> list[Domain]:
    """Python source, C headers, licences and the prose of package descriptions.

    Args:
      train_bytes, test_bytes: size of each kind. Every fifth file is test text.
    Raises:
      ValueError: if this installation has less of one kind.
    """
    paths = {name: Path(path) for name, path in sysconfig.get_paths().items()}
    headers = [paths["include"], *paths["purelib"].glob("numpy/**/include")]
    packages = other_packages()
    licences = [
        Path(str(package.locate_file(file)))
        for package in packages
        for file in package.files or ()
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
    ]
    # Newer metadata has the description as its body, older as a field.
    messages = [cast(Message, package.metadata) for package in packages]
    prose = [str(message.get_payload() or message["Description"] or "") for message in messages]
    c_files = [file for folder in headers for file in folder.rglob("*.h")]
    found = {
        "Python": (_read(paths["stdlib"].glob("*.py")), "the standard library's modules"),
        "C": (_read(c_files), "headers of Python and NumPy"),
        "licences": (_read(licences), "licence files of the installed packages"),
        "prose": ([text.encode() for text in prose], "descriptions of the installed packages"),
    }
    sizes = train_bytes, test_bytes
    return [_domain(name, *of, sizes) for name, of in found.items()]


def other_packages() -> list[metadata.Distribution]:
    """Installed packages by name, without this one, whose description changes with the code."""
    packages = (package for package in metadata.distributions() if package.name != "mer_jax")
    return sorted(packages, key=lambda package: (package.name or "").lower())


def _read(paths: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in sorted(set(paths)) if path.is_file()]


def _domain(name: str, texts: list[bytes], source: str, sizes: tuple[int, int]) -> Domain:
    different = list({hashlib.sha256(text).digest(): text for text in texts if text}.values())
    shuffled = [different[i] for i in np.random.default_rng(0).permutation(len(different))]
    parts = [text for i, text in enumerate(shuffled) if i % 5], shuffled[::5]
    joined = [b"\n".join(part) for part in parts]
    for text, size in zip(joined, sizes, strict=True):
        if len(text) < size:
            raise ValueError(
                f"this installation has {len(text)} bytes of {name} ({source}), expected {size}; "
                "ask for less, or install more packages"
            )
    train, test = (np.frombuffer(text[:n], np.uint8) for text, n in zip(joined, sizes, strict=True))
    return Domain(name, train, test, source)
