"""Short descriptions of values, for error messages."""

from typing import Any

import jax
import numpy as np

LONGEST = 100
"""Characters of a description."""


def described(value: Any, longest: int = LONGEST) -> str:
    """One line with the shapes and dtypes of a pytree, or the name of another value.

    >>> import numpy as np
    >>> from mer_jax._described import described
    >>> described({"x": np.zeros((2, 3), np.float32)}), described(np.zeros)
    ("{'x': float32[2, 3]}", 'the function zeros')

    Args:
      value: any value.
      longest: number of characters from which on a pytree is described by its type.
    """
    text = _text(value)
    if len(text) <= longest:
        return text
    return f"{type(value).__name__} of {len(jax.tree.leaves(value))} leaves"


def came(value: Any) -> str:
    """A number or a short string as Python writes it, another value as `described`."""
    is_array = isinstance(value, np.generic | np.ndarray | jax.Array)
    is_one = is_array and value.ndim == 0 and not isinstance(value, jax.core.Tracer)
    text = repr(value) if is_one else described(value)
    return text if len(text) <= LONGEST and "\n" not in text else described(value)


def first_line(error: Exception) -> str:
    """The type and the first line of an error, without the address of a page about it."""
    line = next(iter(str(error).strip().splitlines()), "").partition(" (https://")[0].rstrip(".:")
    return f"{type(error).__name__}: {line:.200}" if line else type(error).__name__


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | complex):
        return repr(value)
    if isinstance(value, str | bytes):
        return repr(value[:30])
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    name = type(value).__name__
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        if any(map(callable, value)):
            return _one(name)
        fields = zip(value._fields, value, strict=True)
        return f"{name}({', '.join(f'{field}={_text(part)}' for field, part in fields)})"
    if isinstance(value, dict | list | tuple) and len(value) > LONGEST:
        return f"{name} of {len(value)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r:.30}: {_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return _one(name)


def _one(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
