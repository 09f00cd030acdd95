"""An experiment in one file: MER and ER on regression of a drifting sine."""

import jax
import jax.numpy as jnp
import optax

import mer_jax
from experiments.plots import stream
from experiments.running import batches, options, problem, program

TASKS, LENGTH, CHUNK, NETWORK = 6, 500, 100, mer_jax.networks.mlp((2, 32, 32, 1))


class Config(options.Run):
    """Learns a sine whose phase drifts from task to task, with MER and with ER."""


def points(key, task):  # The phase is an input, so that one network can learn all tasks.
    x = jax.random.uniform(key, (CHUNK,), minval=-3, maxval=3)
    phase, task = jnp.full(CHUNK, task / TASKS), jnp.full(CHUNK, task)
    return mer_jax.Example(jnp.stack([x, phase], axis=1), jnp.sin(x + 4 * phase), task)


def loss(params, example):
    return (NETWORK.apply(params, example.x, example.task)[0] - example.y) ** 2


def problem_of(learner):
    def start(params, own, shared):
        return learner.init(params, mer_jax.Example(jnp.zeros(2), jnp.float32(0), jnp.int32(0)))

    def advance(state, own, shared, place):
        learn_key, data_key = jax.random.split(jax.random.key(own.seed))
        examples = points(jax.random.fold_in(data_key, place), place // LENGTH)
        state, infos = mer_jax.run(learn_key, learner, state, examples)
        return state, None, jnp.isfinite(infos.loss).all()

    def evaluate(params, own, shared, place, tasks):
        tests = jax.vmap(points, (None, 0))(jax.random.key(0), tasks)
        return {"error": jax.vmap(jax.vmap(loss, (None, 0)), (None, 0))(params, tests).mean(1)}

    return problem.Problem(lambda s: NETWORK.init(jax.random.key(s)), start, advance, evaluate)


MER = mer_jax.mer(loss, alpha=0.03, beta=0.3, gamma=1.0, num_batches=3, batch_size=6, capacity=100)
ER = mer_jax.er(loss, optimizer=optax.sgd(0.03), batch_size=16, capacity=100)
ARMS = [batches.Arm("mer", "MER", problem_of(MER)), batches.Arm("er", "ER", problem_of(ER))]


def prepare(config, say):
    schedule = problem.every("points", TASKS, LENGTH, CHUNK, between=CHUNK)
    text = f"Mean squared error on all {TASKS} tasks after {LENGTH} points of each."
    draw = stream.by_task("error_curve", "squared error", "error.png", schedule)
    titles = {"error": "Squared error"}
    return batches.Study(ARMS, schedule, config.all_seeds(), titles, text, digits=4, draw=draw)


PROGRAM = program.Program("experiments.examples.drifting_sine", Config, prepare)
if __name__ == "__main__":
    program.main(PROGRAM)
