"""The machinery of the benchmark, without its measurements."""

import itertools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from experiments.bench import __main__ as bench
from experiments.bench import look_ahead, rows


def test_pairs_are_measured_in_turn():
    clock = itertools.count()
    names = "first", "second"
    found = rows.compared(3, "ratio", lambda: next(clock), lambda: next(clock), names, "s")
    assert [row.values for row in found[:2]] == [[0, 2, 4], [1, 3, 5]]
    assert rows.row("what", [3.0, 1.0, 2.0], "s").median == 2.0


def test_measures_a_step_of_both_kinds():
    network = mer_jax.networks.mlp((784, 10))
    assert rows.mer_seconds(2, 3, capacity=10, length=2, network=network)() > 0
    assert rows.batched_seconds(3, length=2, network=network)() > 0


def test_plays_as_many_frames_as_it_says():
    """Of a game that gives 1 for each: shared out among the devices, each game's sum."""
    pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
    env = mer_jax.rl.Catcher()
    env.step_env = lambda key, state, *_: (jnp.zeros(4), state, jnp.float32(1), False, {})
    played = rows.frames(env, env.default_params, num_games=8, length=7)()
    np.testing.assert_array_equal(np.ravel(played), [7] * 8)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--repeats", "0"], "--repeats must be a whole number of at least 1, got 0"),
        (["--compare", "{folder}/none"], "{folder}/none cannot be read: No such file"),
        (["--compare", "{folder}/list.json"], "{folder}/list.json is damaged: expected an object"),
        (["--compare", "{folder}/other.json"], "{folder}/other.json is damaged: rows: expected"),
        (["--compare", "{folder}/odd.json"], "{folder}/odd.json is damaged: rows[0].what: "),
        (["--out", "{folder}/list.json"], "cannot be made: File exists; choose another --out"),
        (["--compare", "a", "b"], "--compare takes one file, got 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line(args, says, tmp_path, capsys):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "odd.json").write_text('{"rows": [{"name": 1}]}')
    with pytest.raises(SystemExit) as stop:
        bench.main([arg.format(folder=tmp_path) for arg in args])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says.format(folder=tmp_path) in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("steps", "seconds", "status"), [(1.4, 9.0, 0), (1.6, 1.0, 1)], ids=["time", "ratio"]
)
def test_a_grown_ratio_ends_with_status_1(steps, seconds, status, tmp_path, monkeypatch, capsys):
    """Recorded were 1 and 1: only a ratio above 1.5 counts, however long anything takes."""

    def measured(ratio, time):
        return lambda *_: [
            lambda: [rows.row("a step over a share", [ratio], rows.RATIO)],
            lambda: [rows.row("a whole run", [time], "s")],
        ]

    monkeypatch.delenv("MER_JAX_DATA_DIR", raising=False)
    monkeypatch.setattr(bench, "parts", measured(1.0, 1.0))
    bench.main(["--out", str(tmp_path / "before")])
    monkeypatch.setattr(bench, "parts", measured(steps, seconds))
    recorded = tmp_path / "before" / "bench.json"
    args = ["--compare", str(recorded), "--out", str(tmp_path / "after")]
    capsys.readouterr()
    if status:
        with pytest.raises(SystemExit) as stop:
            bench.main(args)
        assert stop.value.code == status
    else:
        bench.main(args)
    said = capsys.readouterr().out
    assert "Recorded" in said
    told = "a step over a share: 1.6, more than 1.5 times the recorded 1" in said
    assert told is bool(status)
    after = json.loads((tmp_path / "after" / "bench.json").read_text())
    assert [row["median"] for row in after["rows"]] == [steps, seconds]


def test_what_is_recorded_can_be_compared_with():
    known = bench.recorded(bench.RECORDED)
    assert any(one.unit == rows.RATIO for one in known.values())
    assert not bench.grown(list(known.values()), known)
    slower = [one._replace(median=2 * one.median) for one in known.values()]
    assert {one.unit for one, _ in bench.grown(slower, known)} == {rows.RATIO}


def test_ratios_are_taken_pair_by_pair():
    first, second = iter([2.0, 9.0, 8.0]), iter([1.0, 3.0, 2.0])
    (ratio,) = rows.compared(3, "a over b", first.__next__, second.__next__)
    assert ratio.values == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("unit", "value"), [("s", 0.5), ("µs", 5e5), ("thousand/s", 0.002), ("million/s", 2e-6)]
)
def test_seconds_are_shown_in_units(unit, value):
    assert rows.row("half a second", [0.5], unit).median == pytest.approx(value)


def test_its_rows_are_the_recorded_ones(tmp_path, monkeypatch):
    """By their names, with programs that do nothing."""

    def program(*args, **how):
        return 1.0, 1.0

    compiled = types.SimpleNamespace(lower=lambda *args: compiled, compile=lambda: None)
    for name, value in (
        ("timed", lambda *args, **how: lambda: 1.0), ("program", program),
        ("mer_seconds", lambda *args, **how: lambda: 1.0),
        ("batched_seconds", lambda *args: lambda: 1.0),
        ("mer_stream", lambda *args: (compiled, None, None)), ("frames", lambda *args: None),
    ):  # fmt: skip
        monkeypatch.setattr(rows, name, value)
    monkeypatch.setattr(look_ahead, "timed", rows.timed)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    small, part = rows.batch(2), types.SimpleNamespace(advance=program, start=program)
    part.network = program
    monkeypatch.setattr(rows, "batch", lambda *shape: small)
    monkeypatch.setattr(rows, "problem", lambda *args: part)
    monkeypatch.setattr(rows, "NETWORK", mer_jax.networks.mlp((784, 10)))
    found = [row.what for part in rows.parts(1, True, tmp_path) for row in part()]
    assert found == list(bench.recorded(bench.RECORDED))
