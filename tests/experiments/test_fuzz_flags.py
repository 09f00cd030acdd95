"""Random flags: each command ends well, or in one line on stderr with status 2."""

import contextlib
import functools
import io
import json
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint, rl, survival
from experiments.bench import __main__ as bench
from experiments.language import __main__ as language
from experiments.report import __main__ as report
from experiments.running import batches, command_line, distributed, pool, program
from experiments.supervised import study as supervised
from experiments.tables import __main__ as tables
from mer_jax.data import datasets
from tests.experiments import toy

SMALL = {
    toy: ["--tasks", "2", "--length", "4", "--seeds", "1"],
    supervised: ["--dataset", "digits", "--tasks", "2", "--examples-per-task", "5"],
    rl: [], language: ["--train-bytes", "200", "--test-bytes", "100"], joint: ["--tasks", "2"],
    tables: [], bench: ["--repeats", "1"], survival: [], report: ["run"],
}  # fmt: skip
"""Flags that come first, so that a plan is made quickly. Later ones replace them."""
WHOLE = ["0", "1", "2", "4", "1000", "-1", "2147483647", "2147483648", "9" * 20, "9" * 400]
NUMBERS = ["0.5", "1", "0", "1e-9", "1e9", "-0.1", "nan", "-inf", "1e400"]
WILD = ["", " ", "x", "1.5", "None", "True", "--", "-", "-x", "--x=1", "~", "é\u2028", "\x1b[1m",
        "[/b]", "a\nb", "\udcff", "'\"", "{}", "1 2", "0x1", "\uff11"]  # fmt: skip
PATHS = ["new", "a[b]:smile:[/b]", "~/new", "taken", "taken/below", "/proc/none", "run", "x" * 300]


def pool_of(annotation):
    """Values that may be right for a flag, as far as its type tells."""
    parts = command_line.types_in(annotation)
    choices = [str(one) for part in parts for one in typing.get_args(part) if type(one) is str]
    kinds = {int: WHOLE, float: NUMBERS, Path: PATHS, str: ["one", "two", "127.0.0.1:1"]}
    return choices or [text for kind in parts for text in kinds.get(kind, ())]


@st.composite
def commands(draw):
    """A program and its flags."""
    module = draw(st.sampled_from([*SMALL, toy, supervised]))
    hints = typing.get_type_hints(module.Config)
    args = [*SMALL[module]]
    for name in draw(st.lists(st.sampled_from([*hints, "nope"]), max_size=4)):
        flag = "--" + draw(st.sampled_from([name.replace("_", "-")] * 5 + [name, f"no-{name}"]))
        texts = draw(st.sampled_from([pool_of(hints.get(name, int))] * 3 + [WILD])) or [""]
        sizes = st.sampled_from([1] * 6 + [0, 2]) if texts != [""] else st.just(0)
        values = [draw(st.sampled_from(texts)) for _ in range(draw(sizes))]
        is_joined = values and draw(st.booleans())
        args += [f"{flag}={values[0]}"] if is_joined else [flag, *values]
    return module, args


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a file and a run, in which no plan but the toy's is carried out."""
    folder = tmp_path_factory.mktemp("fuzz")

    def accepted(*args, **how):
        raise SystemExit(0)

    def run(study, *args, **how):
        return learn(study, *args, **how) if study.about.get("kind") == "toy" else accepted()

    learn, texts = batches.run, functools.cache(language.texts.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "home"))
        patch.delenv("MER_JAX_DATA_DIR", raising=False)
        patch.setattr(batches, "run", run)
        patch.setattr(language.texts, "load", texts)
        for where, name in ((distributed, "fork"), (pool, "run"), (bench, "parts"),
                            (survival, "run"), (datasets, "from_tfds")):  # fmt: skip
            patch.setattr(where, name, accepted)
        Path("taken").write_text("")
        program.main(toy.PROGRAM, ["--seeds", "1", "--out", "run"])
        yield folder


def end(module, args):
    """The status of a program, and the lines that it leaves on stderr."""
    status = 0
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                if hasattr(module, "PROGRAM"):
                    program.main(module.PROGRAM, args)
                else:
                    module.main(args)
            except SystemExit as stop:
                status = stop.code or 0
        return status, stderr.getvalue().splitlines()


@functools.cache
def right(*run):
    return toy.expected(*run)[1][-1].mean()


def check_toy(config):
    """The results of a toy that was carried out are those of a plain loop."""
    for result in json.loads((config.out / "metrics.json").read_text())["results"]:
        got = result["per_seed"]
        assert got["seed"] == config.all_seeds()
        for seed, error in zip(got["seed"], got["final_error"], strict=True):
            wanted = right(seed, result["settings"]["alpha"], config.tasks, config.length)
            np.testing.assert_allclose(error, wanted, rtol=1e-4)


@given(commands())
@settings(max_examples=150, deadline=None, derandomize=True, database=None,
          suppress_health_check=[*HealthCheck])  # fmt: skip
def test_no_flags_end_in_a_traceback(world, made_omniglot, case):
    module, args = case
    args = [f"--out=out-{len(list(world.iterdir()))}", *args]
    status, lines = end(module, args)
    assert (status, len(lines)) in {(0, 0), (2, 1)}, lines
    assert all(": error: " in line and "-----" not in line for line in lines)
    if module is toy and status == 0:
        config = command_line.parse("toy", toy.Config, args)
        if not config.distributed:
            check_toy(config)
