"""The recorded runs of the authors' code (`golden/`), and a network like theirs."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mer_jax import DenseFirstLoss, Example
from mer_jax.networks import cross_entropy


class Run(NamedTuple):
    """One recorded run of T steps.

    arrays: all arrays of the file.
    hyper: its hyper-parameters.
    stream: `Example` of `[T, ...]`.
    start: the parameters before step 0.
    after: `[T, ...]`, the parameters after each step. Weights are `[out, in]`, as in PyTorch.
    """

    arrays: dict[str, np.ndarray]
    hyper: dict[str, Any]
    stream: Example
    start: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


def load(name: str) -> Run:
    arrays = dict(np.load(Path(__file__).parent / "golden" / f"{name}.npz"))
    hyper = json.loads(str(arrays["hyper"]))
    names = hyper["param_keys"]
    return Run(
        arrays,
        hyper,
        Example(
            arrays["x"].astype(hyper["dtype"]),
            arrays["y"].astype(np.int32),
            arrays["t"].astype(np.int32),
        ),
        {name: arrays[f"init_{name}"] for name in names},
        {name: arrays[f"after_{name}"] for name in names if f"after_{name}" in arrays},
    )


def logits(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    hidden = x
    for layer in range(2):
        hidden = jax.nn.relu(params[f"W{layer}"] @ hidden + params[f"b{layer}"])
    return params["W2"] @ hidden + params["b2"]


def loss(params: dict[str, jax.Array], example: Example) -> jax.Array:
    return cross_entropy(logits(params, example.x), example.y)


def _split(params: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    rest = {name: p for name, p in params.items() if name not in ("W0", "b0")}
    return params["W0"].T, params["b0"], rest


def _tail(rest: dict[str, jax.Array], preactivation: jax.Array, example: Example) -> jax.Array:
    hidden = jax.nn.relu(rest["W1"] @ jax.nn.relu(preactivation) + rest["b1"])
    return cross_entropy(rest["W2"] @ hidden + rest["b2"], example.y)


# The same loss, with its first layer shown, so that learners take the Gram form.
dense_first_loss = DenseFirstLoss(
    inputs=lambda example: example.x,
    split=_split,
    merge=lambda kernel, bias, rest: {"W0": kernel.T, "b0": bias, **rest},
    tail=_tail,
)


def replays(run: Run, step: int) -> tuple[Example, np.ndarray]:
    """What was replayed at a step: examples `[S, k, ...]`, and weights `[S, k]`, 0 for padding."""
    written, held = run.arrays["reservoir_slot"][:step], {}
    for at, slot in enumerate(written):
        if slot >= 0:
            held[slot] = at
    slots = run.arrays["replay_slots"][step]  # [S, k], -1 is none
    rows = np.vectorize(lambda slot: held.get(slot, 0))(slots)
    return jax.tree.map(lambda leaf: leaf[rows], run.stream), (slots >= 0).astype(np.float32)


def at(tree: Any, index: Any) -> Any:
    """Row `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def with_incoming(run: Run, step: int) -> tuple[Example, np.ndarray]:
    """The step's batches with the incoming example first: `[S, k + 1, ...]` and weights."""
    drawn, weights = replays(run, step)
    incoming = jax.tree.map(
        lambda leaf: np.broadcast_to(leaf[step], (len(weights), 1, *leaf.shape[1:])), run.stream
    )
    batches = jax.tree.map(lambda *rows: np.concatenate(rows, axis=1), incoming, drawn)
    return batches, np.concatenate([np.ones((len(weights), 1), np.float32), weights], axis=1)


def glances(run: Run, step: int) -> list[tuple[Example, Example, np.ndarray]]:
    """The glances of a step of La-MAML.

    Returns:
      For each glance the batch in order `[B, ...]`, the meta-batch `[R + B, ...]`, and its weights.
    """
    arrays, size = run.arrays, run.hyper["batch_size"]
    held: dict[int, int] = {}
    found: list[tuple[Example, Example, np.ndarray]] = []
    for earlier in range(step):
        _write(held, run, earlier)
    rows = step * size + np.arange(size)
    for perm, slots in zip(arrays["perm"][step], arrays["replay_slots"][step], strict=True):
        rows = rows[perm]
        drawn = [held.get(slot, 0) for slot in slots]  # -1 is none
        meta_rows = np.concatenate([drawn, rows])
        weights = np.concatenate([slots >= 0, np.ones(size)]).astype(np.float32)
        found.append((at(run.stream, rows), at(run.stream, meta_rows), weights))
        if len(found) == 1:
            _write(held, run, step)
    return found


def _write(held: dict[int, int], run: Run, step: int) -> None:
    """Puts the rows of a step's batch into the slots that they were written to."""
    size = run.hyper["batch_size"]
    rows = step * size + run.arrays["perm"][step, 0]
    for row, slot in zip(rows, run.arrays["reservoir_slot"][step], strict=True):
        if slot >= 0:
            held[slot] = row


def assert_follows(run: Run, step: int, params: dict[str, jax.Array], atol: float) -> None:
    for name, recorded in run.after.items():
        np.testing.assert_allclose(
            params[name], recorded[step], rtol=0, atol=atol, err_msg=f"{name} after step {step}"
        )


def start(run: Run) -> dict[str, jax.Array]:
    return jax.tree.map(jnp.asarray, run.start)
