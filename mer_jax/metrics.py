"""Metrics of continual learning, from the accuracy on every task over time.

`R [T + 1, T]`: `R[i, j]` is the accuracy on the j-th task after training on i tasks, so that row 0
is the untrained network and row T the end. Accuracies may be fractions or percent; leading axes
(seeds) may stand before the two. An R of another shape gets a `ValueError`.

>>> R = np.array([[10.0, 20.0], [80.0, 30.0], [60.0, 90.0]])  # two tasks
>>> print(retained_accuracy(R), learning_accuracy(R), backward_transfer(R), forward_transfer(R))
75.0 85.0 -10.0 5.0
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def accuracy_matrix(training: ArrayLike, accuracies: ArrayLike) -> np.ndarray:
    """R from a log of evaluations, of which there may be any number during a task.

    Args:
      training: `[rows]`, the task that was being trained when each row was taken. The first row
        is the untrained network's, and its entry is not read.
      accuracies: `[rows, T]`, the accuracy on each task, by task id.
    Returns:
      `[T + 1, T]`: the first row, then the last row of each task's training. Where the tasks were
      not trained in the order of their ids, the columns are put in the order of training, so that
      rows and columns agree (the authors' code leaves them by id).
    Raises:
      ValueError: unless each of the T tasks was trained once, in one go, and there is an entry for
        each row.
    """
    training, accuracies = np.asarray(training), np.asarray(accuracies)
    if accuracies.ndim != 2 or training.shape != accuracies.shape[:1]:
        raise ValueError(
            "expected training [rows] and accuracies [rows, T], those of one seed, got shapes "
            f"{list(training.shape)} and {list(accuracies.shape)}"
        )
    training = training[1:]
    last = np.flatnonzero(np.append(training[1:] != training[:-1], len(training) > 0))
    order, num_tasks = training[last], accuracies.shape[-1]
    if sorted(order) != list(range(num_tasks)):
        raise ValueError(
            f"expected each of {num_tasks} tasks trained once, in one go, after the untrained row, "
            f"got tasks {order.tolist()}"
        )
    return accuracies[np.concatenate([[0], 1 + last])][:, order.astype(int)]


def retained_accuracy(R: ArrayLike) -> jax.Array:
    """RA, the mean accuracy over all tasks at the end."""
    return _whole(R)[..., -1, :].mean(-1)


def learning_accuracy(R: ArrayLike) -> jax.Array:
    """LA, the mean over tasks of the accuracy just after training on the task."""
    return _diagonal(_whole(R)[..., 1:, :]).mean(-1)


def backward_transfer(R: ArrayLike) -> jax.Array:
    """BTI = RA - LA: above 0 later tasks helped earlier ones, below 0 they interfered."""
    return retained_accuracy(R) - learning_accuracy(R)


def forward_transfer(R: ArrayLike) -> jax.Array:
    """Accuracy on a task just before its training, minus that of the untrained network.

    The mean is over all T tasks, the first of which adds 0, as in the authors' code; Lopez-Paz and
    Ranzato (2017) divide by T - 1.
    """
    R = _whole(R)
    return (_diagonal(R[..., :-1, :]) - R[..., 0, :]).mean(-1)


def _whole(R: ArrayLike) -> jax.Array:
    """R, if it has a row for the untrained network and one for each task."""
    R = jnp.asarray(R)
    if not jnp.issubdtype(
        R.dtype, jnp.inexact
    ):  # differences of unsigned numbers would wrap around
        R = R.astype(float)
    if R.ndim < 2 or R.shape[-2] != R.shape[-1] + 1:
        raise ValueError(
            "R must be [..., T + 1, T], its first row the untrained network's, got shape "
            f"{list(R.shape)}"
        )
    return R


def _diagonal(matrix: jax.Array) -> jax.Array:
    return jnp.diagonal(matrix, axis1=-2, axis2=-1)
