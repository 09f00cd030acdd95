"""Checkpoints on the disk, for exact resume."""

import functools
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.running.interrupt import asked_to_stop

Arrays = dict[str, list[np.ndarray]]
KEPT = 2
"""Checkpoints that are kept. If the newest is damaged, the one before serves."""
SECONDS = 60
"""Time between two checkpoints where no other interval is given."""
VERSIONS = {name: metadata.version(name) for name in ("mer_jax", "jax", "jaxlib", "flax", "optax")}


def arithmetic() -> dict[str, Any]:
    """Versions and settings that change the bits of a run."""
    names = ("jax_enable_x64", "jax_default_prng_impl")
    options = {name: getattr(jax.config, name) for name in names}
    return {**VERSIONS, "backend": jax.default_backend(), **options}


class Checkpoints:
    """The checkpoints of one batch of runs.

    Attributes:
      folder: theirs alone.
      identity: everything that decides how the runs continue, as JSON. Only equal runs are resumed.
      every: units of the stream between two checkpoints. None for one a minute.
      lasting: whether the end is saved too, since other runs follow.
      say: receives a line about a damaged checkpoint.
      saved_at: the place of the newest one.
    """

    def __init__(
        self,
        folder: Path,
        identity: Callable[[], dict[str, Any]],
        every: int | None,
        lasting: bool,
        say: Callable[[str], object],
    ) -> None:
        self.folder = folder.absolute()
        self.identity = functools.cache(lambda: json.loads(json.dumps(identity() | arithmetic())))
        self.every, self.lasting, self.say = every, lasting, say
        self.saved_at, self.saved_on = 0, time.monotonic()
        self.started = self.saved_on

    @property
    def seconds(self) -> float:
        """Time that the runs took, including the time before an interruption."""
        return time.monotonic() - self.started

    def due(self, at: int) -> bool:
        """Whether it is time for a checkpoint, also because the program was asked to stop."""
        if asked_to_stop():
            return True
        if self.every is None:
            return time.monotonic() - self.saved_on >= SECONDS
        return at // self.every > self.saved_at // self.every

    def save(self, at: int, arrays: Arrays) -> None:
        """Saves the runs. An interrupted save leaves the other checkpoints whole.

        Raises:
          KeyboardInterrupt: afterwards, if the program was asked to stop.
        """
        told = {"at": at, "identity": self.identity(), "seconds": self.seconds}
        told["checksum"] = checksum((arrays, json.dumps(told, sort_keys=True)))
        flat = {f"{name}.{i}": leaf for name, rows in arrays.items() for i, leaf in enumerate(rows)}
        orbax = _orbax()
        with self._manager() as manager:
            both = orbax.args.Composite(
                arrays=orbax.args.StandardSave(flat), told=orbax.args.JsonSave(told)
            )
            manager.save(at, args=both, force=True)
        self.saved_at, self.saved_on = at, time.monotonic()
        if asked_to_stop():
            raise KeyboardInterrupt

    def newest(self) -> tuple[int, Arrays] | None:
        """The place and the arrays of the newest whole checkpoint. None without any.

        Raises:
          ValueError: if it is of other runs, or all are damaged.
        """
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return None
        with self._manager() as manager:
            steps = sorted(manager.all_steps(), reverse=True)
            for number, step in enumerate(steps):
                try:
                    told, arrays = self._read(manager, step)
                except Exception as error:  # damage has many names
                    reason = f"{error}".strip().splitlines() or [type(error).__name__]
                    self.say(f"skipping the damaged checkpoint {self.folder}/{step}: {reason[0]}")
                    continue
                self._check(told["identity"])
                for damaged in steps[:number]:  # their places will be needed
                    manager.delete(damaged)
                self.saved_at = step
                self.started -= told["seconds"]
                return step, arrays
        if not steps:
            return None
        raise ValueError(f"{self.folder}: every checkpoint is damaged; delete it to begin anew")

    def _read(self, manager: Any, step: int) -> tuple[dict[str, Any], Arrays]:
        args = _orbax().args
        both = args.Composite(arrays=args.StandardRestore(), told=args.JsonRestore())
        stored = manager.restore(step, args=both)
        arrays: Arrays = {}
        named = [(*name.rsplit(".", 1), leaf) for name, leaf in stored["arrays"].items()]
        for name, _, leaf in sorted(named, key=lambda one: int(one[1])):
            arrays.setdefault(name, []).append(np.asarray(leaf))
        told = stored["told"]
        written = told.pop("checksum")
        if checksum((arrays, json.dumps(told, sort_keys=True))) != written:
            raise ValueError("its checksum is wrong")
        if told["at"] != step:
            raise ValueError(f"it was made at {told['at']}")
        return told, arrays

    def _check(self, identity: dict[str, Any]) -> None:
        mine = self.identity()
        names = sorted({*identity, *mine})
        if changed := [name for name in names if identity.get(name) != mine.get(name)]:
            raise ValueError(
                f"{self.folder} was made with other values of {', '.join(changed)}; delete it to "
                "begin anew, or choose another --out"
            )

    def _manager(self) -> Any:
        orbax = _orbax()
        options = orbax.CheckpointManagerOptions(
            max_to_keep=KEPT, create=True, enable_async_checkpointing=False
        )
        return orbax.CheckpointManager(self.folder, options=options)


class Diverged(ValueError):
    """A run whose numbers are no longer finite."""


def check_finite(is_finite: np.ndarray, runs: list[str], where: str, kept: Checkpoints) -> None:
    """Raises `Diverged` unless all runs are finite, before they are saved.

    Args:
      is_finite: `[R]`. runs: their names. where: how far they are.
    """
    if is_finite.all():
        return
    lost = ", ".join(run for run, fine in zip(runs, is_finite, strict=True) if not fine)
    last = f"{kept.folder}/{kept.saved_at}" if kept.saved_at else "none"
    raise Diverged(
        f"{lost}: no longer finite {where}; the last good checkpoint is {last}. "
        "Choose a smaller learning rate, and another --out"
    )


def folder(out: Path) -> Path:
    """The folder of an unfinished run's checkpoints."""
    return out / "checkpoints"


def forget(out: Path) -> None:
    """Deletes the checkpoints of a finished run."""
    # Under another name first: killed half-way, it leaves nothing that could be resumed.
    finished = out / ".finished-checkpoints"
    shutil.rmtree(finished, ignore_errors=True)
    if folder(out).exists():
        folder(out).rename(finished)
    shutil.rmtree(finished, ignore_errors=True)


def checksum(tree: Any) -> str:
    """A checksum of all bytes, shapes and dtypes of a tree of arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def checksums(params: Any, num_runs: int) -> list[str]:
    """A checksum of each run's network, of `[R, ...]`."""
    return [
        checksum(jax.tree.map(lambda leaf: leaf[run], params))  # noqa: B023
        for run in range(num_runs)
    ]


def _orbax() -> Any:
    """Orbax, which takes a second to import."""
    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint
