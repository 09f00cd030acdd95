"""Sweeps of settings for the supervised program, on other seeds than those of the tables."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.plots.curves import by_memory
from experiments.running.batches import Setting, combinations
from experiments.running.record import markdown
from experiments.tables.cells import Cell
from experiments.tables.supervised import AUGMENTED, WIDER, cell
from experiments.tables.table import FIRST_SEED, Draw, Row, Table, best, grouped, sweep, swept

# Half of each benchmark's stream. Of Omniglot as many alphabets as show which methods retain.
SHORT = {"rotations": {"tasks": 10}, "permutations": {"tasks": 10},
         "many-permutations": {"tasks": 50}, "split": {"examples_per_task": 2000},
         "omniglot": {"tasks": 15}}  # fmt: skip
# A method, its memories, 0 for none, and the values that were tried.
MNIST = """
agem 500 alpha=0.001,0.003,0.01,0.03 sample_size=256
exact-alignment 500 alpha=0.01,0.03,0.1 alignment=0.001,0.01,0.1 batch_size=26
task-input 0 alpha=0.001,0.003,0.01,0.03,0.1
der 500 alpha=0.01,0.03,0.1 logit_weight=0.3,1,3 batch_size=11
der++ 500 alpha=0.01,0.03,0.1 logit_weight=0.3,1,3 label_weight=0.5 batch_size=11
"""
# Six settings for each method.
SPLIT = """
online 0 alpha=0.0003,0.001,0.003,0.01,0.03,0.1
ewc 0 alpha=0.003,0.01,0.03 strength=10,100 num_memories=10
mer 500 alpha=0.03,0.1 beta=0.01,0.03,0.1 gamma=1 num_batches=10 batch_size=11
mer-big-batch 500 alpha=0.03,0.1 gamma=0.03,0.1,0.3 batch_size=26
mer-current-rate 500 alpha=0.01,0.03 gamma=0.03,0.1,0.3 s=5 batch_size=26
er 500 alpha=0.003,0.01,0.03,0.1,0.2,0.3 batch_size=26
er-by-task 500 alpha=0.001,0.003,0.01,0.03,0.1,0.2 batch_size=26
gem 500 alpha=0.003,0.01,0.03 margin=0,0.5 ridge=0
agem 500 alpha=0.001,0.003,0.01,0.03,0.1,0.2 sample_size=256
exact-alignment 500 alpha=0.03,0.1 alignment=0.001,0.01,0.1 batch_size=26
la-maml 500 alpha=0.05,0.1,0.15 alpha_rate=0.1,0.3 glances=5 num_replays=10 incoming=10
sync 500 alpha=0.05,0.1 alpha_rate=0.1 weight_rate=0.03,0.1,0.3 glances=5 num_replays=10 incoming=10
c-maml 500 alpha=0.03,0.1 weight_rate=0.03,0.1,0.3 glances=5 num_replays=10 incoming=10
der 500 alpha=0.01,0.03 logit_weight=0.3,1,3 batch_size=26
der++ 500 alpha=0.01,0.03 logit_weight=0.3,1,3 label_weight=0.5 batch_size=26
independent 0 alpha=0.001,0.003,0.01,0.03,0.1,0.2
task-input 0 alpha=0.001,0.003,0.01,0.03,0.1,0.2
"""
# 15 of 50 alphabets with 1,536 of 5,120 memories, or 150 of 500. The memory then holds the same
# share of the stream as in the runs that the values are for.
OMNIGLOT = """
online 0 alpha=0.003,0.01,0.03,0.1
ewc 0 alpha=0.01,0.03 strength=0.1,1,10,100 num_memories=10
er 1536 alpha=0.03,0.1,0.3 batch_size=26
er-by-task 1536 alpha=0.01,0.03 batch_size=26
mer 1536 alpha=0.01 beta=0.2,0.5,0.8 gamma=1 num_batches=1 batch_size=26
mer 1536 alpha=0.03 beta=0.2,0.5 gamma=1 num_batches=1 batch_size=26
mer 1536 alpha=0.03 beta=0.1 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.1 beta=0.01,0.03 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.03 beta=0.1 gamma=1 num_batches=10 batch_size=11
mer 150 alpha=0.03,0.1 beta=0.2 gamma=1 num_batches=1 batch_size=26
mer-big-batch 1536 alpha=0.01,0.03 gamma=0.5 batch_size=26
mer-current-rate 1536 alpha=0.01 gamma=0.1,0.3 s=5 batch_size=26
gem 150 alpha=0.03,0.1 margin=0.5 ridge=0
agem 1536 alpha=0.03,0.1 sample_size=50
exact-alignment 1536 alpha=0.01,0.03 alignment=0.001,0.01 batch_size=11
independent 0 alpha=0.01,0.03,0.1
task-input 0 alpha=0.01,0.03,0.1
"""
# Augmented images, as many settings for each method, on ten alphabets with their share of 5,120 or
# 500 memories.
EQUAL = """
mer 1020 alpha=0.01,0.03 beta=0.2 gamma=1 num_batches=1,3 batch_size=26
er 1020 alpha=0.03,0.1 batch_size=26,76
mer 100 alpha=0.03,0.1 beta=0.1,0.2 gamma=1 num_batches=1 batch_size=26
er 100 alpha=0.03,0.1 batch_size=11,26
online 0 alpha=0.003,0.01,0.03,0.1
ewc 0 alpha=0.01,0.03 strength=1,10 num_memories=10
agem 1020 alpha=0.03,0.1 sample_size=50,100
independent 0 alpha=0.01,0.03,0.1,0.3
task-input 0 alpha=0.01,0.03,0.1,0.3
mer-big-batch 1020 alpha=0.03,0.1 gamma=0.5,1 batch_size=26
er-by-task 1020 alpha=0.01,0.03 batch_size=26,76
exact-alignment 1020 alpha=0.01,0.03 alignment=0.001,0.01 batch_size=11
mer-current-rate 1020 alpha=0.01,0.03 gamma=0.1,0.3 s=5 batch_size=11
gem 100 alpha=0.03,0.1 margin=0,0.5 ridge=0
"""
OTHER_SIZE = """
mer 1020 alpha=0.01 beta=0.2 gamma=1 num_batches=1 batch_size=26
er 1020 alpha=0.03 batch_size=26
"""
# {group: (title, flags, settings)}. The last three are attempts to reach the published values.
AUGMENTATIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "shift-2": ("Shift 2, matrix 0.2", AUGMENTED, EQUAL),
    "shift-1": ("Shift 1, matrix 0.1", {"shift": 1.0, "matrix": 0.1}, OTHER_SIZE),
    "shift-3": ("Shift 3, matrix 0.3", {"shift": 3.0, "matrix": 0.3}, OTHER_SIZE),
    "more-batches": ("More batches", AUGMENTED, """
