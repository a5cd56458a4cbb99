"""Torchvision's operations: regions of feature maps, for boxes that do not move.

Entered by name: torchvision is not imported for them.
"""

from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, Unbatched
from captum_xdnn.proof.domain import FIXED, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import added, constant, homogeneous, merged, product, switched
from captum_xdnn.proof.operand import motion_of
from captum_xdnn.proof.registry import SCALED, law
from captum_xdnn.proof.row_laws import comes_first
from captum_xdnn.proof.rules.indexing import PLACES

BY_BOX = "each box names the image that it is a part of"
BOXES = Unknown(
    "the boxes are computed from the input", "give boxes that do not depend on the input"
)


@law("torchvision::nms", rows="boxes of all images are held against each other")
def _suppressed(dets: Any, scores: Any, _threshold: float, /) -> Motion:
    """Which boxes stay: by the order of scores, and by shares of areas, which a scale leaves as they are."""
    return merged((constant(dets), constant(scores)))


@law("torchvision::roi_align", rows=BY_BOX, pieces=SCALED)
def _align(input: Any, rois: Any, *_: Any) -> Motion:
    """Sums of entries at places that the boxes say: linear in the map."""
    return switched(rois, input) if is_constant(motion_of(rois)) else BOXES


@law("torchvision::ps_roi_align torchvision::ps_roi_pool", rows=BY_BOX, pieces=SCALED)
def _align_by_position(input: Any, rois: Any, *_: Any) -> tuple[Motion, Motion]:
    """See above; and which channel each entry is of."""
    return _align(input, rois), FIXED


@law("torchvision::roi_pool", rows=BY_BOX, pieces=SCALED)
def _pool(input: Any, rois: Any, *_: Any) -> tuple[Motion, Motion]:
    """Maxima in the boxes, and their positions."""
    if not is_constant(motion_of(rois)):
        return BOXES, BOXES
    return switched(rois, homogeneous(input)), switched(rois, constant(input))


def deformed(call: BatchedCall) -> BatchDim | None:
    """The batch comes first, in the places and their factors too; the kernel has none."""
    kernel = isinstance(call.state(call["weight"]), Unbatched)
    alike = all(
        node.value.shape[0] == 1 or 0 in state.uniform
        for node, state in call.unbatched
        if node in (call["offset"], call["mask"])
    )
    return comes_first(call, []) if kernel and alike else None


@law("torchvision::deform_conv2d", rows=deformed)
def _deformed(input: Any, weight: Any, offset: Any, mask: Any, bias: Any, *rest: Any) -> Motion:
    """A convolution of entries at given places, each times a factor, and a bias."""
    if not is_constant(motion_of(offset)):
        return PLACES
    sampled = switched(offset, input)
    factors = mask if rest[-1] else 1
    return added(product(product(sampled, factors), weight), bias)
