"""Trains a small language model on one kind of text after another, with MER's two parts or without.

python -m experiments.language
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

import mer_jax
from experiments import (
    bars,
    checkpoints,
    command_line,
    devices,
    output,
    plots,
    program,
    tensorboard,
    texts,
)
from experiments.command_line import flag
from experiments.devices import SEED, SHARED
from experiments.training import chunk_size, is_finite, size_bytes
from mer_jax import _checks as checks

ARMS = {
    "neither": (False, False),
    "replay": (True, False),
    "Reptile": (False, True),
    "both": (True, True),
}
"""Whether each replays, and whether each is pulled back."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains a small language model on one kind of text after another, with MER's two parts or
    without: replay, Reptile, both, neither.

    The optimizer is AdamW, and goes on from one kind to the next. Text is what any Python
    installation has: source, C headers, licences and descriptions of packages.
    """

    steps: int = 500
    """Batches of each kind of text."""
    batch_size: int = 16
    """Sequences in a batch, replays included."""
    length: int = 64
    """Bytes in a sequence."""
    width: int = 64
    """Size of the model's embedding."""
    layers: int = 2
    """Blocks of attention and a dense network."""
    learning_rate: float = 2e-3
    """AdamW's."""
    replay_share: float = 0.25
    """How much of a batch is replays, where there are any."""
    capacity: int = 4000
    """Sequences that the reservoir holds."""
    reptile_every: int = 50
    """Batches from one pull to the next, where there are any."""
    reptile_rate: float = 0.5
    """How much of the way is kept at each."""
    seeds: int = 5
    """How many seeds, each with its own network and batches; all arms see the same."""
    seed: int = 0
    """The first seed."""
    train_bytes: int = 300_000
    """Text of each kind to learn from."""
    test_bytes: int = 30_000
    """Text of each kind, of other files, to be tested on."""
    checkpoint_every: int | None = None
    """Batches between two checkpoints; about one a minute if not given."""
    resume: bool = False
    """Go on with what was begun in --out by the same command."""
    tensorboard: bool = False
    """Also write events for TensorBoard into --out/tensorboard; needs tensorboardX."""
    out: Path = Path("runs/language")
    """Folder for run.json, what it is of, and in the end metrics.json, table.md and losses.png."""


def check(config: Config) -> None:
    """Checks all that can be checked before learning.

    Raises:
      ValueError: in one line, if something cannot be right.
    """
    for name in (
        "steps", "batch_size", "length", "width", "layers", "capacity", "reptile_every", "seeds",
        "train_bytes", "test_bytes",
    ):  # fmt: skip
        checks.positive_int(flag(name), getattr(config, name))
    if config.checkpoint_every is not None:
        checks.positive_int("--checkpoint-every", config.checkpoint_every)
    for name in ("replay_share", "reptile_rate"):
        checks.rate(flag(name), getattr(config, name), largest=1)
    checks.rate("--learning-rate", config.learning_rate)
    replays = round(config.replay_share * config.batch_size)
    if config.replay_share > 0 and not replays:
        raise ValueError(
            f"--replay-share must be 0 or at least {1 / config.batch_size:g}, one of --batch-size, "
            f"got {config.replay_share:g}"
        )
    if replays > config.capacity:
        raise ValueError(f"--capacity must be at least {replays}, the replays of a batch")
    if config.width % 4:
        raise ValueError(f"--width must be a multiple of 4, the heads, got {config.width}")
    if min(config.train_bytes, config.test_bytes) <= config.length:
        raise ValueError("--train-bytes and --test-bytes must be more than --length")
    if not 0 <= config.seed <= 2**32 - config.seeds:
        raise ValueError(f"--seed must be in [0, {2**32 - config.seeds}], got {config.seed}")
    checkpoints.check_begun(config)
    if config.tensorboard:
        tensorboard.check()
    config.out.mkdir(parents=True, exist_ok=True)


class Transformer(nn.Module):
    """A decoder over bytes: logits `[length, 256]` for the byte after each of `[length]`."""

    width: int
    layers: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        length = tokens.shape[0]
        where = self.param("where", nn.initializers.normal(0.02), (length, self.width))
        x = nn.Embed(256, self.width)(tokens) + where
        mask = nn.make_causal_mask(tokens)
        for _ in range(self.layers):
            seen = nn.LayerNorm()(x)
            x += nn.MultiHeadDotProductAttention(num_heads=4)(seen, mask=mask)
            x += nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return cast(jax.Array, nn.Dense(256)(nn.LayerNorm()(x)))


