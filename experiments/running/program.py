"""Program shell: flags, checks, expected errors, Ctrl-C, progress and results."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table
from typing_extensions import TypedDict

from experiments.running import batches, checkpoints, devices, distributed, files, progress, record
from experiments.running.batches import Study
from experiments.running.command_line import command, deciding, errors, parse
from experiments.running.files import locked
from experiments.running.interrupt import interruptible
from experiments.running.options import Distributed, differing, flag
from experiments.running.record import Record

Say = Callable[[str], object]


class Begun(TypedDict):
    """The keys of run.json and of a finished record that decide whether it is resumed."""

    format: int
    config: dict[str, Any]


class Program(NamedTuple):
    """A program that learns.

    module: as in `python -m module`. config: its flags, a dataclass with those of `options.Run`.
    prepare: `prepare(config, say) -> Study` reads data and checks everything that can be checked
      before learning. It raises `ValueError` or `OSError` in one line.
    """

    module: str
    config: type[Any]
    prepare: Callable[[Any, Say], Study]

    def study(self, config: Any, say: Say) -> Study:
        """The study of a checked configuration, with entries for the record."""
        try:
            study = self.prepare(config, say)
        except ValueError as error:  # the library's name its arguments
            for name in (field.name for field in dataclasses.fields(config)):
                argument = rf"(?<![\w-])(num_)?{name}(?= must be )"
                error.args = (re.sub(argument, flag(name), str(error)),)
            raise
        one = r"(?<![\w.,])1 (task|seed|alphabet|example|pass|batch)e?s\b"
        study = study._replace(caption=re.sub(one, r"1 \1", study.caption))
        asked = {"config": deciding(config), "command": command(self.module, config)}
        known = {"seeds": study.seeds, "caption": study.caption}
        return study._replace(about={**asked, **known, **study.about})


def main(program: Program, args: Sequence[str] | None = None) -> None:
    """Runs a program from its flags to its results."""
    with errors(program.module):
        config = parse(program.module, program.config, args)
        config.check()
        learn(program, config)


def learn(program: Program, config: Any) -> None:
    """Runs a program with checked flags."""
    console = progress.console()
    is_distributed = isinstance(config, Distributed) and config.distributed
    if is_distributed:
        distributed.fork(program.module, config)
    with console.status("reading data"):
        kept = check_free(config, console.print)
        study = program.study(config, console.print)
        files.make(config.out)
    most_settings = max(len(arm.settings) for arm in study.arms)
    devices.use_all_cores(len(study.seeds) * most_settings)
    jax.config.update("jax_default_matmul_precision", "highest")
    if is_distributed:
        distributed.join(config, console.print)
    devices.check()
    console.quiet = not distributed.is_first()
    console.print(study.caption)
    study.about.update(record.environment())
    stopped = f"finished results are in {config.out}. --resume goes on from the last checkpoint"
    lock = locked(config.out) if distributed.is_first() else contextlib.nullcontext()
    with running(console, stopped), lock, progress.display(console) as bars:
        agree(config, study)
        if distributed.is_first() and not checkpoints.folder(config.out).exists():
            files.write_json(config.out / "run.json", {"format": record.FORMAT} | study.about)
        known = batches.run(study, config, bars, kept=kept)
    if kept and known.results == kept.results:
        console.print("nothing was left to learn")
    tell(console, config.out, known.table(study.digits))


def agree(config: Any, study: Study) -> None:
    """Raises `ValueError` unless all processes learn the same runs in the same way."""
    flags = {flag(name): value for name, value in deciding(config).items()}
    flags |= {"--resume": config.resume, "--out": str(config.out.resolve())}
    distributed.agree(flags, "flags")
    if jax.process_count() > 1:
        values = study.identity | checkpoints.arithmetic()
        values |= {"data": checkpoints.checksum((study.data, study.shared))}
        distributed.agree(values, "data or versions")


def check_free(config: Any, say: Say = print) -> Record | None:
    """Checks that --out is free, or holds a run that may be resumed.

    Returns:
      The record of the same run, if it has come to its end. Results may be missing there.
    Raises:
      ValueError: if it holds another run, or --resume is missing.
    """
    folder, path = checkpoints.folder(config.out), config.out / "metrics.json"
    begun, held = config.out / "run.json", f"{folder} holds an unfinished run"
    if not folder.exists():
        begun, held = path, f"{path} holds a finished run"
        if not path.exists():
            if config.resume:
                say(f"nothing to resume in {config.out}, beginning")
            return None
    otherwise = f"delete the folder {config.out}, or choose another --out"
    if not config.resume:
        use = "resume it" if folder.exists() else "keep its results and learn missing ones"
        raise ValueError(f"{held}: give --resume to {use}, {otherwise}")
    try:
        about = files.read_json(begun, Begun)
    except ValueError as error:
        raise ValueError(f"{error}; {otherwise}") from None
    was, before = about["format"], about["config"]
    if was != record.FORMAT:
        earlier = "was begun by an earlier version of this program and cannot be resumed"
        raise ValueError(f"{config.out} {earlier}: {otherwise}")
    if different := differing(before, deciding(config), flag):
        others = f"was begun with other values of {', '.join(different)}"
        raise ValueError(f"{config.out} {others}: give those of {begun}, or {otherwise}")
    return None if folder.exists() else record.load(path)


@contextlib.contextmanager
def running(console: Console, stopped: str) -> Iterator[None]:
    """Context of a program's work.

    SIGINT and SIGTERM end it at the next checkpoint with the message `stopped` and status 130.
    """
    try:
        with interruptible(console.print):
            yield
    except KeyboardInterrupt:
        console.print(f"stopped: {stopped}")
        raise SystemExit(130) from None


def tell(console: Console, out: Path, rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of results, its head first, and the folder with its files."""
    head, *body = rows
    table = Table(*head)
    for row in body:
        table.add_row(*row)
    console.print(table)
    names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    console.print(f"{out}: {', '.join(names)}")
