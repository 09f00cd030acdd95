"""The README's programs run as they are written."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mer_jax
from experiments.bench.__main__ import number
from experiments.running import record

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def programs():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_with_linen_and_the_one_with_nnx_learn(programs, capsys):
    linen, with_nnx, with_dropout = programs
    names = {}
    exec(linen, names)
    first, last = map(float, capsys.readouterr().out.split("->"))
    assert last < first / 2
    assert names["info"].loss.shape == (5, 500)
    exec(with_nnx, names)
    loss = np.asarray(names["info"].loss)
    assert loss[-50:].mean() < loss[:50].mean() / 2
    assert names["model"](names["x"][0]).shape == (3,)
    assert jax.tree.all(jax.tree.map(lambda p: np.isfinite(p).all(), names["state"].params))
    exec(with_dropout, names)
    loss = np.asarray(names["info"].loss)
    assert loss[-50:].mean() < loss[:50].mean()


def test_statistics_of_a_batch_norm_are_no_parameters():
    """With the README's way of splitting an nnx model."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)
            self.out = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x):
            return self.out(self.norm(x))

    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)

    def loss(params, x):
        return (nnx.merge(graph, params, rest)(x) ** 2).sum()

    learner = mer_jax.er(loss, optimizer=optax.sgd(0.1), batch_size=2, capacity=4)
    state = learner.init(params, jnp.ones(3))
    state, _ = mer_jax.run(jax.random.key(0), learner, state, jnp.ones((5, 3)))
    before, after = Net(nnx.Rngs(0)), nnx.merge(graph, state.params, rest)
    assert not np.array_equal(after.norm.scale[...], before.norm.scale[...])
    np.testing.assert_array_equal(after.norm.mean[...], before.norm.mean[...])
    np.testing.assert_array_equal(after.norm.var[...], before.norm.var[...])


def test_exactly_two_set_up_commands():
    commands = re.findall(r"^pip install .*", README, re.MULTILINE)
    assert commands == [
        'pip install -e ".[experiments]" && python -m experiments.supervised',
        'pip install -e ".[test]" && pytest',
    ]


def test_every_picture_and_file_it_names_is_there():
    for name in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / name).exists(), name


def table(*first):
    """The rows of the README's table whose first column is one of these, as lists of cells."""
    rows = [line.strip("|").split("|") for line in README.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0]: row[1:] for row in cells if row[0] in first}


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
    shown = README[: README.index("## In your own program")]
    for name, result in methods.items():
        cells = [result.spread(metric).text() for metric in recorded.metrics]
        assert f"| {name} | {' | '.join(cells)} |" in shown
    assert "experiments/results/first-command/accuracy.png" in shown


def test_its_times_are_the_recorded_ones():
    recorded = json.loads((ROOT / "experiments/results/bench/bench.json").read_text())["rows"]
    shown = table(*(row["what"] for row in recorded))
    assert 8 <= len(shown) <= 12
    for row in recorded:
        if row["what"] in shown:
            assert shown[row["what"]] == [number(row["median"]), row["unit"]]


def test_its_table_has_the_numbers_of_the_results():
    results = {}
    for table in ("retained-accuracy", "omniglot"):
        results |= json.loads((ROOT / f"experiments/results/{table}.json").read_text())
    section = README[README.index("## MNIST and Omniglot") :]
    rows = re.findall(
        r"^\| ((?:Online|EWC|GEM|MER|ER)(?: \d+)?) \| (.*) \|$", section, re.MULTILINE
    )
    assert len(rows) == 9
    compared = 0
    for method, cells in rows:
        name = method.lower().replace(" ", "-")
        benchmarks = ("rotations", "permutations", "many-permutations", "omniglot")
        for benchmark, text in zip(benchmarks, cells.split(" | "), strict=True):
            if not text.strip():
                continue
            (kept,) = results[f"{benchmark}/{name}"]["results"]
            ours = kept["retained_accuracy"]
            assert f"{ours['mean']:.2f} ± {ours['std']:.2f}" in text
            if "published" in kept:
                mean, spread = kept["published"]
                assert f"({mean:.2f} ± {spread:.2f})" in text
            compared += 1
    assert compared > 25
