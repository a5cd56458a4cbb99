"""``compare``: run each method, measure it, and hold it against a reference."""

import math
import random
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor
from tqdm import tqdm

from captum_xdnn.compare.comparison import Comparison, Row
from captum_xdnn.compare.measuring import count_flops, peak_bytes, seconds_of
from captum_xdnn.compare.methods import DEFAULT_METHODS, Method, as_tuple, methods_of
from captum_xdnn.compare.problem import Problem, as_it_was
from captum_xdnn.errors import first_line
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
            ``"Saliency"`` and all other classes of ``captum.attr`` that are made of the function
            alone), these classes themselves, objects of any of Captum's, and callables that take the
            inputs and ``target=``; or a mapping of names to these.
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
    problem = Problem(forward_func, inputs, target, baselines, additional_forward_args)
    chosen = methods_of(methods, problem)
    names = [method.name for method in chosen]
    bar = tqdm(total=3 * len(chosen), disable=not progress, unit="step")
    with bar, _seeded(problem), as_it_was(problem) as put_back:
        failures = Failures(put_back)
        attributions: dict[str, tuple[Tensor, ...]] = {}
        for method in chosen:
            bar.set_description(method.name)
            with failures.noted(method), _seeded(problem):
                given = method.explain(problem.call.inputs)
                shapes, expected = (
                    [tuple(x.shape) for x in xs] for xs in (given, problem.call.inputs)
                )
                if shapes == expected:
                    attributions[method.name] = given
                else:
                    failures[method.name] = f"attributions of shapes {shapes}, not {expected}"
            put_back()
            bar.update()
        reference, over = _held_against(reference, speed_up_over, attributions, names, failures)
        bar.set_description("timing")
        seconds = _timed(chosen, problem, failures, rounds)
        bar.update(len(chosen))
        rows = []
        for method in chosen:
            bar.set_description(method.name)
            found: dict[str, Any] = {}
            if method.name in attributions:
                found = _measured(method, problem, attributions, reference, perturbations, failures)
                found["route"] = method.route()
            if method.name in seconds:
                found["seconds"] = seconds[method.name]
                found["speed_up"] = seconds.get(over, math.nan) / seconds[method.name]
            rows.append(Row(method.name, failure=failures.get(method.name, ""), **found))
            bar.update()
    return Comparison(tuple(rows), reference, over, attributions, problem)


@contextmanager
def _seeded(problem: Problem) -> Iterator[None]:
    """The caller's random numbers stay as they are; methods draw the same ones at every comparison."""
    pythons, numpys = random.getstate(), np.random.get_state()  # GradientShap draws from numpy
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        with _forked(problem):
            torch.manual_seed(SEED)
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)


def _forked(problem: Problem) -> AbstractContextManager[None]:
    """What is drawn from torch inside changes nothing outside."""
    devices = [problem.device] if problem.device.type == "cuda" else []
    return torch.random.fork_rng(devices)


class Failures(dict[str, str]):
    """Why methods failed, by name; the next one finds the network as the first one did."""

    def __init__(self, put_back: Callable[[], None]) -> None:
        super().__init__()
        self._put_back = put_back

    @contextmanager
    def noted(self, method: Method, doing: str = "") -> Iterator[None]:
        """An error of a method is noted, and stops no other."""
        try:
            yield
        except Exception as error:
            self[method.name] = doing + first_line(error)
            self._put_back()


def _held_against(
    reference: str | None,
    over: str | None,
    attributions: Mapping[str, Any],
    names: list[str],
    failures: Mapping[str, str],
) -> tuple[str, str]:
    """The names of the reference and of the method that speed-ups are over."""
    said = "; ".join(f"{name}: {failure}" for name, failure in failures.items())
    if not attributions:
        raise ValueError(f"no method gave attributions ({said})")
    if reference is None:
        steps = {n: int(n[3:-1]) for n in attributions if re.fullmatch(r"IG\(\d+\)", n)}
        reference = max(steps, key=steps.__getitem__) if steps else next(iter(attributions))
    if over is None:
        over = "IG(50)" if "IG(50)" in attributions else reference
    for name in (reference, over):
        if name not in attributions:
            message = f"{name!r} must be a method that gives attributions, of {', '.join(names)}"
            raise ValueError(f"{message} ({said})" if said else message)
    return reference, over


def _timed(
    methods: list[Method], problem: Problem, failures: Failures, rounds: int
) -> dict[str, float]:
    """The seconds of each method that does not fail meanwhile; ``failures`` gets those that do."""

    def again(method: Method) -> None:
        if method.name not in failures:
            with failures.noted(method, "called again: "):
                method.explain(problem.call.inputs)

    calls = {m.name: partial(again, m) for m in methods if m.name not in failures}
    seconds = seconds_of(calls, rounds, problem.device)
    return {name: taken for name, taken in seconds.items() if name not in failures}


def _measured(
    method: Method,
    problem: Problem,
    attributions: Mapping[str, tuple[Tensor, ...]],
    reference: str,
    perturbations: int,
    failures: Failures,
) -> dict[str, Any]:
    """What the attributions say, and further calls: where one fails, without what comes after it."""
    found, theirs = attributions[method.name], attributions[reference]
    totals = sum(f.double().reshape(len(f), -1).sum(1) for f in found)
    comparable = problem.gained.shape == (problem.call.size,)
    measured = {
        "gap": float((totals - problem.gained).abs().max()) if comparable else math.nan,
        "difference": float(attribution_difference(found, theirs).mean()),
        "rank_correlation": float(rank_correlation(found, theirs).nanmean()),
    }
    if method.name not in failures:
        whole, call = problem.pass_flops, partial(method.explain, problem.call.inputs)
        with failures.noted(method, "called again: "):
            passes = count_flops(call) / whole if whole else math.nan
            measured |= {"passes": passes, "memory": peak_bytes(call, problem.device)}
    if perturbations and method.name not in failures:
        with failures.noted(method, "under noise: "):
            measured |= _under_noise(method, problem, found, perturbations)
    return measured


def _under_noise(
    method: Method, problem: Problem, found: tuple[Tensor, ...], count: int
) -> dict[str, float]:
    """Captum's metrics, means over the examples, every method under the same noise."""
    inputs = problem.call.inputs
    if not any(x.is_floating_point() for x in inputs):
        return {}  # noise cannot be added to indices

    def perturbed(given: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        noise = tuple(
            NOISE * float(x.detach().std()) * torch.randn_like(x)
            if x.is_floating_point()
            else torch.zeros_like(x)
            for x in as_tuple(given)
        )
        return noise, tuple(x - n for x, n in zip(as_tuple(given), noise, strict=True))

    def explained(given: Any) -> tuple[Tensor, ...]:
        # Captum's noise is float32, and is added to indices too.
        moved = tuple(
            m.to(x.dtype) if x.is_floating_point() else x
            for m, x in zip(as_tuple(given), inputs, strict=True)
        )
        # What a method draws does not change the noise that comes after it.
        with _forked(problem):
            # Captum views them as rows.
            return tuple(f.contiguous() for f in method.explain(moved))

    many = {"n_perturb_samples": count, "max_examples_per_batch": problem.call.size}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _seeded(problem):
            wrong = infidelity(
                problem.forward_func,
                perturbed,
                inputs,
                tuple(f.contiguous() for f in found),
                additional_forward_args=problem.call.arguments or None,
                target=problem.call.target,
                **many,
            )
        with _seeded(problem):
            sensitive = sensitivity_max(explained, inputs, **many)
    return {"infidelity": float(wrong.mean()), "max_sensitivity": float(sensitive.mean())}
