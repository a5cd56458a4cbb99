"""A certificate in words: a report that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

NO_BIAS = "remove it (bias=False), or set it to zero, and retrain"
RELU = "replace it by a ReLU or leaky ReLU and retrain"
CONVERTIBLE = (NO_BIAS, RELU)
CONVERTED = "  captum_xdnn.convert.to_xdnn(model) does to layers what is to be retrained"
CAPTUMS = "Captum's own IntegratedGradients runs"


def positive(degree: Fraction, relied: Sequence[str], *, offset: bool) -> str:
    """The report of a certificate that allows a single pass, resting on the values of ``relied``."""
    kind = f"homogeneous of degree {degree} along the ray from the baseline"
    if offset:
        kind = "affine along the ray from the baseline (a constant plus degree 1)"
    exact = "Integrated Gradients is exact in one forward and one backward pass."
    if not relied:
        return (
            f"CERTIFIED: the output is {kind}.\n  {exact}\n"
            "  The proof reads no parameter's value: it survives training."
        )
    more = f" and {len(relied) - 4} more" if len(relied) > 4 else ""
    return (
        f"CERTIFIED FOR THE VALUES AT HAND, which training changes: {len(relied)} "
        f"tensor{_s(relied)}, now zero or without a shift.\n"
        f"  {', '.join(relied[:4])}{more}.\n"
        f"  As long as that holds, which each call looks at, the output is {kind}. {exact}"
    )


def negative(blockers: Sequence[Blocker], instead: str = CAPTUMS) -> str:
    """The report of a certificate that refuses a single pass: blockers grouped, first first."""
    groups = kinds_of(blockers)
    places = {(b.module, b.op, b.location) for b in blockers}
    lines = [
        f"NOT CERTIFIED: a single pass would not be exact, so {instead}.",
        f"  {len(places)} place{_s(places)} of {len(groups)} kind{_s(groups)}:",
    ]
    for members in groups:
        first = members[0]
        lines.append(f"  {count_of(members)}: {first.reason}\n      first: {first.where}")
        lines += [f"      at {first.location}"] if first.location else []
        lines += [f"      remedy: {first.remedy}"] if first.remedy else []
    lines += [CONVERTED] if any(b.remedy in CONVERTIBLE for b in blockers) else []
    return "\n".join(lines)


def kinds_of(blockers: Sequence[Blocker]) -> list[list[Blocker]]:
    """Blockers that differ in their place alone, together; the kind that comes first, first."""
    groups: dict[tuple[str, str, str], list[Blocker]] = {}
    for blocker in blockers:
        # The shift of 64 and of 128 channels is one kind.
        reason = re.sub(r"\d+", "#", blocker.reason)
        kind = (blocker.module_type or blocker.op, reason, blocker.remedy)
        groups.setdefault(kind, []).append(blocker)
    return list(groups.values())


def count_of(members: Sequence[Blocker]) -> str:
    """How many there are of a kind, such as ``53 x BatchNorm2d``."""
    return f"{len(members)} x {members[0].module_type or members[0].op}"


def hoisting(method: str, trunk_share: float, gain: str, *, timed: bool) -> str:
    """What runs in place of a single pass where the trunk is hoisted."""
    said = (
        f"X{method} with 50 steps hoists the trunk: {trunk_share:.1%} of the operations run once, the "
        f"rest at every step{gain}"
    )
    return f"{said}; the first three calls time both, and the faster one stays" if timed else said


def gain(method: str, speed_up: float, rows: int) -> str:
    """How much hoisting is expected to bring."""
    return (
        f", about {speed_up:.1f}x faster than Captum's {method} for {rows} row{_s(range(rows))} on "
        "one thread of a CPU"
    )


def _s(items: object) -> str:
    return "" if len(items) == 1 else "s"  # type: ignore[arg-type]


@dataclass(frozen=True)
class Blocker:
    """One place that keeps a single pass from being exact.

    Attributes:
        op: The ATen operation, such as ``aten.linear.default``.
        module: Path of the module it runs in, such as ``layer1.0.bn1``; empty outside modules.
        module_type: Class of that module, such as ``BatchNorm2d``; empty outside modules.
        location: The user's source line, ``file:line: code``; empty if unknown.
        reason: Why.
        remedy: What to do about it.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())
        >>> blocker = certify(net, torch.zeros(3, 4)).blockers[0]
        >>> blocker.where, blocker.reason
        ('0 (Linear)', 'bias of 2 outputs is not zero')
    """

    op: str
    module: str
    module_type: str
    location: str
    reason: str
    remedy: str

    @property
    def where(self) -> str:
        """The module path with its type, or the operation."""
        if self.module_type:
            return f"{self.module or 'the model'} ({self.module_type})"
        return self.op

    def __str__(self) -> str:
        text = f"{self.where}: {self.reason}"
        if self.location:
            text += f"\n    at {self.location}"
        return f"{text}\n    remedy: {self.remedy}" if self.remedy else text
