"""Networks whose first pass changes them for good: hooks, parameters, buffers, modules, classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 4


class Beginning(nn.Module):
    """Changes itself in its first pass, and remembers that it has, by a flag or by what is there."""

    def __init__(self, begin: Callable[[Any, Tensor], Any], *, refused: bool, flag: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(WIDTH, 8, bias=refused), nn.Linear(8, 2, bias=refused)
        self.bend = nn.LSTMCell(8, 8) if refused else nn.ReLU()
        self.spare = nn.Linear(WIDTH, WIDTH, bias=False)
        self.begin, self.flag = begin, flag

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, self.flag):
            self.begin(self, x.detach())
            if not hasattr(self, self.flag):
                setattr(self, self.flag, True)
        x = x * self.scale if hasattr(self, "scale") else x
        x = self.added(x) if hasattr(self, "added") else x
        x = self.spare(x) if hasattr(self, "spare") else x
        h = self.bend(self.first(x))
        return self.last(h[0] if isinstance(h, tuple) else h)


def _hooked(net: Any, x: Tensor) -> None:
    net.first.register_forward_hook(lambda m, given, out: 1.5 * out)


def _hooked_before(net: Any, x: Tensor) -> None:
    net.last.register_forward_pre_hook(
        lambda m, given, known: ((2 * given[0],), known), with_kwargs=True
    )


def _hooked_backward(net: Any, x: Tensor) -> None:
    net.first.register_full_backward_hook(lambda m, inner, outer: (1.5 * inner[0],))


def _once(net: Any, x: Tensor) -> None:
    """A hook that takes itself away after one call."""

    def hook(m: Any, given: Any, out: Tensor) -> Tensor:
        handle.remove()
        return 3 * out

    handle = net.first.register_forward_hook(hook)


def _hook_removed(net: Any, x: Tensor) -> None:
    net.first.register_forward_hook(lambda m, given, out: 1.5 * out)
    net.first._forward_hooks.popitem()


def _parameter(net: Any, x: Tensor) -> None:
    net.scale = nn.Parameter(1 + x.abs().mean(0))


def _buffer(net: Any, x: Tensor) -> None:
    net.register_buffer("scale", 1 + x.abs().mean(0), persistent=False)


def _module(net: Any, x: Tensor) -> None:
    net.added = nn.Linear(WIDTH, WIDTH, bias=False, dtype=x.dtype)
    net.added.weight.data.copy_(torch.diag(1 + x.abs().mean(0)))


def _module_replaced(net: Any, x: Tensor) -> None:
    net.first = nn.Sequential(net.first, nn.Linear(8, 8, bias=False).to(x.dtype))


def _module_dropped(net: Any, x: Tensor) -> None:
    del net.spare


class Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _parametrised(net: Any, x: Tensor) -> None:
    nn.utils.parametrize.register_parametrization(net.first, "weight", Twice())


def _normed(net: Any, x: Tensor) -> None:
    nn.utils.parametrizations.weight_norm(net.first)


BEGINNINGS: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "a hook": (_hooked, "ready"),
    "a hook before, with keywords": (_hooked_before, "ready"),
    "a hook on gradients": (_hooked_backward, "ready"),
    "a hook that runs once": (_once, "ready"),
    "a hook that is taken away": (_hook_removed, "ready"),
    "a parameter of the data": (_parameter, "scale"),
    "a parameter of the data, by a flag": (_parameter, "ready"),
    "a buffer of the data": (_buffer, "scale"),
    "a module of the data": (_module, "added"),
    "a module in another's place": (_module_replaced, "ready"),
    "a module that is dropped": (_module_dropped, "ready"),
    "a parametrization": (_parametrised, "ready"),
    "a weight norm": (_normed, "ready"),
}


def beginning(kind: str, *, refused: bool) -> Beginning:
    begin, flag = BEGINNINGS[kind]
    return Beginning(begin, refused=refused, flag=flag).double()
