"""The supervised program: its data, methods, settings and record."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mer_jax
from experiments.running import devices
from experiments.running.batches import Setting
from experiments.running.problem import Own
from experiments.running.program import main
from experiments.supervised import methods, metrics, study
from experiments.supervised.problem import convolutional, dense
from mer_jax.data import benchmark_files, benchmarks, datasets

pytestmark = pytest.mark.usefixtures("quick_keys")

ROOT = Path(__file__).parents[3]
SMALL = ["--tasks", "2", "--examples-per-task", "30", "--test-images", "60", "--seeds", "2"]


def run(out, *flags):
    main(study.PROGRAM, ["--out", str(out), *map(str, flags)])
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, run(out, *SMALL, "--method", "mer", "--capacity", 50, "--watch")


def test_a_run_leaves_its_metrics(finished):
    out, content = finished
    (result,) = content["results"]
    R = np.array(result["per_seed"]["accuracy_matrix"])
    assert R.shape == (2, 3, 2)
    learned = np.diagonal(R[:, 1:], axis1=1, axis2=2).mean(1)
    for name, per_seed in (
        ("retained_accuracy", R[:, -1].mean(1)),
        ("learning_accuracy", learned),
        ("bti", R[:, -1].mean(1) - learned),
    ):
        assert content[name]["per_seed"] == result["per_seed"][name]
        np.testing.assert_allclose(content[name]["per_seed"], per_seed, atol=0.02)
        assert content[name]["mean"] == pytest.approx(np.mean(content[name]["per_seed"]))
        assert content[name]["std"] == pytest.approx(np.std(content[name]["per_seed"], ddof=1))
    assert result["settings"] == {
        "alpha": 0.1, "beta": 0.01, "gamma": 1.0, "batch_size": 11, "num_batches": 5, "capacity": 50
    }  # fmt: skip
    assert "none was published for 50" in result["settings_source"]
    assert result["per_seed"]["examples_per_task"] == [[30, 30], [30, 30]]
    told = result["per_seed"]["alignment"]
    assert np.shape(told["mean_dot"]) == (2,)
    assert np.shape(told["by_task"]["same"]["cosine"]) == (2, 2, 5)
    assert told["by_task"]["other"]["cosine"][0][0] is None  # there was no other task yet
    assert len(set(result["per_seed"]["params_checksum"])) == 2
    assert "a subset of 60 images" in (out / "table.md").read_text()
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy.png", "benchmark.npz", "metrics.json", "run.json", "table.md"
    ]  # fmt: skip


def test_a_saved_benchmark_gives_the_same_numbers(finished, tmp_path, unrendered):
    """The same tasks from the file, beside another method: MER's numbers do not move."""
    out, first = finished
    flags = ["--benchmark-file", out / "benchmark.npz", "--test-images", 60, "--seeds", 2]
    again = run(tmp_path, *flags, "--watch", "--method", "online", "mer", "--capacity", 50)
    online, mer = again["results"]
    (before,) = first["results"]
    assert (online["name"], mer["name"]) == ("online", "mer")
    for name in ("accuracy_matrix", "params_checksum"):
        assert mer["per_seed"][name] == before["per_seed"][name]


def test_augmented_images_lead_elsewhere(finished, tmp_path, unrendered):
    _, plain = finished
    flags = [*SMALL, "--method", "mer", "--capacity", 50, "--watch"]
    changed = run(tmp_path, *flags, "--shift", 1, "--matrix", 0.1)
    assert "; augmented by shifts up to 1, matrix 0.1; " in changed["caption"]
    one, other = (content["results"][0]["per_seed"] for content in (plain, changed))
    assert one["seed"] == other["seed"]
    assert not set(one["params_checksum"]) & set(other["params_checksum"])
    assert np.isfinite(other["retained_accuracy"]).all()


