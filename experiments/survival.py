"""Survival of kills: runs that are killed at random moments and resumed.

python -m experiments.survival                # twenty kills
"""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.running import checkpoints, files, progress, record
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


def start(name: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Starts one of the programs."""
    args = [sys.executable, "-m", f"experiments.{name}", *RUNS[name].split(), "--out", str(out)]
    return subprocess.Popen([*args, *more], stdout=subprocess.DEVNULL)


def ended(name: str, out: Path, *more: str) -> tuple[float, Any]:
    """Runs one to its end. Returns its seconds and its record, without what may vary.

    Raises:
      ValueError: if it fails.
    """
    began = time.monotonic()
    if status := start(name, out, *more).wait():
        raise ValueError(f"experiments.{name} in {out} ended with status {status}")
    seconds, text = time.monotonic() - began, (out / "metrics.json").read_text()
    return seconds, json.loads(text, object_hook=same_always)


def same_always(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of a JSON object that may not vary."""
    return {name: value for name, value in entries.items() if name not in VARYING}


def kill(name: str, out: Path, after: float) -> bool:
    """Starts one and kills it after some seconds. Returns whether it was still running then."""
    process = start(name, out)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after)
    process.kill()
    return process.wait() < 0


def kill_one(name: str, out: Path, rng: np.random.Generator, seconds: float) -> dict[str, Any]:
    """Kills one at a random moment of the seconds that it takes. Returns when that was."""
    while not kill(name, out, after := rng.uniform(0, seconds)):
        shutil.rmtree(out)
    saved = [path for path in checkpoints.folder(out).glob("*/*") if path.name.isdigit()]
    newest = max(saved, key=lambda path: path.stat().st_mtime, default=None)
    times = {"killed_after": round(after, 2), "of_seconds": round(seconds, 2)}
    name_of = newest and f"{newest.parent.name}/{newest.name}"
    return {"program": name, **times, "newest_checkpoint": name_of}


def write(config: Config, runs: list[dict[str, Any]]) -> str:
    """Writes survival.json and survival.md of the kills so far. Returns a summary."""
    same = f"{sum(run['same_bits'] for run in runs)} of {len(runs)} runs"
    killed = "killed at a random moment and resumed, ended with the bits of an undisturbed run."
    head = ["Program", "Killed after, s", "Of, s", "Newest checkpoint", "Same bits"]
    lines = [[str("none" if cell is None else cell) for cell in run.values()] for run in runs]
    about = {"config": deciding(config), "command": command(MODULE, config)}
    table = record.markdown([head, *lines], f"{same}, {killed} `{about['command']}`")
    files.write_text(config.out / "survival.md", table)
    content = {"runs": runs, "programs": RUNS, **about, **record.environment()}
    files.write_json(config.out / "survival.json", content)
    return f"{same}, {killed}"


def main(args: Sequence[str] | None = None) -> None:
    """Kills, resumes and compares."""
    console, config = progress.console(), parse(MODULE, Config, args)
    with errors(MODULE):
        config.check()
    rng, runs = np.random.default_rng(config.seed), list[dict[str, Any]]()
    names = [list(RUNS)[number % len(RUNS)] for number in range(config.kills)]
    stopped = f"results so far are in {config.out}"
    with running(MODULE, console, stopped), progress.display(console) as bars:
        bar = bars.add_task("runs killed", total=config.kills, about="")
        whole = {name: ended(name, config.out / f"{name}-whole") for name in dict.fromkeys(names)}
        for number, name in enumerate(names):
            seconds, wanted = whole[name]
            killed = kill_one(name, out := config.out / f"{name}-{number}", rng, seconds)
            runs.append(killed | {"same_bits": ended(name, out, "--resume")[1] == wanted})
            summary = write(config, runs)
            bars.update(bar, advance=1, about=f"{name} after {killed['killed_after']:.1f} s")
    console.print(summary)


if __name__ == "__main__":
    main()
