"""Edited JSON files: each gives a right result, or one line with its name and status 2."""

import contextlib
import copy
import html.parser
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

import experiments.bench.__main__ as bench
from experiments.report.__main__ import main as report
from experiments.running import program, record
from experiments.running.command_line import deciding
from experiments.tables.__main__ import TABLES
from experiments.tables.__main__ import main as tables
from tests.experiments import toy
from tests.experiments.tables.test_tables import write

pytestmark = pytest.mark.usefixtures("quick_keys")

LIVE = "<img src=x> ![p](http://h/x.png) [a](javascript:b) | $x$ `c` \ud7ff"
VALUES: list[Any] = [
    None, True, 3, -1, 0.5, float("inf"), float("nan"), 10**400, "", LIVE, "\ud800", [], {},
    [[]], [1, 2], [None], ["a"], {"a": 1},
]  # fmt: skip
CELLS = {
    "alignment": TABLES["alignment"].cells[0], "retained-accuracy": TABLES["alignment"].cells[0],
    "ablation": TABLES["ablation"].cells[0], "rl": TABLES["rl"].cells[0],
    "omniglot": TABLES["omniglot"].cells[0], "sweeps": TABLES["sweeps"].cells[0],
    "rl-sweeps": TABLES["rl-sweeps"].cells[0],
}  # fmt: skip
NAMES = sorted(CELLS)


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Figures are made and not rendered, which takes most of the time."""
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path, **how: Image.new("RGB", (1, 1)).save(path, "png")
    )


def whole(name, folder):
    """The content of a valid record of the table's cell, and its path."""
    write(folder, CELLS[name], [{"alpha": a, "beta": a, "gamma": 0.1} for a in (0.1, 0.2)])
    path = folder / "cells" / CELLS[name].name / "metrics.json"
    content = json.loads(path.read_text())
    content |= {"caption": "A caption.", "evaluations": [0, 1]}
    curves = {"error_curve": [[1.0, 2.0]], "norms": [[[1, 2], [3, 4], [5, 6]]]}
    for one in content["results"]:
        seeds = len(one["per_seed"]["seed"])
        one["per_seed"] |= {key: values * seeds for key, values in curves.items()}
    return content, path


def places(value, place=()):
    """The places of all parts of a JSON value."""
    yield place
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*place, key))


def edit(data, content):
    """Deletes, replaces, truncates or nests a part of the content."""
    depth = data.draw(st.integers(1, 8), "depth")
    short = [place for place in places(content) if 0 < len(place) <= depth]
    if not short:
        return
    *outer, key = data.draw(st.sampled_from(short), "place")
    at = content
    for step in outer:
        at = at[step]
    how = data.draw(st.sampled_from(["delete", "replace", "truncate", "nest", "rename"]), "how")
    if how == "delete":
        del at[key]
    elif how == "truncate" and isinstance(at[key], list):
        at[key] = at[key][: data.draw(st.integers(0, len(at[key])), "length")]
    elif how == "nest":
        at[key] = [at[key]]
    elif how == "rename" and isinstance(at, dict):
        at[data.draw(st.sampled_from([LIVE, "a", "seed", "command"]), "name")] = at.pop(key)
    else:
        at[key] = copy.deepcopy(data.draw(st.sampled_from(VALUES), "value"))


def status(main, args):
    """The status of a program. Of a failure it checks the complaint."""
    said, complaint, code = io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            main(args)
    except SystemExit as stop:
        code = stop.code
    text = complaint.getvalue()
    assert code in (0, 2)
    assert code == 0 or (text.count("\n") == 1 and "metrics.json" in text)
    return code


class Checker(html.parser.HTMLParser):
    """Allows the page's own tags and embedded pictures, and counts cells."""

    TAGS = "html meta title style h1 h2 p table thead tbody tr th td ul li code img"

    def handle_starttag(self, tag, attrs):
        assert tag in self.TAGS.split()
        names = dict(attrs)
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append(0)
        elif tag in ("th", "td"):
            self.rows[-1] += 1
        elif tag == "img":
            assert names.keys() == {"alt", "src"}
            assert names["src"].startswith("data:image/png;base64,")

    def handle_endtag(self, tag):
        assert tag != "table" or len(set(self.rows)) == 1


def cases(number):
    """Settings of a test with so many cases, the same in each run.

    A failing case is not made smaller, which takes minutes.
    """
    return settings(
        max_examples=number, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=[*HealthCheck],
    )  # fmt: skip


