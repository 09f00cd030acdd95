"""Program for the paper's tables."""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from experiments.running import devices, pool, progress
from experiments.running.command_line import errors, parse
from experiments.running.options import Data, Whole, flag
from experiments.running.program import running
from experiments.tables import games, methods, questions, supervised, sweeps
from experiments.tables.cells import jobs
from experiments.tables.table import GIVEN, OUT

TABLES = supervised.TABLES | methods.TABLES | questions.TABLES | sweeps.TABLES | games.TABLES
MODULE = "experiments.tables"


@dataclasses.dataclass(frozen=True)
class Config(Data):
    """Runs the cells of a table that are missing, and draws it. The same command resumes it."""

    table: Annotated[Literal[*TABLES], tyro.conf.Positional] = "retained-accuracy"  # type: ignore
    """retained-accuracy and learning-accuracy have all methods on the paper's benchmarks, at the
    end and right after each task. alignment has transfer and interference of ER and MER, ablation
    MER's hyper-parameters, omniglot the alphabets, split all methods on split classes, after-mer
    the methods after MER, open-questions those of MER's poster, and rl the games. sweeps,
    augmented-sweeps and rl-sweeps have the settings that were tried."""
    cells: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CELL ...", help_behavior_hint="")] = ()
    """Run only these cells, such as rotations/mer-200. By default all. The name of a folder, such
    as rotations, ends the program with a list of its cells."""
    only_draw: bool = False
    """Run nothing. Draw the table from the cells that have a record, whatever flags they had."""
    dataset: Annotated[
        Literal["mnist-5k", "digits", "mnist", "fashion_mnist", "omniglot"] | None,
        tyro.conf.arg(metavar="NAME", help_behavior_hint=""),
    ] = None
    """mnist-5k, digits, mnist, fashion_mnist or omniglot, as for experiments.supervised. By default
    mnist, and omniglot for its cells."""
    seeds: Whole = None
    """Number of seeds of each cell. By default 5, and fewer in omniglot and sweeps."""
    seed: Whole = None
    """The first seed. By default 0, and 100 in sweeps."""
    tasks: Whole = None
    """Number of tasks. By default the benchmark's own number, and fewer in sweeps."""
    examples_per_task: Whole = None
    """Training examples of a task. By default the benchmark's own number."""
    test_images: Whole = None
    """Test images of a task. By default all."""
    seed_batch: Whole = None
    """Seeds that are learned before they are saved. By default one on a CPU, and elsewhere all."""
    out: Path = OUT
    """Folder for the tables and, below it, cells. Relative to the working directory."""

    def check(self) -> None:
        super().check()
        self.positive("seeds", "seed_batch")
        if self.only_draw and (
            given := [name for name in ("cells", *GIVEN) if getattr(self, name)]
        ):
            raise ValueError(f"--only-draw draws what is recorded: leave out {flag(given[0])}")
        known = [cell.name for cell in TABLES[self.table].cells]
        if wrong := [name for name in self.cells if name not in known]:
            told = _told(wrong[0], known)
            raise ValueError(f"--cells: expected cells of {self.table}, got {told}")


def _told(wrong: str, known: list[str]) -> str:
    """A wrong name, with its table or the nearest cells. Of a folder, with all of its cells."""
    for name, table in TABLES.items():
        if wrong in [cell.name for cell in table.cells]:
            return f"{wrong}, a cell of {name}; name that table instead"
    folders = dict.fromkeys(name.rpartition("/")[0] for name in known)
    if (folder := wrong.rstrip("/")) in folders:
        names = [name for name in known if name.rpartition("/")[0] == folder]
        return f"the folder {folder}; it has {' '.join(names)}"
    near = ", ".join(difflib.get_close_matches(wrong, known, cutoff=0.5))
    nearest = f"nearest: {near}; " if near else ""
    of_folder = f"to list a folder's cells give its name: {', '.join(folders)}"
    own = "for a method of your own run its file, with settings for these memories"
    return f"{wrong}; {nearest}{of_folder}; {own}"


@errors(MODULE)
def main(args: Sequence[str] | None = None) -> None:
    """Runs the missing cells of a table and draws it."""
    console = progress.console()
    config = parse(MODULE, Config, args)
    config.check()
    devices.use_all_cores()
    devices.check()
    jax.config.update("jax_default_matmul_precision", "highest")
    given = {n: value for n in (*GIVEN, "data_dir") if (value := getattr(config, n)) is not None}
    at_once = config.seed_batch or (1 if jax.default_backend() == "cpu" else None)
    wanted = [one for one in TABLES[config.table].cells if one.name in (config.cells or [one.name])]
    with running(console, "the same command resumes it"):
        missing = [] if config.only_draw else wanted
        pool.run([job for one in missing for job in jobs(one, given, config.out, at_once)], console)
        written = TABLES[config.table].write(config.table, config.out)
    console.print(f"{config.out}: {', '.join(written)}")
    cells = {cell.name for table in TABLES.values() for cell in table.cells}
    for path in sorted((config.out / "cells").rglob("metrics.json")):
        name = path.parent.relative_to(config.out / "cells")
        if not cells & {f"{name}", f"{name.parent}"}:
            console.print(f"cells/{name} is in no table: run the file that adds its method")


if __name__ == "__main__":
    main()
