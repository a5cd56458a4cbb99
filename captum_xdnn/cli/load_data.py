"""From ``torchvision:NAME:ROOT`` or ``MODULE:CALLABLE`` on the command line to a data set."""

import inspect
from typing import Any

from captum_xdnn.cli.console import UsageError
from captum_xdnn.cli.load_model import load_attribute
from captum_xdnn.errors import first_line

__all__ = ["load_data"]

_TORCHVISION = "torchvision"


def load_data(address: str, split: str, transform: str | None) -> Any:
    """Get a map-style data set of pairs of input and label.

    Args:
        address: ``torchvision:NAME:ROOT`` (read from the disk, never downloaded), or
            ``MODULE:CALLABLE``, which is called, or is the data set.
        split: ``"train"``, ``"test"``, ... of torchvision's data sets that have one.
        transform: ``MODULE:CALLABLE`` of a transform for torchvision's; None for ``ToTensor()``.

    Returns:
        The data set.

    Raises:
        UsageError: If there is none, or it has no samples with an index.
    """
    kind, _, rest = address.partition(":")
    if kind == _TORCHVISION and rest.count(":"):
        name, _, root = rest.partition(":")
        data = _torchvision(name, root, split, transform)
    else:
        found = load_attribute(address)
        data = found if hasattr(found, "__getitem__") else _called(found, address)
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        message = f"{address} is a {type(data).__name__}, expected a map-style data set"
        raise UsageError(message)
    return data


def _torchvision(name: str, root: str, split: str, transform: str | None) -> Any:
    try:
        from torchvision import datasets
        from torchvision.transforms import ToTensor
    except ImportError as error:
        raise UsageError(f"cannot import torchvision: {first_line(error)}") from error
    kind = getattr(datasets, name, None)
    if not isinstance(kind, type):
        raise UsageError(f"torchvision.datasets has no {name}")
    build: Any = kind
    known = inspect.signature(kind).parameters
    chosen: dict[str, Any] = {}
    if "train" in known:
        chosen["train"] = split == "train"
    elif "split" in known:
        chosen["split"] = split
    chosen["transform"] = ToTensor() if transform is None else _transform(transform)
    try:
        return build(root, **chosen)
    except Exception as error:  # each data set has its own
        message = f"cannot read torchvision's {name} from {root}: {first_line(error)}"
        raise UsageError(message) from error


def _transform(address: str) -> Any:
    found = load_attribute(address)
    return _called(found, address) if inspect.isclass(found) else found


def _called(found: Any, address: str) -> Any:
    if not callable(found):
        raise UsageError(f"{address} is a {type(found).__name__}, not a callable")
    try:
        return found()
    except Exception as error:
        raise UsageError(f"calling {address} failed: {first_line(error)}") from error
