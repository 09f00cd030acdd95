"""Survival of kills: runs that are killed at random moments and resumed."""

import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.running import checkpoints, devices, files, progress, record
from experiments.running.command_line import command, deciding, errors, parse
from experiments.running.options import Out
from experiments.running.program import running

MODULE = "experiments.survival"
RUNS = {
    "supervised": "--method er mer --seeds 2 --tasks 20 --examples-per-task 400 --test-images 100 "
    "--checkpoint-every 400",
    "rl": "--agent dqn-mer --seeds 2 --tasks 3 --frames-per-task 20000 --checkpoint-every 1000 "
    "--no-films",
    "language": "--steps 100 --seeds 2 --width 16 --layers 1 --train-bytes 20000 --test-bytes 2000 "
    "--checkpoint-every 20",
}
"""The programs that are killed in turn, and their flags."""
VARYING = {"seconds", "git_revision"}
"""Entries of a record that may differ between a killed run and an undisturbed one."""


@dataclasses.dataclass(frozen=True)
class Config(Out):
    """Kills runs at random moments, resumes them, and compares their results with undisturbed runs.

    A run that ends before its moment is started again with another moment.
    """

    kills: int = 20
    """Number of runs that are killed, once each."""
    seed: int = 0
    """Seed of the moments."""
    out: Path = Path("runs/survival")
    """Folder for the runs, and for survival.json and survival.md with the results."""

    def check(self) -> None:
        super().check()
        self.positive("kills")
        self.rates("seed")
        if self.out.exists():
            raise ValueError(f"--out: {self.out} exists already; delete it or name another")


def run(name: str, out: Path, *more: str, most: float | None = None) -> bool:
    """Runs one of the programs, and kills it after `most` seconds. Returns whether it was killed.

    Raises:
      ValueError: if it fails.
    """
    args = [sys.executable, "-m", f"experiments.{name}", *RUNS[name].split(), "--out", str(out)]
    process = subprocess.Popen([*args, *more], stdout=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(most)
    process.kill()
    if (status := process.wait()) and (status > 0 or most is None):
        raise ValueError(f"experiments.{name} in {out} ended with status {status}")
    return status < 0


def told(out: Path) -> Any:
    """The record of a run without the entries that may vary."""

    def lasting(entries: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in entries.items() if name not in VARYING}

    return json.loads((out / "metrics.json").read_text(), object_hook=lasting)


def kill_one(name: str, out: Path, rng: np.random.Generator, seconds: float) -> dict[str, Any]:
    """Kills one at a random moment of the seconds that it takes. Returns when that was."""
    while not run(name, out, most=(after := rng.uniform(0, seconds))):
        files.remove(out)
    saved = [path for path in checkpoints.folder(out).glob("*/*") if path.name.isdigit()]
    newest = max(saved, key=lambda path: path.stat().st_mtime, default=None)
    newest_name = newest and f"{newest.parent.name}/{newest.name}"
    times = {"killed_after": round(after, 2), "of_seconds": round(seconds, 2)}
    return {"program": name, **times, "newest_checkpoint": newest_name}


def write(config: Config, runs: list[dict[str, Any]]) -> str:
    """Writes survival.json and survival.md of the kills so far. Returns a summary."""
    summary = f"{sum(run['same_bits'] for run in runs)} of {len(runs)} runs, killed at a random "
    summary += "moment and resumed, ended with the bits of an undisturbed run."
    about = {"config": deciding(config), "command": command(MODULE, config)}
    table = [["Program", "Killed after, s", "Of, s", "Newest checkpoint", "Same bits"]]
    table += [[str("none" if cell is None else cell) for cell in run.values()] for run in runs]
    text = record.markdown(table, f"{summary} `{about['command']}`")
    files.write_text(config.out / "survival.md", text)
    content = {"runs": runs, "programs": RUNS, **about, **record.environment()}
    files.write_json(config.out / "survival.json", content)
    return summary


@errors(MODULE)
def main(args: Sequence[str] | None = None) -> None:
    """Kills, resumes and compares."""
    console, config, runs = progress.console(), parse(MODULE, Config, args), list[dict[str, Any]]()
    config.check()
    devices.check()
    rng, names = np.random.default_rng(config.seed), [*RUNS][: config.kills]
    stopped = f"results so far are in {config.out}"
    with running(console, stopped), progress.display(console) as bars:
        bar = bars.add_task("runs killed", total=config.kills, about="")
        whole = {}
        for name in names:
            began = time.monotonic()
            run(name, out := config.out / f"{name}-whole")
            whole[name] = time.monotonic() - began, told(out)
        for number, name in zip(range(config.kills), itertools.cycle(names), strict=False):
            seconds, wanted = whole[name]
            killed = kill_one(name, out := config.out / f"{name}-{number}", rng, seconds)
            run(name, out, "--resume")
            runs.append(killed | {"same_bits": told(out) == wanted})
            summary = write(config, runs)
            bars.update(bar, advance=1, about=f"{name} after {killed['killed_after']:.1f} s")
    console.print(summary)


if __name__ == "__main__":
    main()
