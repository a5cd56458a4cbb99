"""Decisions on shapes: a verdict is that of the shapes it was asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from calls import Counter
from captum.attr import IntegratedGradients
from torch import Tensor
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify, register_rule, unregister_rule
from captum_xdnn.proof import laws


def _parity(x: Tensor) -> Tensor:
    return x.relu() if x.shape[0] % 2 == 0 else x.exp()


def _size(x: Tensor) -> Tensor:
    return x.relu() if x.shape[0] <= 4 else x.exp()


def _columns(x: Tensor) -> Tensor:
    return x.relu() if x.shape[1] > 4 else x.exp()


def _layout(x: Tensor) -> Tensor:
    return x.relu() if x.is_contiguous() else x.exp()


def _dtype(x: Tensor) -> Tensor:
    return x.relu() if x.dtype == torch.float32 else x.exp()


GOOD, BAD = True, False
DECISIONS: dict[str, tuple[Callable[[Tensor], Tensor], list[tuple[Tensor, bool]]]] = {
    "parity": (_parity, [(torch.ones(n, 3), n % 2 == 0) for n in (4, 5, 2, 3, 1)]),
    "size": (_size, [(torch.ones(n, 3), n <= 4) for n in (3, 6, 4, 5, 1, 60)]),
    "columns": (_columns, [(torch.ones(2, n), n > 4) for n in (5, 4, 6)]),
    "layout": (_layout, [(torch.ones(2, 3), GOOD), (torch.ones(3, 2).t(), BAD)]),
    "dtype": (_dtype, [(torch.ones(2, 3), GOOD), (torch.ones(2, 3).double(), BAD)]),
}


@pytest.mark.parametrize("kind", DECISIONS)
def test_certificates_follow_decisions_on_the_form_of_the_input(kind: str) -> None:
    function, asked = DECISIONS[kind]
    assert [certify(function, x).homogeneous for x, _ in asked * 2] == [v for _, v in asked * 2]


@pytest.mark.parametrize("kind", ["columns", "dtype"])
def test_attributions_follow_them_too(kind: str) -> None:
    function, asked = DECISIONS[kind]
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    for x, homogeneous in asked * 2:
        expected = captum.attribute(x, target=0, n_steps=30)
        found = xig.attribute(x, target=0, n_steps=30)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert (xig.last_route == "single_pass") is homogeneous


def test_a_function_that_fits_one_size_is_certified_for_it() -> None:
    function = lambda x: x * torch.ones(3, 3)  # noqa: E731
    assert certify(function, torch.ones(3, 3)).homogeneous
    assert "it raises RuntimeError" in certify(function, torch.ones(2, 3)).blockers[0].reason


def test_a_run_is_proved_once_for_each_form_of_the_input(proofs: Counter) -> None:
    model = stack()
    forms = [torch.ones(2, 3), torch.ones(5, 3), torch.ones(2, 5, 3), torch.ones(1, 3)]
    for x in forms * 3:
        assert certify(model, x).homogeneous
    assert proofs.count == len(forms)


def test_several_inputs_share_the_batch() -> None:
    function = lambda x, y: torch.cat([x, y], 1)  # noqa: E731
    for n in (2, 1, 9):
        assert certify(function, (torch.ones(n, 3), torch.ones(n, 5))).homogeneous


def test_a_dimension_may_happen_to_equal_the_batch() -> None:
    model = stack()
    for n in (3, 7, 3):
        assert certify(model, torch.ones(n, 3)).homogeneous


def test_a_kernel_in_python_of_a_library_that_is_loaded_later() -> None:
    """It may read what it is given where nobody sees it, unless a rule answers for it."""
    assert certify(stack(), torch.ones(2, 3)).homogeneous
    library = torch.library.Library("captum_xdnn_late", "DEF")
    library.define("doubled(Tensor x) -> Tensor")
    library.impl("doubled", lambda x: x * 2, "CompositeImplicitAutograd")
    function = lambda x: torch.ops.captum_xdnn_late.doubled(x).relu()  # noqa: E731
    assert not certify(function, torch.ones(2, 3)).homogeneous
    register_rule("captum_xdnn_late.doubled.default")(laws.linear)
    try:
        certificate = certify(function, torch.ones(2, 3))
        assert certificate.homogeneous, str(certificate)
    finally:
        unregister_rule("captum_xdnn_late.doubled.default")
