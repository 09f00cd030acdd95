"""How hyper-parameters that nobody published were chosen: on other draws, of fewer tasks."""

from pathlib import Path
from typing import Any

from experiments import output, plots
from experiments.accuracy_tables import heading
from experiments.cells import Cell, brief, load_all
from experiments.methods import METHODS

TASKS = {"rotations": 10, "permutations": 10, "many-permutations": 50}
"""Half of each benchmark's tasks."""
DRAW = (("seed", 100), ("seeds", 2))
"""Seeds, thus tasks, images and networks, that no table reports."""
CAPACITY = 500
"""What is best with these is taken for other memories too."""

SWEPT: dict[str, tuple[int | None, dict[str, tuple[float, ...]]]] = {
    "agem": (CAPACITY, {"alpha": (0.003, 0.01, 0.03, 0.1), "sample_size": (256,)}),
    "exact-alignment": (
        CAPACITY,
        {"alpha": (0.01, 0.03, 0.1), "alignment": (0.001, 0.01, 0.1), "batch_size": (26,)},
    ),
    "task-input": (None, {"alpha": (0.001, 0.003, 0.01, 0.03, 0.1)}),
}
"""For each method its memories and the values that were tried."""


def cells() -> list[Cell]:
    return [
        Cell(
            benchmark,
            method,
            capacity,
            group="sweeps",
            changed=tuple(values.items()),
            on=(*DRAW, ("tasks", tasks)),
        )
        for method, (capacity, values) in SWEPT.items()
        for benchmark, tasks in TASKS.items()
    ]


def best(entries: list[dict[str, Any]]) -> dict[str, float]:
    """The settings that retained most."""
    learned = [entry for entry in entries if entry["retained_accuracy"]["mean"] is not None]
    winner = max(learned, key=lambda entry: entry["retained_accuracy"]["mean"])
    return {name: value for name, value in winner["settings"].items() if name != "capacity"}


def draw(name: str, folder: Path) -> None:
    """Writes what came of every setting, as Markdown, JSON and bars, from the cells there are."""
    known = load_all(cells(), folder / "cells")
    table = [["Method", "Benchmark", "Setting", "Retained accuracy", "Learning accuracy"]]
    panels: dict[str, list[plots.Bar]] = {}
    for cell, kept in known.items():
        entries = list(kept["entries"].values())
        chosen = best(entries)
        for entry in entries:
            settings = {key: entry["settings"][key] for key in chosen}
            swept = [key for key, values in cell.changed if len(values) > 1]
            text = ", ".join(f"{key} {settings[key]:g}" for key in swept)
            retained = output.cell(entry["retained_accuracy"])
            if settings == chosen:
                text, retained = f"**{text}**", f"**{retained}**"
            learned = output.cell(entry["learning_accuracy"])
            title = METHODS[cell.method].title
            table.append([title, heading(cell.benchmark), text, retained, learned])
            if (metric := entry["retained_accuracy"])["mean"] is not None:
                label = f"{title}, {text.strip('*')}"
                bar = plots.Bar(label, metric["mean"], metric["std"], None, settings == chosen)
                panels.setdefault(heading(cell.benchmark), []).append(bar)
    caption = (
        "In %, mean ± standard deviation over seeds 100 and 101, on the first half of each "
        "benchmark's tasks (which other seeds draw anew) and all test images; the best, bold, is "
        f"what the tables use. `python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    output.write_json(folder / f"{name}.json", brief(known))
    title = "Retained accuracy in the sweeps, %; red: chosen"
    output.write(folder / f"{name}.png", lambda part: plots.bars(part, panels, title))
