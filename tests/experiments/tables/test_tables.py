"""Tables: what they show of records, and their program."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments.plots.settings import Line, Tried, against_memories, tried
from experiments.rl import CHOSEN as RATES
from experiments.running.command_line import deciding
from experiments.running.interrupt import stop
from experiments.running.record import Record, Result, markdown
from experiments.running.statistics import spread
from experiments.supervised.methods import CHOSEN
from experiments.tables import games, supervised
from experiments.tables.__main__ import TABLES, main
from experiments.tables.cells import Cell, load
from experiments.tables.table import Table, best
from mer_jax.data.benchmarks import BENCHMARKS
from tests.experiments import toy

RESULTS = Path(supervised.__file__).parents[1] / "results"


def accuracies(rng, tasks=2, seeds=2):
    """Per-seed values as of a supervised run."""
    R = rng.uniform(0, 100, (seeds, tasks + 1, tasks))
    learned = np.diagonal(R[:, 1:], axis1=1, axis2=2).mean(1)
    pairs = {name: rng.normal(size=(seeds, tasks, 5)).tolist() for name in ("dot", "cosine")}
    by_task = pairs | {name: rng.normal(size=(seeds, tasks)).tolist()
                       for name in ("mean_dot_after", "below_zero")}  # fmt: skip
    means = ("mean_dot", "mean_dot_after", "median_cosine", "below_zero")
    watched = {name: rng.normal(size=seeds).tolist() for name in means}
    return {
        "seed": list(range(seeds)), "retained_accuracy": R[:, -1].mean(1).tolist(),
        "learning_accuracy": learned.tolist(), "bti": (R[:, -1].mean(1) - learned).tolist(),
        "accuracy_matrix": R.tolist(), "examples_per_task": [[10] * tasks] * seeds,
        "alignment": watched | {"by_task": {"same": by_task, "other": by_task}},
    }  # fmt: skip


def scores(rng, tasks=2, seeds=3):
    """Per-seed values as of a run of a game."""
    x = rng.normal(size=(seeds, 2 * tasks + 1, tasks))
    return {
        "seed": list(range(seeds)), "final_score": x[:, -1].mean(1).tolist(),
        "late_score": x[:, -2:].mean((1, 2)).tolist(), "score_by_task": x[:, -1].tolist(),
        "gains_by_task": (x[:, -1] + 9).tolist(), "scores": x.tolist(),
    }  # fmt: skip


def write(folder, cell, settings, rng=None, **given):
    """Writes a record of a cell with random values."""
    is_game, rng = "game" in cell.flags, rng or np.random.default_rng(len(cell.name))
    names = ["retained_accuracy", "learning_accuracy", "bti"]
    names = ["final_score", "late_score"] if is_game else names
    make = scores if is_game else accuracies
    results = [
        Result(
            f"{number}",
            cell.heads[1],
            one,
            60.0,
            make(rng),
            {"arm": "mer", "bytes_per_run": 4000 * (number + 1)},
        )
        for number, one in enumerate(settings)
    ]
    config = cell.program.config(**cell.flags | given)
    about = {
        "config": deciding(config),
        "command": "python",
        "devices": ["cuda:0"],
        "frames": [0, 10, 20, 30, 40],
    }
    Record(about, {name: name for name in names}, results).write(
        folder / "cells" / cell.name / "metrics.json"
    )
    return results


def draw(name, folder):
    """The table's lines and its digest."""
    main([name, "--only-draw", "--out", str(folder)])
    text, command = (folder / f"{name}.md").read_text().rsplit("\n\n", 1)
    assert command == f"`python -m experiments.tables {name} --out {folder}`\n"
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    return text.splitlines(), json.loads((folder / f"{name}.json").read_text())


