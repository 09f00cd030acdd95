"""The texts of any Python installation."""

from importlib import metadata

import numpy as np
import pytest

import mer_jax
from experiments.language import texts


def test_texts_are_real_and_of_different_files():
    domains = texts.load(50_000, 5_000)
    assert [domain.name for domain in domains] == ["Python", "C", "licences", "prose"]
    for domain in domains:
        assert domain.train.shape == (50_000,)
        assert domain.test.shape == (5_000,)
        assert bytes(domain.test[:200]) not in bytes(domain.train)
    words = [b"def ", b"#define ", b"Copyright", b"install"]
    counts = [[bytes(domain.train).count(word) for word in words] for domain in domains]
    for number, row in enumerate(np.transpose(counts)):
        assert row.argmax() == number, words[number]
    again = texts.load.__wrapped__(50_000, 5_000)  # which remembers nothing
    assert all((a.train == b.train).all() for a, b in zip(domains, again, strict=True))


def test_texts_do_not_change_with_this_package():
    names = [package.name for package in texts.other_packages()]
    assert "numpy" in names
    assert "mer_jax" not in names
    assert metadata.version("mer_jax") == mer_jax.__version__  # though it is installed


def test_too_little_text_is_an_error():
    with pytest.raises(ValueError, match=r"this installation has \d+ bytes of Python"):
        texts.load(10**9, 10)
