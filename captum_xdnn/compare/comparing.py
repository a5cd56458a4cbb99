"""``compare``: run each method, measure it, and hold it against a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from captum_xdnn.compare.comparison import Comparison, Row
from captum_xdnn.compare.flops import count_flops
from captum_xdnn.compare.measuring import peak_bytes, seconds_of
from captum_xdnn.compare.methods import DEFAULT_METHODS, Method, methods_of
from captum_xdnn.compare.noise import under_noise
from captum_xdnn.compare.problem import Problem
from captum_xdnn.metrics import attribution_difference, rank_correlation

SEED = 0
"""Of what methods draw, and of the noise in infidelity and max-sensitivity."""


def compare(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: Any = None,
    baselines: Any = None,
    additional_forward_args: Any = None,
    *,
    methods: Iterable[Any] | Mapping[str, Any] = DEFAULT_METHODS,
    reference: str | None = None,
    speed_up_over: str | None = None,
    rounds: int = 5,
    perturbations: int = 10,
    progress: bool = False,
) -> Comparison:
    r"""Compare attribution methods on one call: what each costs, and what it gives.

    Args:
        forward_func: The function to explain, as in Captum.
        inputs: Tensor or tuple of tensors of shape ``(B, ...)``.
        target: Index of the explained output, in any of Captum's forms.
        baselines: As in Captum; for the methods that take them.
        additional_forward_args: Further arguments of the function, as in Captum.
        methods: Names (``"XIntegratedGradients"``, with ``(n)`` for ``n`` steps where it takes
            more than one; ``"IG(n)"`` for Captum's Integrated Gradients with ``n`` steps;
            ``"InputXGradient"``, ``"Saliency"``, ``"DeepLift"``, ``"GradientShap"``), objects of
            any of Captum's ``Attribution`` classes, and callables that take the inputs and
            ``target=``; or a mapping of names to these.
        reference: Name of the method that the others are held against; None for the ``IG(n)`` with
            the most steps, or the first method where there is none.
        speed_up_over: Name of the method whose time the speed-ups are over; None for ``"IG(50)"``,
            Captum's default number of steps, or the reference where that is not among the methods.
        rounds: How often each method is timed, all in turn, after a call that is not counted.
        perturbations: Number of draws for Captum's infidelity and max-sensitivity, which call each
            method so often again; 0 to leave them out.
        progress: Whether a bar on standard error shows how far it is.

    Returns:
        The comparison. A method that raises an error, at once or when it is called again, has a row
        that says so.

    Raises:
        ValueError: If a method is not known, two have one name, none gave attributions, or the
            reference is not among those that did; if there are no rounds.
        TypeError: If a method is of another kind.
        AssertionError: For wrong input, as in Captum (and Captum's other types likewise).

    Source:
        Differences: Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.1. Infidelity and
        sensitivity: Yeh et al. (NeurIPS 2019), by ``captum.metrics``.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU())
        >>> found = compare(net, torch.rand(2, 4), 0, methods=("XIntegratedGradients", "IG(20)"))
        >>> found["XIntegratedGradients"].route, found["XIntegratedGradients"].difference < 1e-5
        ('single_pass', True)
    """
    if rounds < 1 or perturbations < 0:
        message = f"rounds must be positive, found {rounds}; perturbations not negative, found {perturbations}"
        raise ValueError(message)
    problem = Problem.of(forward_func, inputs, target, baselines, additional_forward_args)
    chosen = methods_of(methods, problem)
    steps = tqdm(total=3 * len(chosen), disable=not progress, unit="step")
    with steps, _of_their_own_randomness(problem):
        failures: dict[str, str] = {}
        attributions: dict[str, tuple[Tensor, ...]] = {}
        for method in chosen:
            steps.set_description(method.name)
            found = _tried(method, problem)
            if isinstance(found, str):
                failures[method.name] = found
            else:
                attributions[method.name] = found
            steps.update()
        if not attributions:
            message = "; ".join(f"{name}: {failure}" for name, failure in failures.items())
            raise ValueError(f"no method gave attributions ({message})")
        name = _chosen(reference, _longest(attributions), chosen, failures)
        common = "IG(50)" if "IG(50)" in attributions else name
        over = _chosen(speed_up_over, common, chosen, failures)
        steps.set_description("timing")
        seconds = _timed(chosen, problem, failures, rounds)
        steps.update(len(chosen))
        rows = []
        for method in chosen:
            steps.set_description(method.name)
            row = Row(method.name, failure=failures.get(method.name, ""))
            if method.name in attributions:
                found = attributions[method.name]
                row = _of_attributions(row, problem, found, attributions[name])
                if not row.failure:
                    row = _of_further_calls(row, method, problem, found, perturbations)
                row = replace(row, route=method.route())
            if method.name in seconds:
                taken = seconds[method.name]
                row = replace(row, seconds=taken, speed_up=seconds.get(over, math.nan) / taken)
            rows.append(row)
            steps.update()
    return Comparison(tuple(rows), name, over, attributions, problem)


@contextmanager
def _of_their_own_randomness(problem: Problem) -> Iterator[None]:
    """The caller's random numbers stay as they are; methods draw the same ones at every comparison."""
    numpys = np.random.get_state()  # GradientShap draws from numpy
    np.random.seed(SEED)
    try:
        with torch.random.fork_rng(problem.random_devices):
            torch.manual_seed(SEED)
            yield
    finally:
        np.random.set_state(numpys)


