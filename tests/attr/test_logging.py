"""The logger ``captum_xdnn`` says at INFO, once per function, which route is taken and why; Captum's is a notice."""

from __future__ import annotations

import logging
from typing import Any

import outside
import pytest
import torch
from torch import nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import announcement, plan
from captum_xdnn.routes.plan import Choice


@pytest.fixture(autouse=True)
def _nothing_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement, "_noticed", {})
    logging.getLogger("captum_xdnn").setLevel(logging.NOTSET)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "captum_xdnn"]


def test_the_fast_route_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    method = XIntegratedGradients(nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU()))
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        for _ in range(3):
            method.attribute(torch.randn(2, 3), target=0)
        XIntegratedGradients(method.forward_func).attribute(torch.randn(2, 3), target=0)
    assert _said(caplog) == ["Sequential: single pass, exact (degree 1)"]


@pytest.mark.usefixtures("always_hoisted")
def test_captums_route_is_announced_with_the_first_reason(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Sigmoid())
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        for _ in range(3):
            XIntegratedGradients(model).attribute(torch.randn(200, 3), target=0)
    assert _said(caplog) == ["Sequential: hoisted, 100.0% of the operations run once"]
    assert capfd.readouterr() == ("", "")


def test_a_route_that_is_chosen_by_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 0.0)
    monkeypatch.setattr(Choice, "note_captum", lambda self, _: setattr(self, "_captum", 0.0))
    outside.seen.clear()

    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Sigmoid(), nn.Linear(3, 5))
    method, routes = XIntegratedGradients(model), []
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        for _ in range(4):
            method.attribute(torch.randn(1, 3), target=0)
            routes.append(method.last_route)
    assert routes == ["hoisted", "hoisted", "captum", "captum"]
    why = "both were timed, and hoisting took longer"
    assert _said(caplog)[1:] == [f"Sequential: Captum's Integrated Gradients, because of {why}"]
    assert {r.levelname for r in caplog.records} == {"INFO"}
    assert f"Captum's own IntegratedGradients runs ({why})" in str(method.certificate)
    model.register_forward_pre_hook(lambda *_: outside.seen.append(1))
    for _ in range(20):
        method.attribute(torch.randn(1, 3), target=0)
    assert 20 < len(outside.seen) < 30  # nearly no call is watched beside Captum's


@pytest.mark.usefixtures("always_hoisted")
def test_a_turn_of_the_verdict_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    method = XIntegratedGradients(model)
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        method.attribute(torch.randn(2, 3), target=0)
        with torch.no_grad():
            model[0].bias.zero_()
        method.attribute(torch.randn(2, 3), target=0)
    assert [text.split(": ")[1].split(",")[0] for text in _said(caplog)] == [
        "hoisted",
        "single pass",
    ]


def test_captums_route_is_noticed_once_for_each_kind_of_function(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def kind() -> Any:
        return lambda x: x if x.sum() > 0 else -x

    for _ in range(3):
        xig = XIntegratedGradients(kind())
        xig.attribute(torch.ones(2, 3), target=0)
        xig.attribute(torch.ones(2, 3), target=0)
    (said,) = _said(caplog)
    assert "Captum's Integrated Gradients, because of " in said
    assert "certify" in said
    assert 'setLevel("ERROR") silences this' in said
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert capfd.readouterr() == ("", "")


def test_nothing_is_said_of_fast_routes_wrong_calls_and_where_it_is_silenced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fast = lambda x: x.relu()  # noqa: E731
    XIntegratedGradients(fast).attribute(torch.ones(2, 3), target=0)
    wrong = lambda x: x.exp()[:, 5]  # noqa: E731
    with pytest.raises(IndexError):
        XIntegratedGradients(wrong).attribute(torch.ones(2, 3))
    asked = lambda x: x.exp()  # noqa: E731
    XIntegratedGradients(asked, strategy="captum").attribute(torch.ones(2, 3), target=0)
    logging.getLogger("captum_xdnn").setLevel("ERROR")
    try:
        silenced = lambda x: x.exp()  # noqa: E731
        XIntegratedGradients(silenced).attribute(torch.ones(2, 3), target=0)
    finally:
        logging.getLogger("captum_xdnn").setLevel(logging.NOTSET)
    assert not _said(caplog)
