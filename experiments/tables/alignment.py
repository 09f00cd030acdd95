"""Transfer and interference over the stream under ER and MER, beside the published means."""

from pathlib import Path

from experiments import accuracy_tables, output, plots, published
from experiments.accuracy_tables import heading
from experiments.cells import Cell, load_all
from experiments.methods import METHODS
from mer_jax.data.benchmarks import BENCHMARKS


def cells() -> list[Cell]:
    """ER and MER on each benchmark; the tables of accuracy share them."""
    watched = [cell for cell in accuracy_tables.cells() if cell.watched]
    return sorted(watched, key=lambda cell: (list(BENCHMARKS).index(cell.benchmark), cell.method))


def draw(name: str, folder: Path) -> None:
    """Writes the table as Markdown, JSON and a picture, from the cells there are.

    Raises:
      ValueError: if there are none, or one is too old to tell all.
    """
    known = load_all(cells(), folder / "cells")
    table = [
        [
            "Benchmark", "Method", "Mean dot product", "Past's gradient after the step",
            "Published", "Median cosine", "Below zero, %",
        ]
    ]  # fmt: skip
    results = {}
    for cell, kept in known.items():
        (result,) = kept["entries"].values()
        told = results[cell] = result["alignment"]
        if "mean_dot_after" not in told:
            raise ValueError(
                f"{folder}/cells/{cell}.json was made before products after the step were "
                "recorded; delete it to run it again"
            )
        theirs = published.ALIGNMENT[cell.method][cell.benchmark]
        table.append(
            [
                heading(cell.benchmark),
                METHODS[cell.method].title,
                output.cell(told["mean_dot"], digits=3),
                output.cell(told["mean_dot_after"], digits=3),
                f"{theirs.mean:+.3f} ± {theirs.spread:.3f}",
                output.cell(told["median_cosine"], digits=4),
                output.cell(told["below_zero"], digits=1),
            ]
        )
    caption = (
        "The gradient on each incoming example and that on a random earlier one, both before the "
        "step (their mean dot product, median cosine, and how many dot products are below zero), "
        "and the same with the earlier example's gradient after the step; over the stream, 5120 "
        "memories, mean ± standard deviation over seeds. What was published does not say when the "
        f"gradients were taken. `python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    content = {
        str(cell): told
        | {"published": published.ALIGNMENT[cell.method][cell.benchmark]}
        | {"command": known[cell]["command"]}
        for cell, told in results.items()
    }
    output.write_json(folder / f"{name}.json", content)
    panels = {
        (heading(cell.benchmark), METHODS[cell.method].title): told["by_task"]
        for cell, told in results.items()
    }
    output.write(folder / f"{name}.png", lambda part: plots.alignment(part, panels))
