"""What a run leaves behind: metrics.json, a Markdown table and a picture."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

import mer_jax

COLUMNS = {
    "retained_accuracy": "Retained accuracy",
    "learning_accuracy": "Learning accuracy",
    "bti": "BTI",
}


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Calls `save` with another name and renames, so that no file is ever half-written."""
    part = path.with_name(f".part-{path.name}")
    save(part)
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


def summary(R: np.ndarray) -> dict[str, Any]:
    """The metrics of `[S, T + 1, T]` accuracies (fractions), in percent, with every seed's."""
    percent = 100 * np.asarray(R, np.float64)
    per_seed = {
        "retained_accuracy": mer_jax.retained_accuracy(percent),
        "learning_accuracy": mer_jax.learning_accuracy(percent),
        "bti": mer_jax.backward_transfer(percent),
        "forward_transfer": mer_jax.forward_transfer(percent),
    }
    return {name: spread(np.asarray(values, np.float64)) for name, values in per_seed.items()} | {
        "accuracy_matrix": np.round(percent, 2).tolist()
    }


def spread(values: np.ndarray) -> dict[str, Any]:
    """Mean and standard deviation over seeds (of a sample; 0 for a single seed)."""
    std = values.std(ddof=1) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "std": float(std), "per_seed": values.tolist()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """JSON has no NaN: what is not a number is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    # A line an entry: short enough to read, and an accuracy matrix does not fill a screen.
    lines = [
        f"{json.dumps(key)}: {json.dumps(clean(value), default=str)}"
        for key, value in content.items()
    ]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever repeats the run."""
    packages = ("mer_jax", "jax", "jaxlib", "flax", "optax", "numpy", "gymnax", "flashbax")
    return {
        "versions": {name: version for name in packages if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "cpu_count": os.cpu_count(),
        "git_revision": _git_revision(),
    }


def _version(package: str) -> str | None:
    """The installed one, None if it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The commit that ran, with a + if its files had changed since; None outside of git."""

    def git(*args: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cell(spread: dict[str, Any], digits: int = 2) -> str:
    """`mean ± std`, the value alone of a single seed, or what happened instead of learning."""
    seeds = spread["per_seed"]
    lost = sum(value is None or not math.isfinite(value) for value in seeds)
    if lost:
        return "diverged" if lost == len(seeds) else f"{lost} of {len(seeds)} diverged"
    mean = f"{spread['mean']:.{digits}f}"
    return f"{mean} ± {spread['std']:.{digits}f}" if len(seeds) > 1 else mean


def rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A table of methods with its head, all text."""
    head = ["Method", *COLUMNS.values(), "Seconds"]
    body = [
        [result["title"], *(cell(result[name]) for name in COLUMNS), f"{result['seconds']:.0f}"]
        for result in results.values()
    ]
    return [head, *body]


def markdown(table: list[list[str]], caption: str) -> str:
    head, *body = table
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{caption}\n"
