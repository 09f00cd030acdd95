"""Jobs side by side."""

import threading
import time

import jax
import pytest

from experiments.running import devices, interrupt, pool, progress


@pytest.fixture
def two_places(monkeypatch):
    monkeypatch.setattr(devices, "places", lambda num_jobs: 2 * [(jax.devices()[0],)])


def test_programs_share_the_cores(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: ["a", "b", "c", "d", "e"])
    assert devices.places(2) == [("a", "b", "c"), ("d", "e")]
    assert devices.places(9) == [("a",), ("b",), ("c",), ("d",), ("e",)]


def test_jobs_run_side_by_side(two_places, capsys):
    both = threading.Barrier(2)

    def job(bars):
        both.wait(timeout=60)  # is broken unless another job comes here too
        return "[done] 1"

    pool.run([job] * 4, progress.console())
    pool.run([], progress.console())
    assert not both.broken
    assert capsys.readouterr().out.count("[done] 1\n") == 4


def test_a_job_that_fails_stops_the_others(two_places):
    began = []

    def fails(bars):
        raise ValueError("no such file")

    def waits(bars):
        began.append(1)
        while not interrupt.asked_to_stop():
            time.sleep(0.01)
        return "stopped"

    with interrupt.interruptible(print), pytest.raises(ValueError, match="no such file"):
        pool.run([waits, fails, *[waits] * 20], progress.console())
    assert len(began) <= 2


def test_a_bar_that_is_not_kept_goes_with_its_own_work_alone():
    """The first is full, but is updated once more after the second has gone."""

    def full_bar(name, between):
        def steps():
            yield 1
            between()
            yield 1

        progress.follow(bars, name, 1, steps(), lambda completed: (completed, ""))

    with progress.display(progress.console(), keep=False) as bars:
        full_bar("first", lambda: full_bar("second", lambda: None))
        assert bars.tasks == []
