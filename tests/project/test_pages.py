"""The pages of the documentation: their programs learn, and their numbers are the recorded ones."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import mer_jax
from experiments.bench.__main__ import number
from experiments.running import record
from tests.project import pages
from tests.project.pages import ROOT

pytestmark = pytest.mark.usefixtures("quick_keys")

DOCS = ROOT / "docs"
RESULTS = ROOT / "experiments/results"


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


def same(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def test_quickstart():
    names = pages.run(DOCS / "quickstart.md", end=3)
    loss = np.asarray(names["info"].loss)
    assert loss[-50:].mean() < loss[:50].mean() / 2
    assert names["accuracy"] > 0.7
    names = pages.run(DOCS / "quickstart.md", start=3, names=names)
    known, memories = (np.asarray(names["metrics"][name]) for name in ("accuracy", "memories"))
    assert known[0] < 0.6 < 0.7 < known[-1]
    assert memories.tolist() == [*range(1, 501)]
    assert names["restored"].step == 500
    assert names["R"].shape == (3, 2)
    assert names["R"][2].min() > 70 > names["R"][0].max()
    assert (names["retained"], names["learned"], names["bti"]) == (75, 85, -10)


def test_a_scan_of_ones_own_keeps_the_first_task():
    """The page's scan on three tasks: half-planes, turned by 90 degrees in every other one."""

    def turning_points(key):
        tasks = jnp.repeat(jnp.arange(3), 200)
        points = jax.random.normal(key, (600, 2))
        turned = points @ jnp.float32([[0, 1], [-1, 0]])
        ahead = jnp.where((tasks % 2 == 0)[:, None], points, turned)
        # The task is part of the input, so that one network can learn all tasks.
        x = jnp.concatenate([points, jax.nn.one_hot(tasks, 3)], axis=1)
        return mer_jax.Example(x, (ahead[:, 0] > 0).astype(jnp.int32), tasks)

    net, stream = mer_jax.networks.mlp((5, 32, 2)), turning_points(jax.random.key(0))
    rates = {"alpha": 0.1, "beta": 0.3, "gamma": 1}
    learner = mer_jax.mer(net.loss, **rates, num_batches=5, batch_size=6, capacity=60)
    names = {"jax": jax, "jnp": jnp, "mer_jax": mer_jax, "learner": learner, "stream": stream}
    names["net"] = net._replace(init=lambda key, x: net.init(key))
    names["apply"], names["example"] = net.apply, jax.tree.map(lambda leaf: leaf[0], stream)
    names["test"] = jax.tree.map(lambda leaf: leaf[:200], turning_points(jax.random.key(2)))
    exec(next(one for one in pages.programs(DOCS / "quickstart.md") if "def step" in one), names)
    known = np.asarray(names["metrics"]["accuracy"])
    assert known[0] < 0.8 < known[199]
    assert known[-1] > 0.8


def test_a_state_is_saved_and_restored():
    """Of the page's network, and of one that nnx has split."""
    save = next(one for one in pages.programs(DOCS / "quickstart.md") if "to_bytes" in one)
    model = nnx.Linear(8, 3, rngs=nnx.Rngs(0))
    _, params = nnx.split(model, nnx.Param)
    learner = mer_jax.online(lambda params, example: 0.0, optimizer=optax.adam(0.1))
    for of in (params, {"w": jnp.ones((2, 3), jnp.bfloat16)}):
        names = {"jax": jax, "state": learner.init(of, jnp.zeros(8))}
        exec(save, names)
        assert jax.tree.structure(names["restored"]) == jax.tree.structure(names["state"])
        same(names["restored"], names["state"])


def test_mer_explained_is_the_library():
    names = pages.run(DOCS / "mer.md")
    same(names["after"], names["expected"], rtol=1e-5, atol=1e-6)
    assert names["losses"].shape == (2, 3)
    assert names["dot"].shape == ()
    assert names["replays"].x.shape == (5, 4)


