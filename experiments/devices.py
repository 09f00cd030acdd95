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
    # XLA runs a loop over small arrays as one function, and any other op by op. A pass of SGD in
    # Gram form touches 200 KB an example: with the limit above that a whole run takes about a fifth less.
    small = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=300000"
    os.environ["XLA_FLAGS"] = f"{small} {os.environ.get('XLA_FLAGS', '')}"


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

    On a CPU, a core learns its seeds one after another: each then stays in cache, and a batched
    product of matrices this small is no faster.

    Args:
      specs: `SEED` or `SHARED` for each argument: whether it has a leading axis of seeds.
      donate: the arguments whose memory the results may reuse.
    """
    axes = [0 if spec == SEED else None for spec in specs]
    one_by_one = jax.default_backend() == "cpu"
    on_one_device = _in_turn(function, axes) if one_by_one else jax.vmap(function, axes)
    many = jax.shard_map(on_one_device, mesh=mesh, in_specs=specs, out_specs=SEED, check_vma=False)
    return jax.jit(many, donate_argnums=donate)


def _in_turn(function: Callable[..., Any], axes: list[int | None]) -> Callable[..., Any]:
    """What `vmap` gives, as a loop over the leading axis."""

    def looped(*args: Any) -> Any:
        def one(own: tuple[Any, ...]) -> Any:
            parts = iter(own)
            return function(*(next(parts) if axis == 0 else arg
                              for axis, arg in zip(axes, args, strict=True)))  # fmt: skip

        return jax.lax.map(
            one, tuple(arg for axis, arg in zip(axes, args, strict=True) if axis == 0)
        )

    return looped
