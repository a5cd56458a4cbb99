"""One watched run of the function at the inputs, and another in the middle of the ray after it.

The run at the inputs is what is attributed. A verdict that is new of a function is tried by one more
run, in the middle of the ray: that shows what no operation shows, values that leave torch where nobody
looks and come back as constants, and state that a run reads and an earlier one has left. It comes last,
and is taken back: what a function sets up in its first pass, it sets up at the inputs.
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import FLOAT32, precision_of
from captum_xdnn.checks.gradient_law import SCRIPTED, custom_functions_of
from captum_xdnn.errors import is_out_of_memory
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Given, Verdict
from captum_xdnn.proof.watching import Watched, known_baseline, watch
from captum_xdnn.recording.places import namespace_of
from captum_xdnn.recording.state import Noted
from captum_xdnn.recording.watch import Tape
from captum_xdnn.routes.certification import certificate_of
from captum_xdnn.routes.known_functions import Memory, root_of
from captum_xdnn.routes.request import Call, Outcome, Request

NOT_RUN = Watched(None, None, None, None, None, Noted(None, calm=[]))


class Attempt:
    """The runs of one call, or of a part of it.

    Attributes:
        request: What is wanted.
        call: The call, or the part.
        memory: What is remembered of the function.
        starts: For each input the number 0 if its baseline is zero, else its baseline.
        form: What tells calls apart whose verdicts may differ.
        leaves: The inputs of the run.
        watched: The run at the inputs.
        middle: The run in the middle of the ray.
        is_scripted: Whether TorchScript made the derivative.
        seconds: How long the run at the inputs took.
        is_new: Whether a run was proved anew.
        counts: Whether the run in the middle of the ray has left other numbers than it found.
    """

    def __init__(self, request: Request, call: Call, memory: Memory) -> None:
        self.request, self.call, self.memory = request, call, memory
        self.starts = tuple(known_baseline(b) for b in call.baselines)
        self.form = _form(call, self.starts)
        self.leaves: tuple[Tensor, ...] = ()
        self.arguments: tuple[Any, ...] = ()
        self.arguments_in_the_middle: tuple[Any, ...] = ()
        self.watched = NOT_RUN
        self.is_scripted = False
        self.middle = NOT_RUN
        self.seconds = 0.0
        self.is_new = self.counts = False

    @property
    def tape(self) -> Tape:
        """What was noted of the run at the inputs."""
        if self.watched.tape is None:
            message = "the function has not run"
            raise RuntimeError(message)
        return self.watched.tape

    @property
    def given(self) -> Given:
        """What the verdict on it was asked for."""
        if self.watched.given is None:
            message = "the function did not run to its end"
            raise RuntimeError(message)
        return self.watched.given

    def run(self, keep: frozenset[int] = frozenset()) -> Verdict | None:
        """Run the function at the inputs; gives what is proved of the run.

        Raises:
            Exception: What the function raises, if a run of it went well before: then it is no watch
                that the function cannot bear.
        """
        again = self.watched is not NOT_RUN
        if again:
            self.watched.put_back()  # a second run begins where the first one did
        call, request, memory = self.call, self.request, self.memory
        with nullcontext() if torch.is_grad_enabled() else torch.enable_grad():
            self.leaves = call.leaves(keep_graph=request.create_graph)
        self.arguments = call.further()
        known = memory.is_fast and not memory.rolls and not request.makes_several_passes()
        self.watched = watch(
            request.forward_func,
            self.leaves,
            self.starts,
            self.arguments,
            keep=keep,
            placed=self.form not in memory.forms,
            calm=memory.modes if known else None,
            thorough=memory.rolls or memory.changes or not memory.is_fast,
            framed=again,
        )
        self.is_new = self.is_new or self.watched.is_new
        memory.modes = self.watched.noted.modes
        memory.rolls = memory.rolls or self.watched.noted.rolled()
        memory.changes = memory.changes or self.watched.noted.changed()
        if isinstance(self.watched.error, Exception) and again:
            error, self.watched.error = self.watched.error, None
            try:
                raise error
            finally:
                del error
        return self.watched.verdict

    def run_in_the_middle(self) -> Watched:
        """Run the function in the middle of the ray as well, and take back what that has changed."""
        pairs = zip(self.call.inputs, self.call.baselines, strict=True)
        halfway = ((x.detach() - (x.detach() - b) / 2).detach().requires_grad_() for x, b in pairs)
        both = zip(halfway, self.call.inputs, strict=True)
        places = tuple([h.view_as(h) if x.requires_grad else h for h, x in both])
        given = self.arguments_in_the_middle = self.call.further()
        recording = nullcontext() if torch.is_grad_enabled() else torch.enable_grad()
        with self.watched.noted.drawing_again(), recording:
            self.middle = watch(self.request.forward_func, places, self.starts, given)
            self.counts = self.middle.noted.counted()
            self.middle.put_back()
        if self.middle.error is not None and is_out_of_memory(self.middle.error):
            raise self.middle.error
        self.is_new = self.is_new or self.middle.is_new
        if isinstance(self.middle.output, Tensor):
            self.middle.output = self.middle.output.detach()
        return self.middle

    def put_back(self) -> None:
        """Leave the network as the caller left it, for Captum's code to run it."""
        self.watched.put_back()

    def form_by_value(self) -> Any:
        """The form with the values of arguments that are no tensors; None where they may change."""
        others = self.call.arguments
        if not all(a is None or type(a) in (int, float, bool, str) for a in others):
            return None
        return (self.form, tuple(map(repr, others)), self.mode)

    def extent(self) -> tuple[int, Any]:
        """How many numbers the inputs have, and the mode of the function."""
        return self.call.numel(), self.mode

    @property
    def mode(self) -> Any:
        """Whether the function is a module that trains; None where it is no module."""
        return namespace_of(root_of(self.request.forward_func)).get("training")

    def refused(self, verdict: Verdict, refusal: str = "") -> Outcome:
        """What comes of a function that its run refuses."""
        certificate, output = self.certificate(verdict), self.watched.output
        by_rows = isinstance(output, Tensor) and output.shape[:1] in ((self.call.size,), (1,))
        return Outcome(certificate, refusal=refusal, ran=by_rows)

    def certificate(self, verdict: Verdict) -> Certificate:
        """The certificate of a verdict, with the places of the user's."""
        self.memory.meet(self.form)
        known = self.memory.certificates.get(verdict)
        if known is not None:
            return known
        known = certificate_of(self.request.forward_func, self.watched)
        self.memory.keep(verdict, known)
        return known

    def own_code(self) -> list[str]:
        """What of the user's own acts on the gradient of the run."""
        found = [*dict.fromkeys(self.tape.touches), *custom_functions_of(self.watched.output)]
        self.is_scripted = SCRIPTED in found
        return found

    def precision(self) -> float:
        """The unit of rounding of the computation."""
        verdict = self.watched.verdict
        coarsest = 0.0 if verdict is None else verdict.graph.coarsest
        return precision_of(self.call.inputs, max(coarsest, FLOAT32 if self.is_scripted else 0.0))

    def at_baseline(self) -> Tensor:
        """What the function returns at the baseline, by a pass of its own; as Captum runs it, with gradients."""
        starts = [s.detach().requires_grad_(s.is_floating_point()) for s in self.call.starts()]
        with torch.enable_grad():
            value: Tensor = self.request.forward_func(*starts, *self.call.further())
        return value.detach()

    def note_what_is_left(self) -> None:
        """Remember what of the run somebody has kept: a later run may read it."""
        if isinstance(self.watched.output, Tensor) and not self.request.create_graph:
            self.watched.output = self.watched.output.detach()
            if self.watched.tape is not None:
                self.watched.tape.kept.clear()
            self.leave()

    def leave(self) -> None:
        """Remember what of the run is still there, and what it was given.

        Whether somebody keeps that will show when it is gone otherwise.
        """
        tape, verdict = self.watched.tape, self.watched.verdict
        if tape is not None and verdict is not None:
            alive = [r for r, n in tape.survivors() if n in verdict.moving and n not in tape.kept]
            self.memory.leave([*map(weakref.ref, tape.inputs), *alive])


def _form(call: Call, starts: tuple[Any, ...]) -> Any:
    """Shapes, dtypes and devices; which baselines are zero; the kinds of the arguments."""
    return (
        tuple([(x.shape, x.dtype, x.device) for x in call.inputs]),
        tuple([not isinstance(s, Tensor) and s == 0 for s in starts]),
        tuple([(a.shape, a.dtype) if isinstance(a, Tensor) else type(a) for a in call.arguments]),
    )
