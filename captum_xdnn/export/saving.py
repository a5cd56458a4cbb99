"""Programs into files: ``.pt2`` for torch, ``.onnx`` for whatever runs ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.export import ExportedProgram

from captum_xdnn.errors import XDNNError
from captum_xdnn.export.compiled import save_compiled
from captum_xdnn.export.metadata import ENDINGS, JSON, Facts
from captum_xdnn.export.onnx_files import save_onnx
from captum_xdnn.export.tracing import ONE_AT_A_TIME

FROM_A_FILE = (
    "a program that was loaded is in its file already; export it again to save it otherwise"
)


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
    if path.is_dir() or not path.parent.is_dir():
        raise OSError(f"cannot write {path}: it is a folder, or there is none for it")
    with ONE_AT_A_TIME, _whole(path) as new:
        if path.suffix == ".onnx":
            save_onnx(program, facts, new, places)
        elif compiled:
            save_compiled(program, facts, new)
        else:
            torch.export.save(program, new, extra_files={JSON: facts.to_json()})


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file to write, which takes its place when it is done: until then what was there stays."""
    place = path.resolve()
    with TemporaryDirectory(prefix=f".{place.stem}.", dir=place.parent) as folder:
        new = Path(folder, place.name)
        yield new
        # A large model has its weights beside it: they come first.
        for part in sorted(Path(folder).iterdir(), key=lambda file: file == new):
            part.replace(place.parent / part.name)
