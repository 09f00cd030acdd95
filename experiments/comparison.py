"""Methods on the same draws of a benchmark, one after another, and what is kept of them."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import Progress

from experiments import (
    bars,
    checkpoints,
    devices,
    output,
    tensorboard,
    training,
    transfer,
)
from experiments.methods import METHODS, Choice
from mer_jax import networks
from mer_jax.data import benchmark_files
from mer_jax.data.benchmarks import Base, Tasks
from mer_jax.networks import Model
from mer_jax.types import Learner, LossFn


class Networks(NamedTuple):
    """What is learned with: a network for all tasks, and ones with parts that are a task's own.

    shared: for methods which are not told the task; description: for metrics.json.
    independent, task_input: `independent(num_tasks) -> Model`.
    """

    shared: Model
    independent: Callable[[int], Model]
    task_input: Callable[[int], Model]
    description: Any

    def of(self, method: str, num_tasks: int) -> Model:
        """The network of a method of that name."""
        if method == "independent":
            return self.independent(num_tasks)
        return self.task_input(num_tasks) if method == "task-input" else self.shared


def dense(sizes: tuple[int, ...]) -> Networks:
    """The paper's networks for MNIST."""
    return Networks(
        networks.mlp(sizes),
        lambda num_tasks: networks.independent(sizes, num_tasks),
        lambda num_tasks: networks.task_input(sizes, num_tasks),
        sizes,
    )


