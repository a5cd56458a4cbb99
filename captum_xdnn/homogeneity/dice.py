"""Python's dice: a function that throws them decides differently from call to call.

Random tensors show in the graph; a branch taken by ``random.random()`` does not.
"""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from captum_xdnn.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def no_dice() -> Iterator[None]:
    """Refuse a function that draws from ``random`` or NumPy's global generator.

    Raises:
        TraceError: At the end, if a number was drawn; both generators are put back first.
    """
    numpy = sys.modules.get("numpy")
    before, before_numpy = random.getstate(), _numpy_state(numpy)
    try:
        yield
        drawn = random.getstate() != before or repr(_numpy_state(numpy)) != repr(before_numpy)
    finally:
        random.setstate(before)
        if numpy is not None:
            numpy.random.set_state(before_numpy)
    if drawn:
        message = "the function draws random numbers in Python; call model.eval()"
        raise TraceError(message)


def _numpy_state(numpy: Any) -> Any:
    return None if numpy is None else numpy.random.get_state()
