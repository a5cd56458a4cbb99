"""Products, and the sums that some of them end in."""

from __future__ import annotations

import torch

from rules.case import Case, Expected, Value, case, positive, real, refused, scalar, share
from rules.law_tables import LINEAR, PRODUCT, UNEQUAL

VECTOR = real(3)
PLAIN = [
    case("aten.mul.Tensor", real(), real(), table=PRODUCT),
    case("aten.mul.Scalar", real(), 2.0, table=LINEAR),
    case("aten.mm.default", real(2, 3), real(3, 4), table=PRODUCT),
    case("aten.bmm.default", real(2, 2, 3), real(2, 3, 4), table=PRODUCT),
    case("aten.mv.default", real(2, 3), VECTOR, table=PRODUCT),
    case("aten.dot.default", VECTOR, VECTOR, table=PRODUCT),
    case("aten.vdot.default", VECTOR, VECTOR, table=PRODUCT),
    case("aten.matmul.default", real(2, 2, 3), real(3, 4), table=PRODUCT),
    case("aten.outer.default", VECTOR, VECTOR, table=PRODUCT),
    case("aten.linalg_cross.default", real(2, 3), real(2, 3), table=PRODUCT),
]

BIASED: dict[str, Expected] = {
    "1 F F": "A",
    "1 F Z": "1",
    "2 F Z": "2",
    "1 F 1": "1",
    "F 1 Z": "1",
    "A F F": "A",
    "A F Z": "A",
    "1 1 2": "2",
    "2 F F": refused(UNEQUAL),
    "A 1 Z": refused("a product of a tensor whose value at the baseline is not zero"),
}
"""Input, weight, bias."""


def _layers() -> list[Case]:
    cases = [
        case("aten.linear.default", real(2, 3), real(4, 3), real(4), table=BIASED),
        case("aten.linear.default", real(2, 3), real(4, 3), table=PRODUCT),
    ]
    for n in (1, 2, 3):
        image, kernel = real(1, 2, *(4,) * n), real(3, 2, *(2,) * n)
        transposed = "default" if n == 1 else "input"
        zero = [0] * n
        one = [1] * n
        cases += [
            case(f"aten.conv{n}d.default", image, kernel, real(3), table=BIASED),
            case(f"aten.conv{n}d.default", image, kernel, table=PRODUCT),
            case(f"aten.conv{n}d.padding", image, kernel, real(3), one, "same", table=BIASED),
            case(
                f"aten.conv_transpose{n}d.{transposed}",
                image,
                real(2, 3, *(2,) * n),
                real(3),
                table=BIASED,
            ),
            case(
                "aten.convolution.default",
                image, kernel, real(3), one, zero, one, False, zero, 1,
                table=BIASED,
            ),
            case(
                "aten._convolution.default",
                image, kernel, real(3), one, zero, one, False, zero, 1, False, False, True, True,
                table=BIASED,
            ),
            case(
                "aten._convolution.deprecated",
                image, kernel, real(3), one, zero, one, False, zero, 1, False, False, True,
                table=BIASED,
            ),
        ]  # fmt: skip
    return cases


SUMMED: dict[str, Expected] = {
    "F 1 F": "A",
    "Z 1 F": "1",
    "1 1 F": "1",
    "2 1 1": "2",
    "F A F": "A",
    "F 1 1": refused(UNEQUAL),
    "Z A 1": refused("a product of a tensor whose value at the baseline is not zero"),
}
"""What is added, and the two factors."""


def _summed(op: str, *args: object) -> list[Case]:
    return [
        case(op, *args, table=SUMMED),
        case(op, *args, beta=0, table={"F 1 F": "1", "2 1 F": "1", "F A F": "A"}),
        case(op, *args, alpha=0, table={"1 F 2": "1", "2 A A": "2"}),
        case(op, *args, beta=2, alpha=3, table=SUMMED),
    ]


