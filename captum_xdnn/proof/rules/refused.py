"""Operations without a law: those that are refused, and those that torch makes of others.

The first stay ``Unknown`` when anything moves, each with its reason and a remedy. All of them pass
constants (law 7); the entries marked volatile not even those. Recurrent layers and batch norms that are
refused stand with their families. Of the others it is only known where the rows of a batch stay.
"""

from captum_xdnn.proof.domain import SCALE_INVARIANT
from captum_xdnn.proof.registry import know, refuse
from captum_xdnn.proof.row_laws import along, entrywise, images, reshaped
from captum_xdnn.proof.rules.elementwise import RELU

AS_IT_IS = "captum_xdnn.nn.Homogenized(model) takes one pass as it is, and explains it at one length of the input"
IN_FRONT = "explain the value in front of it, or replace it by a ReLU and retrain"
LOGITS = "explain the logits instead of the probabilities; take argmax and topk of logits, too"
LEFT_OUT = "leave it out of the function that is explained"
INSIDE = {
    IN_FRONT: f"replace it by a ReLU and retrain; {AS_IT_IS}",
    LOGITS: f"a network with it has none; {AS_IT_IS}",
    LEFT_OUT: f"a network with it has none; {AS_IT_IS}",
}
"""What to do instead, where the operation is not the network's last."""

# Also where only the place of the largest is taken: in exact arithmetic it is that of the largest logit all
# along the ray, but probabilities saturate: sigmoid(20) and sigmoid(30) are both 1 in float32, and at a tenth of the
# way they are not. What was chosen at the input is then not what is chosen on the way to it, and completeness holds.
refuse(
    "_softmax _log_softmax softmax.int log_softmax.int _safe_softmax",
    "softmax compares exponentials, which do not scale",
    LOGITS,
    assume=SCALE_INVARIANT,
    rows=along,
)
refuse(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math",
    "attention weights are a softmax, which compares exponentials that do not scale",
    INSIDE[LOGITS],
    rows=images,  # queries, keys and values of each example; a mask that all share has no batch
)
refuse("sigmoid hardsigmoid", "a saturating function", IN_FRONT, assume=SCALE_INVARIANT)
refuse("tanh erf erfc", "a saturating function", IN_FRONT)
refuse("log_sigmoid_forward", "a saturating function", IN_FRONT, rows=entrywise)
refuse("glu", "a gate that saturates", IN_FRONT, rows=along)
refuse(
    "gelu elu silu mish hardswish celu selu softplus",
    "an activation that is not positively homogeneous",
    RELU,
    rows=entrywise,
)
TRANSCENDENTAL = "a transcendental function, which does not scale"
refuse(
    "exp exp2 expm1 log log10 log1p log2 sinh cosh asinh acosh atanh sin cos tan asin acos atan "
    "logit sinc logaddexp logaddexp2 xlogy.Tensor xlogy.Scalar_Self xlogy.Scalar_Other "
    "lgamma mvlgamma digamma polygamma igamma igammac erfinv i0",
    TRANSCENDENTAL,
    LEFT_OUT,
)
refuse(
    "special_entr special_log_ndtr special_erfcx special_ndtri special_i0e special_i1 special_i1e "
    "special_zeta special_zeta.other_scalar special_zeta.self_scalar "
    "special_xlog1py special_xlog1py.other_scalar special_xlog1py.self_scalar "
    "special_bessel_j0 special_bessel_j1 special_spherical_bessel_j0",
    TRANSCENDENTAL,
    LEFT_OUT,
)
refuse("logsumexp logcumsumexp", TRANSCENDENTAL, LEFT_OUT, rows=along)
refuse(
    "smooth_l1_loss huber_loss soft_margin_loss",
    "a loss that is not homogeneous",
    LEFT_OUT,
    rows=entrywise,
)
refuse(
    "multi_margin_loss multilabel_margin_loss_forward",
    "a loss with a margin, which does not scale",
    LEFT_OUT,
)
refuse(
    "_euclidean_dist",
    "distances by way of squared lengths, from which rounding takes small ones away",
    "torch.cdist(x, y, compute_mode='donot_use_mm_for_euclid_dist')",
)
refuse("renorm", "norms are cut at a bound, which does not scale", LEFT_OUT)
refuse("nextafter", "the next number in floating point, which does not scale", LEFT_OUT)
refuse(
    "ceil floor round trunc frac round.decimals",
    "rounding to whole numbers",
    "leave it out: its gradient is zero almost everywhere",
)
refuse(
    "bitwise_not bitwise_and.Tensor bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar "
    "bitwise_xor.Tensor bitwise_xor.Scalar",
    "bits of whole numbers that move",
    "compute masks by comparison with zero",
    assume=SCALE_INVARIANT,
)
refuse(
    "_local_scalar_dense item",
    "a Python number is read from a tensor",
    "keep the computation in tensors",
)
refuse(
    "cumprod",
    "a product of as many factors as the place along the dimension says",
    "multiply entries one by one",
    rows=along,
)
refuse(
    "_grouped_mm",
    "products of groups of rows; what lies behind the last group is memory that torch leaves unwritten",
    "multiply the groups one by one (transformers: experts_implementation='eager')",
)
refuse(
    "_unique2",
    "how many different values there are, the values decide",
    "leave it out of the function that is explained",
)
refuse(
    "repeat_interleave.Tensor",
    "how often each entry is repeated is computed from the input",
    "repeat by numbers that do not depend on the input",
)
refuse(
    "frexp.Tensor",
    "mantissa and exponent, which do not scale",
    "leave it out of the function that is explained",
)
refuse(
    "_adaptive_avg_pool2d_backward avg_pool2d_backward convolution_backward embedding_dense_backward "
    "threshold_backward sigmoid_backward tanh_backward _softmax_backward_data "
    "max_pool2d_with_indices_backward native_group_norm_backward native_layer_norm_backward",
    "the backward half of an operation inside the forward function",
    "do not differentiate inside the function that is explained",
)
refuse(
    "atan2.out resize_",
    "it writes into a tensor that it is given",
    "use a form that returns a new tensor, without out=",
)
refuse(
    "sym_numel sym_storage_offset sym_stride.int sym_size.int sym_is_contiguous",
    "a shape that depends on values of the input",
    "let shapes depend on shapes only",
)
refuse(
    "rand randn randperm rand_like randn_like bernoulli bernoulli.p",
    "the function is random",
    "call model.eval(), or fix the random numbers before",
    volatile=True,
)
refuse(
    "empty.memory_format empty_strided empty_like new_empty new_empty_strided empty_permuted "
    "resize resize_as",
    "uninitialised memory",
    "write every entry: use torch.zeros",
    volatile=True,
)
know("bernoulli.p bernoulli.Tensor uniform normal_functional exponential cauchy", overwrites=0)
know("geometric log_normal random random.from random.to", overwrites=0)


know("reshape flatten unflatten", rows=reshaped)
know("contiguous", rows=entrywise)
know("chunk", rows=along)
