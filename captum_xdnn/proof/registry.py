"""The registry: for each ATen overload, how motions pass through it, and what else is known of it.

A law has the operation's own signature with each tensor replaced by an
:class:`~captum_xdnn.proof.operand.Operand`, and returns the motion of the result (a tuple
for several results). An operation without a law is ``Unknown``: never a guess. All that is known of an
operation is entered where its law is, by the file of its family in ``rules/``.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from captum_xdnn._torch import OpOverload
from captum_xdnn.proof.domain import Motion, Unknown
from captum_xdnn.recording.calls_of_torch import RULED
from captum_xdnn.recording.operations import operation_of

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)

RULES: dict[str, Rule] = {}
"""Law of each overload, by its full name such as ``aten.relu.default``."""

REFUSED: dict[str, Unknown] = {}
"""Overloads that stay ``Unknown`` when anything moves, each with its reason."""

ROWS: dict[str, Rule | str] = {}
"""For each operation, such as ``aten.relu``, where it leaves the rows of a batch (see ``batch_dim.py``),
or why nothing is said of them."""

PIECES: dict[str, str] = {}
"""Piecewise linear overloads, and in which way they are."""
LINEAR, CHOICE, BILINEAR, SCALED = "linear", "choice", "bilinear", "scaled"
"""Linear in all tensors together; one of the values, or one times a number that its sign decides; linear in
each tensor while the others are constant; piecewise linear in the first while the others are constant."""

VOLATILE: dict[str, bool] = {}
"""Refused overloads whose result is not determined by their arguments."""

OVERWRITES: dict[str, int] = {}
"""Overloads that read nothing but the shape of one argument, and the position of that one."""

COVERS: dict[str, Rule] = {}
"""Overloads that may write all of their first argument, and whether, by their arguments as operands."""

UNWRITTEN: dict[str, Callable[[dict[str, Any]], bool]] = {}
"""Overloads that may return memory that they have not written, and when, by their arguments."""

FACTS: dict[str, dict[str, Any]] = {
    "pieces": PIECES,
    "volatile": VOLATILE,
    "overwrites": OVERWRITES,
    "covers": COVERS,
    "unwritten": UNWRITTEN,
}
"""The tables by the names under which ``know`` fills them."""

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
        _claim(_names(overloads), RULES, rule)
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
        RULED.discard(_packet(name).replace(".", "::"))
    _edition += 1


def law(names: str, **facts: Any) -> Callable[[R], R]:
    """Enter a law for torch's own operations, such as ``relu max.dim``, and what ``know`` takes."""

    def enter(function: R) -> R:
        _claim(overloads_of(names), RULES, function)
        know(names, **facts)
        return function

    return enter


def refuse(
    names: str, reason: str, remedy: str = "", *, assume: Motion | None = None, **facts: Any
) -> None:
    """Enter operations that stay ``Unknown`` when anything moves, and what ``know`` takes."""
    unknown = Unknown(reason, remedy) if assume is None else Unknown(reason, remedy, assume)
    _claim(overloads_of(names), REFUSED, unknown)
    know(names, **facts)


def know(names: str, *, rows: Rule | str | None = None, **facts: Any) -> None:
    """Enter what is known of operations beside their law: each an entry of the table of that name.

    Raises:
        ValueError: If something else is known of one already.
    """
    for name in overloads_of(names):
        packet = _packet(name)
        if rows is not None and ROWS.setdefault(packet, rows) is not rows:
            raise ValueError(f"two rules say where {packet} leaves rows")
        for fact, value in facts.items():
            FACTS[fact][name] = value


def operation_name(overload: OpOverload) -> str:
    """``namespace.operation``, which all overloads of an operation have in common."""
    return _packet(name_of(overload))


def is_known(name: str) -> bool:
    """Whether an overload has a rule or a stated reason for having none."""
    return name in RULES or name in REFUSED


def _claim(names: list[str], table: dict[str, Any], entry: object) -> None:
    global _edition
    taken = sorted(name for name in names if is_known(name))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if taken or repeated:
        raise ValueError(f"these overloads have a rule already: {', '.join(taken or repeated)}")
    table.update(dict.fromkeys(names, entry))
    if table is RULES:
        RULED.update(_packet(name).replace(".", "::") for name in names)
    _edition += 1


def _packet(name: str) -> str:
    """``namespace.operation`` of the full name of an overload."""
    return name.rpartition(".")[0]


def overloads_of(names: str) -> list[str]:
    """Full names of overloads, separated by spaces: ``relu max.dim torchvision::roi_align``."""
    parts = (name.rpartition("::") for name in names.split())
    return [f"{space or 'aten'}.{n if '.' in n else n + '.default'}" for space, _, n in parts]


def _names(overloads: object) -> list[str]:
    if isinstance(overloads, str) or not isinstance(overloads, Iterable):
        return [name_of(overloads)]
    return [name_of(overload) for overload in overloads]