def test_a_seed_is_the_same_alone_and_among_others(finished, tmp_path, unrendered):
    """Rounding may flip a few of 60 images' answers. Another network would change most."""
    _, both = finished
    flags = [*SMALL[:-1], 1, "--seed", 1, "--method", "mer", "--capacity", 50, "--watch"]
    R, of_both = (
        np.array(content["results"][0]["per_seed"]["accuracy_matrix"])
        for content in (run(tmp_path, *flags), both)
    )
    assert np.abs(R[0] - of_both[1]).max() < 5
    assert np.abs(of_both[0] - of_both[1]).max() > 5


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--method", "sgd"], "invalid choice 'sgd' for argument '--method'"),
        (["--method", "mer", "mer"], "--method must differ, got mer mer"),
        (["--method", "mer", "--gamma", "--tasks", "1"], "--gamma: expected at least one value"),
        (["--benchmark-file", "{empty}/nope"], "nope; give a run's benchmark.npz"),
        (["--dataset", "cifar"], "invalid choice 'cifar'"),
        (["--benchmark", "swirls"], "invalid choice 'swirls'"),
        (["--capacity", "0"], "--capacity must be a whole number of at least 1"),
        (["--tasks", "0"], "--tasks must be a whole number of at least 1"),
        (
            ["--examples-per-task", "9999"],
            "--examples-per-task must be at most 4000, the number of training images, got 9999",
        ),
        (["--test-images", "9999"], "--test-images must be at most 1000, got 9999"),
        (["--dataset", "digits", "--test-images", "9999"], "must be at most 297, got 9999"),
        (["--evaluate-every", "0"], "--evaluate-every must be"),
        (["--method", "mer", "--alpha", "-1"], "--alpha must be a finite number of at least 0"),
        (["--method", "online", "--alpha", "nan"], "--alpha must be a finite number"),
        (["--method", "mer", "--beta", "2"], "--beta must be a number from 0 to 1, got 2"),
        (["--method", "mer", "--batch-size", "0"], "--batch-size must be a whole number"),
        (["--method", "online", "--beta", "0.5"], "--beta is not used by online (it uses --alpha)"),
        (["--method", "mer", "--alpha", "0.1", "0.10000001"], "--alpha must differ in six digits"),
        (["--dataset", "mnist", "--data-dir", "{empty}"], "mnist.npz"),
        (["--dataset", "mnist", "--data-dir", "{empty}/nowhere"], "no such folder"),
        (["--dataset", "omniglot"], "--dataset omniglot needs --benchmark omniglot"),
        (
            ["--benchmark", "omniglot", "--method", "online", "--alpha", "0.1"],
            "--benchmark omniglot needs --dataset omniglot, got mnist-5k",
        ),
        (
            ["--benchmark", "omniglot", "--dataset", "omniglot", "--test-images", "9"],
            "--test-images is not for omniglot",
        ),
        (
            ["--benchmark", "split", "--tasks", "6", "--method", "online", "--alpha", "0.1"],
            "--tasks must be at most 5, as a task takes two of 10 classes, got 6",
        ),
        (
            ["--benchmark", "split", "--examples-per-task", "801"],
            "--examples-per-task must be at most 800, the number of training images of the two",
        ),
        (
            ["--benchmark", "split", "--test-images", "5"],
            "every class needs a test image, got none of [",
        ),
        (
            ["--benchmark", "split", "--method", "er-reptile"],
            "er-reptile has no settings for split: give --alpha, --gamma, --every, --batch-size",
        ),
        (["--method", "gem", "--capacity", "19"], "--capacity must be at least 20, got 19"),
        (["--method", "la-maml", "--incoming", "7"], "--incoming 7 does not divide a chunk of 100"),
        (["--method", "gem", "--margin", "-1"], "--margin must be a finite number"),
        (["--benchmark-file", "{empty}"], "expected a saved benchmark"),
        (["--benchmark-file", "{saved}", "--tasks", "3"], "has --tasks 2, got 3"),
        (["--benchmark-file", "{saved}"], "has draws for 2 seeds, expected 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line(args, says, tmp_path, capsys, finished):
    (tmp_path / "empty").mkdir()
    names = {"empty": tmp_path / "empty", "saved": finished[0] / "benchmark.npz"}
    args = [arg.format(**names) for arg in args]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "out", *args)
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert complaint.startswith("experiments.supervised: error: ")
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_a_buffer_that_does_not_fit_is_refused_before_it_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices, "memory_bytes", lambda: 10**9)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "--method", "er", "--capacity", 100_000_000)
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert "one run of er needs 158.4 GB, and there are 1.0 GB; choose smaller sizes" in complaint


