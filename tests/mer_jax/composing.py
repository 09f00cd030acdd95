"""Every learner and every way of running it: a tiny problem, `LEARNERS` and `WAYS`.

The modules `test_composes` and `test_on_devices` run each learner in each way. `docs/composing.md`
shows the table of all.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from optax import contrib

import mer_jax
from mer_jax import DenseFirstLoss, Example, Learner, TaskParams, rl
from mer_jax.data import augment
from mer_jax.learners import gem
from mer_jax.networks import Model
from mer_jax.rl import Transition
from tests.mer_jax.compiling import QUICK_KEYS

RATE = 0.05
SEEDS = 4
SIZE: dict[str, Any] = {"batch_size": 3, "capacity": 4}
TASKS: dict[str, Any] = {"num_tasks": 2}
REPLAY = SIZE | TASKS
MEMORIES = TASKS | {"num_memories": 2}

STEPS = 24
"""SGD steps of `mer` on the whole stream: 4 examples of 2 batches of 3. The others take fewer."""
CHAIN = 20
"""Operations of one step that follow one another, rounded up."""
LARGEST = 4
"""No parameter, product of inputs or gradient is larger."""
FLOAT32_BOUND = STEPS * CHAIN * LARGEST * 2**-24
"""What another order of the same float32 operations may change at most: 1e-4."""


PATH = 0.5
"""No parameter goes further in all steps together, after the pulls."""


def half_bound(dtype: Any) -> float:
    """What gradients in half precision may change: each step's length times half its operations.

    The other half is on the way to numbers that are not larger than the gradient. The parameters,
    all below 1, are rounded once more at the end.
    """
    return (PATH * CHAIN / 2 + 1) * float(jnp.finfo(dtype).eps) / 2


PARAMS = {
    "kernel": jnp.float32([[0.5, -0.3], [0.2, 0.8], [-0.6, 0.4]]),
    "bias": jnp.float32([0.1, -0.1]),
    "out": jnp.float32([0.9, -0.7]),
}
X = jnp.float32([[1, 0.5, -0.4], [-0.3, 1, 0.8], [0.9, 0.6, -0.5], [-0.2, 0.9, 1]])
EXAMPLES = [
    # The second task wants the opposite of the first, so that GEM has something to project.
    Example(X[i], jnp.int32(y), jnp.int32(task))
    for i, (y, task) in enumerate([(2, 0), (-1, 0), (-1, 1), (2, 1)])
]
BATCHES = [
    # Two of the same at the end, so that their order makes no difference.
    jax.tree.map(lambda *rows: jnp.stack(rows), EXAMPLES[i], EXAMPLES[j])
    for i, j in [(0, 1), (1, 2), (2, 0), (3, 3)]
]
TRANSITIONS = [
    Transition(X[i], jnp.int32(i % 2), jnp.float32(1 - i), X[3 - i], jnp.bool_(i == 2))
    for i in range(4)
]


def _tail(rest: Any, preactivation: jax.Array, example: Example) -> jax.Array:
    output = jnp.tanh(preactivation) @ rest["out"]
    return (output - example.y.astype(output.dtype)) ** 2 / 2


LOSS = DenseFirstLoss(
    lambda example: example.x,
    lambda params: (params["kernel"], params["bias"], {"out": params["out"]}),
    lambda kernel, bias, rest: {"kernel": kernel, "bias": bias, **rest},
    _tail,
)


def plain_loss(params: Any, example: Example) -> jax.Array:
    """The same without the Gram form."""
    return LOSS(params, example)


def _logits(params: Any, x: jax.Array, task: Any) -> jax.Array:
    del task
    return jnp.tanh(x @ params["kernel"] + params["bias"]) * params["out"]


MODEL = Model(lambda key: PARAMS, _logits, LOSS)
"""Its outputs before they are summed serve as logits."""


def loss_by_task(params: TaskParams, example: Example) -> jax.Array:
    """The same on one task's network."""
    return LOSS(params.own | params.shared, example)


def _two_of(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), tree)


