"""Runs side by side on all devices."""

import functools
import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

SEED = PartitionSpec("seed")
SHARED = PartitionSpec()
DEVICES_A_CORE = 4
"""Largest number of devices per core. Each device holds a copy of the images."""
Place = tuple[jax.Device, ...]
"""Devices for one program alone."""
alone_on: ContextVar[Place | None] = ContextVar("alone_on", default=None)
"""The place of this thread's program. None for all devices."""


def use_all_cores(num_runs: int = 1) -> None:
    """Makes each core of a CPU a device. Has no effect after JAX has started its backend.

    Args:
      num_runs: number of parallel runs. If they do not divide evenly among the cores, each run gets
        its own device, up to `DEVICES_A_CORE` per core, and the operating system balances them.
    """
    cores = len(os.sched_getaffinity(0))
    is_uneven = num_runs > cores and num_runs % cores
    num_devices = min(num_runs, DEVICES_A_CORE * cores) if is_uneven else cores
    try:
        for number in (num_devices + 1, num_devices):  # a started JAX refuses any other number
            jax.config.update("jax_num_cpu_devices", number)
    except RuntimeError:  # the backend has been started, and has read the flags below
        return
    # XLA runs a loop over small arrays as one function, and any other op by op. A pass of SGD in
    # Gram form touches 200 KB: with the limit above that, a whole run takes about a fifth less.
    small = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=300000"
    flags = os.environ.get("XLA_FLAGS", "")
    if small not in flags:  # what is compiled is kept under the name of all flags, repeated or not
        os.environ["XLA_FLAGS"] = f"{small} {flags}"


def check() -> None:
    """Starts JAX's backend.

    Raises:
      ValueError: if there is none for JAX_PLATFORMS, or JAX_DISABLE_JIT is set.
    """
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise ValueError("runs need compiled programs: unset JAX_DISABLE_JIT")
    try:
        jax.devices()
    except Exception as error:  # an AssertionError for an unknown platform
        asked, reason = os.environ.get("JAX_PLATFORMS", ""), " ".join(str(error).split())
        found = f"JAX finds no device for JAX_PLATFORMS={asked}{reason and f' ({reason})'}"
        raise ValueError(f"{found}; unset it, or set it to cpu") from None


def places(num_programs: int) -> list[Place]:
    """Places for programs side by side. Each has its share of a CPU's cores, at least one."""
    devices = np.array(jax.devices())
    parts = min(num_programs, len(devices)) if jax.default_backend() == "cpu" else 1
    return [tuple(share) for share in np.array_split(devices, parts)]


def mesh(num_runs: int) -> Mesh:
    """All devices along the axis `seed`, on a single host no more than there are runs."""
    devices = [*(alone_on.get() or jax.devices())]
    return Mesh(np.array(devices[:num_runs] if jax.process_count() == 1 else devices), ("seed",))


def copy(tree: Any) -> Any:
    """A copy that does not share memory with the original."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, tree)
    return jax.block_until_ready(jax.device_put(tree, shardings, may_alias=False))


def host_bytes() -> int:
    """The memory of this machine, in use or not."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_bytes() -> int:
    """The memory of this process's devices together, in use or not."""
    limits = [(one.memory_stats() or {}).get("bytes_limit", 0) for one in jax.local_devices()]
    if not all(limits):  # the CPU's devices share the host's memory
        limits = [host_bytes()]
    return sum(limits)


def fitting(what: str, size: int) -> int:
    """How many times `size` bytes fit into half of the memory, at least one.

    Raises:
      ValueError: if one is larger than all of it.
    """
    there = memory_bytes()
    if size > there:
        raise ValueError(
            f"{what} needs {size / 1e9:.1f} GB, and there are {there / 1e9:.1f} GB; "
            "choose smaller sizes, such as --capacity or --batch-size"
        )
    return max(1, int(there / 2 / size))


@functools.lru_cache(maxsize=64)
def over_seeds(
    fn: Callable[..., Any], mesh: Mesh, own: int, donate: tuple[int, ...] = (), num_runs: int = 0
) -> jax.stages.Wrapped:
    """A function of one run, compiled for many of them, spread over the devices.

    On a CPU, a core learns its runs one after another. Each then stays in cache, and a batched
    product of matrices this small is no faster. Elsewhere a device's runs are a `vmap`. Equal
    arguments give the same compiled function.

    Args:
      own: number of leading arguments with an axis of runs. The rest are shared.
      donate: arguments whose memory the results may reuse.
      num_runs: number of runs that count. A core skips the rows after them, which make every
        device have equally many, and their results are zeros.
    """

    def part(own_args: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
        def one(run: tuple[Any, ...]) -> Any:
            return fn(*run, *shared)

        def nothing(run: tuple[Any, ...]) -> Any:
            return jax.tree.map(jnp.zeros_like, jax.eval_shape(one, run))

        if jax.default_backend() != "cpu":
            return jax.vmap(one)(own_args)
        if num_runs % mesh.size == 0:  # then there are no rows to skip
            return jax.lax.map(one, own_args)
        here = len(jax.tree.leaves(own_args)[0])
        counts = jax.lax.axis_index("seed") * here + jnp.arange(here) < num_runs
        rows = counts, own_args
        return jax.lax.map(lambda row: jax.lax.cond(row[0], one, nothing, row[1]), rows)

    many = jax.shard_map(part, mesh=mesh, in_specs=(SEED, SHARED), out_specs=SEED, check_vma=False)
    return jax.jit(lambda *args: many(args[:own], args[own:]), donate_argnums=donate)
