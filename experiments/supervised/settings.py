"""Hyper-parameters: the authors' published values, and values chosen by recorded sweeps."""

Rows = dict[int | None, dict[str, float]]


def _table(names: str, rows: dict[str, dict[int | None, tuple[float, ...]]]) -> dict[str, Rows]:
    return {
        benchmark: {
            capacity: dict(zip(names.split(), row, strict=True)) for capacity, row in sizes.items()
        }
        for benchmark, sizes in rows.items()
    }


CAPACITIES = (5120, 500, 200)
"""Of which the paper shows the first two on Many Permutations."""

# {method: {benchmark: {capacity: settings}}}. batch_size counts the incoming example, so it is one
# more than the replays that the authors give; a capacity of None is a method without a buffer.
PUBLISHED = {
    "mer": _table(
        "alpha beta gamma batch_size num_batches",
        {
            "rotations": {
                5120: (0.03, 0.03, 1.0, 101, 10),
                500: (0.1, 0.01, 1.0, 11, 10),
                200: (0.1, 0.01, 1.0, 11, 5),
            },
            "permutations": {
                5120: (0.03, 0.03, 1.0, 101, 10),
                500: (0.03, 0.03, 1.0, 26, 10),
                200: (0.03, 0.03, 1.0, 11, 10),
            },
            "many-permutations": {
                5120: (0.1, 0.01, 1.0, 6, 10),
                500: (0.03, 0.03, 1.0, 6, 10),
            },
        },
    ),
    "mer-big-batch": _table(
        "alpha gamma batch_size",
        {
            "rotations": {5120: (0.03, 0.1, 101), 500: (0.1, 0.03, 11), 200: (0.1, 0.03, 26)},
            "permutations": {5120: (0.03, 0.1, 51), 500: (0.03, 0.3, 11), 200: (0.1, 0.03, 6)},
            "many-permutations": {5120: (0.03, 0.1, 26), 500: (0.1, 0.03, 6)},
        },
    ),
    "mer-current-rate": _table(
        "alpha gamma batch_size s",
        {
            "rotations": {
                5120: (0.03, 0.03, 101, 5),
                500: (0.03, 0.03, 51, 5),
                200: (0.03, 0.03, 51, 5),
            },
            "permutations": {
                5120: (0.01, 0.1, 101, 10),
                500: (0.01, 0.1, 26, 10),
                200: (0.03, 0.1, 6, 2),
            },
            "many-permutations": {5120: (0.03, 0.03, 101, 10), 500: (0.03, 0.03, 6, 10)},
        },
    ),
    "er": _table(
        "alpha batch_size",
        {
            "rotations": {5120: (0.1, 26), 500: (0.1, 6), 200: (0.1, 11)},
            "permutations": {5120: (0.1, 26), 500: (0.1, 11), 200: (0.1, 11)},
            "many-permutations": {5120: (0.1, 26), 500: (0.1, 26)},
        },
    ),
    "er-by-task": _table(
        "alpha batch_size",
        {
            "rotations": {5120: (0.03, 101), 500: (0.01, 101), 200: (0.01, 51)},
            "permutations": {5120: (0.01, 26), 500: (0.01, 26), 200: (0.01, 11)},
            "many-permutations": {5120: (0.003, 11), 500: (0.01, 6)},
        },
    ),
    "gem": _table(
        "alpha margin ridge",
        {
            "rotations": {5120: (0.01, 1, 0), 500: (0.01, 0, 0), 200: (0.01, 0, 0)},
            "permutations": {5120: (0.01, 1, 0), 500: (0.01, 1, 0), 200: (0.01, 0, 0)},
            "many-permutations": {5120: (0.01, 0, 0), 500: (0.003, 0.1, 0)},
        },
    ),
    "ewc": _table(
        "alpha num_memories strength",
        {
            "rotations": {None: (0.001, 10, 100)},
            "permutations": {None: (0.01, 10, 10)},
            "many-permutations": {None: (0.003, 10, 1)},
        },
    ),
    "independent": _table(
        "alpha",
        {
            "rotations": {None: (0.01,)},
            "permutations": {None: (0.01,)},
            "many-permutations": {None: (0.01,)},
        },
    ),
    "online": _table(
        "alpha",
        {
            "rotations": {None: (0.0003,)},
            "permutations": {None: (0.003,)},
            "many-permutations": {None: (0.003,)},
        },
    ),
}


# What was not published, chosen by the sweeps in experiments/results/sweeps.md, on other seeds than
# those reported and with the number of memories that comes nearest:
# {method: {benchmark: {capacity: settings}}}.
CHOSEN = {
    "mer": _table(
        "alpha beta gamma batch_size num_batches",
        {"omniglot": {5120: (0.01, 0.5, 1.0, 26, 1), 500: (0.1, 0.03, 1.0, 11, 10)}},
    ),
    "er": _table("alpha batch_size", {"omniglot": {5120: (0.1, 26)}}),
    "er-by-task": _table("alpha batch_size", {"omniglot": {5120: (0.01, 26)}}),
    "ewc": _table("alpha num_memories strength", {"omniglot": {None: (0.03, 10, 10)}}),
    "online": _table("alpha", {"omniglot": {None: (0.03,)}}),
    "mer-big-batch": _table("alpha gamma batch_size", {"omniglot": {5120: (0.03, 0.5, 26)}}),
    "mer-current-rate": _table(
        "alpha gamma s batch_size", {"omniglot": {5120: (0.01, 0.3, 5, 26)}}
    ),
    "gem": _table("alpha margin ridge", {"omniglot": {5120: (0.03, 0.5, 0)}}),
    "independent": _table("alpha", {"omniglot": {None: (0.03,)}}),
    "agem": _table(
        "alpha sample_size",
        {
            "rotations": dict.fromkeys(CAPACITIES, (0.001, 256)),
            "permutations": dict.fromkeys(CAPACITIES, (0.01, 256)),
            "many-permutations": dict.fromkeys(CAPACITIES[:2], (0.01, 256)),
            "omniglot": {5120: (0.1, 50)},
        },
    ),
    "exact-alignment": _table(
        "alpha alignment batch_size",
        {
            "rotations": dict.fromkeys(CAPACITIES, (0.03, 0.01, 26)),
            "permutations": dict.fromkeys(CAPACITIES, (0.01, 0.001, 26)),
            "many-permutations": dict.fromkeys(CAPACITIES[:2], (0.01, 0.01, 26)),
            "omniglot": {5120: (0.03, 0.01, 11)},
        },
    ),
    "task-input": _table(
        "alpha",
        {
            "rotations": {None: (0.01,)},
            "permutations": {None: (0.01,)},
            "many-permutations": {None: (0.01,)},
            "omniglot": {None: (0.03,)},
        },
    ),
}
