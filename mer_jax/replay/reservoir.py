"""The functional reservoir: a uniform sample of a stream, in arrays of fixed size."""

import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from mer_jax import _checks, _order, _trees
from mer_jax._described import described
from mer_jax._meshes import all_rows, varying_like
from mer_jax.types import exportable


@exportable
class ReservoirState(NamedTuple):
    """Stored examples of a `reservoir` or a `fifo`, with the number offered so far.

    examples: pytree of `[capacity, ...]`. Rows from `min(num_seen, capacity)` on are padding.
    num_seen: `[]` int32, the number of examples offered so far, stored or not, below 2^31.
    """

    examples: Any
    num_seen: jax.Array


class Init(Protocol):
    """Type of `Reservoir.init`, a function `init(example) -> state`."""

    def __call__(self, example: Any) -> ReservoirState: ...


class Add(Protocol):
    """Type of `Reservoir.add`. It offers an example, unless `offered` is False."""

    def __call__(
        self, key: jax.Array, state: ReservoirState, example: Any, offered: Any = True
    ) -> ReservoirState: ...


class Sample(Protocol):
    """Type of `Reservoir.sample`, a function `sample(key, state, n) -> (examples, valid)`."""

    def __call__(self, key: jax.Array, state: ReservoirState, n: int) -> tuple[Any, jax.Array]: ...


class AddBatch(Protocol):
    """Type of `Reservoir.add_batch`. It offers a batch, or its rows where `offered` is True."""

    def __call__(
        self, key: jax.Array, state: ReservoirState, batch: Any, offered: jax.Array | None = None
    ) -> ReservoirState: ...


class SampleAndAdd(Protocol):
    """Type of `Reservoir.sample_and_add`: `(key, state, example, n) -> (drawn, valid, state)`."""

    def __call__(
        self, key: jax.Array, state: ReservoirState, example: Any, n: int
    ) -> tuple[Any, jax.Array, ReservoirState]: ...


class After(Protocol):
    """Type of `Reservoir.after`, a function `after(state, result) -> state`."""

    def __call__(self, state: ReservoirState, result: Any) -> ReservoirState: ...


class Reservoir(NamedTuple):
    """The functions of a memory, see `reservoir` and `fifo`.

    init: `init(example) -> state`, an empty memory.
    add: `add(key, state, example, offered=True) -> state`. If not offered, nothing is stored.
    sample: `sample(key, state, n) -> (examples [n, ...], valid [n])`, drawn with replacement.
      `valid` is bool, True for the first `min(n, number stored)` rows. Use these alone.
    add_batch: `add_batch(key, state, batch, offered=None) -> state`. `offered` is `[N]` bool.
    sample_and_add: `(key, state, example, n) -> (examples, valid, state)`, `sample` and then `add`.
    after: `after(state, result) -> state`, equal to `state`. Writes to it wait for `result`.
    """

    init: Init
    add: Add
    sample: Sample
    add_batch: AddBatch
    sample_and_add: SampleAndAdd
    after: After


