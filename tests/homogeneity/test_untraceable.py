"""Kinds of functions that give no graph: refused with a reason, and in silence."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import stack
from torch import Tensor

from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import certify
from captum_xdnn.homogeneity.tracing import trace

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


def _dice(x: Tensor) -> Tensor:
    return x if random.random() < 0.5 else -x


def _raises(x: Tensor) -> Tensor:
    message = "the user's own mistake"
    raise ValueError(message)


def _mistake(x: Tensor) -> Tensor:
    return x @ torch.ones(5, 5)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "branch": (_branch, "data-dependent"),
    "item": (_item, ""),
    "loop": (_loop, "data-dependent"),
    "numpy": (_numpy, ""),
    "dice": (_dice, "the function draws random numbers in Python"),
    "exception": (_raises, "ValueError: the user's own mistake"),
    "wrong shapes": (_mistake, "RuntimeError"),
    "two outputs": (lambda x: (x, 2 * x), "returns 2 values"),
    "no output": (lambda x: None, "returns"),
    "a number": (lambda x: 3.0, ""),
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
    (blocker,) = certificate.blockers
    assert blocker.op == "torch.export"
    assert blocker.reason.startswith("it cannot be traced: ")
    assert reason.lower() in blocker.reason.lower()
    assert "\n" not in blocker.reason
    assert len(blocker.reason) < 300
    assert "tensor operations" in blocker.remedy
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [r for r in caplog.records if r.name.startswith("torch")] == []


def test_the_error_names_its_kind() -> None:
    with pytest.raises(TraceError, match=r"^ValueError: the user's own mistake$"):
        trace(_raises, (X,))


def test_a_scripted_module_is_refused_with_what_to_use_instead() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(stack())
    certificate = certify(model, X)
    if not certificate.homogeneous:  # a later release may see through it
        assert "use the module it was scripted from" in certificate.blockers[0].reason


def test_others_may_speak_while_the_tracer_is_silenced(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def function(x: Tensor) -> Tensor:
        import sys

        speaker = threading.Thread(
            target=print, args=("from elsewhere",), kwargs={"file": sys.stderr}
        )
        speaker.start()
        speaker.join()
        return x.relu()

    assert certify(function, X).homogeneous
    assert "from elsewhere" in capfd.readouterr().err
