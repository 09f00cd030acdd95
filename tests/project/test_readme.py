"""The README's program runs as it is written, and its numbers are the recorded ones."""

import re

import pytest

from experiments.running import record
from tests.project import pages
from tests.project.pages import ROOT

README = pages.README.read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_the_example_learns(capsys):
    names = pages.run(pages.README)
    first, last = map(float, capsys.readouterr().out.split("->"))
    assert last < first / 2
    assert names["info"].loss.shape == (5, 500)


def test_exactly_two_set_up_commands():
    commands = re.findall(r"^pip install .*", README, re.MULTILINE)
    assert commands == [
        'pip install -e ".[experiments]" && python -m experiments.supervised',
        'pip install -e ".[test]" && pytest',
    ]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *pages.PAGES], ids=lambda page: page.name)
def test_every_picture_and_file_that_a_page_names_is_there(page):
    for target in pages.links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = page.parent / name
        assert path.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
            assert anchor in slugs, target


def test_the_first_command_is_recorded():
    """Its table and its picture, with MER ahead of ER, and ER ahead of online learning."""
    folder = ROOT / "experiments" / "results" / "first-command"
    recorded = record.load(folder / "metrics.json")
    assert recorded.about["command"] == "python -m experiments.supervised"
    assert len(recorded.seeds) == 3
    methods = {result.title: result for result in recorded.results}
    retained = {name: result.spread("retained_accuracy").mean for name, result in methods.items()}
    assert retained["MER"] > retained["ER"] + 5
    assert retained["ER"] > retained["Online"]
    shown = README[: README.index("## Install")]
    for name, result in methods.items():
        cells = [result.spread(metric).text() for metric in recorded.metrics]
        assert f"| {name} | {' | '.join(cells)} |" in shown
    assert "experiments/results/first-command/accuracy.png" in shown


def test_its_sentence_on_mnist_has_the_numbers_of_the_table():
    shown = " ".join(README.split())
    reproduced = pages.rows((ROOT / "docs/reproduction.md").read_text(encoding="utf-8"))
    numbers = [
        f"{float(number):.1f}"
        for row in ("MER 500", "GEM 500", "Online")
        for number in re.findall(r"[\d.]+", reproduced[row][0])[:3]
    ]
    mer, mer_std, published, gem, _, _, online, _, _ = numbers
    assert f"**{mer} ± {mer_std} %** (published: {published})" in shown
    # The record has 52.848, which the table rounds to 52.85.
    assert online in ("52.8", "52.9")
    assert f"retains {gem} % and plain SGD 52.8 %" in shown
