"""``compare``: run each method, measure it, and hold it against a reference."""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from captum_xdnn._waiting import is_shown
from captum_xdnn.compare.comparison import Comparison, Row
from captum_xdnn.compare.measuring import count_flops, now, peak_bytes, seconds_of
from captum_xdnn.compare.methods import Method, methods_of
from captum_xdnn.compare.problem import Problem, as_it_was
from captum_xdnn.compare.under_noise import seeded, under_noise
from captum_xdnn.errors import first_line
from captum_xdnn.metrics import attribution_difference, rank_correlation


def compare(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: Any = None,
    baselines: Any = None,
    additional_forward_args: Any = None,
    *,
    layer: nn.Module | None = None,
    methods: Iterable[Any] | Mapping[str, Any] | None = None,
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
        layer: A layer of the function, whose attributions are compared in place of the inputs'.
        methods: Names: ``"IG(n)"`` for Captum's Integrated Gradients (of the layer, if there is one)
            with ``n`` steps, and the classes of ``captum.attr`` that are made of the function, and
            of the layer if there is one, with arguments of their ``attribute`` in brackets
            (``"XIntegratedGradients"``, ``"XIntegratedGradients(20)"`` for 20 steps,
            ``"KernelShap(n_samples=200)"``); these classes themselves, objects of any of Captum's,
            and callables that take the inputs and ``target=``; or a mapping of names to these.
            None for ``DEFAULT_METHODS``, or for ``LAYER_METHODS``.
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
    problem = Problem(forward_func, inputs, target, baselines, additional_forward_args, layer)
    chosen = methods_of(methods, problem)
    names = [method.name for method in chosen]
    bar = tqdm(total=(2 + rounds) * len(chosen), disable=not is_shown(progress), unit="step")
    with bar, seeded(problem), as_it_was(problem) as put_back:
        _ = problem.pass_flops  # torch is warm before the first method's first call
        failures = Failures(put_back)
        attributions: dict[str, tuple[Tensor, ...]] = {}
        first_calls: dict[str, float] = {}
        for method in chosen:
            bar.set_description(method.name)
            with failures.noted(method), seeded(problem):
                start = now(problem.device)
                given = method.explain(problem.call.inputs)
                first_calls[method.name] = now(problem.device) - start
                if failure := problem.unfit(given):
                    failures[method.name] = failure
                else:
                    attributions[method.name] = given
            put_back()
            bar.update()
        reference, over = _held_against(reference, speed_up_over, attributions, names, failures)
        bar.set_description("timing")
        seconds = _timed(chosen, problem, failures, rounds, bar.update)
        bar.n = (1 + rounds) * len(chosen)  # those that failed are not timed
        rows = []
        for method in chosen:
            bar.set_description(method.name)
            found: dict[str, Any] = {}
            if method.name in attributions:
                found = _measured(method, problem, attributions, reference, perturbations, failures)
                found |= {"route": method.route(), "reason": method.reason()}
                found["first_seconds"] = first_calls[method.name]
            if method.name in seconds:
                taken = seconds[method.name]
                ratios = [
                    theirs / mine
                    for theirs, mine in zip(seconds.get(over, ()), taken, strict=False)
                ]
                found["seconds"] = statistics.median(taken)
                found["speed_up"] = statistics.median(ratios) if ratios else math.nan
                found["speed_ups"] = tuple(ratios)
            rows.append(Row(method.name, failure=failures.get(method.name, ""), **found))
            bar.update()
    return Comparison(tuple(rows), reference, over, attributions, problem)


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
    methods: list[Method],
    problem: Problem,
    failures: Failures,
    rounds: int,
    after_each: Callable[[], object],
) -> dict[str, list[float]]:
    """The seconds of each method, round by round, that does not fail meanwhile; ``failures`` gets those that do."""

    def again(method: Method) -> None:
        if method.name not in failures:
            with failures.noted(method, "called again: "):
                method.explain(problem.call.inputs)

    calls = {m.name: partial(again, m) for m in methods if m.name not in failures}
    seconds = seconds_of(calls, rounds, problem.device, after_each)
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
    measured = {"gap": problem.gap_of(found)}
    known = all(f.is_floating_point() and f.numel() for f in (*found, *theirs))
    if known and [f.shape for f in found] == [t.shape for t in theirs]:
        measured["difference"] = float(attribution_difference(found, theirs).mean())
        measured["rank_correlation"] = float(rank_correlation(found, theirs).nanmean())
    if method.name not in failures:
        whole, call = problem.pass_flops, partial(method.explain, problem.call.inputs)
        with failures.noted(method, "called again: "):
            passes = count_flops(call) / whole if whole else math.nan
            measured |= {"passes": passes, "memory": peak_bytes(call, problem.device)}
            if method.captums:
                captums = method.captums(problem.call.inputs)
                measured["same_steps"] = float(attribution_difference(found, captums).mean())
    if perturbations and method.name not in failures:
        with failures.noted(method, "under noise: "):
            measured |= under_noise(method, problem, found, perturbations)
    return measured
