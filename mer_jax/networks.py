"""The paper's networks, as Flax modules."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._flax_modules import MLP, ConvNet, check_side, initialized
from mer_jax.losses import DenseFirstLoss, InTurnOnCPU
from mer_jax.task_params import TaskParams, of_task
from mer_jax.types import Example, LossFn, Params

FIRST = "layers_0"


class Model(NamedTuple):
    """A network as pure functions.

    init: `init(key) -> params`.
    apply: `apply(params, x, task) -> logits [C]`, on one example. Most networks do not read `task`,
      the task id.
    loss: `loss(params, example) -> []`, the cross-entropy on one `Example`. A `Model` of your own
      may have any loss. The networks of this module that begin with a dense layer have a
      `DenseFirstLoss`, and the convolutional ones an `InTurnOnCPU`. Learners compute both faster.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, Any], jax.Array]
    loss: LossFn


def mlp(sizes: Sequence[int], judge: Callable[[jax.Array, Any], jax.Array] | None = None) -> Model:
    """Fully connected network of the paper.

    ReLU follows each layer but the last. Inputs of any shape are flattened, and unsigned 8-bit
    images are scaled to [0, 1]. The task id is not read. Weights are Xavier-uniform, and biases are
    zero. The loss is a `DenseFirstLoss`, with which learners are faster.

    Args:
      sizes: features of the input and of each layer's output, `(784, 100, 100, 10)` for MNIST.
      judge: `judge(outputs [C], example) -> []`, the loss. None is the cross-entropy with
        `example.y`. The input is always `example.x`.
    Returns:
      A `Model`. `apply(params, x, task=None)` gives the outputs `[C]`.
    Raises:
      ValueError: If `sizes` has fewer than two entries. If one is not a whole number of at least 1.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import networks
      >>> model = networks.mlp((784, 100, 10))
      >>> params = model.init(jax.random.key(0))
      >>> print(model.apply(params, jnp.zeros((28, 28), jnp.uint8)).shape)
      (10,)

    References:
      Riemer et al. (2019).
    """
    sizes = _sizes(sizes)
    module = MLP(sizes)

    def init(key: jax.Array) -> Params:
        return initialized(module, key, sizes[0])

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


def convnet(
    num_classes: int,
    features: Sequence[int] = (64, 64, 64, 64),
    side: int = 28,
    *,
    pool_padding: str = "VALID",
    normalize: bool = False,
    as_product: bool | None = None,
) -> Model:
    """Convolutional network of the paper for Omniglot.

    Each module is a 3 x 3 convolution, ReLU and 2 x 2 max-pooling. A dense layer gives the logits.
    Inputs are images of `side * side` pixels in any shape. Unsigned 8-bit images are scaled to
    [0, 1]. Filters are He-uniform. The dense layer and all biases start at zero.

    Args:
      num_classes: C, number of logits.
      features: number of filters of each module. Its pooling halves the image.
      side: height and width of the image in pixels.
      pool_padding: as in flax. "VALID" pools 7 pixels to 3, and "SAME" pools 7 to 4. The paper does
        not say which it uses.
      normalize: whether to normalize the output of each filter over the image, then scale and shift
        it. This is batch normalization for a batch of one, as in the modules of Vinyals et al.
        (2016).
      as_product: whether convolutions are written as matrix products. On a CPU or a GPU these are
        several times faster for single images. None writes them so, except on a TPU.
    Returns:
      A `Model`. `apply(params, x, task=None)` gives the logits `[C]`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `pool_padding` is unknown. If
        too few pixels are left for the last module.
    Example:
      >>> import jax
      >>> from mer_jax import networks
      >>> model = networks.convnet(num_classes=5, features=(4, 4), side=8)
      >>> params = model.init(jax.random.key(0))
      >>> print(model.apply(params, jax.numpy.ones((8, 8))))
      [0. 0. 0. 0. 0.]

    References:
      Riemer et al. (2019). Vinyals et al. (2016), "Matching Networks for One Shot Learning".
    """
    num_classes = _checks.positive_int("num_classes", num_classes)
    features = _checks.positive_ints("features", features)
    side = _checks.positive_int("side", side)
    check_side(side, len(features), pool_padding, normalize)
    module = ConvNet(features, num_classes, pool_padding, normalize, as_product)

    def init(key: jax.Array) -> Params:
        return initialized(module, key, 1, side, side, 1)

    def apply(params: Params, x: jax.Array, task: Any = None) -> jax.Array:
        del task  # one network for all tasks
        images = as_features(x).reshape(1, side, side, 1)
        return cast(jax.Array, module.apply({"params": params}, images))[0]

    def loss(params: Params, example: Example) -> jax.Array:
        return cross_entropy(apply(params, example.x), example.y)

    return Model(init, apply, InTurnOnCPU(loss))


