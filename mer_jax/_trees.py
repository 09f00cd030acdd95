"""Checks of pytrees: their structure, shapes, dtypes and leading axes."""

from typing import Any

import jax

from mer_jax._described import came, described


def shapes(tree: Any, what: str = "examples") -> Any:
    """The shapes and dtypes that JAX gives a pytree. Raises `ValueError` for other leaves."""
    try:
        return jax.eval_shape(lambda x: x, tree)
    except TypeError as error:
        others = [f"{came(x)} at {path}" for path, x in _leaves(tree).items() if not _is_array(x)]
        raise ValueError(
            f"{what} must be arrays, got {', '.join(others[:3])}; convert them to numbers"
        ) from error


def _is_array(leaf: Any) -> bool:
    """Whether JAX takes a leaf as an array."""
    try:
        jax.eval_shape(lambda x: x, leaf)
    except TypeError:
        return False
    return True


def same_shapes(what: str, expected: Any, got: Any, advice: str) -> None:
    """Raises `ValueError` unless two pytrees agree in structure, shapes and dtypes.

    Args:
      what: the requirement, with which the message begins.
      expected, got: pytrees of arrays or of `jax.ShapeDtypeStruct`.
      advice: what to do, with which the message ends.
    """
    if other := different_structure(expected, got) or _different_leaf(expected, got):
        raise ValueError(f"{what}: {other}; {advice}")


def different_structure(expected: Any, got: Any) -> str | None:
    """The difference in structure of two pytrees. None if there is none."""
    structure: Any = jax.tree.structure(expected)
    if structure == jax.tree.structure(got):
        return None
    wanted, those = _leaves(expected), _leaves(got)
    if type(expected) is type(got) and set(wanted) != set(those):
        missing = [path for path in wanted if path not in those]
        more = [path for path in those if path not in wanted]
        named = " and ".join(
            [f"an array at {path}" for path in missing[:3]]
            + [f"no array at {path}" for path in more[:3]]
        )
        return f"expected {named}, got {described(got)}"
    texts = described(expected), described(got)
    if texts[0] == texts[1]:  # Two types of one name.
        texts = (
            f"{type(expected).__module__}.{texts[0]}",
            f"{type(got).__module__}.{texts[1]}",
        )
    return f"expected {texts[0]}, got {texts[1]}"


def _different_leaf(expected: Any, got: Any) -> str | None:
    """The first leaf whose shape or dtype differs. None if there is none."""
    those = _leaves(got)
    for path, leaf in _leaves(expected).items():
        if (leaf.shape, leaf.dtype) != (those[path].shape, those[path].dtype):
            return f"expected {described(leaf)} at {path}, got {described(those[path])}"
    return None


def _leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path) or "itself": leaf for path, leaf in leaves}


def row(rows: Any) -> Any:
    """Shapes and dtypes of one row of a pytree of `[n, ...]`."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)


def like_row(what: str, row: Any, example: Any) -> None:
    """Raises `ValueError` unless an example is like a stored row.

    Args:
      what: the requirement, with which the message begins.
      row: a row, as `jax.ShapeDtypeStruct`.
      example: pytree of arrays.
    """
    example = shapes(example)
    if _of_rows(row, example):
        advice = "init takes one example, without the axis of a stream"
    elif _of_rows(example, row):
        advice = "use mer_jax.run for a stream, or a reservoir's add_batch for a batch"
    else:
        advice = "convert it, or give init an example like those of the stream"
    same_shapes(what, row, example, advice)


def _of_rows(many: Any, one: Any) -> bool:
    """Whether each leaf of `many` has a leading axis more than in `one`."""
    many, one = ([leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (many, one))
    return all(shape for shape in many) and [shape[1:] for shape in many] == one


def leading_axis(what: str, letter: str, tree: Any) -> int:
    """The length of the leading axis that all leaves of a pytree share.

    Args:
      what: name of the tree in the message.
      letter: name of the length in the message.
      tree: pytree of arrays.
    """
    found = {
        leaf.shape[:1]: f"{described(leaf)} at {path}"
        for path, leaf in _leaves(shapes(tree)).items()
    }
    if len(found) != 1 or () in found:
        raise ValueError(
            f"every leaf of {what} must be [{letter}, ...], with the same {letter}, got "
            f"{' and '.join(list(found.values())[:3]) or 'no arrays'}; one example is a "
            f"{what.removeprefix('the ')} with {letter} = 1, and jnp.full({letter}, value) repeats "
            "a number"
        )
    ((length,),) = found
    return int(length)
