"""Records, statistics and files: written, read, joined, and damaged."""

import json

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
    with pytest.raises(ValueError, match=r"metrics.json is damaged or not a run's metrics"):
        record.load(tmp_path / "metrics.json")


def test_seeds_and_values_must_agree(tmp_path):
    made([0, 1], [1.0]).write(tmp_path / "metrics.json")
    with pytest.raises(ValueError, match=r"per_seed\.score: expected a list of 2 \(seeds\), got 1"):
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
