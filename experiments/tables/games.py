"""Games: each agent's scores on all tasks, and the differences between agents."""

import dataclasses
import itertools

from experiments.plots.curves import by_task
from experiments.rl.agents import TITLES
from experiments.rl.problem import GAMES
from experiments.rl.study import PROGRAM
from experiments.running.record import Result, markdown
from experiments.running.statistics import difference, spread
from experiments.tables.cells import Cell
from experiments.tables.table import Draw, Row, Table, grouped, heading, num_seeds

WHEN = {
    "final_score": "at the end",
    "late_score": "while the last task was learned",
    "mean_score": "over the whole run",
}
"""The metrics that are compared. The last two are means over evaluations and vary less."""


def _page(rows: list[Row], draw: Draw) -> list[str]:
    """Scores, differences and gains of each game, and a picture."""
    texts = []
    for game, same in grouped(rows, lambda row: row.cell.flags["game"]):
        results, title = [_with_mean(row.result) for row in same], heading(game)
        tasks = [f"Task {task + 1}" for task in range(results[0].array("scores").shape[-1])]
        scores, gains = [["Agent", "Final score", *tasks, "Seconds"]], [["Agent", *tasks]]
        for one in results:
            final, seconds = one.spread("final_score").text(), f"{one.seconds:.0f}"
            scores.append([one.title, final, *_by_task(one, "score_by_task"), seconds])
            gains.append([one.title, *_by_task(one, "gains_by_task")])
        texts.append(markdown(scores, title))
        if len(results) > 1:
            texts.append(markdown(_differences(results), "Over all tasks, seed by seed."))
        texts.append(markdown(gains, f"{title}: {GAMES[game].gains}, an episode."))
        places, labels = same[0].record.about["frames"], ("frames", "score")
        how = {"metric": "scores", "title": title, "places": places, "labels": labels}
        draw(f"rl-{game}.png", by_task, results=results, **how)
    return [*texts, f"Sums of rewards, mean ± standard deviation over {num_seeds(rows)} seeds."]


def _with_mean(result: Result) -> Result:
    mean = {"mean_score": result.array("scores").mean((1, 2))}
    return dataclasses.replace(result, per_seed=result.per_seed | mean)


def _by_task(result: Result, metric: str) -> list[str]:
    return [spread(values).text(1) for values in result.array(metric).T]


def _differences(results: list[Result]) -> list[list[str]]:
    """A line for each metric and each pair of agents."""
    table = [["Difference of scores", "When", "Mean", "95 % interval"]]
    for metric, when in WHEN.items():
        for worse, better in itertools.combinations(results, 2):
            found = difference(better.by_seed(metric), worse.by_seed(metric))
            mean, interval = (f"{found.mean:+.2f}", found.text()) if found else ("diverged", "")
            table.append([f"{better.title} over {worse.title}", when, mean, interval])
    return table


CELLS = [
    Cell(f"{game}/{agent}", PROGRAM, {"game": game, "agent": agent}, (heading(game), title))
    for game in GAMES
    for agent, title in TITLES.items()
]
TABLE = Table(CELLS, _page)
