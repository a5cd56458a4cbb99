"""New weights for layers without biases."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from captum_xdnn._torch import ConvNd, ConvTransposeNd, NormBase
from captum_xdnn.convert.trial import in_mode

SETTLING = 15
"""Power iterations that torch's spectral norm takes to get to know a weight."""

LAYERS = (nn.Linear, nn.Bilinear, ConvNd)
NORMS = (nn.GroupNorm, NormBase)
RESETS = ("reset_parameters", "_reset_parameters")
"""How torch's modules draw their parameters; the second is that of attention."""


def kaiming_normal_(module: nn.Module) -> None:
    r"""Draw a layer's weights anew; made for ``module.apply`` and for ``to_xdnn(init=...)``.

    .. math:: w \sim \mathcal{N}(0, 2 / n)

    where :math:`n` is the number of outputs that each input goes to, which keeps the size of
    gradients through ReLUs: :math:`n` is torch's ``fan_out``, per group and, of a transposed
    convolution, on its output side. A layer's bias is set to zero; other modules that can are reset
    as torch has them (:meth:`reset_parameters`), containers are passed over.

    Args:
        module: One module; its children are not visited.

    Raises:
        ValueError: If hooks compute the layer's weights or bias (old-style ``weight_norm``, pruning):
            what is drawn would not be kept. The layer is left as it was.

    Source:
        He, Zhang, Ren, Sun, *Delving Deep into Rectifiers* (ICCV 2015), Equation 14.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 2)
        >>> kaiming_normal_(layer)
        >>> layer.bias.tolist()
        [0.0, 0.0]
    """
    if not isinstance(module, LAYERS):
        _reset(module)
        return
    weight: Any = module.weight
    drawn = torch.empty_like(weight, requires_grad=False)
    drawn.normal_(0, math.sqrt(2 / max(1, _fan_out(module, weight))))
    new = {"weight": drawn}
    if isinstance(module.bias, Tensor):
        new["bias"] = torch.zeros_like(module.bias, requires_grad=False)
    for name in new:
        if not (parametrize.is_parametrized(module, name) or name in module._parameters):
            kind = type(module).__name__
            raise ValueError(f"the {name} of this {kind} is computed in hooks and cannot be drawn")
    with torch.no_grad():
        for name, values in new.items():
            if not parametrize.is_parametrized(module, name):
                getattr(module, name).copy_(values)
                continue
            setattr(module, name, values)
            with in_mode(module.get_submodule(f"parametrizations.{name}"), training=True):
                for _ in range(SETTLING):
                    getattr(module, name)  # spectral norm improves its estimate when it is read


def _reset(module: Any) -> None:
    if isinstance(module, NORMS) and module.weight is not None and module.bias is None:
        # Not every version of torch can reset one without a bias.
        nn.init.ones_(module.weight)
        if isinstance(module, NormBase):
            module.reset_running_stats()
        return
    reset = next((r for name in RESETS if callable(r := getattr(module, name, None))), None)
    if reset is not None:
        reset()


def _fan_out(module: nn.Module, weight: Tensor) -> int:
    if isinstance(module, ConvTransposeNd):  # (in, out / groups, ...)
        return weight[0].numel()
    groups = module.groups if isinstance(module, ConvNd) else 1
    return weight[:, 0].numel() // groups
