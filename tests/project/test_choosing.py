"""The page on choosing MER's settings: its programs run, its numbers are those of the results."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import mer_jax
from experiments.running.program import main
from experiments.supervised.methods import PUBLISHED
from experiments.supervised.study import PROGRAM
from mer_jax.data.benchmarks import BENCHMARKS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments/results"
PAGE = (ROOT / "docs/choosing.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def table(head):
    """The rows below the head that begins so, as cells without spaces around them."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    rows = []
    for line in [lines[start], *lines[start + 2 :]]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def read(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def ablation():
    return [entry for cell in read("ablation.json").values() for entry in cell["results"]]


def of_ablation(**settings):
    """Those entries of the ablation which have these settings, and the published ones else."""
    wanted = {"alpha": 0.1, "beta": 0.01, "gamma": 1, "num_batches": 10, "batch_size": 11}
    wanted |= settings
    return [e for e in ablation() if all(e["settings"][k] == v for k, v in wanted.items())]


def written(entry):
    values = entry["retained_accuracy"]
    if values["mean"] is None:
        seeds = values["per_seed"]
        return f"{sum(seed is None for seed in seeds)} of {len(seeds)} diverged"
    return f"{values['mean']:.2f} ± {values['std']:.2f}"


@pytest.mark.parametrize(
    ("head", "down", "across", "size"),
    [("| β \\ γ", "beta", "gamma", (6, 3)), ("| s \\ k", "num_batches", "batch_size", (4, 4))],
)
def test_its_grids_are_the_ablation(head, down, across, size):
    (_, *columns), *rows = table(head)
    assert (len(rows), len(columns)) == size
    for name, *cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            entries = of_ablation(**{down: float(name), across: float(column)})
            assert cell in {written(entry) for entry in entries}


def test_its_sentence_on_products_is_of_the_ablation():
    pairs = [e for e in ablation() if e["settings"]["num_batches"] == 10]
    pairs = {(e["settings"]["beta"], e["settings"]["gamma"]): e for e in pairs[:18]}
    assert len(pairs) == 18
    within = [
        entry["retained_accuracy"]["mean"]
        for (beta, gamma), entry in pairs.items()
        if 0.0029 < beta * gamma < 0.031
    ]
    assert len(within) == 9
    expected = f"from 0.003 to 0.03 retain {min(within):.2f} to {max(within):.2f}."
    assert f"All nine pairs with a product βγ {expected}" in WORDS


def test_its_signs_are_of_the_ablation():
    cell = read("ablation.json")["ablation/rotations/mer-500-beta-gamma"]
    known = {(e["settings"]["beta"], e["settings"]["gamma"]): e for e in cell["results"]}
    rows = table("| Sign")[1:]
    assert len(rows) == 5
    for _, seen, *numbers, _ in rows:
        beta, gamma = map(float, re.findall(r"[\d.]+", seen))
        entry = known[beta, gamma]
        means = [entry[name]["mean"] for name in ("learning_accuracy", "bti")]
        assert numbers == ["diverged" if mean is None else f"{mean:.2f}" for mean in means]


def test_its_rates_on_omniglot_are_of_the_sweeps():
    (_, *alphas), *rows = table("| Memories, s, k, β")
    entries = [e for c in read("sweeps.json").values() for e in c["results"]]
    names = ("capacity", "num_batches", "batch_size", "beta", "alpha")
    known = {
        tuple(e["settings"][name] for name in names): e["retained_accuracy"]["mean"]
        for e in entries
        if all(name in e["settings"] for name in names) and e["settings"]["gamma"] == 1
    }
    compared = 0
    for settings, *cells in rows:
        sizes = tuple(map(float, settings.split(", ")))
        for alpha, cell in zip(alphas, cells, strict=True):
            if cell:
                assert cell == f"{known[(*sizes, float(alpha.removeprefix('α ')))]:.2f}"
                compared += 1
    assert compared == 6
    assert f"best: {known[150, 10, 11, 0.03, 0.1]:.2f}, with α 0.1 and β 0.03." in WORDS


def test_its_costs_are_of_the_bench_and_the_tables():
    medians = {row["what"]: row["median"] for row in read("bench/bench.json")["rows"]}

    def of(what):
        return medians[what]

    step = "one per-example SGD step of MER"
    share = "example's share of a mini-batch of"
    over = f"{step[4:]} over an {share}"
    at_11, at_101 = of(f"{step}, s = 10, k = 11"), of(f"{step}, s = 10, k = 101")
    omniglot = of(f"{step}, s = 1, k = 26, Omniglot's network")
    cells = read("retained-accuracy.json").items()
    retained = {name: cell["results"][0] for name, cell in cells}

    def both(cell):
        return f"{retained[cell]['seconds'] / 60:.1f} minutes and"

    bti = [retained[f"rotations/mer-{size}"]["bti"]["mean"] for size in (200, 500, 5120)]
    for sentence in (
        f"takes {at_11:.1f} µs at k 11 and {at_101:.1f} µs at k 101, a step of Omniglot's network "
        f"{omniglot:,.0f} µs",
        f"take {of('one seed of MER 5120 on Rotations, start to finish'):.0f} s from start",
        f"memories {of('one seed of MER 200 on Rotations, start to finish'):.1f} s",
        f"costs {of(f'one {share} 101'):.2f} µs at k 101, so a step of MER "
        f"costs {of(f'a {over} 101, s = 10, k = 101'):.1f} times",
        f"and {of(f'a {over} 11, s = 10, k = 11'):.2f} times at k 11",
        f"take {both('rotations/mer-5120')} retain {written(retained['rotations/mer-5120'])}",
        f"{both('rotations/er-5120')} {written(retained['rotations/er-5120'])}",
        f"{of('SGD steps of MER, 64 seeds in a vmap'):.1f} thousand steps a second with 64 seeds, "
        f"{of('SGD steps of MER, one seed'):.1f} with one",
        f"{of('a step of MER with 1,000,000 memories over one with 1,000'):.2f} times as long",
        f"BTI is {bti[0]:.2f} with 200 memories, {bti[1]:.2f} with 500 and {bti[2]:.2f} with",
    ):
        assert sentence in WORDS, sentence


def test_its_size_of_a_row():
    example = mer_jax.Example(np.zeros(784, np.uint8), np.int32(0), np.int32(0))
    row = sum(leaf.nbytes for leaf in example)
    assert f"{row} bytes for a flat image of 784 bytes with label and task" in WORDS
    assert f"5,120 rows take {5120 * row / 1e6:.1f} MB" in WORDS


def test_its_grid_holds_a_published_setting_of_each_size():
    head, *rows = table("| Memory")
    assert head[1:6] == ["α", "β", "γ", "s", "k"]
    published = PUBLISHED["mer", "rotations"]
    for capacity, (_, *values, _, _) in zip((200, 500, 5120), rows[:3], strict=True):
        lists = [[float(value) for value in cell.split(", ")] for cell in values]
        names = ("alpha", "beta", "gamma", "num_batches", "batch_size")
        for name, offered in zip(names, lists, strict=True):
            assert published[capacity][name] in offered
    for _, *values, settings, runs in rows:
        assert int(settings) == np.prod([len(cell.split(", ")) for cell in values])
        assert int(runs) == 2 * int(settings)
    every = [row for on in BENCHMARKS for row in PUBLISHED["mer", on].values()]
    assert {(row["alpha"], row["beta"]) for row in every} == {(0.1, 0.01), (0.03, 0.03)}
    assert {row["gamma"] for row in every} == {1.0}


def test_its_command_runs(tmp_path, unrendered):
    (command,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    python, module, name, *args = shlex.split(command.replace("\\\n", ""))
    assert [python, module, name] == ["python", "-m", "experiments.supervised"]
    args[args.index("--tasks") + 1] = "2"
    args[args.index("--out") + 1] = str(tmp_path)
    main(PROGRAM, [*args, "--examples-per-task", "10", "--test-images", "50"])
    rows = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()[2:8]
    assert [row.split("|")[1].strip() for row in rows] == [
        f"MER, alpha {alpha}, beta {beta}" for alpha in (0.03, 0.1) for beta in (0.01, 0.03, 0.1)
    ]


def test_its_program_finds_rates_that_learn(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(program, names)
    known = np.asarray(names["table"])
    assert known.shape == (2, 3, 2)
    assert known.mean(-1).max() > 0.7 > known.mean(-1).min() > 1 / 6
    best = f"{100 * known.mean(-1).max():.0f} %"
    assert capsys.readouterr().out.strip().endswith(best)
