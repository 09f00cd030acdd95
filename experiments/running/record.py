"""The record of a run: metrics.json, with each seed's values."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import mer_jax
from experiments.running import checkpoints, files, schema
from experiments.running.files import Object
from experiments.running.statistics import Spread, spread

FORMAT = 2
"""The layout of records and checkpoints. Runs of another layout cannot be resumed."""


class Result(NamedTuple):
    """One setting of one arm.

    name: tells it from the others, such as "mer alpha 0.1". title: for tables and pictures.
    settings: its hyper-parameters. seconds: time of all its seeds.
    per_seed: "seed" and the metrics, `[S]` or `[S, ...]`, or dictionaries of such lists.
    about: anything else that all seeds share.
    """

    name: str
    title: str
    settings: dict[str, float]
    seconds: float
    per_seed: dict[str, Any]
    about: dict[str, Any] = {}  # noqa: RUF012

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of all per-seed values."""
        return list(self.per_seed["seed"])

    def array(self, name: str) -> np.ndarray:
        """Per-seed values, `[S, ...]` float64."""
        return np.asarray(self.per_seed[name], np.float64)

    def spread(self, metric: str) -> Spread:
        """Mean and standard deviation of a metric over the seeds."""
        return spread(self.per_seed[metric])

    def by_seed(self, metric: str) -> dict[int, float]:
        """`{seed: value}`."""
        return dict(zip(self.seeds, self.array(metric).tolist(), strict=True))

    def is_finite(self, metric: str) -> bool:
        """Whether no seed diverged."""
        return bool(np.isfinite(self.array(metric)).all())

    def to_json(self) -> dict[str, Any]:
        """As a JSON object. Whole settings are whole numbers."""
        settings = {n: int(v) if float(v).is_integer() else v for n, v in self.settings.items()}
        named = {"name": self.name, "title": self.title, "settings": settings}
        return named | {"seconds": self.seconds} | self.about | {"per_seed": self.per_seed}


class Record(NamedTuple):
    """Everything that a run leaves in metrics.json.

    about: what was asked, "config", "command" and "seeds", and where it ran.
    metrics: `{name: title}` of the headline metrics, the first one first.
    results: one for each setting.
    """

    about: dict[str, Any]
    metrics: dict[str, str]
    results: list[Result]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its first result."""
        return self.results[0].seeds

    def table(self, digits: int = 2) -> list[list[str]]:
        """Headline metrics and seconds of each result, below a head."""
        table = [["", *self.metrics.values(), "Seconds"]]
        for result in self.results:
            cells = [result.spread(metric).text(digits) for metric in self.metrics]
            table.append([result.title, *cells, f"{result.seconds:.0f}"])
        return table

    def write(self, path: Path) -> None:
        """Writes the file. A single result's headline metrics are also at the top level."""
        alone = self.results if len(self.results) == 1 else []
        spreads = {name: one.spread(name)._asdict() for one in alone for name in self.metrics}
        last = {"metrics": self.metrics, "results": [one.to_json() for one in self.results]}
        files.write_json(path, {"format": FORMAT} | self.about | spreads | last)


def load(path: Path) -> Record:
    """Reads a record. A key that is missing in it later raises `ValueError` with the file's name.

    Raises:
      ValueError: if the file is damaged, or of another format.
    """
    content, where = files.read_json(path, schema.RecordFile), f"{path} is damaged"
    sizes = {n: len(content[n]) for n in ("frames", "domains") if n in content}
    metrics, results = Object(content.pop("metrics"), f"{where}: metrics"), []
    shapes = schema.SHAPES | dict.fromkeys(metrics, "seeds")
    for number, part in enumerate(content.pop("results")):
        place = f"{where}: results[{number}]"
        per_seed = Object(part.pop("per_seed"), f"{place}.per_seed")
        part["settings"] = Object(part["settings"], f"{place}.settings")
        sizes["seeds"] = len({*per_seed["seed"]})
        for name in metrics:
            per_seed[name]
        schema.check_values(per_seed, per_seed.where, shapes, sizes)
        results.append(Result._make([*map(part.pop, Result._fields[:-2]), per_seed, part]))
    for name in ("format", *metrics):
        content.pop(name, None)  # spreads, see `write`
    return Record(Object(content, where), metrics, results)


def join(known: Record, new: Record) -> Record:
    """A record with the seeds of another run of the same settings after its own."""
    results = []
    for first, second in zip(known.results, new.results, strict=True):
        seconds = round(first.seconds + second.seconds, 2)
        per_seed = append(first.per_seed, second.per_seed)
        results.append(first._replace(seconds=seconds, per_seed=per_seed))
    return Record(known.about | {"seeds": results[0].seeds}, known.metrics, results)


def append(first: Any, second: Any) -> Any:
    """Per-seed lists, at the leaves of dictionaries, one after the other. None is empty."""
    if isinstance(second, dict):
        return {name: append(first and first[name], part) for name, part in second.items()}
    return [*(first or []), *second]


def take(values: Any, rows: slice) -> Any:
    """Rows of per-seed lists at the leaves of dictionaries."""
    if isinstance(values, dict):
        return {name: take(part, rows) for name, part in values.items()}
    return values[rows]


def environment() -> dict[str, Any]:
    """Versions and machine, to repeat the run."""
    versions = {"mer_jax": mer_jax.__version__}
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "gymnax", "flashbax"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    devices = [str(device) for device in jax.devices()]
    return {
        "versions": versions, "arithmetic": checkpoints.arithmetic(),
        "python": platform.python_version(), "platform": platform.platform(),
        "devices": devices, "cpu_count": os.cpu_count(), "git_revision": _git_revision(),
    }  # fmt: skip


def _git_revision() -> str | None:
    """The commit that ran, with a + if its files had changed since. None outside of git."""
    # Without a tag to name it, the commit is described by its whole hash.
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        where, quiet = Path(__file__).parent, subprocess.DEVNULL
        return subprocess.check_output(command, cwd=where, stderr=quiet, text=True).strip()
    return None


def markdown(table: list[list[str]], caption: str = "") -> str:
    """A table with its head as Markdown, and a caption below."""
    head, *body = table
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    return f"{text}\n{caption}\n" if caption else text
