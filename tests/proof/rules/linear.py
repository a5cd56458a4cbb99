"""Linear in the first argument; and casts, dropout, products over entries, norms."""

from __future__ import annotations

import torch

from rules.case import Case, Expected, case, cautious, imaginary, positive, real, refused
from rules.law_tables import BEND, LINEAR, scaled


def _views() -> list[Case]:
    x = real(3, 4)
    spread = {k: f"{v}, {v}" if isinstance(v, str) else v for k, v in LINEAR.items()}
    return [
        case("aten.alias.default", x, table=LINEAR),
        case("aten.lift_fresh.default", x, table=LINEAR),
        case("aten.lift_fresh_copy.default", x, table=LINEAR),
        case("aten._reshape_alias.default", x, [2, 6], [6, 1], table=LINEAR),
        case("aten.unsafe_split.Tensor", x, 2, 1, table=spread),
        case("aten.unsafe_split_with_sizes.default", x, [1, 3], 1, table=spread),
        case("aten.as_strided.default", x, [2, 2], [1, 2], table=LINEAR),
        case("aten.clone.default", x, table=LINEAR),
        case("aten.detach.default", x, table=LINEAR),
        case("aten.diagonal.default", x, table=LINEAR),
        case("aten.expand.default", x, [2, 3, 4], table=LINEAR),
        case("aten.flip.default", x, [0], table=LINEAR),
        case("aten.permute.default", x, [1, 0], table=LINEAR),
        case("aten.repeat.default", x, [2, 1], table=LINEAR),
        case("aten.roll.default", x, [1], [0], table=LINEAR),
        case("aten.select.int", x, 0, 1, table=LINEAR),
        case("aten.slice.Tensor", x, 1, 1, 3, table=LINEAR),
        case("aten.squeeze.default", real(3, 1, 4), table=LINEAR),
        case("aten.squeeze.dim", real(3, 1, 4), 1, table=LINEAR),
        case("aten.squeeze.dims", real(3, 1, 4), [1], table=LINEAR),
        case("aten.t.default", x, table=LINEAR),
        case("aten.transpose.int", x, 0, 1, table=LINEAR),
        case("aten.unfold.default", x, 1, 2, 1, table=LINEAR),
        case("aten.unsqueeze.default", x, 0, table=LINEAR),
        case("aten.view.default", x, [2, 6], table=LINEAR),
        case("aten._unsafe_view.default", x, [2, 6], table=LINEAR),
        case("aten.view_as_real.default", imaginary(), table=LINEAR),
        case("aten.view_as_complex.default", real(3, 2), table=LINEAR),
        case("aten._conj_physical.default", imaginary(), table=LINEAR),
        case("aten._conj.default", imaginary(), table=LINEAR),
        case("aten._neg_view.default", x, table=LINEAR),
        case(
            "aten.affine_grid_generator.default",
            *(real(1, 2, 3), [1, 1, 3, 4], False),
            table=LINEAR,
        ),
        case("aten.deg2rad.default", x, table=LINEAR),
        case("aten.rad2deg.default", x, table=LINEAR),
        case("aten.rot90.default", x, table=LINEAR),
        case("aten.rot90.default", real(2, 3, 4), 2, [1, 2], table=LINEAR),
        case("aten.unfold_backward.default", real(3, 2, 2), [3, 4], 1, 2, 2, table=LINEAR),
        case("aten.split_with_sizes.default", x, [1, 3], 1, table=spread),
        case("aten.split.Tensor", x, 2, 1, table=spread),
        case("aten.unbind.int", real(2, 3), table=spread),
        case("aten.tril.default", x, table=LINEAR),
        case("aten.triu.default", x, 1, table=LINEAR),
        case("aten.diag_embed.default", x, table=LINEAR),
        case("aten.im2col.default", real(1, 2, 4, 4), [2, 2], [1, 1], [1, 1], [1, 1], table=LINEAR),
        case(
            "aten.col2im.default",
            real(1, 8, 9),
            [4, 4],
            [2, 2],
            [1, 1],
            [0, 0],
            [1, 1],
            table=LINEAR,
        ),
        case("aten.pixel_shuffle.default", real(1, 4, 2, 2), 2, table=LINEAR),
        case("aten.pixel_unshuffle.default", real(1, 1, 4, 4), 2, table=LINEAR),
        case("aten.channel_shuffle.default", real(1, 4, 2, 2), 2, table=LINEAR),
    ]


def _sums() -> list[Case]:
    x = real(3, 4)
    return [
        case("aten.neg.default", x, table=LINEAR),
        case("aten.sum.default", x, table=LINEAR),
        case("aten.sum.dim_IntList", x, [1], table=LINEAR),
        case("aten.mean.default", x, table=LINEAR),
        case("aten.mean.dim", x, [1], True, table=LINEAR),
        case("aten.nansum.default", x, table=LINEAR),
        case("aten.cumsum.default", x, 0, table=LINEAR),
        case("aten.trace.default", real(3, 3), table=LINEAR),
        case("aten._fft_c2c.default", imaginary(3, 4), [1], 0, True, table=LINEAR),
        case("aten._fft_c2r.default", imaginary(3, 3), [1], 0, 4, table=LINEAR),
        case("aten._fft_r2c.default", x, [1], 0, True, table=LINEAR),
    ]


