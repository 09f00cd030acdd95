"""Error messages for invalid arguments."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import _checks, networks
from mer_jax.data import benchmark_files, benchmarks
from mer_jax.rl import fifo
from mer_jax.steps.reptile import interpolate

SGD = optax.sgd(0.1)
KEY = jax.random.key(0)
EXAMPLE = mer_jax.Example(jnp.ones(3), jnp.int32(0), jnp.int32(0))
BATCHES = jax.tree.map(lambda leaf: jnp.stack([jnp.stack([leaf] * 4)] * 2), EXAMPLE)  # [2, 4, ...]


def assert_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert " at 0x" not in str(caught.value)


def squared(params, example):
    return jnp.sum((params - example) ** 2)


def unchanged(params, x, task):
    """A network whose logits are its inputs."""
    return x


def update_with(weights):
    model = networks.mlp((3, 4, 2))
    params = model.init(jax.random.key(0))
    return mer_jax.mer_update(model.loss, params, BATCHES, weights, alpha=0.1, beta=1.0, gamma=1.0)


def run_on(stream):
    learner = mer_jax.online(networks.mlp((3, 2)).loss, optimizer=SGD)
    state = learner.init(networks.mlp((3, 2)).init(jax.random.key(0)), EXAMPLE)
    return mer_jax.run(jax.random.key(1), learner, state, stream)


def learn_without_task(make, params=None, **settings):
    params = jnp.zeros(3) if params is None else params
    learner = make(squared, optimizer=SGD, **settings)
    state = learner.init(params, jnp.ones(3))
    return learner.update(jax.random.key(0), state, jnp.ones(3))


MEMORIES: dict[str, Any] = {"num_tasks": 2, "num_memories": 3}
RNG = np.random.default_rng(0)
RESERVOIR = mer_jax.reservoir(1).init(jnp.int32(0))


def vector(params, example):
    """An invalid loss with one number for each parameter."""
    return (params - example) ** 2


STREAM = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), EXAMPLE)


def offer(add, example, given):
    return add(jax.random.key(0), RESERVOIR, example, given)


def learn_with_augment(augment):
    learner = mer_jax.online(squared, optimizer=SGD, augment=augment)
    return learner.update(jax.random.key(0), learner.init(1.0, 1.0), 1.0)


def draw(n):
    return mer_jax.reservoir(1).sample(jax.random.key(0), RESERVOIR, n)


def draw_newest(n):
    return fifo(1).sample(jax.random.key(0), RESERVOIR, n)


RATES: dict[str, Any] = {"alpha": 0.1, "beta": 1.0, "gamma": 1.0}


def learn_a_vector(make, **settings):
    learner = make(vector, **settings)
    return learner.update(jax.random.key(0), learner.init(jnp.zeros(3), jnp.ones(3)), jnp.ones(3))


def with_rates(**changed):
    rates = RATES | changed
    return mer_jax.mer_update(squared, jnp.zeros(3), jnp.ones((1, 2, 3)), jnp.ones((1, 2)), **rates)


def judge(present, **how):
    model = networks.mlp((3, 2))
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), EXAMPLE)
    return mer_jax.accuracy(
        model.apply, model.init(jax.random.key(0)), batch, present=present, **how
    )


NO_PARAMETERS = {
    "w": jnp.ones(3),
    "count": jnp.zeros(2, jnp.int32),
    "on": True,
    "dropout": [jax.random.key(0)],
    "act": squared,
}
"""One array of parameters, and other leaves that a model may have."""
EVERY_ONE = (
    r"floating-point arrays, got function at \['act'\], int32 at \['count'\], "
    r"key<fry> at \['dropout'\]\[0\], bool at \['on'\]; keep out"
)
LEARNERS: dict[str, Callable[[Any], mer_jax.Learner]] = {
    "mer": lambda loss: mer_jax.mer(loss, **RATES, num_batches=1, batch_size=2, capacity=2),
    "mer_big_batch": lambda loss: mer_jax.mer_big_batch(
        loss, alpha=0.1, gamma=1.0, batch_size=2, capacity=2
    ),
    "mer_current_rate": lambda loss: mer_jax.mer_current_rate(
        loss, alpha=0.1, gamma=1.0, s=1.0, batch_size=2, capacity=2
    ),
    "er": lambda loss: mer_jax.er(loss, optimizer=SGD, batch_size=2, capacity=2),
    "er_by_task": lambda loss: mer_jax.er_by_task(
        loss, optimizer=SGD, batch_size=2, capacity=2, num_tasks=2
    ),
    "online": lambda loss: mer_jax.online(loss, optimizer=SGD),
    "ewc": lambda loss: mer_jax.ewc(loss, optimizer=SGD, **MEMORIES, strength=1.0),
    "gem": lambda loss: mer_jax.gem(loss, optimizer=SGD, **MEMORIES, margin=0.5),
    "agem": lambda loss: mer_jax.agem(loss, optimizer=SGD, **MEMORIES, sample_size=2),
    "exact_alignment": lambda loss: mer_jax.exact_alignment(
        loss, optimizer=SGD, alpha=0.1, batch_size=2, capacity=2
    ),
    "la_maml": lambda loss: mer_jax.la_maml(
        loss, alpha_init=0.1, alpha_rate=0.1, glances=1, num_replays=1, capacity=2
    ),
    "der": lambda loss: mer_jax.der(
        networks.Model(jnp.zeros, unchanged, loss),
        optimizer=SGD,
        alpha=1.0,
        batch_size=2,
        capacity=2,
    ),
    "der_plus_plus": lambda loss: mer_jax.der_plus_plus(
        networks.Model(jnp.zeros, unchanged, loss),
        optimizer=SGD,
        alpha=1.0,
        beta=1.0,
        batch_size=2,
        capacity=2,
    ),
    "independent": lambda loss: mer_jax.independent(loss, optimizer=SGD),
    "task_input": lambda loss: mer_jax.task_input(loss, optimizer=SGD),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_each_leaf_that_is_no_parameter_is_named(name):
    params, path = NO_PARAMETERS, EVERY_ONE
    if name in ("independent", "task_input"):
        params = mer_jax.TaskParams(shared=params, own=jnp.ones((2, 3)))
        path = path.replace("at ", r"at \.shared")
    with pytest.raises(ValueError, match=path):
        LEARNERS[name](squared).init(params, EXAMPLE)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda params, example: (jnp.float32(1), {}), "a tuple of 2, and there is no auxiliary"),
        (lambda params, example: jnp.ones(3), r"shape \[3\]"),
        (lambda params, example: jnp.int32(1), "a number of int32"),
        (lambda params, example: None, "a NoneType"),
        (lambda params, example: "1", "a str"),
    ],
)
def test_a_loss_that_is_not_one_number(name, loss, message):
    learner, params = LEARNERS[name](loss), jnp.ones(3)
    if name in ("independent", "task_input"):
        params = mer_jax.TaskParams(shared={}, own=jnp.ones((2, 3)))
    shown = STREAM if name == "la_maml" else EXAMPLE
    with pytest.raises(ValueError, match=rf"must give one number, got {message}"):
        jax.eval_shape(learner.update, jax.random.key(0), learner.init(params, EXAMPLE), shown)


BAD = [
    (lambda: learn_a_vector(mer_jax.online, optimizer=SGD), r"one number, got shape \[3\]"),
    (
        lambda: learn_a_vector(mer_jax.mer, **RATES, num_batches=1, batch_size=2, capacity=2),
        r"one number, got shape \[3\]",
    ),
    (lambda: with_rates(beta=2.0), "beta must be a number from 0 to 1, got 2"),
    (lambda: with_rates(alpha=jnp.ones(3)), r"alpha must be one number, got shape \(3,\)"),
    (lambda: jax.jit(lambda a: with_rates(alpha=a))(jnp.ones(3)), r"got shape \(3,\)"),
    (lambda: mer_jax.sgd_pass(squared, jnp.zeros(3), jnp.ones((2, 3)), jnp.ones(2), -1.0), "alpha"),
    (
        lambda: mer_jax.online(squared, optimizer=optax.sgd),
        "optax transformation.*got the function",
    ),
    (lambda: mer_jax.er(squared, optimizer=None, batch_size=2, capacity=2), "got None"),
    (lambda: mer_jax.gem(squared, optimizer=None, **MEMORIES, margin=0), "got None"),
    (lambda: mer_jax.ewc(squared, optimizer=None, **MEMORIES, strength=1), "got None"),
    (lambda: mer_jax.task_input(squared, optimizer=None), "got None"),
    (lambda: mer_jax.reptile(optax.adam, 5, 0.1), "optax transformation.*got the function"),
    (lambda: mer_jax.reptile(SGD, 2**31, 0.1), r"every must be less than 2\^31"),
    (
        lambda: jax.jit(lambda every: mer_jax.reptile(SGD, every, 0.1).init(jnp.ones(3)))(2),
        "every must be a plain whole number, got the traced .*; make it static",
    ),
    (
        lambda: mer_jax.mix(jax.random.key(0), RESERVOIR, jnp.zeros(0, jnp.int32), 0.5),
        "batch must be arrays with an axis of examples in common, of at least 1",
    ),
    *(
        (lambda add=add: add(jnp.ones(2)), r"offered must be one truth value, got shape \[2\]")
        for add in (mer_jax.reservoir(1).add, fifo(1).add)
        for add in [functools.partial(offer, add, jnp.int32(1))]
    ),
    *(
        (lambda add=add, given=given: add(given), r"offered must be \[N\]")
        for add in (mer_jax.reservoir(1).add_batch, fifo(1).add_batch)
        for add in [functools.partial(offer, add, jnp.arange(3))]
        for given in (True, jnp.ones(1), jnp.ones((3, 1)))
    ),
    (lambda: learn_with_augment(3), r"augment must be a function augment\(key, example\), got 3"),
    (lambda: learn_with_augment(lambda key, e: None), "the example that the loss sees, got None"),
    (
        lambda: mer_jax.online(None, optimizer=SGD).update(  # type: ignore[arg-type]
            jax.random.key(0), mer_jax.online(squared, optimizer=SGD).init(1.0, 1.0), 1.0
        ),
        r"loss_fn must be a function loss_fn\(params, example\), got None",
    ),
    (
        lambda: mer_jax.online(squared, optimizer=SGD).init(jax.ShapeDtypeStruct((3,), float), 1.0),
        "floating-point arrays, got ShapeDtypeStruct at the top",
    ),
    (
        lambda: LEARNERS["gem"](squared).update(
            jax.random.key(0),
            LEARNERS["gem"](squared).init(jnp.ones(3), EXAMPLE),
            EXAMPLE._replace(task=jnp.float32(1.7)),
        ),
        "task must be a whole number, got float32",
    ),
    *(
        (lambda size=size: judge(None, block_size=size), f"block_size must be .*, got {size}")
        for size in (0, -3, 2.5, True)
    ),
    (
        lambda: mer_jax.accuracy(lambda params, x, task: x[0], 1.0, STREAM),
        r"apply must give logits \[C\] of one example, got shape \[\]",
    ),
    *(
        (lambda sample=sample: jax.jit(sample)(2), "n must be a plain whole number, got the traced")
        for sample in (draw, draw_newest)
    ),
    *(
        (lambda n=n, sample=sample: sample(n), f"n must be a whole number of at least 0, got {n}")
        for n in (-1, 2.5)
        for sample in (draw, draw_newest)
    ),
    (lambda: draw_newest(2), "n must be at most the capacity of the fifo, 1, got 2"),
    (
        lambda: mer_jax.task_input(squared, optimizer=SGD).init(
            mer_jax.TaskParams({}, ()), EXAMPLE
        ),
        "params must be TaskParams",
    ),
    (lambda: mer_jax.reservoir(3).init({}), "example must hold an array at least, got {}"),
    (
        lambda: mer_jax.mix(jax.random.key(0), RESERVOIR, jnp.arange(4), 0.5),
        "at most 1 replays, the reservoir's capacity, got 0.5, which gives 2 for",
    ),
    (
        lambda: mer_jax.mix(jax.random.key(0), RESERVOIR, jnp.arange(4), 0.1),
        "at least 1 replay for a batch of 4, got 0.1; use at least 0.25, or 0 for no replay",
    ),
    (lambda: judge(jnp.ones(1, bool)), r"present must be \[n\]"),
    (
        lambda: mer_jax.accuracy_matrix(np.zeros(2, int), np.zeros((2, 1, 1))),
        r"accuracies \[rows, T\].*\[2, 1, 1\]",
    ),
    (
        lambda: mer_jax.accuracy_matrix(np.array([0, 0.4, 1.2]), np.zeros((3, 2))),
        r"got tasks \[0.4, 1.2\]",
    ),
    (lambda: networks.mlp(10), r"several whole numbers, as in \(100, 10\), got 10"),  # type: ignore[arg-type]
    (lambda: networks.convnet(5, 64), "features must be several"),  # type: ignore[arg-type]
    (
        lambda: networks.by_task(networks.mlp((3, 2)), 2, ["layer_0"]).init(jax.random.key(0)),
        r"own must name layers of \['layers_0'\], got \['layer_0'\]",
    ),
    (lambda: benchmarks.rotations(RNG, 10, 2, 5, side=0), "side must be"),
    (lambda: benchmarks.permutations(RNG, 10, 2, 5, num_pixels=0), "num_pixels must be"),
    (lambda: benchmarks.alphabets(RNG, np.zeros(3), np.zeros(4), 1), r"shapes \[3\] and \[4\]"),
    (
        lambda: benchmarks.alphabets(RNG, np.array([0, 1]), np.array([0, 1]), 2),
        "to learn from and . to test on",
    ),
    (lambda: benchmarks.stack([]), "draws must hold one draw at least"),
]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *BAD,
        (lambda: update_with(jnp.ones(4)), r"weights must be \[s, k\].*got weights \(4,\)"),
        (lambda: update_with(jnp.ones((2, 3))), r"got weights \(2, 3\).*\[\(2, 4\)\]"),
        (lambda: run_on(EXAMPLE), r"leaf of the stream must be \[T, \.\.\.\].*T = 1"),
        (
            lambda: run_on(EXAMPLE._replace(x=jnp.ones((5, 3)))),
            r"got float32\[5, 3\] at \.x and int32\[\] at",
        ),
        (lambda: networks.convnet(5, side=28.0), r"side must be a whole number.*28\.0"),  # type: ignore[arg-type]
        (lambda: networks.convnet(5, side=0, pool_padding="SAME"), "side must be a whole number"),
        (lambda: networks.independent((), 2), r"sizes must name .*got \(\)"),
        (lambda: networks.independent((5,), 2), r"sizes must name .*got \(5,\)"),
        (lambda: _checks.rate("alpha", "0.1"), "alpha must be a number, got '0.1'"),
        (lambda: interpolate(jnp.array([1, 2]), jnp.array([3, 4]), 0.5), r"got int32\[2\]"),
        (lambda: interpolate(jnp.ones(2), jnp.ones(1), 0.5), r"float32\[2\] and float32\[1\]"),
        (
            lambda: benchmarks.alphabets(np.random.default_rng(0), np.arange(3), np.zeros(3), 1),
            "drawer must name at least 2",
        ),
        *(
            (call, "examples must have a field `task`.*got .*Array")
            for call in (
                lambda: learn_without_task(mer_jax.gem, **MEMORIES, margin=0.5),
                lambda: learn_without_task(mer_jax.agem, **MEMORIES, sample_size=2),
                lambda: learn_without_task(mer_jax.ewc, **MEMORIES, strength=1.0),
                lambda: learn_without_task(
                    mer_jax.er_by_task, num_tasks=2, batch_size=2, capacity=2
                ),
                lambda: learn_without_task(
                    mer_jax.independent, mer_jax.TaskParams(jnp.zeros((2, 3)), ())
                ),
            )
        ),
    ],
)
def test_what_cannot_be_right_says_so(call, message):
    assert_one_line(call, message)


MODEL = networks.mlp((3, 4, 2))
PARAMS = MODEL.init(KEY)
WIDE = EXAMPLE._replace(x=jnp.ones(5))
"""An example with too many features for the model."""


def plain(params, example):
    """The loss of the model, which does not show its first layer."""
    return MODEL.loss(params, example)


def stacked(example, size=4):
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * size), example)


def keyed(params, pair):
    """A loss with dropout."""
    key, example = pair
    return MODEL.loss(params, example) + 0 * jax.random.uniform(key)


def run_from(learner, shown=EXAMPLE, stream=STREAM, params=PARAMS):
    return mer_jax.run(KEY, learner, learner.init(params, shown), stream)


def update_on(learner, example, params=PARAMS, key=KEY):
    return learner.update(key, learner.init(params, EXAMPLE), example)


def learner_of(name, loss):
    learner = LEARNERS[name](loss)
    if name not in ("independent", "task_input"):
        return learner
    own = mer_jax.TaskParams({"unused": jnp.ones((2, 1))}, PARAMS)
    loss_of_shared = lambda params, example: loss(params.shared, example)  # noqa: E731
    learner = LEARNERS[name](loss_of_shared)
    return learner._replace(init=lambda params, example, init=learner.init: init(own, example))


WITH_ROWS = [name for name in LEARNERS if name not in ("online", "independent", "task_input")]
OF_RESERVOIR = [name for name in WITH_ROWS if name not in ("ewc", "gem", "agem")]


@pytest.mark.parametrize("name", [name for name in WITH_ROWS if not name.startswith(("la", "der"))])
def test_a_stream_in_the_place_of_an_example_and_the_other_way_round(name):
    learner = LEARNERS[name](MODEL.loss)
    assert_one_line(
        lambda: run_from(learner, shown=STREAM),
        r"expected float32\[4, 3\] at \.x, got float32\[3\]; init takes one example, without the",
    )
    assert_one_line(
        lambda: update_on(learner, STREAM),
        r"expected float32\[3\] at \.x, got float32\[4, 3\]; use mer_jax.run for a stream",
    )


@pytest.mark.parametrize("name", LEARNERS)
def test_a_key_that_is_a_number_and_a_state_in_its_place(name):
    learner = learner_of(name, plain)
    state = learner.init(PARAMS, EXAMPLE)
    assert_one_line(
        lambda: learner.update(3, state, EXAMPLE),
        r"key must be a random key, got int 3; pass jax\.random\.key\(3\)",
    )
    assert_one_line(
        lambda: mer_jax.run(3, learner, state, STREAM), r"got int 3; pass jax\.random\.key\(3\)"
    )
    assert_one_line(
        lambda: learner.update(state, KEY, EXAMPLE),
        r"key must be .*State.*, in the order update\(key, state, example\)",
    )
    assert_one_line(
        lambda: learner.update(KEY, EXAMPLE, state),
        r"state must be a \w+State, got Example.*in the order update\(key, state, example\)",
    )


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (keyed, "too many values to unpack .* Example.*; .* give augment=lambda key, example"),
        (lambda example, params: plain(params, example), "AttributeError: .*Example.*; take the "),
        (lambda params: plain(params, EXAMPLE), r"TypeError.*1 positional argument but 2 were"),
        (lambda params, example: params["w"].sum(), "KeyError: 'w'.*; take the parameters"),
        (
            lambda params, example: 1.0 if example.y else 0.0,
            "TracerBoolConversionError.*; write it with jax.numpy",
        ),
        (lambda params, example: plain(params, WIDE), r"shape.*\(5,\) and \(3,\).*give parameters"),
    ],
)
def test_a_loss_that_cannot_be_called_says_so(name, loss, message):
    learner = learner_of(name, loss)
    shown = STREAM if name == "la_maml" else EXAMPLE
    learn = functools.partial(
        jax.eval_shape, learner.update, KEY, learner.init(PARAMS, EXAMPLE), shown
    )
    assert_one_line(learn, rf"loss_fn\(params, example\) must give the loss of .*{message}")
    with pytest.raises(ValueError, match="loss_fn") as caught:
        learn()
    assert isinstance(caught.value.__cause__, TypeError | AttributeError | ValueError | KeyError)


@pytest.mark.parametrize("name", [name for name in LEARNERS if not name.startswith("der")])
@pytest.mark.parametrize("loss", [MODEL.loss, plain])
def test_an_input_that_does_not_fit_is_shown(name, loss):
    learner = learner_of(name, loss)
    shown = stacked(WIDE) if name == "la_maml" else WIDE
    assert_one_line(
        lambda: learner.update(KEY, learner.init(PARAMS, WIDE), shown),
        r"dot_general.*example Example\(x=float32\[5\], y=int32\[\], task=int32\[\]\); give param",
    )


@pytest.mark.parametrize("name", OF_RESERVOIR)
def test_a_state_of_another_capacity_is_refused(name):
    learner, shown = LEARNERS[name](plain), STREAM if name == "la_maml" else EXAMPLE
    state = learner.init(PARAMS, EXAMPLE)
    grown = jax.tree.map(lambda rows: jnp.concatenate([rows, rows]), state.memory.examples)
    state = state._replace(memory=state.memory._replace(examples=grown))
    assert_one_line(lambda: learner.update(KEY, state, shown), "have capacity=2, got 4; make the")


@pytest.mark.parametrize("name", ["ewc", "gem", "agem"])
def test_a_state_of_other_memories_is_refused(name):
    learner = LEARNERS[name](plain)
    state = learner.init(PARAMS, EXAMPLE)
    fewer = jax.tree.map(lambda rows: rows[:, :1], state.memory.examples)
    state = state._replace(memory=state.memory._replace(examples=fewer))
    assert_one_line(lambda: learner.update(KEY, state, EXAMPLE), "num_memories=3, got 1; make the")


def test_keys_of_both_kinds_are_taken():
    for key in (jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0)), KEY):
        mer_jax.run(key, MER, MER.init(PARAMS, EXAMPLE), STREAM)
        jax.jit(MER.update)(key, MER.init(PARAMS, EXAMPLE), EXAMPLE)


MER = LEARNERS["mer"](MODEL.loss)
STATE = MER.init(PARAMS, EXAMPLE)
ONLINE = LEARNERS["online"](MODEL.loss)
PARTS = {"x": EXAMPLE.x, "y": EXAMPLE.y}
PARTS_STREAM = stacked(PARTS)


class Labelled(NamedTuple):
    x: Any
    y: Any
    task: Any


Labelled.__name__ = "Example"


def with_augment(augment):
    learner = mer_jax.mer(
        MODEL.loss, **RATES, num_batches=1, batch_size=2, capacity=2, augment=augment
    )
    return run_from(learner)


def accuracy_of(apply=MODEL.apply, params=PARAMS, tests=STREAM, **more):
    return mer_jax.accuracy(apply, params, tests, **more)


def run_parts(stream):
    return run_from(LEARNERS["er"](lambda p, e: jnp.sum(p * e["x"])), PARTS, stream, jnp.ones(3))


FIRST_INPUTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: update_on(ONLINE, STREAM), r"float32\[4, 3\].*one example at a time, as mer_jax.run"),
    (lambda: mer_jax.run(None, MER, STATE, STREAM), "got None; pass jax.random.key"),  # type: ignore[arg-type]
    (
        lambda: mer_jax.run(jax.random.split(KEY, 3), MER, STATE, STREAM),
        r"one random key, got key<fry>\[3\]; vmap over several keys",
    ),
    (lambda: networks.independent((3, 4, 2), 2).init(3), "got int 3; pass"),  # type: ignore[arg-type]
    (lambda: MODEL.init(3), "got int 3; pass"),  # type: ignore[arg-type]
    (lambda: mer_jax.reservoir(1).sample(3, RESERVOIR, 1), "got int 3; pass"),  # type: ignore[arg-type]
    (
        lambda: mer_jax.reservoir(1).add(RESERVOIR, KEY, jnp.int32(0)),  # type: ignore[arg-type]
        r"got ReservoirState.*, in the order add\(key, state, \.\.\.\)",
    ),
    (
        lambda: mer_jax.mix(RESERVOIR, KEY, jnp.arange(4), 0.5),  # type: ignore[arg-type]
        r"in the order mix\(key, buffer_state, batch, replay_share\)",
    ),
    (
        lambda: mer_jax.run(MER, KEY, STATE, STREAM),  # type: ignore[arg-type]
        r"got key<fry>\[\]; give arguments in the order run\(key, learner, state, stream\)",
    ),
    (
        lambda: mer_jax.run(KEY, MER, STREAM, STATE),
        r"got Example of 3 leaves; .*in the order run\(key, learner, state, stream\)",
    ),
    (
        lambda: mer_jax.run(KEY, MER, ONLINE.init(PARAMS, EXAMPLE), STREAM),
        "state must be a MERState, got OnlineState",
    ),
    (
        lambda: run_from(mer_jax.watch(ONLINE, keyed, 5)),
        "too many values to unpack .*Example.*; .* give augment=lambda key, example",
    ),
    (lambda: run_from(mer_jax.watch(ONLINE, keyed, 5), shown=STREAM), "init takes one example"),
    (lambda: update_on(mer_jax.watch(ONLINE, plain, 5), STREAM), "use mer_jax.run for a stream"),
    (lambda: mer_jax.watch(plain, ONLINE, 5), "learner must be a Learner.*the order watch"),  # type: ignore[arg-type]
    (lambda: mer_jax.gradient_alignment(keyed, PARAMS, EXAMPLE, EXAMPLE), "give augment="),
    (
        lambda: mer_jax.la_maml_update(
            MODEL.loss, PARAMS, PARAMS, stacked(WIDE), STREAM, jnp.ones(4), alpha_rate=0.1
        ),
        r"dot_general.*Example\(x=float32\[5\]",
    ),
    (
        lambda: mer_jax.sgd_pass(MODEL.loss, PARAMS, stacked(WIDE), jnp.ones(4), 0.1),
        r"dot_general.*Example\(x=float32\[5\]",
    ),
    (
        lambda: run_from(LEARNERS["mer"](networks.mlp((3, 4, 2), lambda logits, _: logits).loss)),
        r"must give one number, got shape \[2\]",
    ),
    (lambda: with_augment(lambda example: example), r"augment\(key, example\) must return .* take"),
    (lambda: with_augment(MODEL), r"augment must be a function .*, got a Model; give"),
    (
        lambda: accuracy_of(lambda params, x: x),
        r"apply\(params, x, task\) must give .* 2 positional arguments but 3 .*; take these three",
    ),
    (lambda: accuracy_of(params=STATE), "; give state.params in the place of the learner's state"),
    (lambda: accuracy_of(tests=EXAMPLE), r"test set must be \[n, \.\.\.\].* with n = 1"),
    (
        lambda: accuracy_of(tests=STREAM._replace(task=0)),
        r"got int32\[4\] at \.y and int32\[\] at \.task; .*jnp\.full\(n, value\)",
    ),
    (lambda: accuracy_of(MODEL), "apply must be a function .*, got a Model; give model.apply"),
    (lambda: accuracy_of(tests=stacked(WIDE)), r"ScopeParamShapeError.* x float32\[5\]"),
    (lambda: accuracy_of(make=1000), r"make must be a function make\(reference\), got 1000"),
    (lambda: accuracy_of(make=lambda: EXAMPLE), r"make\(reference\) must make one example"),
    (lambda: accuracy_of(unchanged, {"name": "cat"}), r"params must be arrays, got 'cat' at"),
    (lambda: run_from(LEARNERS["mer"](MODEL)), "got a Model; give model.loss"),
    (lambda: run_from(mer_jax.watch(ONLINE, MODEL, 5)), "got a Model; give model.loss"),  # type: ignore[arg-type]
    *(
        (lambda name=name: learner_of(name, plain).init(PARAMS, EXAMPLE._replace(x="cat")),
         r"examples must be arrays, got 'cat' at \.x; convert them to numbers")
        for name in LEARNERS
    ),
    (lambda: MER.init(PARAMS, {"x": np.array(["cat"])}), r"arrays, got <U3\[1\] at \['x'\]"),
    (lambda: run_from(ONLINE, stream=["cat", "dog"]), r"arrays, got 'cat' at \[0\], 'dog' at"),
    (lambda: mer_jax.in_batches({"x": "cat"}, 2), "examples must be arrays"),
    (lambda: mer_jax.in_batches(2, STREAM), r"batch_size must be .*, got Example\(x=float32"),
    (lambda: run_parts({"x": STREAM.x}), r"expected an array at \['y'\], got \{'x': float"),
    (lambda: run_parts(PARTS_STREAM | {"z": STREAM.y}), r"expected no array at \['z'\], got"),
    (lambda: run_parts(STREAM), r"expected \{'x': float32\[3\], 'y': int32\[\]\}, got Example\("),
    (lambda: run_from(MER, stream=Labelled(*STREAM)), r"types\.Example\(.*test_errors\.Example\("),
    (
        lambda: mer_jax.run(
            KEY, mer_jax.map_examples(MER, lambda i: {"x": STREAM.x[i]}), STATE, jnp.arange(3)
        ),
        r"expected Example\(.*\), got \{'x': float32\[3\]\}",
    ),
    (lambda: mer_jax.map_examples(MER, STREAM).init(PARAMS, 0), "make must be a function"),
    (lambda: mer_jax.map_examples(MER, lambda: EXAMPLE).init(PARAMS, 0), r"make\(reference\) must"),  # type: ignore[arg-type,misc]
    (lambda: mer_jax.map_examples(plain, MER), "learner must be a Learner"),  # type: ignore[arg-type]
    (lambda: interpolate({"a": 1.0}, {"b": 1.0}, 0.5), r"an array at \['a'\] and no array at"),
    (
        lambda: run_from(LEARNERS["la_maml"](plain)),
        r"batch must be arrays with an axis .*, got Example\(x=float32\[3\].*mer_jax\.in_batches",
    ),
    (lambda: LEARNERS["independent"](plain).init(jnp.ones(3), EXAMPLE), r"got float32\[3\]; see"),
    (lambda: learner_of("independent", plain).update(
        KEY, learner_of("independent", plain).init(PARAMS, EXAMPLE), STREAM
    ), r"task must be one number, got int32\[4\]; use mer_jax.run"),
    (lambda: mer_jax.reservoir(2).sample(KEY, RESERVOIR, 1), "capacity=2, got 1; make the state"),
    (lambda: fifo(2).add(KEY, RESERVOIR, jnp.int32(1)), "capacity=2, got 1; make the state"),
    (
        lambda: run_from(mer_jax.watch(ONLINE, plain, 5)._replace(
            init=mer_jax.watch(ONLINE, plain, 6).init
        )),
        "capacity=5, got 6",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), FIRST_INPUTS)
def test_the_inputs_of_a_newcomer(call, message):
    assert_one_line(call, message)


def saved(path, **changed):
    draw = benchmarks.alphabets(
        np.random.default_rng(0), np.repeat(np.arange(2), 8), np.tile(np.arange(4), 4), 2, 4
    )
    benchmark_files.save(path, draw._replace(**changed))
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tests": np.full((2, 4), 16, np.int32)}, r"tests in \[-1, 16\), got 16 to 16"),
        ({"images": np.array([[0, -1, 2], [3, 4, 5]])}, "images at a task's end alone, got some"),
        ({"tests": np.array([[0, -1, 2], [3, 4, 5]])}, "tests at a task's end alone, got some"),
        ({"images": np.array([[0, 1, 2], [-1, -1, -1]])}, "images of every task, got a task with"),
        ({"tests": np.full((2, 4), -1, np.int32)}, "tests of every task, got a task without any"),
        ({"images": np.zeros((2, 0), np.int32)}, r"none of them empty.*images \[2, 0\]"),
        ({"angles": np.zeros(3, np.float32)}, r"got pixels \[2, 4\], .*angles \[3\]"),
        ({"angles": np.array([0, np.nan])}, "finite angles"),
        ({"mask": np.uint8(1)}, "mask must be an array, got a single value"),
        ({name: np.zeros((0, 4), np.uint8) for name in ("pixels", "mask", "images", "tests")}
         | {"angles": np.zeros(0)}, "none of them empty"),
        ({"pixels": np.zeros((2, 3), np.int32), "mask": np.ones((2, 3), np.uint8)},
         "images of 4 pixels, got 3"),
        ({"images": np.zeros((2, 6))}, "images must hold whole numbers, got float64"),
        ({"images": np.full((2, 6), 2**32)}, "images must hold int32, got"),
        ({"mask": np.full((2, 4), 2, np.uint8)}, r"mask in \[0, 2\)"),
        ({"pixels": np.full((2, 4), 65536, np.int32)}, r"pixels in \[0, 4\), got 65536"),
    ],
)  # fmt: skip
def test_a_benchmark_of_other_images_is_refused(tmp_path, changed, message):
    benchmark_files.load(saved(tmp_path / "fits.npz"), num_images=16, num_pixels=4)
    with pytest.raises(ValueError, match=message):
        benchmark_files.load(saved(tmp_path / "other.npz", **changed), 16, num_pixels=4)


def test_no_flipped_byte_of_a_benchmark_is_read(tmp_path):
    """Each is refused, or it changes no array (it may belong to a date, for instance)."""
    whole = benchmark_files.load(saved(tmp_path / "fits.npz"), num_images=16)
    content, refused, tried = bytearray((tmp_path / "fits.npz").read_bytes()), 0, 0
    for place in range(0, len(content), 7):
        flipped = content.copy()
        flipped[place] ^= 0xFF
        (tmp_path / "flipped.npz").write_bytes(flipped)
        try:
            found = benchmark_files.load(tmp_path / "flipped.npz", num_images=16)
        except ValueError as error:
            assert "flipped.npz: expected " in f"{error}"  # noqa: PT017
            refused += 1
        else:
            jax.tree.map(np.testing.assert_array_equal, found, whole)
        tried += 1
    assert tried / 2 < refused < tried
