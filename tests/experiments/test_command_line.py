"""Commands that give the same again, and bad input in one line."""

import dataclasses
import itertools
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint, rl, survival
from experiments.bench import __main__ as bench
from experiments.examples import drifting_sine
from experiments.language import __main__ as language
from experiments.report import __main__ as report
from experiments.running import command_line, files, options, program
from experiments.supervised import study as supervised

CONFIGS = {
    "supervised": supervised.Config(
        method=("mer", "online"), alpha=(0.1, 0.03), beta=(1e-05,), batch_size=11, watch=True
    ),
    "rl": rl.Config(game="flappy-bird", hidden=(8, 4), films=False, max_frames=30, gamma=(0.3,)),
    "language": language.Config(learning_rate=0.5, seeds=1),
    "joint": joint.Config(memories=12),
    "survival": survival.Config(seed=3),
    "bench": bench.Config(),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_command_gives_its_configuration_again(name):
    config = CONFIGS[name]
    said = command_line.command(f"experiments.{name}", config)
    python, _, module, *flags = shlex.split(said)
    assert (python, module) == ("python", f"experiments.{name}")
    assert command_line.parse("x", type(config), flags) == config


def test_only_what_decides_is_said():
    config = joint.Config(tasks=3, data_dir=Path("images"), out=Path("elsewhere"))
    assert command_line.command("experiments.joint", config) == (
        "python -m experiments.joint --tasks 3"
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_no_number_is_one_line_that_names_the_flag(name):
    flag = "--repeats" if name == "bench" else "--seed"
    with pytest.raises(ValueError, match=f"^{flag}: expected a whole number, got many$"):
        command_line.parse("x", type(CONFIGS[name]), [flag, "many"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--metod", "mer"], "expected a flag of this program, got --metod; nearest: --method"),
        (["--batch_siz", "3"], "got --batch_siz; nearest: --batch-size"),
        (["--no-alpha"], "expected a flag of this program, got --no-alpha; nearest: --alpha"),
        (["--dataset", "mnist", "er"], "expected a flag of this program, got er; only those with"),
        (["--colour", "red"], "expected a flag of this program, got --colour; see --help"),
        (["--method", "merr"], "'merr' for argument '--method': expected one of mer, er, "),
        (["--method", "GEM"], "'GEM' for argument '--method': expected one of gem, "),
        (["--method", "mer,er"], "gaussians; separate several by spaces"),
        (["--dataset", "mnst"], "expected one of mnist, mnist-5k, omniglot, fashion_mnist, digits"),
        (["--tasks"], "--tasks: expected a value, got none"),
        (["--tasks", "--seeds", "3"], "--tasks: expected a value, got none"),
        (["--tasks", "x"], "--tasks: expected a whole number, got x"),
        (["--alpha", "0.5", "x"], "--alpha: expected a number, got x"),
        (["--alpha", "0.5,1"], "--alpha: expected a number, got 0.5,1; separate several by spaces"),
        (["--alpha", "--tasks", "1"], "--alpha: expected at least one value, got none"),
        (["--method"], "--method: expected at least one value, got none"),
    ],
    ids=" ".join,
)
def test_wrong_words_get_the_nearest_right_ones(args, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        command_line.parse("x", supervised.Config, args)


def test_optional_paths_may_be_none():
    """Then bench takes its own record, and a report has no details."""
    assert command_line.parse("x", bench.Config, ["--compare"]).compare == ()
    assert command_line.parse("x", report.Config, ["run", "--details"]).details == ()


def help_of(config, capsys):
    with pytest.raises(SystemExit):
        command_line.parse("x", config, ["--help"])
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("name", [*CONFIGS, "report"])
def test_help_says_each_default_once(name, capsys):
    said = help_of(report.Config if name == "report" else type(CONFIGS[name]), capsys)
    assert "(default: None)" not in said
    assert "(default: )" not in said
    assert "{None}" not in said


def test_help_has_a_frame_for_each_topic_and_whole_lines(capsys):
    with pytest.raises(SystemExit):
        command_line.parse("x", supervised.Config, ["--help"])
    said = capsys.readouterr().out
    lines = [line.strip("│| ") for line in said.splitlines()]
    topics = re.findall("(?m)^(?:╭─)? (?:([a-z]+) )?options ", said)
    assert topics == ["", "stream", "learning", "run", "data", "distributed"]
    first = next(n for n, line in enumerate(lines) if line.startswith("Spread the runs"))
    told = list(itertools.takewhile(lambda line: not line.startswith("--"), lines[first:]))
    assert min(map(len, told[:-1])) > max(map(len, told)) - 20  # none broken early


@pytest.mark.parametrize("name", ["supervised", "rl", "language", "joint"])
def test_own_flags_come_before_shared_ones(name):
    names = [field.name for field in dataclasses.fields(CONFIGS[name])]
    groups = options.Run, options.Data, options.Distributed
    shared = {field.name for group in groups for field in dataclasses.fields(group)}
    first = next(n for n, one in enumerate(names) if one in shared)
    assert 0 < first == len(names) - len(shared & {*names})


def test_an_example_describes_itself(capsys):
    assert "a sine whose phase drifts" in help_of(drifting_sine.PROGRAM.config, capsys)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    for path, reason in (
        ("taken/a.md", ".*taken cannot be made: File exists; choose another --out"),
        ("b.md", "No space left on device"),
    ):

        def save(part):
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match=rf"{path} cannot be written: {reason}"):
            files.write(tmp_path / path, save)


def test_a_plan_that_does_not_fit_is_refused_before_it_is_made(tmp_path, capsys):
    most = str(2**31 - 1)
    for part, flags, says in (
        (
            supervised.PROGRAM,
            ["--dataset", "digits", "--tasks", most],
            "--tasks 2147483647 --",
        ),
        (
            rl.PROGRAM,
            ["--frames-per-task", most, "--evaluate-every", "1"],
            "--frames-per-task 2147483647 need",
        ),
    ):
        with pytest.raises(SystemExit) as end:
            program.main(part, [*flags, "--out", str(tmp_path / "out")])
        assert end.value.code == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
