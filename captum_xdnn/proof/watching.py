"""One forward pass of the user's function, watched, with the verdict on it."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import pytree
from captum_xdnn.errors import is_out_of_memory, raised_by_handler, without_frames
from captum_xdnn.proof import registry
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.findings import Blocker
from captum_xdnn.proof.verdict import Baseline, Given, Verdict, prove
from captum_xdnn.recording import steps
from captum_xdnn.recording.calls_of_torch import Calls
from captum_xdnn.recording.compiling import compiler_left_alone
from captum_xdnn.recording.following import operations
from captum_xdnn.recording.following import watched as call
from captum_xdnn.recording.run import graph_of
from captum_xdnn.recording.state import Noted, put_back_tensors
from captum_xdnn.recording.steps import READ, strides_of
from captum_xdnn.recording.tensors import Saved, custom_nodes_of, version_of
from captum_xdnn.recording.threads import lock
from captum_xdnn.recording.watch import Stopped, Tape

_LOCK = lock()
VERDICTS = 4
"""So many verdicts are kept of one structure: of other baselines, with other values at zero."""


@dataclass
class Watched:
    """What one forward pass showed: an error, or an output with a verdict."""

    output: Any
    tape: Tape | None
    verdict: Verdict | None
    given: Given | None
    error: BaseException | None
    noted: Noted
    versions: tuple[int, ...] = ()
    is_new: bool = False  # whether the verdict was proved for it

    def put_back(self) -> None:
        """Leave the network as the caller left it, for Captum's code to run it."""
        self.noted.put_back()
        put_back_tensors(self.written())

    def written(self) -> list[Saved]:
        """Tensors that the run wrote into, and nobody since, with what they held before."""
        saved = () if self.tape is None else self.tape.saved
        pairs = zip(saved, self.versions, strict=False)
        return [s for s, version in pairs if version_of(s[0]) == version]


def watch(
    function: Callable[..., Any],
    leaves: Sequence[Tensor],
    baselines: Sequence[Baseline],
    arguments: Sequence[Any] = (),
    *,
    keep: frozenset[int] = frozenset(),
    placed: bool = True,
    calm: list[Any] | None = None,
    thorough: bool = True,
    graded: bool = True,
    valued: bool = True,
    framed: bool = False,
) -> Watched:
    """Run a function once, watched, and prove what can be proved of the run.

    The ``leaves`` are its inputs, of shape ``(B, ...)``, which require gradients. Values of the numbers in
    ``keep`` are held on to, source lines and modules noted where it is ``placed``; state is noted to be put back, that
    of Python's random numbers unless the function is ``calm``, and more of it where the run may be taken back
    (``thorough``). Where the verdict is not ``valued``, it is not asked
    for what hangs on values; what it says of rows does not.
    An error keeps its frames where it is ``framed``, to be raised again: they hold all that has failed, in a circle.
    """
    noted = Noted(function, arguments, calm=calm, thorough=thorough)
    forms = tuple([(x.shape, strides_of(x), x.dtype, x.device) for x in leaves])
    key = (forms, _autocast(leaves[0].device.type))
    root = steps.root_of(key, registry.edition())
    tape = Tape(root, leaves, keep, placed=placed)
    error: BaseException | None = None
    returned: Any = None
    try:
        with (
            compiler_left_alone(),
            nullcontext() if torch.is_grad_enabled() is graded else torch.set_grad_enabled(graded),
            Calls(tape),
            operations(tape),
        ):
            returned = call(function, *leaves, *arguments)
    except (Exception, Stopped) as raised:
        if raised_by_handler(raised):
            raise
        error = raised
    error = tape.stopped or error  # whoever has caught it
    if error is not None and (not framed or is_out_of_memory(error)):
        without_frames(error)
    noted.close(tape.random_state)
    _put_back_inputs(tape, leaves, arguments)
    versions = tuple([version_of(tensor) for tensor, *_ in tape.saved])
    if error is not None:
        if tape.grown:
            steps.settle(key, tape.grown)
        failed, error = Watched(None, tape, None, None, error, noted, versions), None
        return failed
    for tensor, *_ in tape.saved:  # who else holds it may read what was written
        known = any(tensor is t for t in pytree.tree_leaves([*leaves, *arguments]))
        if not known and not noted.holds(tensor):
            tape.note_event(READ, [tensor])
    tape.close()
    tape.note_event("return", [returned] if isinstance(returned, Tensor) else [])
    given = _given(tape, leaves, baselines, arguments)
    verdict, grown, is_new = _verdict(tape, leaves, given, valued=valued)
    if verdict.cut is not None and isinstance(returned, Tensor) and not custom_nodes_of(returned):
        verdict = verdict.cut
    if grown:
        steps.settle(key, grown)
    return Watched(returned, tape, verdict, given, None, noted, versions, is_new)


