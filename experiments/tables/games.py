"""Games: each agent's scores on all tasks, and the differences between agents."""

import functools
import itertools
from collections.abc import Iterator

from experiments.plots import curves
from experiments.rl import GAMES, PROGRAM, TITLES
from experiments.running.record import Result, markdown
from experiments.running.statistics import difference, spread
from experiments.tables.cells import Cell, heading
from experiments.tables.table import FIRST_SEED, Draw, Row, Table, grouped, num_seeds, sweep, swept

# Six settings for each agent. DQN-MER always interpolates: with its single batch a frame, gamma and
# beta 1 would be DQN with single examples.
AGENTS = """
catcher dqn alpha=0.003,0.01,0.03,0.1,0.2,0.5
catcher dqn-reservoir alpha=0.003,0.01,0.03,0.1,0.2,0.5
catcher dqn-mer alpha=0.01,0.03,0.1 gamma=0.1,0.3
flappy-bird dqn alpha=0.01,0.02,0.03,0.05,0.1,0.2
flappy-bird dqn-reservoir alpha=0.01,0.02,0.03,0.05,0.1,0.2
flappy-bird dqn-mer alpha=0.003,0.006,0.01 gamma=0.3,0.6
"""
WHEN = {"final_score": "at the end", "late_score": "while the last task was learned",
        "scores": "over the whole run"}  # fmt: skip
"""The metrics that are compared. The last two are means over evaluations and vary less."""


def _page(rows: list[Row], draw: Draw) -> list[str]:
    """Scores, differences and gains of each game, and a picture."""
    texts = []
    for game, same in grouped(rows, lambda row: row.cell.flags["game"]):
        results, title = [row.result for row in same], heading(game)
        count = results[0].array("scores").shape[2]
        tasks = [f"Task {task + 1}" for task in range(count)]
        scores, gains = [["Agent", "Final score", *tasks, "Seconds"]], [["Agent", *tasks]]
        for one in results:
            final, seconds = one.spread("final_score").text(), f"{one.seconds:.0f}"
            scores.append([one.title, final, *_by_task(one, "score_by_task"), seconds])
            gains.append([one.title, *_by_task(one, "gains_by_task")])
        texts.append(markdown(scores, title))
        if len(results) > 1:
            texts.append(markdown(_differences(results), "Over all tasks, seed by seed."))
        texts.append(markdown(gains, f"{title}: {GAMES[game].gains}, an episode."))
        how = {"metric": "scores", "title": title, "labels": ("frames", "score")}
        places = same[0].record.about["frames"]
        for row in same:
            if row.record.about["frames"] != places or row.result.array("scores").shape[2] != count:
                first = f"{same[0].cell.name}, got others of {row.cell.name}"
                raise ValueError(f"cells: expected the frames and tasks of {first}; run it again")
        draw(f"rl-{game}.png", curves.by_task, results=results, places=places, **how)
    return [*texts, f"Sums of rewards, mean ± standard deviation over {num_seeds(rows)} seeds."]


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
    """The mean over evaluations and tasks, where the metric has several."""
    means = result.array(metric).reshape(len(result.seeds), -1).mean(1)
    return dict(zip(result.seeds, means, strict=True))


def _sweeps() -> Iterator[Cell]:
    """A cell for each line."""
    for game, agent, values in swept(AGENTS):
        flags = {"game": game, "agent": agent, "films": False, "seed": FIRST_SEED, **values}
        flags["seeds"] = 2 if game == "catcher" else 4  # those of Flappy Bird differ more
        yield Cell(f"sweeps/{game}/{agent}", PROGRAM, flags, (heading(game), TITLES[agent]))


CELLS = [
    Cell(f"{game}/{agent}", PROGRAM, {"game": game, "agent": agent}, (heading(game), title))
    for game in GAMES
    for agent, title in TITLES.items()
]
SWEEPS = functools.partial(
    sweep, "rl-sweeps.png", ("Game", "Agent"), ("late_score", "final_score"),
    "Score in the last task of the sweeps; filled: chosen",
    "Sums of rewards over all tasks, mean ± standard deviation over 2 or 4 seeds from "
    f"{FIRST_SEED} on (Catcher, Flappy Bird); in the last task: the mean of all evaluations "
    "since it began; bold: the best by that, which the table of games uses.",
)  # fmt: skip
TABLES = {"rl": Table(CELLS, _page), "rl-sweeps": Table([*_sweeps()], SWEEPS)}
