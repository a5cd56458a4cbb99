"""Objects pickle and copy as Captum's do; what was learnt of the function stays behind."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_xdnn import XIntegratedGradients


def _method() -> XIntegratedGradients:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    return XIntegratedGradients(
        model, multiply_by_inputs=False, strategy="single_pass", verify=False
    )


@pytest.mark.parametrize(
    "again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_copy_answers_alike_and_knows_nothing_yet(again) -> None:
    method, inputs = _method(), torch.randn(3, 4)
    answer = method.attribute(inputs, target=1)
    twin = again(method)
    assert (twin.last_route, twin.certificate) == (None, None)
    assert (twin.strategy, twin.verify, twin.multiplies_by_inputs) == ("single_pass", False, False)
    assert twin.forward_func is not method.forward_func
    torch.testing.assert_close(twin.attribute(inputs, target=1), answer)
    assert method.last_route == "single_pass"


def test_what_captum_cannot_pickle_neither_can_we() -> None:
    function = lambda x: x  # noqa: E731
    errors = (pickle.PicklingError, AttributeError, TypeError)
    for method in (IntegratedGradients(function), XIntegratedGradients(function)):
        with pytest.raises(errors):
            pickle.dumps(method)


def test_the_pickle_holds_the_model_and_little_else() -> None:
    method, inputs = _method(), torch.randn(3, 4)
    before = len(pickle.dumps(method))
    method.attribute(inputs, target=1)
    assert len(pickle.dumps(method)) == before
    captum = len(pickle.dumps(IntegratedGradients(method.forward_func)))
    assert before - captum < 500


def test_a_certificate_pickles() -> None:
    method = XIntegratedGradients(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    method.attribute(torch.randn(2, 2), target=0)
    certificate = method.certificate
    assert certificate is not None
    assert certificate.blockers
    assert pickle.loads(pickle.dumps(certificate)) == certificate
