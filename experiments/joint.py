"""What the Omniglot network learns from all drawings at once, or from a part of them.

python -m experiments.joint --data-dir DIR
python -m experiments.joint --tasks 50 --memories 5120 --data-dir DIR --out runs/joint-memories
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import mer_jax
from experiments import bars, checkpoints, command_line, output, plots, program
from experiments.command_line import flag
from experiments.training import is_finite, judged_at_once
from mer_jax import _checks as checks
from mer_jax import networks
from mer_jax.data import benchmarks, omniglot
from mer_jax.losses import mean_gradient
from mer_jax.types import Example, Params

NETWORKS: dict[str, dict[str, Any]] = {
    "VALID": {"pool_padding": "VALID"},
    "SAME": {"pool_padding": "SAME"},
    "SAME, normalized": {"pool_padding": "SAME", "normalize": True},
}
"""The last is what the other experiments learn with."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains the Omniglot network on all drawings of some alphabets, shuffled anew in each pass.

    Not continual learning: it tells how much of what a method lacks is the network's share. Done
    with both ways in which pooling may treat 7 x 7 pixels, and with filters that are normalized,
    see networks.convnet.
    """

    tasks: int = 15
    """How many alphabets."""
    memories: int | None = None
    """Learn only so many of their drawings, drawn as a reservoir draws what it holds in the end;
    all if not given."""
    passes: int = 20
    """How often each drawing is seen."""
    batch_size: int = 26
    """Drawings in a step of plain SGD."""
    alpha: float = 0.1
    """Its learning rate."""
    seed: int = 100
    """Draws alphabets, drawers, network and order; the sweeps are made on 100."""
    data_dir: Path | None = None
    """Folder with omniglot.npz; MER_JAX_DATA_DIR if not given."""
    resume: bool = False
    """Go on with what was begun in --out, from its last whole checkpoint; one is made after each
    pass."""
    out: Path = Path("runs/joint")
    """Folder for joint.md, joint.json and joint.png, and the checkpoints while it runs."""


def learn(
    model: networks.Model,
    train: Example,
    test: Example,
    config: Config,
    kept: checkpoints.Checkpoints,
) -> Iterator[tuple[list[float], Params]]:
    """Yields the accuracies on all test drawings after each pass so far, in percent, and the
    network."""
    steps = len(train.y) // config.batch_size
    shares = jnp.full(config.batch_size, 1 / config.batch_size)

    def step(params: Params, batch: Example) -> tuple[Params, None]:
        grads = mean_gradient(model.loss, params, batch, shares)
        return jax.tree.map(lambda p, g: p - config.alpha * g, params, grads), None

    @jax.jit
    def one_pass(params: Params, key: jax.Array, train: Example) -> Params:
        order = jax.random.permutation(key, len(train.y))[: steps * config.batch_size]
        batches = jax.tree.map(lambda leaf: leaf[order.reshape(steps, -1)], train)
        return jax.lax.scan(step, params, batches)[0]

    @jax.jit
    def judge(params: Params, test: Example) -> jax.Array:
        block_size = judged_at_once(model)
        return mer_jax.accuracy(model.apply, params, test, block_size=block_size)

    init_key, pass_key = jax.random.split(jax.random.key(config.seed))
    params, accuracies = model.init(init_key), list[float]()
    at, known = kept.newest() or (0, {})
    if known:
        params = jax.tree.unflatten(jax.tree.structure(params), known["params"])
        accuracies = known["accuracies"][0].tolist()
        yield accuracies, params
    for number in range(at, config.passes):
        params = one_pass(params, jax.random.fold_in(pass_key, number), train)
        accuracies.append(100 * float(judge(params, test)))
        where = f"after pass {number + 1}"
        checkpoints.check_finite(np.array([is_finite(params)]), [kept.folder.name], where, kept)
        arrays = {"params": jax.tree.leaves(params), "accuracies": [np.array(accuracies)]}
        kept.save(number + 1, arrays)
        yield accuracies, params


def learn_all(
    config: Config, num_classes: int, train: Example, test: Example, console: Console
) -> dict[str, dict[str, Any]]:
    """All networks, one after another: the accuracies of each and the seconds it took.

    Raises:
      ValueError: if there are checkpoints that cannot be gone on with, or a network diverged.
    """
    decides = command_line.deciding(config) | {"data": checkpoints.checksum((train, test))}
    results: dict[str, dict[str, Any]] = {}
    with bars.display(console) as shown:
        for name, how in NETWORKS.items():
            kept = checkpoints.Checkpoints(
                checkpoints.folder(config.out) / name,
                lambda: decides,
                every=1,
                lasting=True,
                say=functools.partial(console.print, highlight=False),
            )
            accuracies, params = bars.follow(
                shown,
                name,
                config.passes,
                learn(networks.convnet(num_classes, **how), train, test, config, kept),
                lambda known: (len(known[0]), f"passes, test accuracy {known[0][-1]:.1f} %"),
            )
            results[name] = {
                "test_accuracy": accuracies,
                "params_checksum": checkpoints.checksum(params),
                "seconds": round(kept.seconds, 2),
            }
    return results


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        for name in ("tasks", "memories", "passes", "batch_size"):
            if (count := getattr(config, name)) is not None:
                checks.positive_int(flag(name), count)
        checks.rate("--alpha", config.alpha)
        if not 0 <= config.seed < 2**32:
            raise ValueError(f"--seed must be in [0, {2**32 - 1}], got {config.seed}")
        checkpoints.check_begun(config, "joint.json")
        data = omniglot.load(config.data_dir, on_download=console.print)
        rng = np.random.default_rng(config.seed)
        tasks = benchmarks.alphabets(rng, data.alphabets, data.drawers, config.tasks)
        learned = tasks.images[tasks.images >= 0]
        if config.memories is not None:
            if config.memories > len(learned):
                raise ValueError(
                    f"--memories must be at most {len(learned)}, the training drawings of "
                    f"{config.tasks} alphabets, got {config.memories}"
                )
            learned = rng.choice(learned, config.memories, replace=False)
        if config.batch_size > len(learned):
            raise ValueError(
                f"--batch-size must be at most {len(learned)}, the drawings that are learned, got "
                f"{config.batch_size}"
            )
    jax.config.update("jax_default_matmul_precision", "highest")
    images = data.images.reshape(len(data.images), -1)

    def drawings(places: np.ndarray) -> Example:
        task = data.alphabets[places].astype(np.int32)
        return jax.tree.map(jnp.asarray, Example(images[places], data.labels[places], task))

    train, test = drawings(learned), drawings(tasks.tests[tasks.tests >= 0])
    with program.running(console, f"--resume goes on from the last checkpoint in {config.out}"):
        about = {
            "config": command_line.deciding(config),
            "command": command_line.command("experiments.joint", config),
            "seeds": [config.seed],
            "data_checksum": checkpoints.checksum((train, test)),
            **output.environment(),
        }
        config.out.mkdir(parents=True, exist_ok=True)
        output.write_json(config.out / "run.json", about)
        results = learn_all(config, int(data.labels.max()) + 1, train, test, console)
        write(config, results, about)
        checkpoints.forget(config.out)
    program.tell(console, config.out, "joint.md, .json, .png")


def write(config: Config, results: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    """joint.md, joint.json and joint.png."""
    shown = sorted({*range(5, config.passes, 5), config.passes})
    table = [
        ["Network", *(f"{number} passes" for number in shown), "Seconds"],
        *(
            [
                name,
                *(f"{result['test_accuracy'][number - 1]:.1f}" for number in shown),
                f"{result['seconds']:.0f}",
            ]
            for name, result in results.items()
        ),
    ]
    caption = (
        f"Accuracy on all test drawings of {config.tasks} alphabets, in %, one seed; trained on "
        f"{config.memories or 'all'} training drawings in each pass. `{about['command']}`"
    )
    output.write_text(config.out / "joint.md", output.markdown(table, caption))
    output.write_json(config.out / "joint.json", results | about)
    curves = {name: result["test_accuracy"] for name, result in results.items()}
    title = f"Omniglot, {config.tasks} alphabets at once"
    output.write(config.out / "joint.png", lambda part: plots.passes(part, curves, title))


if __name__ == "__main__":
    main()