class Programs(NamedTuple):
    """What is compiled, for one seed.

    start: `start(seed) -> carry`.
    advance: `advance(carry, seed, texts, domain, first) -> (carry, fine)`, some batches of a kind
      of text, beginning with `first`; fine: `[]` bool, whether all losses on them were finite.
    judge: `judge(carry, texts) -> [domains]`, the mean loss on each, in bits a byte.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    judge: Callable[..., jax.Array]


def programs(config: Config, replays: bool, pulls: bool) -> Programs:
    model = Transformer(config.width, config.layers)
    optimizer: optax.GradientTransformation = optax.adamw(config.learning_rate)
    if pulls:
        optimizer = mer_jax.reptile(optimizer, config.reptile_every, config.reptile_rate)
    buffer = mer_jax.reservoir(config.capacity)
    share = config.replay_share if replays else 0.0

    def loss(params: Any, sequences: jax.Array) -> jax.Array:
        """Bits a byte, over sequences `[n, length + 1]`."""
        tokens = sequences.astype(jnp.int32)
        logits = jax.vmap(lambda row: model.apply({"params": params}, row))(tokens[:, :-1])
        nats = optax.softmax_cross_entropy_with_integer_labels(
            cast(jax.Array, logits), tokens[:, 1:]
        )
        return nats.mean() / jnp.log(2.0)

    def start(seed: jax.Array) -> Any:
        network_key, _ = jax.random.split(jax.random.key(seed))
        params = model.init(network_key, jnp.zeros(config.length, jnp.int32))["params"]
        memory = buffer.init(jnp.zeros(config.length + 1, jnp.uint8))
        return params, optimizer.init(params), memory

    def advance(
        carry: Any, seed: jax.Array, train: jax.Array, domain: jax.Array, first: jax.Array
    ) -> Any:
        _, learn_key = jax.random.split(jax.random.key(seed))

        def step(carry: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            params, opt_state, memory = carry
            key = jax.random.fold_in(jax.random.fold_in(learn_key, domain), number)
            text_key, mix_key = jax.random.split(key)
            latest = train.shape[1] - config.length - 1
            begins = jax.random.randint(text_key, (config.batch_size,), 0, latest + 1)
            batch = train[domain][begins[:, None] + jnp.arange(config.length + 1)]
            batch, memory = mer_jax.mix(mix_key, memory, batch, share)
            value, grads = jax.value_and_grad(loss)(params, batch)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state, memory), value

        numbers = first + jnp.arange(chunk_size(config.steps, config.checkpoint_every))
        carry, losses = jax.lax.scan(step, carry, numbers)
        return carry, jnp.isfinite(losses).all()

    def judge(carry: Any, test: jax.Array) -> jax.Array:
        rows = (test.shape[1] - 1) // config.length
        begins = jnp.arange(rows)[:, None] * config.length
        sequences = test[:, begins + jnp.arange(config.length + 1)]
        return jax.lax.map(lambda domain: loss(carry[0], domain), sequences)

    return Programs(start, advance, judge)


def learn(config: Config, domains: list[texts.Domain], console: Console) -> dict[str, Any]:
    """All arms, one after another; for each what came of it, see `summary`.

    Raises:
      ValueError: if there are checkpoints that cannot be gone on with, or a model diverged.
    """
    results = {}
    carry = jax.eval_shape(programs(config, replays=True, pulls=True).start, np.uint32(0))
    devices.fitting(f"{config.seeds} seeds", config.seeds * 2 * size_bytes(carry))
    with bars.display(console) as shown:
        for arm, parts in ARMS.items():
            kept = checkpoints.Checkpoints(
                checkpoints.folder(config.out) / arm,
                functools.partial(_identity, config, domains),
                config.checkpoint_every,
                lasting=True,
                say=functools.partial(console.print, highlight=False),
            )
            steps = _learn_arm(programs(config, *parts), config, domains, kept)
            total = config.steps * len(domains)
            events = config.out / "tensorboard" / arm if config.tensorboard else None
            batches = range(0, total + 1, config.steps)
            steps = tensorboard.logged(steps, events, "loss", lambda step: step.losses, batches)
            last = bars.follow(shown, arm, total, steps, _tell)
            results[arm] = summary(np.stack(last.losses, axis=1)) | {
                "seconds": round(kept.seconds, 2),
                "params_checksums": checkpoints.checksums(last.params, config.seeds),
            }
    return results


class Progress(NamedTuple):
    """batches: how many were learned from; losses: `[S, N]`, before and after each kind of text;
    params: `[S, ...]`, the networks.
    """

    batches: int
    losses: list[np.ndarray]
    params: Any


def _tell(step: Progress) -> tuple[int, str]:
    return step.batches, f"batches, {step.losses[-1].mean():.2f} bits a byte"


def _learn_arm(
    single: Programs, config: Config, domains: list[texts.Domain], kept: checkpoints.Checkpoints
) -> Iterator[Progress]:
    """Learns one kind of text after another, with all seeds side by side."""
    mesh = devices.mesh(config.seeds)
    padded = np.resize(np.arange(config.seeds), devices.pad(config.seeds, mesh))
    seeds = devices.put((config.seed + padded).astype(np.uint32), mesh, SEED)
    train, test = (
        devices.put(np.stack([getattr(domain, part) for domain in domains]), mesh, SHARED)
        for part in ("train", "test")
    )
    start = devices.over_seeds(single.start, mesh, own=1)
    advance = devices.over_seeds(single.advance, mesh, own=2, donate=(0,), num_runs=config.seeds)
    judge = devices.over_seeds(single.judge, mesh, own=1, num_runs=config.seeds)
    finite = devices.over_seeds(is_finite, mesh, own=1)

    def of_seeds(leaf: jax.Array) -> np.ndarray:
        return devices.fetch(leaf)[: config.seeds]

    def to_keep() -> checkpoints.Arrays:
        return {"carry": [of_seeds(leaf) for leaf in jax.tree.leaves(carry)], "losses": [*losses]}

    at, known = kept.newest() or (0, {})
    if known:
        leaves = [leaf[padded] for leaf in known["carry"]]
        structure = jax.tree.structure(jax.eval_shape(start, seeds))
        carry = devices.put(jax.tree.unflatten(structure, leaves), mesh, SEED)
        losses = known["losses"]
    else:
        carry = start(seeds)
        losses = [of_seeds(judge(carry, test))]
    yield Progress(at, losses, carry[0])
    total = config.steps * len(domains)
    losses_fine = np.ones(config.seeds, bool)
    while at < total:
        number, first = divmod(at, config.steps)
        carry, fine = advance(carry, seeds, train, np.int32(number), np.int32(first))
        losses_fine &= of_seeds(fine)
        at += chunk_size(config.steps, config.checkpoint_every)
        if at % config.steps == 0:
            losses.append(of_seeds(judge(carry, test)))
        if at == total or kept.due(at):
            names = [f"seed {config.seed + number}" for number in range(config.seeds)]
            where = f"after {at} batches, in {domains[number].name}"
            checkpoints.check_finite(losses_fine & of_seeds(finite(carry)), names, where, kept)
            kept.save(at, to_keep())
        yield Progress(at, losses, carry[0])


def _identity(config: Config, domains: list[texts.Domain]) -> dict[str, Any]:
    """What decides how these runs go on."""
    names = {"out", "resume", "checkpoint_every", "tensorboard"}
    settings = {
        name: value for name, value in dataclasses.asdict(config).items() if name not in names
    }
    return settings | {"texts": checkpoints.checksum(domains)}


def summary(losses: np.ndarray) -> dict[str, Any]:
    """What was learned and what forgotten, of `[S, N + 1, N]` losses in bits a byte."""
    losses = losses.astype(np.float64)
    learned = np.diagonal(losses[:, 1:], axis1=1, axis2=2)
    return {
        "learned_loss": output.spread(learned.mean(1)),
        "final_loss": output.spread(losses[:, -1].mean(1)),
        "forgetting": output.spread((losses[:, -1] - learned)[:, :-1].mean(1)),
        "losses": losses.tolist(),
    }


COLUMNS = {
    "learned_loss": "Learned loss",
    "final_loss": "Final loss",
    "forgetting": "Forgetting",
}


def about(config: Config, domains: list[texts.Domain]) -> dict[str, Any]:
    """What makes the results what they are."""
    return {
        "config": command_line.deciding(config),
        "command": command_line.command("experiments.language", config),
        "seeds": [config.seed + i for i in range(config.seeds)],
        "domains": [
            {
                "name": domain.name,
                "source": domain.source,
                "checksum": checkpoints.checksum((domain.train, domain.test)),
            }
            for domain in domains
        ],
        "data_checksum": checkpoints.checksum(domains),
        **output.environment(),
    }


def write_results(config: Config, domains: list[texts.Domain], results: dict[str, Any]) -> None:
    """metrics.json, table.md and losses.png."""
    output.write_json(config.out / "metrics.json", about(config, domains) | {"arms": results})
    table = [["Arm", *COLUMNS.values(), "Seconds"], *rows(results)]
    output.write_text(config.out / "table.md", output.markdown(table, describe(config)))
    output.write(
        config.out / "losses.png",
        lambda part: plots.losses(part, results, [domain.name for domain in domains]),
    )


def rows(results: dict[str, Any]) -> list[list[str]]:
    return [
        [arm, *(output.cell(result[name], 3) for name in COLUMNS), f"{result['seconds']:.0f}"]
        for arm, result in results.items()
    ]


def describe(config: Config) -> str:
    """One sentence on what the numbers are of."""
    return (
        f"Bits a byte, {config.steps} batches of each kind of text. Learned: on each kind right "
        "after it; final: on all at the end; forgetting: how much that has risen on all but the "
        f"last. {config.seeds} seeds from {config.seed}, ± is their standard deviation."
    )


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        check(config)
        domains = texts.load(config.train_bytes, config.test_bytes)
    devices.use_all_cores(config.seeds)
    for domain in domains:
        console.print(f"{domain.name}: {domain.source}", highlight=False)
    with program.running(console, f"--resume goes on from the last checkpoint in {config.out}"):
        output.write_json(config.out / "run.json", about(config, domains))
        results = learn(config, domains, console)
        write_results(config, domains, results)
        checkpoints.forget(config.out)
    head = ["Arm", *COLUMNS.values(), "Seconds"]
    files = "metrics.json, table.md, losses.png"
    program.tell(console, config.out, files, [head, *rows(results)])


if __name__ == "__main__":
    main()
