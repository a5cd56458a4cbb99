"""The errors and the warning of this package."""

import signal
import sys
from typing import TypeVar

import torch

E = TypeVar("E", bound=BaseException)

NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "allocation_failed",
)
"""What is said where no type says it: by CUDA itself, cuBLAS, cuDNN and its like, and on a CPU."""
_PLAIN = (RuntimeError, getattr(torch, "AcceleratorError", RuntimeError))  # torch 2.8 has the other


class XDNNError(Exception):
    """Base class of every error that only this package raises.

    Example:
        >>> import torch
        >>> from captum_xdnn import XDNNError, XIntegratedGradients
        >>> try:
        ...     XIntegratedGradients(torch.exp, strategy="single_pass").attribute(torch.rand(2), target=None)
        ... except XDNNError as error:
        ...     print(type(error).__name__)
        NotHomogeneousError
    """


class NotHomogeneousError(XDNNError):
    """A single pass was demanded, and it is not proved exact, or its check failed.

    The message is the certificate's report, which names each kind of blocker with the first of its
    places (``certify(...).blockers`` has all), or says what else forbids the single pass in this call.

    Example:
        >>> import torch
        >>> from captum_xdnn import NotHomogeneousError, XIntegratedGradients
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Sigmoid())
        >>> try:
        ...     XIntegratedGradients(net, strategy="single_pass").attribute(torch.rand(1, 4), target=0)
        ... except NotHomogeneousError as error:
        ...     print("1 (Sigmoid)" in str(error))
        True
    """


class TraceError(XDNNError):
    """A function could not be recorded as one graph of operations.

    An export raises it; in a call such a function takes Captum's route.

    Example:
        >>> from captum_xdnn import TraceError, XDNNError
        >>> issubclass(TraceError, XDNNError)
        True
    """


class HomogeneityWarning(UserWarning):
    """What was hoped to be homogeneous is not.

    A call contradicted a certificate, which is dropped, and Captum's answer was returned; or
    ``to_xdnn`` returns a network that is not certified.

    Example:
        >>> import warnings
        >>> from captum_xdnn import HomogeneityWarning
        >>> with warnings.catch_warnings():  # in a pipeline that should stop rather than fall back
        ...     warnings.simplefilter("error", HomogeneityWarning)
    """


def first_line(error: BaseException) -> str:
    """The type of an exception and the first line of its message: ``ValueError: no such index``."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory has run out: by its type, or in words."""
    in_words = type(error) in _PLAIN and any(words in str(error).lower() for words in NO_MEMORY)
    return in_words or isinstance(error, torch.OutOfMemoryError | MemoryError)


def is_of_the_device(error: BaseException) -> bool:
    """Whether the device has failed and not what was given to it: no memory, or after an error no more work."""
    failed = type(error) in _PLAIN and "CUDA error" in str(error)
    return failed or is_out_of_memory(error)


def without_frames(error: E) -> E:
    """The error; its frames and those of the errors behind it, which hold tensors of what has failed, are gone.

    Not while it is handled itself: what is handled then is the caller's, and keeps its own.
    """
    chain: list[BaseException | None] = [error]
    known = {id(None), id(sys.exc_info()[1])}
    for behind in chain:
        if behind is not None and id(behind) not in known:
            known.add(id(behind))
            behind.__traceback__ = None
            chain += [behind.__cause__, behind.__context__]
    return error


def raised_by_handler(error: BaseException) -> bool:
    """Whether a handler of signals has raised an error: a time limit of the user's, nothing of the function's."""
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False