class Case(NamedTuple):
    """A learner of the table.

    make: `make(optimizer) -> learner`.
    takes_optimizer: whether `make` reads its argument.
    alike: number of steps on equal examples in which any draw is as good. Rows of DER differ from
      the third step on, by their logits.
    """

    make: Callable[[Any], Learner]
    takes_optimizer: bool = True
    params: Any = PARAMS
    examples: list[Any] = EXAMPLES
    alike: int = 4


def _mer(loss: Any) -> Case:
    return Case(
        lambda _: mer_jax.mer(loss, alpha=RATE, beta=0.5, gamma=0.8, num_batches=2, **SIZE), False
    )


def _la_maml(loss: Any, **settings: Any) -> Case:
    """Two glances at each of four batches of two, of which each is two steps and a meta-step."""
    sizes: dict[str, Any] = {"glances": 2, "num_replays": 2, "capacity": 4}
    return Case(
        lambda _: mer_jax.la_maml(loss, alpha_init=RATE, alpha_rate=RATE, **settings, **sizes),
        takes_optimizer=False,
        examples=BATCHES,
    )


def _agent(make: Callable[[Any, Any], Any], takes_optimizer: bool) -> Case:
    """An agent's `init` and `update`, which are a learner's on transitions."""
    rest: dict[str, Any] = dict(discount=0.9, epsilon=optax.constant_schedule(0.1), target_every=2)

    def learner(optimizer: Any) -> Learner:
        agent = make(optimizer, rest)
        return Learner(agent.init, agent.update)

    network = {
        "layers_0": {"kernel": PARAMS["kernel"], "bias": PARAMS["bias"]},
        "layers_1": {"kernel": PARAMS["kernel"][:2], "bias": PARAMS["out"]},
    }
    return Case(learner, takes_optimizer, network, TRANSITIONS)


Q = rl.q_network((3, 2, 2))


def _dqn(memory: Any) -> Case:
    return _agent(
        lambda optimizer, rest: rl.dqn(Q, optimizer=optimizer, batch_size=3, memory=memory, **rest),
        True,
    )


LEARNERS = {
    "mer": _mer(plain_loss),
    "mer, Gram form": _mer(LOSS),
    "mer_big_batch": Case(
        lambda _: mer_jax.mer_big_batch(plain_loss, alpha=RATE, gamma=0.5, **SIZE), False
    ),
    "mer_current_rate": Case(
        lambda _: mer_jax.mer_current_rate(plain_loss, alpha=RATE, gamma=0.5, s=1, **SIZE), False
    ),
    "er": Case(lambda optimizer: mer_jax.er(LOSS, optimizer=optimizer, **SIZE)),
    "er_by_task": Case(lambda optimizer: mer_jax.er_by_task(LOSS, optimizer=optimizer, **REPLAY)),
    "online": Case(lambda optimizer: mer_jax.online(LOSS, optimizer=optimizer)),
    "ewc": Case(lambda optimizer: mer_jax.ewc(LOSS, optimizer=optimizer, **MEMORIES, strength=1)),
    "gem": Case(
        lambda optimizer: mer_jax.gem(plain_loss, optimizer=optimizer, **MEMORIES, margin=0.5)
    ),
    "gem, Gram form": Case(
        lambda optimizer: mer_jax.gem(LOSS, optimizer=optimizer, **MEMORIES, margin=0.5)
    ),
    "agem": Case(
        lambda optimizer: mer_jax.agem(LOSS, optimizer=optimizer, **MEMORIES, sample_size=1)
    ),
    "exact_alignment": Case(
        lambda optimizer: mer_jax.exact_alignment(LOSS, optimizer=optimizer, alpha=RATE, **SIZE)
    ),
    "la_maml, Gram form": _la_maml(LOSS),
    # Its gradients are taken through the plain scan.
    "la_maml, second order": _la_maml(plain_loss, weight_rate=RATE, second_order=True),
    "der": Case(
        lambda optimizer: mer_jax.der(MODEL, optimizer=optimizer, alpha=0.5, **SIZE), alike=2
    ),
    "der_plus_plus": Case(
        lambda optimizer: mer_jax.der_plus_plus(
            MODEL, optimizer=optimizer, alpha=0.5, beta=0.5, **SIZE
        ),
        alike=2,
    ),
    "independent": Case(
        lambda optimizer: mer_jax.independent(loss_by_task, optimizer=optimizer),
        params=TaskParams(_two_of(PARAMS), {}),
    ),
    "task_input": Case(
        lambda optimizer: mer_jax.task_input(loss_by_task, optimizer=optimizer),
        params=TaskParams(
            _two_of({name: PARAMS[name] for name in ("kernel", "bias")}), {"out": PARAMS["out"]}
        ),
    ),
    "watch around er": Case(
        lambda optimizer: mer_jax.watch(
            mer_jax.er(LOSS, optimizer=optimizer, **SIZE), LOSS, capacity=4
        )
    ),
    "reptile in online": Case(
        lambda optimizer: mer_jax.online(LOSS, optimizer=mer_jax.reptile(optimizer, 2, 0.5))
    ),
    "rl.dqn": _dqn(mer_jax.reservoir(4)),
    "rl.dqn, fifo": _dqn(rl.fifo(4)),
    "rl.dqn_mer": _agent(
        lambda _, rest: rl.dqn_mer(
            Q, alpha=RATE, beta=0.5, gamma=0.8, num_batches=2, **SIZE, **rest
        ),
        False,
    ),
}

