"""Makes the paper's tables: our numbers beside the published ones.

    python -m experiments.tables retained-accuracy --data-dir ~/mnist
    python -m experiments.tables retained-accuracy --cells rotations/mer-200 rotations/gem-200

Every cell is kept on its own, and what is finished is not run again: a run that was stopped goes on
where it was.
"""

import dataclasses
import queue
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import jax
import tyro
from rich.console import Console

from experiments import (
    ablation,
    accuracy_tables,
    alignment_table,
    bars,
    checkpoints,
    command_line,
    devices,
    omniglot_table,
    program,
    rl_sweeps,
    rl_table,
    sweeps,
)
from experiments.cells import Job
from mer_jax import _checks as checks

TABLES: dict[str, ModuleType] = {
    "retained-accuracy": accuracy_tables,
    "learning-accuracy": accuracy_tables,
    "alignment": alignment_table,
    "ablation": ablation,
    "omniglot": omniglot_table,
    "rl": rl_table,
    "rl-sweeps": rl_sweeps,
    "sweeps": sweeps,
}
"""Each with `cells()`, what there is to run, and `draw(table, folder)`, which writes the files. A
cell's string is its name, and its `jobs(how, folder, at_once)` are what is missing of it."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one of the paper's tables: runs the cells that are missing, and draws it."""

    table: Annotated[
        Literal[
            "retained-accuracy",
            "learning-accuracy",
            "alignment",
            "ablation",
            "omniglot",
            "rl",
            "rl-sweeps",
            "sweeps",
        ],
        tyro.conf.Positional,
    ] = "retained-accuracy"
    """Which table: what is retained at the end or learned on the way, of all methods (the two come
    from the same runs); transfer and interference under ER and MER; what MER's beta, gamma, s and k
    each do; all methods on Omniglot; the games, and what was tried for them; or what was tried
    where else hyper-parameters were not published."""
    cells: tuple[str, ...] = ()
    """Run only these, such as rotations/mer-200 or many-permutations/online; all if not given."""
    only_draw: bool = False
    """Run nothing: draw the table from the cells there are."""
    dataset: Literal["mnist-5k", "digits", "mnist", "fashion_mnist", "omniglot"] | None = None
    """Images; if not given MNIST, and Omniglot for what is measured on that. See
    experiments.supervised."""
    seeds: int | None = None
    """How many seeds each cell has; if not given 5, and 2 in sweeps."""
    seed: int | None = None
    """The first seed; if not given 0, and 100 in sweeps."""
    tasks: int | None = None
    """How many tasks; if not given the benchmark's own number, and half of it in sweeps."""
    examples_per_task: int | None = None
    """Training examples a task; the benchmark's own number if not given."""
    test_images: int | None = None
    """Test images a task; all of them if not given."""
    seed_batch: int | None = None
    """How many seeds are learned before they are kept; if not given one by each core of a CPU, and
    elsewhere all."""
    data_dir: Path | None = None
    """Folder with the images; MER_JAX_DATA_DIR if not given."""
    out: Path = Path("experiments/results")
    """Folder for the tables and, below it, `cells`."""


def chosen(config: Config) -> list[Any]:
    """The cells to run.

    Raises:
      ValueError: if one is asked for that the table does not have.
    """
    known = {str(cell): cell for cell in TABLES[config.table].cells()}
    if unknown := [name for name in config.cells if name not in known]:
        raise ValueError(f"--cells: {config.table} has no {unknown[0]}; it has {', '.join(known)}")
    return [known[name] for name in config.cells] or list(known.values())


def run(jobs: list[Job], console: Console) -> None:
    """Does all jobs, as many side by side as a CPU has cores.

    Raises:
      What one of them does; the others stop at their next checkpoint.
    """
    if not jobs:
        return
    places: queue.SimpleQueue[devices.Place] = queue.SimpleQueue()
    for place in (known := devices.places(len(jobs))):
        places.put(place)
    with bars.display(console, keep=False) as shown, ThreadPoolExecutor(len(known)) as pool:
        bar = shown.add_task("all", total=len(jobs), about="parts of cells")

        def do(job: Job) -> None:
            place = places.get()
            try:
                with devices.on(place):
                    console.print(job(shown), highlight=False)
            finally:
                places.put(place)
            shown.advance(bar)

        futures = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            checkpoints.stop()
            raise


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        for name in ("seeds", "seed_batch"):
            if (count := getattr(config, name)) is not None:
                checks.positive_int(command_line.flag(name), count)
        wanted = chosen(config)
    devices.use_all_cores()
    jax.config.update("jax_default_matmul_precision", "highest")
    how = {
        name: value
        for name in (
            "dataset", "seeds", "seed", "tasks", "examples_per_task", "test_images", "data_dir"
        )
        if (value := getattr(config, name)) is not None
    }  # fmt: skip
    at_once = config.seed_batch or (1 if jax.default_backend() == "cpu" else None)
    with program.running(console, "the same command goes on from here"):
        run(
            [
                job
                for cell in ([] if config.only_draw else wanted)
                for job in cell.jobs(how, config.out / "cells", at_once)
            ],
            console,
        )
        TABLES[config.table].draw(config.table, config.out)
    program.tell(console, config.out, f"{config.table}.md, .json and pictures")


if __name__ == "__main__":
    main()
