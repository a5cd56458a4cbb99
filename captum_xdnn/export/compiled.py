"""Programs as machine code: ahead of time, in a file (AOTInductor), and by ``torch.compile``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from captum_xdnn._torch import ahead_of_time
from captum_xdnn.errors import XDNNError, first_line
from captum_xdnn.export.metadata import KEY, NOT_OURS, Facts

logger = logging.getLogger("captum_xdnn")

Backend = Callable[..., Sequence[Tensor]]


def save_compiled(program: ExportedProgram, facts: Facts, path: Path) -> None:
    """Compile a program for this machine, and write it."""
    compile_and_package, _ = ahead_of_time()
    settings = {"aot_inductor.metadata": {KEY: facts.to_json()}}
    compile_and_package(program, package_path=str(path), inductor_configs=settings)


def load_compiled(path: Path) -> tuple[Backend, Facts]:
    """What runs a compiled program, without tracing or compiling, and what the file says of itself."""
    _, load_package = ahead_of_time()
    runner = load_package(str(path))
    held = runner.get_metadata()
    if KEY not in held:
        raise XDNNError(NOT_OURS.format(path))
    return runner, Facts.from_json(held[KEY])


def compiled(module: Any) -> Backend:
    """A graph through ``torch.compile``; as it is from the first failure on."""
    by_device: dict[str, Any] = {}

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        kind = tensors[0].device.type
        if kind not in by_device:
            mode = "reduce-overhead" if kind == "cuda" else None
            by_device[kind] = torch.compile(module, mode=mode)
        try:
            found: Sequence[Tensor] = by_device[kind](*tensors)
        except Exception as error:  # whatever a compiler raises
            logger.warning("not compiled, it runs as it is: %s", first_line(error))
            by_device[kind] = module
            found = module(*tensors)
        return found

    return run