SGD = optax.sgd(RATE, momentum=0.5)
IN_TURN = optax.chain(SGD, optax.adamw(RATE), contrib.prodigy())
"""Each of the three with its own state, of which that of Prodigy keeps the first parameters."""
KEYS = jax.random.split(jax.random.key(7, impl=QUICK_KEYS), 4)


def run(learner: Learner, keys: Any, params: Any, examples: Any, step: Any = None) -> Any:
    """The state after the examples, one compiled step each, and the infos.

    Args:
      step: instead of `jax.jit(learner.update)`.
    """
    step = step or _step(learner)
    state, infos = learner.init(params, examples[0]), []
    for key, example in zip(keys, examples, strict=True):
        state, info = step(key, state, example)
        infos.append(info)
    return state, infos


def _step(learner: Learner) -> Any:
    # A new function each time, so that nothing traced in another way of running is found again. Of
    # the same name each time, so that what is equal is compiled once.
    return jax.jit(lambda *args: learner.update(*args))


@functools.cache
def plain_step(name: str) -> Any:
    """The learner's compiled step with nothing around it, once for all ways of running."""
    return _step(LEARNERS[name].make(SGD))


def plain(name: str, keys: Any = KEYS, params: Any = None, examples: Any = None) -> Any:
    """The plain run, the result that is expected everywhere."""
    case = LEARNERS[name]
    params = case.params if params is None else params
    examples = examples or case.examples
    return run(case.make(SGD), keys, params, examples, plain_step(name))


@functools.cache
def plain_result(name: str) -> Any:
    """The plain run of the case as it stands."""
    return plain(name)


def assert_same(got: Any, expected: Any, bound: float = 0) -> None:
    """Equal structure, shapes, dtypes and numbers, floating-point ones up to a bound."""
    structure: Any = jax.tree.structure(expected)
    assert jax.tree.structure(got) == structure
    wanted = jax.tree_util.tree_leaves_with_path(expected)
    for (path, want), leaf in zip(wanted, jax.tree.leaves(got), strict=True):
        where = jax.tree_util.keystr(path)
        assert (leaf.shape, leaf.dtype) == (want.shape, want.dtype), where
        exact = bound == 0 or not jnp.issubdtype(want.dtype, jnp.floating)
        np.testing.assert_allclose(leaf, want, rtol=0, atol=0 if exact else bound, err_msg=where)


Check = Callable[[str], None]
"""`check(name)` raises unless the learner of that name runs in some way."""


def _inside(context: Callable[[], Any], bound: float = 0, every: int = 1) -> Check:
    """The plain program, made and run inside a context.

    Args:
      context: makes the context.
      bound: largest difference of floating-point numbers.
      every: stride over the examples, for slow contexts. 2 leaves two examples, one of each task. 4
        leaves the first.
    """

    def check(name: str) -> None:
        case = LEARNERS[name]
        args = KEYS[::every], case.params, case.examples[::every]
        expected = plain(name, *args)
        with context():
            got = run(case.make(SGD), *args)
        assert_same(got, expected, bound)

    return check


