"""Downloads through tensorflow-datasets, with their checksums verified."""

from typing import Any

from mer_jax.data._errors import USE_FILES, DataError, imported, one_line


def download(name: str, builder: Any, folder: Any) -> None:
    """Downloads the files of a data set and verifies their checksums.

    Args:
      name: name of the data set, for messages.
      builder: the data set's builder in tensorflow-datasets, which knows addresses and checksums.
      folder: the folder into which the files go, under their own names.
    """
    requests, tfds = imported("requests"), imported("tensorflow_datasets")
    try:
        # A quick request: without a network, the download retries for three and a half minutes.
        requests.head(next(iter(builder.url_infos)), timeout=10)
        manager = tfds.download.DownloadManager(
            download_dir=folder.parent,
            url_infos=builder.url_infos,
            dataset_name=name,
            force_checksums_validation=True,
        )
        for url, path in manager.download({url: url for url in builder.url_infos}).items():
            path.copy(folder / url.rsplit("/", 1)[1], overwrite=True)
    except Exception as error:  # From the network, the checksums or the disk.
        raise DataError(f"{name}: the download failed, {one_line(error)}; {USE_FILES}") from error
