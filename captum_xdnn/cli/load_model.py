"""From ``MODULE:CALLABLE`` on the command line to a model."""

import argparse
import ast
import importlib
import sys
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn

from captum_xdnn.cli.console import UsageError
from captum_xdnn.errors import first_line

__all__ = ["add_keyword_arguments", "load_attribute", "load_model"]


def load_model(address: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Import ``MODULE`` and get a model from its attribute ``CALLABLE``.

    An instance of ``nn.Module`` is the model itself. Anything else, a class or a function, is
    called with ``arguments`` and must return one. ``MODULE`` is looked for in the working directory
    too, and ``CALLABLE`` may have dots: ``package.module:builders.small``.

    Returns:
        The model, as it was found or built.

    Raises:
        UsageError: If the address has another form, cannot be imported, or leads to no
            ``nn.Module``.
    """
    found = load_attribute(address)
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
    try:
        model = found(**arguments)
    except Exception as error:
        raise UsageError(f"calling {address} failed: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"{address} returned a {type(model).__name__}, expected an nn.Module")
    return model


def load_attribute(address: str) -> Any:
    """Import ``MODULE`` and get its attribute.

    Returns:
        What is there.

    Raises:
        UsageError: If the address has another form, or nothing is there.
    """
    module_name, separator, path = address.partition(":")
    if not (module_name and separator and path):
        raise UsageError(
            f"expected MODULE:CALLABLE, for example torchvision.models:resnet18, got {address!r}"
        )
    return _attribute(_import(module_name), module_name, path)


def _import(name: str) -> Any:
    # A console script, unlike `python -m`, does not put the working directory on the path.
    working_directory = str(Path.cwd())
    if working_directory not in sys.path and "" not in sys.path:
        sys.path.insert(0, working_directory)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script without a main guard may exit when imported
        raise UsageError(f"cannot import {name}: {first_line(error)}") from error


def _attribute(module: Any, module_name: str, path: str) -> Any:
    try:
        return attrgetter(path)(module)
    except AttributeError as error:
        raise UsageError(f"{module_name} has no {path}: {first_line(error)}") from error


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


def _keyword_argument(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not (separator and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
