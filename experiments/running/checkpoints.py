"""Checkpoints on the disk, for exact resume."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

import mer_jax
from experiments.running import distributed, files
from experiments.running.options import differing

Arrays = dict[str, list[np.ndarray]]
SETTINGS = (
    "jax_enable_x64", "jax_default_prng_impl", "jax_threefry_partitionable",
    "jax_random_seed_offset", "jax_high_dynamic_range_gumbel", "jax_softmax_custom_jvp",
    "jax_optimization_level",
)  # fmt: skip
"""JAX's settings that change the bits of a run."""


def arithmetic() -> dict[str, Any]:
    """Versions and settings that change the bits of a run."""
    known: dict[str, Any] = {"mer_jax": mer_jax.__version__}  # of the code, installed or not
    known |= {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")}
    known["backend"] = jax.default_backend()
    known["XLA_FLAGS"] = os.environ.get("XLA_FLAGS")
    return known | {name: getattr(jax.config, name, None) for name in SETTINGS}


@dataclasses.dataclass
class Checkpoints:
    """The two newest checkpoints of one batch of runs. If one is damaged, the other serves.

    Attributes:
      folder: for these checkpoints alone.
      identity: returns the values that decide how the runs continue, as JSON. Only equal runs are
        resumed.
      every: units of the stream between two checkpoints. None for one a minute.
      lasting: whether the end is saved too, since other runs follow.
      say: receives a line about a damaged checkpoint.
      saved_at: the place of the newest one.
    """

    folder: Path
    identity: Callable[[], dict[str, Any]]
    every: int | None
    lasting: bool
    say: Callable[[str], object]
    saved_at: int = 0

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        self.started = self.saved_on = time.monotonic()

    @functools.cached_property
    def _identity(self) -> Any:
        return json.loads(json.dumps(self.identity() | arithmetic()))

    @property
    def seconds(self) -> float:
        """Time that the runs took, including the time before an interruption."""
        return time.monotonic() - self.started

    def due(self, at: int) -> bool:
        """Whether it is time for a checkpoint."""
        if self.every is None:
            return time.monotonic() - self.saved_on >= 60
        return at // self.every > self.saved_at // self.every

    def save(self, at: int, arrays: Arrays) -> None:
        """Saves the runs. An interrupted save leaves the other checkpoints whole."""
        self.saved_at, self.saved_on = at, time.monotonic()
        if not distributed.is_first():
            return
        from orbax.checkpoint import args

        told = {"at": at, "identity": self._identity, "seconds": self.seconds}
        told["checksum"] = checksum((arrays, json.dumps(told, sort_keys=True)))
        flat = {f"{name}.{i}": leaf for name, rows in arrays.items() for i, leaf in enumerate(rows)}
        both = args.Composite(arrays=args.StandardSave(flat), told=args.JsonSave(told))

        def write() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._manager() as manager:
                manager.save(at, args=both, force=True)

        try:
            with ThreadPoolExecutor(1) as aside:  # where Ctrl-C does not interrupt it
                aside.submit(write).result()
        except Exception as error:  # a full disk has many names
            raise OSError(f"{self.folder}/{at} cannot be saved: {_reason(error)}") from None

    def newest(self) -> tuple[int, Arrays] | None:
        """The place and the arrays of the newest whole checkpoint. None without any.

        Raises:
          ValueError: if it is of other runs, or all are damaged.
        """
        names = (path.name for path in self.folder.glob("*"))
        steps = sorted((int(name) for name in names if name.isdigit()), reverse=True)
        if not steps:
            return None
        with self._manager() as manager:
            for number, step in enumerate(steps):
                try:
                    told, arrays = self._read(manager, step)
                except Exception as error:  # damage has many names
                    place = f"{self.folder}/{step}"
                    self.say(f"skipping the damaged checkpoint {place}: {_reason(error)}")
                    continue
                if changed := differing(told["identity"], self._identity):
                    raise ValueError(
                        f"{self.folder} was made with other values of {', '.join(changed)}; resume "
                        "it with those, delete it to begin anew, or choose another --out"
                    )
                for damaged in steps[:number] if distributed.is_first() else ():
                    manager.delete(damaged)  # their places will be needed
                self.saved_at = step
                self.started -= told["seconds"]
                return step, arrays
        raise ValueError(f"{self.folder}: every checkpoint is damaged; delete it to begin anew")

    def _read(self, manager: Any, step: int) -> tuple[dict[str, Any], Arrays]:
        from orbax.checkpoint import args

        both = args.Composite(arrays=args.StandardRestore(), told=args.JsonRestore())
        stored = manager.restore(step, args=both)
        told, flat = stored["told"], stored["arrays"]
        arrays: Arrays = {}
        for name in sorted(flat, key=lambda name: int(name.rsplit(".", 1)[1])):
            arrays.setdefault(name.rsplit(".", 1)[0], []).append(np.asarray(flat[name]))
        written = told.pop("checksum")
        if checksum((arrays, json.dumps(told, sort_keys=True))) != written:
            raise ValueError("its checksum is wrong")
        if told["at"] != step:
            raise ValueError(f"it was made at {told['at']}")
        return told, arrays

    def _manager(self) -> Any:
        import orbax.checkpoint as orbax  # takes a second

        # When one of its tasks fails, orbax drops the others, which repeat the error and more.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        sys.unraisablehook = _report
        me = jax.process_index()  # all processes read, and the first one writes
        alone = orbax.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me)
        )
        options = orbax.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=False, create=False,
            multiprocessing_options=alone,
        )  # fmt: skip
        return orbax.CheckpointManager(self.folder, options=options)


def _report(dropped: Any) -> None:
    """Reports an error that cannot be raised, unless it is of a task that orbax has dropped."""
    if str(dropped.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(dropped)


def _reason(error: Exception) -> str:
    if of_system := re.search(r"os_error_code='(\d+)'", str(error)):  # among paths and settings
        return os.strerror(int(of_system[1]))
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def folder(out: Path) -> Path:
    """The folder of an unfinished run's checkpoints."""
    return out / "checkpoints"


def forget(out: Path) -> None:
    """Deletes the checkpoints of a finished run."""
    # Under another name first: killed half-way, it leaves nothing that could be resumed.
    finished = out / ".finished-checkpoints"
    files.remove(finished)
    if folder(out).exists():
        folder(out).rename(finished)
    files.remove(finished)


def checksum(tree: Any) -> str:
    """A checksum of all bytes, shapes and dtypes of a tree of arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
