"""Rows whose loading takes a moment and says which process loads, and what Ray gave to it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
from small_data import Rows, network
from torch import Tensor, nn


class Noted(Rows):
    def __init__(self, count: int, folder: Path, seconds: float, replaced: Any = None) -> None:
        super().__init__(count, replaced)
        self.folder, self.seconds, self.maker = str(folder), seconds, os.getpid()

    def __getitem__(self, index: int) -> Any:
        if os.getpid() != self.maker:  # in an actor
            self.note()
            time.sleep(self.seconds)
        return super().__getitem__(index)

    def note(self) -> None:
        given = ray.get_runtime_context().get_assigned_resources()
        (Path(self.folder) / str(os.getpid())).write_text(f"{given['CPU']:g}")

    def processes(self) -> list[int]:
        return [int(path.name) for path in Path(self.folder).iterdir()]


class SlowToMove(nn.Module):
    """A network that an actor takes a moment to move to its device, which it does in its making."""

    def __init__(self, notes: Noted) -> None:
        super().__init__()
        self.net, self.notes = network(), notes

    def to(self, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self.notes.maker:
            self.notes.note()
            time.sleep(2)
        return super().to(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
