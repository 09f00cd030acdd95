"""A small language model on kinds of text in turn: its flags, arms, training and metrics."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from experiments.language import texts
from experiments.plots import stream
from experiments.running import batches, options, program
from experiments.running.checkpoints import checksum
from experiments.running.problem import Own, Problem, chunk_size, every
from mer_jax.types import Params

# {arm: whether it replays, whether Reptile pulls it back}
ARMS = {"neither": (False, False), "replay": (True, False), "Reptile": (False, True),
        "both": (True, True)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Training(options.Flags):
    """Flags of the texts, a model and how it is trained."""

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
    """AdamW's learning rate."""
    replay_share: float = 0.25
    """Share of replays in a batch, in the arms with replay."""
    capacity: int = 4000
    """Sequences that the reservoir holds."""
    reptile_every: int = 50
    """Batches between two Reptile updates, in the arms with Reptile."""
    reptile_rate: float = 0.5
    """Reptile's rate, the fraction of the way that is kept."""
    train_bytes: int = 300_000
    """Training text of each kind."""
    test_bytes: int = 30_000
    """Test text of each kind, from other files."""


@dataclasses.dataclass(frozen=True)
class Config(options.Run, Training):
    """Trains a small language model on one kind of text after another, with MER's two parts or
    without: replay, Reptile, both, neither.

    The optimizer is AdamW and continues from one kind to the next. Any Python installation has the
    texts: source, C headers, licences and descriptions of packages. All arms see the same batches.
    It takes about eleven minutes on two cores.
    """

    out: Path = Path("runs/language")
    """Folder for run.json and then metrics.json, table.md and losses.png."""

    def check(self) -> None:
        super().check()
        self.positive("steps", "batch_size", "length", "width", "layers", "capacity")
        self.positive("reptile_every", "train_bytes", "test_bytes")
        self.rates("replay_share", "reptile_rate", largest=1)
        self.rates("learning_rate")
        self.fit(48 * self.width, layers=self.layers, width=self.width)
        share, least = self.replay_share, 1 / self.batch_size
        replays = round(share * self.batch_size)
        if share > 0 and not replays:
            raise ValueError(f"--replay-share must be 0 or at least {least:g}, got {share:g}")
        if replays > self.capacity:
            raise ValueError(f"--capacity must be at least {replays}, the replays of a batch")
        if self.width % 4:
            raise ValueError(f"--width must be a multiple of 4, the heads, got {self.width}")
        if min(self.train_bytes, self.test_bytes) <= self.length:
            raise ValueError("--train-bytes and --test-bytes must be more than --length")


class Transformer(nn.Module):
    """A decoder over bytes: logits `[length, 256]` for the byte after each of `[length]`."""

    width: int
    layers: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> Any:
        where = self.param("where", nn.initializers.normal(0.02), (len(tokens), self.width))
        x = nn.Embed(256, self.width)(tokens) + where
        mask = nn.make_causal_mask(tokens)
        for _ in range(self.layers):
            x += nn.MultiHeadDotProductAttention(num_heads=4)(nn.LayerNorm()(x), mask=mask)
            x += nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return nn.Dense(256)(nn.LayerNorm()(x))


