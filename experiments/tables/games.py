"""Games: each agent's scores on all tasks, and the differences between agents."""

import functools
import itertools

import numpy as np

from experiments.plots.curves import Axis, by_task
from experiments.rl.agents import TITLES
from experiments.rl.problem import GAMES
from experiments.rl.study import PROGRAM
from experiments.running.record import Result, markdown
from experiments.running.statistics import difference, spread
from experiments.tables.cells import Cell
from experiments.tables.table import Page, Row, Table, grouped, heading, num_seeds

WHEN = {
    "final_score": "at the end",
    "late_score": "while the last task was learned",
    "mean_score": "over the whole run",
}
"""The metrics that are compared. The last two are means over evaluations and vary less."""


def _page(rows: list[Row]) -> Page:
    """Scores, differences and gains of each game, and a picture."""
    texts, pictures = [], {}
    for game, same in grouped(rows, lambda row: row.cell.flags["game"]).items():
        results, frames = [row.result for row in same], same[0].about["frames"]
        ends = np.linspace(0, frames[-1], 1 + len(results[0].per_seed["score_by_task"][0]))
        tasks = [f"Task {task}" for task in range(1, len(ends))]
        scores = [["Agent", "Final score", *tasks, "Seconds"]]
        gains = [["Agent", *tasks]]
        for one in results:
            final, seconds = one.spread("final_score").text(), f"{one.seconds:.0f}"
            scores.append([one.title, final, *_by_task(one, "score_by_task"), seconds])
            gains.append([one.title, *_by_task(one, "gains_by_task")])
        texts.append(markdown(scores, heading(game)))
        if len(results) > 1:
            texts.append(markdown(_differences(results), "Over all tasks, seed by seed."))
        texts.append(markdown(gains, f"{heading(game)}: {GAMES[game].gains}, an episode."))
        along = Axis(frames, "frames; shaded: the task is played", [*itertools.pairwise(ends)])
        curves = {one.title: one.array("scores") for one in results}
        pictures[f"rl-{game}.png"] = functools.partial(
            by_task, curves=curves, along=along, ylabel="score", title=heading(game)
        )
    caption = f"Sums of rewards, mean ± standard deviation over {num_seeds(rows)} seeds."
    return [*texts, caption], {**pictures}


def _by_task(result: Result, metric: str) -> list[str]:
    return [spread(values).text(1) for values in result.array(metric).T]


def _differences(results: list[Result]) -> list[list[str]]:
    """A line for each metric and each pair of agents."""
    table = [["Difference of scores", "When", "Mean", "95 % interval"]]
    for metric, when in WHEN.items():
        for worse, better in itertools.combinations(results, 2):
            found = difference(_by_seed(better, metric), _by_seed(worse, metric))
            mean, interval = (f"{found.mean:+.2f}", found.text()) if found else ("diverged", "")
            table.append([f"{better.title} over {worse.title}", when, mean, interval])
    return table


def _by_seed(result: Result, metric: str) -> dict[int, float]:
    if metric != "mean_score":
        return result.by_seed(metric)
    return dict(zip(result.seeds, result.array("scores").mean((1, 2)).tolist(), strict=True))


CELLS = [
    Cell(f"{game}/{agent}", PROGRAM, {"game": game, "agent": agent}, (heading(game), title))
    for game in GAMES
    for agent, title in TITLES.items()
]
TABLE = Table(CELLS, _page)
