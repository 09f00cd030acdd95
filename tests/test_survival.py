"""The program that kills runs: what it compares, and what it is given."""

import pytest

from experiments import survival


def test_what_may_differ_is_left_out_at_any_depth():
    metrics = {"a": 1, "seconds": 2, "b": [{"seconds": 3, "c": {"out": 4, "d": 5}}, 6]}
    assert survival.without(metrics, survival.VARYING) == {"a": 1, "b": [{"c": {"d": 5}}, 6]}


def test_bad_input_gets_one_clear_line(tmp_path, capsys):
    for args, says in (
        (["--kills", "0", "--out", str(tmp_path / "new")], "--kills must be a whole number"),
        (["--out", str(tmp_path)], "is there already; delete it or name another"),
    ):
        with pytest.raises(SystemExit) as stop:
            survival.main(args)
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def test_a_run_is_killed_or_was_done_before(tmp_path, monkeypatch):
    monkeypatch.setitem(survival.RUNS, "supervised", "--help")
    assert survival.kill("supervised", tmp_path, after=0.0)
    assert not survival.kill("supervised", tmp_path, after=120.0)
    monkeypatch.setitem(survival.RUNS, "supervised", "--capacity many")
    with pytest.raises(ValueError, match="ended with status 2"):
        survival.ended("supervised", tmp_path)
