"""What takes long and says nothing itself is told of, and only where a person reads."""

import subprocess
import sys
import threading
import time

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
    ("command", "expected"),
    [
        ("python -m captum_xdnn", True),
        ("/usr/bin/python /usr/local/bin/captum-xdnn", True),
        ("python -m captum_xdnn --version", False),
        ("python -m captum_xdnn certify model:Net", False),
        ("python explain.py", False),
        ("python", False),
    ],
)
def test_only_the_demo_says_so(command: str, expected: bool) -> None:
    assert is_the_demo(command.split()) is expected


def test_an_import_starts_no_thread() -> None:
    code = "import captum_xdnn, threading; print(threading.active_count())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
