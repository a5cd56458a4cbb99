"""What is known of a forward function: its traces and analyses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils import _pytree as pytree

from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import registry
from captum_xdnn.homogeneity.analysis import STEPS, Analysis, Baseline, analyse, with_prospect
from captum_xdnn.homogeneity.calls import (
    key_of_trace,
    known_baseline,
    plain_call,
    twice,
    unsuitable,
)
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.derived import root_of
from captum_xdnn.homogeneity.fingerprint import Fingerprint
from captum_xdnn.homogeneity.patience import Patience

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.tracing import Traced

logger = logging.getLogger("captum_xdnn")

KEPT_ANALYSES = 8
KEPT_CALLS = 256
CONTRADICTIONS = 3
"""So many certificates of one function may fail in use before it gets no more."""
RESTLESS = 4
"""A function that differs at this many calls in a row is not traced again until it settles."""


class Knowledge:
    """Traces and analyses of one forward function. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._fingerprint: Fingerprint | None = None
        self._edition = registry.edition()
        self._changes = 0
        self._traces: dict[Any, list[Traced | TraceError]] = {}
        self._holding: dict[Any, Traced | TraceError] = {}
        self._analyses: dict[int, list[Analysis]] = {}
        self._recent: dict[Any, Analysis] = {}
        self._adopted: dict[Any, Analysis] = {}
        self._contradictions: list[str] = []
        self._announced: str | None = None
        self._patience = Patience()
        self._traced_anew = 0

    def analyse(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Tensor],
        baselines: Sequence[Baseline],
        arguments: Sequence[Any] = (),
        *,
        patient: bool = False,
    ) -> Analysis:
        """The analysis for a call; computed on first use and whenever it may have changed.

        Args:
            function: The function that this knowledge is of.
            inputs: The inputs, dimension 0 the batch.
            baselines: For each input a number or a tensor.
            arguments: The additional arguments.
            patient: Whether to trace the function in this shape, however many were refused.
        """
        call = None if arguments else plain_call(inputs, baselines)
        with self._lock:
            self._refresh(function)
            analysis = self._recent.get(call)
            if analysis is not None and analysis.is_current():
                return analysis
            refused = unsuitable(inputs)
            if refused is not None:
                return Analysis(refused)
            starts = tuple(known_baseline(b) for b in baselines)
            before = self._traced_anew
            if patient:
                self._patience = Patience()
            analysis = self._find(function, inputs, starts, arguments)
            if self._traced_anew > before:
                self._patience.learn(analysis.certificate)
            elif self._patience.is_verdict(analysis.certificate):
                return analysis
            self._announce(function, analysis.certificate)
            if call is not None:
                if len(self._recent) >= KEPT_CALLS:
                    self._recent.clear()
                self._recent[call] = analysis
            return analysis

    def adopt(self, function: Callable[..., Any], key: Any, analysis: Analysis) -> None:
        """Take over an analysis that was made elsewhere, until the function changes.

        Args:
            function: The function that this knowledge is of.
            key: What its graph was traced for.
            analysis: The analysis; that it is of this function has been checked.
        """
        with self._lock:
            self._refresh(function)
            self._adopted[key] = analysis

    def drop(self, reason: str) -> None:
        """Forget the certificates, because a call contradicted one.

        The next call traces the function anew; one that goes on contradicting its certificates
        is not certified again until its modules change.

        Args:
            reason: How the call contradicted the certificate.
        """
        with self._lock:
            self._forget_all()
            self._contradictions.append(reason)

    def forget_values(self) -> None:
        """Read all values anew, also those that were written where torch does not count: ``.data``."""
        with self._lock:
            self._analyses.clear()
            self._recent.clear()
            self._adopted.clear()

    def _forget_all(self) -> None:
        self._traces.clear()
        self._holding.clear()
        self._analyses.clear()
        self._recent.clear()
        self._adopted.clear()
        self._patience = Patience()

    def _refresh(self, function: Callable[..., Any]) -> None:
        """Forget what was read from another state of the function, or by other rules."""
        if self._edition != registry.edition():
            self._edition = registry.edition()
            self._forget_all()
        function = root_of(function)
        if self._fingerprint is not None and self._fingerprint.matches(function):
            if self._changes >= RESTLESS:
                self._recent.clear()
            self._changes = 0
            return
        first = self._fingerprint is None
        self._fingerprint = Fingerprint(function)
        self._forget_all()
        self._contradictions.clear()
        self._changes += 0 if first else 1

    def _find(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Tensor],
        baselines: tuple[Baseline, ...],
        arguments: Sequence[Any],
    ) -> Analysis:
        if len(self._contradictions) >= CONTRADICTIONS:
            return Analysis(Certificate.contradicted(self._contradictions[-1]))
        if self._changes >= RESTLESS:
            reason = "its modules or attributes change at every call"
            return Analysis(Certificate.untraceable(reason))
        adopted = self._adopted_for(inputs, baselines, arguments)
        if adopted is not None:
            return adopted
        traced = self._traced(function, inputs, arguments)
        if traced is None:
            return Analysis(self._patience.verdict())
        if isinstance(traced, TraceError):
            return Analysis(Certificate.untraceable(str(traced)))
        size = inputs[0].shape[0]
        known = self._analyses.setdefault(id(traced), [])
        known[:] = [a for a in known if a.is_current()]
        for analysis in known:
            if analysis.covers(size, baselines):
                return analysis
        leaves = pytree.tree_leaves(list(arguments))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        analysis = analyse(traced, size, baselines, tensors)
        if size == 1 and not analysis.certificate.homogeneous:
            analysis = self._with_pair(analysis, function, inputs, baselines, arguments)
        known.append(analysis)
        del known[:-KEPT_ANALYSES]
        return analysis

    def _adopted_for(
        self, inputs: Sequence[Tensor], baselines: tuple[Baseline, ...], arguments: Sequence[Any]
    ) -> Analysis | None:
        """An analysis that was made elsewhere and covers this call."""
        if not self._adopted or arguments:
            return None
        analysis = self._adopted.get(key_of_trace(inputs, ()))
        if analysis is None or not analysis.is_current():
            return None
        return analysis if analysis.covers(inputs[0].shape[0], baselines) else None

    def _with_pair(
        self,
        analysis: Analysis,
        function: Callable[..., Any],
        inputs: Sequence[Tensor],
        baselines: tuple[Baseline, ...],
        arguments: Sequence[Any],
    ) -> Analysis:
        """The analysis of a lone example, with the plan of the graph that was traced with two.

        A graph of one example cannot take several steps side by side: it broadcasts.
        """
        # What counts operations takes long to import; the tracer has just taken longer.
        from captum_xdnn.homogeneity.plan import promises

        traced, propagation = analysis.traced, analysis.propagation
        if traced is None or propagation is None or not promises(traced, propagation, STEPS):
            return analysis
        pair = self._find(
            function, [twice(x) for x in inputs], baselines, pytree.tree_map(twice, arguments)
        )
        if pair.plan is None:
            return analysis
        return replace(
            analysis,
            plan=pair.plan,
            versions=(*analysis.versions, *pair.versions),
            certificate=with_prospect(analysis.certificate, pair.plan, 1),
        )

    def _traced(
        self, function: Callable[..., Any], inputs: Sequence[Tensor], arguments: Sequence[Any]
    ) -> Traced | TraceError | None:
        size = inputs[0].shape[0]
        try:
            key = key_of_trace(inputs, arguments)
            hash(key)
        except TypeError as error:
            return TraceError(f"an additional argument cannot be compared between calls: {error}")
        held = self._holding.get((key, size))
        if held is not None:
            return held
        traces = self._traces.setdefault(key, [])
        for traced in traces:
            if isinstance(traced, TraceError) or traced.holds_for(size):
                break
        else:
            if not self._patience.is_left():
                return None
            self._traced_anew += 1
            # The tracer takes half a second to import: not before somebody needs it.
            from captum_xdnn.homogeneity.tracing import trace

            try:
                traced = trace(function, inputs, arguments)
            except TraceError as error:
                traced = error.with_traceback(None)
            traces.append(traced)
        self._holding[key, size] = traced
        return traced

    def _announce(self, function: Callable[..., Any], certificate: Certificate) -> None:
        """Say once per function, and again when the verdict turns, which route is taken."""
        if not logger.isEnabledFor(logging.INFO):
            return
        if certificate.homogeneous:
            said = f"single pass, exact (degree {certificate.degree})"
        elif certificate.speed_up > 1:
            said = f"hoisted, {certificate.trunk_share:.1%} of the operations run once"
        else:
            first = certificate.blockers[0]
            said = f"Captum's Integrated Gradients, because of {first.where}: {first.reason}"
        if said != self._announced:
            self._announced = said
            logger.info("%s: %s", _name(function), said)


def _name(function: Callable[..., Any]) -> str:
    function = root_of(function)
    return str(getattr(function, "__qualname__", "") or type(function).__name__)
