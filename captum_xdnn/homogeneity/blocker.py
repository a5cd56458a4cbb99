"""Blockers: where in the user's own model a single pass fails to be exact, and what to do."""

from __future__ import annotations

import os
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.propagation import Obstacle

_NOT_THE_USERS = (
    f"{Path(torch.__file__).parent}{os.sep}",
    f"{Path(__file__).parent.parent}{os.sep}homogeneity{os.sep}",
    f"{sysconfig.get_path('stdlib')}{os.sep}contextlib",
    f"{sysconfig.get_path('stdlib')}{os.sep}copy",
)
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')


@dataclass(frozen=True)
class Blocker:
    """One place that keeps a single pass from being exact.

    Attributes:
        op: The ATen operation, such as ``aten.linear.default``.
        module: Path of the module it runs in, such as ``layer1.0.bn1``; empty outside modules.
        module_type: Class of that module, such as ``BatchNorm2d``; empty outside modules.
        location: The user's source line, ``file:line: code``; empty if unknown.
        reason: Why.
        remedy: What to do about it.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())
        >>> blocker = certify(net, torch.zeros(3, 4)).blockers[0]
        >>> blocker.where, blocker.reason
        ('0 (Linear)', 'bias of 2 outputs is not zero')
    """

    op: str
    module: str
    module_type: str
    location: str
    reason: str
    remedy: str

    @property
    def where(self) -> str:
        """The module path with its type, or the operation."""
        if self.module_type:
            return f"{self.module or 'the model'} ({self.module_type})"
        return self.op

    def __str__(self) -> str:
        text = f"{self.where}: {self.reason}"
        if self.location:
            text += f"\n    at {self.location}"
        return f"{text}\n    remedy: {self.remedy}" if self.remedy else text


def blocker_of(obstacle: Obstacle, prefix: str) -> Blocker:
    """Put an obstacle of the graph in the user's terms."""
    return place(obstacle.node, prefix, obstacle.reason, obstacle.remedy)


def place(node: Node, prefix: str, reason: str, remedy: str) -> Blocker:
    """A blocker at a node of the traced graph.

    Args:
        node: The node.
        prefix: Module path of the traced function, cut off from the module's path.
        reason: Why.
        remedy: What to do about it.
    """
    module, module_type = module_of(node, prefix)
    op = "input" if node.op == "placeholder" else str(node.target)
    return Blocker(op, module, module_type, _location(node), reason, remedy)


def module_of(node: Node, prefix: str) -> tuple[str, str]:
    """Path and class of the module that a node runs in; empty outside modules.

    Args:
        node: A node of the traced graph.
        prefix: Module path of the traced function, cut off from the module's path.
    """
    stack: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    for path, kind in reversed(list(stack.values())):
        name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        if not path or "_empty_nn_module_stack" in path or name.endswith(".replica.Root"):
            continue
        if prefix and (path == prefix or path.startswith(prefix + ".")):
            path = path[len(prefix) + 1 :]
        return path.split("@")[0], name.rsplit(".", 1)[-1]
    return "", ""


def _location(node: Node) -> str:
    """The innermost line that is neither torch's nor the tracer's; empty if there is none."""
    lines = (node.meta.get("stack_trace") or "").splitlines()
    frames = [(m, i) for i, text in enumerate(lines) if (m := _FRAME.search(text))]
    own = [f for f in frames if not f[0]["file"].startswith(_NOT_THE_USERS)]
    if not own:
        return ""
    match, index = own[-1]
    code = lines[index + 1].strip() if index + 1 < len(lines) else ""
    return f"{match['file']}:{match['line']}: {code}"
