"""Functions of ``x`` in which the rows of a batch meet, or may, or that change with its size."""

from __future__ import annotations

import torch
from row_samples import C4, FLAT, IMAGE, K1, LABELS, LINE, PAIR, W2, Function, aten, seeded

WRONG: dict[str, tuple[tuple[int, ...], Function]] = {
    "softmax over the batch": (FLAT, lambda x: x.softmax(0)),
    "log_softmax over the batch, from behind": (LINE, lambda x: x.log_softmax(-3)),
    "mean over everything": (LINE, lambda x: x - x.mean()),
    "mean over the batch": (LINE, lambda x: x - x.mean(0)),
    "mean over the batch, kept": (LINE, lambda x: x - x.mean(0, keepdim=True)),
    "mean over all dimensions, by an empty list": (LINE, lambda x: x - x.mean([])),
    "maximum of everything": (LINE, lambda x: x / x.max()),
    "norm of everything": (LINE, lambda x: x / x.norm()),
    "variance of everything": (LINE, lambda x: x / x.var()),
    "flip of the batch": (LINE, lambda x: x.flip(0)),
    "flip of the batch among others": (LINE, lambda x: x.flip([0, 1])),
    "the batch from behind, by strides": (
        LINE,
        lambda x: aten.as_strided(x.tanh().transpose(0, 1), x.shape, x.stride()),
    ),
    "a window over rows, by strides": (FLAT, lambda x: x.tanh().as_strided(x.shape, (5, 1))),
    "entries further on, by strides": (
        FLAT,
        lambda x: torch.cat([x, x], 1)[:, :5].as_strided((len(x), 5), (12, 1), 3),
    ),
    "roll of the batch": (LINE, lambda x: x.roll(1, 0)),
    "roll of all entries": (LINE, lambda x: x.roll(1)),
    "cumsum over the batch": (LINE, lambda x: x.cumsum(0)),
    "sort of the batch": (LINE, lambda x: x.sort(0)[0]),
    "argsort of the batch": (LINE, lambda x: x.argsort(0)),
    "cat along the batch": (LINE, lambda x: torch.cat([x, x])),
    "cat along the batch, first half": (LINE, lambda x: torch.cat([x, x])[: x.shape[0]]),
    "stack and merge": (LINE, lambda x: torch.stack([x, x.tanh()]).flatten(0, 1)[: x.shape[0]]),
    "divided by the batch size": (LINE, lambda x: x / x.shape[0]),
    "plus the batch size": (LINE, lambda x: x + x.shape[0]),
    "filled with the batch size": (LINE, lambda x: x * torch.full((), x.shape[0])),
    "full_like of the batch size": (LINE, lambda x: x + torch.full_like(x, x.shape[0])),
    "new_full of the batch size": (LINE, lambda x: x + x.new_full((1,), float(x.shape[0]))),
    "addmm by the batch size": (
        FLAT,
        lambda x: torch.addmm(seeded(5), x, W2.t(), alpha=x.shape[0]),
    ),
    "addmm, a bias by the batch size": (
        FLAT,
        lambda x: torch.addmm(seeded(5), x, W2.t(), beta=x.shape[0]),
    ),
    "baddbmm by the batch size": (
        LINE,
        lambda x: torch.baddbmm(seeded(1, 1, 4), x, x.transpose(1, 2), beta=x.shape[0]),
    ),
    "add with the batch size as factor": (
        LINE,
        lambda x: torch.add(x, x.flip(1), alpha=x.shape[0]),
    ),
    "to the power of the batch size": (LINE, lambda x: x.square().pow(x.shape[0])),
    "clamped at the batch size": (LINE, lambda x: (10 * x).clamp(max=x.shape[0])),
    "padded by the batch size": (LINE, lambda x: aten.constant_pad_nd(x, [1, 1], x.shape[0])),
    "a norm of the batch size's order": (LINE, lambda x: x.norm(p=x.shape[0], dim=1)),
    "rolled by the batch size": (LINE, lambda x: x.roll(x.shape[0], 2)),
    "a row numbered by the batch size": (LINE, lambda x: x.repeat(1, 1, 9).select(2, x.shape[0])),
    "narrowed from the batch size": (LINE, lambda x: x.repeat(1, 1, 9).narrow(2, x.shape[0], 2)),
    "cut off at the batch size": (LINE, lambda x: x.repeat(1, 1, 9)[:, :, : x.shape[0]].sum(2)),
    "numbered rows": (LINE, lambda x: x + torch.arange(x.shape[0])[:, None, None]),
    "the first row": (LINE, lambda x: x[:1] + x),
    "the last row": (LINE, lambda x: x + x[-1]),
    "every other row twice": (LINE, lambda x: x[torch.arange(x.shape[0]) // 2]),
    "rows by an index": (LINE, lambda x: x[torch.tensor([0])].expand_as(x) + x),
    "rows by a mask": (LINE, lambda x: x[x.sum((1, 2)) > 0]),
    "all but the first row, padded": (LINE, lambda x: torch.cat([x[1:], x[:1]])),
    "product of rows": (FLAT, lambda x: x @ (x.t() @ x)),
    "rows against rows": (FLAT, lambda x: (x @ x.t()).softmax(1) @ x),
    "attention over the batch": (
        LINE,
        lambda x: aten.scaled_dot_product_attention(*[x.transpose(0, 1)] * 3),
    ),
    "convolution over the batch": (LINE, lambda x: torch.conv1d(x.permute(2, 1, 0), K1, padding=1)),
    "pooling over the batch": (LINE, lambda x: aten.avg_pool1d(x.permute(1, 2, 0), [3], [1], [1])),
    "pooling without a batch": (
        FLAT,
        lambda x: aten.max_pool2d(x[None, None], [3, 1], [1, 1], [1, 0]),
    ),
    "padding of the batch": (FLAT, lambda x: aten.constant_pad_nd(x, [0, 0, 1, -1])),
    "layer norm over everything": (FLAT, lambda x: aten.layer_norm(x.t(), [x.shape[0]])),
    "linear over the batch": (LINE, lambda x: x.transpose(0, 2).cumsum(2)),
    "batch norm by the batch": (
        IMAGE,
        lambda x: aten.batch_norm(x, C4, C4, None, None, True, 0.1, 1e-5, False),
    ),
    "a view that deals out rows": (LINE, lambda x: x.reshape(4, x.shape[0], 6).transpose(0, 1)),
    "a view with the batch in the middle": (
        LINE,
        lambda x: x.transpose(0, 1).reshape(x.shape[0], 4, 6),
    ),
    "a flat view, taken apart wrongly": (
        LINE,
        lambda x: x.transpose(0, 1).reshape(-1, 6).view(x.shape[0], 4, 6),
    ),
    "a mean over loss": (FLAT, lambda x: x * aten.mse_loss(x, x.flip(1), 1)),
    "cross-entropy, mean": (FLAT, lambda x: x * aten.cross_entropy_loss(x, LABELS(x))),
    "gather from other rows": (FLAT, lambda x: x.gather(0, x.argsort(0))),
    "repeated rows": (FLAT, lambda x: x.repeat(2, 1)[: x.shape[0]]),
    "unfolded over the batch": (LINE, lambda x: x.unfold(0, 2, 1).sum(-1)),
    "the lower triangle of a batch of numbers": (FLAT, lambda x: (x @ x.t()).tril() @ x),
    "the diagonal of rows": (FLAT, lambda x: x.repeat(1, 4).diagonal()[: x.shape[0]]),
    "scattered among rows": (FLAT, lambda x: x.scatter(0, x.argsort(0), x)),
    "added to rows of a list": (FLAT, lambda x: x.index_add(0, PAIR, x[:2])),
    "added to the first rows": (LINE, lambda x: x.scatter_add(1, x.argsort(1)[:2], x)),
    "a matrix of rows times a vector of rows": (FLAT, lambda x: (x @ x.t()).mv(x[:, 0])),
    "a bias for each row": (FLAT, lambda x: torch.addmv(seeded(x.shape[0]), x, seeded(6))),
    "fourier transform of the batch": (FLAT, lambda x: torch.fft.fft(x, dim=0).real),
    "padded around the batch": (FLAT, lambda x: aten._pad_circular(x.t()[None], [1, -1])[0].t()),
    "buckets between rows": (FLAT, lambda x: torch.bucketize(x, x[:, 0].sort()[0]) * x),
    "two batches": (FLAT, lambda x: x[:, None] * x[None]),
    "squeezed": (FLAT, lambda x: x.sum() * x),
}
"""The places of the batch are kept in most of these: that the rows meet is the rules' matter."""

_BY_ITS_SIZE = (
    "divided by the batch size",
    "plus the batch size",
    "filled with the batch size",
    "full_like of the batch size",
    "new_full of the batch size",
    "addmm by the batch size",
    "addmm, a bias by the batch size",
    "baddbmm by the batch size",
    "add with the batch size as factor",
    "to the power of the batch size",
    "clamped at the batch size",
    "padded by the batch size",
    "a norm of the batch size's order",
    "rolled by the batch size",
    "a row numbered by the batch size",
    "narrowed from the batch size",
    "cut off at the batch size",
)

SIZED = {name: WRONG.pop(name) for name in _BY_ITS_SIZE}
"""The rows do not meet in a run, in which the size of the batch is a number like any other; but a run
of another size is not a part of it."""
