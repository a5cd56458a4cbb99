"""What takes long and says nothing itself is told of, and only where a person reads."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from captum_xdnn._waiting import is_the_demo, waiting


def test_a_line_now_and_then_until_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with waiting("a long sum", every=0.05):
        time.sleep(0.3)
    assert threading.active_count() == before
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert set(lines) == {"a long sum: 0 s ..."}
    time.sleep(0.1)
    assert not capsys.readouterr().out


def test_nothing_of_what_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("a short sum"):
        pass
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "command", "expected"),
    [
        ("-m", "python -m captum_xdnn", True),
        ("-m", "python -u -m captum_xdnn", True),
        ("-m --steps 10", "python -m captum_xdnn --steps 10", True),
        ("-m demo", "python -m captum_xdnn demo", True),
        ("/usr/local/bin/captum-xdnn", "/usr/bin/python /usr/local/bin/captum-xdnn", True),
        ("bin/captum-xdnn --out a", "/usr/bin/python bin/captum-xdnn --out a", True),
        ("-m --version", "python -m captum_xdnn --version", False),
        ("-m demo --help", "python -m captum_xdnn demo --help", False),
        ("-m certify model:Net", "python -m captum_xdnn certify model:Net", False),
        ("-m captum_xdnn", "python -m pytest captum_xdnn", False),
        ("-m -m captum_xdnn", "python -m pytest -m captum_xdnn", False),
        ("explain.py", "python explain.py", False),
        ("explain.py captum-xdnn", "python explain.py captum-xdnn", False),
        ("pytest -m captum_xdnn", "python bin/pytest -m captum_xdnn", False),
        ("pytest ../captum-xdnn/", "python bin/pytest ../captum-xdnn/", False),
        ("explain.py captum-xdnn.json", "python explain.py captum-xdnn.json", False),
        ("-c", "python -c pass", False),
        ("", "python", False),
        ("", "", False),
    ],
)
def test_only_the_demo_says_so(arguments: str, command: str, expected: bool) -> None:
    assert is_the_demo(arguments.split(), command.split()) is expected


def test_who_does_not_read_any_more_gets_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        if stream is not None:
            stream.close()
        with waiting("a long sum", every=0.01):
            time.sleep(0.05)
    assert not failed


@pytest.mark.parametrize("arguments", ["captum-xdnn", "-m captum_xdnn", "captum-xdnn.json"])
def test_a_program_of_ones_own_starts_no_thread(arguments: str, tmp_path: Path) -> None:
    program = tmp_path / "explain.py"
    program.write_text("import captum_xdnn, threading; print(threading.active_count())")
    command = [sys.executable, str(program), *arguments.split()]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"


def test_an_interpreter_without_a_command_line() -> None:
    """A program that embeds Python."""
    code = "import sys; del sys.argv; sys.orig_argv = []; import captum_xdnn._waiting"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_import_starts_no_thread() -> None:
    code = "import captum_xdnn, threading; print(threading.active_count())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