def test_published_settings_fit_their_methods():
    names = {name for name, _ in methods.PUBLISHED}
    assert set(methods.PUBLISHED) == {(name, on) for name in names for on in benchmarks.BENCHMARKS}
    for (name, _), rows in methods.PUBLISHED.items():
        for row in rows.values():
            assert set(row) | {"capacity"} >= set(methods.METHODS[name].settings)
            assert set(row) <= set(methods.METHODS[name].settings)
    (choice,) = methods.sweep("mer", "rotations", 5120, {"alpha": (0.2,)})
    assert choice.settings["alpha"] == choice.rates["alpha"] == 0.2
    assert choice.settings["batch_size"] == 101
    assert "batch_size" not in choice.rates
    source = "batch_size, beta, gamma, num_batches as published for rotations with 5120 memories"
    assert choice.about == {"settings_source": source}
    (choice,) = methods.sweep("online", "rotations", 1, {"alpha": (1,)})
    assert choice.about["settings_source"] == "given"
    (choice,) = methods.sweep("agem", "rotations", 100, {})
    source = "chosen for rotations with 200 memories (none was chosen for 100)"
    assert choice.about["settings_source"] == f"alpha, sample_size as {source}"
    (plain,) = methods.sweep("mer", "omniglot", 5120, {})
    (choice,) = methods.sweep("mer", "omniglot", 5120, {}, is_augmented=True)
    assert "for omniglot-augmented with 5120 memories" in choice.about["settings_source"]
    assert choice.settings != plain.settings
    both = [methods.sweep("mer", "rotations", 200, {}, is_augmented=x) for x in (False, True)]
    assert both[0] == both[1]  # without a sweep of augmented images


def test_each_setting_has_a_flag():
    names = {name for method in methods.METHODS.values() for name in method.settings}
    assert names <= {field.name for field in dataclasses.fields(study.Config)}


def test_a_method_without_augment_takes_none():
    def decaying(loss, *, optimizer, decay):
        assert decay == 0.5
        return mer_jax.online(loss, optimizer=optimizer)

    own = methods.Method(decaying, ("alpha", "decay"), "Own")
    model = dense((784, 16, 10))[0]("online", 2)
    own.make(model, 2, alpha=0.1, decay=0.5)
    with pytest.raises(ValueError, match="takes no augment; leave out --shift and --matrix"):
        own.make(model, 2, lambda key, example: example, alpha=0.1, decay=0.5)


def test_what_nobody_chose_must_be_given():
    with pytest.raises(ValueError, match="agem has no settings for clocks: give --alpha"):
        methods.sweep("agem", "clocks", 500, {"sample_size": (10,)})
    assert methods.sweep("agem", "clocks", 500, {"sample_size": (10,), "alpha": (0.1,)})


def test_a_sweep_is_every_combination():
    found = methods.sweep("mer", "rotations", 200, {"alpha": (0.1, 0.2), "beta": (1.0,)})
    assert [setting.label for setting in found] == ["alpha 0.1", "alpha 0.2"]
    assert [setting.rates["beta"] for setting in found] == [1.0, 1.0]


def test_metrics_by_hand():
    """Two tasks: 60 and 40 % right at the end, 80 and 40 % when they were learned."""
    R = np.float32([[[0.1, 0.2], [0.8, 0.3], [0.6, 0.4]]])
    images = np.int32([[[0, 1, 2], [3, -1, -1]]])
    own = Own(np.uint32([0]), {}, benchmarks.Tasks(None, None, None, images))
    found = metrics.measure({"accuracy": R}, [], own)
    assert found["retained_accuracy"] == pytest.approx([50], abs=1e-4)
    assert found["learning_accuracy"] == pytest.approx([60], abs=1e-4)
    assert found["bti"] == pytest.approx([-10], abs=1e-4)
    assert found["forward_transfer"] == pytest.approx([5], abs=1e-4)  # of 0 and 10
    assert found["accuracy_matrix"] == [[[10, 20], [80, 30], [60, 40]]]
    assert found["examples_per_task"] == [[3, 1]]
    assert "alignment" not in found


