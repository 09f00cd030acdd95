"""Cells on the toy problem: seeds that are added, refused, stopped and joined."""

import contextlib

import jax
import pytest

from experiments.running import batches, interrupt, progress, record
from experiments.running.checkpoints import Checkpoints
from experiments.tables import cells
from experiments.tables.cells import Cell, jobs, load
from tests.experiments import toy

CELL = Cell("toys/one", toy.PROGRAM, {"tasks": 2, "seed": 4}, ("Toy", "One", ""))


def learn(folder, seeds, cell=CELL, at_once=1, order=1, **given):
    """Runs a cell's jobs, and returns its record and their lines without the time."""
    with progress.display(progress.console()) as bars:
        said = [
            job(bars) for job in jobs(cell, {"seeds": seeds, **given}, folder, at_once)[::order]
        ]
    return load(folder / "cells" / cell.name), [
        line.removesuffix(" s").rstrip("0123456789").removesuffix(", ") for line in said
    ]


def measured(known):
    return [result.per_seed for result in known.results]


def test_seeds_are_added_to_those_that_are_known(tmp_path):
    first, said = learn(tmp_path, 1)
    assert said == [f"toys/one, seed 4: {first.results[0].spread('final_error').text()}"]
    second, said = learn(tmp_path, 3, data_dir=tmp_path)  # which the toy does not read
    assert [line[:16] for line in said] == ["toys/one, seed 5", "toys/one, seed 6"]
    assert first.seeds == [4]
    assert second.seeds == second.about["seeds"] == [4, 5, 6]
    assert measured(second)[0]["errors"][:1] == measured(first)[0]["errors"]
    assert second.about["command"] == "python -m tests.experiments.toy --seeds 3 --seed 4 --tasks 2"
    assert second.about["config"]["seeds"] == 3
    assert "caption" not in second.about  # which is of a part
    assert second.about["devices"]
    folder = tmp_path / "cells/toys/one"
    assert sorted(path.name for path in folder.iterdir()) == ["left.txt", "metrics.json"]
    assert (folder / "left.txt").read_text().startswith("4 ")  # of the first seed alone
    written = (folder / "metrics.json").stat().st_mtime_ns
    assert learn(tmp_path, 3)[1] == []
    assert (folder / "metrics.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(("at_once", "order"), [(1, -1), (2, 1), (None, 1)])
def test_parts_give_what_all_seeds_at_once_give(at_once, order, tmp_path):
    """Whichever part is finished first."""
    sweep = Cell("sweep", toy.PROGRAM, {"alpha": (0.5, 0.1), "tasks": 2}, ("Toy", "One", ""))
    known, said = learn(tmp_path, 3, sweep, at_once, order)
    (tmp_path / "whole").mkdir()
    whole = toy.PROGRAM.study(toy.Config(seeds=3, tasks=2, alpha=(0.5, 0.1)), print)
    with progress.display(progress.console()) as bars:
        at_once = batches.run(whole, toy.Config(out=tmp_path / "whole"), bars, draws=False)
    assert known.seeds == [0, 1, 2]
    assert measured(known) == measured(at_once)
    assert said[0].split(": ")[1] == "2 settings"


def test_what_was_made_otherwise_is_refused(tmp_path, monkeypatch):
    known, _ = learn(tmp_path, 1)
    path = tmp_path / "cells/toys/one/metrics.json"
    with pytest.raises(
        ValueError, match=r"one was made with other values of --length \(20 there, 40"
    ):
        learn(tmp_path, 1, length=40)
    with pytest.raises(ValueError, match=r"other values of --seed \(4 there, 3 here\); choose"):
        learn(tmp_path, 2, seed=3)
    jax.config.update("jax_random_seed_offset", 3)  # as JAX_RANDOM_SEED_OFFSET does
    try:
        with pytest.raises(ValueError, match=r"other values of jax_random_seed_offset \(0 there"):
            learn(tmp_path, 2)
    finally:
        jax.config.update("jax_random_seed_offset", 0)
    record.Record(known.about | {"kind": "others"}, known.metrics, known.results).write(path)
    with pytest.raises(ValueError, match=r"other values of kind \(others there, toy here\);"):
        learn(tmp_path, 2)
    known.results[0].settings["alpha"] = 0.1
    known.write(path)
    with pytest.raises(ValueError, match=r"other values of alpha \(0.1 there, 0.5 here\);"):
        learn(tmp_path, 2)


def test_a_cell_with_other_seeds_or_results_is_refused(tmp_path):
    known, _ = learn(tmp_path, 2)
    path, (one,) = tmp_path / "cells/toys/one/metrics.json", known.results
    known._replace(results=[one, one]).write(path)
    with pytest.raises(ValueError, match=r"json: expected 1 results, got 2; delete it"):
        learn(tmp_path, 3)
    one.per_seed["seed"] = [4, 6]
    known.write(path)
    with pytest.raises(ValueError, match=r"json: expected seeds 4 to 5, got \[4, 6\] of one;"):
        learn(tmp_path, 3)


def test_a_finished_part_is_not_learned_again(tmp_path, monkeypatch):
    """The second of two parts was finished before the program stopped. It may not be of others."""
    with progress.display(progress.console()) as bars:
        jobs(CELL, {"seeds": 2}, tmp_path, 1)[1](bars)
    part = tmp_path / "cells/toys/one/seed-5"
    assert load(part).seeds == [5]
    with monkeypatch.context() as patch:
        patch.setitem(CELL.flags, "length", 40)
        with pytest.raises(ValueError, match="seed-5 was made with other values of --length"):
            learn(tmp_path, 2)
        (tmp_path / "cells/toys/one/metrics.json").unlink()
    learned = []
    run = batches.run
    monkeypatch.setattr(
        batches, "run", lambda s, *more, **how: learned.append(s) or run(s, *more, **how)
    )
    known, said = learn(tmp_path, 2)
    assert known.seeds == [4, 5]
    assert said[1] == "toys/one, seed 5: finished"
    assert [study.seeds for study in learned] == [[4]]
    assert not part.exists()


@pytest.mark.parametrize(("at_once", "first", "parts"), [(2, 0, "4|5 6"), (None, 1, "4|5|6")])
def test_finished_parts_of_another_size_are_joined(tmp_path, monkeypatch, at_once, first, parts):
    """A part of one seed was finished, and the program was killed before it was joined."""
    whole, _ = learn(tmp_path / "whole", 3)
    with monkeypatch.context() as patch, progress.display(progress.console()) as bars:
        patch.setattr(cells, "join", lambda *given: None)
        jobs(CELL, {"seeds": 3}, tmp_path, 1)[first](bars)
    known, said = learn(tmp_path, 3, at_once=at_once, order=-1)
    assert measured(known) == measured(whole)
    found = [line.split(":")[0].removeprefix("toys/one, seed ") for line in said]
    assert "|".join(reversed(found)) == parts
    assert not list((tmp_path / "cells/toys/one").glob("seed-*"))


def test_stopped_within_a_seed_it_resumes_with_the_same_bits(tmp_path, monkeypatch):
    whole, _ = learn(tmp_path / "whole", 2)
    due = Checkpoints.due

    def due_once_stopped(store, at):
        interrupt.stop()
        return due(store, at)

    with monkeypatch.context() as patch, interrupt.interruptible(print):
        patch.setattr(Checkpoints, "due", due_once_stopped)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / "parts", 2)
    begun = tmp_path / "parts/cells/toys/one/seed-4"
    assert [path.name for path in begun.glob("checkpoints/one-0/*")] == ["10"]
    known, _ = learn(tmp_path / "parts", 2)
    assert measured(known) == measured(whole)
    assert not begun.exists()


@pytest.mark.parametrize("may_diverge", [True, False])
def test_what_is_tried_may_diverge_and_what_is_published_may_not(may_diverge, tmp_path):
    cell = Cell("toy", toy.PROGRAM, {"alpha": (1e30,)}, ("Toy", "One", ""), may_diverge)
    with contextlib.nullcontext() if may_diverge else pytest.raises(ValueError, match="no longer"):
        known, said = learn(tmp_path, 1, cell)
        assert not known.results[0].is_finite("final_error")
        assert said == ["toy, seed 0: diverged"]


def test_a_flag_that_is_not_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--test-images is not used by toys/one"):
        learn(tmp_path, 1, test_images=3)
    with pytest.raises(ValueError, match="--tasks must be a whole number"):
        learn(tmp_path, 1, tasks=0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"entries": 3, "x": 1', "{}"])
def test_a_damaged_cell_says_so(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json is damaged: .* delete it to run it again"):
        load(tmp_path)
