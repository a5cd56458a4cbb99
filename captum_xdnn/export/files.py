"""Programs in files: ``.pt2`` for torch, ``.onnx`` for whatever runs ONNX."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from captum_xdnn.errors import XDNNError
from captum_xdnn.export.metadata import KEY, Facts, check_hash, hash_of
from captum_xdnn.export.program import AttributionProgram

ENDINGS = "a program is a file that ends in .pt2 or .onnx, found {}"
FROM_A_FILE = (
    "a program that was loaded is in its file already; export it again to save it otherwise"
)
NOT_OURS = "{} holds no attribution that captum-xdnn exported"
JSON = f"{KEY}.json"


def save(
    program: ExportedProgram | None,
    facts: Facts,
    path: Path,
    places: Mapping[str, str],
    *,
    compiled: bool = False,
) -> None:
    """Write a program, by the ending of its file."""
    if path.suffix not in (".pt2", ".onnx"):
        raise ValueError(ENDINGS.format(path))
    if program is None:
        raise XDNNError(FROM_A_FILE)
    if path.suffix == ".onnx":
        from captum_xdnn.export.onnx_files import save_onnx

        save_onnx(program, facts, path, places)
    elif compiled:
        from captum_xdnn.export.compiled import save_compiled

        save_compiled(program, facts, path)
    else:
        torch.export.save(program, path, extra_files={JSON: facts.to_json()})


def is_compiled(path: Path) -> bool:
    """Whether a file holds machine code, not a graph."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as parts:
        return any("aotinductor/" in name for name in parts.namelist())


def load(path: str | Path) -> AttributionProgram:
    """Open a program that was saved.

    Args:
        path: A file that ends in ``.pt2`` or ``.onnx``; the second runs in ONNX Runtime.

    Returns:
        The program; ``check`` needs the function again, ``save`` the export.

    Raises:
        XDNNError: If the file is no program of ours, or holds other weights than were exported.
        ImportError: For ``.onnx`` where ``captum-xdnn[export]`` is not installed.
        ValueError: For another ending.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        from captum_xdnn.export.onnx_files import load_onnx

        return AttributionProgram(*load_onnx(path))
    if path.suffix != ".pt2":
        raise ValueError(ENDINGS.format(path))
    if is_compiled(path):
        from captum_xdnn.export.compiled import load_compiled

        return AttributionProgram(*load_compiled(path))
    extra = {JSON: ""}
    program = torch.export.load(path, extra_files=extra)
    if not extra[JSON]:
        raise XDNNError(NOT_OURS.format(path))
    facts = Facts.from_json(extra[JSON])
    check_hash(hash_of(program.state_dict.items()), facts, path)
    return AttributionProgram(program.module(), facts, None, program)
