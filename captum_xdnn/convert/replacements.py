"""What becomes of each module of a network, and the notes on what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from captum_xdnn._torch import BatchNorm
from captum_xdnn.convert import activations, batch_norms, biases
from captum_xdnn.convert.conversion import Change

BatchNormChoice = Literal["uncentered", "fold", "strip"]


@dataclass
class Replacements:
    """The choices for one network, and what has been done with it so far.

    Attributes:
        model: The network.
        batch_norm: What becomes of batch norm.
        activation: Makes the module that takes the place of each activation.
        head: The module at the end that is removed, if any.
        before: For batch norms whose only input is one layer, that layer.
        changes: The modules that were changed.
        kept: The modules that stand in the way and stay.
    """

    model: nn.Module
    batch_norm: BatchNormChoice
    activation: Callable[[], nn.Module]
    head: nn.Module | None = None
    before: Mapping[nn.Module, nn.Module] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = {module: path for path, module in self.model.named_modules()}
        self.nearby = _first_floating(self.model.parameters())
        # Only the values of parameters go through the modules that compute them.
        self.computing = {
            module
            for computed in self.model.modules()
            if isinstance(computed, ParametrizationList)
            for module in computed.modules()
        }
        self.biases = {norm: layer.bias for norm, layer in self.before.items()}

    def convert(self, module: nn.Module) -> nn.Module | None:
        """The module for another one's place; None for one that stays, changed or not.

        Args:
            module: A module of the network; they come in the order of ``model.modules()``.
        """
        if module in self.computing:
            return None
        made: nn.Module | None = None
        kind = type(module).__name__
        self.nearby = _first_floating(module.parameters(recurse=False), self.nearby)
        what = biases.remove_bias(module)
        if module is self.head:
            made, what = nn.Identity(), "removed from the end"
        elif activations.is_inhomogeneous(module):
            made = self._activation()
            what = f"became {type(made).__name__}"
        elif batch_norms.is_batch_norm(module):
            reason = batch_norms.unconvertible(module)
            if reason:
                self.keep(module, reason)
            else:
                made, what = self._normalised(module)
        elif isinstance(module, biases.RECURRENT):
            self.keep(module, biases.RECURRENT_REASON)
        if what:
            self.changes.append(Change(self.paths[module], kind, what))
        return made

    def keep(self, module: nn.Module, reason: str) -> None:
        """Note that a module stays, though it stands in the way."""
        self.kept.append(Change(self.paths[module], type(module).__name__, reason))

    def _activation(self) -> nn.Module:
        """A new activation, with parameters (if any) like those of the layers around it."""
        made = self.activation()
        if not isinstance(made, nn.Module):
            message = f"activation must make modules, it made a {type(made).__name__}"
            raise TypeError(message)
        return made if self.nearby is None else made.to(self.nearby.device, self.nearby.dtype)

    def _normalised(self, module: nn.Module) -> tuple[nn.Module, str]:
        if self.batch_norm == "strip":
            return nn.Identity(), "removed"
        if self.batch_norm == "uncentered" and not batch_norms.is_frozen(module):
            made = batch_norms.uncentred(module, self.biases.get(module))
            return made, f"became {type(made).__name__}"
        layer = self.before.get(module)
        if layer is not None and batch_norms.can_take_a_factor(layer, self.model):
            batch_norms.fold_into(layer, module)
            return nn.Identity(), "folded into the layer before"
        return batch_norms.slope(module), "became a factor for each channel (ChannelScale)"


def matters_what_is_before(model: nn.Module, choice: BatchNormChoice) -> bool:
    """Whether the result depends on which layer stands before each batch norm."""
    norms = [m for m in model.modules() if isinstance(m, BatchNorm)]
    if choice != "uncentered":
        return bool(norms) and choice == "fold"
    channels = {norm.num_features for norm in norms}
    others = (m for m in model.modules() if isinstance(m, batch_norms.FOLDABLE))
    return any(m.bias is not None and m.bias.numel() in channels for m in others)


def _first_floating(tensors: Iterable[Tensor], otherwise: Tensor | None = None) -> Tensor | None:
    return next((t for t in tensors if t.is_floating_point()), otherwise)
