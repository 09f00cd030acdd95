"""The page of results: its numbers, its pictures, and that it needs nothing else."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from experiments.plots import curves
from experiments.report.__main__ import main
from experiments.running import program, record
from experiments.running.record import Record, Result
from tests.experiments import toy

INLINE = "data:image/png;base64,"
METRICS = {name: name for name in ("retained_accuracy", "learning_accuracy", "bti")}


def result(title, seed, num_seeds=5, tasks=3, watched=False):
    """Random accuracies."""
    rng = np.random.default_rng(seed)
    R = np.sort(rng.uniform(10, 90, (num_seeds, tasks + 1, tasks)), axis=1)
    learned = np.diagonal(R[:, 1:], axis1=1, axis2=2).mean(1)
    by_task = {
        "dot": rng.normal(size=(num_seeds, tasks, 5)).tolist(),
        "cosine": np.sort(rng.uniform(-1, 1, (num_seeds, tasks, 5)), axis=2).tolist(),
        "below_zero": rng.uniform(0, 100, (num_seeds, tasks)).tolist(),
        "mean_dot_after": rng.normal(size=(num_seeds, tasks)).tolist(),
    }
    alignment = {"alignment": {"by_task": {"same": by_task, "other": by_task}}}
    retained = R[:, -1].mean(1)
    per_seed = {
        "seed": [*range(num_seeds)], "retained_accuracy": retained.tolist(),
        "learning_accuracy": learned.tolist(), "bti": (retained - learned).tolist(),
        "accuracy_matrix": R.tolist(), **(alignment if watched else {}),
    }  # fmt: skip
    settings = {"alpha": 0.1, "capacity": 200}
    about = {"arm": title.lower(), "bytes_per_run": 4_500_000}
    return Result(title, title, settings, 12.3, per_seed, about)


def folder(path, *results, metrics=METRICS, **about):
    """Writes a run."""
    config = {"dataset": "digits", "benchmark": "rotations", "tasks": None, "alpha": []}
    known = {"config": config, "command": "python -m experiments", "caption": "Digits."} | about
    Record(known, metrics, [*results]).write(path / "metrics.json")
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two methods in one folder, a third on the same tasks in another, and one on other tasks.

    The folders, the folder of their report, its Markdown and its HTML.
    """
    tmp_path = tmp_path_factory.mktemp("runs")
    other = {"config": {"benchmark": "permutations"}}
    paths = (
        folder(tmp_path / "both", result("MER", 0, watched=True), result("Online", 1)),
        folder(tmp_path / "alone", result("ER <b>", 2)),
        folder(tmp_path / "elsewhere", result("ER", 3), **other),
    )
    return paths, tmp_path / "report", *make(tmp_path / "report", *paths)


def make(out, *folders):
    main([*map(str, folders), "--out", str(out)])
    return (out / "report.md").read_text(), (out / "report.html").read_text()


def differences(markdown):
    """Mean and ends of each difference by its title and metric."""
    rows = [
        line.strip("| ").split(" | ")
        for line in markdown.splitlines()
        if line.startswith("| ") and " minus " in line
    ]
    return {(row[0], row[1]): row[2:] for row in rows}


def test_its_numbers_are_those_of_the_records(compared):
    paths, _, markdown, page = compared
    for path in paths:
        for one in record.load(path / "metrics.json").results:
            for metric in METRICS:
                assert f"| {one.spread(metric).text()} |" in markdown
                assert one.spread(metric).text() in page
    found = differences(markdown)
    for metric in METRICS:
        pairs = result("MER", 0).array(metric) - result("ER", 2).array(metric)
        mean, ends = found[r"MER (both) minus ER \<b\> (alone)", metric]
        assert float(mean) == pytest.approx(pairs.mean(), abs=0.005)
        reach = 2.7764 * pairs.std(ddof=1) / 5**0.5  # t of 4 degrees of freedom
        low, high = map(float, ends.split(" to "))
        assert (low, high) == pytest.approx((pairs.mean() - reach, pairs.mean() + reach), abs=0.01)
    # Other tasks are not compared seed by seed.
    assert not any("elsewhere" in title for title, _ in found)
    assert "| 12 | 4.5 | alpha 0.1, capacity 200 |" in markdown
    assert "computed. Digits." in markdown
    assert '- configuration: `{"dataset": "digits", "benchmark": "rotations"}`' in markdown
    assert "- seeds: `[0, 1, 2, 3, 4]`" in markdown
    assert "data: " not in markdown


