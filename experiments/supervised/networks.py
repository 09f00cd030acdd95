"""The networks of the paper's benchmarks."""

import functools
from collections.abc import Callable
from typing import Any

from mer_jax import networks
from mer_jax.networks import Model


Networks = tuple[Callable[[str, int], Model], Any]
"""`of(method, num_tasks) -> Model`, the same one for all methods that are not told the task, and a
description for the record."""


@functools.lru_cache
def dense(sizes: tuple[int, ...] = (784, 100, 100, 10)) -> Networks:
    """The paper's networks for MNIST."""
    shared = networks.mlp(sizes)

    @functools.lru_cache
    def of(method: str, num_tasks: int) -> Model:
        if method == "independent":
            return networks.independent(sizes, num_tasks)
        return networks.task_input(sizes, num_tasks) if method == "task-input" else shared

    return of, sizes


@functools.lru_cache
def convolutional(num_classes: int, features: tuple[int, ...] = (64,) * 4) -> Networks:
    """The paper's network for Omniglot. Each independent one has its share of the filters.

    Its pooling keeps odd last rows and columns, and its filters are normalized. With either it
    learns far more (see experiments/results/README.md).
    """
    how: dict[str, Any] = {"pool_padding": "SAME", "normalize": True}
    shared = networks.convnet(num_classes, features, **how)

    @functools.lru_cache
    def of(method: str, num_tasks: int) -> Model:
        if method == "independent":
            fewer = [max(1, size // num_tasks) for size in features]
            return networks.by_task(networks.convnet(num_classes, fewer, **how), num_tasks)
        return networks.by_task(shared, num_tasks, ["Conv_0"]) if method == "task-input" else shared

    weights = "He-uniform, zero in the softmax layer"
    description = {"convolutions of 3 x 3": features, "weights": weights}
    return of, description | how | {"classes": num_classes}
