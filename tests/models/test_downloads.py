import hashlib
import io
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from checkpoint_files import write_checkpoint
from file_server import FileServer, serve

from captum_xdnn.models import downloads, x_cnn_small
from captum_xdnn.models.checkpoints import downloaded_state_dict

NAME = "xnet_model_best.pth.tar"


@pytest.fixture
def content() -> bytes:
    file = io.BytesIO()
    model = x_cnn_small(weights="FASHION_MNIST")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, file)
    return file.getvalue()


@pytest.fixture
def server(content: bytes) -> Iterator[FileServer]:
    with serve() as server:
        server.files[NAME] = content
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "hub" / "checkpoints"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_download_and_then_none(
    server: FileServer, folder: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = x_cnn_small(weights="FASHION_MNIST").state_dict()
    for _ in range(2):
        torch.testing.assert_close(downloaded_state_dict(server.url(NAME)), expected)
    assert server.requests == [NAME]
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == content
    said = capfd.readouterr()
    assert said.out == ""
    assert f"Downloading {server.url(NAME)} to {folder / NAME}" in said.err
    assert "100%" in said.err


def test_no_progress(server: FileServer, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    downloaded_state_dict(server.url(NAME), progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_program_without_a_console(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert downloaded_state_dict(server.url(NAME))


def test_a_file_that_was_put_there_by_hand(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    model = x_cnn_small()
    write_checkpoint(folder / NAME, model, "features.module")
    torch.testing.assert_close(downloaded_state_dict(server.url(NAME)), model.state_dict())
    assert server.requests == []


def test_a_damaged_file_that_was_put_there(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"half")
    with pytest.raises(
        RuntimeError, match=r"cannot be read.* Delete the file to download it again"
    ):
        downloaded_state_dict(server.url(NAME))
    assert server.requests == []


@pytest.mark.parametrize("says_how_long", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_connection_that_breaks_off(
    server: FileServer, folder: Path, share: float, says_how_long: bool
) -> None:
    server.share = share
    server.length = "number" if says_how_long else None
    with pytest.raises((RuntimeError, ConnectionError)) as caught:
        downloaded_state_dict(server.url(NAME), progress=False)
    assert server.url(NAME) in str(caught.value)
    assert str(folder / NAME) in str(caught.value)
    assert list(folder.iterdir()) == []

    server.share = 1.0
    assert downloaded_state_dict(server.url(NAME), progress=False)
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "version",
    [
        {"ETag": '"first"'},
        {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"ETag": 'W/"first"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_what_came_before_the_break_is_kept_and_continued(
    server: FileServer, folder: Path, content: bytes, version: dict[str, str]
) -> None:
    server.share, server.version = 0.5, version
    half = len(content) // 2
    with pytest.raises(
        ConnectionError, match=f"broke off after {half:,} of {len(content):,} bytes"
    ) as caught:
        downloaded_state_dict(server.url(NAME), progress=False)
    assert f"{half:,} bytes were kept. Try again" in str(caught.value)
    assert not (folder / NAME).exists()

    server.share = 1.0
    assert downloaded_state_dict(server.url(NAME), sha256=_sha256(content), progress=False)
    assert server.ranges_asked == [None, f"bytes={half}-"]
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == content


def test_a_server_that_gives_less_than_the_rest(
    server: FileServer, folder: Path, content: bytes
) -> None:
    server.version, server.most = {"ETag": '"first"'}, len(content) // 4
    for share in (0.5, 1.0, 1.0):
        server.share = share
        with pytest.raises(ConnectionError, match=f"broke off .* of {len(content):,} bytes"):
            downloaded_state_dict(server.url(NAME), progress=False)
    assert downloaded_state_dict(server.url(NAME), progress=False)
    assert (folder / NAME).read_bytes() == content


@pytest.mark.parametrize("change", ["version", "ranges", "address", "shorter", "damaged note"])
def test_a_part_that_cannot_be_continued_is_fetched_anew(
    server: FileServer, folder: Path, content: bytes, change: str
) -> None:
    server.share, server.version = 0.5, {"ETag": '"first"'}
    server.files[NAME] = bytes(len(content) + 10)
    with pytest.raises(ConnectionError, match="broke off"):
        downloaded_state_dict(server.url(NAME), progress=False)
    server.share, server.files[NAME] = 1.0, content
    url = server.url(NAME)
    if change == "version":
        server.version = {"ETag": '"second"'}
    elif change == "ranges":
        server.ranges = False
    elif change == "address":
        url, server.files[f"other/{NAME}"] = server.url(f"other/{NAME}"), content
    elif change == "shorter":  # although it is called the same version
        (folder / f"{NAME}.part").write_bytes(bytes(len(content)))
    else:
        (folder / f"{NAME}.part.from").write_bytes(b"\xff")
    assert downloaded_state_dict(url, progress=False)
    assert (folder / NAME).read_bytes() == content
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_part_is_not_continued_with_another_version(
    server: FileServer, folder: Path, content: bytes
) -> None:
    server.share, server.version = 0.5, {"ETag": '"first"'}
    with pytest.raises(ConnectionError, match="broke off"):
        downloaded_state_dict(server.url(NAME), progress=False)
    server.knows_if_range = False
    server.share, server.version = 1.0, {"ETag": '"second"'}
    assert downloaded_state_dict(server.url(NAME), sha256=_sha256(content), progress=False)
    assert server.ranges_asked == [None, f"bytes={len(content) // 2}-", None]


def test_a_part_with_a_wrong_hash_is_deleted(
    server: FileServer, folder: Path, content: bytes
) -> None:
    server.share, server.version = 0.5, {"ETag": '"first"'}
    sha256 = _sha256(content)
    with pytest.raises(ConnectionError, match="bytes were kept"):
        downloaded_state_dict(server.url(NAME), sha256=sha256, progress=False)
    part = folder / f"{NAME}.part"
    part.write_bytes(bytes(part.stat().st_size))
    server.share = 1.0
    with pytest.raises(RuntimeError, match=r"invalid hash value .* Nothing was kept"):
        downloaded_state_dict(server.url(NAME), sha256=sha256, progress=False)
    assert list(folder.iterdir()) == []
    assert downloaded_state_dict(server.url(NAME), sha256=sha256, progress=False)


@pytest.mark.parametrize("length", ["many", "-1", "", "number, number"])
def test_a_length_that_is_no_number(server: FileServer, folder: Path, length: str) -> None:
    server.length = length
    assert downloaded_state_dict(server.url(NAME), progress=False)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_server_that_stalls(
    server: FileServer, folder: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SECONDS_WITHOUT_A_BYTE", 0.2)
    server.share, server.stalls, server.version = share, True, {"ETag": '"first"'}
    with pytest.raises(ConnectionError, match="timed out") as caught:
        downloaded_state_dict(server.url(NAME), progress=False)
    assert ("bytes were kept" in str(caught.value)) is (share > 0)
    server.share, server.stalls = 1.0, False
    assert downloaded_state_dict(server.url(NAME), progress=False)
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_two_at_once_fetch_it_once(server: FileServer, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        url = server.url(NAME)
        states = list(pool.map(lambda _: downloaded_state_dict(url, progress=False), range(4)))
    assert server.requests == [NAME]
    assert [path.name for path in folder.iterdir()] == [NAME]
    torch.testing.assert_close(states[0], states[3])


def test_without_locks_nothing_is_kept(
    server: FileServer, folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_locked", lambda part: None)
    server.share, server.version = 0.5, {"ETag": '"first"'}
    with pytest.raises(ConnectionError, match="Nothing was kept"):
        downloaded_state_dict(server.url(NAME), progress=False)
    assert list(folder.iterdir()) == []
    server.share = 1.0
    assert downloaded_state_dict(server.url(NAME), progress=False)
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("sha256", ["", "0" * 8, "0" * 65, "g" * 64])
def test_a_hash_that_is_no_whole_one(server: FileServer, folder: Path, sha256: str) -> None:
    with pytest.raises(ValueError, match="whole digest, 64 hexadecimal digits"):
        downloaded_state_dict(server.url(NAME), sha256=sha256)
    assert server.requests == []


def test_a_page_instead_of_the_file(server: FileServer, folder: Path) -> None:
    server.files[NAME] = b"<html>Log in to the network</html>"
    with pytest.raises(RuntimeError, match=r"is incomplete or no checkpoint\. Nothing was kept"):
        downloaded_state_dict(server.url(NAME), progress=False)
    assert list(folder.iterdir()) == []


def test_the_right_hash(server: FileServer, folder: Path, content: bytes) -> None:
    sha256 = _sha256(content).upper()
    assert downloaded_state_dict(server.url(NAME), sha256=sha256, progress=False)


def test_a_wrong_hash(server: FileServer, folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"is not the file expected: invalid hash") as caught:
        downloaded_state_dict(server.url(NAME), sha256=64 * "0", progress=False)
    assert str(folder / NAME) in str(caught.value)
    assert list(folder.iterdir()) == []


def test_not_found(server: FileServer, folder: Path) -> None:
    with pytest.raises(ConnectionError, match="HTTP Error 404: Not Found") as caught:
        downloaded_state_dict(server.url("gone.pth.tar"), progress=False)
    assert server.url("gone.pth.tar") in str(caught.value)
    assert str(folder / "gone.pth.tar") in str(caught.value)
    assert list(folder.iterdir()) == []


def test_no_network(folder: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
        with pytest.raises(ConnectionError, match="could not be downloaded") as caught:
            downloaded_state_dict(url, progress=False)
    assert url in str(caught.value)
    assert f"put the file at {folder / NAME}" in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(server: FileServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        downloaded_state_dict(server.url(NAME), progress=False)