def convolutional(num_classes: int, features: tuple[int, ...] = (64,) * 4) -> Networks:
    """The paper's network for Omniglot; an independent one has its share of the filters.

    Its pooling keeps odd last rows and columns, and its filters are normalized: with either it
    learns far more; see the results.
    """
    convnet = functools.partial(networks.convnet, num_classes, pool_padding="SAME", normalize=True)

    def independent(num_tasks: int) -> Model:
        fewer = [max(1, size // num_tasks) for size in features]
        return networks.by_task(convnet(fewer), num_tasks)

    shared = convnet(features)
    return Networks(
        shared,
        independent,
        lambda num_tasks: networks.by_task(shared, num_tasks, ["Conv_0"]),
        {
            "convolutions of 3 x 3": features,
            "weights": "He-uniform, zero in the softmax layer",
            "pool_padding": "SAME",
            "normalize": True,
            "classes": num_classes,
        },
    )


class Comparison(NamedTuple):
    """What is compared, and on what.

    choices: for each method its settings, several in a sweep.
    seeds: S of them; tasks: `[S, ...]`, a draw of the benchmark for each.
    evaluate_every: see `training.learn`.
    run_batch: how many runs are made at once; None for as many as fit.
    out: the folder for what is kept; caption: what it is of; about: more on that, for metrics.json.
    networks: what is learned with.
    watched: whether transfer and interference are told of too, see `transfer.summary`.
    may_diverge: whether it is a result, not an error, if a single setting does.
    checkpoint_every: examples between two checkpoints; None for one a minute.
    tensorboard: the folder for its events; None for none.
    """

    choices: dict[str, list[Choice]]
    seeds: list[int]
    tasks: Tasks
    train: Base
    test: Base
    evaluate_every: int
    run_batch: int | None
    out: Path
    caption: str
    about: dict[str, Any]
    networks: Networks
    watched: bool = False
    may_diverge: bool = False
    checkpoint_every: int | None = None
    tensorboard: Path | None = None


Results = dict[str, dict[str, Any]]


def run(comparison: Comparison, shown: Progress) -> Results:
    """Learns with each method in turn; what is finished is on the disk before the next begins.

    Args:
      shown: where its bars are drawn.
    Raises:
      ValueError: if something that was begun in the folder cannot be gone on with.
    """
    results: Results = {}
    for name, (first, *others) in comparison.choices.items():
        more = f" and {len(others)} more" if others else ""
        shown.console.print(f"{METHODS[name].title}: {first}{more}", highlight=False)
        for known in run_method(name, comparison, shown):
            results |= known
            if devices.is_first_process():
                write_results(comparison, results)
    checkpoints.forget(comparison.out)
    return results


def run_method(
    name: str, comparison: Comparison, shown: Progress, title: str | None = None
) -> Iterator[Results]:
    """Learns the benchmark with one method.

    Args:
      title: for its bar; what the method is called if not given.
    Yields:
      After each batch of runs what is known: for each of the method's choices its part of the
      metrics, over the seeds that are done.
    Raises:
      ValueError: if there are checkpoints that cannot be gone on with.
    """
    method, choices, seeds = METHODS[name], comparison.choices[name], comparison.seeds
    num_tasks = comparison.tasks.images.shape[1]
    model = comparison.networks.of(name, num_tasks)
    examples = (comparison.tasks.images >= 0).sum(-1).mean(0)

    def make_learner(loss: LossFn, **rates: Any) -> Learner:
        return method.make(loss, num_tasks, **choices[0].sizes(), **rates)

    # Seed by seed, so that each batch completes as many seeds as it can.
    of_seed, of_choice = np.indices((len(seeds), len(choices))).reshape(2, -1)
    draws = training.Draw(
        np.asarray(seeds, np.uint32)[of_seed],
        {
            rate: np.array([choice.settings[rate] for choice in choices], np.float32)[of_choice]
            for rate in choices[0].rates()
        },
        jax.tree.map(lambda leaf: leaf[of_seed], comparison.tasks),
    )
    size = training.bytes_per_run(model, make_learner, draws, comparison.train)
    batch = min(comparison.run_batch or devices.fitting(name, size), len(of_seed))
    if batch < len(of_seed):
        shown.console.print(
            f"{len(of_seed)} runs of {size / 1e6:.1f} MB, {batch} at once", highlight=False
        )
    seconds, finished, watched, checksums = 0.0, [], [], []
    for first in range(0, len(of_seed), batch):
        runs = np.arange(len(of_seed))[first : first + batch]
        part = jax.tree.map(lambda leaf: leaf[runs], draws)  # noqa: B023
        number = "" if batch == len(of_seed) else f" from run {first + 1}"
        settings = [choices[i].settings for i in of_choice[runs]]
        is_last = runs[-1] == len(of_seed) - 1 and name == list(comparison.choices)[-1]
        kept = checkpoints.Checkpoints(
            checkpoints.folder(comparison.out) / f"{name}-{first}",
            functools.partial(_identity, name, settings, part, comparison),
            comparison.checkpoint_every,
            not is_last,
            functools.partial(shown.console.print, highlight=False),
        )
        steps = training.learn(
            model, make_learner, part, comparison.train, comparison.test,
            comparison.evaluate_every, comparison.watched,
            kept if jax.process_count() == 1 else None,
            may_diverge=comparison.may_diverge or len(choices) > 1,
        )  # fmt: skip
        seen = np.append(0, (part.tasks.images >= 0).sum(-1).mean(0).cumsum()).astype(int)
        events = comparison.tensorboard and comparison.tensorboard / f"{name}-{first}"
        steps = tensorboard.logged(
            steps, events, "accuracy", lambda step: step.accuracies, seen.tolist()
        )
        last = bars.follow(shown, (title or method.title) + number, int(seen[-1]), steps, _tell)
        seconds += kept.seconds
        finished.append(np.stack(last.accuracies, axis=1))
        checksums += checkpoints.checksums(last.params, len(runs))
        if comparison.watched:
            watched.append(transfer.collect(last.infos, num_tasks))
        R = np.concatenate(finished)

        def alignment(runs: np.ndarray) -> dict[str, Any]:
            whole = jax.tree.map(lambda *parts: np.concatenate(parts)[runs], *watched)
            return transfer.summary(whole)

        mine = [np.flatnonzero(of_choice[: len(R)] == index) for index in range(len(choices))]
        yield {
            " ".join(filter(None, (name, choice.label))): {
                "method": name,
                "title": ", ".join(filter(None, (method.title, choice.label))),
                **output.summary(R[done]),
                "seeds": [seeds[of_seed[i]] for i in done],
                "settings": choice.settings,
                "settings_source": choice.source,
                "examples_per_task": examples.tolist(),
                "evaluate_every": comparison.evaluate_every,
                "seconds": round(seconds, 2),
                "bytes_per_run": size,
                "params_checksums": [checksums[i] for i in done],
            }
            | ({"alignment": alignment(done)} if comparison.watched else {})
            for choice, done in zip(choices, mine, strict=True)
            if len(done)
        }


def _identity(
    name: str, settings: list[dict[str, float]], draws: training.Draw, comparison: Comparison
) -> dict[str, Any]:
    """What decides how these runs go on."""
    return {
        "method": name,
        "settings": settings,
        "seeds": np.asarray(draws.seed).tolist(),
        "tasks": checkpoints.checksum(draws.tasks),
        "images": comparison.about["data_checksum"],
        "network": comparison.networks.description,
        "evaluate_every": comparison.evaluate_every,
        "watched": comparison.watched,
    }


def _tell(step: training.Progress) -> tuple[int, str]:
    task = len(step.accuracies) - 1
    if task < 1:
        return step.examples, "examples, learning"
    newest = step.accuracies[-1][:, task - 1].mean()
    return step.examples, f"examples, {100 * newest:.1f} % on task {task}"


def write_results(comparison: Comparison, results: Results) -> None:
    """Keeps what is known so far: of one method at the top level, of several under `methods`."""
    from experiments import plots  # takes half a second to import

    out, caption = comparison.out, comparison.caption
    alone = sum(map(len, comparison.choices.values())) == 1
    content = next(iter(results.values())) if alone else {"methods": results}
    benchmark_files.save(out / "benchmark.npz", comparison.tasks)
    output.write_json(out / "metrics.json", comparison.about | content)
    output.write_text(out / "table.md", output.markdown(output.rows(results), caption))
    output.write(
        out / "accuracy.png", lambda part: plots.accuracy_over_stream(part, results, caption)
    )