def outcome(call, *args):
    """What a call returns, and the line of its error."""
    try:
        return call(*args), ""
    except ValueError as error:
        return None, f"{error}"


def write_edited(data, content, path):
    """Writes the content with one to three edits, and rarely with a part of its text cut off."""
    for _ in range(data.draw(st.integers(1, 3), "edits")):
        edit(data, content)
    text = json.dumps(content)
    if not data.draw(st.integers(0, 9), "whole"):
        text = text[: data.draw(st.integers(0, len(text)), "cut")]
    path.write_text(text)


@cases(30)
@given(name=st.sampled_from(["alignment", "rl"]), data=st.data())
def test_a_report_of_an_edited_record(name, data):
    with tempfile.TemporaryDirectory() as folder:
        content, path = whole(name, Path(folder))
        write_edited(data, content, path)
        out = Path(folder) / "out"
        if status(report, [str(path.parent), "--out", str(out)]) == 0:
            page = (out / "report.html").read_text()
            Checker().feed(page)
            for one in record.load(path).results:
                for metric in record.load(path).metrics:
                    assert f"<td>{one.spread(metric).text()}</td>" in page


@cases(30)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_table_of_an_edited_cell(name, data):
    with tempfile.TemporaryDirectory() as folder:
        content, path = whole(name, Path(folder))
        write_edited(data, content, path)
        if status(tables, [name, "--only-draw", "--out", folder]) == 0:
            shown = json.loads((Path(folder) / f"{name}.json").read_text())[CELLS[name].name]
            assert len(shown["results"]) == len(content["results"])
            assert all(np.isfinite(one["seconds"]) for one in shown["results"])


@cases(30)
@given(data=st.data())
def test_an_edited_run_is_refused_or_resumed(data):
    """The run.json beside checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        config = toy.PROGRAM.config(out=Path(folder), resume=True)
        content = {"format": record.FORMAT, "config": deciding(config), "seeds": [0, 1]}
        (config.out / "checkpoints").mkdir()
        write_edited(data, content, path := config.out / "run.json")
        _, line = outcome(program.check_free, config)
        if line:
            assert "\n" not in line
            assert folder in line
        else:
            told = json.loads(path.read_text())
            was = told["config"]
            assert told["format"] == record.FORMAT
            assert {n: was.get(n) for n in was | deciding(config)} == deciding(config) | {
                n: None for n in was.keys() - deciding(config).keys()
            }


@cases(30)
@given(data=st.data())
def test_an_edited_bench_is_refused_or_compared(data):
    with tempfile.TemporaryDirectory() as folder:
        content = {"rows": [bench.Row(f"{n}", n, "s", [n, n])._asdict() for n in range(3)]}
        write_edited(data, content, path := Path(folder) / "bench.json")
        rows, line = outcome(bench.recorded, path)
        if line:
            assert "\n" not in line
            assert str(path) in line
        else:
            told = json.loads(path.read_text())["rows"]
            # Of two rows with one name, the last one.
            assert rows == {row.what: row for row in (row_of(one) for one in told)}


def row_of(told):
    """A row that is an object, or a list of the fields in their order."""
    return bench.Row(**told) if isinstance(told, dict) else bench.Row(*told)


@pytest.mark.parametrize("name", NAMES)
def test_the_records_are_valid_before_they_are_edited(name, tmp_path):
    content, path = whole(name, tmp_path)
    path.write_text(json.dumps(content))
    if name == "ablation":
        for one in content["results"]:
            assert one["settings"].keys() == {"alpha", "beta", "gamma"}
    assert status(tables, [name, "--only-draw", "--out", str(tmp_path)]) == 0
    assert status(report, [str(path.parent), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("name", ["ablation", "rl"])
def test_a_table_of_a_cell_without_a_key(name, tmp_path):
    """Each key in turn, of the record, the results and their per-seed values."""
    content, path = whole(name, tmp_path)
    named = [place for place in places(content) if place and isinstance(place[-1], str)]
    first = [place for place in named if "results" not in place or 0 in place[:2]]
    for *outer, key in first:
        changed = copy.deepcopy(content)
        at = changed
        for step in outer:
            at = at[step]
        del at[key]
        path.write_text(json.dumps(changed))
        status(tables, [name, "--only-draw", "--out", str(tmp_path)])