def reservoir(capacity: int) -> Reservoir:
    """A reservoir: a uniform sample, without replacement, of all examples offered so far.

    All tasks share the capacity. It is the leading axis of `state.examples`. A compiled step that
    draws by `sample` and then stores by `add` copies the reservoir. `sample_and_add` does both in
    place, if the state is donated or carried by a scan. Or `after` makes the write wait, see below.

    Args:
      capacity: number of examples that the reservoir holds, at least 1 and below 2^31.
    Returns:
      A `Reservoir`. Its state is a `ReservoirState`.
    Raises:
      ValueError: If `capacity` is out of its range. In `init`, if an example has no arrays.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import reservoir
      >>> memory = reservoir(capacity=3)
      >>> state = memory.init(jnp.int32(0))
      >>> for number in range(10):
      ...     state = memory.add(jax.random.key(number), state, jnp.int32(number))
      >>> examples, valid = memory.sample(jax.random.key(10), state, 2)
      >>> print(state.examples.shape, state.num_seen, valid)
      (3,) 10 [ True  True]

      Two steps with equal results. Under `jit`, both write in place if the state is donated:

      >>> def step(key, state, example):
      ...     drawn, valid, state = memory.sample_and_add(key, state, example, 2)
      ...     return drawn.sum(), state
      >>> def the_same(key, state, example):
      ...     draw_key, add_key = jax.random.split(key)
      ...     result = memory.sample(draw_key, state, 2)[0].sum()
      ...     return result, memory.add(add_key, memory.after(state, result), example)
      >>> first, second = (f(jax.random.key(0), state, jnp.int32(7)) for f in (step, the_same))
      >>> bool(first[0] == second[0]), bool((first[1].examples == second[1].examples).all())
      (True, True)

    References:
      Vitter (1985), "Random Sampling with a Reservoir", Algorithm R.
    """
    capacity = _checks.positive_int("capacity", capacity)

    def init(example: Any) -> ReservoirState:
        """An empty reservoir for examples shaped like `example` (arrays or shape structs)."""
        if not jax.tree.leaves(example):
            raise ValueError(f"example must hold an array at least, got {described(example)}")
        examples = jax.tree.map(
            lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), _trees.shapes(example)
        )
        return varying_like(ReservoirState(examples, jnp.zeros((), jnp.int32)), example)

    of_mine = functools.partial(_checks.of_memory, ReservoirState, capacity)
    mine = of_mine(add), of_mine(sample), of_mine(add_batch), of_mine(sample_and_add)
    return Reservoir(init, *mine, after)


def add(key: jax.Array, state: ReservoirState, example: Any, offered: Any = True) -> ReservoirState:
    """Offers one example. Each example offered so far is then stored with equal chance.

    The n-th example takes slot n - 1 while there is room. Later a slot is drawn from `[0, n)`. If
    the reservoir has this slot, the example replaces the one there. If not, it is dropped. The code
    of Riemer et al. (2019) draws from `[0, n]`, which stores slightly too few recent examples.

    Args:
      key: random key, consumed.
      state: the reservoir.
      example: like one row of `state.examples`, with the same structure, shapes and dtypes.
      offered: `[]` bool. If False, the state stays as it is.
    Returns:
      The `ReservoirState` after the offer.
    Raises:
      ValueError: While tracing, if `example` is not like a row, or `offered` is not one value.
    """
    check_row(state, example)
    n, room, is_offered = state.num_seen, capacity(state), _checks.one_offered(offered)
    slot = jnp.where(n < room, n, jax.random.randint(key, (), 0, n + 1, jnp.int32))
    slot = jnp.where(is_offered, slot, room)
    # A write past the end is the dropped example, so no branch on traced values is needed.
    examples = jax.tree.map(
        lambda rows, x: rows.at[slot].set(x, mode="drop"), state.examples, example
    )
    return ReservoirState(examples, n + is_offered.astype(jnp.int32))


def add_batch(
    key: jax.Array, state: ReservoirState, batch: Any, offered: jax.Array | None = None
) -> ReservoirState:
    """Offers many examples at once. Each example offered so far is then stored with equal chance.

    The result has the distribution of `add` on one example after another. One key draws all slots.
    If two examples draw the same slot, the later one is stored.

    Args:
      key: random key, consumed.
      state: the reservoir.
      batch: pytree of `[N, ...]`, its rows like those of `state.examples`.
      offered: `[N]` bool. Rows with False are left out. None offers all.
    Returns:
      The `ReservoirState` after all offers.
    Raises:
      ValueError: While tracing, if the batch is not like rows, or if `offered` is not `[N]`.
    """
    size, room = check_rows(state, batch), capacity(state)
    batch = all_rows(batch)
    offered = _checks.offered(batch, offered)
    n = state.num_seen + jnp.cumsum(offered, dtype=jnp.int32)  # offered up to and with each
    slots = jnp.where(n <= room, n - 1, jax.random.randint(key, (size,), 0, n, jnp.int32))
    slots = jnp.where(offered, slots, room)
    order = jnp.argsort(slots, stable=True)
    place = jnp.arange(size, dtype=jnp.int32)
    is_last = (slots[order] != jnp.roll(slots[order], -1)) | (place == size - 1)
    # Dropped rows are written past the end, each to a different place.
    slots = jnp.where(jnp.zeros(size, bool).at[order].set(is_last), slots, room)
    slots = jnp.where(slots < room, slots, room + place)
    examples = jax.tree.map(
        lambda rows, x: rows.at[slots].set(x, mode="drop", unique_indices=True),
        state.examples, batch,
    )  # fmt: skip
    return ReservoirState(examples, n[-1])