def traced(function):
    """In place of `jax.jit`: shapes of the results, without compiling."""
    return functools.partial(jax.eval_shape, function)


def test_models_of_several_libraries():
    """With nnx, dropout, own examples and references they learn, the others are only traced."""
    start, linen, plain_nnx, dropout, augment, equinox, haiku, *rest = pages.programs(
        DOCS / "models.md"
    )
    names = {"traced": traced}
    exec(start, names)
    for program in (plain_nnx, dropout, *rest):
        exec(program, names)
        if program is plain_nnx:
            assert names["infos"].loss.shape == (3, 500)
            assert len(np.unique(names["infos"].loss[:, 0])) == 3
        if program is rest[0]:
            kept, learned = names["state"].memory.examples, names["state"].params
        loss = np.asarray(names.pop("info").loss)
        assert loss.shape == (500,)
        assert loss[-100:].mean() < 0.9 * loss[:100].mean(), program
    assert len(rest) == 4
    assert jax.tree.map(np.shape, kept) == {"point": (60, 8), "label": (60,), "weight": (60,)}
    assert set(np.unique(kept["weight"])) == {1.0, 2.0}
    outputs = jax.nn.relu(names["x"] @ learned["in"]) @ learned["out"]
    assert (outputs.argmax(1) == names["stream"].y).mean() > 0.8
    rate = optax.sgd(lambda step: 0.3 / (1 + 0.001 * step))
    er = mer_jax.er(names["loss"], optimizer=rate, batch_size=11, capacity=100)
    state, _ = names["learn"](er, jnp.zeros((8, 3)), names["stream"])
    same(state.params, names["state"].params, rtol=1e-4, atol=1e-5)
    assert names["logits"].shape == (3,)
    exec(start.replace("jax.jit(", "traced("), names)
    for program in (linen, equinox, haiku):
        exec(program, names)
        assert names.pop("info").loss.shape == (500,)
    exec(augment, names)
    assert names["seen"].x.shape == (28, 28)


def test_statistics_of_a_batch_norm_are_no_parameters():
    """With the page's way of splitting an nnx model."""

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
    changing = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    learner = mer_jax.online(lambda w, x: changing(w * x).sum(), optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="and BatchNorm use_running_average"):
        learner.update(jax.random.key(0), learner.init(1.0, jnp.ones(3)), jnp.ones(3))


def test_a_sweep_over_seeds_and_rates():
    names = {"accuracy": lambda seed, alpha: seed + alpha}
    table = pages.run(DOCS / "scaling.md", end=1, names=names)["table"]
    same(table, jnp.arange(8) + jnp.float32([0.01, 0.03, 0.1, 0.3])[:, None])
    names = {}  # JAX has started: the number of devices stays
    program = pages.programs(DOCS / "scaling.md")[1]
    exec(program.replace("jax.config.update(", "print("), names)
    assert names["table"].shape == (8, 4)
    assert (names["table"].mean(0) > 0.7).all()


def test_a_game():
    pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
    (program,) = pages.programs(DOCS / "games.md")
    names = {"traced": traced}
    exec(program.replace("jax.jit(", "traced("), names)
    assert names["info"].episode_return.shape == (200,)


def test_a_language_model():
    (program,) = pages.programs(DOCS / "language.md")
    names = {"traced": traced}
    exec(program.replace("jax.jit(", "traced("), names)
    assert names["losses"].shape == (20,)
    assert names["params"]["embed"].shape == (50, 16)


def test_the_times_are_the_recorded_ones():
    recorded = json.loads((RESULTS / "bench/bench.json").read_text())["rows"]
    shown = pages.rows(read("benchmarks.md"))
    found = [row for row in recorded if row["what"] in shown]
    assert 8 <= len(found) <= 12
    for row in found:
        assert shown[row["what"]] == [number(row["median"]), row["unit"]]