mer 1020 alpha=0.03 beta=0.2 gamma=1 num_batches=5 batch_size=26
mer 100 alpha=0.1 beta=0.2 gamma=1 num_batches=3 batch_size=26
"""),
    "other-rates": ("Other rates", AUGMENTED, """
mer 1020 alpha=0.03 beta=0.1,0.5 gamma=1 num_batches=3 batch_size=26
mer 1020 alpha=0.1 beta=0.1 gamma=1 num_batches=3 batch_size=26
"""),
    "wider": ("256 filters in the last module", WIDER, """
mer 1020 alpha=0.03 beta=0.2 gamma=1 num_batches=3 batch_size=26
er 1020 alpha=0.1 batch_size=76
mer 100 alpha=0.1 beta=0.2 gamma=1 num_batches=1 batch_size=26
er 100 alpha=0.1 batch_size=26
"""),
}  # fmt: skip


def _sweeps() -> Iterator[Cell]:
    """A cell for each line. Omniglot takes long, so each of its settings is a cell of its own."""
    for on, part in SHORT.items():
        is_long = on == "omniglot"
        flags = {"seed": FIRST_SEED, "seeds": 1 if is_long else 2, **part}
        for method, size, values in swept({"omniglot": OMNIGLOT, "split": SPLIT}.get(on, MNIST)):
            singles = [{n: (one,) for n, one in s.settings.items()} for s in combinations(values)]
            for one in singles if is_long else [values]:
                yield cell(on, method, int(size) or None, "sweeps", **flags, **one)


def _augmented() -> Iterator[Cell]:
    """A cell for each setting on augmented images of Omniglot."""
    part = {"seed": FIRST_SEED, "seeds": 1, "tasks": 10}
    for group, (title, flags, text) in AUGMENTATIONS.items():
        for method, size, values in swept(text):
            for one in combinations(values):
                single = {name: (value,) for name, value in one.settings.items()}
                how = part | flags | single
                made = cell(
                    "omniglot", method, int(size) or None, f"augmented-sweeps/{group}", **how
                )
                yield dataclasses.replace(made, heads=(title, *made.heads[1:]))


PARTS = {"held": "characters in memory", "if_held": "accuracy on them",
         "if_not_held": "accuracy on the others"}  # fmt: skip


def _by_memory(rows: list[Row], draw: Draw) -> list[str]:
    """The sweep, and accuracies by whether the memory holds the class, at the end and before."""
    heads = ["Augmentation", "Method", "Settings", "Held", "Accuracy if held", "If not held"]
    table, known = [heads], [row for row in rows if "memory" in row.result.per_seed]
    for row in known:
        parts = [row.result.per_seed["memory"][name] for name in PARTS]
        ends = [np.mean(np.array(part, np.float64)[:, -1]) for part in parts]
        settings = {n: v for n, v in row.result.settings.items() if n != "capacity"}
        texts = [f"{end:.2f}" if np.isfinite(end) else "" for end in ends]
        table.append([row.cell.heads[0], row.result.title, str(Setting(settings)), *texts])
    first = [row for row in known if row.cell.heads[0] == rows[0].cell.heads[0]]
    for_each = grouped(first, lambda row: row.cell.heads)
    chosen = [best([row.result for row in same], "retained_accuracy") for _, same in for_each]
    if shown := [one for one in chosen if one and one.about["arm"] in ("mer", "er")]:
        how = {"labels": PARTS, "title": "Characters with a drawing in memory"}
        draw("augmented-memory.png", by_memory, results=shown, **how)
    caption = (
        "Test images at the end, in %: those of whose character the memory holds a drawing, the "
        "accuracy on them, and on the others."
    )
    return [*AUGMENTED_SWEEPS(rows, draw), markdown(table, caption)]


SWEEPS = functools.partial(
    sweep, "sweeps.png", ("Benchmark", "Method"), ("retained_accuracy", "learning_accuracy"),
    "Retained accuracy in the sweeps, %; filled: chosen",
    f"In %, mean ± standard deviation over seeds from {FIRST_SEED} on (two for MNIST, one for "
    "Omniglot), on half of the stream of MNIST's benchmarks and 15 of Omniglot's "
    "alphabets, which each seed draws anew; bold: the best, which tables use.",
)  # fmt: skip
AUGMENTED_SWEEPS = functools.partial(
    sweep, "augmented-sweeps.png", ("Augmentation", "Method"),
    ("retained_accuracy", "learning_accuracy"),
    "Retained accuracy with augmented images, %; filled: best of each method",
    f"In %, on 10 alphabets of Omniglot, seed {FIRST_SEED}. Each image is moved by up to `shift` "
    "pixels and mapped by a matrix whose entries differ from the identity by up to `matrix`, anew "
    "each time it is trained on; bold: the best of each method.",
)  # fmt: skip
TABLES = {
    "sweeps": Table([*_sweeps()], SWEEPS),
    "augmented-sweeps": Table([*_augmented()], _by_memory),
}
