"""The data set Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people."""

import io
import logging
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer_jax.data._downloads import download
from mer_jax.data._errors import AGAIN, ELSEWHERE, USE_FILES, imported, one_line, wrong

NUM_ALPHABETS, NUM_CHARACTERS, NUM_DRAWERS = 50, 1623, 20
SIDE = 28
_ARCHIVES = ("images_background.zip", "images_evaluation.zip")
_ORIGINAL = 105


class Omniglot(NamedTuple):
    """All drawings, alphabet by alphabet.

    images: `[n, 28, 28]` uint8, from 0 for paper to 255 for ink.
    labels: `[n]` int32, the character, from 0 to 1,622 over all alphabets.
    alphabets: `[n]` int32, an index into `names`.
    drawers: `[n]` int32, the person who drew it, from 0 to 19.
    names: the names of the alphabets.
    """

    images: np.ndarray
    labels: np.ndarray
    alphabets: np.ndarray
    drawers: np.ndarray
    names: tuple[str, ...]


def load(
    data_dir: str | os.PathLike[str] | None = None,
    on_download: Callable[[str], object] | None = None,
) -> Omniglot:
    """Loads Omniglot, with its drawings of 105 x 105 pixels averaged to 28 x 28.

    Reads `omniglot.npz`, or the authors' two archives, `images_background.zip` and
    `images_evaluation.zip`. They may be in the folder or in its sub-folder `omniglot`. Without a
    folder, tensorflow-datasets downloads the archives once. The same happens if the folder is that
    of MER_JAX_DATA_DIR and has neither the file nor both archives.

    The `.npz` file has the arrays `ink`, `alphabet`, `character`, `drawer` and `alphabet_names`.
    `ink` is `[n, 1379]` uint8. A row is `np.packbits` of 105 x 105 pixels, with 1 for ink.
    `alphabet`, `character` and `drawer` are `[n]` uint8. `alphabet` is an index into
    `alphabet_names`, `[50]` strings. `character` counts from 1 within its alphabet, and `drawer`
    from 1. n is 32,460.

    Args:
      data_dir: the folder. None is the folder in the environment variable MER_JAX_DATA_DIR, if set.
      on_download: called with one line of text before a download. None logs the line as a warning.
    Returns:
      An `Omniglot` with 32,460 drawings.
    Raises:
      DataError: If `data_dir` is given and does not have the data. If the data are damaged or
        incomplete. If Pillow or tensorflow-datasets is needed and missing. If the download fails.
    References:
      Lake et al. (2015), "Human-level concept learning through probabilistic program induction".
    """
    folder = data_dir if data_dir is not None else os.environ.get("MER_JAX_DATA_DIR") or None
    if folder is not None:
        root = Path(folder).expanduser()
        for place in (root / "omniglot", root):
            if (place / "omniglot.npz").is_file():
                return _from_npz(place / "omniglot.npz")
            if all((place / name).is_file() for name in _ARCHIVES):
                return _from_archives(place)
        if data_dir is not None:
            got = "neither" if root.is_dir() else "no such folder"
            files = f"omniglot.npz or {' and '.join(_ARCHIVES)}"
            raise wrong(root, files, got, f"put them there, {ELSEWHERE}")
    tfds = imported("tensorflow_datasets")
    builder = tfds.builder("omniglot")
    target = builder.data_dir_root / "downloads" / "omniglot"
    if not all((target / name).exists() for name in _ARCHIVES):
        (on_download or logging.getLogger(__name__).warning)(
            f"omniglot: about to download 18 MB to {target}; if you have it already, {USE_FILES} "
            "instead"
        )
        download("omniglot", builder, target)
    return _from_archives(Path(target))


