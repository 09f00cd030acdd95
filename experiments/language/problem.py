"""The problem of texts: one model learns kinds of text in turn and is tested on all of them."""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from experiments.running.options import Flags
from experiments.running.problem import Own, Problem
from mer_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Training(Flags):
    """Flags of a model and how it is trained."""

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


class Transformer(nn.Module):
    """A decoder over bytes: logits `[length, 256]` for the byte after each of `[length]`."""

    width: int
    layers: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        where = self.param("where", nn.initializers.normal(0.02), (len(tokens), self.width))
        x = nn.Embed(256, self.width)(tokens) + where
        mask = nn.make_causal_mask(tokens)
        for _ in range(self.layers):
            seen = nn.LayerNorm()(x)
            x += nn.MultiHeadDotProductAttention(num_heads=4)(seen, mask=mask)
            x += nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return cast(jax.Array, nn.Dense(256)(nn.LayerNorm()(x)))


@functools.lru_cache(maxsize=32)
def parts(how: Training) -> tuple[Callable[..., Any], ...]:
    """`Problem.network`, `Problem.evaluate` and a loss, which all arms share.

    The loss is that of sequences `[n, length + 1]` in bits a byte.
    """
    model = Transformer(how.width, how.layers)

    def network(seed: jax.Array) -> Params:
        init_key, _ = jax.random.split(jax.random.key(seed))
        return model.init(init_key, jnp.zeros(how.length, jnp.int32))["params"]

    def loss(params: Params, sequences: jax.Array) -> jax.Array:
        tokens = sequences.astype(jnp.int32)
        logits = jax.vmap(lambda row: model.apply({"params": params}, row))(tokens[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels
        return losses(cast(jax.Array, logits), tokens[:, 1:]).mean() / jnp.log(2.0)

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
    optimizer: optax.GradientTransformation = optax.adamw(how.learning_rate)
    if pulls:
        optimizer = mer_jax.reptile(optimizer, how.reptile_every, how.reptile_rate)
    reservoir, share = mer_jax.reservoir(how.capacity), how.replay_share if replays else 0.0

    def start(params: Params, own: Own, shared: Any) -> Any:
        memory = reservoir.init(jnp.zeros(how.length + 1, jnp.uint8))
        return params, optimizer.init(params), memory

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

    return Problem(network, start, advance, evaluate, params=operator.itemgetter(0))
