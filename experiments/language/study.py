"""Flags, arms and metrics of the language model."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments.language import texts
from experiments.language.problem import Training, problem
from experiments.plots import stream
from experiments.running import checkpoints
from experiments.running.batches import Arm, Setting, Study
from experiments.running.options import Run
from experiments.running.problem import Own, chunk_size, every
from experiments.running.program import Program, Say

# {arm: whether it replays, whether Reptile pulls it back}
ARMS = {"neither": (False, False), "replay": (True, False), "Reptile": (False, True),
        "both": (True, True)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(Run, Training):
    """Trains a small language model on one kind of text after another, with MER's two parts or
    without: replay, Reptile, both, neither.

    The optimizer is AdamW and continues from one kind to the next. Any Python installation has the
    texts: source, C headers, licences and descriptions of packages. All arms see the same batches.
    """

    train_bytes: int = 300_000
    """Training text of each kind."""
    test_bytes: int = 30_000
    """Test text of each kind, from other files."""
    out: Path = Path("runs/language")
    """Folder for run.json and then metrics.json, table.md and losses.png."""

    def check(self) -> None:
        super().check()
        self.positive("steps", "batch_size", "length", "width", "layers", "capacity")
        self.positive("reptile_every", "train_bytes", "test_bytes")
        self.rates("replay_share", "reptile_rate", largest=1)
        self.rates("learning_rate")
        share, least = self.replay_share, 1 / self.batch_size
        replays = round(share * self.batch_size)
        if share > 0 and not replays:
            raise ValueError(f"--replay-share must be 0 or at least {least:g}, got {share:g}")
        if replays > self.capacity:
            raise ValueError(f"--capacity must be at least {replays}, the replays of a batch")
        if self.width % 4:
            raise ValueError(f"--width must be a multiple of 4, the heads, got {self.width}")
        if min(self.train_bytes, self.test_bytes) <= self.length:
            raise ValueError("--train-bytes and --test-bytes must be more than --length")


def prepare(config: Config, say: Say) -> Study:
    """Reads the texts and makes the study."""
    domains = texts.load(config.train_bytes, config.test_bytes)
    names, train, test, sources = zip(*domains, strict=True)
    for name, source in zip(names, sources, strict=True):
        say(f"{name}: {source}")
    chunk = chunk_size(config.steps, config.checkpoint_every)
    schedule = every("batches", len(domains), config.steps, chunk, between=config.steps)
    how = Training(*(getattr(config, field.name) for field in dataclasses.fields(Training)))
    return Study(
        [Arm(arm, arm, problem(how, *which, chunk), [Setting()])
         for arm, which in ARMS.items()],
        schedule, config.all_seeds(), shared=(np.stack(train), np.stack(test)),
        caption=(
            f"Bits a byte, {config.steps} batches of each kind of text. Learned: on each kind "
            "right after it; final: on all at the end; forgetting: how much that has risen on all "
            f"but the last. {config.seeds} seeds from {config.seed}, ± is their standard deviation."
        ),
        about={"domains": [
            {"name": one.name, "source": one.source, "checksum": checkpoints.checksum(one[1:3])}
            for one in domains
        ], "data_checksum": checkpoints.checksum(domains)},
        identity=dataclasses.asdict(how),
        metrics={"learned_loss": "Learned loss", "final_loss": "Final loss",
                 "forgetting": "Forgetting"},
        measure=measure,
        draw=stream.by_task("losses", "test loss, bits a byte", "losses.png", schedule,
                            names=names, first=1),
        digits=3,
    )  # fmt: skip


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The metrics of `[R, N + 1, N]` losses in bits a byte."""
    losses = rows["loss"].astype(np.float64)
    learned = np.diagonal(losses[:, 1:], axis1=1, axis2=2)
    return {
        "learned_loss": learned.mean(1).tolist(),
        "final_loss": losses[:, -1].mean(1).tolist(),
        "forgetting": (losses[:, -1] - learned)[:, :-1].mean(1).tolist(),
        "losses": losses.tolist(),
    }


PROGRAM = Program("experiments.language", Config, prepare)
