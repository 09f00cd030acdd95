"""The networks of the paper's benchmarks."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from mer_jax import networks
from mer_jax.networks import Model


class Networks(NamedTuple):
    """A network for all tasks, and networks with parts for each task.

    shared: for methods that are not told the task. independent, task_input:
      `independent(num_tasks) -> Model`. description: for the record.
    """

    shared: Model
    independent: Callable[[int], Model]
    task_input: Callable[[int], Model]
    description: Any

    def of(self, method: str, num_tasks: int) -> Model:
        """The network of a method."""
        if method == "independent":
            return self.independent(num_tasks)
        return self.task_input(num_tasks) if method == "task-input" else self.shared


@functools.lru_cache
def dense(sizes: tuple[int, ...] = (784, 100, 100, 10)) -> Networks:
    """The paper's networks for MNIST."""
    return Networks(
        networks.mlp(sizes),
        functools.lru_cache(lambda num_tasks: networks.independent(sizes, num_tasks)),
        functools.lru_cache(lambda num_tasks: networks.task_input(sizes, num_tasks)),
        sizes,
    )


@functools.lru_cache
def convolutional(num_classes: int, features: tuple[int, ...] = (64,) * 4) -> Networks:
    """The paper's network for Omniglot. Each independent one has its share of the filters.

    Its pooling keeps odd last rows and columns, and its filters are normalized. With either it
    learns far more (see experiments/results/README.md).
    """
    convnet = functools.partial(networks.convnet, num_classes, pool_padding="SAME", normalize=True)
    shared = convnet(features)

    def independent(num_tasks: int) -> Model:
        fewer = [max(1, size // num_tasks) for size in features]
        return networks.by_task(convnet(fewer), num_tasks)

    return Networks(
        shared,
        functools.lru_cache(independent),
        functools.lru_cache(lambda num_tasks: networks.by_task(shared, num_tasks, ["Conv_0"])),
        {
            "convolutions of 3 x 3": features,
            "weights": "He-uniform, zero in the softmax layer",
            "pool_padding": "SAME",
            "normalize": True,
            "classes": num_classes,
        },
    )