def cell_of(table, name):
    return next(cell for cell in table.cells if cell.name == name)


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved, by file name."""
    figures, save = {}, Figure.savefig

    def savefig(figure, path, **how):
        figures[Path(path).name.removeprefix(".part-")] = figure
        save(figure, path, **how)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def test_accuracies_stand_beside_what_was_published(tmp_path):
    cells = [
        cell_of(TABLES["retained-accuracy"], f"rotations/{name}")
        for name in ("online", "mer-500", "er-500")
    ]
    online, mer, er = (write(tmp_path, cell, [{"alpha": 0.1}])[0] for cell in cells)
    lines, digest = draw("retained-accuracy", tmp_path)
    assert (
        f"| Online |  | {online.spread('retained_accuracy').text()} (46.40 ± 0.78), 1.0 min |"
        in lines
    )
    assert f"| ER | 500 | {er.spread('retained_accuracy').text()}, 1.0 min |" in lines
    (shown,) = digest["rotations/mer-500"]["results"]
    assert shown["retained_accuracy"] == mer.spread("retained_accuracy")._asdict()
    assert shown["published"] == [81.82, 0.52]
    assert (shown["settings"], shown["seconds"]) == ({"alpha": 0.1}, 60.0)
    assert digest["rotations/mer-500"]["command"] == "python"
    assert "published" not in digest["rotations/er-500"]["results"][0]
    assert "over 2 seeds; in brackets what was published; then how long" in lines[-1]
    assert "(2 min in all for" in lines[-1]
    lines, _ = draw("learning-accuracy", tmp_path)
    texts = [mer.spread(name).text() for name in ("learning_accuracy", "bti")]
    assert f"| MER | 500 | {texts[0]} ({texts[1]}), 1.0 min |" in lines
    names = ("learning-accuracy.png", "retained-accuracy.png", "rotations-500.png")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(names)


def test_no_picture_of_memories_without_a_method_that_has_some(tmp_path):
    write(tmp_path, cell_of(TABLES["retained-accuracy"], "rotations/online"), [{"alpha": 0.1}])
    draw("retained-accuracy", tmp_path)
    assert [path.name for path in tmp_path.glob("*.png")] == ["retained-accuracy.png"]


def test_alignment_stands_beside_what_was_published(tmp_path):
    (result,) = write(tmp_path, supervised.WATCHED[0], [{}])
    (line,), digest = draw("alignment", tmp_path)[0][2:3], draw("alignment", tmp_path)[1]
    told = result.per_seed["alignment"]
    texts = [spread(told[name]).text(3) for name in ("mean_dot", "mean_dot_after")]
    assert line.startswith(f"| Rotations | ER | {' | '.join(texts)} | -0.569 ± 0.077 |")
    (shown,) = digest["rotations/er-5120"]["results"]
    assert shown["mean_dot"]["per_seed"] == told["mean_dot"]
    assert shown["published"] == [-0.569, 0.077]


def test_ablation_is_two_grids(tmp_path):
    rates, first, *_ = (cell for cell in TABLES["ablation"].cells)
    pairs = [{"beta": b, "gamma": g} for b in rates.flags["beta"] for g in rates.flags["gamma"]]
    assert len(pairs) == 18
    swept = write(tmp_path, rates, pairs)
    (one,) = write(tmp_path, first, [{"num_batches": 1, "batch_size": 2}])
    lines, _ = draw("ablation", tmp_path)
    row = [result.spread("retained_accuracy").text() for result in swept[:3]]
    assert lines[:3:2] == ["| β \\ γ | 0.1 | 0.3 | 1 |", f"| 0.003 | {' | '.join(row)} |"]
    assert f"| 1 | {one.spread('retained_accuracy').text()} |" in lines


def test_open_questions_are_answered_by_every_setting(tmp_path):
    """Medians by hand, ranks of three settings, and bytes beside those of the network."""
    betas = cell_of(TABLES["open-questions"], "questions/rotations/mer-500-beta")
    swept = write(tmp_path, betas, [{"beta": beta} for beta in (0.03, 0.1, 1.0)])
    for result in swept:  # the more is retained, the larger are cosines within tasks
        by_task = result.per_seed["alignment"]["by_task"]["same"]
        mean = np.mean(result.per_seed["retained_accuracy"]) / 100
        by_task["cosine"] = [[None, [-1, -1, mean, 1, 1]]] * 2
    record = load(tmp_path / "cells" / betas.name)
    record._replace(results=swept).write(tmp_path / "cells" / betas.name / "metrics.json")
    kept = cell_of(
        TABLES["open-questions"], "questions/memory/rotations/gaussians-alpha-batch_size-11"
    )
    write(tmp_path, kept, [{"alpha": 0.1, "batch_size": 11}, {"alpha": 0.3, "batch_size": 11}])
    write(tmp_path, supervised.WATCHED[0], [{}])
    lines, _ = draw("open-questions", tmp_path)
    sizes = [line.split(" | ")[-1] for line in lines if line.startswith("| Gaussians |")]
    assert sizes == [" |"] * 2  # nothing to compare with
    write(tmp_path, cell_of(TABLES["open-questions"], "questions/memory/rotations/online"), [{}])
    lines, _ = draw("open-questions", tmp_path)
    text = swept[1].spread("retained_accuracy").text()
    mean = np.mean(swept[1].per_seed["retained_accuracy"]) / 100
    assert any(
        line.startswith(f"| MER | 500 | beta 0.1 | {text} | {mean:.2g} | 2 |") for line in lines
    )
    assert any(line.startswith("| Factors of MER | 3 | +1.00 |") for line in lines)
    assert sum(line.startswith("| Gaussians |  | alpha 0.") for line in lines) == 2
    assert [line.split(" | ")[-1] for line in lines if line.startswith("| Gauss")] == ["0 |", "2 |"]
    assert "| Published | -0.569 ± 0.077 |" in lines
    assert len([*tmp_path.glob("open-questions*.png")]) == 3


def test_omniglot_has_a_table_for_each_number_of_alphabets(tmp_path):
    """A method's row on augmented drawings follows that on drawings as they are."""
    own, first = ("omniglot/mer-5120", "omniglot/mer-500"), "first-10/omniglot/gem-1020"
    for name in (*own, "augmented/omniglot/mer-5120", first):
        write(tmp_path, cell_of(TABLES["omniglot"], name), [{}])
    lines, _ = draw("omniglot", tmp_path)
    starts = [" ".join(line.split(" | ")[:3]) for line in lines if line.startswith("| MER |")]
    assert starts == ["| MER 500 as they are", "| MER 5120 as they are", "| MER 5120 augmented"]
    mer = next(line for line in lines if line.startswith("| MER | 5120 |"))
    assert mer.endswith("| 75.23 ± 0.52 | 1.0 (cuda) |")
    assert any(line.startswith("| GEM | 1020 |") and "| 18.03 ± 0.15 |" in line for line in lines)
    assert "Omniglot, all 50 alphabets; 2 seeds" in lines
    names = {path.name for path in tmp_path.glob("omniglot*.png")}
    each = {
        "omniglot-50-as-they-are.png",
        "omniglot-50-augmented.png",
        "omniglot-10-as-they-are.png",
    }
    assert names == {"omniglot.png", *each}


