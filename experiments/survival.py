"""Survival of kills: runs that are killed at random moments and resumed."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from experiments.running import devices, files, progress, record
from experiments.running.command_line import command, deciding, errors, parse
from experiments.running.interrupt import asked_to_stop
from experiments.running.options import Flags
from experiments.running.program import running

MODULE = "experiments.survival"
SMALL = "supervised --seeds 2 --examples-per-task 400 --test-images 100 --checkpoint-every 200"
RUNS = {
    "plain": f"{SMALL} --method er mer --tasks 10",
    "sweep": f"{SMALL} --method mer --alpha 0.01 0.03 0.1 --tasks 8",
    "watch": f"{SMALL} --method mer --watch --tasks 8",
    "Omniglot": "supervised --dataset omniglot --benchmark omniglot --data-dir {data} --seeds 2 "
    "--method er --batch-size 3 --tasks 2 --checkpoint-every 150",
    "rl": "rl --seeds 2 --tasks 3 --frames-per-task 6000 --checkpoint-every 500 --no-films",
    "language": "language --steps 20 --seeds 2 --width 16 --layers 1 --train-bytes 20000 "
    "--test-bytes 2000 --checkpoint-every 5",
    "table": "tables retained-accuracy --cells rotations/mer-200 --dataset mnist-5k --seeds 8 "
    "--tasks 8 --examples-per-task 200 --test-images 100",
    "two processes": f"{SMALL} --method mer --tasks 10 --seeds 4",
}
"""The commands that are killed in turn."""
PROCESSES = {"two processes": 2}
"""Number of processes, where there are several. All are killed, or one. One process resumes."""
LIMIT = 300
"""Seconds after which a run counts as hanging. Each takes less than a minute."""
VARYING = {"seconds", "git_revision", "devices"}
"""Entries of a record that may differ between a killed run and an undisturbed one."""


class Known(TypedDict):
    """A survival.json."""

    runs: list[dict[str, Any]]
    seconds: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Config(Flags):
    """Kills runs at random moments, resumes them, and compares their results with undisturbed runs.

    Each takes 20 to 50 seconds on two cores. One that ends before its moment is started again.
    """

    kills: int = 20
    """Number of runs that are killed, once each."""
    seed: int = 0
    """Seed of the moments."""
    resume: bool = False
    """Continue after the kills that are recorded in --out. Without any, begin."""
    out: Path = Path("runs/survival")
    """Folder for the runs, and for survival.json and survival.md with the results."""

    def check(self) -> None:
        super().check()
        self.positive("kills")
        self.rates("seed")
        if self.out.exists() and not self.resume:
            raise ValueError(f"--out: {self.out} exists already; give --resume, or choose another")


def drawings(folder: Path) -> None:
    """Writes noise in the place of Omniglot's drawings."""
    character, drawer = np.divmod(np.arange(1623 * 20), 20)
    parts = {"alphabet": character % 50, "character": character // 50 + 1, "drawer": drawer + 1}
    parts["ink"] = np.random.default_rng(0).binomial(8, 0.1, (1623, 1379))[character]
    arrays: dict[str, Any] = {name: part.astype(np.uint8) for name, part in parts.items()}
    files.make(folder)
    np.savez_compressed(folder / "omniglot.npz", alphabet_names=np.arange(50).astype(str), **arrays)


def run(
    name: str, out: Path, *more: str, number: int = 1, most: float | None = None,
    victims: slice = slice(None),
) -> bool:  # fmt: skip
    """Runs a command in so many processes, and kills the victims after `most` seconds.

    Returns:
      Whether one was killed.
    Raises:
      ValueError: if it fails or hangs.
    """
    program, *flags = (word.format(data=out.parent) for word in RUNS[name].split())
    args = [sys.executable, "-m", f"experiments.{program}", *flags, *more, "--out", str(out)]
    with socket.create_server(("127.0.0.1", 0)) as unused:
        place = ["--distributed", "--coordinator", f"127.0.0.1:{unused.getsockname()[1]}"]
    place += ["--num-processes", f"{number}", "--process-id"]
    # In sessions of their own, so that Ctrl-C stops this program alone.
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{out.parent / 'compiled'}"}
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "start_new_session": True, "env": env}
    places = [[*place, f"{one}"] for one in range(number)] if number > 1 else [[]]
    started = [subprocess.Popen([*args, *one], **how) for one in places]
    killed: list[Any] = []
    began = time.monotonic()
    try:
        while any(one.poll() is None for one in started):
            passed = time.monotonic() - began
            if passed > LIMIT:
                raise ValueError(f"{name} in {out} has not ended in {LIMIT} s")
            if most is not None and passed >= most and not killed:
                killed = [one for one in started[victims] if one.poll() is None]
                for one in killed:
                    one.kill()
            time.sleep(0.01)
    finally:
        for one in started:
            one.kill()
    if not killed and (status := max((one.wait() for one in started), key=abs)):
        raise ValueError(f"{name} in {out} ended with status {status}")
    return bool(killed)


