"""The cost of MER, as times and as ratios that hold on other machines too."""

import dataclasses
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import tyro
from annotated_types import MinLen
from typing_extensions import TypedDict

from experiments.bench.rows import RATIO, Row, parts
from experiments.running import devices, files, progress, record
from experiments.running.command_line import command, deciding, errors, parse
from experiments.running.interrupt import asked_to_stop
from experiments.running.options import Data
from experiments.running.program import running, tell
from mer_jax.data import datasets

MODULE = "experiments.bench"
RECORDED = Path(__file__).parents[1] / "results" / "bench" / "bench.json"
ONE = tyro.conf.arg(metavar="[PATH]", help_behavior_hint="")
TOLERANCE = 1.5
"""How many times the recorded ratio is still accepted."""


@dataclasses.dataclass(frozen=True)
class Config(Data):
    """Measures the cost of MER, as times and as ratios that hold on other machines too.

    It takes about two minutes. Whole runs on MNIST are also measured if there is a folder with
    mnist.npz.
    """

    repeats: int = 7
    """Number of measurements. Medians are shown. Ratios are taken pair by pair."""
    long: bool = False
    """Also time whole seeds of DQN-MER on Catcher and of MER 5120 on MNIST Rotations."""
    compare: Annotated[tuple[Path, ...] | None, ONE] = None
    """Show the values of this bench.json, by default the recorded one, beside the new ones. The
    program ends with status 1 if a ratio is more than 1.5 times the recorded one. Times are not
    compared, since they depend on the machine."""
    out: Path = Path("runs/bench")
    """Folder for bench.json and bench.md."""

    def check(self) -> None:
        super().check()
        self.positive("repeats")
        if self.compare is not None and len(self.compare) > 1:
            raise ValueError(f"--compare takes one file, got {len(self.compare)}")


class Recorded(TypedDict):
    """A bench.json."""

    rows: Annotated[list[Row], MinLen(1)]


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def recorded(path: Path) -> dict[str, Row]:
    """The rows of a bench.json by name.

    Raises:
      ValueError: if it is none.
    """
    try:
        rows = files.read_json(path, Recorded)["rows"]
    except ValueError as error:
        raise ValueError(f"--compare needs a file of this program: {error}") from None
    return {one.what: one for one in rows}


def grown(rows: list[Row], before: dict[str, Row]) -> list[tuple[Row, float]]:
    """The ratios that are too many times the recorded ones, and those."""
    known = [(one, before[one.what].median) for one in rows if one.what in before]
    return [(r, then) for r, then in known if r.unit == RATIO and r.median > TOLERANCE * then]


def table(rows: list[Row], before: dict[str, Row] | None = None) -> list[list[str]]:
    """A table with its head. Recorded rows have a column of their own."""
    lines = [["What", "Recorded", "Median", ""]]
    for what, median, unit, _ in rows:
        then = number(before[what].median) if before and what in before else ""
        lines.append([what, then, number(median), unit])
    return lines if before is not None else [[line[0], *line[2:]] for line in lines]


def write(config: Config, rows: list[Row]) -> None:
    """Writes bench.json and bench.md of the rows so far."""
    about, first = record.environment(), jax.devices()[0]
    about = {"config": deciding(config), "command": command(MODULE, config)} | about
    place = "" if first.platform == "cpu" else f"{first.device_kind} with "
    place += f"{about['cpu_count']} cores ({platform.machine()}), jax {about['versions']['jax']}"
    caption = f"Medians of {config.repeats} on {place}; whole runs once. `{about['command']}"
    files.write_json(config.out / "bench.json", {"rows": [one._asdict() for one in rows]} | about)
    text = record.markdown(table(rows), f"{caption} --data-dir DIR`")
    files.write_text(config.out / "bench.md", text)


@errors(MODULE)
def main(args: Sequence[str] | None = None) -> None:
    """Measures everything, and compares."""
    config, console, rows = parse(MODULE, Config, args), progress.console(), list[Row]()
    folder = config.data_dir or os.environ.get("MER_JAX_DATA_DIR")
    config.check()
    before = None if config.compare is None else recorded(*config.compare or (RECORDED,))
    if folder:  # rather now than after minutes
        datasets.load("mnist", Path(folder))
    files.make(config.out)
    devices.use_all_cores()
    devices.check()
    stopped = f"rows so far are in {config.out}"
    with running(console, stopped), progress.display(console) as bars:
        chosen = parts(config.repeats, config.long, folder)
        bar = bars.add_task("measuring", total=len(chosen), about="compiling")
        for part in chosen:
            rows += part()
            bars.update(bar, advance=1, about=rows[-1].what)
            write(config, rows)
            if asked_to_stop():
                raise KeyboardInterrupt
    tell(console, config.out, table(rows, before))
    for one, then in (worse := grown(rows, before or {})):
        limit = f"more than {TOLERANCE} times the recorded {number(then)}"
        console.print(f"{one.what}: {number(one.median)}, {limit}")
    if worse:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
