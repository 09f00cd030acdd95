"""The program that trains on all drawings at once, with made characters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import joint
from experiments.joint import NETWORKS, PROGRAM
from experiments.running import interrupt, record
from experiments.running.checkpoints import Checkpoints
from experiments.running.problem import Own
from experiments.running.program import main
from mer_jax import networks
from mer_jax.data import omniglot
from mer_jax.data.benchmarks import Base, Tasks
from mer_jax.networks import Model

pytestmark = pytest.mark.usefixtures("quick_keys")

SMALL = ["--tasks", "2", "--passes", "4", "--batch-size", "6", "--network", "SAME-normalized"]


@pytest.fixture(autouse=True)
def small(monkeypatch, made_omniglot):
    """One network of two small modules. The others compile as long."""
    how = NETWORKS["SAME-normalized"] | {"features": (8, 8)}
    monkeypatch.setattr(joint, "NETWORKS", {"SAME-normalized": how})


def test_a_network_learns_and_resumes_with_the_same_bits(tmp_path, monkeypatch):
    """The second run is stopped after two of four passes."""
    out, again = tmp_path / "whole", tmp_path / "again"
    main(PROGRAM, [*SMALL, "--out", str(out)])
    known = record.load(out / "metrics.json")
    (result,) = known.results
    assert (result.title, result.seeds) == ("SAME-normalized", [100])
    assert result.array("accuracies").shape == (1, 4)
    assert result.per_seed["test_accuracy"][0] == result.per_seed["accuracies"][0][-1] > 80
    assert known.about["command"] == f"python -m experiments.joint {' '.join(SMALL)}"
    assert "4 passes over all training drawings" in (out / "table.md").read_text()
    accuracy = result.per_seed["accuracies"][0][-1]
    tell = joint.problem(networks.mlp((4, 2)), 1, 0.1).tell
    assert tell([{"accuracy": np.array([[accuracy / 100]])}]) == f"test accuracy {accuracy:.2f} %"
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    save = Checkpoints.save

    def stopping(store, place, arrays):
        if place == 2:
            interrupt.stop()
        save(store, place, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stopping)
        with pytest.raises(SystemExit) as stop:
            main(PROGRAM, [*SMALL, "--out", str(again)])
    assert stop.value.code == 130
    main(PROGRAM, [*SMALL, "--resume", "--out", str(again)])
    resumed = record.load(again / "metrics.json").results[0]
    assert resumed.per_seed == result.per_seed


def test_draws_of_seeds():
    """A sample of each size, other for each seed, and tests by other drawers."""
    config, data = joint.Config(tasks=2, memories=20, batch_size=6), omniglot.load()
    *_, draw_tasks = joint.alphabets(None, 2, print)
    draws = [joint.draw(config, draw_tasks, seed) for seed in (100, 101)]
    assert (draws[0].images != draws[1].images).any()
    for tasks in draws:
        learned, tested = tasks.images[0], tasks.tests[tasks.tests >= 0]
        assert len(np.unique(learned)) == 20
        assert len(np.unique(tested)) == len(tested) == 30
        assert not set(data.drawers[learned]) & set(data.drawers[tested])


def test_a_pass_shows_each_drawing_once():
    """With a loss that is linear, the sum of all steps is that of all drawings but the last one."""
    seen = Model(
        lambda key: jnp.zeros(8), lambda params, x, task: params,
        lambda params, example: -params[example.y],
    )  # fmt: skip
    part = joint.problem(seen, batch_size=3, alpha=3.0)
    base = Base(np.zeros((8, 1), np.uint8), np.arange(8))
    own = Own(np.uint32(0), {}, Tasks(None, None, None, np.arange(7)[None]))
    params, _, fine = jax.jit(part.advance)(jnp.zeros(8), own, (base, base), 0)
    assert sorted(params.tolist()) == pytest.approx([0, 0, 1, 1, 1, 1, 1, 1])
    assert fine


def test_drawings_are_augmented_anew_in_each_step():
    """A loss that is the image's first pixel: its mean over shifts of one white column."""
    lit = Model(
        lambda key: jnp.zeros(()), lambda params, x, task: params,
        lambda params, example: params * example.x.reshape(4, 4)[1, 1],
    )  # fmt: skip
    image = np.zeros((4, 4), np.float32)
    image[:, 1] = 1
    base = Base(image.reshape(1, 16), np.zeros(1, np.int32))
    own = Own(np.uint32(0), {}, Tasks(None, None, None, np.zeros((1, 40), np.int32)))
    moves = []
    for shift in (0.0, 1.0):
        part = joint.problem(lit, batch_size=2, alpha=1.0, shift=shift)
        passes = [jax.jit(part.advance)(jnp.zeros(()), own, (base, base), at)[0] for at in (0, 1)]
        moves.append([-float(one) / 20 for one in passes])
    assert moves[0] == [1, 1]
    assert moves[1][0] != moves[1][1]
    assert moves[1] == pytest.approx([0.5, 0.5], abs=0.2)  # 1 - |shift|, uniform up to 1


def test_bad_flags_get_one_clear_line(tmp_path, capsys):
    for flags, says in (
        (["--passes", "0"], "--passes must be a whole number"),
        (["--alpha", "-1"], "--alpha must be"),
        (["--last-filters", "0"], "--last-filters must be a whole number"),
        (["--shift", "-1"], "--shift must be a finite number of at least 0"),
        (["--network", "VALID", "VALID"], "--network must differ"),
        (["--seed", "4294967296"], "--seed must be in [0, 4294967295]"),
        (["--tasks", "3"], "got 3"),
        (["--tasks", "1", "--seeds", "9"], "give --memories"),
        (["--batch-size", "91"], "--batch-size must be at most 90"),
        (["--memories", "0"], "--memories must be a whole number"),
        (["--memories", "91"], "--memories must be at most 90"),
        (["--memories", "20", "--batch-size", "21"], "--batch-size must be at most 20"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(PROGRAM, [*SMALL, *flags, "--out", str(tmp_path / "out")])
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1