def _pools() -> list[Case]:
    images = {n: real(1, 2, *(4,) * n) for n in (1, 2, 3)}
    cases = []
    for n, image in images.items():
        cases += [
            case(f"aten.avg_pool{n}d.default", image, [2] * n, table=LINEAR),
            case(f"aten.adaptive_avg_pool{n}d.default", image, [2] * n, table=LINEAR),
        ]
        if n > 1:
            cases.append(case(f"aten._adaptive_avg_pool{n}d.default", image, [3] * n, table=LINEAR))
        cases += [
            case(f"aten.{kind}_pad{n}d.default", image, [1, 2] * n, table=LINEAR)
            for kind in ("reflection", "replication")
        ]
    cases.append(case("aten._pad_circular.default", images[2], [1, 2, 1, 2], table=LINEAR))
    return cases


def _resamplers() -> list[Case]:
    images = {n: real(1, 2, *(4,) * n) for n in (1, 2, 3)}
    kinds = {"linear1d": 1, "bilinear2d": 2, "trilinear3d": 3, "bicubic2d": 2}
    cases = []
    for kind, n in kinds.items():
        cases += [
            case(
                f"aten.upsample_{kind}.default",
                images[n],
                [6] * n,
                False,
                by_hand=kind.startswith("bi"),
                table=LINEAR,
            ),
            case(f"aten.upsample_{kind}.vec", images[n], None, True, [1.5] * n, table=LINEAR),
        ]
    cases += [
        case(f"aten._upsample_{kind}2d_aa.default", images[2], [3, 3], False, table=LINEAR)
        for kind in ("bilinear", "bicubic")
    ]
    for n in (1, 2, 3):
        for kind in ("upsample_nearest", "_upsample_nearest_exact"):
            cases += [
                case(f"aten.{kind}{n}d.default", images[n], [6] * n, table=LINEAR),
                case(f"aten.{kind}{n}d.vec", images[n], [6] * n, None, table=LINEAR),
            ]
    return cases


def _casts() -> list[Case]:
    x = real(3, 4)
    truth: dict[str, Expected] = {"1": "0", "2": "0", "A": cautious(BEND)}
    whole = {"1": refused("a cast to torch.int64, which truncates")}
    return [
        case("aten._to_copy.default", x, dtype=torch.complex128, table=LINEAR),
        case("aten._to_copy.default", x, memory_format=torch.contiguous_format, table=LINEAR),
        case("aten._to_copy.default", x, dtype=torch.bool, table=truth),
        case("aten._to_copy.default", x, dtype=torch.int64, table=whole),
    ]


def _dropouts() -> list[Case]:
    active = {k: cautious("dropout is active, so the output is random") for k in ("1", "A", "F")}
    return [
        case("aten.dropout.default", real(), 0.5, False, by_hand=True, table=LINEAR),
        case("aten.dropout.default", real(), 0.0, True, by_hand=True, table=LINEAR),
        case("aten.dropout.default", real(), 0.5, True, by_hand=True, table=active),
        case("aten.native_dropout.default", real(), 0.5, False, table={"1": "1, F", "A": "A, F"}),
        case("aten.native_dropout.default", real(), 0.5, True, table=active),
        case("aten.native_dropout.default", real(), 0.5, None, table=active),
    ]


def _degrees() -> list[Case]:
    x = real(3, 4)
    return [
        case("aten.var.default", x, table=scaled("2")),
        case("aten.var.dim", x, [1], table=scaled("2")),
        case("aten.var.correction", x, [1], correction=0, table=scaled("2")),
        case(
            "aten.var_mean.correction",
            x,
            [1],
            correction=1,
            table={"1": "2, 1", "-1/2": "-1, -1/2", "A": refused(BEND)},
        ),
        case(
            "aten.std_mean.correction",
            x,
            [1],
            correction=1,
            table={"1": "1, 1", "-1/2": "-1/2, -1/2", "A": refused(BEND)},
        ),
        case("aten.std.default", x, table=scaled("1")),
        case("aten.std.dim", x, [1], table=scaled("1")),
        case("aten.std.correction", x, [1], correction=0, table=scaled("1")),
        case("aten.prod.default", positive(2, 2), table=scaled("4")),
        case("aten.prod.default", real(1), table=LINEAR),
        case("aten.prod.dim_int", positive(2, 3), 1, table=scaled("3")),
        case("aten.prod.dim_int", real(3, 1), 1, True, table=LINEAR),
        case("aten.norm.Scalar", x, table=scaled("1")),
        case("aten.norm.Scalar", x, 0, table={"1": "0", "A": cautious(BEND)}),
        *(
            case("aten.norm.ScalarOpt_dim", x, p, [1], table=scaled("1"))
            for p in (None, 2.0, 1, 0.5, -1.0, float("inf"), -float("inf"))
        ),
        case("aten.norm.ScalarOpt_dim", x, 0.0, [1], True, table={"1": "0", "A": cautious(BEND)}),
        case("aten.norm.ScalarOpt_dtype", x, 3, dtype=torch.float64, table=scaled("1")),
        case(
            "aten.norm.ScalarOpt_dim_dtype",
            *(x, None, [1], False),
            dtype=torch.float64,
            table=scaled("1"),
        ),
        case("aten.linalg_vector_norm.default", x, table=scaled("1")),
        case("aten.linalg_vector_norm.default", x, 1, [1], table=scaled("1")),
        case("aten.linalg_vector_norm.default", x, float("inf"), [1], True, table=scaled("1")),
        case("aten.linalg_vector_norm.default", x, 0, [1], table={"1": "0", "A": cautious(BEND)}),
    ]


CASES = _views() + _sums() + _pools() + _resamplers() + _casts() + _dropouts() + _degrees()
