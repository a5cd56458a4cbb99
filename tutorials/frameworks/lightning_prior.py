"""An attribution prior in Lightning: a callback, for modules that stay as they are.

    trainer = lightning.Trainer(callbacks=[AttributionPrior(gini_sparsity, 0.1)])

Copy this file; it needs ``lightning`` and ``captum_xdnn``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import lightning
from torch import Tensor

from captum_xdnn import XIntegratedGradients


class AttributionPrior(lightning.Callback):
    """Adds ``weight * prior(attributions)`` to the loss of the module's ``training_step``.

    The loss is made larger where it is made, so accumulation, precision and optimisers are Lightning's own. The
    module's ``forward`` is explained; the value is logged as ``attribution_prior``.

    Args:
        prior: A loss on attributions, as those of ``captum_xdnn.priors``.
        weight: Its factor.
        explained: What of a batch is explained: its inputs (a tensor or a tuple) and the target.
        arguments: Further ones of ``XIntegratedGradients.attribute``, as ``n_steps`` or ``baselines``.
    """

    def __init__(
        self,
        prior: Callable[[Any], Tensor],
        weight: float,
        explained: Callable[[Any], tuple[Any, Any]] = lambda batch: (batch[0], batch[1]),
        **arguments: Any,
    ) -> None:
        self.prior, self.weight = prior, weight
        self.explained, self.arguments = explained, arguments
        self.xig: XIntegratedGradients | None = None

    def setup(self, trainer: Any, module: lightning.LightningModule, stage: str) -> None:
        """Put the larger loss into the module."""
        if stage != "fit":
            return
        xig = self.xig = XIntegratedGradients(module)
        own_step = module.training_step

        @functools.wraps(own_step)
        def training_step(batch: Any, *args: Any, **kwargs: Any) -> Any:
            result = own_step(batch, *args, **kwargs)
            if result is None:  # Lightning leaves the batch out
                return None
            inputs, target = self.explained(batch)
            attributions = xig.attribute(inputs, target=target, create_graph=True, **self.arguments)
            value = self.prior(attributions)
            module.log("attribution_prior", value.detach())
            added = self.weight * value
            if isinstance(result, Mapping):
                return {**result, "loss": result["loss"] + added}
            return result + added

        module.training_step = training_step

    def teardown(self, trainer: Any, module: lightning.LightningModule, stage: str) -> None:
        """Give the module its own loss back."""
        module.__dict__.pop("training_step", None)

    def on_exception(
        self, trainer: Any, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """The same where training was broken off."""
        self.teardown(trainer, module, "fit")
