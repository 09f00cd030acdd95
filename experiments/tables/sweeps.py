"""Sweeps over hyper-parameters that were not published, on other seeds than those of the tables."""

import functools
from collections.abc import Iterator

from experiments.plots.settings import Bar, bars
from experiments.rl.agents import TITLES
from experiments.rl.study import PROGRAM
from experiments.running.batches import combinations
from experiments.running.record import Result, markdown
from experiments.tables.cells import Cell
from experiments.tables.supervised import make_cell
from experiments.tables.table import Draw, Row, Table, grouped, heading

FIRST_SEED = 100
"""Seeds from here on, thus tasks, images and networks, are in no other table."""
# Half of each benchmark's tasks. Of Omniglot as many as show which methods retain.
TASKS = {"rotations": 10, "permutations": 10, "many-permutations": 50, "omniglot": 15}
# A method, its memories, 0 for none, and the values that were tried.
MNIST = """
agem 500 alpha=0.001,0.003,0.01,0.03 sample_size=256
exact-alignment 500 alpha=0.01,0.03,0.1 alignment=0.001,0.01,0.1 batch_size=26
task-input 0 alpha=0.001,0.003,0.01,0.03,0.1
"""
# 15 of 50 alphabets with 1,536 of 5,120 memories, or 150 of 500. The memory then holds the same
# share of the stream as in the runs that the values are for.
OMNIGLOT = """
online 0 alpha=0.003,0.01,0.03,0.1
ewc 0 alpha=0.01,0.03 strength=0.1,1,10,100 num_memories=10
er 1536 alpha=0.03,0.1,0.3 batch_size=26
er-by-task 1536 alpha=0.01,0.03 batch_size=26
mer 1536 alpha=0.01 beta=0.2,0.5,0.8 gamma=1 num_batches=1 batch_size=26
mer 1536 alpha=0.03 beta=0.2,0.5 gamma=1 num_batches=1 batch_size=26
mer 1536 alpha=0.03 beta=0.1 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.1 beta=0.01,0.03 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.03 beta=0.1 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.03,0.1 beta=0.2 gamma=1 num_batches=1 batch_size=26
mer-big-batch 1536 alpha=0.01,0.03 gamma=0.5 batch_size=26
mer-current-rate 1536 alpha=0.01 gamma=0.1,0.3 s=5 batch_size=26
gem 150 alpha=0.03,0.1 margin=0.5 ridge=0
agem 1536 alpha=0.03,0.1 sample_size=50
exact-alignment 1536 alpha=0.01,0.03 alignment=0.001,0.01 batch_size=11
independent 0 alpha=0.01,0.03,0.1
task-input 0 alpha=0.01,0.03,0.1
"""
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


def _lines(text: str) -> Iterator[tuple[str, str, dict[str, tuple[float, ...]]]]:
    """The first two words of each line, and the values of its names."""
    for first, second, *words in map(str.split, text.strip().splitlines()):
        pairs = (word.split("=") for word in words)
        yield first, second, {name: tuple(map(float, text.split(","))) for name, text in pairs}


def _supervised() -> Iterator[Cell]:
    """A cell for each line. Omniglot takes long, so each of its settings is a cell of its own."""
    for on, tasks in TASKS.items():
        is_long = on == "omniglot"
        flags = {"seed": FIRST_SEED, "seeds": 1 if is_long else 2, "tasks": tasks}
        for method, size, values in _lines(OMNIGLOT if is_long else MNIST):
            singles = [{n: (one,) for n, one in s.settings.items()} for s in combinations(values)]
            for part in singles if is_long else [values]:
                yield make_cell(on, method, int(size) or None, "sweeps", **flags, **part)


def _games() -> Iterator[Cell]:
    """A cell for each line."""
    for game, agent, values in _lines(AGENTS):
        flags = {"game": game, "agent": agent, "films": False, "seed": FIRST_SEED, **values}
        flags["seeds"] = 2 if game == "catcher" else 4  # Flappy Bird's differ more
        yield Cell(f"sweeps/{game}/{agent}", PROGRAM, flags, (heading(game), TITLES[agent]))


def best(results: list[Result], *metrics: str) -> Result:
    """The result with the highest first metric, and of equal ones the highest second."""
    finite = [result for result in results if result.is_finite(metrics[0])]
    return max(finite, key=lambda result: [result.spread(metric).mean for metric in metrics])


def _listed(result: Result, names: list[str]) -> str:
    return ", ".join(f"{name} {result.settings[name]:g}" for name in names)


def _page(file: str, heads: tuple[str, str], metrics: tuple[str, str], title: str, caption: str,
          rows: list[Row], draw: Draw) -> list[str]:  # fmt: skip
    """A line for each setting. The best of each method by the first metric is bold."""
    units = [rows[0].record.metrics[metric] for metric in metrics]
    table = [[*heads, "Settings", *units]]
    panels: dict[str, list[Bar]] = {}
    for (place, *_), same in grouped(rows, lambda row: row.cell.heads):
        results = [row.result for row in same]
        chosen = best(results, *metrics)
        names = [name for name in chosen.settings if name != "capacity"]
        varied = [n for n in names if len({one.settings[n] for one in results}) > 1]
        for one in results:
            mark = "**" if one is chosen else ""
            first, second = (one.spread(metric) for metric in metrics)
            bold = [f"{mark}{text}{mark}" for text in (_listed(one, names), first.text())]
            table.append([place, one.title, *bold, second.text()])
            name = ", ".join(filter(None, (one.title, _listed(one, varied))))
            panels.setdefault(place, []).append(Bar(name, first, None, one is chosen))
    draw(file, bars, panels=panels, title=title, unit=units[0])
    return [markdown(table, caption)]


SUPERVISED = Table([*_supervised()], functools.partial(
    _page, "sweeps.png", ("Benchmark", "Method"), ("retained_accuracy", "learning_accuracy"),
    "Retained accuracy in the sweeps, %; red: chosen",
    f"In %, mean ± standard deviation over seeds from {FIRST_SEED} on (two for MNIST, one for "
    "Omniglot), on the first half of the tasks of MNIST's benchmarks and 15 of Omniglot's "
    "alphabets, which each seed draws anew; bold: the best, which tables use.",
))  # fmt: skip
RL = Table([*_games()], functools.partial(
    _page, "rl-sweeps.png", ("Game", "Agent"), ("late_score", "final_score"),
    "Score in the last task of the sweeps; red: chosen",
    "Sums of rewards over all tasks, mean ± standard deviation over 2 or 4 seeds from "
    f"{FIRST_SEED} on (Catcher, Flappy Bird); in the last task: the mean of all evaluations "
    "since it began; bold: the best by that, which the table of games uses.",
))  # fmt: skip
