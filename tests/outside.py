"""What tests keep here counts every pass: state that a function names itself is put back where Captum makes no pass."""

from typing import Any

seen: list[Any] = []
now = 0.0
running: list[Any] = []