def test_the_table_of_the_reproduction_has_the_numbers_of_the_results():
    results = {}
    for table in ("retained-accuracy", "omniglot"):
        results |= json.loads((RESULTS / f"{table}.json").read_text())
    rows = re.findall(
        r"^\| ((?:Online|EWC|GEM|MER|ER)(?: \d+)?) \| (.*) \|$",
        read("reproduction.md").partition("## Split classes")[0],
        re.MULTILINE,
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


def test_open_questions_have_the_recorded_numbers():
    page = read("open-questions.md")
    recorded = (RESULTS / "open-questions.md").read_text(encoding="utf-8")
    numbers = re.findall(r"\d+\.\d+\s±\s\d+\.\d+", page)
    assert len(numbers) > 12
    assert not [one for one in numbers if " ".join(one.split()) not in recorded]
    readings = [line for line in page.splitlines() if line.startswith(("| g(", "| cos(", "| Publ"))]
    assert len(readings) == 8
    assert not [line for line in readings if line not in recorded.splitlines()]


def test_split_classes_have_the_recorded_numbers():
    text = read("reproduction.md").partition("## Split classes")[2].partition("\n## ")[0]
    recorded = (RESULTS / "split.md").read_text(encoding="utf-8")
    shown = {name: row for name, row in pages.rows(text).items() if name in ("MER", "DER++", "GEM")}
    for name, cells in shown.items():
        for memories, cell in zip((200, 500, 5120), cells, strict=True):
            assert f"| MNIST | {name} | {memories} | {cell} |" in recorded
    assert len(shown) == 3


def test_the_page_of_experiments_shows_the_example():
    """The formatter of code blocks must leave the directive of the site as it is."""
    assert '\n--8<-- "experiments/examples/drifting_sine.py"\n' in read("experiments.md")


def test_augmented_drawings_have_the_recorded_numbers():
    text = " ".join(read("reproduction.md").partition("**Augmented drawings.**")[2].split())
    recorded = json.loads((RESULTS / "omniglot.json").read_text(encoding="utf-8"))
    mer, few, er, wider, wider_er = (
        recorded[name]["results"][0]
        for name in (
            "augmented/omniglot/mer-5120", "augmented/omniglot/mer-500",
            "augmented/omniglot/er-500", "wider/omniglot/mer-500", "wider/omniglot/er-500",
        )
    )  # fmt: skip
    wide, wide_er = wider["retained_accuracy"], wider_er["retained_accuracy"]
    assert (
        f"of all fifty alphabets and ER 500 {wide_er['mean']:.1f} ± {wide_er['std']:.1f}." in text
    )
    ahead = np.subtract(wide["per_seed"], wide_er["per_seed"])
    assert (np.floor(ahead) == 6).all()
    assert (
        f"in place of 64, **MER 500 retains {wide['mean']:.1f} ± {wide['std']:.1f} %** of all"
        in text
    )
    alone = [
        recorded[f"{group}omniglot/{method}"]["results"][0]["retained_accuracy"]
        for group in ("augmented/", "")
        for method in ("online", "ewc")
    ]
    means = [f"{one['mean']:.1f}" for one in alone]
    large = recorded["augmented/omniglot/er-5120"]["results"][0]["retained_accuracy"]
    assert f"ER 5120 retains {large['mean']:.1f} ± {large['std']:.1f} % with batches of 76" in text
    assert (
        f"online learning retains {means[0]} ± {alone[0]['std']:.1f} % and EWC {means[1]} " in text
    )
    assert f"{alone[1]['std']:.1f} ({means[2]} and {means[3]} without)" in text
    retained, learned = mer["retained_accuracy"], mer["learning_accuracy"]
    first, second = few["retained_accuracy"], er["retained_accuracy"]
    assert f"**MER 500 retains {first['mean']:.1f} ± {first['std']:.1f} %** and ER 500 " in text
    without = [
        f"{recorded[name]['results'][0]['retained_accuracy']['mean']:.1f} ± "
        f"{recorded[name]['results'][0]['retained_accuracy']['std']:.1f}"
        for name in ("omniglot/mer-500", "omniglot/er-500", "first-10/omniglot/mer-500",
                     "first-10/omniglot/er-500")
    ]  # fmt: skip
    assert f" and ER 500 {second['mean']:.1f} ± {second['std']:.1f} ({without[0]} and " in text
    assert f" and {without[1]} without, published for MER 32.1)" in text
    assert f"With 500 memories MER retains {without[2]} % and ER {without[3]}." in text
    joint = [
        record.load(RESULTS / f"joint/{size}-filters/metrics.json")
        .results[0]
        .spread("test_accuracy")
        for size in (64, 256)
    ]
    assert f"reaches {joint[0].mean:.1f} % after 40 passes" in text
    assert f"and {joint[1].mean:.1f} with 256 filters" in text
    assert f"**MER 5120 retains {retained['mean']:.1f} ± {retained['std']:.1f} %**" in text
    assert f"and learns {learned['mean']:.1f} %" in text
    tried = json.loads((RESULTS / "augmented-sweeps.json").read_text(encoding="utf-8"))
    best = {}
    attempts = {
        name.split("/")[1] + name.rpartition("/")[2].partition("-alpha")[0]: cell["results"][0]
        for name, cell in tried.items()
    }
    for name, told in (
        ("more-batchesmer-1020", "Five batches of 26 retain {} %"),
        ("widermer-1020", " %, 256 filters {}, β 0.1 "),
        ("more-batchesmer-100", "With 100 memories three batches of 26 retain {} %"),
        ("widermer-100", "and 256 filters {} (ER "),
        ("widerer-100", " (ER {})."),
    ):
        assert told.format(f"{attempts[name]['retained_accuracy']['mean']:.1f}") in text
    rates = {
        f"{one['settings']['alpha']:g} {one['settings']['beta']:g}": one["retained_accuracy"][
            "mean"
        ]
        for name, cell in tried.items()
        if "/other-rates/" in name
        for one in cell["results"]
    }
    told = "β 0.1 {0.03 0.1:.1f}, β 0.5 {0.03 0.5:.1f}, and α 0.1 with β 0.1 {0.1 0.1:.1f}."
    for name, value in rates.items():
        told = told.replace(f"{{{name}:.1f}}", f"{value:.1f}")
    assert told in text
    for name, cell in tried.items():
        if "/shift-2/" not in name:
            continue
        key = name.rpartition("/")[2].partition("-alpha")[0]
        best[key] = max(best.get(key, 0), cell["results"][0]["retained_accuracy"]["mean"])
    more = [attempts["more-batchesmer-1020"], attempts["widermer-1020"]]
    assert (
        max(*(one["retained_accuracy"]["mean"] for one in more), *rates.values()) < best["mer-1020"]
    )
    assert f"none of five retains more than its {best['mer-1020']:.1f} %" in text
    shown = [f"{best[name]:.1f}" for name in ("mer-1020", "er-1020", "mer-100", "er-100")]
    others = (
        "With 1,020 memories ER by task retains {er-by-task-1020:.1f} %, algorithm 6 "
        "{mer-big-batch-1020:.1f}, algorithm 7 {mer-current-rate-1020:.1f}, exact alignment "
        "{exact-alignment-1020:.1f} and A-GEM {agem-1020:.1f}. GEM retains {gem-100:.1f} % with "
        "100 memories. Without any, Independent retains {independent:.1f} %, online learning "
        "{online:.1f}, EWC {ewc:.1f} and Task Input {task-input:.1f}."
    )
    assert others.format_map(best) in text
    assert f"MER retains {shown[0]} % with three batches" in text
    assert f"ER retains {shown[1]} with batches of 76" in text
    assert f"MER retains {shown[2]} % and ER {shown[3]}." in text