def _from_npz(path: Path) -> Omniglot:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
        ink, alphabet, character, drawer, names = (
            found[key] for key in ("ink", "alphabet", "character", "drawer", "alphabet_names")
        )
        rows = {"ink": ink, "alphabet": alphabet, "character": character, "drawer": drawer}
        got = ", ".join(f"{key} {a.dtype} {list(a.shape)}" for key, a in rows.items())
        if any(a.dtype != np.uint8 or a.shape[:1] != ink.shape[:1] for a in rows.values()):
            raise ValueError(f"expected uint8 arrays of as many rows, got {got}")
        if ink.shape[1:] != (-(-(_ORIGINAL**2) // 8),) or names.ndim != 1:
            raise ValueError(f"expected ink [n, 1379] and alphabet_names [50], got {got}")
        drawings = np.unpackbits(ink, axis=1)[:, : _ORIGINAL**2]
        drawings = drawings.reshape(-1, _ORIGINAL, _ORIGINAL)
    except Exception as error:  # From zipfile, zlib or numpy, or a missing array.
        raise wrong(path, "a whole omniglot.npz", one_line(error), AGAIN) from error
    return _checked(path, drawings, alphabet, character, drawer, tuple(map(str, names)))


def _from_archives(folder: Path) -> Omniglot:
    """Reads the drawings `images_*/ALPHABET/characterCC/NNNN_DD.png` of both archives."""
    pil = imported("PIL.Image")
    drawings, places = [], []
    for archive in _ARCHIVES:
        try:
            with zipfile.ZipFile(folder / archive) as file:
                for name in file.namelist():
                    place = re.search(r"([^/]+)/character(\d+)/\d+_(\d+)\.png$", name)
                    if place:
                        image = pil.open(io.BytesIO(file.read(name))).convert("1")
                        if image.size != (_ORIGINAL, _ORIGINAL):
                            raise ValueError(
                                f"expected {_ORIGINAL} x {_ORIGINAL} pixels in {name}, "
                                f"got {image.size[0]} x {image.size[1]}"
                            )
                        drawings.append(~np.asarray(image))  # Ink is black.
                        places.append((place[1], int(place[2]), int(place[3])))
        except Exception as error:  # From zipfile, zlib or Pillow.
            raise wrong(folder / archive, "a whole archive", one_line(error), AGAIN) from error
    names = tuple(sorted({name for name, *_ in places}))
    numbers = [(names.index(name), *rest) for name, *rest in places]
    alphabet, character, drawer = np.array(numbers).reshape(-1, 3).T
    return _checked(folder, np.array(drawings), alphabet, character, drawer, names)


def _checked(
    source: object,
    drawings: np.ndarray,
    alphabet: np.ndarray,
    character: np.ndarray,
    drawer: np.ndarray,
    names: tuple[str, ...],
) -> Omniglot:
    """The data set, counted, sorted, and reduced to 28 x 28 pixels."""
    order = np.lexsort((drawer, character, alphabet))
    keys = np.stack([alphabet, character], axis=1)[order].astype(np.int32)
    characters, labels = np.unique(keys, axis=0, return_inverse=True)
    who = drawer[order].astype(np.int32) - 1
    once = np.unique(labels.reshape(-1).astype(np.int64) * NUM_DRAWERS + who)
    counted = (len(names), len(characters), len(order), len(once))
    wanted = NUM_CHARACTERS * NUM_DRAWERS
    out_of_range = who.min(initial=0) < 0 or keys[:, 0].max(initial=0) >= len(names)
    if counted != (NUM_ALPHABETS, NUM_CHARACTERS, wanted, wanted) or out_of_range:
        raise wrong(
            source,
            f"{NUM_ALPHABETS} alphabets, {NUM_CHARACTERS} characters, {wanted} drawings, all "
            f"characters by the same {NUM_DRAWERS} drawers",
            f"{counted[0]} alphabets, {counted[1]} characters, {counted[2]} drawings",
            AGAIN,
        )
    return Omniglot(
        _reduced(drawings[order]), labels.reshape(-1).astype(np.int32), keys[:, 0], who, names
    )


def _reduced(drawings: np.ndarray) -> np.ndarray:
    """The share of ink in each of 28 x 28 equal patches, as `[n, 28, 28]` uint8 from 0 to 255."""
    edges, pixels = np.linspace(0, _ORIGINAL, SIDE + 1), np.arange(_ORIGINAL)
    overlap = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    share = np.clip(overlap, 0, None).astype(np.float32) * (SIDE / _ORIGINAL)  # [28, 105]
    small = np.empty((len(drawings), SIDE, SIDE), np.uint8)
    for start in range(0, len(drawings), 1000):  # all at once would take a gigabyte
        part = slice(start, start + 1000)
        small[part] = np.rint(255 * (share @ drawings[part].astype(np.float32) @ share.T))
    return small
