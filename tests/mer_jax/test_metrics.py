"""Metrics by hand and against those of the authors' code."""

from pathlib import Path

import numpy as np
import pytest

import mer_jax

GOLDEN = np.load(Path(__file__).parent / "golden" / "metrics_golden.npz")

# Untrained, after the first task, after the second.
R = np.array([[0.1, 0.2], [0.9, 0.4], [0.6, 0.8]])


def test_by_hand():
    assert mer_jax.retained_accuracy(R) == pytest.approx((0.6 + 0.8) / 2)
    assert mer_jax.learning_accuracy(R) == pytest.approx((0.9 + 0.8) / 2)
    assert mer_jax.backward_transfer(R) == pytest.approx((0.6 - 0.9) / 2)
    assert mer_jax.forward_transfer(R) == pytest.approx((0.4 - 0.2) / 2)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.uint32, np.int8, np.int32, np.float16, np.float64, list]
)
def test_in_floating_point_whatever_comes(dtype):
    """In percent, with a lower accuracy later. Unsigned differences would wrap around."""
    whole = np.array([[10, 25], [90, 20], [60, 80]])
    R = whole.tolist() if dtype is list else whole.astype(dtype)
    assert mer_jax.retained_accuracy(R) == 70
    assert mer_jax.learning_accuracy(R) == 85
    assert mer_jax.backward_transfer(R) == -15
    assert mer_jax.forward_transfer(R) == -2.5


def test_seeds_may_stand_in_front():
    both = mer_jax.backward_transfer(np.stack([R, R * 0]))
    np.testing.assert_allclose(both, [-0.15, 0], atol=1e-7)


@pytest.mark.parametrize("case", range(4))
def test_as_in_the_authors_code(case):
    """float32 sums of up to 100 accuracies, each below 1: rounding stays far below 1e-6."""
    log = [GOLDEN[f"case{case}_{name}"] for name in ("result_t", "result_a")]
    R = mer_jax.accuracy_matrix(*log)
    metrics = (mer_jax.retained_accuracy, mer_jax.backward_transfer, mer_jax.forward_transfer)
    ours = [metric(R) for metric in metrics]
    np.testing.assert_allclose(ours, GOLDEN[f"case{case}_stats"], atol=1e-6)


def test_the_last_row_of_each_task_counts():
    training = [0, 0, 0, 1, 1]
    log = np.arange(10).reshape(5, 2)
    np.testing.assert_array_equal(mer_jax.accuracy_matrix(training, log), log[[0, 2, 4]])


@pytest.mark.parametrize("case", [5, 6])
def test_tasks_in_another_order_keep_rows_and_columns_together(case):
    """The authors' code leaves the columns by id, which mixes tasks but has the same mean."""
    training, log = (GOLDEN[f"case{case}_{name}"] for name in ("result_t", "result_a"))
    order = [0, 2, 1] if case == 5 else [2, 0, 1]
    R = mer_jax.accuracy_matrix(training, log)
    np.testing.assert_array_equal(R[0], log[0, order])
    np.testing.assert_array_equal(R[-1], log[-1, order])
    assert mer_jax.learning_accuracy(R) == pytest.approx(
        np.mean([log[np.flatnonzero(training == task)[-1], task] for task in order])
    )


@pytest.mark.parametrize("training", [[0, 0], [0, 0, 1, 0], [0, 0, 2], [0]])
def test_each_task_must_be_trained_once(training):
    with pytest.raises(ValueError, match="expected each of 2 tasks trained once"):
        mer_jax.accuracy_matrix(training, np.zeros((len(training), 2)))


def test_what_is_no_accuracy_matrix():
    for metric in (
        mer_jax.retained_accuracy, mer_jax.learning_accuracy, mer_jax.backward_transfer,
        mer_jax.forward_transfer,
    ):  # fmt: skip
        for wrong in (R[1:], R[0], R.T):
            with pytest.raises(ValueError, match=r"R must be \[..., T \+ 1, T\]"):
                metric(wrong)
    with pytest.raises(ValueError, match=r"got shapes \[2\] and \[3, 2\]"):
        mer_jax.accuracy_matrix(np.array([0, 0]), R)
