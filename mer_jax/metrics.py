"""Metrics of continual learning, from the accuracy on every task over time.

All metrics take `R [..., T + 1, T]`. `R[..., i, j]` is the accuracy on the j-th task after training
on i tasks. Row 0 is the untrained network, and row T is the end. Accuracies may be fractions or
percent. Leading axes, such as seeds, stay in the result. An R of another shape raises a
`ValueError`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def accuracy_matrix(training: ArrayLike, accuracies: ArrayLike) -> np.ndarray:
    """Accuracy matrix R from a log of evaluations.

    The log has a row for each evaluation of all tasks. There may be several rows during the
    training of a task. Only the last of them counts. The columns of R are in the order of training.
    The authors' code has them in the order of task ids.

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
      >>> from mer_jax import accuracy_matrix
      >>> training = [0, 1, 1, 0]  # Untrained, then two evaluations in task 1, then one in task 0.
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
    """Retained accuracy (RA): the mean of the last row of R.

    This is the mean accuracy over all tasks after training on all tasks.

    Args:
      R: `[..., T + 1, T]`. `R[..., i, j]` is the accuracy on task j after training on i tasks.
    Returns:
      `[...]`, in the unit of R.
    Raises:
      ValueError: If R does not have one row more than columns.
    Example:
      >>> from mer_jax import retained_accuracy
      >>> R = [[10, 20], [80, 30], [60, 90]]
      >>> print(retained_accuracy(R))
      75.0

    References:
      Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and
      Minimizing Interference".
    """
    return _whole(R)[..., -1, :].mean(-1)


def learning_accuracy(R: ArrayLike) -> jax.Array:
    """Learning accuracy (LA): the mean accuracy on each task directly after its training.

    Args:
      R: `[..., T + 1, T]`. `R[..., i, j]` is the accuracy on task j after training on i tasks.
    Returns:
      `[...]`, in the unit of R.
    Raises:
      ValueError: If R does not have one row more than columns.
    Example:
      >>> from mer_jax import learning_accuracy
      >>> R = [[10, 20], [80, 30], [60, 90]]
      >>> print(learning_accuracy(R))
      85.0

    References:
      Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and
      Minimizing Interference".
    """
    return _diagonal(_whole(R)[..., 1:, :]).mean(-1)


def backward_transfer(R: ArrayLike) -> jax.Array:
    """Backward transfer and interference (BTI): `retained_accuracy` minus `learning_accuracy`.

    A positive value is transfer: later tasks raised the accuracy on earlier tasks. A negative value
    is interference: later tasks lowered it.

    Args:
      R: `[..., T + 1, T]`. `R[..., i, j]` is the accuracy on task j after training on i tasks.
    Returns:
      `[...]`, in the unit of R.
    Raises:
      ValueError: If R does not have one row more than columns.
    Example:
      >>> from mer_jax import backward_transfer
      >>> R = [[10, 20], [80, 30], [60, 90]]
      >>> print(backward_transfer(R))
      -10.0

    References:
      Riemer et al. (2019), "Learning to Learn without Forgetting by Maximizing Transfer and
      Minimizing Interference".
    """
    return retained_accuracy(R) - learning_accuracy(R)


def forward_transfer(R: ArrayLike) -> jax.Array:
    """Forward transfer (FWT): the mean effect of earlier tasks on a task not yet trained.

    The effect is the accuracy just before training on the task, minus that of the untrained
    network. A positive value means that earlier tasks helped. The mean is over all T tasks, as in
    the code of Riemer et al. The first task contributes 0. Equation 4 of Lopez-Paz and Ranzato
    leaves out the first task and divides by T - 1.

    Args:
      R: `[..., T + 1, T]`. `R[..., i, j]` is the accuracy on task j after training on i tasks.
    Returns:
      `[...]`, in the unit of R.
    Raises:
      ValueError: If R does not have one row more than columns.
    Example:
      >>> from mer_jax import forward_transfer
      >>> R = [[10, 20], [80, 30], [60, 90]]
      >>> print(forward_transfer(R))
      5.0

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
