"""Incremental Omniglot: the paper's methods on 50 alphabets, and all methods on the first ten."""

import functools

from experiments.plots.curves import accuracy_over_stream, retained
from experiments.running.record import Result
from experiments.tables.accuracy import make_cell
from experiments.tables.table import Columns, Page, Row, Table, grouped, listed, num_seeds

Line = tuple[str, int | None]
ALL: list[Line] = [("online", None), ("ewc", None), ("er", 5120), ("mer", 500), ("mer", 5120)]
# GEM's cost grows with the tasks and its memories of each: 1,020 memories for ten alphabets are
# what ten of fifty have of 5,120.
FIRST: list[Line] = [
    *ALL, ("gem", 1020), ("agem", 5120), ("er-by-task", 5120), ("mer-big-batch", 5120),
    ("mer-current-rate", 5120), ("exact-alignment", 5120), ("independent", None),
    ("task-input", None),
]  # fmt: skip
CAPTION = (
    "In %, mean ± standard deviation over seeds; published: retained accuracy after all 50 "
    "alphabets; minutes: of all seeds together, each on a core of a CPU or where it says."
)


def _minutes(row: Row) -> str:
    platform = row.record.about["devices"][0].split(":")[0]
    return f"{row.result.seconds / 60:.1f}" + ("" if platform == "cpu" else f" ({platform})")


COLUMNS: Columns = {
    "Method": lambda row: row.cell.heads[1],
    "Memories": lambda row: row.cell.heads[2],
    "Retained accuracy": lambda row: row.text("retained_accuracy"),
    "Learning accuracy": lambda row: row.text("learning_accuracy"),
    "BTI": lambda row: row.text("bti"),
    "Published": lambda row: row.published(),
    "Minutes": _minutes,
}


def _page(rows: list[Row]) -> Page:
    """A table and a picture for each number of alphabets, and a picture of both."""
    texts: list[str] = []
    panels: dict[str, list[Result]] = {}
    pictures = {}
    for tasks, same in grouped(rows, lambda row: row.cell.flags.get("tasks", 50)).items():
        group = f"{'all' if tasks == 50 else 'the first'} {tasks} alphabets"
        texts.append(listed(same, COLUMNS, f"Omniglot, {group}; {num_seeds(same)} seeds"))
        panels[group] = [row.result for row in same]
        title = f"Omniglot, {group}: accuracy on each"
        draw = functools.partial(accuracy_over_stream, results=panels[group], title=title)
        pictures[f"omniglot-{tasks}-alphabets.png"] = draw
    title = "Omniglot, alphabet after alphabet"
    both = functools.partial(retained, panels=panels, title=title)
    return [*texts, CAPTION], {**pictures, "omniglot.png": both}


CELLS = [make_cell("omniglot", *one, seeds=2) for one in ALL]
CELLS += [make_cell("omniglot", *one, group="first-10", seeds=2, tasks=10) for one in FIRST]
TABLE = Table(CELLS, _page)
