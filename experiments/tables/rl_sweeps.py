"""How the agents' rates were chosen: as many settings each, on other seeds than those reported."""

from pathlib import Path
from typing import Any

from experiments import output, plots, rl
from experiments.accuracy_tables import heading
from experiments.playing import GAMES
from experiments.rl_table import GameCell, results

Values = tuple[tuple[str, tuple[float, ...]], ...]

COARSE, FINE = (0.003, 0.01, 0.03, 0.1, 0.2, 0.5), (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
SWEPT: dict[str, dict[str, Values]] = {
    "catcher": {
        "dqn": (("alpha", COARSE),),
        "dqn-reservoir": (("alpha", COARSE),),
        "dqn-mer": (("alpha", (0.01, 0.03, 0.1)), ("gamma", (0.1, 0.3))),
    },
    "flappy-bird": {
        "dqn": (("alpha", FINE),),
        "dqn-reservoir": (("alpha", FINE),),
        "dqn-mer": (("alpha", (0.003, 0.006, 0.01)), ("gamma", (0.3, 0.6))),
    },
}
"""Six settings for each agent. DQN-MER's are all pulled back: with its single batch a frame, gamma
and beta 1 would be DQN with steps one example at a time."""
FIRST_SEED = 100
SEEDS = {"catcher": 2, "flappy-bird": 4}
"""More where seeds differ more."""


def cells() -> list[GameCell]:
    return [
        GameCell(game, agent, swept, (("seed", FIRST_SEED), ("seeds", SEEDS[game])))
        for game in GAMES
        for agent, swept in SWEPT[game].items()
    ]


def best(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entry that scored most while the last task was learned."""
    finite = [entry for entry in entries if entry["late_score"]["mean"] is not None]
    return max(finite, key=lambda entry: entry["late_score"]["mean"])


def draw(name: str, folder: Path) -> None:
    """Writes what came of every setting, as Markdown, JSON and bars, from the cells there are."""
    known = {cell: kept for cell in cells() if (kept := cell.load(folder / "cells"))}
    if not known:
        raise ValueError(f"{folder / 'cells'} holds none of the sweeps yet; leave out --only-draw")
    table = [["Game", "Agent", "Settings", "Score in the last task", "Final score"]]
    panels: dict[str, list[plots.Bar]] = {}
    content = {}
    for cell, kept in known.items():
        entries = results(kept)
        chosen = best(entries)
        for entry in entries:
            text = ", ".join(f"{key} {value:g}" for key, value in entry["settings"].items())
            score, mark = entry["late_score"], "**" if entry is chosen else ""
            title = rl.TITLES[cell.agent]
            cells_of_row = [f"{mark}{text}{mark}", f"{mark}{output.cell(score)}{mark}"]
            final = output.cell(entry["final_score"])
            table.append([heading(cell.game), title, *cells_of_row, final])
            if score["mean"] is not None:
                label = f"{title}, {text}"
                bar = plots.Bar(label, score["mean"], score["std"], None, entry is chosen)
                panels.setdefault(heading(cell.game), []).append(bar)
        content[str(cell)] = {
            "results": [
                {key: entry[key] for key in ("settings", "late_score", "final_score")}
                for entry in entries
            ],
            "command": kept["command"],
        }
    caption = (
        "Sums of rewards over all tasks, mean ± standard deviation over "
        f"{' or '.join(map(str, SEEDS.values()))} seeds from {FIRST_SEED} on (Catcher, Flappy "
        "Bird); in the last task: the mean of all "
        "evaluations since it began; bold: the best by that, which the table of games uses. "
        f"`python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    output.write_json(folder / f"{name}.json", content)
    title = "Score in the last task of the sweeps; red: chosen"
    output.write(folder / f"{name}.png", lambda part: plots.bars(part, panels, title, "score"))