def _verdict(
    tape: Tape, leaves: Sequence[Tensor], given: Given, *, valued: bool
) -> tuple[Verdict, int, bool]:
    """The verdict that is known of this structure, where values decide alike; else a new one.

    Beside it, by how many steps what is kept has grown (a graph is as large as its run), and whether it is new.
    """
    last = tape.path[-1]
    known = _known(last, given, valued=valued)
    if known is not None:
        return known, tape.grown, False
    grown = tape.grown + (0 if last.verdicts else len(tape.path))
    graph = last.verdicts[0].graph if last.verdicts else graph_of(leaves, tape.path)
    verdict = prove(graph, given)
    with _LOCK:  # another thread may have proved the same meanwhile
        known = _known(last, given, valued=valued)
        if known is None:
            last.verdicts = (verdict, *last.verdicts[: VERDICTS - 1])
    return known or verdict, grown, True


def _known(last: steps.Step, given: Given, *, valued: bool) -> Verdict | None:
    """The verdict on runs that end with this step and in which values decide alike, if there is one."""
    verdicts: tuple[Verdict, ...] = last.verdicts
    for known in verdicts:
        if known.holds(given) if valued else known.form == given.form:
            return known
    return None


def _given(
    tape: Tape, leaves: Sequence[Tensor], baselines: Sequence[Baseline], arguments: Sequence[Any]
) -> Given:
    size = leaves[0].shape[0] if leaves[0].dim() else 0
    of_call: dict[int, Tensor] = {}
    if arguments:
        held = {id(t) for t in pytree.tree_leaves(list(arguments)) if isinstance(t, Tensor)}
        of_call = {number: t for number, t in tape.sources.items() if id(t) in held}
    batched = frozenset(n for n, t in of_call.items() if t.dim() and t.shape[0] == size)
    written = frozenset(tape.written)
    return Given(tuple(baselines), tape.sources, written, batched, frozenset(of_call))


def _put_back_inputs(tape: Tape, leaves: Sequence[Tensor], arguments: Sequence[Any]) -> None:
    """What a report or an export runs on may be the caller's own; a route's runs are given copies."""
    if tape.saved:
        held = {id(t) for t in pytree.tree_leaves([*leaves, *arguments])}
        put_back_tensors(s for s in tape.saved if id(s[0]) in held)


def known_baseline(baseline: Baseline) -> Baseline:
    """The number 0 for a baseline that is zero by value (reading a tensor waits for its device)."""
    if isinstance(baseline, Tensor) and baseline.device.type != "meta" and not baseline.any():
        return 0
    return baseline


def unsuitable(inputs: Sequence[Tensor]) -> Certificate | None:
    """A refusal for inputs that gradients cannot be taken of, or that are no batch."""
    remedy = "give a floating-point tensor of shape (B, ...)"
    for index, tensor in enumerate(inputs):
        reason = None
        if tensor.dim() == 0 or tensor.shape[0] == 0:
            reason = "is an empty batch" if tensor.dim() else "has no batch dimension"
        elif not tensor.is_floating_point():
            reason = f"is of dtype {tensor.dtype}, which has no gradient along a real ray"
        elif tensor.layout != torch.strided:
            reason = f"has layout {tensor.layout}"
        if reason:
            blocker = Blocker("input", "", "", "", f"input {index} {reason}", remedy)
            return Certificate.refused(blocker)
    return None


def _autocast(device: str) -> Any:
    on = torch.is_autocast_enabled(device) if device in ("cpu", "cuda") else False
    return torch.get_autocast_dtype(device) if on else None
