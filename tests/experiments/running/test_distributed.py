"""Agreement of processes, their end, and their resume."""

import os
import signal
import time

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from experiments.running import distributed
from experiments.running.options import Distributed
from tests.experiments.conftest import any_port
from tests.experiments.running.test_loop import LONG, folder, measured, program, run


@pytest.fixture
def other(monkeypatch):
    """Gives what another process has: a function that puts its values beside one's own."""
    told = []

    def gather(mine):
        return np.stack([mine, told.pop(0) if told else mine])

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    return told


def digests(monkeypatch, values):
    sent = []
    with monkeypatch.context() as patch:
        patch.setattr(multihost_utils, "process_allgather", lambda x: sent.append(x) or x[None])
        distributed.agree(values, "flags")
    return sent


def test_processes_agree_on_every_value_or_name_those_that_differ(other, monkeypatch):
    mine = {"--alpha": [0.1], "--seeds": 4, "--out": "a"}
    distributed.agree(mine, "flags")
    other += digests(monkeypatch, mine | {"--seeds": 5, "--alpha": [0.3]})
    with pytest.raises(ValueError, match=r"processes have different flags: --alpha, --seeds$"):
        distributed.agree(mine, "flags")
    other[:] = digests(monkeypatch, mine | {"--colour": "red"})[:1]
    with pytest.raises(ValueError, match=r"different flags: programs or versions$"):
        distributed.agree(mine, "flags")


def test_one_process_that_stops_stops_all(other):
    assert distributed.any_of(False, True) == [False, True]
    other.append(np.array([True, False]))
    assert distributed.any_of(False, False) == [True, False]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="processes share one accelerator")
def test_one_of_two_is_killed_and_one_alone_goes_on(tmp_path):
    """The other one ends within half a minute and names it, and the bits are those of one.

    Two pairs run side by side, since most of the time is waiting. Each loses another process.
    """
    pairs = [pair_of_processes(tmp_path / str(victim)) for victim in (0, 1)]
    killed = []
    for victim, pair in enumerate(pairs):
        while not list(folder(tmp_path / str(victim)).glob("one-0/[0-9]*0")):
            assert all(one.poll() is None for one in pair)
            time.sleep(0.05)
        os.kill(pair[victim].pid, signal.SIGKILL)
        killed.append(time.monotonic())
    whole = measured(run(tmp_path / "whole", *LONG))
    for victim, pair in enumerate(pairs):
        said = pair[1 - victim].communicate(timeout=60)[1]
        assert time.monotonic() - killed[victim] < 30
        assert pair[1 - victim].returncode == 2
        assert f"error: process {victim} " in said
        assert "has ended; resume with --resume" in said
        assert len(said.splitlines()) == 1
        assert measured(run(tmp_path / str(victim), *LONG, "--resume")) == whole


def pair_of_processes(out):
    flags = ["--distributed", "--coordinator", f"127.0.0.1:{any_port()}", "--num-processes", "2"]
    return [program(out, *flags, "--process-id", str(number), stderr=True) for number in (0, 1)]


def test_the_reason_of_an_end():
    config = Distributed(
        distributed=True, coordinator="here:1", num_processes=3, process_id=0, wait_seconds=5
    )
    before = distributed._lost("F1128 DEADLINE_EXCEEDED", -signal.SIGABRT, config)
    assert before.startswith("not all 3 processes joined at here:1 in 5 s; ")
    joined = f"{distributed._JOINED}\n"
    silent = f"{joined}E1128 tasks are unhealthy (stopped sending heartbeats):\n1\n2\nThe tasks"
    assert distributed._lost(silent, -6, config).startswith("process 1, 2 has ended; ")
    assert distributed._lost(joined, -6, config).startswith("process 0 (here:1) has ended; ")
    cluster = Distributed(distributed=True)
    assert "not all the processes joined at the cluster's" in distributed._lost("", -6, cluster)
