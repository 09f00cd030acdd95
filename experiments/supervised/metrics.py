"""Metrics of the supervised program, from the accuracies along the stream."""

from typing import Any

import numpy as np

import mer_jax
from experiments.running.problem import Own
from experiments.supervised import transfer

METRICS = {"retained_accuracy": "Retained accuracy", "learning_accuracy": "Learning accuracy",
           "bti": "BTI"}  # fmt: skip


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The metrics in percent, from the accuracies, and the accuracy matrices `[T + 1, T]`."""
    R = 100 * rows["accuracy"].astype(np.float64)
    found: dict[str, Any] = {
        "retained_accuracy": mer_jax.retained_accuracy(R).tolist(),
        "learning_accuracy": mer_jax.learning_accuracy(R).tolist(),
        "bti": mer_jax.backward_transfer(R).tolist(),
        "forward_transfer": mer_jax.forward_transfer(R).tolist(),
        "accuracy_matrix": np.round(R, 2).tolist(),
        "examples_per_task": (np.asarray(own.data.images) >= 0).sum(-1).tolist(),
    }
    if "held" in rows:
        found["memory"] = split(*(rows[name] for name in ("accuracy", "held", "held_and_right")))
    if infos:
        found["alignment"] = transfer.summary(infos, R.shape[-1])
    return found


def split(accuracy: np.ndarray, held: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Accuracy on earlier tasks by whether the memory holds the class, after each task, in percent.

    Args:
      accuracy, held, right: `[R, T + 1, T]`, see `accuracies`.
    Returns:
      `[R, T]` each: share of the images whose class is held, accuracy on these, and on the others.
    """
    earlier = np.tril(np.ones(accuracy.shape[1:], bool), -1)  # row n: the first n tasks
    whole, held, right = (
        np.where(earlier, x, 0).sum(-1)[:, 1:].astype(np.float64) for x in (accuracy, held, right)
    )
    count = earlier.sum(-1)[1:]
    with np.errstate(invalid="ignore"):
        parts = {"held": held / count, "if_held": right / held,
                 "if_not_held": (whole - right) / (count - held)}  # fmt: skip
    return {name: np.round(100 * x, 2).tolist() for name, x in parts.items()}
