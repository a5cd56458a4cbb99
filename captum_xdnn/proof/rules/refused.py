"""Operations that stay ``Unknown`` when anything moves, each with its reason and a remedy.

All of them pass constants (law 7); the entries marked volatile not even those.
"""

from __future__ import annotations

from captum_xdnn.proof.domain import CONSTANT
from captum_xdnn.proof.registry import OVERWRITES, refuse

RELU = "replace it by a ReLU or leaky ReLU and retrain"


def _aten(*names: str) -> list[str]:
    return [f"aten.{name if '.' in name else name + '.default'}" for name in names]


refuse(
    _aten("_softmax", "_log_softmax", "softmax.int", "log_softmax.int", "_safe_softmax"),
    "softmax compares exponentials, which do not scale",
    "explain the logits instead of the probabilities",
    assume=CONSTANT,
)
refuse(
    _aten(
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
        "_scaled_dot_product_attention_math",
    ),
    "attention weights are a softmax, which compares exponentials that do not scale",
    "explain a layer behind the attention",
)
refuse(
    _aten("lstm.input", "lstm.data", "gru.input", "gru.data", "rnn_tanh.input", "rnn_tanh.data")
    + _aten("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "_thnn_fused_lstm_cell")
    + _aten("_thnn_fused_gru_cell"),
    "a recurrent layer with gates that saturate",
    "use nn.RNN with nonlinearity='relu' and bias=False and retrain, or explain what comes before it",
)
refuse(
    _aten("sigmoid", "hardsigmoid"),
    "a saturating function",
    "explain the value in front of it, or replace it by a ReLU and retrain",
    assume=CONSTANT,
)
refuse(
    _aten("tanh", "erf", "log_sigmoid_forward"),
    "a saturating function",
    "explain the value in front of it, or replace it by a ReLU and retrain",
)
refuse(
    _aten("gelu", "elu", "silu", "mish", "hardswish", "celu", "selu", "softplus"),
    "an activation that is not positively homogeneous",
    RELU,
)
refuse(
    _aten("exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "sinh", "cosh", "asinh")
    + _aten("acosh", "atanh", "sin", "cos", "tan", "asin", "acos", "atan"),
    "a transcendental function, which does not scale",
    "leave it out of the function that is explained",
)
refuse(
    _aten("ceil", "floor", "round", "trunc", "frac", "round.decimals"),
    "rounding to whole numbers",
    "leave it out: its gradient is zero almost everywhere",
)
refuse(
    _aten("bitwise_not")
    + _aten(
        *(f"bitwise_{op}.{kind}" for op in ("and", "or", "xor") for kind in ("Tensor", "Scalar"))
    ),
    "bits of whole numbers that move",
    "compute masks by comparison with zero",
    assume=CONSTANT,
)
refuse(
    _aten("_local_scalar_dense", "item"),
    "a Python number is read from a tensor",
    "keep the computation in tensors",
)
refuse(
    _aten("_embedding_bag"),
    "sums of rows by a bag whose weights may move",
    "use torch.nn.Embedding and a sum",
)
refuse(
    _aten(
        "_adaptive_avg_pool2d_backward",
        "avg_pool2d_backward",
        "convolution_backward",
        "embedding_dense_backward",
        "threshold_backward",
        "sigmoid_backward",
        "tanh_backward",
        "_softmax_backward_data",
        "max_pool2d_with_indices_backward",
        "native_group_norm_backward",
        "native_layer_norm_backward",
    ),
    "the backward half of an operation inside the forward function",
    "do not differentiate inside the function that is explained",
)
refuse(
    _aten("atan2.out", "resize_"),
    "it writes into a tensor that it is given",
    "use a form that returns a new tensor, without out=",
)
refuse(
    _aten("sym_numel", "sym_storage_offset", "sym_stride.int", "sym_size.int")
    + _aten("sym_is_contiguous"),
    "a shape that depends on values of the input",
    "let shapes depend on shapes only",
)
refuse(
    _aten(
        "_native_batch_norm_legit_functional", "_native_batch_norm_legit", "_batch_norm_with_update"
    ),
    "batch norm in training mode uses the statistics of the batch and writes a buffer",
    "call model.eval()",
)
refuse(
    _aten("_native_batch_norm_legit.no_stats"),
    "normalisation by statistics of the input itself (instance norm, or batch norm that tracks none)",
    "use batch norm with running statistics, in evaluation mode, or a network without this layer",
)
refuse(
    _aten("rand", "randn", "randperm", "rand_like", "randn_like", "bernoulli", "bernoulli.p"),
    "the function is random",
    "call model.eval(), or fix the random numbers before",
    volatile=True,
)
refuse(
    _aten("empty.memory_format", "empty_strided", "empty_like", "new_empty", "new_empty_strided")
    + _aten("empty_permuted"),
    "uninitialised memory",
    "write every entry: use torch.zeros",
    volatile=True,
)
OVERWRITES.update(
    dict.fromkeys(
        _aten("fill.Scalar", "fill.Tensor", "copy", "zeros_like", "ones_like", "full_like")
        + _aten("bernoulli.p", "bernoulli.Tensor", "uniform", "normal_functional", "exponential")
        + _aten("cauchy", "geometric", "log_normal", "random", "random.from", "random.to"),
        0,
    )
)
OVERWRITES["aten.rrelu_with_noise.default"] = 1