@functools.lru_cache(maxsize=32)
def parts(how: Training) -> tuple[Any, Any, Any]:
    """`Problem.network`, `Problem.evaluate` and the loss of `[n, length + 1]`, for all arms."""
    model = Transformer(how.width, how.layers)

    def network(seed: jax.Array) -> Params:
        init_key, _ = jax.random.split(jax.random.key(seed))
        return model.init(init_key, jnp.zeros(how.length, jnp.int32))["params"]

    def loss(params: Params, sequences: jax.Array) -> jax.Array:
        tokens = sequences.astype(jnp.int32)
        logits = jax.vmap(model.apply, (None, 0))({"params": params}, tokens[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return losses.mean() / jnp.log(2.0)  # bits a byte

    def evaluate(params: Params, own: Own, shared: Any, place: Any, domains: Any) -> Any:
        begins = np.arange((shared[1].shape[1] - 1) // how.length)[:, None] * how.length
        sequences = shared[1][domains][:, begins + np.arange(how.length + 1)]
        return {"loss": jax.lax.map(functools.partial(loss, params), sequences)}

    return network, evaluate, loss


@functools.lru_cache(maxsize=32)
def problem(how: Training, replays: bool, pulls: bool, chunk: int) -> Problem:
    """AdamW over the texts, with replays and Reptile's pulls or without.

    Shared are the training and the test texts, `[N, bytes]` uint8 each. The state is a tuple of
    parameters, optimizer state and reservoir. The metric is "loss".
    """
    network, evaluate, loss = parts(how)
    adamw = optax.adamw(how.learning_rate)
    optimizer = mer_jax.reptile(adamw, how.reptile_every, how.reptile_rate) if pulls else adamw
    reservoir, share = mer_jax.reservoir(how.capacity), how.replay_share if replays else 0.0

    def start(params: Params, own: Own, shared: Any) -> Any:
        return params, optimizer.init(params), reservoir.init(jnp.zeros(how.length + 1, jnp.uint8))

    def advance(state: Any, own: Own, shared: Any, place: jax.Array) -> Any:
        domain, first = jnp.divmod(place, how.steps)
        _, learn_key = jax.random.split(jax.random.key(own.seed))
        domain_key, text = jax.random.fold_in(learn_key, domain), shared[0][domain]

        def step(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            params, opt_state, memory = state
            text_key, mix_key = jax.random.split(jax.random.fold_in(domain_key, number))
            begins = jax.random.randint(text_key, (how.batch_size,), 0, len(text) - how.length)
            batch = text[begins[:, None] + np.arange(how.length + 1)]
            batch, memory = mer_jax.mix(mix_key, memory, batch, share)
            value, grads = jax.value_and_grad(loss)(params, batch)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state, memory), value

        state, losses = jax.lax.scan(step, state, first + jnp.arange(chunk))
        return state, None, jnp.isfinite(losses).all()

    return Problem(network, start, advance, evaluate, params=lambda state: state[0])


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The metrics of `[R, N + 1, N]` losses in bits a byte."""
    losses = rows["loss"].astype(np.float64)
    learned = np.diagonal(losses[:, 1:], axis1=1, axis2=2)
    return {
        "learned_loss": learned.mean(1).tolist(),
        "final_loss": losses[:, -1].mean(1).tolist(),
        "forgetting": (losses[:, -1] - learned)[:, :-1].mean(1).tolist(),
        "losses": losses.tolist(),
    }


def prepare(config: Config, say: program.Say) -> batches.Study:
    """Reads the texts and makes the study."""
    domains = texts.load(config.train_bytes, config.test_bytes)
    for one in domains:
        say(f"{one.name}: {one.source}")
    names, train, test, _ = zip(*domains, strict=True)
    chunk = chunk_size(config.steps, config.checkpoint_every)
    schedule = every("batches", len(domains), config.steps, chunk, between=config.steps)
    how = Training(*(getattr(config, field.name) for field in dataclasses.fields(Training)))
    arms = [batches.Arm(arm, arm, problem(how, *which, chunk)) for arm, which in ARMS.items()]
    return batches.Study(
        arms, schedule, config.all_seeds(),
        metrics={"learned_loss": "Learned loss", "final_loss": "Final loss",
                 "forgetting": "Forgetting"},
        caption=(
            f"Bits a byte, {config.steps} batches of each kind of text. Learned: on each kind "
            "right after it; final: on all at the end; forgetting: how much that has risen on all "
            f"but the last. {config.seeds} seeds from {config.seed}, ± is their standard deviation."
        ),
        shared=(np.stack(train), np.stack(test)),
        about={"domains": [
            {"name": one.name, "source": one.source, "checksum": checksum(one[1:3])}
            for one in domains
        ], "data_checksum": checksum(domains)},
        identity=dataclasses.asdict(how), measure=measure, digits=3,
        draw=stream.by_task("losses", "test loss, bits a byte", "losses.png", schedule,
                            names=names, first=1),
    )  # fmt: skip


PROGRAM = program.Program("experiments.language", Config, prepare)
if __name__ == "__main__":
    program.main(PROGRAM)
