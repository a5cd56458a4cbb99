"""A certificate that goes with its function to another process, where it opens what it opens here.

A proof is of the traced graph, which stays where it was made. What travels is the verdict, with a
digest of everything that the graph was read from: modules, flags, hooks, attributes, the code of
functions, versions of libraries. Where the digest of the function that arrived is the same,
tracing it would give the same graph, and the verdict is taken over; where it is not, or where
something in it has no digest, the function is traced anew. What happens to the function
afterwards is seen there as ever, and each call is checked.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._version import __version__
from captum_xdnn.homogeneity.analysis import Analysis, Baseline, Outline, version_of
from captum_xdnn.homogeneity.calls import key_of_trace, known_baseline
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.code import settings
from captum_xdnn.homogeneity.derived import Derived
from captum_xdnn.homogeneity.fingerprint import PLAIN, atoms_of
from captum_xdnn.homogeneity.remembered import knowledge_of
from captum_xdnn.homogeneity.replica import replicate


class _Opaque(Exception):  # noqa: N818 - control flow inside this room, never shown
    """Something decides what a function computes and cannot be told from something else."""


@dataclass(frozen=True)
class SealedCertificate:
    """A certificate with what it needs to be believed in another process; it can be pickled.

    Attributes:
        certificate: The verdict.
        digest: Of everything that the graph was read from.
        key: What the graph was traced for: shapes, dtypes, device, mixed precision.
        analysis: The verdict with what it depends on, without graph and tensors.
        values: Digests of the tensors whose values were read, by name.

    Example:
        >>> import torch
        >>> from captum_xdnn.homogeneity import adopt, seal
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU())
        >>> sealed = seal(net, torch.zeros(8, 3))
        >>> sealed.certificate.homogeneous
        True
        >>> import copy
        >>> adopt(copy.deepcopy(net), sealed)  # as after pickling
        True
        >>> adopt(torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.Tanh()), sealed)
        False
    """

    certificate: Certificate
    digest: str
    key: Any
    analysis: Analysis
    values: tuple[tuple[str, str], ...]


def seal(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    baselines: Any = None,
    *,
    largest_batch: int = 1024,
) -> SealedCertificate | None:
    """Certify a function for use in other processes.

    Args:
        forward_func: The function.
        inputs: Example input or tuple of inputs, on the kind of device that will be used there,
            at least two examples: a graph of one holds for one.
        baselines: As in Captum.
        largest_batch: The largest batch that the certificate will be used for.

    Returns:
        The sealed certificate; None where there is nothing that could travel: the function is
        hoisted, which needs the graph, or something that it depends on cannot be told from
        something else.

    Example:
        >>> import torch
        >>> from captum_xdnn.homogeneity import seal
        >>> ordinary = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(3, 2))
        >>> seal(ordinary, torch.zeros(2, 3)).certificate.homogeneous  # a refusal travels as well
        False
    """
    if isinstance(forward_func, Derived):
        return None
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    given = baselines if isinstance(baselines, tuple) else (baselines,) * len(tensors)
    starts = tuple(known_baseline(0 if b is None else b) for b in given)
    analysis = knowledge_of(forward_func).analyse(forward_func, tensors, starts, patient=True)
    traced, certificate = analysis.traced, analysis.certificate
    hoisted = analysis.plan is not None and not certificate.homogeneous
    if traced is None or hoisted or analysis.mixes_examples():
        return None
    try:
        digest = _digest_of(forward_func)
    except _Opaque:
        return None
    names = {id(tensor): name for name, tensor in traced.constants.values()}
    sizes = frozenset(size for size in range(1, largest_batch + 1) if traced.holds_for(size))
    return SealedCertificate(
        certificate,
        digest,
        key_of_trace(tensors, ()),
        Analysis(
            certificate,
            size=analysis.size,
            baselines=tuple(_apart(b) for b in analysis.baselines),
            sources=analysis.sources,
            outline=Outline(sizes, traced.coarsest),
        ),
        tuple((names[id(t)], _content(t)) for t, _ in analysis.versions),
    )


def adopt(forward_func: Callable[..., Any], sealed: SealedCertificate) -> bool:
    """Take over a certificate that was sealed in another process.

    Args:
        forward_func: The function, as it arrived here.
        sealed: The certificate, as it arrived here.

    Returns:
        Whether the function is the one that was certified. Where it is not, nothing is taken over,
        and the function is traced when it is first attributed.

    Example:
        See :class:`SealedCertificate`.

        >>> import pickle, torch
        >>> from captum_xdnn import XIntegratedGradients
        >>> from captum_xdnn.homogeneity import adopt, seal
        >>> net = torch.nn.Linear(3, 2, bias=False)
        >>> net, sealed = pickle.loads(pickle.dumps((net, seal(net, torch.zeros(4, 3)))))
        >>> adopt(net, sealed)
        True
        >>> xig = XIntegratedGradients(net)
        >>> _ = xig.attribute(torch.ones(4, 3), target=1)
        >>> xig.last_route
        'single_pass'
    """
    if isinstance(forward_func, Derived):
        return False
    try:
        if _digest_of(forward_func) != sealed.digest:
            return False
    except _Opaque:
        return False
    read: list[Tensor] = []
    if sealed.values:
        root = replicate(forward_func)
        held = {**dict(root.named_parameters()), **dict(root.named_buffers())}
        for name, content in sealed.values:
            tensor = held.get(name)
            if tensor is None or _content(tensor) != content:
                return False
            read.append(tensor)
    versions = tuple((tensor, version_of(tensor)) for tensor in read)
    analysis = replace(sealed.analysis, versions=versions, relied=tuple(read))
    knowledge_of(forward_func).adopt(forward_func, sealed.key, analysis)
    return True


def _apart(baseline: Baseline) -> Baseline:
    return baseline.detach().clone() if isinstance(baseline, Tensor) else baseline


def _content(tensor: Tensor) -> str:
    bare = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(bare.numpy().tobytes()).hexdigest()


def _digest_of(function: Callable[..., Any]) -> str:
    """A digest of what a function is traced from, the same in every process.

    Raises:
        _Opaque: If something in it is known by its address alone.
    """
    total = hashlib.sha256(f"{torch.__version__} {__version__}".encode())
    for atom in atoms_of(function):
        for token in _tokens(atom):
            total.update(token.encode())
            total.update(b"\0")
    return total.hexdigest()


def _tokens(atom: Any) -> Iterator[str]:
    kind = type(atom)
    yield f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(atom, Tensor):
        yield f"{tuple(atom.shape)} {atom.dtype} {atom.device} {atom.requires_grad}"
    elif isinstance(atom, PLAIN):
        yield repr(atom)
    elif isinstance(atom, types.CodeType):
        yield from _code(atom)
    elif isinstance(atom, types.FunctionType):
        yield f"{atom.__module__}.{atom.__qualname__}"
        yield from _code(atom.__code__)
    elif isinstance(atom, type):
        yield f"{atom.__module__}.{atom.__qualname__}"
    elif isinstance(atom, types.ModuleType):
        yield atom.__name__
    elif isinstance(atom, types.BuiltinFunctionType):
        yield f"{atom.__module__}.{atom.__qualname__}"
    elif not isinstance(atom, nn.Module) and settings(atom) is None:
        raise _Opaque


def _code(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield from _constant(constant)


def _constant(constant: Any) -> Sequence[str]:
    """A constant of code as text: of a set, whose order is its process's own, sorted."""
    if isinstance(constant, frozenset):
        return sorted(map(repr, constant))
    return (repr(constant),)
