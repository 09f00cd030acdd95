"""Seeds side by side on every device there is."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

SEED = PartitionSpec("seed")
SHARED = PartitionSpec()


def use_all_cores() -> None:
    """On a CPU, makes each core a device; to be called before anything is computed."""
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def mesh(num_seeds: int) -> Mesh:
    """All devices along the axis `seed`, or as many as there are seeds."""
    return Mesh(np.array(jax.devices()[:num_seeds]), ("seed",))


def pad(num_seeds: int, mesh: Mesh) -> int:
    """How many seeds to run so that each device has equally many."""
    return -(-num_seeds // mesh.size) * mesh.size


def over_seeds(
    function: Callable[..., Any], mesh: Mesh, *specs: Any, donate: tuple[int, ...] = ()
) -> Any:
    """Compiles a function of one seed for many of them, spread over the devices.

    Args:
      specs: `SEED` or `SHARED` for each argument: whether it has a leading axis of seeds.
      donate: the arguments whose memory the results may reuse.
    """
    axes = [0 if spec == SEED else None for spec in specs]
    many = jax.shard_map(
        jax.vmap(function, axes), mesh=mesh, in_specs=specs, out_specs=SEED, check_vma=False
    )
    return jax.jit(many, donate_argnums=donate)
