"""The language model: its texts, its arms, and what it leaves behind."""

import json
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from experiments import checkpoints, language, texts

SMALL = [
    "--steps", "4", "--batch-size", "4", "--length", "16", "--width", "8", "--layers", "1",
    "--seeds", "2", "--train-bytes", "2000", "--test-bytes", "200", "--capacity", "20",
    "--reptile-every", "2", "--checkpoint-every", "2",
]  # fmt: skip


def test_texts_are_real_and_of_different_files():
    domains = texts.load(50_000, 5_000)
    assert [domain.name for domain in domains] == ["Python", "C", "licences", "prose"]
    for domain in domains:
        assert domain.train.shape == (50_000,)
        assert domain.test.shape == (5_000,)
        assert bytes(domain.test[:200]) not in bytes(domain.train)
    words = [b"def ", b"#define ", b"Copyright", b"install"]
    counts = [[bytes(domain.train).count(word) for word in words] for domain in domains]
    for number, row in enumerate(np.transpose(counts)):
        assert row.argmax() == number, words[number]
    again = texts.load(50_000, 5_000)
    assert all((a.train == b.train).all() for a, b in zip(domains, again, strict=True))


def test_what_is_read_does_not_change_with_this_package():
    names = [package.name for package in texts.other_packages()]
    assert "numpy" in names
    assert "mer_jax" not in names
    assert metadata.version("mer_jax") == mer_jax.__version__  # though it is installed


def test_it_says_how_much_text_there_is():
    with pytest.raises(ValueError, match=r"this installation has \d+ bytes of Python"):
        texts.load(10**9, 10)


def test_a_run(tmp_path):
    language.main([*SMALL, "--out", str(tmp_path)])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["arms"]) == ["neither", "replay", "Reptile", "both"]
    for arm in metrics["arms"].values():
        losses = np.array(arm["losses"])
        assert losses.shape == (2, 5, 4)
        # Before anything is learned all bytes are about as likely, 8 bits each.
        assert abs(losses[:, 0] - 8).max() < 1
        assert (losses[:, -1] < losses[:, 0]).all()
        learned = [losses[:, number + 1, number] for number in range(4)]
        np.testing.assert_allclose(arm["learned_loss"]["mean"], np.mean(learned), atol=1e-3)
        np.testing.assert_allclose(arm["final_loss"]["mean"], losses[:, -1].mean(), atol=1e-3)
        risen = [losses[:, -1, number] - learned[number] for number in range(3)]
        np.testing.assert_allclose(arm["forgetting"]["mean"], np.mean(risen), atol=1e-3)
    starts = [arm["losses"][0][0] for arm in metrics["arms"].values()]
    assert starts[0] == starts[1] == starts[2] == starts[3]  # the same networks
    ends = [arm["losses"][0][-1] for arm in metrics["arms"].values()]
    assert len({tuple(end) for end in ends}) == 4
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "| both |" in (tmp_path / "table.md").read_text()


def test_stopped_in_the_middle_it_goes_on_with_the_same_bits(tmp_path, monkeypatch, capsys):
    def arms(name, *more):
        language.main([*SMALL, "--out", str(tmp_path / name), *more])
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert not (tmp_path / name / "checkpoints").exists()
        return {arm: {**result, "seconds": 0} for arm, result in metrics["arms"].items()}

    due = checkpoints.Checkpoints.due

    def due_once_stopped(kept, at):
        if kept.folder.name == "replay" and at == 6:  # in the middle of the second kind of text
            checkpoints.stop()
        return due(kept, at)

    monkeypatch.setattr(checkpoints.Checkpoints, "due", due_once_stopped)
    with pytest.raises(SystemExit) as stop:
        arms("stopped")
    assert stop.value.code == 130
    monkeypatch.undo()
    with pytest.raises(SystemExit) as stop:
        arms("stopped")
    assert "give --resume to go on with it" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        arms("stopped", "--resume", "--width", "16")
    assert "was made with other values of width" in capsys.readouterr().err
    assert arms("stopped", "--resume") == arms("whole")


def test_a_model_that_diverges_stops_the_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        language.main([*SMALL, "--learning-rate", "1e30", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "seed 0, seed 1: no longer finite after" in capsys.readouterr().err


def test_a_byte_sees_only_what_came_before_it():
    model = language.Transformer(8, 1)
    tokens = jnp.arange(12)
    params = model.init(jax.random.key(0), tokens)
    logits = model.apply(params, tokens)
    changed = model.apply(params, tokens.at[7].set(99))
    np.testing.assert_allclose(logits[:7], changed[:7], atol=1e-5)
    assert abs(logits[7:] - changed[7:]).max() > 1e-3


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--steps", "0"], "--steps must be a whole number"),
        (["--width", "10"], "--width must be a multiple of 4"),
        (["--replay-share", "2"], "--replay-share must be in"),
        (["--reptile-rate", "-1"], "--reptile-rate must be in"),
        (["--replay-share", "0.01"], "--replay-share must be 0 or at least"),
        (["--capacity", "1", "--replay-share", "0.5"], "--capacity must be at least"),
        (["--capacity", "2000000000"], "2 seeds needs"),
        (["--reptile-every", "2147483648"], "--reptile-every must be less than 2^31"),
        (["--length", "300"], "must be more than --length"),
        (["--train-bytes", "1000000000"], "bytes of Python"),
        (["--seed", "-1"], "--seed must be in"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be a whole number"),
    ],
)
def test_bad_flags_get_one_clear_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        language.main([*SMALL, "--out", str(tmp_path), *flags])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
