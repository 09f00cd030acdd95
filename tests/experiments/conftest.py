"""Fixtures for tests of programs."""

import socket

import jax
import pytest


def any_port():
    """A port that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def unused_port():
    return any_port()


@pytest.fixture(scope="module")
def quick_keys(quick_keys):
    """Programs make keys while they are compiled, and all tests of a process share them."""
    jax.clear_caches()
    yield
    jax.clear_caches()
