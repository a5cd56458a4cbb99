"""The certificate: a verdict about a function, a baseline and a kind of input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

from captum_xdnn.figures import html_table
from captum_xdnn.proof import findings
from captum_xdnn.proof.findings import Blocker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_xdnn.proof.certificate_figure import Segment


@dataclass(frozen=True)
class Certificate:
    r"""Whether Integrated Gradients is exact in a single pass, proved from a run of it.

    With baseline :math:`b` and :math:`z(a) = b + a (x - b)`, a positive verdict states that for
    *every* input :math:`x` the output obeys :math:`F(z(a)) = a^k F(x)` (``affine`` is false), or
    :math:`F(z(a)) = F(b) + a (F(x) - F(b))` (``affine`` is true, :math:`k = 1`), and hence

    .. math:: \mathrm{IG}_i = \tfrac{1}{k} (x_i - b_i) \, \partial F / \partial x_i (x).

    Attributes:
        homogeneous: Whether a single pass is exact.
        degree: The degree :math:`k`; None if ``homogeneous`` is false.
        affine: Whether a constant stands beside a part of degree 1.
        blockers: What stands in the way, in the order of the computation.
        relied: Names of the tensors whose values the proof read (a bias that is zero).
        trunk_share: Share of the floating-point operations that hoisting runs once, whatever the
            number of steps, if it pays: 1 for a single pass, 0 where nothing can be hoisted.
        speed_up: How many times faster ``XIntegratedGradients`` with its trunk hoisted is expected
            to be than Captum's with 50 steps, for ``rows`` rows on one thread of a CPU; 1 where it is
            not hoisted. It says nothing of a single pass, and of the classes for layers and neurons
            only whether they hoist (above 1).
        rows: The batch size that it speaks of.
        timed: Whether the first three calls time hoisting and Captum's own code, to keep the faster.
        method: Captum's name of the class that it speaks of.
        refusal: Why a call took Captum's route although the certificate allows another; empty for
            the others, and of what ``certify`` returns.
        segments: Makes ``strip``; None where there is no run.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Proposition 3.2 and Corollary 3.4; the affine
        case is derived in the documentation.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False), torch.nn.Softmax(-1))
        >>> certificate = certify(net, torch.zeros(3, 4))
        >>> certificate.homogeneous, certificate.trunk_share
        (False, 1.0)
        >>> [segment.module_type for segment in certificate.strip if segment.blocks]
        ['Softmax']
    """

    homogeneous: bool
    degree: Fraction | None
    affine: bool = False
    blockers: tuple[Blocker, ...] = ()
    relied: tuple[str, ...] = ()
    trunk_share: float = 0.0
    speed_up: float = 1.0
    rows: int = field(default=0, compare=False)
    timed: bool = field(default=False, compare=False)
    method: str = "IntegratedGradients"
    refusal: str = ""
    segments: Callable[[], tuple[Segment, ...]] | None = field(
        default=None, compare=False, repr=False
    )

    @functools.cached_property
    def strip(self) -> tuple[Segment, ...]:
        """The network in the order of the run, in segments of one module each, as ``plot`` draws it."""
        return () if self.segments is None else self.segments()

    def __getstate__(self) -> dict[str, Any]:
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "segments": None,
            "strip": self.strip,
        }

    def plot(self) -> Figure:
        """The network as a strip: what runs once, what runs at every step, and what blocks.

        The width of a segment is its share of the floating-point operations, and at least a line.

        Returns:
            A matplotlib figure that belongs to no window: ``figure.savefig(path)``.
        """
        from captum_xdnn.proof.certificate_figure import strip_figure

        title = str(self).partition("\n")[0]
        taken = not self.refusal and (self.homogeneous or self.speed_up > 1)
        return strip_figure(title, self.strip, self.blockers, taken=taken)

    def __str__(self) -> str:
        captums = f"Captum's own {self.method} runs"
        if self.refusal:
            captums += f" ({self.refusal})"
        if self.homogeneous and self.degree is not None:
            proved = findings.positive(self.degree, self.relied, offset=self.affine)
            return f"NOT TAKEN: {captums}.\n{proved}" if self.refusal else proved
        if self.refusal or self.speed_up <= 1:
            return findings.negative(self.blockers, captums)
        gain = ""
        if self.rows and self.method == "IntegratedGradients":
            gain = findings.gain(self.method, self.speed_up, self.rows)
        hoisting = findings.hoisting(self.method, self.trunk_share, gain, timed=self.timed)
        return findings.negative(self.blockers, hoisting)

    def _repr_html_(self) -> str:
        """The report in HTML, a line for each kind of blockers; notebooks ask for it by this name."""
        said = str(self).splitlines()
        heads = ("", "what prevents a single pass", "first place", "remedy")
        rows = [
            (
                findings.count_of(kind),
                kind[0].reason,
                ", ".join(filter(None, (kind[0].where, kind[0].location))),
                kind[0].remedy,
            )
            for kind in findings.kinds_of(self.blockers)
        ]
        if not rows:
            return f"<pre>{escape(str(self))}</pre>"
        more = f"<p>{escape(said[-1].strip())}</p>" if said[-1] == findings.CONVERTED else ""
        return f"<p>{escape(said[0])}</p>{html_table(heads, rows)}{more}"

    def demanded(self) -> str:
        """The report for a caller who wants a single pass or nothing."""
        report = findings.negative(self.blockers, "it is refused, as was asked for")
        if not self.refusal:
            return report
        return f"{self.refusal}\n{report}" if self.blockers else self.refusal

    def but(self, refusal: str = "", method: str = "") -> Certificate:
        """The same of a call that was refused, or of another class; the same object the next time."""
        changed = (refusal or self.refusal, method or self.method)
        if changed == (self.refusal, self.method):
            return self
        known: Certificate | None = self.__dict__.get("_other")
        if known is None or (known.refusal, known.method) != changed:
            known = replace(self, refusal=changed[0], method=changed[1])
            self.__dict__["_other"] = known
        return known

    def remedied(self, remedy: str) -> Certificate:
        """The same with another remedy of what stands in the way."""
        return replace(self, blockers=tuple(replace(b, remedy=remedy) for b in self.blockers))

    @classmethod
    def refused(cls, *blockers: Blocker) -> Certificate:
        """A negative verdict."""
        return cls(homogeneous=False, degree=None, blockers=blockers)

    @classmethod
    def untraceable(cls, reason: str) -> Certificate:
        """The verdict on a function that could not be watched to its end."""
        remedy = "give inputs and arguments that the function accepts"
        blocker = Blocker("forward", "", "", "", f"it cannot be watched: {reason}", remedy)
        return cls.refused(blocker)

    @classmethod
    def incomplete(cls, reason: str) -> Certificate:
        """The verdict on a function of which its run does not show everything."""
        remedy = (
            "compute with torch's operations, in the thread that calls, from the inputs alone: keep "
            "nothing of one call for the next"
        )
        return cls.refused(Blocker("run", "", "", "", reason, remedy))

    @classmethod
    def contradicted(cls, reason: str) -> Certificate:
        """The verdict on a function whose certificates kept failing in use."""
        remedy = (
            "look for what the run does not show: a custom backward pass, a backward hook, a "
            "function that is replaced during the call"
        )
        text = f"earlier certificates were contradicted by calls: {reason}"
        return cls.refused(Blocker("autograd", "", "", "", text, remedy))
