"""What becomes of each module of a network, its biases among it, and notes on what was done."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from captum_xdnn._torch import HOOKS, BatchNorm, ConvNd, InstanceNorm
from captum_xdnn.convert import batch_norms
from captum_xdnn.convert.conversion import Change

BatchNormChoice = Literal["uncentered", "fold", "strip"]

WITH_BIAS: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Bilinear,
    ConvNd,
    nn.LayerNorm,
    nn.GroupNorm,
    InstanceNorm,
)

INHOMOGENEOUS: tuple[type[nn.Module], ...] = (
    nn.Hardtanh,  # and ReLU6, which is one
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Hardswish,
    nn.Softplus,
)
"""Activations that bend elsewhere than at zero, or smoothly, and stand in for a ReLU; gates
(sigmoid, tanh) do not, and are left."""

RECURRENT: tuple[type[nn.Module], ...] = (nn.RNNBase, nn.modules.rnn.RNNCellBase)
RECURRENT_REASON = (
    "recurrent layers cannot be converted: their gates and tanh bend away from zero with and "
    "without biases"
)


@dataclass
class Replacements:
    """The choices for one network, and what has been done with it so far."""

    model: nn.Module
    batch_norm: BatchNormChoice
    activation: Callable[[], nn.Module]
    head: nn.Module | None
    """The module at the end that is removed, if any."""
    before: Mapping[nn.Module, nn.Module]
    """For batch norms whose only input is one layer, that layer."""
    changes: list[Change] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = {module: path for path, module in self.model.named_modules()}
        self.nearby = _first_floating(self.model.parameters())
        self.biases = {norm: layer.bias for norm, layer in self.before.items()}

    def carry_out(self) -> nn.Module:
        """Change the network in place, unless it is exchanged itself, and return the result.

        A module that stands in two places stays one. A new one has the forward and backward hooks
        and the mode of the one whose place it takes.
        """
        # Only the values of parameters go through the modules that compute them.
        lists = [m for m in self.model.modules() if isinstance(m, parametrize.ParametrizationList)]
        computing = {module for parametrizations in lists for module in parametrizations.modules()}
        new: dict[nn.Module, nn.Module] = {}
        for old in [module for module in self.model.modules() if module not in computing]:
            made = self._made_of(old)
            if made is not None:
                made.train(old.training)
                vars(made).update({name: hooks for name in HOOKS if (hooks := vars(old).get(name))})
                new[old] = made
        for parent in list(self.model.modules()):
            for name, child in parent._modules.items():
                if child in new:
                    parent._modules[name] = new[child]
        return new.get(self.model, self.model)

    def keep(self, module: nn.Module, reason: str) -> None:
        """Note that a module stays, though it stands in the way."""
        self.kept.append(Change(self.paths[module], type(module).__name__, reason))

    def _made_of(self, module: nn.Module) -> nn.Module | None:
        """The module for another one's place; None for one that stays, changed or not."""
        made: nn.Module | None = None
        kind = type(module).__name__
        self.nearby = _first_floating(module.parameters(recurse=False), self.nearby)
        what = remove_bias(module)
        if module is self.head:
            made, what = nn.Identity(), "removed from the end"
        elif isinstance(module, INHOMOGENEOUS):
            made = self._activation()
            what = f"became {type(made).__name__}"
        elif isinstance(module, BatchNorm) or batch_norms.is_frozen(module):
            reason = batch_norms.unconvertible(module)
            if reason:
                self.keep(module, reason)
            else:
                made, what = self._normalised(module)
        elif isinstance(module, RECURRENT):
            self.keep(module, RECURRENT_REASON)
        if what:
            self.changes.append(Change(self.paths[module], kind, what))
        return made

    def _activation(self) -> nn.Module:
        """A new activation, with parameters (if any) like those of the layers around it."""
        made = self.activation()
        if not isinstance(made, nn.Module):
            raise TypeError(f"activation must make modules, it made a {type(made).__name__}")
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


def remove_bias(module: nn.Module) -> str:
    """Remove the biases of a layer of torch, in place; says what was done, nothing of others."""
    names = ["bias"] if isinstance(module, WITH_BIAS) else []
    if isinstance(module, nn.MultiheadAttention):
        names = ["in_proj_bias", "bias_k", "bias_v"]
    removed = [name for name in names if getattr(module, name, None) is not None]
    for name in removed:
        _make_plain(module, name)
        delattr(module, name)
        module.register_parameter(name, None)
    return f"{', '.join(removed)} removed" if removed else ""


def _make_plain(module: nn.Module, name: str) -> None:
    """Let nothing compute a bias any more."""
    if parametrize.is_parametrized(module, name):
        _give_class_of_its_own(module)
        parametrizations: Any = module.parametrizations
        several = not hasattr(parametrizations[name], "original")
        # With one original tensor, that is put back, and the tensor itself is left alone.
        parametrize.remove_parametrizations(module, name, leave_parametrized=several)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm) and hook.name == name:
            remove_weight_norm(module, name)
        elif isinstance(hook, SpectralNorm) and hook.name == name:
            remove_spectral_norm(module, name)
        elif isinstance(hook, prune.BasePruningMethod) and f"{name}_orig" in module._parameters:
            make_permanent: Any = prune.remove
            make_permanent(module, name)


def _give_class_of_its_own(module: nn.Module) -> None:
    """Let a parametrized module share its class with no copy of it.

    torch makes a class for it, with a property for each computed tensor; copies share that class,
    and would lose the property that is removed from one of them.
    """
    kind = type(module)
    held = {n: v for n, v in vars(kind).items() if n not in {"__dict__", "__weakref__"}}
    module.__class__ = type(kind.__name__, kind.__bases__, held)
