"""From addresses on the command line, such as ``MODULE:CALLABLE``, to a model and a data set."""

import argparse
import ast
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from captum_xdnn.cli.console import UsageError, blaming, expecting


def load_model(address: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The model at ``MODULE:CALLABLE``, as the help of ``certify`` says; ``CALLABLE`` may have dots."""
    found = _attribute(address)
    if isinstance(found, nn.Module):
        if arguments:
            raise UsageError(
                f"{address} is a model already, it takes no --kwarg ({', '.join(arguments)})"
            )
        return found
    if not callable(found):
        raise UsageError(
            f"{address} is a {type(found).__name__}: "
            "neither an nn.Module nor a callable that returns one"
        )
    model = _called(found, address, **arguments)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{address} returned a {type(model).__name__}, expected an nn.Module")
    return model


def load_data(address: str, split: str, transform: str | None) -> Any:
    """The map-style data set at an address, as the help of ``attribute`` says."""
    kind, _, rest = address.partition(":")
    name, _, root = rest.partition(":")
    if kind == "torchvision":
        if not (name and root):
            raise UsageError(
                f"expected torchvision:NAME:ROOT, such as torchvision:MNIST:data, got {address!r}"
            )
        data = _torchvision(name, root, split, transform)
    else:
        data = _attribute(address)
        if inspect.isclass(data) or not hasattr(data, "__getitem__"):
            if not callable(data):
                raise UsageError(f"{address} is a {type(data).__name__}, not a callable")
            data = _called(data, address)
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise UsageError(f"{address} is a {type(data).__name__}, expected a map-style data set")
    return data


def _torchvision(name: str, root: str, split: str, transform: str | None) -> Any:
    with blaming("cannot import torchvision", ImportError):
        from torchvision import datasets
        from torchvision.transforms import ToTensor
    kind: Any = getattr(datasets, name, None)
    if not isinstance(kind, type):
        raise UsageError(f"torchvision.datasets has no {name}")
    known = inspect.signature(kind).parameters
    given = {"train": split == "train", "split": split}  # it has one of them, or none
    chosen = {name: value for name, value in given.items() if name in known}
    transforming = ToTensor if transform is None else _attribute(transform)
    if inspect.isclass(transforming):
        transforming = _called(transforming, transform or "ToTensor")
    with blaming(f"cannot read torchvision's {name} from {root}"):
        return kind(root, transform=transforming, **chosen)


def _attribute(address: str) -> Any:
    """Import ``MODULE`` and get its attribute."""
    name, _, path = address.partition(":")
    if not (name and path):
        raise UsageError(
            f"expected MODULE:CALLABLE or FILE.py:CALLABLE, for example torchvision.models:resnet18, got {address!r}"
        )
    if name.endswith(".py"):
        module = _module_of(Path(name))
    else:
        # A console script, unlike `python -m`, does not put the working directory on the path.
        working_directory = str(Path.cwd())
        if working_directory not in sys.path and "" not in sys.path:
            sys.path.insert(0, working_directory)
        # A script without a main guard may exit when it is imported.
        with blaming(f"cannot import {name}", (Exception, SystemExit)):
            module = importlib.import_module(name)
    with blaming(f"{name} has no {path}", AttributeError):
        return attrgetter(path)(module)


def _module_of(file: Path) -> ModuleType:
    """The module that a file holds, which may import what lies beside it."""
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    sys.path.insert(0, str(file.resolve().parent))
    spec: Any = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # workers of a loader look it up by its name
    with blaming(f"cannot import {file}", (Exception, SystemExit)):
        spec.loader.exec_module(module)
    return module


def _called(found: Any, address: str, /, **arguments: Any) -> Any:
    with blaming(f"calling {address} failed"):
        return found(**arguments)


def add_keyword_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option for the keyword arguments of ``CALLABLE``, ``kwargs`` among the options."""
    parser.add_argument(
        "--kwarg",
        type=_keyword_argument,
        action="append",
        default=[],
        dest="kwargs",
        metavar="NAME=VALUE",
        help="keyword argument of CALLABLE, a Python literal or else a string; may be repeated",
    )


@expecting("NAME=VALUE")
def _keyword_argument(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not (separator and name.isidentifier()):
        raise ValueError
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
