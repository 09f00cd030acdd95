"""Kills runs at random moments, goes on with them, and compares what they end with.

python -m experiments.survival                # twenty kills
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments import bars, command_line, output
from mer_jax import checks

RUNS = {
    "supervised": (
        "--method er mer --seeds 2 --tasks 5 --examples-per-task 400 --test-images 100 "
        "--checkpoint-every 100"
    ),
    "rl": (
        "--agent dqn-mer --seeds 2 --tasks 3 --frames-per-task 4000 --checkpoint-every 500 "
        "--no-films"
    ),
    "language": (
        "--steps 100 --seeds 2 --width 16 --layers 1 --train-bytes 20000 --test-bytes 2000 "
        "--checkpoint-every 20"
    ),
}
"""The programs that are killed, in turn, and what they are given."""
VARYING = {"seconds", "command", "out", "resume"}
"""What may differ between a run that was killed and one that was not."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Kills runs at random moments, goes on with them, and compares what they end with."""

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
    """Runs one to its end: its seconds, and what it measured, networks' checksums and all.

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


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        checks.positive_int("--kills", config.kills)
        if config.out.exists():
            raise ValueError(f"--out: {config.out} is there already; delete it or name another")
    rng = np.random.default_rng(config.seed)
    names = [list(RUNS)[number % len(RUNS)] for number in range(config.kills)]
    told = []
    with command_line.errors(), bars.display(console) as shown:
        bar = shown.add_task("runs killed", total=config.kills, about="")
        whole = {name: ended(name, config.out / f"{name}-whole") for name in dict.fromkeys(names)}
        for number, name in enumerate(names):
            seconds, wanted = whole[name]
            out, after = config.out / f"{name}-{number}", rng.uniform(0, seconds)
            was_running = kill(name, out, after)
            _, found = ended(name, out, "--resume")
            told.append(
                {
                    "program": name,
                    "killed_after": round(after, 2),
                    "of_seconds": round(seconds, 2),
                    "was_running": was_running,
                    "same_bits": found == wanted,
                }
            )
            shown.update(bar, completed=number + 1, about=f"{name} after {after:.1f} s")
    same = sum(run["same_bits"] for run in told)
    summary = (
        f"{same} of {len(told)} runs, killed at a random moment and gone on with, ended with the "
        "bits of one that was not."
    )
    table = [
        ["Program", "Killed after, s", "Of, s", "Still running", "Same bits"],
        *([str(value) for value in run.values()] for run in told),
    ]
    caption = f"{summary} `python -m experiments.survival --kills {config.kills}`"
    output.write_text(config.out / "survival.md", output.markdown(table, caption))
    content = {"runs": told, "programs": RUNS, "seed": config.seed}
    output.write_json(config.out / "survival.json", content | output.environment())
    console.print(summary, highlight=False)


if __name__ == "__main__":
    main()
