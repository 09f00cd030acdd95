"""The games: what each agent still scores on all tasks after the last, and how they differ."""

import dataclasses
import functools
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from experiments import intervals, output, plots, rl
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
            raise ValueError(f"{rl.flag(unread[0])} is nothing that the games read")
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
        if known := self.load(folder):
            asked = json.loads(json.dumps(dataclasses.asdict(config), default=str))
            names = [name for name in asked if asked[name] != known["config"].get(name)]
            changed = [name for name in names if name not in ("out", "resume")]
            if [result["settings"] for result in results(known)] != config.rates():
                changed.append("what was chosen")
            if changed:
                raise ValueError(
                    f"{config.out} was made with other values of {', '.join(changed)}; delete it "
                    "to run it again, or choose another --out"
                )
            return []
        return [functools.partial(self._job, config)]

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
        steps = {
            f"{rl.TITLES[better]} over {rl.TITLES[worse]}": intervals.of_difference(
                of_game[better]["final_score"]["per_seed"],
                of_game[worse]["final_score"]["per_seed"],
            )
            for worse, better in itertools.pairwise(AGENTS)
            if {worse, better} <= set(of_game)
        }
        if steps:
            table = [["Difference of final scores", "Mean", "95 % interval"]]
            for title, (mean, low, high) in steps.items():
                table.append([title, f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"])
            parts.append(output.markdown(table, "Seed by seed."))
        content[game] = {
            agent: {
                key: kept[key] for key in ("final_score", "score_by_task", "settings", "seconds")
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
