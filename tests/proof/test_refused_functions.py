"""Functions that decide by values or give no tensor: refused with a reason, and in silence."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

X = torch.ones(2, 3)


def _branch(x: Tensor) -> Tensor:
    return x.relu() if x.sum() > 0 else x


def _item(x: Tensor) -> Tensor:
    return x * float(x.max().item() > 0)


def _loop(x: Tensor) -> Tensor:
    while x.norm() > 1:
        x = x / 2
    return x


def _numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(np.maximum(x.detach().numpy(), 0))


def _listed(x: Tensor) -> Tensor:
    return x * (x[0, 0].tolist() > 0)


def _printed(x: Tensor) -> Tensor:
    return x * float(str(x[0, 0].detach().numpy()))


def _contained(x: Tensor) -> Tensor:
    return x.relu() if 1.0 in x else x


def _equal(x: Tensor) -> Tensor:
    return x.relu() if torch.equal(x, X) else x


def _raises(x: Tensor) -> Tensor:
    message = "the user's own mistake"
    raise ValueError(message)


def _mistake(x: Tensor) -> Tensor:
    return x @ torch.ones(5, 5)


READ = "Python reads a value that moves, and may decide by it"
RAISES = "it cannot be watched: it raises "

REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "branch": (_branch, READ),
    "item": (_item, READ),
    "loop": (_loop, READ),
    "numpy": (_numpy, READ),
    "list": (_listed, READ),
    "text": (_printed, READ),
    "contains": (_contained, READ),
    "equal": (_equal, READ),
    "exception": (_raises, RAISES + "ValueError: the user's own mistake"),
    "wrong shapes": (_mistake, RAISES + "RuntimeError: "),
    "two outputs": (lambda x: (x, 2 * x), "something other than one tensor"),
    "no output": (lambda x: None, "something other than one tensor"),
    "a number": (lambda x: 3.0, "something other than one tensor"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_function_of_this_kind_is_refused_quietly_and_with_a_reason(
    kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    function, reason = REFUSED[kind]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = certify(function, X)
    assert not certificate.homogeneous
    blocker = certificate.blockers[0]
    assert reason in blocker.reason
    assert "\n" not in blocker.reason
    assert len(blocker.reason) < 300
    assert blocker.remedy
    if reason == READ:
        assert f"{__file__}:" in blocker.location
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [r for r in caplog.records if r.name.startswith("torch")] == []


@pytest.mark.parametrize("kind", [k for k, (_, reason) in REFUSED.items() if reason == READ])
def test_captums_numbers_where_python_decides(kind: str) -> None:
    function = REFUSED[kind][0]
    x = torch.tensor([[0.5, -0.25, 1.0], [0.3, 0.7, -0.6]])
    if kind == "numpy":  # no gradient comes through it
        for method in (IntegratedGradients(function), XIntegratedGradients(function)):
            with pytest.raises(RuntimeError, match="does not require grad"):
                method.attribute(x, target=0)
        return
    xig = XIntegratedGradients(function)
    expected = IntegratedGradients(function).attribute(x, target=0)
    torch.testing.assert_close(xig.attribute(x, target=0), expected, rtol=0, atol=0)
    assert xig.last_route == "captum"


def test_what_the_function_prints_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def function(x: Tensor) -> Tensor:
        speaker = threading.Thread(target=print, args=("from elsewhere",))
        speaker.start()
        speaker.join()
        print("from here")
        return x.relu()

    assert certify(function, X).homogeneous
    assert capfd.readouterr().out == "from elsewhere\nfrom here\n"
