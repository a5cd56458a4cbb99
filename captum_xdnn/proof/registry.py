"""The registry of rules: for each ATen overload, how motions pass through it.

A rule has the operation's own signature with each tensor replaced by an
:class:`~captum_xdnn.proof.operand.Operand`, and returns the motion of the result (a tuple
for several results). An operation without a rule is ``Unknown``: never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch._ops import OpOverload

from captum_xdnn.proof.domain import Motion, Unknown
from captum_xdnn.recording.calls_of_torch import RULED
from captum_xdnn.recording.operations import operation_of

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)

RULES: dict[str, Rule] = {}
"""Rule of each overload, by its full name such as ``aten.relu.default``."""

REFUSED: dict[str, Unknown] = {}
"""Overloads that stay ``Unknown`` when anything moves, each with its reason."""

VOLATILE: set[str] = set()
"""Refused overloads whose result is not determined by their arguments."""

OVERWRITES: dict[str, int] = {}
"""Overloads that read nothing but the shape of one argument, and the position of that one."""

_edition = 0


def edition() -> int:
    """Grows whenever a rule comes or goes, since graphs and verdicts were made with the old ones."""
    return _edition


def name_of(overload: object) -> str:
    """The full name of an overload, ``namespace.operation.overload``."""
    if isinstance(overload, OpOverload):
        return operation_of(overload).name
    return overload if isinstance(overload, str) else str(overload)


def register_rule(overloads: object) -> Callable[[R], R]:
    """Teach the analysis how tensors move through a custom operation.

    Args:
        overloads: One operator overload (``torch.ops.mylib.scale.default``), its full name
            as a string, or an iterable of these.

    Returns:
        A decorator for a function of the operation's own signature in which each tensor is
        an ``Operand`` (with ``.motion``, ``.fake`` and ``.is_zero()``), and which returns the
        ``Motion`` of the result, or a tuple of them for several results. The function may
        return ``Unknown(reason, remedy)``; it is only called when some tensor moves.

    Raises:
        ValueError: If an overload has a rule already.

    Source:
        The laws are derived in the documentation, page *Architecture*.

    Example:
        >>> import torch, captum_xdnn
        >>> from captum_xdnn.homogeneity import laws, unregister_rule
        >>> @torch.library.custom_op("docs::twice", mutates_args=())
        ... def twice(x: torch.Tensor) -> torch.Tensor:
        ...     return 2 * x
        >>> _ = twice.register_fake(torch.empty_like)
        >>> @captum_xdnn.register_rule("docs.twice.default")
        ... def rule(x):
        ...     return laws.linear(x)
        >>> captum_xdnn.certify(twice, torch.ones(2, 3)).homogeneous
        True
        >>> unregister_rule("docs.twice.default")
    """

    def register(rule: R) -> R:
        _claim(overloads, RULES, rule)
        return rule

    return register


def unregister_rule(overloads: object) -> None:
    """Forget the rules of these overloads; those without one are passed over.

    Example:
        >>> unregister_rule("mylib.no_such_operation.default")
    """
    global _edition
    for name in _names(overloads):
        RULES.pop(name, None)
        RULED.discard(_packet(name))
    _edition += 1


def refuse(
    overloads: Iterable[str],
    reason: str,
    remedy: str = "",
    *,
    assume: Motion | None = None,
    volatile: bool = False,
) -> None:
    """Enter operations into the table of those that stay ``Unknown``, with the reason.

    Args:
        overloads: Full names.
        reason: Why no motion passes.
        remedy: What a person can do about it.
        assume: The motion behind it under which the search for further blockers goes on.
        volatile: Whether the result is not even determined by fixed arguments.
    """
    unknown = Unknown(reason, remedy) if assume is None else Unknown(reason, remedy, assume)
    names = list(overloads)
    _claim(names, REFUSED, unknown)
    if volatile:
        VOLATILE.update(names)


def is_known(name: str) -> bool:
    """Whether an overload has a rule or a stated reason for having none."""
    return name in RULES or name in REFUSED


def _claim(overloads: object, table: dict[str, Any], entry: object) -> None:
    global _edition
    names = _names(overloads)
    taken = sorted(name for name in names if is_known(name))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if taken or repeated:
        message = f"these overloads have a rule already: {', '.join(taken or repeated)}"
        raise ValueError(message)
    table.update(dict.fromkeys(names, entry))
    if table is RULES:
        RULED.update(map(_packet, names))
    _edition += 1


def _packet(name: str) -> str:
    """``lib.op.overload`` as the watch knows it, ``lib::op``."""
    return name.rpartition(".")[0].replace(".", "::", 1)


def _names(overloads: object) -> list[str]:
    if isinstance(overloads, str) or not isinstance(overloads, Iterable):
        return [name_of(overloads)]
    return [name_of(overload) for overload in overloads]
