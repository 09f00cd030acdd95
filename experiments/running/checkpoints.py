"""Runs that can go on: where they are, on the disk every so often."""

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
"""How many are kept: if the newest is damaged there is the one before."""
VERSIONS = {name: metadata.version(name) for name in ("mer_jax", "jax", "jaxlib", "flax", "optax")}
"""What decides, with a run's own identity and the kind of device, which bits it ends with."""
SECONDS = 60
"""The time between two where no other interval was asked for."""


def _arithmetic() -> dict[str, Any]:
    """Settings of JAX that change the bits."""
    names = ("jax_enable_x64", "jax_default_prng_impl")
    options = {name: getattr(jax.config, name) for name in names}
    return {"backend": jax.default_backend(), **options}


class Checkpoints:
    """The checkpoints of one group of runs, learned side by side.

    folder: where they are, theirs alone.
    identity: tells what makes the runs what they are, as JSON values; no others are gone on with,
      nor by other versions of the packages.
    every: how many examples lie between two; None for one a minute.
    lasting: whether the end is kept as well, since other runs come after these.
    say: is told of a damaged checkpoint that is passed over.
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
        self.identity = functools.cache(
            lambda: json.loads(json.dumps(identity() | VERSIONS | _arithmetic()))
        )
        self.every = every
        self.lasting = lasting
        self.say = say
        self.saved_at, self.saved_on = 0, time.monotonic()
        self.started = self.saved_on

    @property
    def seconds(self) -> float:
        """How long the runs have taken, with what they took before they were interrupted."""
        return time.monotonic() - self.started

    def due(self, at: int) -> bool:
        """Whether it is time for another one, or the last moment for one."""
        if asked_to_stop():
            return True
        if self.every is None:
            return time.monotonic() - self.saved_on >= SECONDS
        return at // self.every > self.saved_at // self.every

    def save(self, at: int, arrays: Arrays) -> None:
        """Keeps the runs as they are; one that is interrupted leaves the others whole.

        Raises:
          KeyboardInterrupt: afterwards, if the program was asked to stop; see `interruptible`.
        """
        told = {"at": at, "identity": self.identity(), "seconds": self.seconds}
        told["checksum"] = checksum((arrays, json.dumps(told, sort_keys=True)))
        flat = {
            f"{name}.{i}": leaf for name, leaves in arrays.items() for i, leaf in enumerate(leaves)
        }
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
        """At which example the newest one is that is whole, and what it kept; None without any.

        Raises:
          ValueError: if it is of other runs, or all are damaged.
        """
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return None
        with self._manager() as manager:
            steps = sorted(manager.all_steps(), reverse=True)
            for place, step in enumerate(steps):
                try:
                    told, arrays = self._read(manager, step)
                except Exception as error:  # what is wrong with it has many names
                    reason = f"{error}".strip().splitlines() or [type(error).__name__]
                    self.say(
                        f"passing over the damaged checkpoint {self.folder}/{step}: {reason[0]}"
                    )
                    continue
                self._check(told["identity"])
                for damaged in steps[:place]:  # whose place is needed
                    manager.delete(damaged)
                self.saved_at = step
                self.started -= told["seconds"]
                return step, arrays
        if not steps:
            return None
        raise ValueError(f"{self.folder}: every checkpoint is damaged; delete it to begin anew")

    def _read(self, manager: Any, step: int) -> tuple[dict[str, Any], Arrays]:
        orbax = _orbax()
        kept = manager.restore(
            step,
            args=orbax.args.Composite(
                arrays=orbax.args.StandardRestore(), told=orbax.args.JsonRestore()
            ),
        )
        arrays: Arrays = {}
        places = [(*name.rsplit(".", 1), leaf) for name, leaf in kept["arrays"].items()]
        for name, _, leaf in sorted(places, key=lambda place: int(place[1])):
            arrays.setdefault(name, []).append(np.asarray(leaf))
        told = kept["told"]
        written = told.pop("checksum")
        if checksum((arrays, json.dumps(told, sort_keys=True))) != written:
            raise ValueError("its checksum is wrong")
        if told["at"] != step:
            raise ValueError(f"it was made at {told['at']}")
        return told, arrays

    def _check(self, identity: dict[str, Any]) -> None:
        mine = self.identity()
        names = {*identity, *mine}
        changed = sorted(name for name in names if identity.get(name) != mine.get(name))
        if changed:
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
    """A run whose numbers are no longer finite, which to go on with would be a waste."""


def check_finite(is_finite: np.ndarray, runs: list[str], where: str, kept: Checkpoints) -> None:
    """Stops runs that diverged, before a checkpoint is made of them.

    Args:
      is_finite: `[R]`, whether each run's numbers all are.
      runs: what the runs are called.
      where: how far they are.
    Raises:
      Diverged: if one is not, with what can be done.
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
    """Where runs are kept while they are unfinished."""
    return out / "checkpoints"


def forget(out: Path) -> None:
    """Deletes the checkpoints, after what they led to is on the disk."""
    # Under another name first: killed half-way, it leaves nothing that could be gone on with.
    finished = out / ".finished-checkpoints"
    shutil.rmtree(finished, ignore_errors=True)
    if folder(out).exists():
        folder(out).rename(finished)
    shutil.rmtree(finished, ignore_errors=True)


def checksum(tree: Any) -> str:
    """Of all bytes, shapes and dtypes of a tree of arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def checksums(params: Any, num_runs: int) -> list[str]:
    """Of each run's networks, `params` being `[R, ...]`."""
    return [
        checksum(jax.tree.map(lambda leaf: leaf[run], params))  # noqa: B023
        for run in range(num_runs)
    ]


def _orbax() -> Any:
    """Takes a second to import, which short runs can do without."""
    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint
