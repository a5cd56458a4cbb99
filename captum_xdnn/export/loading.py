"""Programs from files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from captum_xdnn.errors import XDNNError, first_line
from captum_xdnn.export.compiled import load_compiled
from captum_xdnn.export.metadata import ENDINGS, JSON, NOT_OURS, Facts, check_hash, hash_of
from captum_xdnn.export.onnx_files import load_onnx
from captum_xdnn.export.program import AttributionProgram


def load(path: str | Path) -> AttributionProgram:
    """Open a program that was saved.

    Args:
        path: A file that ends in ``.pt2`` or ``.onnx``; the second runs in ONNX Runtime.

    Returns:
        The program; ``check`` needs the function again, ``save`` the export.

    Raises:
        XDNNError: If the file is no program of ours, or a ``.pt2`` holds other weights than were
            exported.
        ImportError: For ``.onnx`` where ``captum-xdnn[export]`` is not installed.
        ValueError: For another ending.
        OSError: Where there is no such file.

    Example:
        >>> import tempfile, torch
        >>> from captum_xdnn.export import export_attribution, load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_attribution(torch.nn.Linear(4, 2), torch.rand(3, 4)).save(f"{folder}/net.pt2")
        ...     program = load(f"{folder}/net.pt2")
        >>> program.route, tuple(program(torch.rand(7, 4)).attributions.shape)
        ('single_pass', (7, 4))
    """
    path = Path(path)
    if path.suffix not in (".pt2", ".onnx"):
        raise ValueError(ENDINGS.format(path))
    path.open("rb").close()  # an OSError where there is none
    try:
        return _opened(path)
    except (ImportError, XDNNError):
        raise
    except Exception as error:  # whatever readers raise of what they cannot read
        raise XDNNError(f"{NOT_OURS.format(path)}: {first_line(error)}") from error


def _opened(path: Path) -> AttributionProgram:
    if path.suffix == ".onnx":
        return AttributionProgram(*load_onnx(path))
    if _is_compiled(path):
        return AttributionProgram(*load_compiled(path))
    extra = {JSON: ""}
    program = torch.export.load(path, extra_files=extra)
    if not extra[JSON]:
        raise XDNNError(NOT_OURS.format(path))
    facts = Facts.from_json(extra[JSON])
    check_hash(hash_of(program.state_dict.items()), facts, path)
    return AttributionProgram(program.module(), facts, None, program)


def _is_compiled(path: Path) -> bool:
    """Whether a file holds machine code, not a graph."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as parts:
        return any("aotinductor/" in name for name in parts.namelist())
