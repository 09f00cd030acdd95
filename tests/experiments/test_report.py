"""The page of results: its numbers, its pictures, and that it needs nothing else."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from experiments import language, output, report, rl, supervised


def result(title, seed, num_seeds=5, num_tasks=3, watched=False):
    rng = np.random.default_rng(seed)
    R = np.sort(rng.uniform(0.1, 0.9, (num_seeds, num_tasks + 1, num_tasks)), axis=1)
    by_task = {
        which: {
            "dot": rng.normal(size=(num_seeds, num_tasks, 5)).tolist(),
            "cosine": np.sort(rng.uniform(-1, 1, (num_seeds, num_tasks, 5)), axis=2).tolist(),
            "below_zero": rng.uniform(0, 100, (num_seeds, num_tasks)).tolist(),
            "mean_dot_after": rng.normal(size=(num_seeds, num_tasks)).tolist(),
        }
        for which in ("same", "other")
    }
    return {
        "title": title, **output.summary(R), "seconds": 12.3, "bytes_per_run": 4_500_000,
        "settings": {"alpha": 0.1, "capacity": 200}, "examples_per_task": [100] * num_tasks,
        "method": title.lower(),
    } | ({"alignment": {"by_task": by_task}} if watched else {})  # fmt: skip


def folder(path, results, **changed):
    path.mkdir()
    about = {
        "config": {"dataset": "digits", "benchmark": "rotations", "seeds": 5} | changed,
        "command": "python -m experiments.supervised",
        "seeds": [0, 1, 2, 3, 4],
    }
    output.write_json(path / "metrics.json", about | {"methods": results})
    return path


@pytest.fixture
def compared(tmp_path):
    """Two methods in one folder, and a third on the same tasks in another."""
    one = {"mer": result("MER", 0, watched=True), "online": result("Online", 1)}
    return (
        folder(tmp_path / "both", one),
        folder(tmp_path / "alone", {"er": result("ER <b>", 2)}),
        folder(tmp_path / "elsewhere", {"er": result("ER", 3)}, benchmark="permutations"),
    )


def make(out, *folders):
    report.main([*map(str, folders), "--out", str(out)])
    return (out / "report.md").read_text(), (out / "report.html").read_text()


def test_its_numbers_are_those_of_the_metrics(compared, tmp_path):
    markdown, page = make(tmp_path / "report", *compared)
    lines = [line.split(" | ") for line in markdown.splitlines()]
    for path in compared:
        for entry in json.loads((path / "metrics.json").read_text())["methods"].values():
            for metric in output.COLUMNS:
                assert output.cell(entry[metric]) in markdown
                assert output.cell(entry[metric]) in page
    (difference,) = [line for line in lines if line[0] == "| MER (both) over ER <b> (alone)"]
    for place, metric in enumerate(output.COLUMNS):
        mer, er = result("MER", 0)[metric], result("ER", 2)[metric]
        mean, interval = difference[1 + 2 * place : 3 + 2 * place]
        assert float(mean) == pytest.approx(mer["mean"] - er["mean"], abs=0.005)
        low, high = map(float, interval.removesuffix(" |").split(" to "))
        pairs = np.subtract(mer["per_seed"], er["per_seed"])
        reach = 2.7764 * pairs.std(ddof=1) / 5**0.5  # t of 4 degrees of freedom
        assert (low, high) == pytest.approx((pairs.mean() - reach, pairs.mean() + reach), abs=0.01)
    # Tasks that differ are not compared seed by seed.
    assert not any("elsewhere" in line[0] for line in lines if "over" in line[0])
    assert "| MER | 12 | 4.5 | alpha 0.1, capacity 200 |" in markdown


def test_it_needs_nothing_beside_it(compared, tmp_path):
    markdown, page = make(tmp_path / "report", *compared)
    assert "<b>" not in page
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page)
    assert len(re.findall("<img ", page)) == len(re.findall(r"!\[", markdown)) == 10
    for name in re.findall(r"\]\((\d+\.png)\)", markdown):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_shows_every_picture(compared, tmp_path):
    """It counts those that are broken, and those that are not, in the page's title."""
    _, page = make(tmp_path / "report", *compared)
    count = (
        "<script>onload = () => { const all = [...document.images];"
        "document.title = all.filter(i => i.naturalWidth < 100).length + ' of ' + all.length }"
        "</script>"
    )
    counting = tmp_path / "counting.html"
    counting.write_text(page.replace("</html>", count + "</html>"))
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
         "--dump-dom", counting.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "<title>0 of 10</title>" in shown


def test_of_a_run_as_it_comes(tmp_path):
    """A single method, watched, whose metrics are at the top level; and one of many settings."""
    flags = ["--tasks", "2", "--examples-per-task", "20", "--test-images", "50", "--seeds", "2"]
    supervised.main(["--method", "online", "--watch", *flags, "--out", str(tmp_path / "run")])
    markdown, _ = make(tmp_path / "report", tmp_path / "run")
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert output.cell(metrics["retained_accuracy"]) in markdown
    assert "Transfer and interference" in markdown
    assert f"- data: `{metrics['data_checksum']}`" in markdown


