"""Commands that give the same again, and bad input in one line."""

import shlex
from pathlib import Path

import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint, rl, survival
from experiments.bench import __main__ as bench
from experiments.language import __main__ as language
from experiments.running import command_line, program
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


def test_output_that_nobody_reads_ends_without_a_word(capsys):
    with pytest.raises(SystemExit) as end, command_line.errors("x"):
        raise BrokenPipeError(32, "Broken pipe")
    assert end.value.code == 141
    assert capsys.readouterr().err == ""


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
