"""Records, statistics and files: written, read, joined, and damaged."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from experiments.running import files, record
from experiments.running.record import Record, Result
from experiments.running.statistics import difference, interval, spread


def result(seeds, values, **changed):
    per_seed = {"seed": seeds, "score": values, "deep": {"curve": [[v, v] for v in values]}}
    return Result("a", "A", {"alpha": 0.1}, 1.25, per_seed, {"arm": "a"} | changed)


def made(seeds, values):
    about = {"command": "python", "seeds": seeds, "config": {"tasks": 3}}
    return Record(about, {"score": "Score"}, [result(seeds, values)])


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "metrics.json"
    made([0, 1], [1.0, float("nan")]).write(path)
    content = json.loads(path.read_text())
    assert content["score"] == {"mean": None, "std": None, "per_seed": [1.0, None]}
    again = record.load(path)
    assert again.about == {"command": "python", "seeds": [0, 1], "config": {"tasks": 3}}
    assert again.results[0].about == {"arm": "a"}
    assert again.results[0].settings == {"alpha": 0.1}
    np.testing.assert_array_equal(again.results[0].array("score"), [1.0, np.nan])
    assert not again.results[0].is_finite("score")
    assert again.table() == [["", "Score", "Seconds"], ["A", "1 of 2 diverged", "1"]]
    content["results"][0]["settings"] = {"alpha": 0.5, "batch_size": 11}
    path.write_text(json.dumps(content))
    record.load(path).write(path)
    assert json.loads(path.read_text()) == content
    sizes = json.loads(path.read_text())["results"][0]["settings"]
    assert [type(size) for size in sizes.values()] == [float, int]


def test_more_seeds_are_appended():
    whole = record.join(made([0, 1], [1.0, 2.0]), made([2], [6.0]))
    (joined,) = whole.results
    assert joined.seeds == whole.about["seeds"] == [0, 1, 2]
    assert joined.by_seed("score") == {0: 1.0, 1: 2.0, 2: 6.0}
    assert joined.per_seed["deep"]["curve"] == [[1, 1], [2, 2], [6, 6]]
    assert joined.seconds == 2.5
    assert joined.spread("score").mean == 3


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": 2, "metrics": {"score": "Score"}, "results": [{}]}',
     '{"format": 1, "score": {"per_seed": [1]}}'],
    ids=range(5),
)  # fmt: skip
def test_what_is_no_record_gets_one_clear_line(content, tmp_path):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"metrics.json is damaged: "):
        record.load(tmp_path / "metrics.json")


def test_seeds_and_values_must_agree(tmp_path):
    made([0, 1], [1.0]).write(tmp_path / "metrics.json")
    with pytest.raises(ValueError, match=r"per_seed\.score: expected 2 \(seeds\), got 1"):
        record.load(tmp_path / "metrics.json")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (["command"], 3, "command: expected a valid string, got 3"),
        (["config"], [], "config: expected an object, got []"),
        (["metrics"], {}, "metrics: expected at least 1 item, got {}"),
        (["results"], [], "results: expected at least 1 item, got []"),
        (["results", 0, "title"], "\ud800", "expected JSON, got unexpected end of hex escape"),
        (["results", 0, "seconds"], "1", 'seconds: expected a valid number, got "1"'),
        (["results", 0, "settings", "alpha"], float("inf"), "alpha: expected a finite number"),
        (["results", 0, "per_seed", "score"], None, "score: expected 1 axes (seeds), got 0"),
        (["results", 0, "per_seed", "score", 1], 10**101, "score: expected finite numbers"),
        (["results", 0, "per_seed", "seed"], [0, 0], "per_seed.seed: expected 1 (seeds), got 2"),
        (["results", 0, "per_seed", "seed", 1], True, "seed[1]: expected a valid integer, got"),
        (["results", 0, "per_seed", "deep", "curve", 1], [1], "curve: expected rows of equal"),
        (["results", 0, "per_seed", "accuracy_matrix"], [[]], "expected 3 axes (seeds t"),
        (["results", 0, "per_seed", "accuracy_matrix"], [[], []], "expected 3 axes (seeds t"),
        (["results", 0, "per_seed", "accuracy_matrix"], [[[1], [2]], [[1], [2, 3]]],
         "accuracy_matrix: expected rows of equal length, of numbers, got list"),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_wrong_in_a_record_is_named(place, value, says, tmp_path):
    path = tmp_path / "metrics.json"
    made([0, 1], [1.0, 2.0]).write(path)
    content = at = json.loads(path.read_text())
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(path))} is damaged: .*{re.escape(says)}"
    ):
        record.load(path)


def test_a_missing_key_is_named_when_it_is_read(tmp_path):
    made([0, 1], [1.0, 2.0]).write(tmp_path / "metrics.json")
    known = record.load(tmp_path / "metrics.json")
    with pytest.raises(
        ValueError, match=r"json .*\[0\].per_seed: expected the key bti, got seed, "
    ):
        known.results[0].array("bti")
    with pytest.raises(ValueError, match=r"metrics.json is damaged: expected the key frames, got"):
        (known.about | {"more": 1})["frames"]


def test_lists_without_end_are_no_record(tmp_path):
    (tmp_path / "metrics.json").write_text('{"format": 2, "a": ' + "[" * 10**5 + "]" * 10**5 + "}")
    with pytest.raises(ValueError, match=r"metrics.json is damaged"):
        record.load(tmp_path / "metrics.json")


def test_a_single_seed_has_no_spread():
    assert spread([63.66]).text() == "63.66"
    assert spread([1.0, 3.0]).text() == "2.00 ± 1.41"
    assert spread([1.0, None]).text() == "1 of 2 diverged"
    assert spread([np.nan, np.nan]).text() == "diverged"


def test_intervals_are_student_s():
    values = [1.0, 2.0, 4.0, 7.0]
    reach = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    found = interval(values)
    assert found == pytest.approx((3.5, 3.5 - reach, 3.5 + reach))
    assert interval([2.0, 2.0]) == pytest.approx((2, 2, 2))
    assert interval([2.0]).text() == ""
    assert found.text(1) == f"{3.5 - reach:.1f} to {3.5 + reach:.1f}"


def test_differences_are_paired():
    first, second = {0: 5.0, 1: 6.0, 2: 9.0}, {1: 1.0, 2: 3.0, 3: 0.0}
    assert difference(first, second) == pytest.approx(interval([5.0, 6.0]))
    assert difference(first, {7: 1.0}) is None
    assert difference(first, {0: None}) is None
    assert difference(first, {0: np.nan}) is None


def test_a_file_is_whole_or_not_there(tmp_path):
    def fails(part):
        part.write_text("half")
        raise OSError("the disk is full")

    (tmp_path / "a").write_text("before")
    with pytest.raises(OSError, match="full"):
        files.write(tmp_path / "a", fails)
    assert (tmp_path / "a").read_text() == "before"


def test_a_table_in_markdown():
    table = [["", "Score"], ["A", "1"]]
    assert record.markdown(table, "Caption.") == (
        "|  | Score |\n| --- | ---: |\n| A | 1 |\n\nCaption.\n"
    )
