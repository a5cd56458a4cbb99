"""Downloads that end: one that stalls is given up, and what came of it is kept and continued."""

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from captum_xdnn._waiting import is_shown

_Content = TypeVar("_Content")

_SECONDS_WITHOUT_A_BYTE = 30.0
_CHUNK = 1 << 17


def download(
    url: str,
    path: Path,
    read: Callable[[Path], _Content],
    *,
    sha256: str | None = None,
    progress: bool = True,
) -> _Content:
    """Fetch a file, and name it ``path`` once ``read`` has made something of it, which is returned.

    Until then it is ``path`` with ``.part`` behind it. A connection that breaks off leaves this
    part, if the server said which version of the file it is of; the next call goes on from there.

    Raises:
        ConnectionError: If the file does not come, or not to its end.
        RuntimeError: If it has another SHA-256, or if ``read`` raises one.
    """
    if is_shown(progress):
        sys.stderr.write(f"Downloading {url} to {path}\n")
    by_hand = f"Try again, or put the file at {path} by other means."
    with _alone(path) as part:
        if path.exists():  # another process has brought it meanwhile
            return read(path)
        try:
            _fetch(url, part, progress)
        except (URLError, ConnectionError, TimeoutError, SSLError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()  # it is the answer of the server too, with an open connection
            kept = part.parent == path.parent and _origin(part) is not None
            size = f"{part.stat().st_size:,} bytes were kept" if kept else "Nothing was kept"
            raise ConnectionError(
                f"{url} could not be downloaded to {path}: {error}. {size}. {by_hand}"
            ) from error
        if sha256 is not None and (found := _sha256(part)) != sha256.lower():
            _discard(part)
            raise RuntimeError(
                f"{url} is not the file expected: invalid hash value (expected "
                f'"{sha256.lower()}", got "{found}"). Nothing was kept. {by_hand}'
            )
        # Where neither length nor hash is known, only reading the file tells that it is complete.
        try:
            content = read(part)
        except RuntimeError as error:
            _discard(part)
            raise RuntimeError(
                f"what {url} sent is incomplete or no checkpoint. Nothing was kept. {by_hand}"
            ) from error
        part.replace(path)
    return content


def _fetch(url: str, part: Path, progress: bool) -> None:
    """Write the file, or append what is missing of it."""
    answer, start, length = _asked(url, part)
    total = int(length) if length.isdecimal() else None
    with answer:
        if not start:
            part.write_bytes(b"")
            said = f"{url}\n{_validator(answer.headers)}\n"
            _origin_file(part).write_text(said, encoding="utf-8")
        bar = {"total": total, "initial": start, "disable": not is_shown(progress)}
        with part.open("ab") as file, tqdm.wrapattr(file, "write", **bar) as counted:
            while chunk := answer.read1(_CHUNK):
                counted.write(chunk)
            come = file.tell()
    if total is not None and come != total:
        raise ConnectionError(f"the connection broke off after {come:,} of {total:,} bytes")


def _asked(url: str, part: Path) -> tuple[Any, int, str]:
    """The answer, the byte of the file at which it begins, and what is said of the whole length.

    It begins at the end of the part, or at 0 where the server has another version of the file.
    """
    origin, validator = _origin(part) or ("", "")
    start = part.stat().st_size if origin == url else 0
    request = Request(url, headers={"User-Agent": "captum-xdnn"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", validator)
    try:
        answer = urlopen(request, timeout=_SECONDS_WITHOUT_A_BYTE)
    except HTTPError as error:
        if not start or error.code != 416:  # no byte of the file comes after the part
            raise
        answer = error
    if not start or answer.status == 200:
        return answer, 0, answer.headers.get("Content-Length", "")
    rest = re.fullmatch(rf"bytes {start}-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and rest and _validator(answer.headers) in ("", validator):
        return answer, start, rest[1]
    answer.close()
    part.write_bytes(b"")
    return _asked(url, part)


def _validator(headers: Message) -> str:
    """What names the version of the file to If-Range, which takes no weak ETag."""
    tag = headers.get("ETag", "W/")
    return headers.get("Last-Modified", "") if tag.startswith("W/") else tag


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """The part of a file, which no other process or thread writes meanwhile: they wait.

    Where the system has no lock that ends with its process, it is a file that nobody else knows.
    """
    part = path.with_name(f"{path.name}.part")
    while (lock := _locked(part)) is not None:
        with lock:
            if _names(part, lock):
                try:
                    yield part
                finally:
                    if _origin(part) is None:  # nothing that can be continued
                        _discard(part)
                return
    with TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as scratch:
        yield Path(scratch) / part.name


def _locked(part: Path) -> BinaryIO | None:
    if sys.platform == "win32":
        return None
    import fcntl  # not on Windows

    file = part.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        file.close()
        return None
    return file


def _names(part: Path, file: BinaryIO) -> bool:
    """Whether the file has this name still: who held the lock before may have renamed it."""
    try:
        return os.path.samestat(part.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _origin_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.from")


def _origin(part: Path) -> tuple[str, str] | None:
    """Address and version of what a part is the beginning of; None if it cannot be continued."""
    try:
        url, validator = _origin_file(part).read_text(encoding="utf-8").splitlines()
        return (url, validator) if validator and part.stat().st_size else None
    except (OSError, ValueError):
        return None


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _origin_file(part).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
