"""What a conversion did to a network, and what is proved of the result."""

from dataclasses import dataclass

from captum_xdnn.homogeneity import Certificate


@dataclass(frozen=True)
class Change:
    """One module that was changed, or could not be.

    Attributes:
        module: Its path in the network; empty for the network itself.
        module_type: Its class before the conversion.
        what: What was done, or why nothing could be.

    Example:
        >>> print(Change("features.1", "BatchNorm2d", "became UncenteredBatchNorm2d"))
        features.1 (BatchNorm2d): became UncenteredBatchNorm2d
    """

    module: str
    module_type: str
    what: str

    def __str__(self) -> str:
        return f"{self.module or 'the model'} ({self.module_type}): {self.what}"


@dataclass(frozen=True)
class Conversion:
    """The report of :func:`captum_xdnn.convert.to_xdnn`; ``print`` it.

    Attributes:
        changes: The modules that were changed, those that lost a bias among them.
        kept: The modules that were to be changed and are left as they are (batch norms that keep no
            statistics, recurrent layers, a softmax that is kept), each with the reason. What else
            stands in the way is in ``certificate``.
        certificate: The certificate of the result in evaluation mode; None if no example input was
            given to analyse it with.

    Example:
        >>> import torch
        >>> from captum_xdnn.convert import to_xdnn
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU())
        >>> _, report = to_xdnn(net, inputs=torch.rand(2, 4))
        >>> [change.what for change in report.changes], report.homogeneous
        (['bias removed', 'became ReLU'], True)
    """

    changes: tuple[Change, ...]
    kept: tuple[Change, ...]
    certificate: Certificate | None

    @property
    def homogeneous(self) -> bool:
        r"""Whether :math:`F(a x) = a^k F(x)` is proved of the result, for :math:`a \ge 0`.

        A constant beside the part of degree 1 leaves a single pass exact, but not this.
        """
        certificate = self.certificate
        return certificate is not None and certificate.homogeneous and not certificate.affine

    @property
    def verdict(self) -> str:
        """What is proved, or what is missing, in words."""
        if self.certificate is None:
            return "The converted network has not been certified: give inputs to analyse it with."
        if self.homogeneous:
            return str(self.certificate)
        why = ": something adds a constant" if self.certificate.affine else ""
        return f"The converted network is not homogeneous{why}.\n{self.certificate}"

    def __str__(self) -> str:
        kept = _lines(self.kept, "left in the way") if self.kept else []
        return "\n".join([*_lines(self.changes, "changed"), *kept, self.verdict])


def _lines(changes: tuple[Change, ...], fate: str) -> list[str]:
    """The number, then one line for all modules of a class of which the same is told."""
    alike: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        paths = alike.setdefault((change.module_type, change.what), [])
        paths.append(change.module or "the model")
    return [
        f"{len(changes)} {'module' if len(changes) == 1 else 'modules'} {fate}",
        *(f"  {len(p)} x {kind}: {what} (first: {p[0]})" for (kind, what), p in alike.items()),
    ]
