"""How the agents' rates were chosen: as many settings each, on other seeds than those reported."""

import math
from pathlib import Path
from typing import Any

from experiments import output, plots, rl
from experiments.accuracy_tables import heading
from experiments.playing import GAMES
from experiments.rl_table import GameCell, results

ALPHAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SWEPT: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "dqn": (("alpha", ALPHAS),),
    "dqn-reservoir": (("alpha", ALPHAS),),
    "dqn-mer": (("alpha", (0.003, 0.01, 0.03)), ("gamma", (0.3, 1.0))),
}
"""Six settings for each agent."""
DRAW = (("seed", 100), ("seeds", 2))


def cells() -> list[GameCell]:
    return [GameCell(game, agent, swept, DRAW) for game in GAMES for agent, swept in SWEPT.items()]


def _score(entry: dict[str, Any]) -> float:
    """What decides; of an agent that diverged with any seed the least there is."""
    mean = entry["final_score"]["mean"]
    return -math.inf if mean is None else float(mean)


def draw(name: str, folder: Path) -> None:
    """Writes what came of every setting, as Markdown, JSON and bars, from the cells there are."""
    known = {cell: kept for cell in cells() if (kept := cell.load(folder / "cells"))}
    if not known:
        raise ValueError(f"{folder / 'cells'} holds none of the sweeps yet; leave out --only-draw")
    table = [["Game", "Agent", "Settings", "Final score"]]
    panels: dict[str, list[plots.Bar]] = {}
    content = {}
    for cell, kept in known.items():
        entries = results(kept)
        best = max(entries, key=_score)
        for entry in entries:
            text = ", ".join(f"{key} {value:g}" for key, value in entry["settings"].items())
            score, mark = entry["final_score"], "**" if entry is best else ""
            title = rl.TITLES[cell.agent]
            cells_of_row = [f"{mark}{text}{mark}", f"{mark}{output.cell(score)}{mark}"]
            table.append([heading(cell.game), title, *cells_of_row])
            if score["mean"] is not None:
                label = f"{title}, {text}"
                bar = plots.Bar(label, score["mean"], score["std"], None, entry is best)
                panels.setdefault(heading(cell.game), []).append(bar)
        content[str(cell)] = {
            "results": [
                {key: entry[key] for key in ("settings", "final_score")} for entry in entries
            ],
            "command": kept["command"],
        }
    caption = (
        "Sums of rewards, mean over all tasks after the last, mean ± standard deviation over seeds "
        "100 and 101; bold: the best, which the table of games uses. "
        f"`python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    output.write_json(folder / f"{name}.json", content)
    title = "Final score in the sweeps; red: chosen"
    output.write(folder / f"{name}.png", lambda part: plots.bars(part, panels, title, "score"))
