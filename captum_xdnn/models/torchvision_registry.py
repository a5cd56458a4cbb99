"""The builders in torchvision's registry: ``torchvision.models.get_model("x_resnet50")``.

Importing torchvision takes as long as importing PyTorch, and not everybody has it. So this package
does not import it to register: it registers when somebody else has imported it or does so.

``register_model`` is not among torchvision's public names, and torchvision promises nothing to
models of other packages. Should it go, a warning says that the registry lacks these models, and
the builders in ``captum_xdnn.models`` work as before.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from captum_xdnn.models.pretrained import XWeightsEnum

_MODELS = "torchvision.models"


def register_once_torchvision_is_imported() -> None:
    """Register now if ``torchvision.models`` has been imported, else as soon as it is."""
    if _MODELS in sys.modules:
        # An import by another thread may be under way, and this one waits for it.
        _register_or_warn(importlib.import_module(_MODELS))
    elif not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


def register(models: Any) -> None:
    """Make the builders and their weights known to torchvision; calling it again changes nothing.

    ``get_model``, ``get_model_builder``, ``get_model_weights``, ``get_weight`` and ``list_models``
    then know them. A name that another package has registered before stays that package's, with
    a warning.
    """
    register_model = importlib.import_module(f"{_MODELS}._api").register_model
    # torchvision asks whether an enum is a subclass of its own class, which did not exist when
    # these were made. Enums that were made anew would not be those that users have imported.
    setattr(XWeightsEnum, "__bases__", (models.WeightsEnum,))  # noqa: B010 - read-only to mypy
    ours = importlib.import_module(__package__)
    known = set(models.list_models())
    for name in ours.__all__:
        public = getattr(ours, name)
        if name.endswith("_Weights"):
            # get_weight looks for the name of the enum among torchvision's own.
            setattr(models, name, public)
        elif name.startswith("x_") and name not in known:
            register_model(name)(public)
        elif name.startswith("x_"):
            home = models.get_model_builder(name).__module__
            if not home.startswith(f"{__package__}."):
                warnings.warn(
                    f"torchvision knows another model of the name {name}, of {home}; "
                    "it is left as it is",
                    stacklevel=2,
                )


def _register_or_warn(models: ModuleType) -> None:
    try:
        register(models)
    except Exception as error:  # importing either package must not fail because of the other
        warnings.warn(
            f"captum_xdnn could not register its models with torchvision: {error!r}", stacklevel=2
        )


class _Watcher(MetaPathFinder, Loader):
    """Loads ``torchvision.models`` as it would be loaded without this, and then registers."""

    _loader: Loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODELS:
            return None
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader, self._loader = self, spec.loader
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        _register_or_warn(module)
