"""The files of MNIST: four IDX files, or one .npz of Keras."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from mer_jax.data._errors import AGAIN, one_line, wrong

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_MAGIC = {  # by file name, in the order of NPZ_KEYS: 0x08 for uint8, then the number of axes
    "train-images-idx3-ubyte": 0x0803,
    "train-labels-idx1-ubyte": 0x0801,
    "t10k-images-idx3-ubyte": 0x0803,
    "t10k-labels-idx1-ubyte": 0x0801,
}


def read_npz(path: Path) -> list[tuple[str, np.ndarray]]:
    """Reads the arrays x_train, y_train, x_test and y_test of a file of Keras.

    Returns:
      A list in this order. Each entry has the file and the name, as a text for errors, and the
      array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = list(arrays)
            parts = [(f"{path}, {k}", np.asarray(arrays[k])) for k in NPZ_KEYS if k in found]
    except Exception as error:  # From zipfile, zlib or numpy, or a missing archive.
        raise wrong(path, "a whole .npz file of arrays", one_line(error), AGAIN) from error
    if len(parts) < len(NPZ_KEYS):
        raise wrong(
            path, f"the arrays {', '.join(NPZ_KEYS)}", ", ".join(found) or "none", "rename them"
        )
    return parts


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Reads an array of uint8 from an IDX file, plain or compressed by gzip.

    The file has a magic number, the length of each axis (both big-endian uint32), and the elements.

    Args:
      path: the file.
      magic: the magic number that it must have. Its last byte is the number of axes.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":  # The magic number of gzip.
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise wrong(path, "a whole file", one_line(error), AGAIN) from error
    num_axes = magic & 0xFF
    start = 4 + 4 * num_axes
    if data[:4] != magic.to_bytes(4, "big"):
        expected = f"an IDX file of uint8 with axes: {num_axes}, which begins {magic:08x}"
        raise wrong(path, expected, data[:4].hex() or "an empty file", AGAIN)
    if len(data) < start:
        raise wrong(path, f"a header of {start} bytes", f"{len(data)} bytes in all", AGAIN)
    shape = np.frombuffer(data, ">u4", num_axes, offset=4).tolist()
    size = start + math.prod(shape)
    if len(data) != size:
        raise wrong(path, f"{size} bytes, as its header has {shape}", f"{len(data)}", AGAIN)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
