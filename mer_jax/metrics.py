"""Metrics of continual learning, from the accuracy on every task over time.

All metrics take `R [..., T + 1, T]`. `R[i, j]` is the accuracy on the j-th task after training on i
tasks. Row 0 is the untrained network, and row T is the end. Accuracies may be fractions or percent.
Leading axes, such as seeds, stay in the result. An R of another shape raises a `ValueError`.

>>> R = np.array([[10.0, 20.0], [80.0, 30.0], [60.0, 90.0]])  # two tasks
>>> print(retained_accuracy(R), learning_accuracy(R), backward_transfer(R), forward_transfer(R))
75.0 85.0 -10.0 5.0
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def accuracy_matrix(training: ArrayLike, accuracies: ArrayLike) -> np.ndarray:
    """The accuracy matrix R from a log of evaluations.

    The log has a row for each evaluation. A task may be evaluated any number of times while it is
    trained. The last evaluation counts. The columns of R are in the order of training. The authors'
    code leaves them in the order of task ids.

    Args:
      training: `[rows]`, the id of the task in training at each evaluation. The first row is the
        untrained network, and its entry is ignored.
      accuracies: `[rows, T]`, the accuracy on each task, in the order of task ids.
    Returns:
      R, `[T + 1, T]`. `R[i, j]` is the accuracy on the j-th trained task after training on i tasks.
    Raises:
      ValueError: If a task was not trained exactly once, without interruption. If `training` does
        not have one entry for each row.
    Example:
      >>> training = [0, 1, 1, 0]  # Task 1 is trained first, and evaluated twice.
      >>> accuracies = [[10, 10], [10, 50], [20, 90], [80, 70]]
      >>> print(accuracy_matrix(training, accuracies))
      [[10 10]
       [90 20]
       [70 80]]
    """
    training, accuracies = np.asarray(training), np.asarray(accuracies)
    if accuracies.ndim != 2 or training.shape != accuracies.shape[:1]:
        raise ValueError(
            "expected training [rows] and accuracies [rows, T], those of one seed, got shapes "
            f"{list(training.shape)} and {list(accuracies.shape)}; call it for each seed"
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
    """Retained accuracy (RA): the mean accuracy over all tasks at the end.

    Args:
      R: `[..., T + 1, T]`, see `accuracy_matrix`.
    Returns:
      `[...]`.
    Raises:
      ValueError: If R does not have one row more than columns.
    References:
      Riemer et al. (2019).
    """
    return _whole(R)[..., -1, :].mean(-1)


def learning_accuracy(R: ArrayLike) -> jax.Array:
    """Learning accuracy (LA): the mean over tasks of the accuracy right after training on the task.

    Args:
      R: `[..., T + 1, T]`, see `accuracy_matrix`.
    Returns:
      `[...]`.
    Raises:
      ValueError: If R does not have one row more than columns.
    References:
      Riemer et al. (2019).
    """
    return _diagonal(_whole(R)[..., 1:, :]).mean(-1)


def backward_transfer(R: ArrayLike) -> jax.Array:
    """Backward transfer and interference: BTI = RA - LA.

    Above 0 later tasks improved earlier ones (transfer). Below 0 they harmed them (interference).

    Args:
      R: `[..., T + 1, T]`, see `accuracy_matrix`.
    Returns:
      `[...]`.
    Raises:
      ValueError: If R does not have one row more than columns.
    References:
      Riemer et al. (2019).
    """
    return retained_accuracy(R) - learning_accuracy(R)


def forward_transfer(R: ArrayLike) -> jax.Array:
    """The accuracy on a task just before its training, minus that of the untrained network.

    It is the mean over all T tasks, as in the authors' code. The first task contributes 0.
    Lopez-Paz and Ranzato leave the first task out and divide by T - 1.

    Args:
      R: `[..., T + 1, T]`, see `accuracy_matrix`.
    Returns:
      `[...]`.
    Raises:
      ValueError: If R does not have one row more than columns.
    References:
      Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning", equation 4.
    """
    R = _whole(R)
    return (_diagonal(R[..., :-1, :]) - R[..., 0, :]).mean(-1)


def _whole(R: ArrayLike) -> jax.Array:
    """R, checked to have a row for the untrained network and one for each task."""
    R = jnp.asarray(R)
    if not jnp.issubdtype(
        R.dtype, jnp.inexact
    ):  # Differences of unsigned numbers would wrap around.
        R = R.astype(float)
    if R.ndim < 2 or R.shape[-2] != R.shape[-1] + 1:
        raise ValueError(
            "R must be [..., T + 1, T], its first row the untrained network's, got shape "
            f"{list(R.shape)}"
        )
    return R


def _diagonal(matrix: jax.Array) -> jax.Array:
    return jnp.diagonal(matrix, axis1=-2, axis2=-1)
