"""Which output a program explains: an index, one given with each call, the predicted class, the only one."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

PREDICTED, GIVEN = "argmax", "given"
UNKNOWN = (
    f'target must be "{PREDICTED}" (the predicted class), "{GIVEN}" or a tensor or list of indices (one '
    "with each call), an index or a tuple of indices, or None, found {found!r}"
)
SEVERAL = (
    "Target not provided when necessary, cannot take gradient with respect to multiple outputs."
)


@dataclass(frozen=True)
class Target:
    """The choice; ``kind`` is "argmax", "given", "index" or "none"."""

    kind: str
    place: tuple[int, ...] = ()
    given: Tensor | None = None

    def index(self, output: Tensor) -> Tensor | None:
        """The index of each row where it is not the same for all."""
        if self.kind == PREDICTED:
            return output.detach().argmax(1)
        return self.given

    def chosen(self, output: Tensor, index: Tensor | None) -> Tensor:
        """The explained entry of each row, shape ``(B,)``."""
        if index is not None:
            return output.gather(1, index.unsqueeze(1)).squeeze(1)
        if self.kind == "index":
            for place in self.place:
                output = output.select(1, place)
        return output.reshape(output.shape[0])

    def with_(self, given: Tensor | None) -> Target:
        """The same with the indices of a call."""
        return Target(self.kind, self.place, given)

    def of_captum(self, output: Tensor, given: Tensor | None) -> Any:
        """The choice in Captum's form, for a call that returned this."""
        if self.kind == PREDICTED:
            return output.argmax(1)
        if self.kind == "index":
            return self.place if len(self.place) > 1 else self.place[0]
        return given

    @property
    def described(self) -> Any:
        """As it stands in a file."""
        return list(self.place) if self.kind == "index" else self.kind


def target_of(target: Any, rows: int) -> tuple[Target, Tensor | None]:
    """The choice, and the example's indices where one is given with each call.

    Raises:
        AssertionError: If it is none of the forms.
    """
    if target is None:
        return Target("none"), None
    if isinstance(target, str) and target in (PREDICTED, GIVEN):
        given = torch.zeros(rows, dtype=torch.int64) if target == GIVEN else None
        return Target(target), given
    if isinstance(target, Integral) and not isinstance(target, bool):
        return Target("index", (int(target),)), None
    if isinstance(target, tuple) and target and all(isinstance(i, Integral) for i in target):
        return Target("index", tuple(int(i) for i in target)), None
    if isinstance(target, list) and target and all(isinstance(i, Integral) for i in target):
        target = torch.tensor(target)
    if isinstance(target, Tensor) and target.dtype in (torch.int64, torch.int32):
        if target.numel() == 1:
            return Target("index", (int(target),)), None
        if target.shape == (rows,):
            return Target(GIVEN), target.long()
    raise AssertionError(UNKNOWN.format(found=target))


def fitting(target: Target, output: Tensor) -> Target:
    """The choice for outputs of this shape: the predicted class of a single output is that output.

    Raises:
        AssertionError: If it does not choose one entry of each row, as in Captum.
    """
    single = output[0].numel() == 1
    if target.kind in (PREDICTED, GIVEN):
        if single and target.kind == PREDICTED:
            return Target("none")
        if output.dim() != 2:
            message = (
                f"Cannot choose output of shape {tuple(output.shape)} by one index per row: "
                "give a tuple of indices as target"
            )
            raise AssertionError(message)
        return target
    if target.kind == "none":
        if not single:
            raise AssertionError(SEVERAL)
        return target
    if len(target.place) != output.dim() - 1:
        message = f"Cannot choose target column with output shape {tuple(output.shape)}."
        raise AssertionError(message)
    for place, length in zip(target.place, output.shape[1:], strict=True):
        if not -length <= place < length:
            raise IndexError(f"index {place} is out of bounds for dimension with size {length}")
    return target