def told(out: Path) -> Any:
    """The records in a folder without the entries that may vary."""

    def lasting(entries: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in entries.items() if name not in VARYING}

    paths = sorted(out.rglob("metrics.json"))
    return {f"{p.relative_to(out)}": json.loads(p.read_bytes(), object_hook=lasting) for p in paths}


def kill_one(name: str, out: Path, rng: np.random.Generator, seconds: float) -> dict[str, Any]:
    """Kills one at a random moment of the seconds that it takes. Returns when that was."""
    number, finished, is_killed = PROCESSES.get(name, 1), -1, False
    victims = {"all": slice(None)} | {f"process {i}": slice(i, i + 1) for i in range(number)}
    while not is_killed:
        files.remove(out)
        victim, after = str(rng.choice([*victims][: 2 * number - 1])), rng.uniform(0, seconds)
        is_killed = run(name, out, number=number, most=after, victims=victims[victim])
        finished += 1
    saved = [path for path in out.rglob("checkpoints/*/*") if path.name.isdigit()]
    saved += out.rglob("metrics.json")
    newest = max(saved, key=lambda path: path.stat().st_mtime, default=None)
    newest_name = newest and f"{newest.relative_to(out)}".removeprefix("checkpoints/")
    times = {"killed_after": round(after, 2), "of_seconds": round(seconds, 2)}
    more = {"finished_before": finished, "newest_save": newest_name}
    return {"command": name, "killed": victim, **times, **more}


def write(config: Config, known: dict[str, Any]) -> str:
    """Writes survival.json and survival.md of the kills so far. Returns a summary."""
    runs = known["runs"]
    summary = (
        f"{sum(run['same_bits'] for run in runs)} of {len(runs)} runs, killed at a random moment "
        "and resumed, ended with the bits of an undisturbed run. "
        f"{sum(run['newest_save'] is None for run in runs)} had saved nothing before. "
        f"{sum(run['finished_before'] for run in runs)} more had ended before their moment and "
        "are not counted."
    )
    about = {"config": deciding(config), "command": command(MODULE, config)}
    table = [["Command", "Killed", "After, s", "Of, s", "Ended before", "Newest save", "Same bits"]]
    table += [[str("none" if cell is None else cell) for cell in run.values()] for run in runs]
    text = record.markdown(table, f"{summary} `{about['command']}`")
    files.write_text(config.out / "survival.md", text)
    content = known | {"commands": RUNS, **about, **record.environment()}
    files.write_json(config.out / "survival.json", content)
    return summary


@errors(MODULE)
def main(args: Sequence[str] | None = None) -> None:
    """Kills, resumes and compares."""
    console, config = progress.console(), parse(MODULE, Config, args)
    config.check()
    devices.check()
    drawings(config.out)
    path = config.out / "survival.json"
    if config.resume and not path.exists():
        console.print(f"nothing to resume in {config.out}, beginning")
    known = {"runs": [], "seconds": {}} | (files.read_json(path, Known) if path.exists() else {})
    stopped = f"results so far are in {config.out}. --resume continues after them"
    with running(console, stopped), progress.display(console) as bars:
        runs, seconds = known["runs"], known["seconds"]
        bar = bars.add_task("runs killed", total=config.kills, completed=len(runs), about="")
        for number in range(len(runs), config.kills):
            if asked_to_stop():
                raise KeyboardInterrupt
            name = [*RUNS][number % len(RUNS)]
            whole, out = config.out / name, config.out / f"{name}-{number}"
            if name not in seconds:
                for _ in range(2):  # the second time all programs are compiled
                    files.remove(whole)
                    began = time.monotonic()
                    run(name, whole, number=PROCESSES.get(name, 1))
                seconds[name] = time.monotonic() - began
            rng = np.random.default_rng([config.seed, number])
            killed = kill_one(name, out, rng, seconds[name])
            run(name, out, *([] if RUNS[name].startswith("tables") else ["--resume"]))
            runs.append(killed | {"same_bits": told(out) == told(whole)})
            write(config, known)
            about = f"{name} after {killed['killed_after']:.1f} s"
            bars.update(bar, advance=1, about=about)
            console.print(f"{about}: {'same' if runs[-1]['same_bits'] else 'other'} bits")
    console.print(write(config, known))


if __name__ == "__main__":
    main()