def test_it_needs_nothing_beside_it(compared):
    _, out, markdown, page = compared
    assert "<b>" not in page
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page)
    assert len(re.findall("<img ", page)) == len(re.findall(r"!\[", markdown)) == 10
    for name in re.findall(r"\]\((\d+\.png)\)", markdown):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_texts_of_files_stay_texts(tmp_path):
    """Links, pictures, HTML, ends of cells and code, and formulas, in every text of a record."""
    live = "<img src=x> <b> ![p](http://h/x.png) [a](javascript:b) a|b `c`` $x$ http://h www.h\n# d"
    one = result(live, 0, watched=True)
    one = one._replace(settings={live: 1.0}, about=one.about | {"arm": live})
    texts = {"command": live, "caption": live, "versions": {live: live}, "git_revision": live}
    path = folder(tmp_path / "a|[b](c)", one, metrics=METRICS | {"bti": live}, **texts)
    markdown, page = make(tmp_path / "report", path)
    assert page.count("Content-Security-Policy") == 1
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in page
    tags = {*re.findall("<([a-z0-9]+)", page)}
    own = "html meta title style h1 h2 p table thead tbody tr th td ul li code img"
    assert tags == {*own.split()}
    assert {*re.findall('src="(.{22})', page)} == {INLINE}
    row = next(line for line in markdown.splitlines() if line.startswith(r"| \<img src=x\>"))
    assert (
        r"!\[p\](http\://h/x.png) \[a\](javascript:b) a\|b \`c\`\` \$x\$ http\://h www\.h \# d"
        in row
    )
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines()
                if line.startswith("|")}) == 1  # fmt: skip
    shown = re.findall(r"^!\[.*\]\((.*?)\)$", markdown, re.MULTILINE)
    assert shown == ["1.png", "2.png", "3.png", "4.png"]
    assert "- command: ``` <img" in markdown


def test_many_runs_have_details_where_asked(tmp_path, capsys):
    """Of more than 12 runs, no pictures and differences but those of two."""
    paths = [folder(tmp_path / f"{n:02}", result(f"R{n}", n)) for n in range(13)]
    markdown, page = make(tmp_path / "report", *paths)
    note = "Pictures and differences are shown of at most 12 runs with 1,000 pairs of results."
    assert note in markdown
    assert note in page
    assert note in " ".join(capsys.readouterr().out.split())
    assert "![" not in markdown
    assert "## Differences" not in markdown
    assert markdown.count("| MB a run |") == 13
    flags = ["--details", paths[3], paths[12]]
    markdown, _ = make(tmp_path / "report", *paths, *flags)
    assert markdown.count("![") == 6
    assert {of for of, _ in differences(markdown)} == {"R3 (03) minus R12 (12)"}
    with pytest.raises(SystemExit) as stop:
        make(tmp_path / "report", paths[0], *flags)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert re.search(r"--details: expected some of DIR, got \S+; add it to DIR too$", said.strip())


def test_many_results_of_a_run_have_no_pairs(tmp_path):
    markdown, _ = make(tmp_path / "report", folder(tmp_path / "a", *[result("R", 0, 1, 1)] * 46))
    assert "Here are 1 with 1,035." in markdown
    assert "## Differences" not in markdown


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_shows_every_picture(compared, tmp_path):
    """It counts those that are broken, and those that are not, in the page's title."""
    *_, page = compared
    count = (
        "<script>onload = () => { const all = [...document.images];"
        "const style = getComputedStyle(document.body);"
        "document.title = all.filter(i => i.naturalWidth < 100).length + ' of ' + all.length + ', '"
        "+ style.maxWidth }"
        "</script>"
    )
    counting = tmp_path / "counting.html"
    policy = "default-src 'none'; "
    assert page.count(policy) == 1
    page = page.replace(policy, policy + "script-src 'unsafe-inline'; ")
    counting.write_text(page.replace("</html>", count + "</html>"))
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
         "--dump-dom", counting.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "<title>0 of 10, 1120px</title>" in shown


