"""torchvision, where it imports: what weights' enums are there, and ``torchvision.models.get_model``.

``register_model`` is not among torchvision's public names, and torchvision promises nothing to
models of other packages. Should it go, a warning says that the registry lacks these models, and
the builders in ``captum_xdnn.models`` work as before.
"""

import importlib
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import Any


def _imported() -> Any:
    try:
        return importlib.import_module("torchvision.models")
    except Exception:  # not installed, or made for another torch: it is not needed
        return None


MODELS: Any = _imported()
"""The module ``torchvision.models``, or None."""
WeightsEnum: Any = Enum if MODELS is None else MODELS.WeightsEnum
"""The base of enums of weights, which torchvision asks for."""


def register(public: Mapping[str, Any], models: Any = MODELS) -> None:
    """Make the builders and their weights known to torchvision; calling it again changes nothing.

    ``get_model``, ``get_model_builder``, ``get_model_weights``, ``get_weight`` and ``list_models``
    then know them. A name that another package has registered before stays that package's, with
    a warning.
    """
    if models is None:
        return
    try:
        _register(public, models)
    except Exception as error:  # importing this package must not fail because of the other
        warnings.warn(
            f"captum_xdnn could not register its models with torchvision: {error!r}", stacklevel=2
        )


def _register(public: Mapping[str, Any], models: Any) -> None:
    register_model = importlib.import_module("torchvision.models._api").register_model
    known = set(models.list_models())
    for name, ours in public.items():
        if name.endswith("_Weights"):
            # get_weight looks for the name of the enum among torchvision's own.
            setattr(models, name, ours)
        elif name.startswith("x_") and name not in known:
            register_model(name)(ours)
        elif name.startswith("x_"):
            home = models.get_model_builder(name).__module__
            if not home.startswith(f"{__package__}."):
                warnings.warn(
                    f"torchvision knows another model of the name {name}, of {home}; "
                    "it is left as it is",
                    stacklevel=3,
                )
