"""An attribution prior in Hugging Face's ``Trainer``: a subclass with one more term in the loss.

    trainer = PriorTrainer(model, args, train_dataset=data, prior=l1, weight=0.1, attribute=of_embeddings)

Copy this file; it needs ``transformers``, ``accelerate`` and ``captum_xdnn``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers import Trainer

from captum_xdnn import XIntegratedGradients


def of_embeddings(model: nn.Module, inputs: Mapping[str, Any], n_steps: int = 10) -> Tensor:
    """Integrated Gradients of each token, ``(B, L)``, from embeddings of zero to those of the text.

    Attention is no homogeneous function: this is Captum's sum, at the cost of its ``n_steps``. Load the model with
    ``attn_implementation="eager"``: fused attention has no second derivative.
    """

    def logits(embeddings: Tensor, mask: Tensor) -> Tensor:
        scores: Tensor = model(inputs_embeds=embeddings, attention_mask=mask).logits
        return scores

    mask = inputs["attention_mask"]
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    attributions: Tensor = XIntegratedGradients(logits).attribute(
        embeddings,
        target=inputs["labels"],
        additional_forward_args=(mask,),
        n_steps=n_steps,
        create_graph=True,
    )
    return attributions.sum(-1) * mask


class PriorTrainer(Trainer):
    """Adds ``weight * prior(attribute(model, inputs))`` to the loss of each batch that is trained on.

    ``attribute`` gives attributions that can be differentiated, as :func:`of_embeddings` does; ``prior`` is a loss
    on them, as those of ``captum_xdnn.priors``.
    """

    def __init__(
        self,
        *args: Any,
        prior: Callable[[Any], Tensor],
        weight: float,
        attribute: Callable[[nn.Module, Mapping[str, Any]], Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.compute_loss_func is not None:
            raise ValueError("put what compute_loss_func does into the model's own loss")
        self.prior, self.weight, self.attribute = prior, weight, attribute
        # The loss of a batch is a mean, which Trainer divides by the number of batches that are accumulated.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The model's loss, and in training the prior's."""
        kept = dict(inputs)  # label smoothing takes the labels out
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        if model.training:
            loss = loss + self.weight * self.prior(self.attribute(model, kept))
        return (loss, outputs) if return_outputs else loss