def test_accuracies_are_split_by_what_the_memory_holds(tmp_path, saved):
    """Also along the stream, where it is drawn for the best setting of each method."""
    cells = [cell for cell in TABLES["augmented-sweeps"].cells if cell.flags["method"] == ("mer",)]
    for retained, last, cell in zip((70.0, 80.0), (60.0, 30.0), cells, strict=False):
        write(tmp_path, cell, [{"alpha": 0.1, "capacity": 5}])
        path = tmp_path / "cells" / cell.name / "metrics.json"
        content = json.loads(path.read_text())
        parts = {"held": [100.0, last], "if_held": [50.0, 40.0], "if_not_held": [None, 20.0]}
        of_seeds = content["results"][0]["per_seed"]
        of_seeds |= {"memory": {name: [row] * 2 for name, row in parts.items()}}
        of_seeds["retained_accuracy"] = [retained] * 2
        path.write_text(json.dumps(content))
    lines, _ = draw("augmented-sweeps", tmp_path)
    assert [line.split(" | ")[-3:] for line in lines if "| 40.00 |" in line] == [
        ["60.00", "40.00", "20.00 |"],
        ["30.00", "40.00", "20.00 |"],
    ]
    drawn = [axis.lines[0].get_ydata() for axis in saved["augmented-memory.png"].axes]
    assert np.ma.stack(drawn).filled(-1).tolist() == [[100, 30], [50, 40], [-1, 20]]


def test_games_are_compared_seed_by_seed(tmp_path):
    found = [
        write(tmp_path, cell, [{}])[0] for cell in games.CELLS if cell.flags["game"] == "catcher"
    ]
    lines, _ = draw("rl", tmp_path)
    first, second, _ = found
    for metric, when in (
        ("final_score", "at the end"),
        ("late_score", "while the last task was learned"),
    ):
        change = np.subtract(second.per_seed[metric], first.per_seed[metric])
        reach = 4.3027 * change.std(ddof=1) / 3**0.5  # t of 2 degrees of freedom
        row = f"| DQN with a reservoir over DQN | {when} | {change.mean():+.2f} | "
        (line,) = [line for line in lines if line.startswith(row)]
        low, high = map(float, line.removeprefix(row).removesuffix(" |").split(" to "))
        assert (low, high) == pytest.approx(
            (change.mean() - reach, change.mean() + reach), abs=0.01
        )
    mean = np.mean(second.array("scores")) - np.mean(first.array("scores"))
    assert any(f"over DQN | over the whole run | {mean:+.2f} |" in line for line in lines)
    gained = spread(first.array("gains_by_task")[:, 1]).text(1)
    assert any(line.startswith("| DQN | ") and line.endswith(f"{gained} |") for line in lines)
    assert "Catcher: fruits caught, an episode." in lines
    assert (tmp_path / "rl-catcher.png").exists()