def _tried(method: Method, problem: Problem) -> tuple[Tensor, ...] | str:
    """The attributions, or why there are none."""
    try:
        found = method.explain(problem.call.inputs)
        shapes = [tuple(x.shape) for x in problem.call.inputs]
        if [tuple(f.shape) for f in found] != shapes:
            return f"attributions of shapes {[tuple(f.shape) for f in found]}, not {shapes}"
    except Exception as error:
        return _said(error)
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _longest(attributions: Mapping[str, Any]) -> str:
    """The ``IG(n)`` with the most steps, or the first method where there is none."""
    steps = {n: int(n[3:-1]) for n in attributions if n.startswith("IG(") and n[3:-1].isdigit()}
    return max(steps, key=steps.__getitem__) if steps else next(iter(attributions))


def _chosen(
    asked: str | None, otherwise: str, methods: list[Method], failures: Mapping[str, str]
) -> str:
    """The name of the method that others are held against."""
    name = otherwise if asked is None else asked
    names = [method.name for method in methods]
    if name in names and name not in failures:
        return name
    message = f"{name!r} must be a method that gives attributions, of {', '.join(names)}"
    said = "; ".join(f"{method}: {failure}" for method, failure in failures.items())
    raise ValueError(f"{message} ({said})" if said else message)


def _timed(
    methods: list[Method], problem: Problem, failures: dict[str, str], rounds: int
) -> dict[str, float]:
    """The seconds of each method that does not fail meanwhile; ``failures`` gets those that do."""

    def again(method: Method) -> None:
        if method.name in failures:
            return
        try:
            method.explain(problem.call.inputs)
        except Exception as error:
            failures[method.name] = f"called again: {_said(error)}"

    calls = {m.name: partial(again, m) for m in methods if m.name not in failures}
    seconds = seconds_of(calls, rounds, problem.device)
    return {name: taken for name, taken in seconds.items() if name not in failures}


def _of_attributions(
    row: Row, problem: Problem, found: tuple[Tensor, ...], reference: tuple[Tensor, ...]
) -> Row:
    """A row with what the attributions alone say."""
    totals = sum(f.double().reshape(len(f), -1).sum(1) for f in found)
    gained = problem.gained
    comparable = gained.shape == (problem.call.size,)
    return replace(
        row,
        gap=float((totals - gained).abs().max()) if comparable else math.nan,
        difference=float(attribution_difference(found, reference).mean()),
        rank_correlation=float(rank_correlation(found, reference).nanmean()),
    )


def _of_further_calls(
    row: Row, method: Method, problem: Problem, found: tuple[Tensor, ...], perturbations: int
) -> Row:
    """A row with what takes more calls; where one fails, without what comes after it."""
    whole = problem.pass_flops
    call = partial(method.explain, problem.call.inputs)
    doing = "called again"
    try:
        work = count_flops(call)
        passes = work / whole if whole else math.nan
        row = replace(row, passes=passes, memory=peak_bytes(call, problem.device))
        if perturbations:
            doing = "under noise"
            wrong, sensitive = under_noise(method, problem, found, perturbations, SEED)
            row = replace(row, infidelity=wrong, max_sensitivity=sensitive)
    except Exception as error:
        return replace(row, failure=f"{doing}: {_said(error)}")
    return row
