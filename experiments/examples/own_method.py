"""A method of one's own, here ER with a falling rate, in the same table as the others."""

import optax

import mer_jax
from experiments.supervised import methods


def decaying_er(loss_fn, *, alpha, batch_size, capacity):  # any function that returns a Learner
    optimizer = optax.sgd(lambda step: alpha / (1 + 0.001 * step))
    return mer_jax.er(loss_fn, optimizer=optimizer, batch_size=batch_size, capacity=capacity)


# Its hyper-parameters have the names of flags. Its settings are those of a benchmark and memories.
uses = ("alpha", "batch_size", "capacity")
methods.METHODS["decaying-er"] = methods.Method(decaying_er, uses, "ER, falling rate")
methods.CHOSEN["decaying-er", "rotations"] = {200: {"alpha": 0.1, "batch_size": 11}}

if __name__ == "__main__":
    # The program makes its flags from METHODS, so it is imported last.
    from experiments.running.program import main
    from experiments.supervised.study import PROGRAM

    main(PROGRAM._replace(module="experiments.examples.own_method"))  # what the record names
