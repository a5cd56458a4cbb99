"""Blockers: where in the user's own model a single pass fails to be exact, and what to do."""

from __future__ import annotations

from dataclasses import dataclass


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