def independent(sizes: Sequence[int], num_tasks: int) -> Model:
    """MLP for each of N tasks, for the learner `mer_jax.independent`.

    Each hidden width of `sizes` is divided by `num_tasks` and rounded down. The parameters are
    `TaskParams`.

    Args:
      sizes: features of the input and of each layer's output, before the division.
      num_tasks: N.
    Returns:
      A `Model`. `apply(params, x, task)` takes the parameters of all tasks. `loss(params, example)`
      takes the network of one task, see `task_params.of_task`.
    Raises:
      ValueError: If `sizes` has fewer than two entries. If one is not a whole number of at least 1.
        If a hidden layer has fewer units than there are tasks.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import networks
      >>> model = networks.independent((4, 6, 3), num_tasks=2)
      >>> params = model.init(jax.random.key(0))
      >>> print(params.own["layers_0"]["kernel"].shape, model.apply(params, jnp.ones(4), 1).shape)
      (2, 4, 3) (3,)
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
    """MLP with an input layer for each of N tasks, for the learner `mer_jax.task_input`.

    All tasks share the other layers. The parameters are `TaskParams`.

    Args:
      sizes: features of the input and of each layer's output.
      num_tasks: N.
    Returns:
      A `Model`. `apply(params, x, task)` takes the parameters of all tasks. `loss(params, example)`
      takes the network of one task, see `task_params.of_task`.
    Raises:
      ValueError: If `sizes` has fewer than two entries. If a size is not a whole number of at least
        1.
    Example:
      >>> import jax
      >>> from mer_jax import networks
      >>> params = networks.task_input((4, 6, 3), num_tasks=2).init(jax.random.key(0))
      >>> print(params.own["layers_0"]["kernel"].shape, params.shared["layers_1"]["kernel"].shape)
      (2, 4, 6) (6, 3)
    """
    return by_task(mlp(sizes), num_tasks, [FIRST])


def by_task(single: Model, num_tasks: int, own: Sequence[str] | None = None) -> Model:
    """Gives each of `num_tasks` tasks its own copy of some layers. All tasks share the others.

    Args:
      single: a `Model` whose parameters are a dictionary of layers.
      num_tasks: N.
      own: names of the layers that each task has for itself, by default all layers.
    Returns:
      A `Model` for `mer_jax.independent` or `mer_jax.task_input`. `init` draws each copy anew.
      `apply(params, x, task)` takes the `TaskParams` of all tasks. `loss(params, example)` takes
      those of one task, as these learners call it, see `task_params.of_task`.
    Raises:
      ValueError: If `num_tasks` is no whole number from 1 on. In `init`, if a layer is unknown.
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
    """Flattens the input of one example.

    Unsigned 8-bit values become float32 and are divided by 255. Other dtypes are unchanged.

    Args:
      x: `[...]`, the input.
    Returns:
      `[d]`, with d the number of entries of `x`.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import networks
      >>> print(networks.as_features(jnp.array([[0, 255]], jnp.uint8)))
      [0. 1.]
    """
    x = jnp.ravel(x)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Negative log-likelihood of a label under the softmax of logits.

    Args:
      logits: `[C]`.
      label: `[]`, a whole number in `[0, C)`. Any other label gives NaN.
    Returns:
      The loss, `[]`.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import networks
      >>> print(jnp.exp(-networks.cross_entropy(jnp.zeros(4), 2)))  # the probability of the label
      0.25
    """
    is_label = jnp.arange(logits.shape[-1], dtype=jnp.int32) == label
    loss = jax.nn.logsumexp(logits) - jnp.sum(jnp.where(is_label, logits, 0))
    return jnp.where(is_label.any(), loss, jnp.nan)
