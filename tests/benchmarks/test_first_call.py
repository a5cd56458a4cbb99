"""The first call on a model: what tracing costs, and the call itself beside Captum's."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.compare.measuring import now

from .cases import HEADS, NETWORKS, PERCEPTRONS, Case
from .report import Report

CASES = {**HEADS, **PERCEPTRONS, **NETWORKS}
ROUNDS = 7
FIRST = "First call, over Captum at 50 steps"
TRACING = "Certificate, in Captum's calls of 50 steps"


def seconds(function: Callable[[], Any], device: torch.device) -> float:
    start = now(device)
    function()
    return now(device) - start


def first_calls(case: Case, device: torch.device) -> tuple[float, float, str]:
    """Captum's time over that of the first call, the certificate's over Captum's, and the route."""
    model, inputs = case.made(device)
    speeds, prices, route = [], [], ""
    for turn in range(ROUNDS + 1):
        fresh = copy.deepcopy(model)
        ours, captum = XIntegratedGradients(fresh), IntegratedGradients(fresh)
        captum.attribute(inputs, target=case.target)  # what torch itself does once per shape
        tracing = seconds(lambda fresh=fresh: certify(fresh, inputs), device)
        first = seconds(lambda ours=ours: ours.attribute(inputs, target=case.target), device)
        theirs = seconds(lambda captum=captum: captum.attribute(inputs, target=case.target), device)
        route = str(ours.last_route)
        if turn:  # the round before is Python's own first
            speeds.append(theirs / first)
            prices.append(tracing / theirs)
    return statistics.median(speeds), statistics.median(prices), route


@pytest.mark.parametrize("name", CASES)
def test_the_first_call_beside_tracing_is_not_slower(
    name: str, report: Report, device: torch.device
) -> None:
    speed, price, route = first_calls(CASES[name], device)
    held = speed >= 1 / 1.02
    report.add(FIRST, name, f"{speed:.2f}x ({route})", ">= 0.98x", held=held)
    report.add(TRACING, name, f"{price:.2f}", "", held=True)
    assert held
