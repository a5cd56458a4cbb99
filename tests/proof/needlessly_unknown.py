"""Operators of PyTorch's own samples that obey a law which the engine does not claim, and why not.

The sweep over the samples fails for an operator that is missing here. It is no complaint that an
operator is here: soundness outranks completeness, and most of these are rare in networks.
"""

from __future__ import annotations

_LINEAR_ALGEBRA = "dense linear algebra has no rules yet: it is rare inside networks"
_RANDOM = "the function is random; the sample sets the seed"
_MOVING_PARAMETER = "homogeneous in a parameter, which hardly ever depends on the input"
_SHORT = "the few samples look lawful; the operation is not"
_REDUCTION = "a scatter with a reduction that has no rule"

_NAMES = {
    _LINEAR_ALGEBRA: """
        cholesky_inverse cholesky_solve lu_solve lu_unpack ormqr pca_lowrank pinverse svd
        svd_lowrank triangular_solve linalg.cholesky linalg.cholesky_ex linalg.cond linalg.det
        linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.inv linalg.inv_ex
        linalg.ldl_solve linalg.lstsq linalg.lstsq.grad_oriented linalg.lu linalg.lu_solve
        linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_rank.hermitian
        linalg.matrix_sqrth linalg.norm linalg.norm.subgradients_at_zero linalg.pinv
        linalg.pinv.hermitian linalg.pinv.singular linalg.polar linalg.qr linalg.solve
        linalg.solve_ex linalg.svd linalg.svdvals linalg.tensorinv
        linalg.tensorsolve norm.nuc qr
    """,
    _RANDOM: """
        multinomial normal normal.number_mean nn.functional.alpha_dropout nn.functional.dropout
        nn.functional.dropout2d nn.functional.dropout3d
        nn.functional.feature_alpha_dropout.with_train nn.functional.fractional_max_pool2d
        nn.functional.fractional_max_pool3d nn.functional.rrelu
    """,
    _MOVING_PARAMETER: """
        _batch_norm_with_update _native_batch_norm_legit native_batch_norm
        nn.functional.batch_norm nn.functional.instance_norm
        nn.functional.linear_cross_entropy.chunked nn.functional.linear_cross_entropy.chunked_none
        nn.functional.multi_head_attention_forward nn.functional.nll_loss nn.functional.prelu
        nn.functional.scaled_dot_product_attention
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    """,
    _REDUCTION: """
        index_reduce.amax index_reduce.amin index_reduce.mean index_reduce.prod put scatter
        scatter_reduce.prod
    """,
    _SHORT: "logsumexp masked.prod nanquantile quantile",
    "an eps so small that the numbers do not show it": """
        masked.normalize nn.functional.cosine_embedding_loss nn.functional.cosine_similarity
        nn.functional.normalize
    """,
    "linear only among finite numbers; the samples have others": "nan_to_num nanmean",
    "its parts are compared with infinite tensors, not literals": """
        masked.argmax masked.argmin masked.median
    """,
    "linear in the factor, but for the places where it is zero": "special.xlog1py xlogy",
    "autograd goes by the sign of the length, so its gradient is not that of a linear map": "polar",
    "the backward half of an operation": "max_pool2d_with_indices_backward _softmax_backward_data",
    "what torch writes inside of a compiler": """
        _unsafe_masked_index _unsafe_masked_index_put_accumulate
    """,
    "equal up to rounding": "nextafter",
    "how many results there are depends on values": "argwhere nonzero_static unique unique_consecutive",
    "rare in networks": "cdist heaviside histogram histogramdd linspace.tensor_overload sparse.mm.reduce",
}

NEEDLESSLY_UNKNOWN = {name: why for why, names in _NAMES.items() for name in names.split()}
"""Reason by operator, named as in ``op_db`` with its variant."""
