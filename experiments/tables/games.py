"""The games: what each agent still scores on all tasks after the last, and how they differ."""

import dataclasses
import functools
import itertools
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from experiments import command_line, intervals, output, plots, rl
from experiments.accuracy_tables import heading
from experiments.cells import Job
from experiments.playing import GAMES

AGENTS = tuple(rl.TITLES)


class GameCell(NamedTuple):
    """An agent in a game.

    swept: rates and their values, of which every combination is learned; none for those chosen.
    on: flags that differ from the program's defaults.
    """

    game: str
    agent: str
    swept: tuple[tuple[str, tuple[float, ...]], ...] = ()
    on: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{'sweeps/' if self.swept else ''}{self.game}/{self.agent}"

    def jobs(self, how: dict[str, Any], folder: Path, at_once: int | None) -> list[Job]:
        """One that learns, none if the folder has all of it; what was begun is gone on with.

        Raises:
          ValueError: if something is given that games do not read, or what is in the folder was
            made otherwise.
        """
        how = dict(self.on) | {name: value for name, value in how.items() if name != "data_dir"}
        if unread := sorted(set(how) - {"seeds", "seed", "tasks"}):
            raise ValueError(f"{command_line.flag(unread[0])} is nothing that the games read")
        del at_once  # all seeds of a cell are learned at once
        config = rl.Config(
            game=self.game,  # type: ignore[arg-type]
            agent=self.agent,  # type: ignore[arg-type]
            out=folder / str(self),
            resume=True,
            films=not self.swept,
            **how | dict(self.swept),
        )
        rl.check(config)
        known = self.load(folder)
        if known is None:
            return [functools.partial(self._job, config)]
        asked = command_line.deciding(config)
        names = [name for name in asked if asked[name] != known["config"].get(name)]
        changed = [name for name in names if name != "seeds"]
        if [result["settings"] for result in results(known)] != config.rates():
            changed.append("what was chosen")
        if changed:
            raise ValueError(
                f"{config.out} was made with other values of {', '.join(changed)}; delete it to "
                "run it again, or choose another --out"
            )
        done = len(known["seeds"])
        if done >= config.seeds:
            return []
        more = dataclasses.replace(
            config,
            seed=config.seed + done,
            seeds=config.seeds - done,
            out=config.out / "more",
            films=False,
        )
        rl.check(more)
        return [functools.partial(self._more, config, more, known)]

    def _more(
        self, config: rl.Config, more: rl.Config, known: dict[str, Any], shown: Progress
    ) -> str:
        """Learns the seeds that are missing, and puts them beside those that are known."""
        told = self._job(more, shown)
        added = json.loads((more.out / "metrics.json").read_text(encoding="utf-8"))
        whole = [rl.join(*pair) for pair in zip(results(known), results(added), strict=True)]
        rl.write_results(config, {result["title"]: result for result in whole})
        shutil.rmtree(more.out)
        return told

    def _job(self, config: rl.Config, shown: Progress) -> str:
        result, *others = rl.run(config, shown, str(self)).values()
        told = (
            f"score {output.cell(result['final_score'])}"
            if not others
            else f"{len(others) + 1} settings"
        )
        return f"{self}: {told}, {result['seconds']:.0f} s"

    def load(self, folder: Path) -> dict[str, Any] | None:
        """The cell's metrics, None if it has not been run.

        Raises:
          ValueError: if they are damaged.
        """
        path = folder / str(self) / "metrics.json"
        if not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error!r}); delete it to run it again") from None


def results(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A run's results, one for each of its settings."""
    return [metrics] if "final_score" in metrics else list(metrics["settings"].values())


COMPARED = {
    "final_score": "at the end",
    "late_score": "while the last task was learned",
    "mean_score": "over the whole run",
}
"""All over all tasks. The second and the third are means over evaluations, in which less depends on
the moment; the third tells how soon something was learned, too."""


def _compared(metrics: dict[str, Any]) -> dict[str, dict[int, float | None]]:
    """For each of those every seed's score, None of one that diverged."""
    mean = np.array(metrics["scores"], np.float64).mean((1, 2))
    known = metrics | {"mean_score": {"per_seed": [x if np.isfinite(x) else None for x in mean]}}
    return {
        name: dict(zip(metrics["seeds"], known[name]["per_seed"], strict=True)) for name in COMPARED
    }


def cells() -> list[GameCell]:
    return [GameCell(game, agent) for game in GAMES for agent in AGENTS]


def draw(name: str, folder: Path) -> None:
    """Writes the table as Markdown and JSON, and a picture for each game, from what there is."""
    known = {cell: kept for cell in cells() if (kept := cell.load(folder / "cells"))}
    if not known:
        raise ValueError(f"{folder / 'cells'} holds none of the games yet; leave out --only-draw")
    parts, content = [], {}
    for game in GAMES:
        of_game = {cell.agent: kept for cell, kept in known.items() if cell.game == game}
        if not of_game:
            continue
        titled = {agent: kept | {"title": rl.TITLES[agent]} for agent, kept in of_game.items()}
        parts.append(output.markdown(rl.rows(titled), heading(game)))
        scores = {agent: _compared(kept) for agent, kept in of_game.items()}
        steps = {
            metric: {
                f"{rl.TITLES[better]} over {rl.TITLES[worse]}": intervals.of_difference(
                    scores[better][metric], scores[worse][metric]
                )
                for worse, better in itertools.combinations(of_game, 2)
            }
            for metric in COMPARED
        }
        if len(of_game) > 1:
            table = [["Difference of scores", "When", "Mean", "95 % interval"]]
            for metric, when in COMPARED.items():
                for title, interval in steps[metric].items():
                    mean = f"{interval.mean:+.2f}" if interval else "diverged"
                    table.append([title, when, mean, str(interval or "")])
            parts.append(output.markdown(table, "Over all tasks, seed by seed."))
        num_tasks = len(next(iter(of_game.values()))["gains_by_task"])
        table = [["Agent", *(f"Task {task + 1}" for task in range(num_tasks))]]
        for agent, kept in of_game.items():
            gained = [output.cell(spread, digits=1) for spread in kept["gains_by_task"]]
            table.append([rl.TITLES[agent], *gained])
        parts.append(output.markdown(table, f"{heading(game)}: {GAMES[game].gains}, an episode."))
        content[game] = {
            agent: {
                key: kept[key]
                for key in (
                    "final_score",
                    "late_score",
                    "score_by_task",
                    "gains_by_task",
                    "settings",
                    "seconds",
                )
            }
            | {"command": kept["command"]}
            for agent, kept in of_game.items()
        } | {"differences": steps}
        curves = {rl.TITLES[agent]: kept["scores"] for agent, kept in of_game.items()}
        frames = next(iter(of_game.values()))["frames"]
        path = folder / f"{name}-{game}.png"
        output.write(
            path,
            lambda part: plots.scores(part, curves, frames, heading(game)),  # noqa: B023
        )
    seeds = sorted({len(kept["seeds"]) for kept in known.values()})
    caption = (
        "Sums of rewards, mean ± standard deviation over "
        f"{' or '.join(map(str, seeds))} seeds. `python -m experiments.tables {name}`\n"
    )
    output.write_text(folder / f"{name}.md", "\n".join([*parts, caption]))
    output.write_json(folder / f"{name}.json", content)
