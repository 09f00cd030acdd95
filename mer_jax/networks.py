"""The paper's networks, as Flax modules."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mer_jax import _checks, _convolution
from mer_jax.losses import DenseFirstLoss, InTurnOnCPU
from mer_jax.task_params import TaskParams, of_task
from mer_jax.types import Example, LossFn, Params

FIRST = "layers_0"
XAVIER_UNIFORM = nn.initializers.xavier_uniform()
HE_UNIFORM = nn.initializers.he_uniform()


class Model(NamedTuple):
    """A network as pure functions.

    init: `init(key) -> params`.
    apply: `apply(params, x, task) -> logits [C]`, on one example.
    loss: `loss(params, example) -> []`, the cross-entropy on one `Example`; a `DenseFirstLoss`
      where the network begins with a dense layer, `InTurnOnCPU` where it is of convolutions.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, Any], jax.Array]
    loss: LossFn


class MLP(nn.Module):
    """Dense layers with ReLU between them; Xavier-uniform weights and zero biases.

    sizes: features of the input and of each layer's output.
    """

    sizes: Sequence[int]

    def setup(self) -> None:
        self.layers = [nn.Dense(size, kernel_init=XAVIER_UNIFORM) for size in self.sizes[1:]]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.after_first(self.layers[0](x))

    def after_first(self, preactivation: jax.Array) -> jax.Array:
        """The network from the first layer's output on."""
        for layer in self.layers[1:]:
            preactivation = layer(nn.relu(preactivation))
        return preactivation


def mlp(sizes: Sequence[int], judge: Callable[[jax.Array, Any], jax.Array] | None = None) -> Model:
    """The paper's fully connected network; for MNIST `sizes` is `(784, 100, 100, 10)`.

    Inputs of any shape are flattened, and unsigned 8-bit images scaled to [0, 1]. The task id is
    not read. Its loss shows its first layer, so learners may take the Gram form.

    Args:
      judge: `judge(outputs [C], example) -> []`, the loss; cross-entropy with `example.y` if not
        given. The input is always `example.x`.
    Raises:
      ValueError: if `sizes` has fewer than two entries or one that is not a whole number >= 1.
    """
    sizes = _sizes(sizes)
    module = MLP(sizes)

    def init(key: jax.Array) -> Params:
        return _initialized(module, key, sizes[0])

    def apply(params: Params, x: jax.Array, task: Any = None) -> jax.Array:
        del task  # one network for all tasks
        return cast(jax.Array, module.apply({"params": params}, as_features(x)))

    def split(params: Params) -> tuple[jax.Array, jax.Array, Params]:
        rest = {name: layer for name, layer in params.items() if name != FIRST}
        return params[FIRST]["kernel"], params[FIRST]["bias"], rest

    def merge(kernel: jax.Array, bias: jax.Array, rest: Params) -> Params:
        return {FIRST: {"kernel": kernel, "bias": bias}, **rest}

    def tail(rest: Params, preactivation: jax.Array, example: Any) -> jax.Array:
        logits = module.apply({"params": rest}, preactivation, method=MLP.after_first)
        if judge is None:
            return cross_entropy(cast(jax.Array, logits), example.y)
        return judge(cast(jax.Array, logits), example)

    loss = DenseFirstLoss(lambda example: as_features(example.x), split, merge, tail)
    return Model(init, apply, loss)


