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
    loss: `loss(params, example) -> []`, the cross-entropy on one `Example`. It is a
      `DenseFirstLoss` if the network begins with a dense layer, and `InTurnOnCPU` if the network is
      convolutional.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, Any], jax.Array]
    loss: LossFn


class MLP(nn.Module):
    """Dense layers with ReLU between them, Xavier-uniform weights and zero biases.

    sizes: features of the input and of each layer's output.
    """

    sizes: Sequence[int]

    def setup(self) -> None:
        self.layers = [nn.Dense(size, kernel_init=XAVIER_UNIFORM) for size in self.sizes[1:]]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.after_first(self.layers[0](x))

    def after_first(self, preactivation: jax.Array) -> jax.Array:
        """The network after the first layer, from its pre-activation."""
        for layer in self.layers[1:]:
            preactivation = layer(nn.relu(preactivation))
        return preactivation


def mlp(sizes: Sequence[int], judge: Callable[[jax.Array, Any], jax.Array] | None = None) -> Model:
    """The paper's fully connected network.

    Inputs of any shape are flattened, and unsigned 8-bit images are scaled to [0, 1]. The task id
    is not read. The loss is a `DenseFirstLoss`, so learners may take the Gram form.

    Args:
      sizes: features of the input and of each layer's output, `(784, 100, 100, 10)` for MNIST.
      judge: `judge(outputs [C], example) -> []`, the loss. None is the cross-entropy with
        `example.y`. The input is always `example.x`.
    Raises:
      ValueError: If `sizes` has fewer than two entries, or one that is not a whole number >= 1.
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
        outputs = cast(jax.Array, logits)
        return cross_entropy(outputs, example.y) if judge is None else judge(outputs, example)

    loss = DenseFirstLoss(lambda example: as_features(example.x), split, merge, tail)
    return Model(init, apply, loss)


def _sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes of an MLP, checked."""
    sizes = _checks.positive_ints("sizes", sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must name the inputs and the outputs at least, got {sizes}")
    return sizes


class ConvNet(nn.Module):
    """Modules of 3 x 3 convolution, ReLU and 2 x 2 max-pooling, then one dense layer.

    features: number of filters of each module.
    num_classes: number of logits.
    pool_padding, normalize, as_product: see `convnet`.
    """

    features: Sequence[int]
    num_classes: int
    pool_padding: str
    normalize: bool
    as_product: bool | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Read here, since making a network should not start a backend.
        as_product = jax.default_backend() != "tpu" if self.as_product is None else self.as_product
        conv = _convolution.as_product if as_product else None
        for size in self.features:
            x = nn.Conv(size, (3, 3), kernel_init=HE_UNIFORM, conv_general_dilated=conv)(x)
            if self.normalize:
                # The fast variance takes a maximum, whose gradient may be lost.
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
    """The paper's network for Omniglot: four convolutional modules and a softmax layer.

    Inputs are images of `side * side` pixels in any shape. Unsigned 8-bit images are scaled to [0,
    1]. The task id is not read. Filters are He-uniform. The softmax layer and all biases are zero,
    so the initial logits of all classes are equal.

    Args:
      num_classes: C, number of logits.
      features: number of filters of each module. Each module halves the image.
      side: height and width of the image in pixels.
      pool_padding: "VALID" halves 7 pixels to 3, "SAME" halves them to 4, as in flax. With four
        modules, 28 x 28 pixels become 1 x 1 or 2 x 2. The paper does not say which.
      normalize: whether to normalize the output of each filter over the image, then scale and shift
        it. This is batch normalization for a batch of one, as in the modules of Vinyals et al.
        (2016).
      as_product: whether convolutions are written as matrix products. None selects the faster form
        for the default backend. On single images, products are many times faster on a CPU and
        several times on a GPU, most of all for a `vmap` over networks.
    Raises:
      ValueError: If a size is not a whole number of at least 1, if `pool_padding` is unknown, or if
        too little of the image is left for the last module.
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
            f"side must be at least {2**num_modules} for {num_modules} modules, each of which "
            f"halves the image, got {side}; use fewer modules"
        )
    if normalize and side <= 2 ** (num_modules - 1):
        raise ValueError(
            f"side must be above {2 ** (num_modules - 1)} for {num_modules} modules, so that the "
            f"last one normalizes several pixels, got {side}; use fewer modules"
        )


def _initialized(module: nn.Module, key: jax.Array, *shape: int) -> Params:
    """The parameters for inputs of a shape. A pass would compile each operation."""
    _checks.random_key("init(key)", key)
    return cast(Params, module.lazy_init(key, jax.ShapeDtypeStruct(shape, jnp.float32))["params"])


def independent(sizes: Sequence[int], num_tasks: int) -> Model:
    """A small MLP for each of N tasks, for the learner `mer_jax.independent`.

    The hidden layers of `sizes` are divided by `num_tasks`. The parameters are `TaskParams`.
    `apply` takes those of all tasks. `loss` takes the network of one task (see
    `task_params.of_task`).

    Args:
      sizes: see `mlp`.
      num_tasks: N.
    Raises:
      ValueError: As `mlp`, or if a hidden layer has fewer units than there are tasks.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    first, *hidden, last = _sizes(sizes)
    if hidden and min(hidden) < num_tasks:
        raise ValueError(
            f"each hidden layer must have at least {num_tasks} units, one for each task, got "
            f"{min(hidden)}"
        )
    return by_task(mlp([first, *(size // num_tasks for size in hidden), last]), num_tasks)


def task_input(sizes: Sequence[int], num_tasks: int) -> Model:
    """An MLP with an input layer for each of N tasks, for the learner `mer_jax.task_input`.

    All tasks share the other layers. The parameters are `TaskParams`.

    Args:
      sizes, num_tasks: see `independent`. Here the hidden layers keep their full size.
    """
    return by_task(mlp(sizes), num_tasks, [FIRST])


def by_task(single: Model, num_tasks: int, own: Sequence[str] | None = None) -> Model:
    """A network of which each of `num_tasks` tasks has its own copy of some layers.

    Args:
      single: a network whose parameters are a dictionary of layers.
      num_tasks: N.
      own: names of the layers of which each task has a copy. None for all of them.
    Raises:
      ValueError: If `num_tasks` is not a whole number of at least 1. In `init`, if a layer is
        unknown.
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
        _checks.random_key("init(key)", key)
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
    """One example's inputs as a vector `[d]`. Unsigned 8-bit pixels become float32 in [0, 1]."""
    x = jnp.ravel(x)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The negative log-likelihood of `label` under the softmax of `logits` [C].

    A label outside `[0, C)` gives NaN, since a compiled program cannot raise.
    """
    is_label = jnp.arange(logits.shape[-1], dtype=jnp.int32) == label
    loss = jax.nn.logsumexp(logits) - jnp.sum(jnp.where(is_label, logits, 0))
    return jnp.where(is_label.any(), loss, jnp.nan)
