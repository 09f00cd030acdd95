"""The program for language: its arms, its results, its resume and its checks of flags."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language import __main__ as study
from experiments.language.__main__ import (
    ARMS,
    PROGRAM,
    Training,
    Transformer,
    measure,
    problem,
)
from experiments.running import interrupt, record
from experiments.running.checkpoints import Checkpoints
from experiments.running.problem import Own
from experiments.running.program import main

pytestmark = pytest.mark.usefixtures("quick_keys")

SMALL = [
    "--steps", "4", "--batch-size", "4", "--length", "16", "--width", "8", "--layers", "1",
    "--seeds", "2", "--train-bytes", "2000", "--test-bytes", "200", "--capacity", "20",
    "--reptile-every", "2", "--checkpoint-every", "2",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_arm():
    """The others compile as long. `test_arms_differ` traces all four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "ARMS", {"both": ARMS["both"]})
        yield


def test_a_run_and_its_resume(tmp_path, monkeypatch):
    """The second run is stopped within the second kind of text, and then has the same bits."""
    out, again = tmp_path / "whole", tmp_path / "again"
    main(PROGRAM, [*SMALL, "--out", str(out)])
    known = record.load(out / "metrics.json")
    (both,) = known.results
    losses = both.array("losses")
    assert losses.shape == (2, 5, 4)
    # Before anything is learned all bytes are about as likely, 8 bits each.
    assert abs(losses[:, 0].mean(-1) - 8).max() < 1  # over the kinds of text
    assert (losses[:, -1] < losses[:, 0]).all()
    assert [domain["name"] for domain in known.about["domains"]][:2] == ["Python", "C"]
    assert (out / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert f"| both | {both.spread('learned_loss').text(3)} |" in (out / "table.md").read_text()
    due = Checkpoints.due

    def stopping(store, place):
        if place == 6:
            interrupt.stop()
        return due(store, place)

    flags = [*SMALL, "--out", str(again)]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", stopping)
        with pytest.raises(SystemExit) as stop:
            main(PROGRAM, flags)
    assert stop.value.code == 130
    main(PROGRAM, [*flags, "--resume"])
    assert record.load(again / "metrics.json").results[0].per_seed == both.per_seed


def test_metrics_by_hand():
    """Two tasks: 3 and 2 when learned, 5 and 2 at the end."""
    losses = np.array([[[8, 8], [3, 7], [5, 2]]], np.float32)
    found = measure({"loss": losses}, [], None)
    assert found["learned_loss"] == [2.5]
    assert found["final_loss"] == [3.5]
    assert found["forgetting"] == [2]
    assert found["losses"] == losses.tolist()


def test_arms_differ():
    """Replay and Reptile are each in the programs of two of the four arms."""
    assert list(ARMS) == ["neither", "replay", "Reptile", "both"]
    how = Training(steps=4, batch_size=4, length=8, width=4, layers=1, capacity=20)
    own, shared = Own(np.uint32(0), {}), (np.zeros((4, 99), np.uint8),) * 2
    programs, sizes = [], []
    for parts in ARMS.values():
        part = problem(how, *parts, 4)
        params = jax.eval_shape(part.network, own.seed)
        state = jax.eval_shape(part.start, params, own, shared)
        sizes.append(len(jax.tree.leaves(state)))
        programs.append(str(jax.make_jaxpr(part.advance)(state, own, shared, np.int32(0))))
    assert len({problem(how, *parts, 4).network for parts in ARMS.values()}) == 1
    assert len(set(programs)) == 4
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]  # Reptile remembers where it began


def test_a_byte_sees_only_earlier_bytes():
    model = Transformer(8, 1)
    tokens = jnp.arange(12)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
    rng, apply = np.random.default_rng(0), jax.jit(model.apply)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    logits, changed = apply(params, tokens), apply(params, tokens.at[7].set(99))
    np.testing.assert_allclose(logits[:7], changed[:7], atol=1e-5)
    assert abs(logits[7:] - changed[7:]).max() > 1e-3


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--steps", "0"], "--steps must be a whole number"),
        (["--width", "10"], "--width must be a multiple of 4"),
        (["--replay-share", "2"], "--replay-share must be a number from 0 to 1"),
        (["--reptile-rate", "-1"], "--reptile-rate must be a number from 0 to 1"),
        (["--learning-rate", "-1"], "--learning-rate must be a finite number"),
        (["--replay-share", "0.01"], "--replay-share must be 0 or at least 0.25, got 0.01"),
        (["--capacity", "1", "--replay-share", "0.5"], "--capacity must be at least 2"),
        (["--capacity", "2000000000"], "one run of both needs"),
        (["--reptile-every", "2147483648"], "--reptile-every must be less than 2^31"),
        (["--length", "300"], "must be more than --length"),
        (["--train-bytes", "1000000000"], "bytes of Python"),
        (["--seed", "-1"], "--seed must be in"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be a whole number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_get_one_clear_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(PROGRAM, [*SMALL, "--out", str(tmp_path / "out"), *flags])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
