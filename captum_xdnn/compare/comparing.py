"""``compare``: run each method, measure it, and hold it against a reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor
from tqdm import tqdm

from captum_xdnn.compare.comparison import Comparison, Row
from captum_xdnn.compare.flops import count_flops
from captum_xdnn.compare.measuring import peak_bytes, seconds_of
from captum_xdnn.compare.methods import DEFAULT_METHODS, Method, methods_of
from captum_xdnn.compare.problem import Problem
from captum_xdnn.metrics import attribution_difference, rank_correlation

SEED = 0
"""Of what methods draw, and of the noise in infidelity and max-sensitivity."""
NOISE = 0.1
"""Standard deviation of infidelity's noise, in parts of the inputs' own."""


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
            ``"InputXGradient"``, ``"Saliency"``, ``"DeepLift"``, ``"GradientShap"``), objects of any of Captum's ``Attribution`` classes, and callables
            that take the inputs and ``target=``; or a mapping of names to these.
        reference: Name of the method that the others are held against; None for the ``IG(n)`` with
            the most steps, or the first method where there is none.
        speed_up_over: Name of the method whose time the speed-ups are over; None for ``"IG(50)"``,
            Captum's default number of steps, or the reference where that is not among the methods.
        rounds: How often each method is timed, all in turn, after a call that is not counted.
        perturbations: Number of draws for Captum's infidelity and max-sensitivity, which call each
            method so often again; 0 to leave them out.
        progress: Whether a bar on standard error shows how far it is.

    Returns:
        The comparison. A method that raises an error has a row that says so.

    Raises:
        ValueError: If a method is not known, two have one name, or the reference is not among them
            or gave no attributions; if there are no rounds.
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
    with steps, _of_their_own_randomness(problem.call.inputs[0].device):
        first = {method.name: _tried(method, problem, steps) for method in chosen}
        attributions = {name: found for name, found in first.items() if not isinstance(found, str)}
        name = _chosen(reference, _longest(attributions), chosen, first)
        common = "IG(50)" if "IG(50)" in attributions else name
        over = _chosen(speed_up_over, common, chosen, first)
        running = [method for method in chosen if method.name in attributions]
        device = problem.call.inputs[0].device
        calls = [partial(method.explain, problem.call.inputs) for method in running]
        seconds = dict(zip(attributions, seconds_of(calls, rounds, device), strict=True))
        steps.update(len(chosen))
        rows = []
        for method in chosen:
            found = first[method.name]
            if isinstance(found, str):
                rows.append(Row(method.name, failure=found))
            else:
                row = _row(method, problem, found, attributions[name], perturbations)
                taken = seconds[method.name]
                rows.append(replace(row, seconds=taken, speed_up=seconds[over] / taken))
            steps.update()
    return Comparison(tuple(rows), name, over, attributions, problem)


@contextmanager
def _of_their_own_randomness(device: torch.device) -> Iterator[None]:
    """The caller's random numbers stay as they are; methods draw the same ones at every comparison."""
    numpys = np.random.get_state()  # GradientShap draws from numpy
    np.random.seed(SEED)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(SEED)
            yield
    finally:
        np.random.set_state(numpys)


def _tried(method: Method, problem: Problem, steps: Any) -> tuple[Tensor, ...] | str:
    """The attributions, or why there are none."""
    steps.set_description(method.name)
    try:
        found = method.explain(problem.call.inputs)
        shapes = [tuple(x.shape) for x in problem.call.inputs]
        if [tuple(f.shape) for f in found] != shapes:
            return f"attributions of shapes {[tuple(f.shape) for f in found]}, not {shapes}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    finally:
        steps.update()
    return found


def _longest(attributions: Mapping[str, Any]) -> str:
    """The ``IG(n)`` with the most steps, or the first method where there is none."""
    steps = {n: int(n[3:-1]) for n in attributions if n.startswith("IG(") and n[3:-1].isdigit()}
    return max(steps, key=steps.__getitem__) if steps else next(iter(attributions), "")


def _chosen(
    asked: str | None, otherwise: str, methods: list[Method], first: Mapping[str, Any]
) -> str:
    """A method that gave attributions."""
    name = otherwise if asked is None else asked
    if isinstance(first.get(name), tuple):
        return name
    names = ", ".join(method.name for method in methods)
    failures = "; ".join(f"{n}: {f}" for n, f in first.items() if isinstance(f, str))
    message = f"{name or 'the reference'!r} must be a method that gives attributions, of {names}"
    raise ValueError(f"{message} ({failures})" if failures else message)


def _row(
    method: Method,
    problem: Problem,
    found: tuple[Tensor, ...],
    reference: tuple[Tensor, ...],
    perturbations: int,
) -> Row:
    inputs = problem.call.inputs
    whole = problem.pass_flops
    totals = sum(f.double().reshape(len(f), -1).sum(1) for f in found)
    gained = problem.gained
    comparable = gained.shape == (problem.call.size,)
    work = count_flops(lambda: method.explain(inputs))
    row = Row(
        method=method.name,
        route=method.route(),
        passes=work / whole if whole else float("nan"),
        memory=peak_bytes(lambda: method.explain(inputs), inputs[0].device),
        gap=float((totals - gained).abs().max()) if comparable else float("nan"),
        difference=float(attribution_difference(found, reference).mean()),
        rank_correlation=float(rank_correlation(found, reference).nanmean()),
    )
    if not perturbations:
        return row
    wrong, sensitive = _under_noise(method, problem, found, perturbations)
    return replace(row, infidelity=wrong, max_sensitivity=sensitive)


def _under_noise(
    method: Method, problem: Problem, found: tuple[Tensor, ...], count: int
) -> tuple[float, float]:
    """Captum's infidelity and max-sensitivity, each method under the same noise."""
    call = problem.call

    def perturbed(*inputs: Any) -> tuple[Any, Any]:
        tensors = inputs[0] if isinstance(inputs[0], tuple) else (inputs[0],)
        noise = tuple(NOISE * float(x.detach().std()) * torch.randn_like(x) for x in tensors)
        moved = tuple(x - n for x, n in zip(tensors, noise, strict=True))
        return (noise, moved) if isinstance(inputs[0], tuple) else (noise[0], moved[0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(SEED)
        wrong = infidelity(
            problem.forward_func,
            perturbed,
            problem.unformatted(call.inputs),
            problem.unformatted(found),
            additional_forward_args=call.arguments or None,
            target=call.target,
            n_perturb_samples=count,
            max_examples_per_batch=call.size,
        )
        torch.manual_seed(SEED)
        sensitive = sensitivity_max(
            lambda x: method.explain(x if isinstance(x, tuple) else (x,)),
            call.inputs,
            n_perturb_samples=count,
            max_examples_per_batch=call.size,
        )
    return float(wrong.mean()), float(sensitive.mean())
