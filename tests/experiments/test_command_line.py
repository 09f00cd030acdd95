"""Commands that give the same again."""

import shlex
from pathlib import Path

import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint, survival
from experiments import rl as rl
from experiments.bench import __main__ as bench
from experiments.language import __main__ as language
from experiments.running import command_line
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