def test_a_run_as_a_program_leaves_it(tmp_path):
    """A sweep, whose errors on each task and places of evaluation are drawn."""
    flags = ["--tasks", "2", "--seeds", "2", "--alpha", "0.5", "0.1"]
    program.main(toy.PROGRAM, [*flags, "--out", str(tmp_path / "run")])
    markdown, _ = make(tmp_path / "report", tmp_path / "run")
    known = record.load(tmp_path / "run/metrics.json")
    for one in known.results:
        assert f"| {one.title} | {one.spread('final_error').text()} | " in markdown
    assert "| One, alpha 0.5 minus One, alpha 0.1 | Final error |" in markdown
    assert re.findall(r"!\[(.*?)\]", markdown) == ["run: errors", "run: places"]


def test_the_curves_of_any_study_are_drawn(tmp_path, monkeypatch):
    """A mean over all tasks and one value for each, but no texts or task lengths."""
    drawn = []
    real = curves.by_task
    monkeypatch.setattr(
        curves, "by_task", lambda *args, **how: drawn.append(how) or real(*args, **how)
    )
    rng = np.random.default_rng(0)
    per_seed = {
        "seed": [0, 1], "error": [0.1, 0.2], "error_curve": rng.uniform(size=(2, 4, 3)).tolist(),
        "norm_curve": rng.uniform(size=(2, 4)).tolist(), "examples_per_task": [[1, 2], [3, 4]],
        "checksum": ["a", "b"], "names": [["a", "b"], ["c", "d"]], "none": [[], []],
        "deep": {"curve": [[1, 2], [3, 4]]},
    }  # fmt: skip
    one = Result("MER", "MER", {}, 1.0, per_seed)
    path = folder(tmp_path / "sine", one, metrics={"error": "Error"}, evaluations=[0, 5, 10, 15])
    markdown, _ = make(tmp_path / "report", path)
    assert re.findall(r"!\[(.*?)\]", markdown) == ["sine: error", "sine: norm"]
    assert [how["labels"] for how in drawn] == [("evaluations", "error"), ("evaluations", "norm")]
    assert [how["names"] for how in drawn] == [[], ["norm"]]
    assert drawn[0]["places"] == [0, 5, 10, 15]


def test_results_are_compared_over_the_seeds_that_both_have(tmp_path):
    """One that has done the first two and another that has done one of them."""
    one, other = result("MER", 0, 2), result("ER", 0, 1)
    other.per_seed["seed"] = [1]
    markdown, _ = make(tmp_path / "report", folder(tmp_path / "runs", one, other))
    change = one.per_seed["retained_accuracy"][1] - other.per_seed["retained_accuracy"][0]
    found = differences(markdown)["MER minus ER", "retained_accuracy"]
    assert found[0].strip() == f"{change:+.2f}"
    assert found[1:] in ([], [""])


def test_what_diverged_is_said_and_not_drawn(tmp_path):
    lost = result("Online", 1)
    for metric in METRICS:
        lost.per_seed[metric] = [None] * 5
    markdown, _ = make(tmp_path / "report", folder(tmp_path / "runs", result("MER", 0), lost))
    assert "| Online | diverged |" in markdown
    assert "## Differences" not in markdown
    markdown, _ = make(tmp_path / "report", folder(tmp_path / "lost", lost))
    assert "![" not in markdown


def test_games_have_a_score_for_each_task(tmp_path):
    """Two seeds of two tasks, evaluated at the start and after each."""
    x = np.random.default_rng(0).uniform(0, 30, (2, 2, 3, 2))
    agents = [
        Result(title, title, {"alpha": 0.1}, 1.0, {
            "seed": [0, 1], "final_score": one[:, -1].mean(1).tolist(),
            "scores": one.tolist(), "score_by_task": one[:, -1].tolist(),
        })
        for title, one in zip(("DQN", "DQN-MER"), x, strict=True)
    ]  # fmt: skip
    path = folder(tmp_path / "g", *agents, metrics={"final_score": "Final score"},
                  frames=[0, 50, 100])  # fmt: skip
    markdown, _ = make(tmp_path / "report", path)
    for agent in agents:
        task = agent.array("score_by_task")[:, 1]
        text = f"{task.mean():.1f} ± {task.std(ddof=1):.1f} |"
        assert f"| {agent.title} | {agent.spread('final_score').text()} |" in markdown
        assert text in markdown
    change = (agents[0].array("final_score") - agents[1].array("final_score")).mean()
    assert f"| DQN minus DQN-MER | Final score | {change:+.2f} |" in markdown
    assert markdown.count("![") == 1


