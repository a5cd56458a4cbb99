"""Programs as ONNX: written by torch's exporter, run by ONNX Runtime."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from captum_xdnn._torch import decomposition_table
from captum_xdnn.errors import TraceError, XDNNError, first_line
from captum_xdnn.export.metadata import KEY, NOT_OURS, Facts
from captum_xdnn.export.onnx_parts import session_of
from captum_xdnn.export.tracing import placed

NEEDS = 'an .onnx file needs {}: pip install "captum-xdnn[export]"'
NO_FORM = (
    "cannot write the attribution as ONNX: {op} has no form there{where}\n"
    "    remedy: save it as .pt2, or compute otherwise what this operation does"
)
OTHERWISE = (
    "cannot write the attribution as ONNX: the file gives something else than the program{}\n"
    "    remedy: save it as .pt2"
)
NOT_RUN = (
    "cannot write the attribution as ONNX: ONNX Runtime does not run the file: {}\n"
    "    remedy: save it as .pt2"
)
OF_IT = ", because ONNX Runtime computes {} otherwise than torch"


def needed(*names: str) -> list[Any]:
    """The optional packages, or an ImportError that says how to get them."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(NEEDS.format(error.name or " and ".join(names))) from error


def save_onnx(
    program: ExportedProgram, facts: Facts, path: Path, places: Mapping[str, str]
) -> None:
    """Write a program as ONNX.

    Raises:
        ImportError: Where the optional packages are not installed.
        TraceError: If an operation has no form in ONNX.
    """
    needed("onnx", "onnxscript", "onnxruntime")
    from captum_xdnn.export.decompositions import table_of
    from captum_xdnn.export.onnx_pooling import translations
    from captum_xdnn.export.seal import seal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        plain = program.run_decompositions(table_of(program))
        _check_convolutions(plain, places)
        try:
            made = torch.onnx.export(
                plain,
                (),
                dynamo=True,
                input_names=list(facts.inputs),
                output_names=list(facts.outputs),
                custom_translation_table=translations(),
                verbose=False,
            )
        except Exception as error:
            raise _refused(error, plain, places) from error
    if made is None:
        raise TraceError("torch's exporter gave no ONNX program")
    model = made.model
    seal(model.graph)
    model.metadata_props[KEY] = facts.to_json()
    made.save(path)
    _try(program, made, path, places)


def _check_convolutions(program: ExportedProgram, places: Mapping[str, str]) -> None:
    """ONNX Runtime takes no output padding as large as the stride, torch as large as the dilation."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.convolution.default and node.args[6]:
            stride, padding = node.args[3], node.args[7]
            if any(p >= s for p, s in zip(padding, stride, strict=True)):
                op = "a transposed convolution with output padding as large as its stride"
                raise TraceError(_no_form(op, "convolution", places))


def _try(program: ExportedProgram, made: Any, path: Path, places: Mapping[str, str]) -> None:
    """Run a file, and compare it with the program that it was made of.

    Raises:
        TraceError: If it gives something else, a runtime's operation being not always torch's, or does not run.
    """
    from captum_xdnn.export.onnx_checks import Otherwise, check

    try:
        run, _ = load_onnx(path)
        check(program, made, run)
    except Otherwise as found:
        op = found.operation
        why = "" if op is None else OF_IT.format(placed(op, places))
        raise TraceError(OTHERWISE.format(why)) from None
    except Exception as error:  # of the runtime, which has types of its own for them
        raise TraceError(NOT_RUN.format(first_line(error))) from error


def load_onnx(path: Path) -> tuple[Callable[..., Sequence[Tensor]], Facts]:
    """What runs a file in ONNX Runtime, and what the file says of itself."""
    needed("onnxruntime")
    session = session_of(path)
    held = session.get_modelmeta().custom_metadata_map
    if KEY not in held:
        raise XDNNError(NOT_OURS.format(path))
    facts = Facts.from_json(held[KEY])
    taken = {i.name for i in session.get_inputs()}

    def run(*tensors: Tensor) -> list[Tensor]:
        pairs = zip(facts.inputs, tensors, strict=True)
        given = {name: t.detach().cpu().numpy() for name, t in pairs if name in taken}
        return [torch.from_numpy(value) for value in session.run(None, given)]

    return run, facts


def _refused(
    error: BaseException, program: ExportedProgram, places: Mapping[str, str]
) -> TraceError:
    """The error for an operation that has no form in ONNX, with the module that it is of."""
    said: list[str] = []
    behind: BaseException | None = error
    while behind is not None:
        said.append(str(behind))
        behind = behind.__cause__
    found = re.search(r"OpOverload\(op='([\w.]+)', overload='(\w+)'\)", "\n".join(said))
    if found is None:
        return TraceError(f"torch writes no ONNX of the attribution: {first_line(error)}")
    op = f"{found[1]}.{found[2]}"
    origin = _origin(program, op) or op
    name = re.sub(r"_backward.*", "", origin.split(".")[1]).strip("_")
    return TraceError(_no_form(op if origin == op else f"{origin}, which is {op},", name, places))


def _origin(program: ExportedProgram, op: str) -> str:
    """The operation of a program that torch's decompositions, the exporter's, make another one of."""
    targets = {node.name: node.target for node in program.graph.nodes}
    table = {t: decomposition_table[t] for t in targets.values() if t in decomposition_table}
    for node in program.run_decompositions(table).graph.nodes:
        sources = list(node.meta.get("from_node") or ()) if str(node.target) == op else []
        for source in sources:
            if source.name in targets:
                return str(targets[source.name])
            sources += source.from_node
    return ""


def _no_form(op: str, name: str, places: Mapping[str, str]) -> str:
    place = places.get(name, "")
    return NO_FORM.format(op=op, where=f" ({place})" if place else "")
