"""Linear in their first argument: any motion passes, an affine one included."""

from fractions import Fraction
from typing import Any

import torch

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import FIXED, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import homogeneous, linear
from captum_xdnn.proof.operand import Operand, motion_of
from captum_xdnn.proof.registry import LINEAR, law
from captum_xdnn.proof.row_laws import (
    along,
    before_last,
    before_last_three,
    before_last_two,
    entrywise,
    images,
    padded,
    reshaped,
    sliced,
    squeezed,
)
from captum_xdnn.proof.rules.by_law import of_degree
from captum_xdnn.recording.run import same_form

UPSAMPLED = (
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d"
)
RESAMPLERS = f"{UPSAMPLED} {UPSAMPLED.replace(' ', '.vec ')}.vec"


def reordered(call: BatchedCall) -> BatchDim | None:
    """The batch goes where its dimension goes."""
    state = call.lone()
    rank = rank_of(call.data)
    if call["dims"] is not None:
        return state.at([d % rank for d in call["dims"]].index(state.dim))
    if "dim0" in call.arguments or set(call.arguments) == {"self"}:
        one, two = (0, 1) if call["dim0"] is None else (call["dim0"], call["dim1"])
        pair = (one % rank, two % rank) if rank > 1 else (0, 0)
        return state.at(pair[1 - pair.index(state.dim)]) if state.dim in pair else state
    return state.at(state.dim + (call["dim"] % (rank + 1) <= state.dim))


def repeated(call: BatchedCall) -> BatchDim | None:
    """The batch as often as it is repeated."""
    state = call.lone()
    dim = state.dim + len(call.shape) - rank_of(call.data)
    return BatchDim(dim, state.width, state.outer * call["repeats"][dim])


def on_diagonal(call: BatchedCall) -> BatchDim | None:
    """Two dimensions become one, the last one, or it becomes two; the others keep their order."""
    state = call.lone()
    more, fewer = sorted((rank_of(call.data), len(call.shape)), reverse=True)
    two = {call["dim1"] % more, call["dim2"] % more}
    others = [d for d in range(more) if d not in two]  # beside the last one of the other tensor
    if rank_of(call.data) == more:  # diagonal
        return state.at(others.index(state.dim)) if state.dim in others else None
    return state.at(others[state.dim]) if state.dim < fewer - 1 else None


def as_it_is(call: BatchedCall) -> BatchDim | None:
    """Other strides of the same entries, as torch gives the mean of a channels-last image; else a matter of the storage."""
    return call.lone() if same_form(call.node) else None


@law("alias clone detach lift_fresh lift_fresh_copy expand", rows=entrywise, pieces=LINEAR)
@law("_conj _neg_view", rows=entrywise, pieces=LINEAR)
@law("_conj_physical neg deg2rad rad2deg", pieces=LINEAR)
@law("view _unsafe_view _reshape_alias", rows=reshaped, pieces=LINEAR)
@law("permute transpose.int t unsqueeze", rows=reordered, pieces=LINEAR)
@law("flip roll rot90 select.int", rows=along, pieces=LINEAR)
@law("squeeze squeeze.dim squeeze.dims", rows=squeezed, pieces=LINEAR)
@law("unbind.int split.Tensor split_with_sizes", rows=along, pieces=LINEAR)
@law("unsafe_split.Tensor unsafe_split_with_sizes unfold", rows=along, pieces=LINEAR)
@law("slice.Tensor", rows=sliced, pieces=LINEAR)
@law("repeat", rows=repeated, pieces=LINEAR)
@law("diagonal diag_embed", rows=on_diagonal, pieces=LINEAR)
@law("tril triu", rows=before_last_two, pieces=LINEAR)
@law("view_as_real view_as_complex", rows=before_last, pieces=LINEAR)
@law(
    "unfold_backward",
    rows="torch alone calls it, behind istft; none has been needed",
    pieces=LINEAR,
)
@law("as_strided", rows=as_it_is, pieces=LINEAR)
@law("sum sum.dim_IntList mean mean.dim nansum cumsum", rows=along, pieces=LINEAR)
@law("trace", rows="it sums over both dimensions", pieces=LINEAR)
@law("_fft_c2c _fft_c2r _fft_r2c", rows=along, pieces=LINEAR)
@law("avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d", rows=images, pieces=LINEAR)
@law("adaptive_avg_pool2d adaptive_avg_pool3d", rows=images, pieces=LINEAR)
@law("_adaptive_avg_pool2d _adaptive_avg_pool3d", rows=images, pieces=LINEAR)
@law("channel_shuffle im2col col2im affine_grid_generator", rows=images, pieces=LINEAR)
@law("pixel_shuffle pixel_unshuffle", rows=before_last_three, pieces=LINEAR)
@law("_pad_circular", rows="torch makes it other operations", pieces=LINEAR)
@law("reflection_pad1d reflection_pad2d reflection_pad3d", rows=padded, pieces=LINEAR)
@law("replication_pad1d replication_pad2d replication_pad3d", rows=padded, pieces=LINEAR)
@law(RESAMPLERS, rows=images, pieces=LINEAR)
@law("_upsample_bilinear2d_aa _upsample_bicubic2d_aa", rows=images, pieces=LINEAR)
def _linear(self: Any, /, *_: Any, **__: Any) -> Any:
    """Linear in the first argument; several results move like it."""
    return linear(self)


