"""What the user's code holds, as it was before an export: also where that fails.

An export runs the user's function a few times more than a call, with tensors that are none of
the user's. What the function holds is put back as after every watched run; beside it what tensors held
that are no parameters, which another thread may be training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.recording.random_state import torchs_dice
from captum_xdnn.recording.state import Noted, put_back_tensors
from captum_xdnn.recording.tensors import is_hollow, saved_of


@contextmanager
def left_alone(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Put back, when the block ends or fails, what the runs in it have changed of the user's."""
    noted = Noted(function, arguments)
    given = [a for a in arguments if isinstance(a, Tensor)]
    tensors = {id(t): t for t in (*given, *noted.tensors()) if _is_copied(t)}.values()
    kept = [saved_of(t) for t in tensors]
    rolled = torchs_dice()
    try:
        yield
    finally:
        for dice in rolled:
            dice.write(dice.before)
        noted.put_back()
        put_back_tensors(k for k in kept if not torch.equal(k.tensor.detach(), k.content))


def _is_copied(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and not tensor.is_quantized and not is_hollow(tensor)
    return plain and not isinstance(tensor, nn.Parameter)
