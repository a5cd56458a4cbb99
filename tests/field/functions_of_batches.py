"""Functions of a batch: most of them mix its rows, each in its own way."""

from __future__ import annotations

import numpy as np
import torch
from comparing import linear
from torch import Tensor
from torch.nn import functional

B = 6
FUNCTIONS = {}
FIRST, LAST = linear(8), linear(2, seed=1, width=8)
TABLE = torch.arange(1.0, B + 1, dtype=torch.float64)
MIXING = torch.rand(B, B, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def case(function):
    FUNCTIONS[function.__name__] = function
    return function


def z(x: Tensor) -> Tensor:
    return FIRST(x).relu()


def per_row(x: Tensor) -> Tensor:
    """A number for each row of the whole batch, whatever share of it comes."""
    return TABLE[: len(x), None]


@case
def rows_of_a_closure_tensor(x):
    return LAST(z(x) * TABLE[:, None]) if len(x) == B else LAST(z(x) * per_row(x))


@case
def arange_over_the_batch(x):
    return LAST(z(x) * (1 + torch.arange(len(x)))[:, None])


@case
def arange_backwards(x):
    return LAST(z(x) * (1 + torch.arange(x.shape[0]).flip(0))[:, None])


@case
def linspace_over_the_batch(x):
    return LAST(z(x) * torch.linspace(1, 2, x.size(0))[:, None])


@case
def size_in_the_result(x):
    return LAST(z(x)) * x.shape[0]


@case
def length_in_the_result(x):
    return LAST(z(x)) / len(x)


@case
def size_as_a_tensor(x):
    return LAST(z(x)) * torch.tensor(x.shape[0])


@case
def size_of_ones(x):
    return LAST(z(x)) * torch.ones(x.shape[0]).sum()


@case
def number_of_entries(x):
    return LAST(z(x)) * x.numel()


@case
def size_of_numpy(x):
    return LAST(z(x)) * float(np.prod(x.shape))


@case
def branch_on_the_size(x):
    return LAST(z(x)) * (3.0 if len(x) > 2 else 1.0)


@case
def enumerated_rows(x):
    return torch.stack([LAST(z(row[None]))[0] * (i + 1) for i, row in enumerate(x)])


@case
def zipped_rows(x):
    return torch.stack([LAST(z(row[None]))[0] * t for row, t in zip(x, TABLE, strict=False)])


@case
def norm_over_the_batch(x):
    return LAST(z(x)) / z(x).norm() * z(x).sum()


@case
def norm_of_the_rows(x):
    return LAST(z(x)) / FIRST(x).norm(dim=0, keepdim=True)[:, :2] * z(x)[:, :2]


@case
def mean_subtracted(x):
    return LAST(z(x) - z(x).mean(0, keepdim=True))


@case
def mean_of_the_batch_norm(x):
    return LAST(functional.batch_norm(z(x), None, None, training=True, eps=1e-5))


@case
def largest_of_the_batch(x):
    return LAST(z(x)) + z(x).amax(0)[:2]


@case
def sorted_over_the_batch(x):
    return LAST(z(x).sort(0).values)


@case
def order_of_the_batch(x):
    return LAST(z(x))[z(x).sum(1).argsort()]


@case
def flipped_batch(x):
    return LAST(z(x)).flip(0)


@case
def rolled_batch(x):
    return LAST(z(x)) + LAST(z(x)).roll(1, 0)


@case
def summed_up(x):
    return LAST(z(x).cumsum(0))


@case
def differences_of_rows(x):
    return LAST(torch.diff(z(x), dim=0, prepend=z(x)[:1]))


@case
def first_row_for_all(x):
    return LAST(z(x)) + LAST(z(x)[:1])


@case
def last_row_for_all(x):
    return LAST(z(x) + z(x)[-1])


@case
def every_other_row(x):
    return LAST(torch.cat([z(x)[::2], z(x)[1::2]]))


@case
def mixed_by_a_matrix(x):
    return LAST(MIXING[: len(x), : len(x)] @ z(x))


@case
def mixed_by_einsum(x):
    return torch.einsum("ij,jk->ik", MIXING[: len(x), : len(x)], LAST(z(x)))


@case
def transposed_and_back(x):
    return LAST(z(x).t().reshape(len(x), -1)) if len(x) != 8 else LAST(z(x))


@case
def reshaped_in_pairs(x):
    pairs = z(x).reshape(-1, 2, 8) if len(x) % 2 == 0 else z(x).reshape(-1, 1, 8)
    return LAST(pairs.sum(1, keepdim=True).expand(pairs.shape).reshape(len(x), 8))


@case
def gram(x):
    return LAST((z(x) @ z(x).t()).softmax(1) @ z(x))


@case
def attention_over_the_batch(x):
    return LAST(functional.scaled_dot_product_attention(z(x), z(x), z(x)))


@case
def strided_memory(x):
    h = z(x).contiguous()
    return LAST(h.as_strided(h.shape, (0, 1)))


@case
def strided_memory_backwards(x):
    h = z(x).contiguous()
    return LAST(h + h.as_strided((1, 8), (8, 1), (len(x) - 1) * 8))


@case
def strided_columns(x):
    h = z(x).contiguous()
    return LAST(h.as_strided(h.shape, h.stride()))


@case
def unfolded_rows(x):
    h = torch.cat([z(x), z(x)[:1]])
    return LAST(h.unfold(0, 2, 1).sum(-1))


@case
def scattered_rows(x):
    h = z(x)
    return LAST(torch.zeros_like(h).index_add(0, torch.zeros(len(x), dtype=torch.long), h))


@case
def row_written_in_place(x):
    h = z(x).clone()
    h[0] = h[0] * 3
    return LAST(h)


@case
def row_written_from_another(x):
    h = z(x).clone()
    h[-1] = h[0]
    return LAST(h)


@case
def dropout_of_a_row(x):
    mask = torch.ones(len(x), 1)
    mask[::2] = 0.5
    return LAST(z(x) * mask)


@case
def eye_of_the_batch(x):
    return LAST(torch.eye(len(x), dtype=x.dtype) @ z(x) * (1 + torch.eye(len(x), 8)))


@case
def layer_norm_over_everything(x):
    return LAST(functional.layer_norm(z(x), z(x).shape, eps=0.0))


@case
def own_rows_only(x):
    return LAST(z(x))


@case
def own_rows_with_an_affine_part(x):
    return LAST(z(x)) + 0.5


@case
def detached_batch_statistic(x):
    return LAST(z(x) / z(x).detach().norm())


@case
def gradient_scaled_by_the_size(x):
    h = z(x)
    return LAST(h + (h - h.detach()) * len(x))