of_degree("var.dim var.correction var", 2, rows=along)
of_degree("std.dim std.correction std", 1, rows=along)

TO_FLOATING = (None, torch.float64, torch.float32, torch.float16, torch.bfloat16)
TO_COMPLEX = (torch.complex64, torch.complex128)


@law("_to_copy", rows=entrywise, pieces=LINEAR)
def _cast(self: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Motion:
    """Linear up to rounding between floating dtypes; signs and constants survive any cast."""
    if dtype in TO_FLOATING + TO_COMPLEX:
        return linear(self)
    if dtype == torch.bool:
        return homogeneous(self, 0)
    return Unknown(f"a cast to {dtype}, which truncates", "stay in a floating dtype")


@law("dropout", rows=entrywise, pieces=LINEAR)
def _dropout(input: Any, p: float, train: bool | None) -> Motion:
    """The identity in evaluation mode."""
    if train is False or p == 0:
        return motion_of(input)
    return Unknown("dropout is active, so the output is random", "call model.eval()")


@law("native_dropout", rows=entrywise)
def _native_dropout(input: Any, p: float, train: bool | None) -> tuple[Motion, Motion]:
    """The output of dropout, and a mask."""
    return _dropout(input, p, train), FIXED


@law("var_mean.correction", rows=along)
def _variance_and_mean(self: Any, *_: Any, **__: Any) -> tuple[Motion, Motion]:
    """Degree 2; and linear."""
    return homogeneous(self, 2), linear(self)


@law("std_mean.correction", rows=along)
def _deviation_and_mean(self: Any, *_: Any, **__: Any) -> tuple[Motion, Motion]:
    """Degree 1; and linear."""
    return homogeneous(self), linear(self)


@law("prod", rows=along)
def _product(self: Any, **_: Any) -> Motion:
    """Degree times the number of factors."""
    return _power_of_size(self, self.fake.numel())


@law("prod.dim_int", rows=along)
def _product_along(self: Any, dim: int, *_: Any, **__: Any) -> Motion:
    """Degree times the number of factors."""
    return _power_of_size(self, self.fake.shape[dim] if self.dim else 1)


def _power_of_size(self: Operand, size: Any) -> Motion:
    if is_constant(self.motion):
        return self.motion
    if not isinstance(size, int):
        return Unknown("a product of as many factors as the batch is large")
    return self.motion if size == 1 else homogeneous(self, Fraction(size))


@law("norm.Scalar norm.ScalarOpt_dtype norm.ScalarOpt_dim norm.ScalarOpt_dim_dtype", rows=along)
@law("linalg_vector_norm", rows=along)
def _norm(self: Any, ord: float | None = 2, /, *_: Any, **__: Any) -> Motion:
    """Degree 1; the 0-norm counts and does not move."""
    return homogeneous(self, 0 if ord == 0 else 1)
