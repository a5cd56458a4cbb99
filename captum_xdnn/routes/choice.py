"""The fast routes: a single pass where that is exact, else hoisting, else nothing.

The function runs once at the inputs, watched; that run is the single pass, and the trunk of hoisting.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import torch

from captum_xdnn._torch import is_transformed
from captum_xdnn.checks.completeness import loosest, precision_of
from captum_xdnn.errors import first_line, is_out_of_memory, without_frames
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import unsuitable, watch
from captum_xdnn.routes.announcement import announce
from captum_xdnn.routes.attempt import Attempt
from captum_xdnn.routes.checked import differing
from captum_xdnn.routes.dependence import ELSEWHERE, REMEMBERS, state
from captum_xdnn.routes.hoisted import hoisted_route
from captum_xdnn.routes.known_functions import Memory, memory_of
from captum_xdnn.routes.plan import worthwhile
from captum_xdnn.routes.refinement import Taken
from captum_xdnn.routes.request import Call, Outcome, Request, rows
from captum_xdnn.routes.single_pass import single_pass, unwatched
from captum_xdnn.routes.sizes import Sizes, clock, sizes_of

NO_VALUES = "tensors on the meta device have no values"
TRANSFORMED = "the call is traced, or differentiated forward: its numbers are not what it is about"
NO_ROOM = "memory has run out"
NOT_DIVIDED = "memory has run out, and the call could not be divided"
ANEW = "the function runs otherwise in each call, and proving that anew takes longer than Captum's code"
NOT_ALONE = "a connection skips the layer, or its value is taken twice"


def fast_route(request: Request) -> Outcome:
    """Attribute a call by the fastest route that is proved, if there is one."""
    if is_transformed():
        return Outcome(refusal=TRANSFORMED, ran=False)
    memory = memory_of(request.forward_func)
    call = request.call.on_the_ray()
    if call is not request.call:
        request = replace(request, call=call)
    refused = unsuitable(request.call.inputs) or memory.given_up
    if refused is not None:
        return Outcome(refused, ran=False)
    if any(x.is_meta for x in request.call.inputs):
        return Outcome(refusal=NO_VALUES, ran=False)
    whole = Attempt(request, request.call, memory)
    outcome = _attempted(whole)
    if outcome.refusal is NO_ROOM:
        outcome = _in_smaller_parts(whole, outcome)
    if outcome.certificate is not None:
        announce(request.forward_func, memory, outcome)
    return outcome


def _in_smaller_parts(whole: Attempt, larger: Outcome) -> Outcome:
    """Attribute a call for which memory has run out in parts, ever smaller ones as long as it does.

    ``internal_batch_size`` divides no examples before: Captum's passes never go below all of them.
    """
    request, call, memory, outcome = whole.request, whole.call, whole.memory, larger
    size = call.size
    most = max(1, request.quadrature.internal_batch_size or size)
    while outcome.refusal is NO_ROOM and size > 1 and call.is_divisible():
        size = min(-(-size // 2), most)
        found = _joined(request, list(call.chunks(size)), memory)
        if found.attributions is not None:
            return found
        refusal = NO_ROOM if found.refusal is NO_ROOM else NOT_DIVIDED
        outcome = replace(larger, refusal=refusal, sizes=found.sizes or larger.sizes)
    outcome = replace(outcome, refusal=NOT_DIVIDED)
    if request.hoist:
        memory.note(_form(whole), outcome)
    return outcome


def _joined(request: Request, parts: list[Call], memory: Memory) -> Outcome:
    """The attributions of the parts of a call; none where its examples are not proved to stay apart."""
    attempts = [Attempt(request, part, memory) for part in parts]
    outcomes: list[Outcome] = []
    for attempt in attempts:
        outcomes.append(_attempted(attempt, checked=True))
        if outcomes[-1].attributions is None:
            break
    last = outcomes[-1]
    gained = last.attributions is not None and len({o.route for o in outcomes}) == 1
    if not gained or not _divides(request, attempts):
        sizes = last.sizes or _sizes(attempts[0])
        for attempt in reversed(attempts):
            attempt.put_back()
        return Outcome(refusal=last.refusal, sizes=sizes)
    with torch.enable_grad() if request.create_graph else nullcontext():
        attributions = rows([o.attributions or () for o in outcomes])
        returned = [o.returned for o in outcomes if o.returned is not None]
        whole = torch.cat(returned) if len(returned) == len(outcomes) else None
    taken = Taken.joined([o.taken for o in outcomes if o.taken is not None])
    return replace(outcomes[-1], attributions=attributions, returned=whole, taken=taken)


def _divides(request: Request, attempts: list[Attempt]) -> bool:
    """Whether the parts are the rows of the whole: no operation and no size of Python's mixes them."""
    call = request.call
    inputs, starts = [x.detach() for x in call.leaves(keep_graph=False)], (0,) * len(call.inputs)
    whole = watch(request.forward_func, inputs, starts, call.further(), placed=False, graded=False)
    whole.put_back()  # a run that Captum's code does not make
    verdict, output = whole.verdict, whole.output
    if verdict is None or not verdict.keeps_rows_apart:
        return False
    joined = torch.cat([a.watched.output.detach() for a in attempts])
    precision = precision_of(call.inputs, verdict.graph.coarsest)
    return not differing(joined, output, loosest(precision, (*call.inputs, output)))


