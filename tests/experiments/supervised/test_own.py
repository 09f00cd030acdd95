"""Methods of one's own, that of the documentation and wrong ones."""

import os
import subprocess
import sys

import optax
import pytest

import mer_jax
from experiments.running import record
from experiments.supervised import methods
from experiments.supervised.own import add_method
from tests.project import pages

SETTINGS = "alpha batch_size capacity"
CHOSEN = {"rotations": {200: {"alpha": 0.1, "batch_size": 11}}}


def er(loss_fn, *, alpha, batch_size, capacity):
    how = {"batch_size": batch_size, "capacity": capacity}
    return mer_jax.er(loss_fn, optimizer=optax.sgd(alpha), **how)


def changed(change):
    """ER whose `(state, info)` become others."""

    def own(loss_fn, **how):
        learner = er(loss_fn, **how)
        return mer_jax.Learner(learner.init, lambda *args: change(*learner.update(*args)))

    return own


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for known in ("METHODS", "CHOSEN"):
        for name in (held := getattr(methods, known)):
            monkeypatch.setitem(held, name, held[name])
    yield
    methods.METHODS.pop("own", None)
    methods.CHOSEN.pop(("own", "rotations"), None)


def test_the_program_of_the_documentation(tmp_path):
    """In a process of its own, since the flags are made from METHODS when they are imported."""
    page = pages.ROOT / "docs/experiments.md"
    (program,) = pages.programs(page)
    (tmp_path / "own_method.py").write_text(program)
    flags = "--method er decaying-er --seeds 1 --tasks 2 --examples-per-task 100 --test-images 50"
    command = [sys.executable, "-m", "own_method", *flags.split(), "--out", "run"]
    env = os.environ | {"PYTHONPATH": str(pages.ROOT)}
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=env)
    known = record.load(tmp_path / "run/metrics.json")
    assert sorted(known.about["command"].split()[1:]) == sorted(command[1:-2])
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


def test_a_method_of_batches_is_tried_on_batches():
    def own(loss_fn, *, alpha, glances, num_replays, capacity):
        how = {"glances": glances, "num_replays": num_replays, "capacity": capacity}
        return mer_jax.la_maml(loss_fn, alpha_init=alpha, alpha_rate=0.1, **how)

    row = {"alpha": 0.1, "glances": 2, "num_replays": 3, "incoming": 5}
    add_method("own", own, [*row, "capacity"], "Own", {"rotations": {200: row}})


@pytest.mark.parametrize(
    ("name", "learner", "settings", "chosen", "told"),
    [
        ("er", er, SETTINGS, CHOSEN, "er: expected a new name"),
        ("own", er, "alpha lr", CHOSEN, "expected settings of .*, got lr; give that a default"),
        ("own", er, SETTINGS, {"rotations": {"alpha": 0.1}}, "expected alpha, batch_size for"),
        ("own", er, SETTINGS, {"rotations": {200: "0.1 11"}}, "200 memories, got 0.1 11"),
        ("own", er, SETTINGS, {"rotations": {200: {"alpha": 0.1}}}, "got {'alpha': 0.1}"),
        ("own", er, SETTINGS, {"rotations": 3}, "not iterable"),
        ("own", er, "alpha", {"rotations": {None: {"alpha": 0.1}}}, "'batch_size' and 'capacity'"),
        ("own", "ER", SETTINGS, CHOSEN, "'ER' is not a callable"),
        ("own", lambda *_, **__: None, SETTINGS, CHOSEN, r"expected mer_jax.Learner\(.*got None"),
        ("own", lambda *_, **__: (1, 2), SETTINGS, CHOSEN, r"Learner.*got \(1, 2\)"),
        ("own", changed(lambda state, info: state), SETTINGS, CHOSEN, r"return \(state, info\)"),
        ("own", changed(lambda state, info: (state, None)), SETTINGS, CHOSEN, "loss.*got None"),
        ("own", changed(lambda state, info: (state, {"l": 1.0})), SETTINGS, CHOSEN, "loss.*'l'"),
        ("own", changed(lambda state, info: (state, info.l)), SETTINGS, CHOSEN, "attribute 'l'"),
        ("own", er, SETTINGS, {"rotations": {200: {"alpha": 0.1, "batch_size": 1.5}}}, "got 1.5"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_refused_before_it_learns(name, learner, settings, chosen, told):
    before = dict(methods.METHODS), dict(methods.CHOSEN)
    with pytest.raises(ValueError, match=told) as error:
        add_method(name, learner, settings, "Own", chosen)
    assert str(error.value).startswith(f"add_method, {name}: ")
    assert len(str(error.value).splitlines()) == 1
    assert before == (methods.METHODS, methods.CHOSEN)
