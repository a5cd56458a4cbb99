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
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from torch import nn

from captum_xdnn.models import alexnet, resnet, vgg
from captum_xdnn.models.weights_enum import XWeightsEnum
from captum_xdnn.models.x_cnn_small import X_CNN_Small_Weights, x_cnn_small

__all__ = ["BUILDERS", "WEIGHTS", "register", "register_once_torchvision_is_imported"]

_MODELS = "torchvision.models"

BUILDERS: tuple[Callable[..., nn.Module], ...] = (
    alexnet.x_alexnet,
    vgg.x_vgg11,
    vgg.x_vgg13,
    vgg.x_vgg16,
    vgg.x_vgg19,
    resnet.x_resnet18,
    resnet.x_resnet34,
    resnet.x_resnet50,
    resnet.x_resnet101,
    resnet.x_resnet152,
    x_cnn_small,
)
"""The builders, each registered under its own name."""

WEIGHTS: tuple[type[XWeightsEnum], ...] = (
    alexnet.X_AlexNet_Weights,
    vgg.X_VGG11_Weights,
    vgg.X_VGG13_Weights,
    vgg.X_VGG16_Weights,
    vgg.X_VGG19_Weights,
    resnet.X_ResNet18_Weights,
    resnet.X_ResNet34_Weights,
    resnet.X_ResNet50_Weights,
    resnet.X_ResNet101_Weights,
    resnet.X_ResNet152_Weights,
    X_CNN_Small_Weights,
)
"""The enums of their weights."""


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
    for weights in WEIGHTS:
        # get_weight looks for the name of the enum among torchvision's own.
        setattr(models, weights.__name__, weights)
    known = set(models.list_models())
    for builder in BUILDERS:
        name = builder.__name__
        if name not in known:
            register_model(name)(builder)
        elif not models.get_model_builder(name).__module__.startswith(f"{__package__}."):
            warnings.warn(
                f"torchvision knows another model of the name {name}, "
                f"of {models.get_model_builder(name).__module__}; it is left as it is",
                stacklevel=2,
            )


def _register_or_warn(models: ModuleType) -> None:
    try:
        register(models)
    except Exception as error:  # importing either package must not fail because of the other
        warnings.warn(
            f"captum_xdnn could not register its models with torchvision: {error!r}", stacklevel=2
        )


class _Watcher(MetaPathFinder):
    """Sees to it that ``torchvision.models`` is followed by ``register`` when it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODELS:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (
            finder.find_spec(fullname, path, target)
            for finder in others
            if hasattr(finder, "find_spec")
        )
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader, self)
        return spec


class _ThenRegister(Loader):
    """Loads a module with its own loader, which it leaves in its place, and then registers."""

    def __init__(self, loader: Loader, watcher: _Watcher) -> None:
        self._loader = loader
        self._watcher = watcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._watcher in sys.meta_path:
            sys.meta_path.remove(self._watcher)
        _register_or_warn(module)