def _attempted(attempt: Attempt, *, checked: bool = False) -> Outcome:
    """Run the function and attribute what it did; ``checked``, also where no check is wanted."""
    try:
        return _looked_at(attempt, checked=checked)
    except BaseException as error:
        attempt.put_back()
        if not is_out_of_memory(error):
            raise
        failed = error
    without_frames(failed)
    known = cast("Outcome | None", attempt.memory.last_refusal(_form(attempt)))
    sizes = _sizes(attempt) or (None if known is None else known.sizes)
    return Outcome(refusal=NO_ROOM, ran=False, sizes=sizes)


def _looked_at(attempt: Attempt, *, checked: bool) -> Outcome:
    looked = attempt.request.verify or checked or attempt.request.tolerance is not None
    if not looked and (unlooked := unwatched(attempt)) is not None:
        return unlooked
    memory, form, start = attempt.memory, _form(attempt), clock()
    patient = attempt.request.hoist and not checked
    if patient:
        is_new = form not in memory.refusals
        known = memory.looks.known(*attempt.extent()) if is_new else memory.refused(form)
        if known is not None:
            return cast("Outcome", known)
        proofs = memory.looks.proofs(form)
        if not proofs.are_worth_it():
            said = proofs.certificate and proofs.certificate.but(ANEW)
            return Outcome(said, refusal=ANEW, timed=proofs.took)
    outcome = _of_runs(attempt)
    if outcome.refusal in (ELSEWHERE, REMEMBERS):  # what was proved is not the whole function
        outcome = replace(outcome, certificate=Certificate.incomplete(outcome.refusal))
    elif outcome.refusal and outcome.certificate is not None:
        outcome = replace(outcome, certificate=outcome.certificate.but(outcome.refusal))
    memory.is_fast = outcome.attributions is not None
    if patient and not outcome.contradicted:
        if not memory.is_fast and outcome.ran and not outcome.refusal:
            outcome = replace(outcome, sizes=_sizes(attempt))
        _remember(attempt, outcome, clock() - start)
    if not memory.is_fast:
        attempt.put_back()
    attempt.note_what_is_left()
    return outcome


def _remember(attempt: Attempt, outcome: Outcome, seconds: float) -> None:
    """Note what came of a call that was looked at, and what the look took."""
    memory, form, looks = attempt.memory, _form(attempt), attempt.memory.looks
    if memory.is_fast or outcome.timed is not None:
        looks.forget()
        memory.note(form, None)
        if memory.is_fast:
            text = _text(outcome) if attempt.is_new else None
            looks.proofs(form).note(text, seconds, is_new=attempt.is_new)
        return
    if form not in memory.refusals and not (attempt.watched.error or attempt.middle.error):
        # Other forms have sizes of their own.
        alone = replace(outcome, certificate=_text(outcome), returned=None, sizes=None)
        looks.note(alone, seconds, *attempt.extent())
    memory.note(form, replace(outcome, returned=None))


def _text(outcome: Outcome) -> Certificate | None:
    """The certificate of a call; what is kept for a kind of functions holds nothing of one of them."""
    return outcome.certificate and replace(outcome.certificate, segments=None)


def _form(attempt: Attempt) -> Any:
    """What tells calls apart whose refusals may differ."""
    return (attempt.form, attempt.request.quadrature, attempt.request.create_graph)


def _sizes(attempt: Attempt) -> Sizes | None:
    """How the steps of a call may be divided that Captum's code is to answer."""
    return sizes_of(attempt.watched.verdict, attempt.call.arguments, attempt.memory.sizes)


def _of_runs(attempt: Attempt) -> Outcome:
    found = _at_the_inputs(attempt)
    if isinstance(found, Outcome):
        return found
    certificate = attempt.certificate(found)
    refusal = state(attempt, found)
    if refusal:
        return Outcome(certificate, refusal=refusal)
    if found.homogeneous:
        return single_pass(attempt, found, certificate)
    return hoisted_route(attempt, found, certificate)


def _at_the_inputs(attempt: Attempt) -> Verdict | Outcome:
    """The verdict on the run at the inputs, if it opens a fast route; else what comes of it."""
    memory, start = attempt.memory, time.perf_counter()
    keep = memory.keeps.get(attempt.form, frozenset())
    verdict = attempt.run(keep)
    attempt.seconds = time.perf_counter() - start
    if verdict is not None and not (verdict in memory.certificates or attempt.tape.is_placed()):
        memory.forms.discard(attempt.form)  # it is new, and no place is known of it
        verdict = attempt.run(keep)
    if verdict is None:
        return _raised(attempt)
    if _is_open(attempt, verdict):
        return verdict
    return attempt.refused(verdict, _refusal(attempt, verdict))


def _is_open(attempt: Attempt, verdict: Verdict) -> bool:
    """Whether a verdict opens a fast route that is wanted."""
    request = attempt.request
    if _refusal(attempt, verdict):
        return False
    if verdict.homogeneous:
        return True
    return request.hoist and worthwhile(verdict, request.quadrature.n_steps) is not None


def _refusal(attempt: Attempt, verdict: Verdict) -> str:
    shifts = attempt.request.shifts
    return NOT_ALONE if shifts is not None and not verdict.takes_alone(shifts) else ""


def _raised(attempt: Attempt) -> Outcome:
    """What comes of a function that raises: Captum's code runs it, and raises what is wrong with it."""
    error = attempt.watched.error
    if error is not None and is_out_of_memory(error):
        raise error
    reason = f"it raises {first_line(error)}" if isinstance(error, Exception) else str(error or "")
    return Outcome(Certificate.untraceable(reason), ran=False)
