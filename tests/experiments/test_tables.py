"""The tables' program: cells that are kept and go on, and what is drawn of them."""

import json
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from experiments import (
    accuracy_tables,
    alignment_table,
    bars,
    cells,
    checkpoints,
    devices,
    methods,
    output,
    plots,
    published,
    sweeps,
    tables,
    transfer,
)
from experiments.cells import Cell
from mer_jax.data.benchmarks import BENCHMARKS

SMALL = [
    "--dataset", "digits", "--tasks", "2", "--examples-per-task", "20", "--test-images", "50"
]  # fmt: skip
HOW = {"dataset": "digits", "tasks": 2, "examples_per_task": 20, "test_images": 50}


def run(*args):
    tables.main([*map(str, args), *SMALL])


def test_a_cell_goes_on_where_it_was_and_a_finished_one_is_left_alone(tmp_path):
    run("--cells", "rotations/online", "--seeds", 1, "--out", tmp_path)
    path = tmp_path / "cells/rotations/online.json"
    first = json.loads(path.read_text())
    assert first["seeds"] == [0]
    run("--cells", "rotations/online", "--seeds", 3, "--out", tmp_path)
    second = json.loads(path.read_text())
    assert second["seeds"] == [0, 1, 2]
    was, now = first["entries"]["online"], second["entries"]["online"]
    assert now["accuracy_matrix"][0] == was["accuracy_matrix"][0]
    assert now["retained_accuracy"]["per_seed"] == pytest.approx(
        [np.mean(R[-1]) for R in now["accuracy_matrix"]], abs=0.01
    )
    assert now["seconds"] > was["seconds"]
    written = path.stat().st_mtime_ns
    run("--cells", "rotations/online", "--seeds", 3, "--out", tmp_path)
    assert path.stat().st_mtime_ns == written
    assert second["command"] == (
        "python -m experiments.supervised --dataset digits --method online --tasks 2 "
        "--examples-per-task 20 --test-images 50"
    )
    assert now["examples_per_task"] == [20, 20]
    table = (tmp_path / "retained-accuracy.md").read_text()
    assert "(46.40 ± 0.78)" in table
    drawn = json.loads((tmp_path / "retained-accuracy.json").read_text())["rotations/online"]
    assert drawn["retained_accuracy"] == now["retained_accuracy"]
    assert drawn["published"] == [46.4, 0.78]
    assert (tmp_path / "retained-accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_cell_made_otherwise_is_not_gone_on_with(tmp_path, capsys, monkeypatch):
    run("--cells", "rotations/online", "--seeds", 1, "--out", tmp_path)
    with monkeypatch.context() as patched:
        patched.setitem(methods.PUBLISHED["online"]["rotations"], None, {"alpha": 0.5})
        with pytest.raises(SystemExit):
            run("--cells", "rotations/online", "--seeds", 2, "--out", tmp_path)
    assert "was made with other values of alpha; delete it" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        tables.main([
            "--cells", "rotations/online", "--seeds", "2", "--out", str(tmp_path), *SMALL[:-1], "60"
        ])  # fmt: skip
    assert stop.value.code == 2
    assert "was made with other values of test_images" in capsys.readouterr().err


def test_stopped_within_a_seed_a_cell_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    due, cell = checkpoints.Checkpoints.due, ["--cells", "rotations/mer-200", "--seeds", 2]

    def due_once_stopped(kept, at):
        checkpoints.stop()
        return due(kept, at)

    run(*cell, "--out", tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.Checkpoints, "due", due_once_stopped)
        with pytest.raises(SystemExit) as stop:
            run(*cell, "--out", tmp_path / "parts")
    assert stop.value.code == 130
    begun = tmp_path / "parts/cells/rotations/mer-200"
    assert [path.name for path in begun.glob("seed-0/checkpoints/mer-0/*")] == ["20"]
    run(*cell, "--out", tmp_path / "parts")
    assert not begun.exists()
    whole, parts = (
        json.loads((tmp_path / name / "cells/rotations/mer-200.json").read_text())["entries"]["mer"]
        for name in ("whole", "parts")
    )
    for name in ("params_checksums", "accuracy_matrix"):
        assert parts[name] == whole[name]


def test_other_images_do_not_come_into_the_same_cell(tmp_path, capsys):
    run("--cells", "rotations/online", "--seeds", 1, "--out", tmp_path)
    path = tmp_path / "cells/rotations/online.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"data_checksum": "of others"}))
    with pytest.raises(SystemExit):
        run("--cells", "rotations/online", "--seeds", 2, "--out", tmp_path)
    assert "was made with other values of data_checksum" in capsys.readouterr().err


def test_seeds_are_kept_in_order_whichever_is_done_first(tmp_path):
    """And those of one job, all at once, are the same."""
    cell, how = Cell("rotations", "online"), HOW | {"seeds": 2}
    first, second = cell.jobs(how, tmp_path / "apart", 1)
    (both,) = cell.jobs(how, tmp_path / "together", None)
    with bars.display(Console(quiet=True)) as shown:
        second(shown)
        assert cells.load(cell, tmp_path / "apart") is None
        first(shown)
        both(shown)
    apart, together = (cells.load(cell, tmp_path / name) for name in ("apart", "together"))
    assert apart["seeds"] == together["seeds"] == [0, 1]
    ours, theirs = (kept["entries"]["online"] for kept in (apart, together))
    assert ours["accuracy_matrix"] == theirs["accuracy_matrix"]
    assert ours["params_checksums"] == theirs["params_checksums"]
    assert [path.name for path in (tmp_path / "apart/rotations").iterdir()] == ["online.json"]
    assert cell.jobs(how, tmp_path / "apart", 1) == []


def test_programs_share_the_cores(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: ["a", "b", "c", "d", "e"])
    assert devices.places(2) == [("a", "b", "c"), ("d", "e")]
    assert devices.places(9) == [("a",), ("b",), ("c",), ("d",), ("e",)]


def test_jobs_are_done_side_by_side(monkeypatch):
    monkeypatch.setattr(devices, "places", lambda num_programs: 2 * [(jax.devices()[0],)])
    both = threading.Barrier(2)

    def job(shown):
        both.wait(timeout=60)  # is broken unless another job comes here too
        return "done"

    tables.run([job] * 4, Console(quiet=True))
    assert not both.broken


def test_a_bar_that_is_not_kept_goes_with_its_own_work_alone():
    """The first is full, but told of once more after the second has gone."""

    def full_bars(name, between):
        def steps():
            yield 1
            between()
            yield 1

        bars.follow(shown, name, 1, steps(), lambda completed: (completed, ""))

    with bars.display(Console(quiet=True), keep=False) as shown:
        full_bars("first", lambda: full_bars("second", lambda: None))
        assert shown.tasks == []


def test_a_job_that_fails_ends_the_others(monkeypatch):
    monkeypatch.setattr(devices, "places", lambda num_programs: 2 * [(jax.devices()[0],)])
    began = []

    def fails(shown):
        raise ValueError("no such file")

    def waits(shown):
        began.append(1)
        while not checkpoints.asked_to_stop():
            time.sleep(0.01)
        return "stopped"

    with checkpoints.interruptible(print), pytest.raises(ValueError, match="no such file"):
        tables.run([waits, fails, *[waits] * 20], Console(quiet=True))
    assert len(began) <= 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"entries": 3, "x": 1', "{}"])
def test_a_damaged_cell_says_so(tmp_path, content):
    cell = Cell("rotations", "online")
    (tmp_path / "rotations").mkdir()
    (tmp_path / "rotations/online.json").write_text(content)
    with pytest.raises(ValueError, match=r"online\.json is damaged"):
        cells.load(cell, tmp_path)


def test_alignment_is_watched_and_drawn(tmp_path, capsys):
    run("alignment", "--cells", "rotations/er-5120", "--seeds", 2, "--seed-batch", 1,
        "--out", tmp_path)  # fmt: skip
    told = json.loads((tmp_path / "alignment.json").read_text())["rotations/er-5120"]
    assert len(told["mean_dot"]["per_seed"]) == 2
    assert np.shape(told["by_task"]["same"]["cosine"]) == (2, 2, 5)
    assert told["by_task"]["other"]["cosine"][0][0] is None  # there was no other task yet
    assert "-0.569 ± 0.077" in (tmp_path / "alignment.md").read_text()
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")
    path = tmp_path / "cells/rotations/er-5120.json"
    path.write_text(path.read_text().replace("mean_dot_after", "unknown"))
    with pytest.raises(SystemExit):
        run("alignment", "--only-draw", "--out", tmp_path)
    assert "delete it to run it again" in capsys.readouterr().err


def test_ablation_is_one_sweep_over_rates_and_a_program_for_sizes(tmp_path):
    name = "ablation/rotations/mer-500-num_batches-1-batch_size-2"
    run("ablation", "--cells", "ablation/rotations/mer-500-beta-gamma", name, "--seeds", 1,
        "--out", tmp_path)  # fmt: skip
    drawn = json.loads((tmp_path / "ablation.json").read_text())
    swept = drawn["ablation/rotations/mer-500-beta-gamma"]["results"]
    pairs = {(entry["settings"]["beta"], entry["settings"]["gamma"]) for entry in swept}
    assert len(pairs) == len(swept) == 18
    assert drawn[name]["results"][0]["settings"]["batch_size"] == 2
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_tried_out_may_diverge_and_what_is_published_may_not(tmp_path):
    how = HOW | {"seeds": 1, "checkpoint_every": 20}  # where runs are looked at
    tried = Cell("rotations", "online", changed=(("alpha", (1e30,)),))
    (job,) = tried.jobs(how, tmp_path, 1)
    with bars.display(Console(quiet=True)) as shown:
        job(shown)
    (entry,) = cells.load(tried, tmp_path)["entries"].values()
    assert entry["retained_accuracy"]["mean"] is None
    chosen = Cell("rotations", "task-input")
    (job,) = chosen.jobs(how | {"alpha": (1e30,)}, tmp_path, 1)
    with bars.display(Console(quiet=True)) as shown:
        assert job(shown).startswith("rotations/task-input, seed 0: nan % retained")
    (job,) = Cell("rotations", "online").jobs(how | {"alpha": (1e30,)}, tmp_path, 1)
    with bars.display(Console(quiet=True)) as shown, pytest.raises(ValueError, match="no longer"):
        job(shown)


def test_a_sweep_marks_what_retained_most(tmp_path):
    name = "sweeps/rotations/task-input-alpha"
    run("sweeps", "--cells", name, "--out", tmp_path)
    drawn = json.loads((tmp_path / "sweeps.json").read_text())[name]
    assert "--tasks 2 " in drawn["command"]  # what is given comes before the sweep's own half
    assert "--seed 100 --" in drawn["command"]
    best = sweeps.best(drawn["results"])
    assert best["retained_accuracy"]["mean"] == max(
        result["retained_accuracy"]["mean"] for result in drawn["results"]
    )
    bold = [line for line in (tmp_path / "sweeps.md").read_text().splitlines() if "**" in line]
    assert len(drawn["results"]) == 5
    assert len(bold) == 1
    assert f"**alpha {best['settings']['alpha']:g}**" in bold[0]
    assert len(best["retained_accuracy"]["per_seed"]) == 2
    assert (tmp_path / "sweeps.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_have_every_published_cell():
    have = {cell[:3] for cell in accuracy_tables.cells()}
    for (method, capacity), row in published.RETAINED_ACCURACY.items():
        assert {(name, method, capacity) for name in row if name in BENCHMARKS} <= have
    assert {(cell.benchmark, cell.method) for cell in alignment_table.cells()} == {
        (benchmark, method) for benchmark in BENCHMARKS for method in published.ALIGNMENT
    }


def test_distribution_of_dot_products_by_hand():
    """Two tasks of two examples: the first pair is unknown, then same, other, same."""
    dot = np.array([[[np.nan, 2.0], [-1.0, 4.0]]])
    told = transfer.summary(
        transfer.Watched(dot, dot / 10, -dot, np.array([[[True, True], [False, True]]]))
    )
    assert told["mean_dot"]["mean"] == pytest.approx(5 / 3)
    assert told["mean_dot_after"]["mean"] == pytest.approx(-5 / 3)
    assert told["below_zero"]["mean"] == pytest.approx(100 / 3)
    same, other = told["by_task"]["same"], told["by_task"]["other"]
    assert same["dot"] == [[[2.0] * 5, [4.0] * 5]]
    assert other["dot"] == [[None, [-1.0] * 5]]
    assert other["below_zero"] == [[None, 100.0]]
    joined = transfer.join(told, told)
    assert joined["mean_dot"]["per_seed"] == [pytest.approx(5 / 3)] * 2
    assert len(joined["by_task"]["same"]["dot"]) == 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["accuracy"], "invalid choice"),
        (["--seeds", "0"], "--seeds must be a whole number"),
        (["--seed-batch", "0"], "--seed-batch must be a whole number"),
        (["--cells", "rotations/sgd"], "--cells: retained-accuracy has no rotations/sgd; it has"),
        (["ablation", "--cells", "rotations/mer-200"], "ablation has no rotations/mer-200"),
        (["--only-draw", "--out", "{empty}"], "holds none of the table's cells yet"),
        (["--cells", "rotations/online", "--data-dir", "{empty}"], "mnist.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line(args, says, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    args = [arg.format(empty=tmp_path / "empty") for arg in args]
    out = [] if "--out" in args else ["--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        tables.main([*args, *out])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


def test_bars_of_methods_side_by_side(tmp_path):
    bars = [
        plots.Bar("MER 200", 76.0, 1.0, 77.0, True),
        plots.Bar("Online", 46.0, 1.0, None, False),
    ]
    plots.bars(tmp_path / "bars.png", {"Rotations": bars, "Permutations": bars[:1]}, "title")
    with Image.open(tmp_path / "bars.png") as picture:
        assert picture.width > 2 * picture.height


def test_bars_with_long_names_stand_one_above_the_other(tmp_path):
    bars = [plots.Bar("a method and its many settings " * 4, 76.0, 1.0, None, True)]
    plots.bars(tmp_path / "bars.png", dict.fromkeys(("one", "two", "three"), bars), "title")
    with Image.open(tmp_path / "bars.png") as picture:
        assert picture.width < plots.WIDEST * 150 / 2


def test_a_single_seed_has_no_spread():
    assert output.cell(output.spread(np.array([63.66]))) == "63.66"
    assert output.cell(output.spread(np.array([1.0, 3.0]))) == "2.00 ± 1.41"
    assert output.cell(output.spread(np.array([1.0, np.nan]))) == "1 of 2 diverged"
    assert output.cell(output.spread(np.array([np.nan, np.nan]))) == "diverged"


def test_what_nobody_chose_must_be_given():
    with pytest.raises(ValueError, match="nothing was published of agem on clocks: give --alpha"):
        methods.choose("agem", "clocks", 500, {"sample_size": 10})
    assert methods.choose("agem", "clocks", 500, {"sample_size": 10, "alpha": 0.1})


def test_what_was_chosen_is_the_best_of_the_sweeps():
    """Of each method and benchmark that has been swept, with the memories that come nearest."""
    recorded = Path(sweeps.__file__).parent / "results/sweeps.json"
    tried = {}
    for name, cell in json.loads(recorded.read_text()).items():
        swept = next(swept for swept in sweeps.cells() if str(swept) == name)
        sizes = tried.setdefault((swept.method, swept.benchmark), {})
        sizes.setdefault(swept.capacity or 0, []).extend(cell["results"])
    chosen = {
        (method, benchmark): rows
        for method, of_benchmarks in methods.CHOSEN.items()
        for benchmark, rows in of_benchmarks.items()
    }
    assert chosen.keys() == tried.keys()
    for swept, sizes in tried.items():
        for capacity, settings in chosen[swept].items():
            nearest = min(sizes, key=lambda size: abs(size - (capacity or 0)))
            best = {**sweeps.best(sizes[nearest])["settings"]}
            best.pop("capacity", None)
            assert settings == best, (swept, capacity)
