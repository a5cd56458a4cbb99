"""Products: bilinear operations, in which degrees add, and the sums some of them end in."""

from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Unknown
from captum_xdnn.proof.laws import added, product, quotient
from captum_xdnn.proof.operand import Operand, is_zero, motion_of
from captum_xdnn.proof.registry import BILINEAR, law
from captum_xdnn.proof.row_laws import before_last, comes_first, entrywise
from captum_xdnn.proof.rules.by_law import of_two
from captum_xdnn.proof.rules.refused import LEFT_OUT


def of_matrices(call: BatchedCall) -> BatchDim | None:
    """Of matrices or batches of them: rows in a dimension that is not summed over."""
    pairs = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "other"), ("self", "mat2"))
    left, right = next(pair for pair in pairs if set(pair) <= call.arguments.keys())
    factors = (call[left], call[right])
    if any(rank_of(factor) < 2 for factor in factors):
        return None
    places = set()
    for factor, summed in zip(factors, (1, 2), strict=True):
        state = call.state(factor)
        if isinstance(state, BatchDim):
            if rank_of(factor) - state.dim == summed:
                return None
            places.add((rank_of(factor) - state.dim, state.width, state.outer))
    if len(places) != 1 or not all(node in factors for node, _ in call.batched):
        return None
    from_right, width, outer = places.pop()
    both = all(isinstance(call.state(factor), BatchDim) for factor in factors)
    if both and from_right <= 2:
        return None
    for node, state in call.unbatched:  # a bias, or a batch of matrices
        dim = rank_of(node) - from_right
        aligned = node not in factors or from_right > 2
        if aligned and dim >= 0 and node.value.shape[dim] != 1 and dim not in state.uniform:
            return None
    return BatchDim(len(call.shape) - from_right, width, outer)


def of_vectors(call: BatchedCall) -> BatchDim | None:
    """Rows of the matrix, with a vector that all of them share, and a bias that is the same for all."""
    matrix = call["mat"] or call["self"]
    state = call.state(matrix)
    if len(call.batched) != 1 or not isinstance(state, BatchDim) or state.dim != 0:
        return None
    biases = [(n, s) for n, s in call.unbatched if n is call["self"]]
    return state if all(n.value.shape[0] == 1 or 0 in s.uniform for n, s in biases) else None


def convolved(call: BatchedCall) -> BatchDim | None:
    """The batch comes first; without a batch the data has one dimension less than the weight."""
    first = rank_of(call["weight"]) == rank_of(call.data) and call.lone().dim == 0
    return comes_first(call, []) if first else None


def crossed(call: BatchedCall) -> BatchDim | None:
    """Along a dimension of three entries, entry by entry beside it."""
    place = call.broadcast()
    return place if call["dim"] % len(call.shape) != place.dim else None


of_two("mul.Tensor mul.Scalar", product, rows=entrywise, pieces=BILINEAR)
of_two("mm bmm matmul", product, rows=of_matrices, pieces=BILINEAR)
of_two("mv", product, rows=of_vectors, pieces=BILINEAR)
of_two("dot vdot", product, rows="it sums over all entries", pieces=BILINEAR)
of_two("outer", product, rows="torch makes it a product of entries", pieces=BILINEAR)
of_two("linalg_cross", product, rows=crossed, pieces=BILINEAR)


@law("linear", rows=before_last, pieces=BILINEAR)
@law("conv1d conv2d conv3d convolution", rows=convolved, pieces=BILINEAR)
@law("conv1d.padding conv2d.padding conv3d.padding", pieces=BILINEAR)
@law("_convolution _convolution.deprecated", rows=convolved, pieces=BILINEAR)
@law("conv_transpose1d conv_transpose2d.input", rows=convolved, pieces=BILINEAR)
@law("conv_transpose3d.input", rows=convolved, pieces=BILINEAR)
def _layer(input: Any, weight: Any, bias: Any = None, *_: Any, **__: Any) -> Motion:
    """A bilinear map of input and weight, and a bias."""
    return _with_bias(product(input, weight), bias)


@law("_trilinear", rows="which dimensions it sums over, its arguments say; none has been needed")
def _trilinear(i1: Any, i2: Any, i3: Any, /, *_: Any) -> Motion:
    """Linear in each of three arguments."""
    return product(product(i1, i2), i3)


@law("bilinear", rows="torch makes it other operations")
def _bilinear_layer(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Motion:
    """Linear in each of three arguments, and a bias."""
    return _with_bias(_trilinear(input1, input2, weight), bias)


@law("addmm baddbmm", rows=of_matrices, pieces=BILINEAR)
@law("addmv", rows=of_vectors, pieces=BILINEAR)
@law("_sparse_addmm", rows="a sparse matrix has no batch beside its rows", pieces=BILINEAR)
@law("addbmm", rows="it sums over a batch of matrices", pieces=BILINEAR)
@law("addr", rows="its rows are single entries of a vector; none has been needed", pieces=BILINEAR)
def _product_and_sum(
    self: Any, left: Any, right: Any, /, *, beta: float = 1, alpha: float = 1
) -> Motion:
    """``beta self + alpha left @ right``."""
    term = 0 if alpha == 0 else product(left, right)
    return _with_bias(term, 0 if beta == 0 else self)


@law(
    "linalg_solve_triangular", rows="a system of equations is of all its rows; none has been needed"
)
def _solved(self: Any, B: Any, *, unitriangular: bool = False, **_: Any) -> Motion:  # noqa: N803
    """``A^-1 B``: degrees subtract; a diagonal of ones that is only thought of does not scale."""
    if unitriangular and motion_of(self) != FIXED:
        return Unknown("a triangular matrix that moves beside a diagonal of ones")
    return quotient(B, self)


@law("addcmul")
def _addcmul(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Motion:
    """``self + value tensor1 * tensor2``."""
    return added(self, 0 if value == 0 else product(tensor1, tensor2))


@law("addcdiv")
def _addcdiv(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Motion:
    """``self + value tensor1 / tensor2``."""
    return added(self, 0 if value == 0 else quotient(tensor1, tensor2))


@law("binary_cross_entropy binary_cross_entropy_with_logits", rows=entrywise)
def _cross_entropy(self: Any, target: Any, weight: Any = None, *rest: Any) -> Motion:
    """Linear in the target, and a shift, where nothing else moves."""
    others = [motion_of(o) for o in (self, weight, *rest) if not isinstance(o, int | None)]
    if set(others) <= {FIXED}:
        return added(target, FIXED)
    return Unknown("a loss that is not homogeneous", LEFT_OUT)


@law("lerp.Scalar lerp.Tensor")
def _lerp(self: Any, end: Any, weight: Any) -> Motion:
    """``self + weight (end - self)``."""
    return added(self, product(weight, added(end, self)))


def _with_bias(result: Motion | int, bias: Any) -> Motion:
    motion = added(result, 0 if bias is None else bias)
    if isinstance(motion, Affine) and isinstance(bias, Operand) and not is_zero(bias):
        count = bias.fake.numel()
        return Affine(f"bias of {count} output{'s' if count != 1 else ''} is not zero")
    return motion