def _sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Those of an MLP, or a `ValueError`."""
    sizes = _checks.positive_ints("sizes", sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must name the inputs and the outputs at least, got {sizes}")
    return sizes


class ConvNet(nn.Module):
    """Modules of 3 x 3 convolution, ReLU and 2 x 2 max-pooling, then one dense layer.

    features: filters of each module; num_classes: logits; the others: see `convnet`.
    """

    features: Sequence[int]
    num_classes: int
    pool_padding: str
    normalize: bool
    as_product: bool | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Asked for here, not when the network is made, which should start no backend.
        is_tpu = jax.default_backend() == "tpu"
        as_product = not is_tpu if self.as_product is None else self.as_product
        conv = _convolution.as_product if as_product else None
        for size in self.features:
            x = nn.Conv(size, (3, 3), kernel_init=HE_UNIFORM, conv_general_dilated=conv)(x)
            if self.normalize:
                # The fast variance is bounded below by a maximum, whose gradient may get lost.
                x = nn.InstanceNorm(use_fast_variance=False)(x)
            x = _convolution.max_pool(nn.relu(x), self.pool_padding)
        softmax = nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros)
        return softmax(x.reshape(x.shape[0], -1))


def convnet(
    num_classes: int,
    features: Sequence[int] = (64, 64, 64, 64),
    side: int = 28,
    *,
    pool_padding: str = "VALID",
    normalize: bool = False,
    as_product: bool | None = None,
) -> Model:
    """The paper's network for Omniglot: four modules of convolution and a softmax layer.

    Inputs are images of `side * side` pixels in any shape, unsigned 8-bit ones scaled to [0, 1].
    The task id is not read. He-uniform filters, which keep the features of an image of one channel
    as large as those of 64; the softmax layer and all biases are zero, so that at first all classes
    are alike.

    Args:
      num_classes: C.
      features: filters of each module, each of which halves the image.
      pool_padding: "VALID" halves 7 pixels to 3, "SAME" to 4, as pooling in flax does with either.
        Four modules make of 28 x 28 pixels 1 x 1 or 2 x 2, and the paper does not say which.
      normalize: whether what each filter gives is brought to mean 0 and variance 1 over the image,
        and then to a mean and variance that are learned. It is what batch normalization is to a
        batch of one: of Vinyals et al. (2016), whose modules these are, with it.
      as_product: whether convolutions are written as matrix products; None for whatever suits the
        default backend. For single images a CPU is many times faster at them, and a GPU several
        times, above all with networks in a `vmap`, which gives each its own filters.
    Raises:
      ValueError: if a size is not a whole number of at least 1, the padding is neither, or nothing
        of the image is left, or a single pixel to be normalized.
    """
    num_classes = _checks.positive_int("num_classes", num_classes)
    features = _checks.positive_ints("features", features)
    side = _checks.positive_int("side", side)
    _check_side(side, len(features), pool_padding, normalize)
    module = ConvNet(features, num_classes, pool_padding, normalize, as_product)

    def images(x: jax.Array) -> jax.Array:
        return as_features(x).reshape(1, side, side, 1)

    def init(key: jax.Array) -> Params:
        return _initialized(module, key, 1, side, side, 1)

    def apply(params: Params, x: jax.Array, task: Any = None) -> jax.Array:
        del task  # one network for all tasks
        return cast(jax.Array, module.apply({"params": params}, images(x)))[0]

    def loss(params: Params, example: Example) -> jax.Array:
        return cross_entropy(apply(params, example.x), example.y)

    return Model(init, apply, InTurnOnCPU(loss))


def _check_side(side: int, num_modules: int, pool_padding: str, normalize: bool) -> None:
    """Raises `ValueError` unless modules that each halve an image leave enough of it."""
    if pool_padding not in ("VALID", "SAME"):
        raise ValueError(f'pool_padding must be "VALID" or "SAME", got {pool_padding!r}')
    if pool_padding == "VALID" and side >> num_modules < 1:
        raise ValueError(
            f"{num_modules} modules halve an image of {side} x {side} to nothing; use fewer"
        )
    if normalize and side <= 2 ** (num_modules - 1):
        raise ValueError(
            f"the last of {num_modules} modules would normalize a single pixel of an image of "
            f"{side} x {side}; use fewer"
        )


def _initialized(module: nn.Module, key: jax.Array, *shape: int) -> Params:
    """The parameters for inputs of that shape, of which none is computed with: that takes long
    where each operation of a large network has to be compiled for it."""
    return cast(Params, module.lazy_init(key, jax.ShapeDtypeStruct(shape, jnp.float32))["params"])


def independent(sizes: Sequence[int], num_tasks: int) -> Model:
    """A small MLP for each task: `sizes` with the hidden layers divided by the number of tasks.

    Its parameters are `TaskParams`, all of them a task's own. `apply` takes those of all tasks,
    `loss` those of one (`task_params.of_task`), as `mer_jax.independent` asks for it.

    Raises:
      ValueError: as `mlp`; and if a hidden layer has fewer units than there are tasks.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    first, *hidden, last = _sizes(sizes)
    if hidden and min(hidden) < num_tasks:
        raise ValueError(
            f"each hidden layer is divided among the tasks: expected at least {num_tasks} units, "
            f"got {min(hidden)}"
        )
    return by_task(mlp([first, *(size // num_tasks for size in hidden), last]), num_tasks)


def task_input(sizes: Sequence[int], num_tasks: int) -> Model:
    """The MLP with a first layer for each task; arguments and parameters as in `independent`."""
    return by_task(mlp(sizes), num_tasks, [FIRST])


def by_task(single: Model, num_tasks: int, own: Sequence[str] | None = None) -> Model:
    """A network of which each of `num_tasks` tasks has its own copy of some layers.

    Args:
      single: a network whose parameters are a dictionary of layers.
      own: the names of these layers; None for all of them.
    Returns:
      A network whose parameters are `TaskParams`; see `independent`.
    Raises:
      ValueError: if `num_tasks` is not a whole number of at least 1; in `init`, if there is no
        such layer.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)

    def part(params: Params) -> TaskParams:
        if unknown := set(own or ()) - set(params):
            raise ValueError(f"own must name layers of {sorted(params)}, got {sorted(unknown)}")
        mine = {name: layer for name, layer in params.items() if own is None or name in own}
        return TaskParams(mine, {name: params[name] for name in params if name not in mine})

    def whole(params: TaskParams) -> Params:
        return params.own | params.shared

    def init(key: jax.Array) -> TaskParams:
        copies = part(jax.vmap(single.init)(jax.random.split(key, num_tasks)))
        return TaskParams(copies.own, jax.tree.map(lambda rows: rows[0], copies.shared))

    def apply(params: TaskParams, x: jax.Array, task: Any) -> jax.Array:
        return single.apply(whole(of_task(params, task)), x, task)

    shown = single.loss
    if not isinstance(shown, DenseFirstLoss):

        def plain(params: TaskParams, example: Example) -> jax.Array:
            return shown(whole(params), example)

        return Model(init, apply, InTurnOnCPU(plain) if isinstance(shown, InTurnOnCPU) else plain)
    loss = DenseFirstLoss(
        shown.inputs,
        lambda params: shown.split(whole(params)),
        lambda kernel, bias, rest: part(shown.merge(kernel, bias, rest)),
        shown.tail,
    )
    return Model(init, apply, loss)


def as_features(x: jax.Array) -> jax.Array:
    """One example's inputs as a vector; unsigned 8-bit pixels become [0, 1] float32."""
    x = jnp.ravel(x)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The negative log-likelihood of `label` under softmax of `logits` [C].

    A label outside `[0, C)` gives NaN: inside a compiled program nothing can be raised.
    """
    is_label = jnp.arange(logits.shape[-1]) == label
    loss = jax.nn.logsumexp(logits) - jnp.sum(jnp.where(is_label, logits, 0))
    return jnp.where(is_label.any(), loss, jnp.nan)
