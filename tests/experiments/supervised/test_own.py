"""Methods of one's own, that of the documentation and wrong ones."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from rich.console import Console

import mer_jax
from experiments import own
from experiments.own import add_method
from experiments.running import devices, pool, program, record
from experiments.supervised import methods, study
from experiments.tables import cells
from experiments.tables.supervised import cell
from experiments.tables.table import Table
from tests.project import pages

SETTINGS = "alpha batch_size capacity"
CHOSEN = {"rotations": {200: {"alpha": 0.1, "batch_size": 11}}}


def er(loss_fn, *, alpha, batch_size, capacity):
    how = {"batch_size": batch_size, "capacity": capacity}
    return mer_jax.er(loss_fn, optimizer=optax.sgd(alpha), **how)


def vector(state, info):
    return state, info._replace(loss=jnp.ones(3))


def uncounted(loss_fn, **how):
    learner = er(loss_fn, **how)

    def update(key, state, example):
        after, info = learner.update(key, state, example)
        return after._replace(step=state.step), info

    return learner._replace(update=update)


def swapped(loss_fn, **how):
    learner = er(loss_fn, **how)
    return learner._replace(update=lambda key, state, e: (state, loss_fn(e, state.params, key)))


def leaking(state, info):
    raise jax.errors.UnexpectedTracerError("a value of an earlier trace")


def raising(state, info):
    raise ValueError


class Wrapped(NamedTuple):
    params: Any
    step: Any


def wrapped_params(loss_fn, **how):
    """It learns, but its params cannot be evaluated."""
    return mer_jax.Learner(
        lambda params, example: Wrapped({"mine": params}, jnp.int32(0)),
        lambda key, state, example: (
            state._replace(step=state.step + 1),
            mer_jax.Info(loss_fn(state.params["mine"], example)),
        ),
    )


def rounding(loss_fn, *, alpha, **how):
    return er(loss_fn, alpha=float(alpha), **how)


def reading(loss_fn, **how):
    learner = er(loss_fn, **how)
    return learner._replace(init=lambda params, example: learner.init(params, example.x.sum()))


def changed_row(**other):
    return {"rotations": {200: CHOSEN["rotations"][200] | other}}


def changed(change):
    """ER whose `(state, info)` become others."""

    def made(loss_fn, **how):
        learner = er(loss_fn, **how)
        return mer_jax.Learner(learner.init, lambda *args: change(*learner.update(*args)))

    return made


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for known in ("METHODS", "CHOSEN"):
        for name in (held := getattr(methods, known)):
            monkeypatch.setitem(held, name, held[name])
    yield
    methods.METHODS.pop("own", None)
    methods.CHOSEN.pop(("own", "rotations"), None)
    own.OWN.pop("own", None)


def test_the_program_of_the_documentation(tmp_path):
    """In a process of its own, since the flags are made from METHODS when they are imported."""
    page = pages.ROOT / "docs/experiments.md"
    (program,) = pages.programs(page)
    (tmp_path / "own_method.py").write_text(program)
    flags = "--method er decaying-er --seeds 1 --tasks 2 --examples-per-task 100 --test-images 50"
    command = [sys.executable, "-m", "own_method", *flags.split(), "--out", "run"]
    env = os.environ | {"PYTHONPATH": str(pages.ROOT)}
    for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES"):
        env.pop(name, None)
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=env)
    known = record.load(tmp_path / "run/metrics.json")
    assert sorted(known.about["command"].split()[1:]) == sorted(command[1:-2])
    # JAX starts as in the program, with its devices and flags, on which the bits depend.
    assert len(known.about["devices"]) == len(os.sched_getaffinity(0))
    assert "small_while_loop" in known.about["arithmetic"]["XLA_FLAGS"]
    first, own = known.results
    assert (first.title, own.title) == ("ER", "ER, falling rate")
    assert own.settings == {"alpha": 0.1, "batch_size": 11, "capacity": 200}
    assert own.per_seed["params_checksum"] != first.per_seed["params_checksum"]
    assert "python -m own_method --method mer er decaying-er" in page.read_text()


@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS.split()])
def test_an_added_method_has_its_settings(settings):
    add_method("own", er, settings, "Own", CHOSEN)
    (setting,) = methods.sweep("own", "rotations", 200, {})
    assert setting.settings == {"alpha": 0.1, "batch_size": 11, "capacity": 200}


@pytest.mark.parametrize("title", ["ER", "a | b", ""])
def test_a_title_is_new_and_no_part_of_a_table(title):
    with pytest.raises(ValueError, match=r"own: expected a new title without \|, got"):
        add_method("own", er, SETTINGS, title, CHOSEN)


def test_a_name_is_added_once():
    add_method("own", er, SETTINGS, "Own", CHOSEN)
    with pytest.raises(ValueError, match="add_method, own: expected a new name"):
        add_method("own", reading, SETTINGS, "Own", CHOSEN)


def edited(monkeypatch, text):
    monkeypatch.setitem(own.OWN, "own", {Path("mine.py"): text})


def test_results_of_an_edited_file_are_not_mixed(tmp_path, monkeypatch):
    """The record has the file's checksum. A table's cell compares it before it adds seeds."""
    add_method("own", er, SETTINGS, "Own", CHOSEN)
    edited(monkeypatch, "a first version")
    one = cell("rotations", "own", 200, tasks=2, examples_per_task=10, dataset="digits", seeds=1)
    console = Console(quiet=True)
    pool.run(cells.jobs(one, {}, tmp_path, 1), console)
    known = record.load(tmp_path / "cells" / one.name / "metrics.json")
    assert known.about["own_methods"] == own.checksums(["own", "er"])["own_methods"]
    assert known.about["command"].startswith(f"python -m {__name__} --dataset digits")
    assert cell("rotations", "er", 200).program.module == "experiments.supervised"
    assert cells.jobs(one, {}, tmp_path, 1) == []
    table = Table([one], lambda rows, draw: [row.result.title for row in rows])
    text = table.text("mine", table.rows(tmp_path), lambda *args, **how: None)
    assert f"`python -m {__name__} tables mine`" in text
    edited(monkeypatch, "a second version")
    for seeds in (1, 2):
        with pytest.raises(ValueError, match="own-200 was made before a file of own was edited"):
            cells.jobs(one, {"seeds": seeds}, tmp_path, 1)
    with pytest.raises(ValueError, match="edited: delete it, or choose"):
        table.rows(tmp_path)


def test_a_finished_run_of_an_edited_file_is_not_taken_again(tmp_path, monkeypatch):
    add_method("own", er, SETTINGS, "Own", CHOSEN)
    edited(monkeypatch, "a first version")
    flags = {"method": ("own",), "dataset": "digits", "tasks": 2, "examples_per_task": 10}
    flags |= {"seeds": 1, "out": tmp_path / "run"}
    program.learn(study.PROGRAM, study.Config(**flags))
    study.Config(**flags, resume=True).check()
    edited(monkeypatch, "a second version")
    with pytest.raises(ValueError, match="made before a file of own was edited: delete it"):
        study.Config(**flags, resume=True).check()
    monkeypatch.setitem(own.OWN, "own", {})  # such as of <stdin>
    study.Config(**flags, resume=True).check()


def test_a_method_without_a_file_has_the_command_of_the_program(tmp_path):
    exec(compile("add_method('own', er, 'alpha', 'Own', {})", "<stdin>", "exec"), globals() | {})
    assert own.checksums(["own"]) == {}
    assert methods.METHODS["own"].module == "experiments.supervised"


def test_files_that_it_imports_are_watched(tmp_path):
    """Also for the value of a constant, and through a folder. Not this project, and no others."""
    files = {
        "mine.py": "import json\nfrom learner import rule\nfrom mer_jax.types import Info\n",
        "learner.py": "import parts.rates as rates\nfrom experiments import own\n",
        "parts/rates.py": "RATE = 0.1\n", "other.py": "",
    }  # fmt: skip
    (tmp_path / "parts").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = own._texts(tmp_path / "mine.py")
    names = ["mine.py", "learner.py", "parts/rates.py"]
    assert found == {tmp_path / name: files[name] for name in names}


def test_its_own_file_is_watched():
    add_method("own", er, SETTINGS, "Own", CHOSEN)
    assert Path(__file__) in own.OWN["own"]
    before = own.checksums(["own"])
    own.METHODS.pop("own")
    add_method("own", er, SETTINGS, "Own", changed_row(alpha=0.2))
    assert own.checksums(["own"]) != before  # also if the values come from elsewhere
    assert methods.METHODS["own"].module == __name__


@pytest.mark.parametrize(
    ("name", "learner", "settings", "chosen", "told"),
    [
        ("er", er, SETTINGS, CHOSEN, "expected a new name .*, got 'er'"),
        ("own er", er, SETTINGS, CHOSEN, "a new name of letters, digits and -, got 'own er'"),
        ("../own", er, SETTINGS, CHOSEN, "got '../own'"),
        ("own", None, SETTINGS, CHOSEN, "expected a function that returns a Learner, got None"),
        ("own", er, "alpha lr", CHOSEN, "settings of .*, got 'lr'; use one of those, or a default"),
        ("own", er, SETTINGS, {"rotation": CHOSEN["rotations"]}, ".*, got \"rotation\"; give"),
        ("own", er, SETTINGS, {"rotations": {}}, "chosen, rotations: expected at least 1 item"),
        ("own", er, SETTINGS, {"rotations": {200: "0.1 11"}}, r"rotations\[200\]: expected .* got"),
        ("own", er, SETTINGS, {"rotations": 3}, "rotations: expected a valid dictionary, got 3"),
        ("own", er, SETTINGS, None, "chosen, expected a valid dictionary, got null"),
        ("own", er, SETTINGS, {"rotations": {200: {"alpha": 0.1}}}, "size: expected this key, got"),
        ("own", er, SETTINGS, changed_row(alpha="0.1"), 'expected a valid number, got "0.1"'),
        ("own", er, SETTINGS, changed_row(alpha=float("nan")), "alpha: expected a finite number"),
        ("own", er, SETTINGS, changed_row(alpha=-0.1), "greater than or equal to 0, got -0.1"),
        ("own", er, SETTINGS, changed_row(alpha=True), "alpha: expected a valid number, got true"),
        ("own", er, SETTINGS, changed_row(batch_size=1.5), "expected a valid integer, got 1.5"),
        ("own", er, SETTINGS, changed_row(batch_size=0), "greater than or equal to 1, got 0"),
        ("own", er, SETTINGS, changed_row(capacity=2), "capacity: expected no such key, got 2"),
        ("own", er, SETTINGS, {"rotations": {None: CHOSEN["rotations"][200]}}, "integer, got null"),
        ("own", er, "alpha", {"rotations": {200: {"alpha": 0.1}}}, "expected None, got 200"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused(name, learner, settings, chosen, told):
    before = dict(methods.METHODS), dict(methods.CHOSEN)
    with pytest.raises(ValueError, match=told) as error:
        add_method(name, learner, settings, "Own", chosen)
    assert str(error.value).startswith(f"add_method, {name}: ")
    assert len(str(error.value).splitlines()) == 1
    assert before == (methods.METHODS, methods.CHOSEN)


@pytest.mark.parametrize(
    ("learner", "settings", "told"),
    [
        (er, "alpha batch_size", "own: TypeError: er.. missing 1 required .*'capacity'"),
        (lambda *_, **__: None, SETTINGS, "own: learner must be a Learner.* got None"),
        (lambda *_, **__: (1, 2), SETTINGS, r"own: learner must be a Learner.*got \("),
        (changed(lambda state, info: state), SETTINGS, r"own: update must return \(state, info\)"),
        (changed(lambda state, info: (state, None)), SETTINGS, r"own: .*Info\(loss\).*got None"),
        (changed(lambda state, info: (state, {"l": 1.0})), SETTINGS, r"Info\(loss\).*got {'l'"),
        (changed(vector), SETTINGS, r"with loss \[\], got Info.*3\]"),
        (changed(lambda state, info: (state, info.l)), SETTINGS, "own: Attr.*: .*attribute 'l'"),
        (changed(lambda state, info: (info, state)), SETTINGS, "expected ReplayState.*, got Info"),
        (uncounted, SETTINGS, "own: .*larger by 1, got the same"),
        (swapped, SETTINGS, rf"own: .*\(test_own.py, line {swapped.__code__.co_firstlineno + 2}\)"),
        (rounding, SETTINGS, r"own: a traced value, such as a rate, .* \(test_own.py, line"),
        (changed(lambda state, info: 1 / 0), SETTINGS, r"own: ZeroDivisionError: .*test_own.py"),
        (changed(leaking), SETTINGS, "own: UnexpectedTracerError: a value"),
        (changed(raising), SETTINGS, r"own: ValueError \(test_own.py, line"),
        (wrapped_params, SETTINGS, "own: KeyError: 'layers_0'"),
        (reading, SETTINGS, "own: .*'ShapeDtypeStruct' object has no attribute 'sum'"),
    ],
)  # fmt: skip
def test_a_wrong_learner_is_refused_before_others_learn(learner, settings, told, tmp_path):
    row = {name: CHOSEN["rotations"][200][name] for name in ("alpha", "batch_size")}
    memories = 200 if "capacity" in settings else None
    add_method("own", learner, settings, "Own", {"rotations": {memories: row}})
    config = study.Config(
        method=("online", "own"), dataset="digits", tasks=2, examples_per_task=10, seeds=1,
        out=tmp_path / "run",
    )  # fmt: skip
    with pytest.raises(ValueError, match=told) as error:
        program.learn(study.PROGRAM, config)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "run/metrics.json").exists()


def test_a_started_jax_is_noticed(monkeypatch):
    """Also where the number of devices is what the program wants, which JAX then accepts."""

    def update(name, number):
        if number != 2:
            raise RuntimeError("should be updated before backends are initialized")

    monkeypatch.setattr(jax.config, "update", update)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(2))
    monkeypatch.setenv("XLA_FLAGS", "")
    devices.use_all_cores()
    assert os.environ["XLA_FLAGS"] == ""