@pytest.mark.parametrize(
    ("name", "metric"), [("sweeps", "retained_accuracy"), ("rl-sweeps", "late_score")]
)
def test_a_sweep_marks_its_best(name, metric, tmp_path):
    table, rng = TABLES[name], np.random.default_rng(0)
    first = {}
    for cell in table.cells:
        first.setdefault(cell.heads[:2], cell)
    cells = list(first.values())[:3]
    settings = [{"alpha": alpha, "capacity": 5} for alpha in (0.1, 0.01, 0.001)]
    tried = [write(tmp_path, cell, settings, rng) for cell in cells]
    tried[0][1].per_seed[metric][:] = [None] * len(tried[0][1].seeds)
    path = tmp_path / "cells" / cells[0].name
    metrics = load(path).metrics
    Record({"config": {}, "command": ""}, metrics, tried[0]).write(path / "metrics.json")
    lines, _ = draw(name, tmp_path)
    bold = [line for line in lines if "**" in line]
    assert len(bold) == len(tried)
    for line, results in zip(bold, tried, strict=True):
        most = max(result.spread(metric).mean for result in results if result.is_finite(metric))
        assert f"| **{most:.2f} ± " in line
        assert "| **alpha 0." in line
    assert sum("| diverged |" in line for line in lines) == 1


def test_the_last_line_repeats_the_table(tmp_path):
    """Also when it is only drawn. Cells of other flags need a command of their own."""
    first, second, third, *_ = TABLES["alignment"].cells
    reduced = {"tasks": 2, "examples_per_task": 50, "dataset": "mnist-5k", "data_dir": tmp_path}
    out = f"--out {tmp_path}"
    given = f"--dataset mnist-5k --tasks 2 --examples-per-task 50 {out}`"
    for cell in TABLES["alignment"].cells:
        write(tmp_path, cell, [{}], **reduced)
    command = "`python -m experiments.tables alignment"

    def last():
        main(["alignment", "--only-draw", "--out", str(tmp_path)])
        return (tmp_path / "alignment.md").read_text().splitlines()[-1]

    assert last() == f"{command} {given}"
    assert "Made with the flags below" in (tmp_path / "alignment.md").read_text()
    for cell in TABLES["alignment"].cells[2:]:
        (tmp_path / "cells" / cell.name / "metrics.json").unlink()
    assert last() == f"{command} --cells {first.name} {second.name} {given}"
    write(tmp_path, third, [{}], seeds=9)
    assert last() == (
        f"{command} --cells {first.name} {second.name} {given}, "
        f"{command} --cells {third.name} --seeds 9 {out}`"
    )


def test_the_tables_have_every_published_cell():
    have = {cell.name: cell.published for cell in supervised.CELLS}
    for (method, size), row in supervised.RETAINED_ACCURACY.items():
        name = f"{method}-{size}" if size else method
        for benchmark, value in row.items():
            if benchmark in BENCHMARKS:
                assert have[f"{benchmark}/{name}"] == value
    watched = {cell.name for cell in supervised.CELLS if cell.flags["watch"]}
    assert watched == {cell.name for cell in supervised.WATCHED}
    assert len(watched) == len(BENCHMARKS) * len(supervised.ALIGNMENT)


def test_all_cells_have_flags_of_their_programs():
    configs = {}
    for cell in (cell for table in TABLES.values() for cell in table.cells):
        config = cell.program.config(**cell.flags)
        config.check()
        assert configs.setdefault(cell.name, config) == config, "two cells of one folder"
    # As --help says of --seeds, although the program itself has fewer.
    assert {cell.flags["seeds"] for cell in TABLES["retained-accuracy"].cells} == {5}


def recorded(table):
    return table.rows(RESULTS)


