"""Python decides by a threshold on a value that moves, far below the input: only seeing the reading helps.

In the middle of the ray the function still is what it was at the input, so nothing but the reading shows.
"""

from __future__ import annotations

import contextlib
import io
import math

import pytest
import torch
from comparing import compare, inputs, linear
from test_reads import VALUES
from test_unseen_work import PARTS, POOL
from torch import Tensor

from captum_xdnn import XIntegratedGradients

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning"),
]
DISCRETE = {"bool", "equal", "allclose", "contains", "text", "argmax_item", "int", "divmod"}
KINDS = {**{k: v for k, v in VALUES.items() if k not in DISCRETE}, **PARTS}
del KINDS["scripted_fork"], KINDS["func_jvp"]
_OUTSIDE = torch.zeros(150, 4, dtype=torch.float64)


def _into_a_tensor_outside(z: Tensor) -> Tensor:
    POOL.submit(lambda: _OUTSIDE[: len(z)].copy_(z)).result()
    return _OUTSIDE[: len(z)]


def _into_a_parameter(z: Tensor) -> Tensor:
    _PARAMETER.data = z
    return _PARAMETER


def _saved_by_autograd(z: Tensor) -> Tensor:
    with torch.enable_grad():
        return (z.clone().requires_grad_() ** 3).grad_fn._saved_self


def _caught_by_a_hook(z: Tensor) -> Tensor:
    caught: list[Tensor] = []
    with torch.enable_grad():
        product = z.clone().requires_grad_() * 1
        product.register_hook(caught.append)
        (product * product).sum().backward()
    return caught[0]


def _printed(z: Tensor) -> float:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print(z.sum())
    return float(text.getvalue().split("(")[1].split(",")[0])


_PARAMETER = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64), requires_grad=False)
KINDS |= {
    "written_into_a_parameter": _into_a_parameter,
    "saved_by_autograd": _saved_by_autograd,
    "caught_by_a_hook": _caught_by_a_hook,
    "printed": _printed,
    "old_constructor": lambda z: torch.DoubleTensor([row.sum() for row in z]),
    "older_constructor": lambda z: torch.Tensor([row.sum() for row in z]),
    "summed_by_python": lambda z: math.fsum(z.flatten()),
    "sorted_by_python": lambda z: sorted(z.flatten())[-1],
    "key_of_python": lambda z: {float(a): 1 for a in z.flatten()}.popitem()[0],
    "view_and_its_base": lambda z: z[:2]._base,
    "nested": lambda z: torch.nested.as_nested_tensor(list(z)).to_padded_tensor(0.0),
    "sparse_values": lambda z: z.to_sparse().values(),
    "complex_parts": lambda z: torch.complex(z, z).conj().imag.neg(),
    "bytes_and_back": lambda z: z.view(torch.uint8).view(z.dtype),
    "shared_between_processes": lambda z: z.clone().share_memory_(),
}


def _number(value: object) -> float:
    return float(torch.as_tensor(value).detach().double().sum())


def _thresholded(part) -> tuple:
    first, last = linear(), linear(2, seed=1)
    limit = 0.3 * _number(part(first(inputs()).relu().detach()))

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        return last(z * (2.0 if _number(part(z.detach())) > limit else 1.0))

    return function, inputs()


@pytest.mark.parametrize("kind", KINDS)
def test_a_threshold_that_lies_below_the_middle(kind):
    function, x = _thresholded(KINDS[kind])
    explainer = XIntegratedGradients(function)
    for _ in range(2):
        compare(explainer, function, x, internal_batch_size=len(x))
