"""Layers of torch without their biases."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from captum_xdnn._torch import ConvNd, InstanceNorm

WITH_BIAS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Bilinear,
    ConvNd,
    nn.LayerNorm,
    nn.GroupNorm,
    InstanceNorm,
)


def remove_bias(module: nn.Module) -> str:
    """Remove the biases of a layer of torch, in place; says what was done, nothing of others."""
    names = ["bias"] if isinstance(module, WITH_BIAS) else []
    if isinstance(module, nn.MultiheadAttention):
        names = ["in_proj_bias", "bias_k", "bias_v"]
    removed = [name for name in names if getattr(module, name, None) is not None]
    for name in removed:
        _make_plain(module, name)
        delattr(module, name)
        module.register_parameter(name, None)
    return f"{', '.join(removed)} removed" if removed else ""


def _make_plain(module: nn.Module, name: str) -> None:
    """Let nothing compute a bias any more."""
    if parametrize.is_parametrized(module, name):
        _give_class_of_its_own(module)
        parametrizations: Any = module.parametrizations
        several = not hasattr(parametrizations[name], "original")
        # With one original tensor, that is put back, and the tensor itself is left alone.
        parametrize.remove_parametrizations(module, name, leave_parametrized=several)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm) and hook.name == name:
            remove_weight_norm(module, name)
        elif isinstance(hook, SpectralNorm) and hook.name == name:
            remove_spectral_norm(module, name)
        elif isinstance(hook, prune.BasePruningMethod) and f"{name}_orig" in module._parameters:
            make_permanent: Any = prune.remove
            make_permanent(module, name)


def _give_class_of_its_own(module: nn.Module) -> None:
    """Let a parametrized module share its class with no copy of it.

    torch makes a class for it, with a property for each computed tensor; copies share that class,
    and would lose the property that is removed from one of them.
    """
    kind = type(module)
    held = {n: v for n, v in vars(kind).items() if n not in {"__dict__", "__weakref__"}}
    module.__class__ = type(kind.__name__, kind.__bases__, held)
