"""The main program as a user runs it: what it writes, and what it says of bad input."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import devices, methods, plots, supervised
from mer_jax.data import benchmark_files, benchmarks

ROOT = Path(__file__).parents[2]
SMALL = ["--tasks", "3", "--examples-per-task", "30", "--test-images", "60", "--seeds", "2"]


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "experiments.supervised", *map(str, args)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    process = run(*SMALL, "--method", "mer", "--capacity", 50, "--out", out)
    assert process.returncode == 0, process.stderr
    return out, process.stdout


def test_writes_metrics_table_and_picture(finished):
    out, said = finished
    metrics = json.loads((out / "metrics.json").read_text())
    for name in ("retained_accuracy", "learning_accuracy", "bti"):
        per_seed = metrics[name]["per_seed"]
        assert len(per_seed) == 2
        assert metrics[name]["mean"] == pytest.approx(np.mean(per_seed))
        assert metrics[name]["std"] == pytest.approx(np.std(per_seed, ddof=1))
    R = np.array(metrics["accuracy_matrix"])
    assert R.shape == (2, 4, 3)
    np.testing.assert_allclose(
        metrics["retained_accuracy"]["per_seed"], R[:, -1].mean(-1), atol=0.01
    )
    assert metrics["settings"] == {
        "alpha": 0.1, "beta": 0.01, "gamma": 1.0, "batch_size": 11, "num_batches": 5, "capacity": 50
    }  # fmt: skip
    assert metrics["config"]["tasks"] == 3
    assert metrics["versions"]["jax"]
    assert metrics["seconds"] > 0
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    table = (out / "table.md").read_text()
    assert "| MER |" in table
    assert "a subset of 60 images" in table
    assert "none was published for 50" in " ".join(said.split())
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy.png", "benchmark.npz", "metrics.json", "run.json", "table.md"
    ]  # fmt: skip


def test_a_saved_benchmark_gives_the_same_numbers(finished, tmp_path):
    """The same tasks from the file, beside another method: MER's numbers do not move."""
    out, _ = finished
    process = run(
        "--benchmark-file", out / "benchmark.npz", "--test-images", 60, "--seeds", 2,
        "--method", "online", "mer", "--capacity", 50, "--batch-size", 11, "--out", tmp_path,
    )  # fmt: skip
    assert process.returncode == 2  # online reads no batch size
    process = run(
        "--benchmark-file", out / "benchmark.npz", "--test-images", 60, "--seeds", 2,
        "--method", "online", "mer", "--capacity", 50, "--out", tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    again = json.loads((tmp_path / "metrics.json").read_text())["methods"]
    assert list(again) == ["online", "mer"]
    first = json.loads((out / "metrics.json").read_text())
    assert again["mer"]["accuracy_matrix"] == first["accuracy_matrix"]


def test_a_seed_is_the_same_alone_and_among_others(finished, tmp_path):
    """Rounding may flip a few of 60 images' answers; another network would change most."""
    out, _ = finished
    process = run(
        *SMALL[:-1], 1, "--seed", 1, "--method", "mer", "--capacity", 50, "--out", tmp_path
    )
    assert process.returncode == 0, process.stderr
    alone = np.array(json.loads((tmp_path / "metrics.json").read_text())["accuracy_matrix"])
    both = np.array(json.loads((out / "metrics.json").read_text())["accuracy_matrix"])
    assert np.abs(alone[0] - both[1]).max() < 5
    assert np.abs(both[0] - both[1]).max() > 5


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--method", "sgd"], "invalid choice 'sgd' for argument '--method'"),
        (["--dataset", "cifar"], "invalid choice 'cifar'"),
        (["--benchmark", "swirls"], "invalid choice 'swirls'"),
        (["--seeds", "many"], "many"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--seed", "4294967296"], "at most 4294967293, got 4294967296"),
        (["--process-id", "1"], "need --distributed"),
        (["--capacity", "0"], "--capacity must be a whole number of at least 1"),
        (["--tasks", "0"], "--tasks must be a whole number of at least 1"),
        (["--examples-per-task", "9999"], "at most 4000, the number of training images, got 9999"),
        (["--test-images", "9999"], "--test-images must be at most 1000, got 9999"),
        (["--dataset", "digits", "--test-images", "9999"], "must be at most 297, got 9999"),
        (["--evaluate-every", "0"], "--evaluate-every must be"),
        (["--method", "mer", "--alpha", "-1"], "alpha must be a finite number of at least 0"),
        (["--method", "mer", "--alpha", "nan"], "alpha must be a finite number"),
        (["--method", "mer", "--beta", "2"], "beta must be in [0, 1], got 2"),
        (["--method", "mer", "--batch-size", "0"], "batch_size must be a whole number"),
        (["--method", "online", "--beta", "0.5"], "--beta is nothing that online reads"),
        (["--dataset", "mnist", "--data-dir", "{empty}"], "mnist.npz"),
        (["--dataset", "mnist", "--data-dir", "{empty}/nowhere"], "no such folder"),
        (["--dataset", "omniglot"], "--dataset omniglot needs --benchmark omniglot"),
        (
            ["--benchmark", "omniglot", "--method", "online", "--alpha", "0.1"],
            "--benchmark omniglot needs --dataset omniglot, got mnist-5k",
        ),
        (["--method", "gem", "--capacity", "19"], "capacity must be at least 20, got 19"),
        (["--method", "gem", "--margin", "-1"], "margin must be a finite number"),
        (["--benchmark-file", "{empty}/none.npz"], "not a saved benchmark"),
        (["--out", "{file}/below"], "{file}"),
        (["--colour", "red"], "--colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_clear_line(args, says, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["supervised.py"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    names = {"empty": tmp_path / "empty", "file": tmp_path / "file"}
    args = [arg.format(**names) for arg in args]
    before = sorted(tmp_path.rglob("*"))
    if "--out" not in args:
        args += ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        supervised.main(args)
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert says.format(**names) in complaint
    assert complaint.count("\n") == 1
    assert complaint.startswith("supervised.py: error: ")
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_a_buffer_that_does_not_fit_is_refused_before_it_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices, "memory_bytes", lambda: 10**9)
    with pytest.raises(SystemExit) as stop:
        supervised.main(["--method", "er", "--capacity", "100000000", "--out", str(tmp_path)])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert "one run of er needs 158.4 GB, and there are 1.0 GB; choose a smaller" in complaint


def test_help_explains_every_flag():
    said = " ".join(run("--help").stdout.replace("│", " ").split())
    for field in supervised.dataclasses.fields(supervised.Config):
        assert f"--{field.name.replace('_', '-')}" in said


def test_published_settings_fit_their_methods():
    for name, tables in methods.PUBLISHED.items():
        assert set(tables) == set(benchmarks.BENCHMARKS)
        for rows in tables.values():
            for settings in rows.values():
                assert set(settings) | {"capacity"} >= set(methods.METHODS[name].settings)
                assert set(settings) <= set(methods.METHODS[name].settings)
    choice = methods.choose("mer", "rotations", 5120, {"alpha": 0.2})
    assert choice.settings["alpha"] == 0.2
    assert choice.settings["batch_size"] == 101
    assert choice.source == "batch_size, beta, gamma, num_batches as published for rotations with 5120 memories"  # fmt: skip  # noqa: E501


def test_picture_of_a_run_that_diverged(tmp_path):
    R = np.full((2, 4, 3), 50.0)
    R[1, 2:] = np.nan
    result = {"title": "MER", "accuracy_matrix": R, "examples_per_task": 10}
    plots.accuracy_over_stream(tmp_path / "picture.png", {"mer": result}, "title")
    assert (tmp_path / "picture.png").stat().st_size > 1000
    axis = Figure().subplots()
    plots._panel(axis, result)
    assert axis.get_title() == "MER: diverged"


def test_a_sweep_over_rates_and_seeds_is_one_program_and_may_be_split(tmp_path):
    """Two learning rates with two seeds, three runs at once: four runs, each that of its own."""
    process = run(
        *SMALL, "--method", "online", "--alpha", 0.01, 0.1, "--seed-batch", 3,
        "--out", tmp_path / "swept",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "4 runs of" in process.stdout
    swept = json.loads((tmp_path / "swept/metrics.json").read_text())["methods"]
    assert list(swept) == ["online alpha 0.01", "online alpha 0.1"]
    assert [entry["seeds"] for entry in swept.values()] == [[0, 1], [0, 1]]
    process = run(*SMALL, "--method", "online", "--alpha", 0.1, "--out", tmp_path / "alone")
    alone = json.loads((tmp_path / "alone/metrics.json").read_text())
    np.testing.assert_allclose(
        alone["accuracy_matrix"], swept["online alpha 0.1"]["accuracy_matrix"], atol=5
    )


def test_two_processes_give_what_one_gives(finished, tmp_path):
    """On the loopback address, each with a device of its own; 5 % of 60 images are three."""
    out, _ = finished
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "experiments.supervised", *SMALL, "--method", "mer"]
    command += ["--capacity", "50", "--distributed", "--coordinator", coordinator]
    command += ["--num-processes", "2", "--out", str(tmp_path)]
    processes = [
        subprocess.Popen(
            [*command, "--process-id", str(i)], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "Retained" in said[0][0]
    assert "Retained" not in said[1][0]  # one of them speaks
    together = json.loads((tmp_path / "metrics.json").read_text())
    alone = json.loads((out / "metrics.json").read_text())
    assert len(together["devices"]) > len(alone["devices"]) / 2
    np.testing.assert_allclose(together["accuracy_matrix"], alone["accuracy_matrix"], atol=5)


@pytest.mark.parametrize(
    "method", ["gem", "agem", "ewc", "exact-alignment", "independent", "task-input"]
)
def test_every_method_learns(method, tmp_path):
    """One network of the two tasks' digits does better than chance, whatever it learns with."""
    settings = {
        "agem": ["--sample-size", 20],
        "exact-alignment": ["--alignment", 0.01, "--batch-size", 5],
    }
    size = [
        "--alpha",
        0.03,
        "--tasks",
        2,
        "--examples-per-task",
        400,
        "--test-images",
        60,
        "--seeds",
        1,
    ]
    out = ["--capacity", 50, "--out", tmp_path]
    process = run("--method", method, *settings.get(method, []), *size, *out)
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["learning_accuracy"]["mean"] > 40
    assert metrics["settings"].keys() >= set(methods.METHODS[method].settings)


@pytest.mark.skipif(
    not Path(os.environ.get("MER_JAX_DATA_DIR", ""), "omniglot.npz").is_file(),
    reason="MER_JAX_DATA_DIR names no folder with omniglot.npz",
)
def test_alphabets_one_after_another(tmp_path):
    process = run(
        "--dataset", "omniglot", "--benchmark", "omniglot", "--tasks", 2, "--seeds", 2,
        "--method", "er", "--alpha", 0.03, "--batch-size", 3, "--capacity", 100, "--out", tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert np.shape(metrics["accuracy_matrix"]) == (2, 3, 2)
    assert metrics["learning_accuracy"]["mean"] > 5  # one of 1,623 by chance
    tasks = benchmark_files.load(tmp_path / "benchmark.npz", 32460)
    assert ((tasks.images >= 0).sum(-1) % 15 == 0).all()


def test_a_second_program_in_a_process_finds_what_the_first_has_compiled(monkeypatch):
    """JAX keeps compiled programs by the flags as well, so they must not grow."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    devices.use_all_cores()
    first = os.environ["XLA_FLAGS"]
    assert first.endswith(" --xla_dump_to=")
    assert len(first.split()) == 2
    devices.use_all_cores()
    assert os.environ["XLA_FLAGS"] == first


def test_no_program_starts_jax_before_it_knows_its_devices():
    """Where one did, each core would no longer be a device, nor each run that is one too many."""
    programs = "bench, language, report, rl, supervised, tables"
    program = (
        f"from experiments import devices, {programs}\n"
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
