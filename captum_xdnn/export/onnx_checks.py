"""Whether an ONNX file computes what its program does, whatever rounding makes of a network's kinks.

Attributions jump where a ReLU is at zero and where two entries of a maximum are equal, so those of
two runtimes may differ by much and nothing be wrong. Three comparisons that do not:

1. The graph that is written, all operations of backward passes taken apart, with the program, both in
   double precision, where nothing stands close enough to a kink.
2. Each operation by itself: ONNX Runtime gets for each the very tensors that torch computed it of.
3. The file as a whole, up to what rounding makes of this network in torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from captum_xdnn._torch import pytree
from captum_xdnn.export.onnx_parts import Part, given, parts_of, session_of

Run = Callable[..., Sequence[Tensor]]
ROWS = 2
EXACT = 1e-7
"""Relative difference in double precision of results that are the same: torch has constants in single."""
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-9, torch.float16: 1e-2}
"""Relative difference of what one operation gives in two runtimes, by precision."""
JITTER = 2.0**-22
"""Relative: two units of rounding in single precision."""
NOISE = 2.0**-21
"""What rounding adds to the entries of a sum of products, of their root mean square."""
JITTERS, TRIES, ROOM = 8, 3, 4
SUMS = {"convolution", "mm", "addmm", "bmm", "baddbmm"}


class Otherwise(Exception):  # noqa: N818 - control flow inside this room, never shown
    """The file computes something else; ``operation`` is the one that does, None where that is not known."""

    def __init__(self, operation: Any = None) -> None:
        super().__init__()  # torch writes its own words into an exception's arguments
        self.operation = operation


def check(program: ExportedProgram, made: Any, run: Run) -> None:
    """Compare a file with the program that it was made of.

    Args:
        program: The program.
        made: What torch's exporter made of it.
        run: What runs the file.

    Raises:
        Otherwise: If they differ in more than rounding.
    """
    _compare_doubles(program, made.exported_program)
    proto = made.model_proto
    _Each(made.exported_program, proto).compare(_examples(program, 0))
    if not any(_agree(program, run, _examples(program, seed)) for seed in range(TRIES)):
        raise Otherwise


def _examples(program: ExportedProgram, seed: int) -> list[Tensor]:
    """A few rows near the example: some scaled entry by entry, some moved."""
    dice = torch.Generator().manual_seed(seed)
    given: Any = program.example_inputs
    tensors = [t for t in pytree.tree_leaves(given) if isinstance(t, Tensor)]
    nodes = [n for n in program.graph.nodes if n.name in set(program.graph_signature.user_inputs)]

    def near(value: Tensor, node: fx.Node) -> Tensor:
        if value.dim() and isinstance(node.meta["val"].shape[0], torch.SymInt):
            value = value[:ROWS]
        if not value.is_floating_point() or not value.dim():
            return value
        flat = value.detach().cpu().double().reshape(len(value), -1)
        finite = torch.where(flat.isfinite(), flat, 0.0)
        moves = (torch.arange(len(flat)) % 2 == 1) | (finite.abs().sum(1) == 0)
        size = finite.abs().mean() or 1.0
        noise = torch.randn(flat.shape, generator=dice, dtype=flat.dtype) * size
        scaled = flat * (0.5 + torch.rand(flat.shape, generator=dice, dtype=flat.dtype))
        return (scaled + noise * moves.unsqueeze(1)).reshape(value.shape).to(value)

    return [near(t, n) for t, n in zip(tensors, nodes, strict=True)]


class _Plain(fx.Interpreter):
    """Runs the operations of a program; no assertions about its example."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module)
        self._program = program

    def results(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the program gives."""
        known = {**self._program.state_dict, **self._program.constants}
        left = iter(tensors)
        specs = self._program.graph_signature.input_specs
        given = [next(left) if s.kind is InputKind.USER_INPUT else known[s.target] for s in specs]
        with torch.no_grad():
            return list(self.run(*map(self.of, given)))

    def of(self, value: Any) -> Any:
        """A tensor, or an argument, as this run takes it."""
        return value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """One operation."""
        if target is torch.ops.aten._assert_tensor_metadata.default:
            return None
        args, kwargs = pytree.tree_map(self.of, (args, kwargs))
        result = super().call_function(target, args, kwargs)
        # What is never read: ONNX has no memory that nobody has written.
        return torch.zeros_like(result) if "empty" in str(target) else result


class Rounded(_Plain):
    """The same as by another order of summation: noise, before which a ReLU decides."""

    def __init__(self, program: ExportedProgram, seed: int) -> None:
        super().__init__(program)
        self._dice = torch.Generator().manual_seed(seed)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """One operation, and noise on a sum of products, zeros among the results included."""
        result = super().call_function(target, args, kwargs)
        if not {*str(target).split(".")} & SUMS:
            return result
        size = result.double().square().mean().sqrt() * NOISE
        noise = torch.randn(result.shape, generator=self._dice, dtype=torch.float64) * size.cpu()
        return result + noise.to(result)


class _Double(_Plain):
    """The same with each tensor and each dtype in double precision."""

    def of(self, value: Any) -> Any:
        """In double precision what has a precision."""
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.double()
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return torch.float64
        return value


def _compare_doubles(program: ExportedProgram, written: ExportedProgram) -> None:
    tensors = _examples(program, 0)
    theirs, mine = (_Double(p).results(tensors) for p in (program, written))
    sizes = list(_norms(theirs[:-1]))
    for gaps, size in zip(_norms(mine[:-1], theirs), sizes, strict=True):
        if not bool((gaps <= EXACT * size).all()):
            raise Otherwise
    # The completeness gap is what is left of sums: relative to those.
    scale = sizes[0] + sum(next(_norms([t.abs().reshape(len(t), -1).sum(1)])) for t in theirs[1:-1])
    (gaps,) = _norms(mine[-1:], theirs[-1:])
    if not bool((gaps <= EXACT * scale).all()):
        raise Otherwise


def _agree(program: ExportedProgram, run: Run, tensors: Sequence[Tensor]) -> bool:
    """Whether the file gives what the program gives, but for rounding."""
    plain, found = _Plain(program), run(*tensors)[:-1]
    gaps = list(_norms(found, plain.results(tensors)[:-1]))
    exact = _Double(program).results(tensors)[:-1]
    sizes = list(_norms(exact))
    close = CLOSE.get(found[0].dtype, CLOSE[torch.float16])
    if all(bool((g <= close * s).all()) for g, s in zip(gaps, sizes, strict=True)):
        return True
    allowed = [close * size for size in sizes]
    for seed in range(JITTERS):
        moved = Rounded(program, seed).results(tensors)[:-1]
        pairs = zip(allowed, _norms(moved, exact), strict=True)
        allowed = [torch.maximum(most, ROOM * gap) for most, gap in pairs]
    return all(bool((g <= most).all()) for g, most in zip(gaps, allowed, strict=True))


def _norms(results: Sequence[Tensor], others: Sequence[Tensor] | None = None) -> Iterator[Tensor]:
    """The norm of each row of some results, or of what they differ by; two that are no number are the same."""
    for index, one in enumerate(results):
        value = one.cpu().double()
        if others is not None:
            other = others[index].cpu().double()
            value = torch.where(value.isnan() & other.isnan(), 0.0, value - other)
        else:
            value = torch.where(value.isnan(), 0.0, value)
        yield torch.linalg.vector_norm(value.reshape(len(value), -1), dim=1)


def _jittered(values: Any, seed: int) -> Any:
    """Tensors moved by what rounding moves them."""
    dice = torch.Generator().manual_seed(seed)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        noise = torch.rand(value.shape, generator=dice, dtype=torch.float64).to(value.device) - 0.5
        return (value * (1 + 2 * JITTER * noise)).to(value.dtype)

    return pytree.tree_map(moved, values)


class _Each(_Plain):
    """Runs the operations of a program, and each in ONNX Runtime with torch's tensors."""

    def __init__(self, program: ExportedProgram, proto: Any) -> None:
        super().__init__(program)
        ends = zip(program.graph_signature.user_outputs, proto.graph.output, strict=True)
        called = {str(node): end.name for node, end in ends}
        kept = [n for n in program.graph.nodes if n.op == "call_function" and _is_tensor(n)]
        self._names = {n.name: called.get(n.name, n.name) for n in kept}
        self._inputs = [i.name for i in proto.graph.input]
        self._parts = parts_of(proto, list(self._names.values()))
        self._held: dict[str, Tensor] = {}
        self._nodes: dict[str, fx.Node] = {}

    def compare(self, tensors: Sequence[Tensor]) -> None:
        """Look at all operations.

        Raises:
            Otherwise: With the first that gives something else.
        """
        self._held = dict(zip(self._inputs, tensors, strict=True))
        self.results(tensors)

    def run_node(self, n: fx.Node) -> Any:
        """One operation; where a part of the file is complete with it, that part."""
        result = super().run_node(n)
        name = self._names.get(n.name)
        if self._parts and name is not None:
            self._held[given(name)], self._nodes[name] = result, n
            if name == self._parts[0].gives[-1]:
                self._run(self._parts.pop(0))
                wanted = {i for later in self._parts for i in (*later.takes, *later.results)}
                self._held = {n: v for n, v in self._held.items() if n in wanted}
        return result

    def _run(self, part: Part) -> None:
        session = session_of(part.model)
        takes = {name: self._held[name].detach().cpu() for name in part.takes}

        def found(tensors: Mapping[str, Tensor]) -> list[Tensor]:
            given = {name: t.numpy() for name, t in tensors.items()}
            return [torch.from_numpy(value) for value in session.run(part.gives, given)]

        first = found(takes)
        theirs = [self._held[name].detach().cpu() for name in part.results]
        far = [not _is_close(*pair) for pair in zip(first, theirs, strict=True)]
        if any(far):  # sums that cancel hang on the rounding of what they are of
            again = [found(_jittered(takes, seed)) for seed in range(JITTERS)]
            for index, name in enumerate(part.gives):
                moves = max(_far(other[index], first[index]) for other in again)
                if far[index] and not _far(first[index], theirs[index]) <= 16 * moves:
                    raise Otherwise(self._nodes[name].target)


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _is_close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    size = float(torch.where(other.isfinite(), other, 0.0).abs().max()) if other.numel() else 0.0
    return _far(one, other) <= CLOSE[one.dtype] * size


def _far(one: Tensor, other: Tensor) -> float:
    """The largest difference of two entries; infinite where one is no number, or infinite, alone."""
    if not one.numel():
        return 0.0
    same = (one == other) | (one.isnan() & other.isnan())
    gaps = torch.where(same, 0.0, one.double() - other.double()).abs()
    return float(gaps.nan_to_num(float("inf")).max())
