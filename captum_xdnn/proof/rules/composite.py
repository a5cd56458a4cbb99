"""Operations that torch makes of others, losses among them: only where their rows stay is known."""

from __future__ import annotations

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.registry import know
from captum_xdnn.proof.row_laws import along, before_last, entrywise, reshaped


def scored(call: BatchedCall) -> BatchDim | None:
    """A loss for each example, without a mean."""
    place = BatchDim(0)
    batched = rank_of(call.data) > 1 and call["reduction"] == 0
    return place if batched and all(s == place for _, s in call.batched) else None


know("mse_loss smooth_l1_loss huber_loss", rows=entrywise)
know("binary_cross_entropy binary_cross_entropy_with_logits", rows=entrywise)
know("nll_loss nll_loss_forward nll_loss2d_forward nll_loss_nd cross_entropy_loss", rows=scored)
know("reshape flatten unflatten", rows=reshaped)
know("contiguous zero", rows=entrywise)
know("chunk cumprod logcumsumexp logsumexp norm std_mean count_nonzero glu", rows=along)
know("cdist", rows=before_last)