RECORDED = ("after-mer", "alignment", "ablation", "rl", "rl-sweeps", "sweeps")


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_tables_are_of_the_recorded_cells(name):
    text = TABLES[name].text(name, recorded(TABLES[name]), lambda *args, **how: None)
    assert (RESULTS / f"{name}.md").read_text() == text


def test_chosen_settings_are_the_best_of_the_sweeps():
    """Of each method and benchmark that was swept, with the memories that come nearest.

    Of augmented images by the sweep of equal size, without the attempts that only MER had.
    """
    tried = {}
    for row in recorded(TABLES["sweeps"]) + recorded(TABLES["augmented-sweeps"]):
        flags = row.cell.flags
        if "shift" in flags and not row.cell.name.startswith("augmented-sweeps/shift-2/"):
            continue
        benchmark = f"{flags['benchmark']}{'-augmented' if 'shift' in flags else ''}"
        sizes = tried.setdefault((flags["method"][0], benchmark), {})
        sizes.setdefault(flags.get("capacity", 0), []).append(row.result)
    assert CHOSEN.keys() == tried.keys()
    for swept, sizes in tried.items():
        for capacity, settings in CHOSEN[swept].items():
            nearest = min(sizes, key=lambda size: abs(size - (capacity or 0)))
            found = best(sizes[nearest], "retained_accuracy", "learning_accuracy").settings
            assert settings == {n: value for n, value in found.items() if n != "capacity"}


def test_chosen_rates_are_the_best_of_the_sweeps():
    for cell in TABLES["rl-sweeps"].cells:
        results = [row.result for row in recorded(Table([cell], TABLES["rl-sweeps"].page))]
        assert len(results) == 6
        found = best(results, "late_score", "final_score")
        assert RATES[cell.flags["game"], cell.flags["agent"]] == found.settings


@pytest.fixture
def toys(monkeypatch):
    """A table of two toys under the name of another."""

    def page(rows, draw):
        lines = [[row.cell.heads[1], row.result.spread("final_error").text()] for row in rows]
        draw("toys.png", Path.write_bytes, data=b"drawn")
        return [markdown([["", "Error"], *lines], "Toys.")]

    cells = [Cell(f"toy/{n}", toy.PROGRAM, {"tasks": n}, ("Toy", f"{n}", "")) for n in (1, 2)]
    monkeypatch.setitem(TABLES, "rl", Table(cells, page))


