"""Comparison with the authors' code, step by step, on its recorded random draws.

Two correct programs differ by rounding alone: a replay of these files in NumPy stayed within
1.1e-6 in float32 and 9e-16 in float64, while a wrong order or a dropped replay gives 1e-2. The
tolerances are ten times the former and a thousand times the latter.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.learners import er
from mer_jax.losses import weighted_sum
from mer_jax.steps.sgd import sgd_pass
from tests.mer_jax import golden

FLOAT32, FLOAT64 = 1e-5, 1e-12
PARAMS = ("W0", "b0", "W1", "b1", "W2", "b2")


def follow(name, loss, atol, beta, gamma, prepare=lambda run, step, batches: batches):
    """Gives `mer_update` the batches of each step, as `prepare` orders and weighs them."""
    run = golden.load(name)
    rates = {"alpha": run.hyper["lr"], "beta": run.hyper[beta], "gamma": run.hyper.get(gamma, 1.0)}
    with jax.enable_x64(run.hyper["dtype"] == "float64"):
        update = jax.jit(lambda *args: mer_jax.mer_update(loss, *args, **rates)[0])
        params = golden.start(run)
        for step in range(run.hyper["n_steps"]):
            params = update(params, *prepare(run, step, golden.with_incoming(run, step)))
            golden.assert_follows(run, step, params, atol)
        chex.assert_trees_all_equal_dtypes(params, run.start)


both_forms = pytest.mark.parametrize(
    "loss", [golden.loss, golden.dense_first_loss], ids=["scan", "gram"]
)


@both_forms
@pytest.mark.parametrize(("name", "atol"), [("meralg1", FLOAT32), ("meralg1_float64", FLOAT64)])
def test_algorithm_1(name, atol, loss):
    follow(name, loss, atol, beta="beta", gamma="gamma")


@both_forms
def test_algorithm_6(loss):
    def incoming_last(run, step, batches):
        return jax.tree.map(lambda rows: np.roll(rows, -1, axis=1), batches)

    follow("meralg6", loss, FLOAT32, beta="gamma", gamma=None, prepare=incoming_last)


@both_forms
def test_algorithm_7(loss):
    def shuffled(run, step, batches):
        batches[1][:, 0] = run.hyper["s"] if step else 0  # the very first example is only stored
        order = run.arrays["batch_order"][step]
        left_out = np.setdiff1d(np.arange(len(order)), order)  # where -1 stands for "none"
        order = np.concatenate([order[order >= 0], left_out])
        return golden.at(batches, (slice(None), order))

    follow("meralg7", loss, FLOAT32, beta="gamma", gamma=None, prepare=shuffled)


@pytest.mark.parametrize("name", ["eralg4", "eralg5"])
def test_experience_replay(name):
    run = golden.load(name)
    optimizer = optax.sgd(run.hyper["lr"])

    @jax.jit
    def update(params, batch, present):
        shares = (
            er.mean_shares(present)
            if name == "eralg4"
            else er.task_mean_shares(batch.task, present, run.hyper["n_tasks"])
        )
        grads = jax.grad(weighted_sum, 1, has_aux=True)(golden.loss, params, batch, shares)[0]
        return optax.apply_updates(params, optimizer.update(grads, optimizer.init(params))[0])

    params = golden.start(run)
    for step in range(run.hyper["n_steps"]):
        batch, present = golden.at(golden.with_incoming(run, step), 0)
        params = update(params, batch, present)
        golden.assert_follows(run, step, params, FLOAT32)


def follow_learner(run, learner, params, atol, names=lambda params: params):
    """The states of a learner without draws of its own, on the recorded stream."""
    update, states = jax.jit(learner.update), []
    state = learner.init(params, golden.at(run.stream, 0))
    for step in range(run.hyper["n_steps"]):
        state, _ = update(jax.random.key(0), state, golden.at(run.stream, step))
        golden.assert_follows(run, step, names(state.params), atol)
        states.append(state)
    return states


def test_online():
    run = golden.load("online")
    learner = mer_jax.online(golden.loss, optimizer=optax.sgd(run.hyper["lr"]))
    follow_learner(run, learner, golden.start(run), FLOAT32)


def test_ewc():
    run = golden.load("ewc")
    learner = mer_jax.ewc(
        golden.loss,
        optimizer=optax.sgd(run.hyper["lr"]),
        num_tasks=run.hyper["n_tasks"],
        num_memories=run.hyper["n_memories"],
        strength=run.hyper["memory_strength"],
    )
    last = follow_learner(run, learner, golden.start(run), FLOAT32)[-1]
    for name in run.start:
        fisher, left = run.arrays[f"fisher_{name}"], run.arrays[f"optpar_{name}"]
        wanted = run.hyper["memory_strength"] * fisher
        np.testing.assert_allclose(last.importance[name], wanted.sum(0), rtol=1e-4, atol=FLOAT32)
        np.testing.assert_allclose(last.anchor[name], (wanted * left).sum(0), atol=10 * FLOAT32)


@pytest.mark.parametrize("name", ["gem_margin05", "gem_margin00"])
def test_gem(name):
    run = golden.load(name)
    learner = mer_jax.gem(
        golden.loss,
        optimizer=optax.sgd(run.hyper["lr"]),
        num_tasks=run.hyper["n_tasks"],
        num_memories=run.hyper["n_memories"],
        margin=run.hyper["memory_strength"],
    )
    follow_learner(run, learner, golden.start(run), 1e-4)


def by_task(run, own, shared):
    """The recorded parameters as `TaskParams`.

    Args:
      own: names of a task's own parameters in a file, see `in_file`.
    """
    rows = [
        {name: run.start[pattern.format(task)] for name, pattern in own.items()}
        for task in range(run.hyper["n_tasks"])
    ]
    params = mer_jax.TaskParams(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows),
        {name: jnp.asarray(run.start[recorded]) for name, recorded in shared.items()},
    )

    def in_file(params):
        tasks = range(run.hyper["n_tasks"])
        mine = {own[n].format(task): rows[task] for n, rows in params.own.items() for task in tasks}
        return mine | {shared[name]: leaf for name, leaf in params.shared.items()}

    return params, in_file


def of_both(params, example):
    return golden.loss(params.own | params.shared, example)


def test_independent():
    run = golden.load("independent")
    params, in_file = by_task(run, {name: f"net{{}}_{name}" for name in PARAMS}, {})
    learner = mer_jax.independent(of_both, optimizer=optax.sgd(run.hyper["lr"]))
    follow_learner(run, learner, params, FLOAT32, in_file)


def test_task_input():
    run = golden.load("taskinput")
    shared = dict(zip(PARAMS[2:], ("hid0_W", "hid0_b", "out_W", "out_b"), strict=True))
    params, in_file = by_task(run, {"W0": "in{}_W", "b0": "in{}_b"}, shared)
    learner = mer_jax.task_input(of_both, optimizer=optax.sgd(run.hyper["lr"]))
    follow_learner(run, learner, params, FLOAT32, in_file)


@both_forms
@pytest.mark.parametrize("name", ["cmaml", "lamaml_sync", "lamaml", "lamaml_recent"])
def test_la_maml(name, loss):
    run = golden.load(name)
    settings = {
        "alpha_rate": run.hyper["opt_lr"] if run.hyper["learn_lr"] else 0.0,
        "weight_rate": run.hyper["opt_wt"] if run.hyper["sync_update"] else None,
        "clip": run.hyper["grad_clip_norm"],
    }
    update = jax.jit(lambda *args: mer_jax.la_maml_update(loss, *args, **settings))
    params = golden.start(run)
    rates = {name: jnp.asarray(run.arrays[f"init_alpha_{name}"]) for name in params}
    for step, recorded in enumerate(run.arrays["loss"]):
        for glance in golden.glances(run, step):
            params, rates, meta_loss = update(params, rates, *glance)
        golden.assert_follows(run, step, params, FLOAT32)
        for name, rate in rates.items():
            wanted = run.arrays[f"after_alpha_{name}"][step]
            np.testing.assert_allclose(rate, wanted, rtol=0, atol=FLOAT32)
        np.testing.assert_allclose(meta_loss, recorded, rtol=0, atol=FLOAT32)


def test_protocol():
    """The whole evaluation loop: the learner, when it is evaluated, and the metrics."""
    run = golden.load("protocol_golden")
    arrays, num_tasks = run.arrays, run.hyper["n_tasks"]
    tests = mer_jax.Example(
        jnp.asarray(arrays["x_test"]),
        jnp.asarray(arrays["y_test"]),
        jnp.broadcast_to(jnp.arange(num_tasks)[:, None], arrays["y_test"].shape),
    )

    @jax.jit
    def evaluate(params):
        def apply(params, x, task):
            return golden.logits(params, x)

        return jax.vmap(lambda of_task: mer_jax.accuracy(apply, params, of_task, block_size=10))(
            tests
        )

    @jax.jit
    def learn(params, stream):
        def step(params, example):
            batch = golden.at(example, None)
            return sgd_pass(golden.loss, params, batch, jnp.ones(1), run.hyper["lr"])[0], params

        return jax.lax.scan(step, params, stream)

    infos = jax.device_get(learn(golden.start(run), run.stream)[1])
    before = arrays["eval_before_step"]
    final = {name: arrays[f"final_{name}"] for name in run.start}
    at = [golden.at(infos, step) if step < len(arrays["t"]) else final for step in before]
    ours = np.stack([evaluate(params) for params in at])
    # Their count leaves out each task's last test example and divides by all of them.
    size = arrays["y_test"].shape[1]
    assert np.all(np.abs(ours - arrays["result_a"]) < 1 / size + 1e-6)
    R = mer_jax.accuracy_matrix(arrays["result_t"], arrays["result_a"])
    metrics = [
        mer_jax.retained_accuracy(R),
        mer_jax.backward_transfer(R),
        mer_jax.forward_transfer(R),
    ]
    np.testing.assert_allclose(metrics, arrays["stats"], atol=1e-6)