def test_losses_have_three_digits(tmp_path):
    """Two seeds of two kinds of text, evaluated before and after each."""
    losses = np.random.default_rng(0).uniform(1, 8, (2, 3, 2))
    per_seed = {"seed": [0, 1], "final_loss": losses[:, -1].mean(1).tolist(),
                "losses": losses.tolist()}  # fmt: skip
    one = Result("both", "both", {}, 1.0, per_seed)
    path = folder(tmp_path / "texts", one, metrics={"final_loss": "Final loss"},
                  domains=[{"name": "Python"}, {"name": "licences"}])  # fmt: skip
    markdown, _ = make(tmp_path / "report", path)
    assert f"| both | {one.spread('final_loss').text(3)} |" in markdown
    assert markdown.count("![") == 1


def test_runs_are_named_by_what_differs(tmp_path, capsys):
    paths = [folder(tmp_path / name / "run", result("MER", 0)) for name in ("first", "second")]
    markdown, _ = make(tmp_path / "report", *paths)
    assert "## first/run" in markdown
    assert "| MER (first/run) minus MER (second/run) |" in markdown
    for flags, says in (
        ([], "name the folder of at least one run"),
        ([paths[0], tmp_path / "second/../first/run"], "named more than once"),
    ):
        with pytest.raises(SystemExit) as stop:
            make(tmp_path / "report", *flags)
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1


WHOLE = {"format": 2, "command": "python", "metrics": METRICS}
PART = result("ER", 0).to_json()
SHORT = PART | {"per_seed": {n: v for n, v in PART["per_seed"].items() if n != "bti"}}
FLAT = PART | {"per_seed": PART["per_seed"] | {"accuracy_matrix": 3}}


@pytest.mark.parametrize(
    "content",
    [
        None, "", "[]", "{}", json.dumps(WHOLE | {"results": 3}), json.dumps(WHOLE),
        json.dumps(WHOLE | {"results": [SHORT]}), json.dumps(WHOLE | {"results": [FLAT]}),
        json.dumps(WHOLE | {"results": [PART], "format": 1}),
        json.dumps({n: v for n, v in WHOLE.items() if n != "command"} | {"results": [PART]}),
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
    assert ("leave it out, or learn that run again" in complaint) == (content is not None)
    assert complaint.count("\n") == 1


def test_a_folder_of_runs_is_answered_with_one_of_them(tmp_path, capsys):
    cell = folder(tmp_path / "tables/cells/rotations/mer-200", result("MER", 0))
    for place, found in ((tmp_path / "tables", cell), (cell.parent, cell)):
        with pytest.raises(SystemExit):
            make(tmp_path / "report", place)
        says = f"{place} has no metrics.json; give a run's or a cell's folder, such as {found}\n"
        assert capsys.readouterr().err.endswith(says)


HOSTILE = "[x](javascript:alert(1)) ![y](http://far.away/z.png) <script>a</script> | `b` \n# c"


def test_text_of_files_is_shown_as_it_is_and_nothing_is_loaded(tmp_path):
    settings = {HOSTILE: 0.1}
    one = result("MER", 0)._replace(title=HOSTILE, settings=settings)
    path = folder(tmp_path / "run|[a](b)", one, caption=HOSTILE, command=HOSTILE)
    main([str(path), "--out", str(tmp_path / "out")])
    page = (tmp_path / "out/report.html").read_text()
    assert "<a " not in page
    assert "<script" not in page
    assert set(re.findall(r'src="(.{22})', page)) == {"data:image/png;base64,"}
    assert "default-src 'none'; img-src data:;" in page
    assert page.count("<h1>") == 1
    head, body = (re.findall(f"<{tag}>|<{tag} ", page) for tag in ("th", "td"))
    assert len(body) == len(head)  # one line, so no bar began a new cell
    assert page.count("[x](javascript:alert(1))") >= 3
    assert page.count("http://far.away/z.png") >= 3