def test_the_program_runs_what_is_missing(toys, tmp_path, capsys):
    main(["rl", "--cells", "toy/2", "--seeds", "2", "--out", str(tmp_path)])
    last = (tmp_path / "rl.md").read_text().splitlines()[-1]
    assert last == f"`python -m experiments.tables rl --cells toy/2 --seeds 2 --out {tmp_path}`"
    assert load(tmp_path / "cells/toy/2").seeds == [0, 1]
    assert not (tmp_path / "cells/toy/1").exists()
    main(["rl", "--seeds", "2", "--seed-batch", "2", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "toy/1, seed 0 1:" in said
    assert said.count("toy/2, seed 0:") == 2  # progress and result
    lines = (tmp_path / "rl.md").read_text().splitlines()
    assert [line[:5] for line in lines[2:4]] == ["| 1 |", "| 2 |"]
    assert lines[-1] == f"`python -m experiments.tables rl --seeds 2 --out {tmp_path}`"
    assert (tmp_path / "toys.png").read_bytes() == b"drawn"


def test_the_program_stops_at_a_checkpoint(toys, tmp_path, monkeypatch, capsys):
    study = toy.PROGRAM.prepare
    monkeypatch.setattr(toy, "prepare", lambda *args: stop() or study(*args))
    stopping = toy.PROGRAM._replace(prepare=lambda *args: stop() or study(*args))
    cell = Cell("toy/1", stopping, {}, ("Toy", "1", ""))
    monkeypatch.setitem(TABLES, "rl", TABLES["rl"]._replace(cells=[cell]))
    with pytest.raises(SystemExit) as end:
        main(["rl", "--out", str(tmp_path)])
    assert end.value.code == 130
    assert "the same command resumes it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["accuracy"], "invalid choice"),
        (["--seeds", "0"], "--seeds must be a whole number"),
        (["--seed-batch", "0"], "--seed-batch must be a whole number"),
        (
            ["--cells", "rotations/mer-201"],
            "--cells: expected cells of retained-accuracy, got rotations/mer-201; nearest: "
            "rotations/mer-200, rotations/mer-5120, rotations/er-200; to list a folder's cells "
            "give its name: rotations, permutations, many-permutations; for a method of your own "
            "run its file, with settings for these memories\n",
        ),
        (
            ["alignment", "--cells", "rotations/mer-5120", "rotations/"],
            "--cells: expected cells of alignment, got the folder rotations; it has "
            "rotations/er-5120 rotations/mer-5120\n",
        ),
        (
            ["rl", "--cells", "x"],
            "cells of rl, got x; to list a folder's cells give its name: cat",
        ),
        (
            ["ablation", "--cells", "rotations/mer-200"],
            "ablation, got rotations/mer-200, a cell of retained-accuracy; name that table instead",
        ),
        (["--only-draw", "--out", "{empty}"], "holds none of the table's cells"),
        (["--only-draw", "--tasks", "3"], "draws what is recorded: leave out --tasks"),
        (["--only-draw", "--cells", "rotations/er-200"], "recorded: leave out --cells"),
        (["rl", "--test-images", "3"], "--test-images is not used by catcher/dqn"),
        (["--cells", "rotations/online", "--data-dir", "{empty}"], "mnist.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line(args, says, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    args = [arg.format(empty=tmp_path / "empty") for arg in args]
    out = [] if "--out" in args else ["--out", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        main([*args, *out])
    assert end.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


def test_a_line_for_each_method_and_hollow_marks_for_what_was_published(tmp_path):
    """What diverged is left out. Each line has its method's colour."""
    mer = {200: (spread([70.0, 72.0]), 77.0), 500: (spread([np.nan]), 81.0)}
    lines = [Line("mer", "MER", mer), Line("online", "Online", {0: (spread([46.0]), None)})]
    file = tmp_path / "lines.png"
    lines.append(Line("one of your own", "Own", {200: (spread([50.0, 52.0]), None)}))
    against_memories(file, {"Rotations": lines, "Permutations": lines[1:]}, "title", "%")
    pixels = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
    for color in ("#D55E00", "#777777"):
        assert (pixels == [int(color[at : at + 2], 16) for at in (1, 3, 5)]).all(1).sum() > 50


def test_a_mark_for_each_setting_filled_where_it_was_chosen(tmp_path, saved):
    """The best method is on top. A method of which all diverged keeps its line."""
    few, many = spread([46.0, 50.0]), spread([75.0, 77.0])
    lost = spread([np.nan])
    lines = [
        Tried("online", "Online", [few, lost], few),
        Tried("mer", "MER 200", [few, many], many),
        Tried("er", "ER", [lost], None),
    ]
    tried(tmp_path / "tried.png", {"Rotations": lines}, "title", "%")
    (axis,) = saved["tried.png"].axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ER", "Online", "MER 200"]
    filled = {
        (x, y): line.get_markerfacecolor() != "none"
        for line in axis.lines
        for x, y in zip(*line.get_data(), strict=True)
        if line.get_marker() != "None" and np.isfinite(x)
    }
    assert filled == {(48, 1): True, (48, 2): False, (76, 2): True}


def test_a_record_that_no_table_has_is_named(tmp_path, capsys):
    """Such as that of a method of one's own which is no longer registered."""
    cell, *_ = games.CELLS
    write(tmp_path, cell, [{}])
    write(tmp_path, dataclasses.replace(cell, name="catcher/own"), [{}])
    main(["rl", "--only-draw", "--out", str(tmp_path)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "cells/catcher/own is in no table: run the file that adds its method"


def test_a_picture_of_a_reduced_table_says_so(tmp_path, saved):
    """The note is gone with the next table."""
    cell, *_ = games.CELLS
    write(tmp_path / "short", cell, [{}], tasks=2)
    write(tmp_path / "whole", cell, [{}])
    for folder, note in (("short", "\nreduced: --tasks 2; rates of whole streams"), ("whole", "")):
        main(["rl", "--only-draw", "--out", str(tmp_path / folder)])
        assert saved["rl-catcher.png"].get_suptitle() == f"Catcher{note}"


def test_a_picture_is_no_higher_than_a_page(tmp_path):
    """Also with as many methods as the sweeps of split classes have."""
    some = spread([75.0, 77.0])
    lines = [Tried("er", f"method {n}", [some] * 6, some) for n in range(17)]
    tried(tmp_path / "tried.png", dict.fromkeys("abcde", lines), "title", "%")
    with Image.open(tmp_path / "tried.png") as picture:
        assert picture.height < 1.3 * picture.width