LERP: dict[str, Expected] = {
    "1 1": "1",
    "F 1": "A",
    "Z 2": "2",
    "A F": "A",
    "1 2": refused(UNEQUAL),
}
TOGETHER = [
    case(
        "aten._trilinear.default",
        real(2, 3),
        real(5, 3, 4),
        real(2, 4),
        [1, 3],
        [0],
        [1, 2],
        [2, 3],
        table={
            "1 F F": "1",
            "F F 2": "2",
            "1 F 1": "2",
            "1 1 1": "3",
            "A F F": "A",
            "F F A": "A",
            "A F 1": refused("a product of a tensor"),
        },
    ),
    case(
        "aten.bilinear.default",
        real(2, 3),
        real(2, 4),
        real(5, 3, 4),
        real(5),
        table={
            "1 F F Z": "1",
            "1 1 F Z": "2",
            "1 1 1 Z": "3",
            "1 F F F": "A",
            "A F F F": "A",
            "1 1 F F": refused(UNEQUAL),
            "A 1 F Z": refused("a product of a tensor"),
        },
    ),
    *_summed("aten.addmm.default", real(4), real(2, 3), real(3, 4)),
    *_summed("aten.addbmm.default", real(2, 4), real(2, 2, 3), real(2, 3, 4)),
    *_summed("aten.baddbmm.default", real(2, 2, 4), real(2, 2, 3), real(2, 3, 4)),
    *_summed("aten.addmv.default", real(2), real(2, 3), real(3)),
    case(
        "aten._sparse_addmm.default",
        real(2, 4),
        real(2, 3),
        real(3, 4),
        table=SUMMED,
        via=torch.addmm,
        by_hand=True,
    ),
    case("aten.addcmul.default", real(), real(), real(), table=SUMMED),
    case(
        "aten.addcmul.default", real(), real(), real(), value=0, table={"1 F 2": "1", "2 A A": "2"}
    ),
    *_summed("aten.addr.default", real(3, 4), real(3), real(4)),
    case(
        "aten.addcdiv.default",
        real(),
        real(),
        positive(),
        table={
            "F 1 F": "A",
            "Z 1 F": "1",
            "1 1 F": "1",
            "Z F 1": "-1",
            "1 2 1": "1",
            "F A F": "A",
            "1 1 1": refused(UNEQUAL),
            "Z A 1": refused("a product of a tensor"),
            "Z F A": refused("a division by a tensor"),
        },
    ),
    case("aten.addcdiv.default", real(), real(), positive(), value=0, table={"1 F 2": "1"}),
    case("aten.lerp.Scalar", real(), real(), 0.3, table=LERP),
    case(
        "aten.lerp.Tensor",
        real(),
        real(),
        scalar(),
        table={f"{k} F": v for k, v in LERP.items()}
        | {
            "F F 1": "A",
            "1 1 1": refused(UNEQUAL),
            "Z 1 1": "2",
            "F A 0": refused("a product of a tensor"),
        },
    ),
]

TRIANGLE = Value(
    (3, 3), lambda g, s: 2 * torch.eye(3).double() + torch.rand(s, generator=g).double().triu(1)
)
SOLVED: dict[str, Expected] = {
    "F 1": "1",
    "F A": "A",
    "1 F": "-1",
    "1 1": "0",
    "A F": refused("a division by a tensor whose value at the baseline is not zero"),
}
ONES: dict[str, Expected] = {
    "F 2": "2",
    "1 F": refused("beside a diagonal of ones"),
}
SYSTEMS = [
    case("aten.linalg_solve_triangular.default", TRIANGLE, real(3, 2), upper=True, table=SOLVED),
    case(
        "aten.linalg_solve_triangular.default",
        *(TRIANGLE, real(3, 2)),
        upper=True,
        unitriangular=True,
        table=ONES,
    ),
]

TARGETS: dict[str, Expected] = {
    "F A": "A",
    "1 F": refused("a loss that is not homogeneous"),
    "1 1": refused("a loss that is not homogeneous"),
}
LOSSES = [
    case("aten.binary_cross_entropy.default", share(), share(), table=TARGETS),
    case("aten.binary_cross_entropy_with_logits.default", real(), share(), table=TARGETS),
]

CASES = PLAIN + _layers() + TOGETHER + SYSTEMS + LOSSES
