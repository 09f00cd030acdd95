"""Tables of all methods with equal memories: split classes, and the methods after MER."""

import dataclasses
import functools

from experiments.plots.settings import Line, against_memories
from experiments.running.record import markdown
from experiments.supervised.methods import METHODS
from experiments.supervised.metrics import METRICS
from experiments.tables.cells import Cell
from experiments.tables.supervised import cell
from experiments.tables.table import Draw, Row, Table, best, grouped, num_seeds

# Retained accuracy in % of the code of Gupta et al. (2020) on one draw of ours, one seed.
AUTHORS = {
    "rotations": {"la-maml": 76.94, "c-maml": 75.55, "sync": 70.18},
    "permutations": {"la-maml": 74.57, "c-maml": 73.05, "sync": 58.46},
    "many-permutations": {"la-maml": 49.20, "c-maml": 47.32, "sync": 42.81},
}
AFTER = ("mer", "er", "la-maml", "sync", "c-maml", "der", "der++")
MEMORIES = {"rotations": 200, "permutations": 200, "many-permutations": 500}
SIZES = (200, 500, 5120)


def _compared(file: str, title: str, rows: list[Row], draw: Draw) -> list[str]:
    """A line for each method and number of memories, the best of each number in bold."""
    heads = ["Benchmark", "Method", "Memories", *METRICS.values(), "Passes", "Seconds a seed"]
    table, panels = [[*heads, "Authors' code"]], dict[str, dict[str, Line]]()
    for (on, _, _), same in grouped(rows, lambda row: (row.cell.heads[0], *_group(row))):
        first = best([row.result for row in same], *METRICS)
        for row in same:
            (_, method, size), flags, result = row.cell.heads, row.cell.flags, row.result
            arm = flags["method"][0]
            retained, *others = map(row.text, METRICS)
            bold = f"**{retained}**" if result is first else retained
            passes = next((result.settings[n] for n in PASSES if n in result.settings), 1)
            theirs = AUTHORS.get(flags["benchmark"], {}).get(arm)
            seconds = f"{result.seconds / len(result.seeds):.0f}"
            ends = [f"{passes:g}", seconds, f"{theirs:.2f}" if theirs else ""]
            table.append([on, method, size, bold, *others, *ends])
            line = panels.setdefault(on, {}).setdefault(arm, Line(arm, method, {}))
            line.points[int(size or 0)] = result.spread("retained_accuracy"), theirs
    curves = {on: [*lines.values()] for on, lines in panels.items()}
    unit = "Retained accuracy, %"
    draw(f"{file}.png", against_memories, panels=curves, title=title, unit=unit)
    caption = (
        f"{title}: in %, mean ± standard deviation over {num_seeds(rows)} seeds; bold: the most "
        "retained with as many memories. Passes: how often each incoming example is trained on. "
        "Authors' code: retained accuracy on one draw of ours, one seed."
    )
    return [markdown(table, caption)]


PASSES = ("glances", "num_batches")
"""Settings that say how often each incoming example is trained on."""


def _group(row: Row) -> tuple[bool, str]:
    """Whether a method knows the task when it is tested, and its memories."""
    return row.cell.flags["method"][0] in ("independent", "task-input"), row.cell.heads[2]


def _split(dataset: str, method: str, size: int | None) -> Cell:
    """20,000 examples in all, as of the other benchmarks."""
    group, title = DATASETS[dataset]
    made = cell("split", method, size, group, dataset=dataset, examples_per_task=4000)
    return dataclasses.replace(made, heads=(title, *made.heads[1:]))


DATASETS = {"mnist": ("", "MNIST"), "fashion_mnist": ("fashion", "Fashion-MNIST")}
"""The group of its cells, and its title."""
ONLY_ASKED = ("er-reptile", "online-reptile", "gaussians")
"""Methods of the table of open questions alone."""
SPLIT = [
    _split(dataset, name, size)
    for dataset in DATASETS
    for takes, sizes in ((False, (None,)), (True, SIZES))
    for size in sizes
    for name, method in METHODS.items()
    if takes == ("capacity" in method.settings) and name not in ONLY_ASKED
]
AFTER_MER = [cell(on, method, size) for on, size in MEMORIES.items() for method in AFTER]
_after = functools.partial(_compared, "after-mer", "Methods after MER, hollow: authors' code")
TABLES = {
    "split": Table(SPLIT, functools.partial(_compared, "split", "Two new classes a task")),
    "after-mer": Table(AFTER_MER, _after),
}
