"""How hyper-parameters that nobody published were chosen: on other draws, of fewer tasks."""

import itertools
from pathlib import Path
from typing import Any

from experiments import output, plots
from experiments.accuracy_tables import heading
from experiments.cells import Cell, brief, load_all

TASKS = {"rotations": 10, "permutations": 10, "many-permutations": 50, "omniglot": 15}
"""Half of each benchmark's tasks; of Omniglot's as many as it takes to see what lasts."""
SEEDS = {"rotations": 2, "permutations": 2, "many-permutations": 2, "omniglot": 1}
FIRST_SEED = 100
"""Seeds from here on, thus tasks, images and networks, are in no table."""

Values = dict[str, tuple[float, ...]]
Line = tuple[str, int | None, Values]

# For each method its memories and the values that were tried. A number of memories with which
# nothing was tried takes what is best with the nearest.
MNIST: list[Line] = [
    ("agem", 500, {"alpha": (0.001, 0.003, 0.01, 0.03), "sample_size": (256,)}),
    (
        "exact-alignment",
        500,
        {"alpha": (0.01, 0.03, 0.1), "alignment": (0.001, 0.01, 0.1), "batch_size": (26,)},
    ),
    ("task-input", None, {"alpha": (0.001, 0.003, 0.01, 0.03, 0.1)}),
]
ONE_BATCH: Values = {"gamma": (1,), "num_batches": (1,), "batch_size": (26,)}
MANY_BATCHES: Values = {"gamma": (1,), "num_batches": (10,), "batch_size": (11,)}
# 15 of 50 alphabets with 1,536 of 5,120 memories, or 150 of 500, so that the memory holds the same
# share of what was seen as in the runs that this is for.
OMNIGLOT: list[Line] = [
    ("online", None, {"alpha": (0.003, 0.01, 0.03, 0.1)}),
    ("ewc", None, {"alpha": (0.01, 0.03), "strength": (0.1, 1, 10, 100), "num_memories": (10,)}),
    ("er", 1536, {"alpha": (0.03, 0.1, 0.3), "batch_size": (26,)}),
    ("er-by-task", 1536, {"alpha": (0.01, 0.03), "batch_size": (26,)}),
    ("mer", 1536, {"alpha": (0.01,), "beta": (0.2, 0.5, 0.8), **ONE_BATCH}),
    ("mer", 1536, {"alpha": (0.03,), "beta": (0.2, 0.5), **ONE_BATCH}),
    ("mer", 1536, {"alpha": (0.03,), "beta": (0.1,), **MANY_BATCHES}),
    ("mer", 150, {"alpha": (0.1,), "beta": (0.01, 0.03), **MANY_BATCHES}),
    ("mer", 150, {"alpha": (0.03,), "beta": (0.1,), **MANY_BATCHES}),
    ("mer", 150, {"alpha": (0.03, 0.1), "beta": (0.2,), **ONE_BATCH}),
    ("mer-big-batch", 1536, {"alpha": (0.01, 0.03), "gamma": (0.5,), "batch_size": (26,)}),
    (
        "mer-current-rate",
        1536,
        {"alpha": (0.01,), "gamma": (0.1, 0.3), "s": (5,), "batch_size": (26,)},
    ),
    ("gem", 150, {"alpha": (0.03, 0.1), "margin": (0.5,), "ridge": (0,)}),
    ("agem", 1536, {"alpha": (0.03, 0.1), "sample_size": (50,)}),
    (
        "exact-alignment",
        1536,
        {"alpha": (0.01, 0.03), "alignment": (0.001, 0.01), "batch_size": (11,)},
    ),
    ("independent", None, {"alpha": (0.01, 0.03, 0.1)}),
    ("task-input", None, {"alpha": (0.01, 0.03, 0.1)}),
]


def cells() -> list[Cell]:
    """One for each line above, which an accelerator learns at once, but for Omniglot, whose
    settings take a while, one for each of those."""
    return [
        Cell(
            benchmark,
            method,
            capacity,
            group="sweeps",
            changed=tuple(values.items()),
            on=(("seed", FIRST_SEED), ("seeds", SEEDS[benchmark]), ("tasks", tasks)),
        )
        for benchmark, tasks in TASKS.items()
        for method, capacity, values in (_singly(OMNIGLOT) if benchmark == "omniglot" else MNIST)
    ]


def _singly(lines: list[Line]) -> list[Line]:
    """A line for each combination of a line's values."""
    return [
        (method, capacity, {name: (value,) for name, value in zip(values, some, strict=True)})
        for method, capacity, values in lines
        for some in itertools.product(*values.values())
    ]


def best(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry that retained most; of several that did, the one that learned most."""
    learned = [entry for entry in entries if entry["retained_accuracy"]["mean"] is not None]
    metrics = ("retained_accuracy", "learning_accuracy")
    return max(learned, key=lambda entry: [entry[metric]["mean"] for metric in metrics])


def _listed(entry: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} {entry['settings'][name]:g}" for name in names)


def draw(name: str, folder: Path) -> None:
    """Writes what came of every setting, as Markdown, JSON and bars, from the cells there are."""
    known = load_all(cells(), folder / "cells")
    tried: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell, kept in known.items():
        entries = tried.setdefault((cell.benchmark, cell.title), [])
        entries += kept["entries"].values()
    table = [["Benchmark", "Method", "Settings", "Retained accuracy", "Learning accuracy"]]
    panels: dict[str, list[plots.Bar]] = {}
    for (benchmark, method), entries in tried.items():
        chosen = best(entries)
        names = [key for key in chosen["settings"] if key != "capacity"]
        varied = [key for key in names if len({entry["settings"][key] for entry in entries}) > 1]
        for entry in entries:
            text = _listed(entry, names)
            metric = entry["retained_accuracy"]
            mark = "**" if entry is chosen else ""
            table.append(
                [
                    heading(benchmark),
                    method,
                    f"{mark}{text}{mark}",
                    f"{mark}{output.cell(metric)}{mark}",
                    output.cell(entry["learning_accuracy"]),
                ]
            )
            if metric["mean"] is not None:
                label = ", ".join([method, *([_listed(entry, varied)] if varied else [])])
                bar = plots.Bar(label, metric["mean"], metric["std"], None, entry is chosen)
                panels.setdefault(heading(benchmark), []).append(bar)
    caption = (
        f"In %, mean ± standard deviation over seeds from {FIRST_SEED} on (two for MNIST, one for "
        f"Omniglot), on the first half of the tasks of MNIST's benchmarks and {TASKS['omniglot']} "
        "of Omniglot's alphabets, which each seed draws anew; bold: the best, which tables use. "
        f"`python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    output.write_json(folder / f"{name}.json", brief(known))
    title = "Retained accuracy in the sweeps, %; red: chosen"
    output.write(folder / f"{name}.png", lambda part: plots.bars(part, panels, title))