@contextlib.contextmanager
def _without_jit() -> Iterator[None]:
    """`jax_disable_jit`, with 20 of the 500 steps of GEM's solver, which converges in fewer."""
    with jax.disable_jit(), mock.patch.object(gem, "_QP_ITERATIONS", 20):
        yield


@contextlib.contextmanager
def _in_all_modes() -> Iterator[None]:
    """Every mode that only raises, on top of double precision, so that one run tests them all."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        jax.debug_infs(True),
    ):
        yield


in_all_modes: Check = functools.cache(_inside(_in_all_modes, FLOAT32_BOUND))


def leaks(name: str) -> None:
    """The mode concerns tracing alone, so only shapes and dtypes are compared."""
    case = LEARNERS[name]
    learner = case.make(SGD)
    with jax.checking_leaks():
        state = jax.eval_shape(learner.init, case.params, case.examples[0])
        after, _ = jax.eval_shape(learner.update, KEYS[0], state, case.examples[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


@functools.cache
def other_keys(name: str) -> None:
    """Keys of another generator that are arrays of uint32.

    It draws other numbers, so all examples are equal and every draw is the same.
    """
    case = LEARNERS[name]
    args = case.params, case.examples[-1:] * case.alike
    expected = plain(name, KEYS[: case.alike], *args)
    with jax.default_prng_impl("rbg"):
        keys = jax.random.split(jax.random.PRNGKey(7), case.alike)
        assert_same(run(case.make(SGD), keys, *args), expected, FLOAT32_BOUND)


@functools.cache
def donation(name: str) -> None:
    """A fresh state is donated. The parameters from which it was made stay valid."""
    case = LEARNERS[name]
    learner = case.make(IN_TURN)
    step = jax.jit(learner.update, donate_argnums=1)
    mine = jax.tree.map(jnp.copy, case.params)
    got = run(learner, KEYS, mine, case.examples, step)
    assert_same(mine, case.params)
    # Copies share nothing, so that giving them away is safe whatever `init` does.
    copied = learner._replace(init=lambda *args: jax.tree.map(jnp.copy, learner.init(*args)))
    assert_same(got, run(copied, KEYS, mine, case.examples, step))


def half(dtype: Any) -> Check:
    """Parameters and floating-point inputs of half precision."""

    def cast(tree: Any, to: Any) -> Any:
        # By NumPy, which need not compile.
        return jax.tree.map(
            lambda leaf: jnp.array(
                np.asarray(leaf, to if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype)
            ),
            tree,
        )

    def check(name: str) -> None:
        case, bound = LEARNERS[name], half_bound(dtype)
        params, examples = cast((case.params, case.examples), dtype)
        state, infos = run(case.make(SGD), KEYS, params, examples)
        # The same start, in float32.
        expected, _ = plain(name, KEYS, *cast((params, examples), jnp.float32))
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(dtype)}
        assert all(np.isfinite(np.float32(info.loss)) for info in infos)
        assert_same(cast(state.params, jnp.float32), expected.params, bound)

    return check


def exported(name: str) -> None:
    """A step as bytes, read back. Keys are passed as arrays of bits."""
    case = LEARNERS[name]
    learner = case.make(SGD)

    def step(bits: jax.Array, state: Any, example: Any) -> Any:
        return learner.update(jax.random.wrap_key_data(bits, impl=QUICK_KEYS), state, example)

    bits = jax.random.key_data(KEYS)
    state = learner.init(case.params, case.examples[0])
    content = export.export(jax.jit(step))(bits[0], state, case.examples[0]).serialize()
    again = jax.jit(export.deserialize(content).call)
    # Its results belong to a device. A start that did not would be another program.
    here = jax.devices()[0]
    placed = learner._replace(init=lambda *args: jax.device_put(learner.init(*args), here))
    got = run(placed, bits, case.params, case.examples, again)
    assert_same(got, plain_result(name))


@functools.cache
def _seeds(name: str) -> tuple[Any, Any, Any]:
    """Keys, parameters and streams of four different seeds, `[4, ...]`."""
    case = LEARNERS[name]
    keys = jax.random.split(jax.random.key(8, impl=QUICK_KEYS), (SEEDS, len(case.examples)))
    scales = np.array([1, 0.9, 0.8, 0.7], np.float32)
    # By NumPy, which need not compile.
    params = jax.tree.map(
        lambda p: np.stack([scale * np.asarray(p) for scale in scales]), case.params
    )
    stream = jax.tree.map(lambda *rows: np.stack(rows), *case.examples)
    streams = jax.tree.map(
        lambda leaf: np.stack([np.roll(leaf, shift, 0) for shift in range(SEEDS)]), stream
    )
    return keys, params, streams


@functools.cache
def _one_by_one(name: str) -> Any:
    """The state of each of the `_seeds` by itself on one device, stacked, and the losses."""
    keys, params, streams = _seeds(name)

    def row(tree: Any, i: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), tree)

    states, losses = [], []
    for seed in range(SEEDS):
        examples = [row(row(streams, seed), i) for i in range(len(keys[seed]))]
        state, infos = plain(name, keys[seed], row(params, seed), examples)
        states.append(jax.device_get(state))
        losses.append(np.stack([info.loss for info in infos]))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states), np.stack(losses)


def _learn(learner: Learner, keys: Any, state: Any, stream: Any) -> Any:
    def step(state: Any, at: Any) -> Any:
        state, info = learner.update(at[0], state, at[1])
        return state, info.loss

    return jax.lax.scan(step, state, (keys, stream))


def _first(stream: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], stream)


def on_mesh(name: str) -> None:
    """Four seeds, one on each device, on a mesh whose axis has the type Explicit."""
    args = _seeds(name)
    learner = LEARNERS[name].make(SGD)

    def train(keys: Any, params: Any, stream: Any) -> Any:
        return _learn(learner, keys, learner.init(params, _first(stream)), stream)

    seeds = NamedSharding(jax.make_mesh((SEEDS,), ("seeds",)), PartitionSpec("seeds"))
    got = jax.jit(jax.vmap(train))(*jax.device_put(args, seeds))
    for leaf in jax.tree.leaves(got[0].params):
        assert leaf.sharding.is_equivalent_to(seeds, leaf.ndim)
    assert_same(jax.device_get(got), _one_by_one(name), FLOAT32_BOUND)


def in_shard_map(init_inside: bool) -> Check:
    """The same seeds in a `shard_map` that checks what varies over the mesh, while it is traced."""

    def check(name: str) -> None:
        keys, params, streams = _seeds(name)
        learner = LEARNERS[name].make(SGD)

        def start(params: Any, stream: Any) -> Any:
            return learner.init(params, _first(stream))

        def train(keys: Any, begun: Any, stream: Any) -> Any:
            state = start(begun, stream) if init_inside else begun
            return _learn(learner, keys, state, stream)

        begun = params if init_inside else jax.vmap(start)(params, streams)
        mesh, over = jax.make_mesh((SEEDS,), ("seeds",)), PartitionSpec("seeds")
        mapped = jax.shard_map(jax.vmap(train), mesh=mesh, in_specs=over, out_specs=over)
        # Each device runs the plain program on its own seed: only types can go wrong.
        placed = jax.device_put((keys, begun, streams), NamedSharding(mesh, over))
        chex.assert_trees_all_equal_shapes_and_dtypes(
            jax.eval_shape(mapped, *placed), _one_by_one(name)
        )

    return check


def sharded_parameters(name: str) -> None:
    """A network spread over two devices, by the last axis of each array that is long enough."""
    case = LEARNERS[name]
    mesh = jax.make_mesh((2,), ("width",), axis_types=(AxisType.Auto,))

    def place(leaf: jax.Array) -> NamedSharding:
        last = ("width",) if leaf.ndim and leaf.shape[-1] == 2 else (None,)
        return NamedSharding(mesh, PartitionSpec(*[None] * (leaf.ndim - 1), *last[: leaf.ndim]))

    places = jax.tree.map(place, case.params)
    assert any(not place.is_fully_replicated for place in jax.tree.leaves(places))
    state, _ = run(case.make(SGD), KEYS, jax.device_put(case.params, places), case.examples)
    for leaf, at in zip(jax.tree.leaves(state.params), jax.tree.leaves(places), strict=True):
        assert leaf.sharding.is_equivalent_to(at, leaf.ndim)
    expected = plain_result(name)[0]
    assert_same(jax.device_get(state), jax.device_get(expected), FLOAT32_BOUND)


def sharded_rows() -> None:
    """Batches whose rows lie on four devices, offered to a reservoir and mixed with replays."""
    batch = {"x": jnp.arange(24.0).reshape(8, 3), "key": jax.random.split(jax.random.key(3), 8)}
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), batch)

    def mixed(batch: Any) -> Any:
        memory = mer_jax.reservoir(6)
        state = memory.init(row)
        state = memory.add_batch(jax.random.key(0), state, batch)
        batch, state = mer_jax.mix(jax.random.key(1), state, batch, replay_share=0.25)
        return jax.tree.map(
            lambda leaf: (
                jax.random.key_data(leaf)
                if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
                else leaf
            ),
            (batch, state),
        )

    expected = jax.device_get(jax.jit(mixed)(batch))
    for kind in AxisType.Auto, AxisType.Explicit:
        mesh = jax.make_mesh((SEEDS,), ("rows",), axis_types=(kind,))
        got = jax.jit(mixed)(jax.device_put(batch, NamedSharding(mesh, PartitionSpec("rows"))))
        assert got[0]["x"].sharding.spec[0] == "rows"
        assert_same(jax.device_get(got), expected)


def _mixed(key: jax.Array, x: jax.Array) -> Any:
    memory = mer_jax.reservoir(6)
    return mer_jax.mix(key, memory.add(key, memory.init(x[0]), x[0]), x, 0.5)


def _mixed_with_what_all_share(key: jax.Array, x: jax.Array) -> Any:
    return mer_jax.mix(key, mer_jax.reservoir(6).init(x[0]), jnp.arange(6.0), 0.5)


def _drawn_from_a_fresh(memory: Any) -> Callable[[jax.Array, jax.Array], Any]:
    return lambda key, x: (
        memory.sample(key, memory.init(jnp.float32(0)), 2),
        memory.sample_and_add(key, memory.init(jnp.float32(0)), jnp.float32(1), 2),
    )


def _learned_from_what_all_share(name: str) -> Callable[[jax.Array, jax.Array], Any]:
    case = LEARNERS[name]
    stream = jax.tree.map(lambda *rows: jnp.stack(rows), *case.examples)

    def learned(key: jax.Array, x: jax.Array) -> Any:
        learner = case.make(SGD)
        state = learner.init(case.params, case.examples[0])
        return mer_jax.run(key, learner, state, stream)[1].loss

    return learned


def _random_affine(key: jax.Array, x: jax.Array) -> Any:
    image = Example(jnp.arange(9.0).reshape(3, 3), jnp.int32(0), jnp.int32(0))
    drawn = augment.random_affine(shift=1.0, matrix=0.1)(key, image).x
    return drawn, augment.affine(x.reshape(2, 3), jnp.eye(2), jnp.ones(2))


def _accuracy(block_size: int) -> Callable[[jax.Array, jax.Array], Any]:
    tests = Example(jnp.eye(6), jnp.arange(6) % 2, jnp.zeros(6, jnp.int32))

    def judged(key: jax.Array, x: jax.Array) -> Any:
        def apply(w: Any, image: Any, task: Any) -> jax.Array:
            return jnp.stack([w @ image, jnp.float32(8)])

        return mer_jax.accuracy(apply, x, tests, lambda e: e, block_size, jnp.arange(6) > 1)

    return judged


PARTS = {
    "mix": _mixed,
    "mix of what all seeds share": _mixed_with_what_all_share,
    "draws of a fresh reservoir": _drawn_from_a_fresh(mer_jax.reservoir(6)),
    "draws of a fresh fifo": _drawn_from_a_fresh(rl.fifo(6)),
    **{
        f"{name} on a stream that all seeds share": _learned_from_what_all_share(name)
        for name in (
            "ewc",
            "independent",
            "task_input",
            "gem",
            "er",
            "la_maml, Gram form",
            "der_plus_plus",
        )
    },
    "random_affine": _random_affine,
    "accuracy": _accuracy(4),
    "accuracy, one by one": _accuracy(1),
}
"""`part(key, x)` for one seed. `x` is `[6]`, its own numbers. Some results depend on neither."""


def part_on_devices(name: str) -> None:
    """Four seeds of a part give on four devices what they give on one."""
    args = jax.random.split(jax.random.key(0), SEEDS), jnp.arange(24.0).reshape(SEEDS, 6)
    over_seeds = jax.vmap(PARTS[name])
    expected = jax.device_get(jax.jit(over_seeds)(*args))
    mesh, over = jax.make_mesh((SEEDS,), ("seeds",)), PartitionSpec("seeds")
    placed = jax.device_put(args, NamedSharding(mesh, over))
    assert_same(jax.device_get(jax.jit(over_seeds)(*placed)), expected, FLOAT32_BOUND)
    mapped = jax.shard_map(over_seeds, mesh=mesh, in_specs=over, out_specs=over)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(mapped, *placed), expected)


class Way(NamedTuple):
    """A transformation or library that learners compose with.

    says: one line for the documentation.
    check: see `Check`.
    needs_optimizer: whether it concerns an optimizer.
    """

    says: str
    check: Check
    needs_optimizer: bool = False


WAYS = {
    "x64": Way(
        "`jax_enable_x64`, with parameters of float32: the same draws and dtypes.",
        in_all_modes,
    ),
    "strict": Way('`jax_numpy_dtype_promotion="strict"`.', in_all_modes),
    "rank": Way('`jax_numpy_rank_promotion="raise"`.', in_all_modes),
    "nans": Way("`jax_debug_nans`.", in_all_modes),
    "infs": Way("`jax_debug_infs`.", in_all_modes),
    "leaks": Way("`jax_check_tracer_leaks`: no tracer leaks.", leaks),
    "no jit": Way(
        "`jax_disable_jit`: the same up to rounding.",
        _inside(_without_jit, FLOAT32_BOUND, every=2),
    ),
    "uint32 keys": Way("Arrays of `jax.random.PRNGKey`: draws of the same kind.", other_keys),
    "rbg keys": Way("Keys of the generator `rbg`: draws of the same kind.", other_keys),
    "mesh": Way(
        "Seeds on an axis of `jax.make_mesh`, whose type is Explicit, in a `vmap`.",
        on_mesh,
    ),
    "shard_map": Way(
        "`jax.shard_map` over seeds with its default `check_vma=True`, `init` outside of it.",
        in_shard_map(init_inside=False),
    ),
    "shard_map, init": Way("The same with `init` inside of it.", in_shard_map(init_inside=True)),
    "sharded network": Way(
        "Parameters spread over the devices of a mesh: they stay where they are.",
        sharded_parameters,
    ),
    "donation": Way("A fresh state is donated: the same bits.", donation),
    "donation, adamw": Way("The same with `optax.adamw`.", donation, True),
    "donation, prodigy": Way(
        "The same with `optax.contrib.prodigy`, whose state keeps the first parameters.",
        donation,
        True,
    ),
    "bfloat16": Way("Parameters and inputs of bfloat16.", half(jnp.bfloat16)),
    "float16": Way("Parameters and inputs of float16.", half(jnp.float16)),
    "export": Way(
        "A step serialized by `jax.export` and read back: the same bits.",
        exported,
    ),
}


ON_DEVICES = ("mesh", "shard_map", "shard_map, init", "sharded network")
ON_ONE = tuple(way for way in WAYS if way not in ON_DEVICES)
"""Each of the two is a module of tests, since one needs several devices."""


def cells(ways: Iterable[str]) -> list[tuple[str, str]]:
    """Each learner and way that go together: `(learner, way)`."""
    return [
        (name, way)
        for way in ways
        for name, case in LEARNERS.items()
        if case.takes_optimizer or not WAYS[way].needs_optimizer
    ]


def table() -> str:
    """The table of `docs/composing.md`: a column for each way, a row for each learner."""
    tested = set(cells(ON_DEVICES + ON_ONE))
    lines = [["Learner", *WAYS], ["---", *[":-:"] * len(WAYS)]]
    for name in LEARNERS:
        lines.append([name, *("✓" if (name, way) in tested else "" for way in WAYS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def list_of_ways() -> str:
    """The list of `docs/composing.md`: a line for each way."""
    return "\n".join(f"- **{way}**: {about.says}" for way, about in WAYS.items())
