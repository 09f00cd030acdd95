"""Makes the paper's tables: our numbers beside the published ones.

    python -m experiments.tables retained-accuracy --data-dir ~/mnist
    python -m experiments.tables retained-accuracy --cells rotations/mer-200 rotations/gem-200

Every cell is kept on its own, seed by seed, and what is finished is not run again: a run that was
stopped goes on where it was.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from rich.console import Console

from experiments import cells, command_line, devices, output, plots, published, supervised
from experiments.cells import Cell
from experiments.methods import CHOSEN, METHODS, PUBLISHED
from mer_jax import checks
from mer_jax.data.benchmarks import BENCHMARKS

TABLES = {"retained-accuracy": "retained_accuracy", "learning-accuracy": "learning_accuracy"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one of the paper's tables: runs the cells that are missing, and draws it."""

    table: Annotated[Literal["retained-accuracy", "learning-accuracy"], tyro.conf.Positional] = (
        "retained-accuracy"
    )
    """Which table; these two come from the same runs."""
    cells: tuple[str, ...] = ()
    """Run only these, such as rotations/mer-200 or many-permutations/online; all if not given."""
    only_draw: bool = False
    """Run nothing: draw the table from the cells there are."""
    dataset: Literal["digits", "mnist", "fashion_mnist"] = "mnist"
    """Images; see experiments.supervised."""
    seeds: int = 5
    """How many seeds each cell has."""
    seed: int = 0
    """The first seed."""
    tasks: int | None = None
    """How many tasks; the benchmark's own number if not given."""
    examples_per_task: int | None = None
    """Training examples a task; the benchmark's own number if not given."""
    test_images: int | None = None
    """Test images a task; all of them if not given."""
    seed_batch: int | None = None
    """How many seeds are learned before they are kept: as many as there are devices (on a CPU,
    cores) if not given."""
    data_dir: Path | None = None
    """Folder with the images; MER_JAX_DATA_DIR if not given."""
    out: Path = Path("experiments/results")
    """Folder for the tables and, below it, `cells`."""


def every_cell() -> list[Cell]:
    """The cells of the paper's table, then those it did not publish; short ones first."""
    found = [
        Cell(benchmark, method, capacity)
        for settings in (PUBLISHED, CHOSEN)
        for method, rows in settings.items()
        for benchmark, capacities in rows.items()
        for capacity in capacities
    ]
    return sorted(
        found,
        key=lambda cell: (
            (cell.method, cell.capacity) not in published.RETAINED_ACCURACY,
            cell.capacity or 0,
        ),
    )


def chosen_cells(names: tuple[str, ...]) -> list[Cell]:
    """The cells with these names.

    Raises:
      ValueError: if there is none of that name.
    """
    known = {str(cell): cell for cell in every_cell()}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--cells knows no {unknown[0]}; it knows {', '.join(sorted(known))}")
    return [known[name] for name in names] or list(known.values())


def settings(cell: Cell, config: Config) -> supervised.Config:
    """How a cell is learned."""
    asked = supervised.Config(
        dataset=config.dataset,
        benchmark=cell.benchmark,  # type: ignore[arg-type]
        method=(cell.method,),  # type: ignore[arg-type]
        seeds=config.seeds,
        seed=config.seed,
        tasks=config.tasks,
        examples_per_task=config.examples_per_task,
        test_images=config.test_images,
        data_dir=config.data_dir,
    )
    return asked if cell.capacity is None else dataclasses.replace(asked, capacity=cell.capacity)


def draw(config: Config, console: Console) -> None:
    """Writes the table as Markdown, JSON and a picture, from the cells there are."""
    folder, metric = config.out / "cells", TABLES[config.table]
    known = {cell: cells.load(cell, folder) for cell in every_cell()}
    results = {cell: result for cell, result in known.items() if result}
    if not results:
        raise ValueError(f"{folder} holds no cell yet; leave out --only-draw")
    table = [["Method", "Memories", *map(heading, BENCHMARKS)]]
    for method, capacity in dict.fromkeys((cell.method, cell.capacity) for cell in results):
        row = [Cell(benchmark, method, capacity) for benchmark in BENCHMARKS]
        texts = [entry(cell, results[cell], metric) if cell in results else "" for cell in row]
        table.append([METHODS[method].title, str(capacity or ""), *texts])
    seeds = sorted({len(result["seeds"]) for result in results.values()})
    caption = (
        f"{heading(config.table)} in %, mean ± standard deviation over "
        f"{' or '.join(map(str, seeds))} seeds; in brackets what was published; then how long all "
        f"seeds of the cell took together. `python -m experiments.tables {config.table}`"
    )
    output.write_text(config.out / f"{config.table}.md", output.markdown(table, caption))
    content = {
        str(cell): {
            metric: result[metric],
            "published": to_compare(cell, metric),
            **{name: result[name] for name in ("seconds", "settings", "command")},
        }
        for cell, result in results.items()
    }
    output.write_json(config.out / f"{config.table}.json", content)
    panels: dict[str, list[plots.Bar]] = {}
    for cell, result in results.items():
        theirs = to_compare(cell, metric)
        bar = plots.Bar(
            f"{result['title']} {cell.capacity or ''}",
            result[metric]["mean"],
            result[metric]["std"],
            theirs.mean if theirs else None,
            ours=cell.method.startswith("mer"),
        )
        if bar.mean is not None:  # diverged
            panels.setdefault(heading(cell.benchmark), []).append(bar)
    title = f"{heading(config.table)} in %; black lines: published"
    output.write(config.out / f"{config.table}.png", lambda part: plots.bars(part, panels, title))
    console.print(f"{config.out}: {config.table}.md, .json, .png", highlight=False)


def heading(name: str) -> str:
    return name.replace("-", " ").title()


def to_compare(cell: Cell, metric: str) -> published.Value | None:
    """What was published of a cell: retained accuracy alone."""
    if metric != "retained_accuracy":
        return None
    return published.RETAINED_ACCURACY.get((cell.method, cell.capacity), {}).get(cell.benchmark)


def entry(cell: Cell, result: dict[str, Any], metric: str) -> str:
    """`ours ± spread (published ± spread), time`."""
    theirs = to_compare(cell, metric)
    beside = f" ({theirs.mean:.2f} ± {theirs.spread:.2f})" if theirs else ""
    return f"{output.cell(result[metric])}{beside}, {result['seconds'] / 60:.1f} min"


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        checks.positive_int("--seeds", config.seeds)
        if config.seed_batch is not None:
            checks.positive_int("--seed-batch", config.seed_batch)
        wanted = chosen_cells(config.cells)
    devices.use_all_cores()
    jax.config.update("jax_default_matmul_precision", "highest")
    with command_line.errors():
        for number, cell in enumerate([] if config.only_draw else wanted, 1):
            console.rule(f"{cell}, {number} of {len(wanted)}")
            at_once = config.seed_batch or len(jax.devices())
            try:
                cells.run(cell, settings(cell, config), config.out / "cells", at_once, console)
            except KeyboardInterrupt:
                console.print("stopped; the same command goes on from here")
                raise SystemExit(130) from None
        draw(config, console)


if __name__ == "__main__":
    main()
