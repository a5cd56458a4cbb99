"""Checkpoints from the net, kept in the folder where torch.hub keeps them."""

from __future__ import annotations

import http.client
import ssl
import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from captum_xdnn.models.checkpoints import read_checkpoint

__all__ = ["downloaded_state_dict"]


def downloaded_state_dict(
    url: str, *, sha256: str | None = None, progress: bool = True
) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, downloading the file if it is not there.

    The file is ``checkpoints/NAME`` in ``torch.hub.get_dir()``, with the name of the URL, where a
    file that was fetched by other means is found too. It gets this name only when it is complete.

    Args:
        url: Address of the checkpoint.
        sha256: SHA-256 of the file in hexadecimal digits, or None if it is not known; a file
            already there is not compared.
        progress: Whether the download shows its address and a bar, on standard error.

    Returns:
        Parameters by name, without the component ``module``, on the CPU.

    Raises:
        ConnectionError: If the file cannot be downloaded.
        RuntimeError: If what came is incomplete, has another SHA-256 or is no checkpoint, or if
            the file already there is none.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / PurePosixPath(urlparse(url).path).name
    if path.exists():
        try:
            return read_checkpoint(path)[0]
        except RuntimeError as error:
            raise RuntimeError(f"{error} Delete the file to download it again.") from error
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = f"Nothing was kept. Try again, or put the file at {path} by other means."
    with TemporaryDirectory(prefix=f"{path.name}.", dir=folder) as scratch:
        part = Path(scratch) / path.name
        if progress:
            sys.stderr.write(f"Downloading {url} to {path}\n")
        try:
            torch.hub.download_url_to_file(url, str(part), hash_prefix=sha256, progress=progress)
        except (
            URLError,
            ConnectionError,
            TimeoutError,
            ssl.SSLError,
            http.client.HTTPException,
        ) as error:
            if isinstance(error, HTTPError):
                error.close()  # it is the answer of the server too, with an open connection
            raise ConnectionError(
                f"{url} could not be downloaded to {path}: {error}. {by_hand}"
            ) from error
        except RuntimeError as error:
            raise RuntimeError(f"{url} is not the file expected: {error}. {by_hand}") from error
        # A connection that breaks off looks like the end of the file to torch.hub. Where no hash
        # is known, only reading the file tells that it is complete.
        try:
            state, _ = read_checkpoint(part)
        except RuntimeError as error:
            raise RuntimeError(
                f"what {url} sent is incomplete or no checkpoint. {by_hand}"
            ) from error
        part.replace(path)
    return state
