"""Real text of four kinds that any Python installation has, as domains to learn one by one."""

import hashlib
import sysconfig
from collections.abc import Iterable
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np


class Domain(NamedTuple):
    """train, test: `[bytes]` uint8, of different files; source: where it is from, in words."""

    name: str
    train: np.ndarray
    test: np.ndarray
    source: str


def load(train_bytes: int, test_bytes: int) -> list[Domain]:
    """Python source, C headers, licences and the prose of package descriptions.

    Args:
      train_bytes, test_bytes: how much of each; the test text is every fifth file's.
    Raises:
      ValueError: if this installation has less of one.
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
    found = {
        "Python": (_read(paths["stdlib"].glob("*.py")), "the standard library's modules"),
        "C": (
            _read(file for folder in headers for file in folder.rglob("*.h")),
            "headers of Python and NumPy",
        ),
        "licences": (_read(licences), "licence files of the installed packages"),
        "prose": ([text.encode() for text in prose], "descriptions of the installed packages"),
    }
    return [
        _domain(name, texts, source, train_bytes, test_bytes)
        for name, (texts, source) in found.items()
    ]


def other_packages() -> list[metadata.Distribution]:
    """What is installed, by name, but for this package: its description changes with the code."""
    packages = (package for package in metadata.distributions() if package.name != "mer_jax")
    return sorted(packages, key=lambda package: (package.name or "").lower())


def _read(paths: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in sorted(set(paths)) if path.is_file()]


def _domain(
    name: str, texts: list[bytes], source: str, train_bytes: int, test_bytes: int
) -> Domain:
    different = list({hashlib.sha256(text).digest(): text for text in texts if text}.values())
    order = np.random.default_rng(0).permutation(len(different))
    shuffled = [different[i] for i in order]
    train = b"\n".join(text for i, text in enumerate(shuffled) if i % 5)
    test = b"\n".join(shuffled[::5])
    for text, size in ((train, train_bytes), (test, test_bytes)):
        if len(text) < size:
            raise ValueError(
                f"this installation has {len(text)} bytes of {name} ({source}), expected {size}; "
                "ask for less, or install more packages"
            )
    learned, tested = (
        np.frombuffer(text[:size], np.uint8)
        for text, size in ((train, train_bytes), (test, test_bytes))
    )
    return Domain(name, learned, tested, source)
