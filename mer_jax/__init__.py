"""Meta-Experience Replay (Riemer et al., ICLR 2019) and its rivals as pure JAX functions."""

import importlib
from typing import Any

from mer_jax import metrics, networks
from mer_jax.alignment import gradient_alignment, watch
from mer_jax.learners.der import der, der_plus_plus
from mer_jax.learners.er import er, er_by_task
from mer_jax.learners.ewc import ewc
from mer_jax.learners.exact_alignment import exact_alignment
from mer_jax.learners.gem import agem, gem
from mer_jax.learners.la_maml import la_maml, la_maml_update
from mer_jax.learners.mer import mer, mer_big_batch, mer_current_rate, mer_update
from mer_jax.learners.online import online
from mer_jax.learners.task_networks import independent, task_input
from mer_jax.losses import DenseFirstLoss
from mer_jax.metrics import (
    accuracy_matrix,
    backward_transfer,
    forward_transfer,
    learning_accuracy,
    retained_accuracy,
)
from mer_jax.replay.mixing import mix
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.steps.reptile import interpolate, reptile
from mer_jax.steps.sgd import sgd_pass
from mer_jax.stream import accuracy, in_batches, map_examples, run
from mer_jax.task_params import TaskParams
from mer_jax.types import Example, Info, Learner

__version__ = "0.2.0"

__all__ = [
    "DenseFirstLoss",
    "Example",
    "Info",
    "Learner",
    "ReservoirState",
    "TaskParams",
    "accuracy",
    "accuracy_matrix",
    "agem",
    "backward_transfer",
    "der",
    "der_plus_plus",
    "er",
    "er_by_task",
    "ewc",
    "exact_alignment",
    "forward_transfer",
    "gem",
    "gradient_alignment",
    "in_batches",
    "independent",
    "interpolate",
    "la_maml",
    "la_maml_update",
    "learning_accuracy",
    "map_examples",
    "mer",
    "mer_big_batch",
    "mer_current_rate",
    "mer_update",
    "metrics",
    "mix",
    "networks",
    "online",
    "reptile",
    "reservoir",
    "retained_accuracy",
    "run",
    "sgd_pass",
    "task_input",
    "watch",
]


def __getattr__(name: str) -> Any:
    """These two are imported when they are asked for: `mer_jax.rl` needs gymnax."""
    if name in ("data", "rl"):
        return importlib.import_module(f"mer_jax.{name}")
    raise AttributeError(f"module 'mer_jax' has no attribute {name!r}")
