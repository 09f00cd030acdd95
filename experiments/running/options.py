"""Flags that several programs share, and checks of their values."""

import dataclasses
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.running import devices

# The help of such a flag tells what holds if it is not given, so no default is shown.
Whole = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
Address = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")]
Rates = Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="")]


def flag(name: str) -> str:
    """The name of a setting on the command line."""
    return "--" + name.replace("_", "-")


def differing(
    was: dict[str, Any], now: dict[str, Any], label: Callable[[str], str] = str
) -> list[str]:
    """Names of values that differ, each with both values."""
    names = sorted(name for name in {**was, **now} if was.get(name) != now.get(name))
    both = [[one.get(n) for one in (was, now)] for n in names]
    told = [["not given" if v in (None, []) else f"{v!s:.200}" for v in pair] for pair in both]
    return [f"{label(n)} ({a} there, {b} here)" for n, (a, b) in zip(names, told, strict=True)]


class Flags:
    """Base of all configurations."""

    def check(self) -> None:
        """Raises `ValueError` in one line if a flag is wrong, before any computation."""

    def positive(self, *names: str) -> None:
        """Raises `ValueError` unless these are whole numbers from 1 to 2^31 - 1, or None."""
        for name in names:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                label = f"each of {flag(name)}" if isinstance(value, tuple) else flag(name)
                if one is not None and not 1 <= one < 2**31:
                    limit = "a whole number of at least 1" if one < 1 else "less than 2^31"
                    raise ValueError(f"{label} must be {limit}, got {one}")

    def rates(self, *names: str, largest: float = math.inf) -> None:
        """Raises `ValueError` unless these are finite numbers from 0 to `largest`."""
        is_open = math.isinf(largest)
        limit = "a finite number of at least 0" if is_open else f"a number from 0 to {largest:g}"
        for name in names:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not 0 <= one <= largest or math.isinf(one):
                    raise ValueError(f"{flag(name)} must be {limit}, got {one:g}")

    def fit(self, size: float, **counts: int) -> None:
        """Raises `ValueError` unless arrays that the flags ask for fit into the machine's memory.

        Args:
          size: bytes of one part. counts: values of flags, whose product is the number of parts.
        """
        needed, there = size * math.prod(counts.values()), devices.host_bytes()
        if needed > there:
            given = " ".join(f"{flag(name)} {count}" for name, count in counts.items())
            sizes = f"at least {needed / 1e9:,.1f} GB, and there are {there / 1e9:,.1f} GB"
            raise ValueError(f"{given} need {sizes}; choose smaller numbers")

    def different(self, *names: str) -> None:
        """Raises `ValueError` unless words differ, and numbers in the six digits that are shown."""
        for name in names:
            shown = [v if isinstance(v, str) else f"{v:g}" for v in getattr(self, name)]
            if len(set(shown)) < len(shown):
                how = "" if shown[0] in getattr(self, name) else " in six digits"
                raise ValueError(f"{flag(name)} must differ{how}, got {' '.join(shown)}")


@dataclasses.dataclass(frozen=True)
class Run(Flags):
    """Flags of every program that learns."""

    out: Path = Path("runs")
    """Folder for run.json and, in the end, metrics.json, table.md and pictures."""
    seeds: int = 5
    """Number of seeds, learned side by side. Each has its own network and its own stream."""
    seed: int = 0
    """The first seed."""
    seed_batch: Whole = None
    """Runs (seeds times settings) learned at once, by default as many as half of memory holds."""
    checkpoint_every: Whole = None
    """Examples (rl: frames, language: batches) between two checkpoints. By default one a minute."""
    resume: bool = False
    """Resume the run in --out, which the same command began. Without one there, begin it."""
    tensorboard: bool = False
    """Also write events for TensorBoard into --out/tensorboard. This needs tensorboardX."""

    def check(self) -> None:
        super().check()
        self.positive("seeds", "seed_batch", "checkpoint_every")
        self.fit(1000, seeds=self.seeds)
        last, seeds = 2**32 - self.seeds, f"--seeds {self.seeds}"
        if not 0 <= self.seed <= last:
            raise ValueError(f"--seed must be in [0, {last}] with {seeds}, got {self.seed}")
        if self.tensorboard and find_spec("tensorboardX") is None:
            raise ValueError("--tensorboard needs a package: pip install tensorboardX")

    def all_seeds(self) -> list[int]:
        """The seeds as numbers."""
        return list(range(self.seed, self.seed + self.seeds))


@dataclasses.dataclass(frozen=True)
class Data(Flags):
    """Where data sets are."""

    data_dir: File = None
    """Folder with the data sets' files, such as mnist.npz. By default MER_JAX_DATA_DIR."""


@dataclasses.dataclass(frozen=True)
class Distributed(Flags):
    """Runs over several processes."""

    distributed: bool = False
    """Spread the runs over several processes, each started with the same flags and one --out for
    all. On a cluster that JAX knows nothing more is needed, elsewhere the next three flags."""
    coordinator: Address = None
    """Address of the first process, for --distributed."""
    num_processes: Whole = None
    """Number of processes, for --distributed."""
    process_id: Whole = None
    """Number of this process, from 0, for --distributed."""
    wait_seconds: int = 60
    """Seconds that a process waits for the others at the start, for --distributed."""

    def check(self) -> None:
        super().check()
        self.positive("num_processes", "wait_seconds")
        three = self.coordinator, self.num_processes, self.process_id
        if three == (None, None, None):
            return
        names = "--coordinator, --num-processes and --process-id"
        if not self.distributed:
            raise ValueError(f"{names} need --distributed")
        if self.coordinator is None or self.num_processes is None or self.process_id is None:
            raise ValueError(f"{names} go together: give all three or none")
        host, _, port = self.coordinator.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"--coordinator must be HOST:PORT, got {self.coordinator}")
        if not 0 <= self.process_id < self.num_processes:
            most = f"from 0 to {self.num_processes - 1} with --num-processes {self.num_processes}"
            raise ValueError(f"--process-id must be {most}, got {self.process_id}")


_FREE = [field.name for group in (Data, Distributed) for field in dataclasses.fields(group)]
UNDECIDING = {*_FREE, "out", "tensorboard", "resume", "compare"}
"""Flags without influence on the results."""
