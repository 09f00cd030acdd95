"""Docstrings of all public names, their examples, and the reference pages."""

import doctest
import importlib
import inspect
import pkgutil
import re
from importlib import metadata
from pathlib import Path

import pytest

import mer_jax

ROOT = Path(__file__).parents[2]


def modules():
    for info in pkgutil.walk_packages(mer_jax.__path__, "mer_jax."):
        if info.name.startswith("mer_jax.rl"):
            pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
        yield importlib.import_module(info.name)


def public_names():
    yield from ((mer_jax, name) for name in mer_jax.__all__)
    for module in modules():
        for name in getattr(module, "__all__", dir(module)):
            own = inspect.getmodule(getattr(module, name)) is module
            if own and not name.startswith("_"):
                yield module, name


def undocumented_parts(what):
    """Of a class, the methods and properties that say nothing and whose parents say nothing."""
    for name, part in vars(what).items() if inspect.isclass(what) else ():
        is_one = inspect.isfunction(part) or isinstance(part, property)
        if is_one and not name.startswith("_") and not inspect.getdoc(getattr(what, name)):
            yield name


def test_every_public_name_is_documented():
    missing = []
    for module, name in public_names():
        what = getattr(module, name)
        if callable(what) and not inspect.ismodule(what):
            text = inspect.getdoc(what) or ""
            # A NamedTuple without a docstring of its own has its signature for one.
            if len(text) < 15 or text.startswith(f"{name}("):
                missing.append(f"{module.__name__}.{name}")
            missing += [f"{module.__name__}.{name}.{part}" for part in undocumented_parts(what)]
    assert not missing
    assert len(list(public_names())) > 100


def found(name):
    """What the reference shows under a name: of a module and a function, the module."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        return getattr(found(parent), last)


def test_the_reference_has_every_public_name():
    """Names of `mer_jax` and `mer_jax.rl` by themselves, and modules of data as a whole."""
    pages = "\n".join(path.read_text() for path in (ROOT / "docs/api").glob("*.md"))
    names = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(set(names)) == len(names)
    pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
    shown = [found(name) for name in names]
    missing = []
    for module in (mer_jax, importlib.import_module("mer_jax.rl")):
        for name in module.__all__:
            what = getattr(module, name)
            if not any(what is one for one in shown):
                missing.append(f"{module.__name__}.{name}")
    assert not missing
    data = {f"mer_jax.data.{path.stem}" for path in (ROOT / "mer_jax/data").glob("[a-z]*.py")}
    assert data <= set(names)
    assert len(names) > 60


def test_every_module_says_what_it_is_for():
    for module in modules():
        assert len(module.__doc__ or "") > 15, module.__name__


def test_examples_in_docstrings_do_what_they_say():
    """Each example runs without the names of its module, as it does pasted into a shell."""
    attempted = 0
    for module in modules():
        result = doctest.testmod(module, globs={})
        assert not result.failed, module.__name__
        attempted += result.attempted
    assert attempted > 200


def test_the_version_is_one_and_the_changelog_knows_it():
    assert metadata.version("mer_jax") == mer_jax.__version__
    first, newest = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[:2]
    assert (first, newest) == ("Unreleased", mer_jax.__version__)
    assert f"\nversion: {mer_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    named = [
        path
        for path in ROOT.glob("*.toml")
        if re.search(r'^version\s*=\s*"', path.read_text(), re.MULTILINE)
    ]
    assert not named
