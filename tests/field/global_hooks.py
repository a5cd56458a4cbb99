"""Hooks of every module there is."""

from __future__ import annotations

from typing import Any

from gradient_makers import flipped, net
from torch import nn
from torch.nn.modules import module as modules

GLOBAL: dict[str, Any] = {}


_ON_RELU = lambda change: lambda m, i, o=None: change(i) if isinstance(m, nn.ReLU) else None  # noqa: E731


def _partial_everywhere() -> Any:
    modules._global_is_full_backward_hook = None
    return modules.register_module_backward_hook(_ON_RELU(flipped))


GLOBAL["full"] = (net, lambda: modules.register_module_full_backward_hook(_ON_RELU(flipped)))
GLOBAL["full_prehook"] = (
    net,
    lambda: modules.register_module_full_backward_pre_hook(_ON_RELU(flipped)),
)
GLOBAL["partial"] = (net, _partial_everywhere)
GLOBAL["forward"] = (
    net,
    lambda: modules.register_module_forward_hook(
        lambda m, i, o: (o - 0.1).sigmoid() if isinstance(m, nn.ReLU) else None
    ),
)