def sample(key: jax.Array, state: ReservoirState, n: int) -> tuple[Any, jax.Array]:
    """Draws `n` stored examples, uniformly with replacement.

    Args:
      key: random key, consumed.
      state: the reservoir.
      n: number of draws, at least 0, static.
    Returns:
      The examples `[n, ...]` and `valid`, `[n]` bool, True for the first `min(n, number stored)`
      rows. Use these alone: a batch then has no more replays than are stored. The other rows are
      further draws, or zeros if nothing is stored.
    Raises:
      ValueError: If `n` is not a plain whole number of at least 0.
    """
    n, state = _checks.count("n", n), varying_like(state, key)
    stored = jnp.minimum(state.num_seen, capacity(state))
    slots = jax.random.randint(key, (n,), 0, jnp.maximum(stored, 1), jnp.int32)
    return rows_at(state, slots), jnp.arange(n, dtype=jnp.int32) < stored


def rows_at(state: ReservoirState, slots: jax.Array) -> Any:
    """The stored rows with the numbers `slots` `[n]`. Each leaf of the result is `[n, ...]`."""
    n = len(slots)
    # A single row would be read as a slice. XLA does not see that the slice precedes a write.
    read = jnp.concatenate([slots, slots]) if n == 1 else slots
    return jax.tree.map(lambda rows: rows[read][:n], state.examples)


def sample_and_add(
    key: jax.Array, state: ReservoirState, example: Any, n: int
) -> tuple[Any, jax.Array, ReservoirState]:
    """Draws `n` stored examples, then offers a new one.

    With the two keys of `jax.random.split(key)`, `sample` and then `add` have the same result, but
    copy the whole reservoir unless `after` is between them. This function writes a row in place.

    Args:
      key: random key, consumed.
      state: the reservoir.
      example: one example, like a row of `state.examples`.
      n: number of draws, static, at least 0.
    Returns:
      The examples `[n, ...]` and `valid` of `sample`, and the new `ReservoirState`.
    Raises:
      ValueError: If `example` is not like a row. If `n` is not a whole number of at least 0.
    """
    draw_key, add_key = jax.random.split(key)
    drawn, valid = sample(draw_key, state, n)
    return drawn, valid, add(add_key, after(state, drawn), example)


def after(state: ReservoirState, result: Any) -> ReservoirState:
    """Orders the next write to a reservoir after the computation of `result`.

    XLA copies the whole reservoir unless all reads are known to come before the write. After a step
    on drawn examples, `add(key, after(state, params), example)` makes that known.

    Args:
      state: the reservoir.
      result: any pytree of arrays computed from all draws, such as `params` after a step.
    Returns:
      A `ReservoirState` with the same values.
    """
    n = state.num_seen
    return state._replace(num_seen=_order.after(n, result, n < 0))


def capacity(state: ReservoirState) -> int:
    """The number of examples that the reservoir can hold."""
    return jax.tree.leaves(state.examples)[0].shape[0]


def check_row(state: ReservoirState, example: Any) -> None:
    """Raises `ValueError` unless `example` is like one row of the stored examples."""
    row = _trees.row(state.examples)
    _trees.like_row("example must be like one row of the reservoir", row, example)


def check_rows(state: ReservoirState, batch: Any) -> int:
    """The number of rows of a batch. Raises `ValueError` unless each is like a stored example."""
    shapes = _trees.shapes(batch)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(shapes)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(
            "batch must be arrays with an axis of examples in common, of at least 1, got "
            f"{described(shapes)}; mer_jax.in_batches makes batches of a stream"
        )
    check_row(state, _trees.row(shapes))
    ((size,),) = sizes
    return int(size)