GLANCES = ["--glances", "5", "--num-replays", "4", "--incoming", "5"]
SETTINGS = {
    "mer": ["--beta", "0.3", "--gamma", "1", "--num-batches", "2"],
    "mer-big-batch": ["--gamma", "0.3"],
    "mer-current-rate": ["--gamma", "0.3", "--s", "2"],
    "gem": ["--margin", "0", "--ridge", "0"],
    "agem": ["--sample-size", "5"],
    "ewc": ["--num-memories", "5", "--strength", "1"],
    "exact-alignment": ["--alignment", "0.001"],
    "la-maml": ["--alpha-rate", "0.1", *GLANCES],
    "sync": ["--alpha-rate", "0.1", "--weight-rate", "0.1", *GLANCES],
    "c-maml": ["--weight-rate", "0.1", *GLANCES, "--watch"],
    "er-reptile": ["--gamma", "0.5", "--every", "3"],
    "online-reptile": ["--gamma", "0.5", "--every", "3"],
    "der": ["--logit-weight", "0.1"],
    "der++": ["--logit-weight", "0.1", "--label-weight", "1"],
}
RESERVOIRS = ("mer", "mer-big-batch", "mer-current-rate", "er", "er-by-task", "exact-alignment",
              "la-maml", "sync", "c-maml", "der", "der++", "er-reptile")  # fmt: skip
ALPHABETS = ["--dataset", "omniglot", "--benchmark", "omniglot", "--tasks", 2, "--seeds", 2]


def learned(out, method, *more):
    """The metrics of two seeds, each with its own order of two alphabets."""
    batch = ["--batch-size", "4"] if "batch_size" in methods.METHODS[method].settings else []
    flags = ["--capacity", 20, "--method", method, "--alpha", 0.1, *SETTINGS.get(method, [])]
    return run(out, *ALPHABETS, *flags, *batch, *more)


def test_pairs_of_classes_one_after_another(tmp_path):
    """Each seed has its own order of classes. Online learning forgets all but the last pair."""
    flags = ["--dataset", "digits", "--benchmark", "split", "--seeds", 2, "--alpha", 0.03]
    more = ["--batch-size", 11, "--logit-weight", 0.1, "--label-weight", 1]
    dark = run(tmp_path / "dark", *flags, "--method", "der++", *more)
    (result,) = dark["results"]
    assert result["per_seed"]["examples_per_task"] == [[200] * 5] * 2
    assert "5 tasks of 200 examples, each tested on its own images; 200 memories" in dark["caption"]
    tasks = benchmark_files.load(tmp_path / "dark/benchmark.npz", 1500, 297, 784)
    labels = datasets.digits().test_labels
    pairs = [[sorted(set(labels[row[row >= 0]])) for row in seed] for seed in tasks.tests]
    assert [sorted(label for pair in of for label in pair) for of in pairs] == [list(range(10))] * 2
    assert pairs[0] != pairs[1]
    alone = run(tmp_path / "alone", *flags, "--method", "online")
    R = np.array(alone["results"][0]["per_seed"]["accuracy_matrix"])
    assert (R[:, -1, :-1] < 20).all()
    assert (R[:, -1, -1] > 80).all()
    assert dark["retained_accuracy"]["mean"] > alone["retained_accuracy"]["mean"] + 20


@pytest.mark.parametrize("name", ["mnist-5k", "digits", "mnist", "fashion_mnist"])
def test_pairs_of_classes_of_each_data_set(name, monkeypatch):
    """By default whole hundreds of the images that the two rarest classes have, 120 and 150."""
    counts = [200, 150, 180, 120, 200, 200, 200, 200, 200, 200]
    labels, tests = np.repeat(np.arange(10), counts), np.arange(50) % 10
    images = np.zeros((len(labels), 28, 28), np.uint8)
    data = datasets.Dataset(images, labels, images[:50], tests, 10)
    monkeypatch.setattr(datasets, "load", lambda asked, *_, **__: {name: data}[asked])
    config = study.Config(dataset=name, benchmark="split", method=("online",), alpha=(0.1,))
    tasks = study.prepare(config, print).data
    assert (tasks.images.shape, tasks.tests.shape) == ((3, 5, 200), (3, 5, 10))


