"""Fixtures for tests of programs."""

import socket

import jax
import pytest


@pytest.fixture
def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def quick_keys(quick_keys):
    """Programs make keys while they are compiled, and all tests of a process share them."""
    jax.clear_caches()
    yield
    jax.clear_caches()
