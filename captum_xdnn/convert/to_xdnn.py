"""``to_xdnn``: a network without what keeps it from being nonnegatively homogeneous."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from captum_xdnn.convert.batch_norms import layers_before_norms
from captum_xdnn.convert.conversion import Conversion
from captum_xdnn.convert.replacements import BatchNormChoice, Replacements, matters_what_is_before
from captum_xdnn.convert.trial import copied, in_mode, initialise, last_softmax, unchanged_on_error
from captum_xdnn.errors import HomogeneityWarning
from captum_xdnn.homogeneity import certify

SoftmaxChoice = Literal["remove", "keep"]


def to_xdnn(
    model: nn.Module,
    *,
    inputs: Tensor | tuple[Tensor, ...] | None = None,
    additional_forward_args: Any = None,
    inplace: bool = False,
    batch_norm: BatchNormChoice = "uncentered",
    activation: Callable[[], nn.Module] = nn.ReLU,
    softmax: SoftmaxChoice = "remove",
    init: Callable[[nn.Module], object] | None = None,
) -> tuple[nn.Module, Conversion]:
    r"""Make a network nonnegatively homogeneous, :math:`F(a x) = a^k F(x)` for :math:`a \ge 0`.

    The degree :math:`k` is 1, unless the network multiplies parts of its input, as bilinear layers
    do.

    Modules of torch are changed, code in ``forward`` is not: what adds a constant there, or calls
    an activation as a function, is named by the certificate of the result. A network that was
    trained with biases gives other answers without them: train or fine-tune the result.

    - Biases of linear, bilinear and convolutional layers, attention and normalisations are removed.
    - Batch norm becomes the uncentred batch norm that comes closest to its output
      (``"uncentered"``), the more so with ``inputs``, from which is seen which bias goes before it;
      or a factor, multiplied into the weights of the layer before where that
      layer has no other use (``"fold"``); or nothing (``"strip"``). One without running statistics,
      or of a class with a ``forward`` of its own, is left; a frozen one becomes a factor.
    - ReLU6, Hardtanh, GELU, SiLU, Mish, ELU, CELU, SELU, Hardswish and Softplus become
      ``activation()``. Gates (sigmoid, tanh), normalisations by the input's own statistics (layer,
      group and instance norm), attention and recurrent layers are left; see
      :class:`captum_xdnn.nn.Homogenized` for networks that need them.
    - A softmax or sigmoid (or the logarithm of one) whose output is the network's is removed, so that
      scores are explained, or kept (``"keep"``), for the hoisted route.

    Args:
        model: The network.
        inputs: Example input or tuple of inputs, ``(B, ...)``, as for :func:`captum_xdnn.certify`.
            Without them nothing can be certified.
        additional_forward_args: Further arguments of the network, as in Captum.
        inplace: Whether to change ``model`` itself; else a copy is changed. After an error, or a
            warning that is one, it is as it was, except that lazy modules stay initialised.
        batch_norm: What becomes of batch norm.
        activation: Makes the module that takes the place of each activation; its parameters, if it
            has any, get the device and dtype of those before it.
        softmax: What becomes of a softmax or sigmoid at the end.
        init: Called with each module of the result, to draw weights anew; for example
            :func:`captum_xdnn.convert.kaiming_normal_`.

    Returns:
        The converted network, each module in the mode it was in, and the report. A network that is
        a single activation or normalisation is exchanged for another one, also if ``inplace``.

    Warns:
        HomogeneityWarning: If the result is not certified, with the reason.

    Raises:
        RuntimeError: If the model cannot be copied, as one whose weights are computed in hooks.
        TypeError: If ``model`` is no module, or a scripted one; if ``inputs`` are no tensors; if
            ``activation`` makes no modules, or ``init`` cannot be called.
        ValueError: If an option is none of its choices; if lazy modules are not initialised and no
            inputs are given; for ``"fold"`` without inputs.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Definition 3.3 and Section 4.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU(), torch.nn.Softmax(-1))
        >>> converted, report = to_xdnn(net, inputs=torch.zeros(2, 4))
        >>> converted
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=False)
          (1): ReLU()
          (2): Identity()
        )
        >>> report.certificate.degree
        Fraction(1, 1)
    """
    _check(model, batch_norm, softmax, activation, init)
    tensors = _tensors(inputs)
    given = additional_forward_args
    further = () if given is None else given if isinstance(given, tuple) else (given,)
    arguments = None if inputs is None else (*tensors, *further)
    if batch_norm == "fold" and arguments is None:
        message = "batch_norm='fold' needs inputs, to see which layer each batch norm follows"
        raise ValueError(message)
    result = model if inplace else copied(model)
    initialise(result, arguments)
    last = last_softmax(result, arguments)
    before: dict[nn.Module, nn.Module] = {}
    if arguments is not None and matters_what_is_before(result, batch_norm):
        with in_mode(result, training=False):
            before = layers_before_norms(result, tensors, further)
    head = last if softmax == "remove" else None
    plan = Replacements(result, batch_norm, activation, head, before)
    writes = batch_norm == "fold" or init is not None
    with unchanged_on_error(result, values=writes) if inplace else nullcontext():
        result = plan.carry_out()
        if last is not None and softmax == "keep":
            plan.keep(last, "kept, as asked for")
        if init is not None:
            for module in list(result.modules()):
                init(module)
        certificate = None
        if inputs is not None:
            with in_mode(result, training=False):
                certificate = certify(result, inputs, None, additional_forward_args)
        conversion = Conversion(tuple(plan.changes), tuple(plan.kept), certificate)
        if not conversion.homogeneous:
            warnings.warn(conversion.verdict, HomogeneityWarning, stacklevel=2)
    return result, conversion


def _check(model: Any, batch_norm: str, softmax: str, activation: Any, init: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, found {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError("a scripted module cannot be changed; convert the module it was made of")
    for name, value, choices in (
        ("batch_norm", batch_norm, get_args(BatchNormChoice)),
        ("softmax", softmax, get_args(SoftmaxChoice)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, found {value!r}")
    if isinstance(activation, nn.Module) or not callable(activation):
        message = f"activation must make modules, as torch.nn.ReLU does; found {activation!r}"
        raise TypeError(message)
    if init is not None and not callable(init):
        raise TypeError(f"init must be a function of a module, found {init!r}")


def _tensors(inputs: Any) -> tuple[Tensor, ...]:
    tensors = () if inputs is None else inputs if isinstance(inputs, tuple) else (inputs,)
    wrong = [type(t).__name__ for t in tensors if not isinstance(t, Tensor)]
    if wrong or inputs == ():
        message = f"inputs must be a tensor or a tuple of tensors, found {', '.join(wrong) or '()'}"
        raise TypeError(message)
    return tensors