def test_weights_of_der_are_no_learning_rates():
    """The flag --alpha is the rate of SGD, and the learner's alpha and beta are the weights."""
    seen = {}

    def learner(model, *, optimizer, alpha, beta, augment=None):
        step, _ = optimizer.update(1.0, optimizer.init(1.0))
        seen.update(model=model, alpha=alpha, beta=beta, step=step)

    model, _ = dense((784, 16, 6))
    network = model("der++", 2)
    how = dict(alpha=0.25, logit_weight=2.0, label_weight=3.0)
    methods.Method(learner, (), "").make(network, 2, **how)
    assert seen == {"model": network, "alpha": 2.0, "beta": 3.0, "step": -0.25}


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_learns_alphabets(method, made_omniglot, tmp_path, monkeypatch, unrendered):
    """30 and 60 drawings, of which a third or a half is right by chance at most."""
    small = dense((784, 16, 6))
    monkeypatch.setattr(study, "convolutional", lambda *sizes: small)
    content = learned(tmp_path, method)
    (result,) = content["results"]
    assert np.shape(result["per_seed"]["accuracy_matrix"]) == (2, 3, 2)
    assert sorted(result["per_seed"]["examples_per_task"][0]) == [30, 60]
    assert content["test_images"] == 20  # of four characters by five drawers
    assert content["learning_accuracy"]["mean"] > 60
    assert set(result["settings"]) == set(methods.METHODS[method].settings)
    if memory := result["per_seed"].get("memory"):  # 20 of 90 drawings hold some of each character
        assert np.shape(memory["if_held"]) == (2, 2)
        assert np.min(memory["held"]) > 60
    assert bool(memory) == (method in RESERVOIRS)
    if method == "c-maml":  # batches are watched by their first example
        assert np.isfinite(result["per_seed"]["alignment"]["mean_dot"]).all()


def test_a_network_of_convolutions_learns_alphabets(
    made_omniglot, tmp_path, monkeypatch, unrendered
):
    small, asked = convolutional(6, (8,)), []
    monkeypatch.setattr(study, "convolutional", lambda *sizes: asked.append(sizes) or small)
    assert learned(tmp_path, "er", "--last-filters", 256)["learning_accuracy"]["mean"] > 60
    assert asked[0][1] == (64, 64, 64, 256)


def test_networks_of_convolutions_by_method():
    """An independent one has its share of the filters, Task Input a first layer for each task."""
    of, _ = convolutional(6, (8, 8))
    assert of("er", 4) is of("mer", 5)
    names = ("independent", "task-input")
    assert [of(name, 4) is of(name, 4) for name in names] == [True, True]
    assert convolutional(6, (8, 8))[0] is of  # so that nothing is compiled twice


@pytest.mark.skipif(
    not Path(os.environ.get("MER_JAX_DATA_DIR", ""), "omniglot.npz").is_file(),
    reason="MER_JAX_DATA_DIR names no folder with omniglot.npz",
)
def test_real_alphabets(tmp_path, monkeypatch, unrendered):
    small = dense((784, 16, 1623))
    monkeypatch.setattr(study, "convolutional", lambda *sizes: small)
    assert study.convolutional(1623) is small
    learned(tmp_path, "online")
    tasks = benchmark_files.load(tmp_path / "benchmark.npz", 32460)
    assert ((tasks.images >= 0).sum(-1) % 15 == 0).all()


def test_flags_are_those_that_jax_started_with(monkeypatch):
    """They belong to the identity of a run, so a started JAX leaves them, and they do not grow."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    with monkeypatch.context() as patch:
        patch.setattr(jax.config, "update", lambda name, value: None)  # JAX has not started
        devices.use_all_cores()
        first = os.environ["XLA_FLAGS"]
        assert first.endswith(" --xla_dump_to=")
        assert len(first.split()) == 2
        devices.use_all_cores()
        assert os.environ["XLA_FLAGS"] == first
    jax.devices()
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    devices.use_all_cores()
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to="


def test_no_program_starts_jax_before_it_knows_its_devices():
    """Where one did, each core would no longer be a device, nor each run that is one too many."""
    program = (
        "import experiments.rl, experiments.tables.__main__, experiments.report.__main__\n"
        "from experiments import bench, joint, survival\n"
        "from experiments.language import __main__\n"
        "from experiments.running import devices\n"
        "import jax, os\n"
        "cores = len(os.sched_getaffinity(0))\n"
        "devices.use_all_cores(cores + 1)\n"
        "wanted = cores + 1 if cores > 1 else 1\n"
        "print(len(jax.devices()) == wanted, devices.mesh(1).size, jax.default_backend())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    ).stdout  # fmt: skip
    assert said.strip() == "True 1 cpu"


def test_what_is_no_rate_is_one_whole_number():
    """A rate that is not listed as one would be rounded, and a sweep over it learn one value."""
    for values in ([0.5], [1, 2]):
        settings = [Setting({"alpha": 0.1, "decay": value}) for value in values]
        with pytest.raises(ValueError, match=r"--decay: expected one whole number, got .* RATES"):
            study._sizes(settings)
    assert study._sizes([Setting({"alpha": 0.1, "batch_size": 3.0})]) == (("batch_size", 3),)
