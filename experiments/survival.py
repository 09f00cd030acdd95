"""Kills runs at random moments, goes on with them, and compares what they end with.

python -m experiments.survival                # twenty kills
"""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments import bars, checkpoints, command_line, output
from mer_jax import _checks as checks

RUNS = {
    "supervised": (
        "--method er mer --seeds 2 --tasks 20 --examples-per-task 400 --test-images 100 "
        "--checkpoint-every 400"
    ),
    "rl": (
        "--agent dqn-mer --seeds 2 --tasks 3 --frames-per-task 20000 --checkpoint-every 1000 "
        "--no-films"
    ),
    "language": (
        "--steps 100 --seeds 2 --width 16 --layers 1 --train-bytes 20000 --test-bytes 2000 "
        "--checkpoint-every 20"
    ),
}
"""The programs that are killed, in turn, and what they are given."""
VARYING = {"seconds", "command", "out", "resume", "git_revision"}
"""What may differ between a run that was killed and one that was not; a commit in between, too."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Kills runs at random moments, goes on with them, and compares what they end with.

    A run that is done before its moment has come is begun anew, with another moment.
    """

    kills: int = 20
    """How many runs are killed, each once."""
    seed: int = 0
    """Makes the moments."""
    out: Path = Path("runs/survival")
    """Folder for the runs, and survival.json and survival.md on what came of them."""


def start(name: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """One of the programs, as a process."""
    command = [sys.executable, "-m", f"experiments.{name}", *RUNS[name].split()]
    return subprocess.Popen([*command, "--out", str(out), *more], stdout=subprocess.DEVNULL)


def ended(name: str, out: Path, *more: str) -> tuple[float, Any]:
    """Runs one to its end: its seconds, and what it measured, checksums of its networks too.

    Raises:
      ValueError: if it fails.
    """
    began = time.monotonic()
    if status := start(name, out, *more).wait():
        raise ValueError(f"experiments.{name} in {out} ended with status {status}")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return time.monotonic() - began, without(metrics, VARYING)


def without(value: Any, names: set[str]) -> Any:
    """The same JSON value without these keys, at any depth."""
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def kill(name: str, out: Path, after: float) -> bool:
    """Starts one and kills it after so many seconds; whether it was still running then."""
    process = start(name, out)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def kill_one(name: str, out: Path, rng: np.random.Generator, seconds: float) -> dict[str, Any]:
    """Kills one at a random moment of the seconds that it takes, and tells when that was."""
    while not kill(name, out, after := rng.uniform(0, seconds)):
        shutil.rmtree(out)
    kept = [path for path in checkpoints.folder(out).glob("*/*") if path.name.isdigit()]
    newest = max(kept, key=lambda path: path.stat().st_mtime, default=None)
    return {
        "program": name,
        "killed_after": round(after, 2),
        "of_seconds": round(seconds, 2),
        "newest_checkpoint": newest and f"{newest.parent.name}/{newest.name}",
    }


def write(config: Config, told: list[dict[str, Any]]) -> str:
    """survival.json and survival.md of the kills so far; returns what they come to."""
    same = sum(run["same_bits"] for run in told)
    summary = (
        f"{same} of {len(told)} runs, killed at a random moment and gone on with, ended with the "
        "bits of one that was not."
    )
    table = [
        ["Program", "Killed after, s", "Of, s", "Newest checkpoint", "Same bits"],
        *([str("none" if value is None else value) for value in run.values()] for run in told),
    ]
    command = command_line.command("experiments.survival", config)
    output.write_text(config.out / "survival.md", output.markdown(table, f"{summary} `{command}`"))
    about = {"config": command_line.deciding(config), "command": command}
    content = {"runs": told, "programs": RUNS, **about}
    output.write_json(config.out / "survival.json", content | output.environment())
    return summary


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        checks.positive_int("--kills", config.kills)
        if config.seed < 0:
            raise ValueError(f"--seed must be at least 0, got {config.seed}")
        if config.out.exists():
            raise ValueError(f"--out: {config.out} is there already; delete it or name another")
    rng = np.random.default_rng(config.seed)
    names = [list(RUNS)[number % len(RUNS)] for number in range(config.kills)]
    told: list[dict[str, Any]] = []
    try:
        with command_line.errors(), bars.display(console) as shown:
            bar = shown.add_task("runs killed", total=config.kills, about="")
            whole = {
                name: ended(name, config.out / f"{name}-whole") for name in RUNS if name in names
            }
            for number, name in enumerate(names):
                seconds, wanted = whole[name]
                out = config.out / f"{name}-{number}"
                killed = kill_one(name, out, rng, seconds)
                _, found = ended(name, out, "--resume")
                told.append(killed | {"same_bits": found == wanted})
                summary = write(config, told)
                about = f"{name} after {killed['killed_after']:.1f} s"
                shown.update(bar, completed=number + 1, about=about)
    except KeyboardInterrupt:
        console.print(f"stopped; what came of the kills so far is in {config.out}")
        raise SystemExit(130) from None
    console.print(summary, highlight=False)


if __name__ == "__main__":
    main()