def test_methods_are_compared_over_the_seeds_that_both_have(tmp_path):
    """One that has done the first two and another that has done one of them."""
    one, other = (result(title, 0, num_seeds) for title, num_seeds in (("MER", 2), ("ER", 1)))
    runs = folder(tmp_path / "runs", {"mer": one | {"seeds": [0, 1]}, "er": other | {"seeds": [1]}})
    markdown, _ = make(tmp_path / "report", runs)
    (line,) = [line for line in markdown.splitlines() if line.startswith("| MER over ER")]
    per_seed = (part["retained_accuracy"]["per_seed"] for part in (one, other))
    difference = next(per_seed)[1] - next(per_seed)[0]
    assert line.split(" | ")[1:3] == [f"{difference:+.2f}", ""]


def test_what_diverged_is_said_and_not_drawn(tmp_path):
    lost = result("Online", 1)
    for metric in output.COLUMNS:
        lost[metric] = {"mean": None, "std": None, "per_seed": [None] * 5}
    runs = folder(tmp_path / "runs", {"mer": result("MER", 0), "online": lost})
    markdown, _ = make(tmp_path / "report", runs)
    assert "| Online | diverged |" in markdown
    assert "## Differences" not in markdown


def test_games_are_compared_by_their_scores(tmp_path):
    """Two seeds of two tasks, evaluated at the start and after each."""
    scores = np.random.default_rng(0).uniform(0, 30, (2, 2, 3, 2))
    agents = {
        agent: rl.summary(of_agent, np.ones((2, 2)))
        | {"title": agent, "seconds": 1.0, "settings": {"alpha": 0.1}}
        for agent, of_agent in zip(("DQN", "DQN-MER"), scores, strict=True)
    }
    runs = folder(tmp_path / "games", {})
    about = json.loads((runs / "metrics.json").read_text()) | {
        "seeds": [0, 1], "frames": [0, 50, 100], "settings": agents, "config": {"films": False},
    }  # fmt: skip
    output.write_json(runs / "metrics.json", {**about, "methods": None})
    markdown, _ = make(tmp_path / "report", runs)
    for agent in agents.values():
        assert f"| {output.cell(agent['final_score'])} |" in markdown
        assert output.cell(agent["score_by_task"][1], digits=1) in markdown
    change = scores[0, :, -1].mean() - scores[1, :, -1].mean()
    assert f"| DQN over DQN-MER | {change:+.2f} |" in markdown
    assert '- configuration: `{"films": false}`' in markdown
    assert "- seeds: `[0, 1]`" in markdown
    assert "data: " not in markdown


def test_arms_are_compared_by_their_losses(tmp_path):
    """Two seeds of two kinds of text, judged before and after each."""
    losses = np.random.default_rng(0).uniform(1, 8, (2, 2, 3, 2))
    arms = {
        arm: language.summary(of_arm) | {"seconds": 1.0}
        for arm, of_arm in zip(("neither", "both"), losses, strict=True)
    }
    runs = folder(tmp_path / "texts", {})
    about = json.loads((runs / "metrics.json").read_text()) | {
        "seeds": [0, 1], "arms": arms, "domains": [{"name": "Python"}, {"name": "licences"}],
    }  # fmt: skip
    output.write_json(runs / "metrics.json", about)
    markdown, _ = make(tmp_path / "report", runs)
    for arm in arms.values():
        for metric in language.COLUMNS:
            assert f"| {output.cell(arm[metric], 3)} |" in markdown
    assert "| neither over both |" in markdown
    assert "![Loss on each kind of text](1.png)" in markdown


def test_runs_are_called_by_what_tells_them_apart(tmp_path, capsys):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        folder(tmp_path / name / "run", {"mer": result("MER", 0)})
    markdown, _ = make(tmp_path / "report", tmp_path / "first/run", tmp_path / "second/run")
    assert "## first/run" in markdown
    assert "| MER (first/run) over MER (second/run) |" in markdown
    for flags, says in (
        ([], "name the folder of one run at least"),
        ([tmp_path / "first/run", tmp_path / "second/../first/run"], "named more than once"),
    ):
        with pytest.raises(SystemExit) as stop:
            make(tmp_path / "report", *flags)
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1


WHOLE = {"command": "python", "seeds": [0, 1, 2, 3, 4]} | result("ER", 0)
GAME = {"title": "DQN", "seeds": [0], "final_score": {"mean": 1.0, "std": 0.0, "per_seed": [1.0]}}


@pytest.mark.parametrize(
    "content",
    [
        None, "", "[]", "{}", '{"methods": {"mer": 3}}',
        json.dumps({name: value for name, value in WHOLE.items() if name != "learning_accuracy"}),
        json.dumps(WHOLE | {"seeds": [0, 1]}), json.dumps(WHOLE | {"accuracy_matrix": 3}),
        json.dumps(GAME), json.dumps(GAME | {"seeds": [0, 1]}),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_run_gets_one_clear_line(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        make(tmp_path / "report", tmp_path)
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert "metrics.json" in complaint
    assert complaint.count("\n") == 1
