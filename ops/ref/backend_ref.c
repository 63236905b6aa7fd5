/*
 * backend_ref.c - the back end `ref`: every slot, for every dtype that has a meaning there.
 */
#include "ops/ref/ref.h"

static const tpi_kernels kernels = {
    .copy = tpi_ref_copy,
    .fill = tpi_ref_fill,
    .unary = tpi_ref_unary,
    .unary_grad = tpi_ref_unary_grad,
    .binary = tpi_ref_binary,
    .compare = tpi_ref_compare,
    .where = tpi_ref_where,
    .reduce = tpi_ref_reduce,
    .cumsum = tpi_ref_cumsum,
    .random = tpi_ref_random,
    .dropout = tpi_ref_dropout,
    .gemm_space = tpi_ref_gemm_space,
    .gemm = tpi_ref_gemm,
    .softmax = tpi_ref_softmax,
    .softmax_grad = tpi_ref_softmax_grad,
    .cross_entropy = tpi_ref_cross_entropy,
    .index_rows = tpi_ref_index_rows,
    .index_add = tpi_ref_index_add,
    .gather = tpi_ref_gather,
    .scatter_add = tpi_ref_scatter_add,
    .layernorm = tpi_ref_layernorm,
    .layernorm_grad = tpi_ref_layernorm_grad,
    .rmsnorm = tpi_ref_rmsnorm,
    .rmsnorm_grad = tpi_ref_rmsnorm_grad,
    .rope = tpi_ref_rope,
    .attention_space = tpi_ref_attention_space,
    .attention_grad_space = tpi_ref_attention_space,
    .attention = tpi_ref_attention,
    .attention_grad = tpi_ref_attention_grad,
    .blocks_space = tpi_ref_blocks_space,
    .blocks = tpi_ref_blocks,
    .blocks_da = tpi_ref_blocks_da,
    .blocks_dx = tpi_ref_blocks_dx,
    .silu_mul = tpi_ref_silu_mul,
    .silu_mul_grad = tpi_ref_silu_mul_grad,
    .optim = tpi_ref_optim,
    .sumsq = tpi_ref_sumsq,
    .nonfinite = tpi_ref_nonfinite,
    .sort = tpi_ref_sort,
    .factor_space = tpi_ref_factor_space,
    .factor = tpi_ref_factor,
};

/* unary: of bool only `not`; of integers those that the contract lists.  index_add: the dtype of w. */
static const tpi_can can = {
    .copy = TPI_CAN_ALL,
    .fill = TPI_CAN_ALL,
    .unary = TPI_CAN_ALL,
    .unary_grad = TPI_CAN_FLOAT,
    .binary = TPI_CAN_FLOAT | TPI_CAN_INT,
    .compare = TPI_CAN_ALL,
    .where = TPI_CAN_ALL,
    .reduce = TPI_CAN_ALL,
    .cumsum = TPI_CAN_FLOAT | TPI_CAN_INT,
    .random = TPI_CAN_ALL,
    .dropout = TPI_CAN_FLOAT,
    .gemm = TPI_CAN_FLOAT,
    .softmax = TPI_CAN_FLOAT,
    .softmax_grad = TPI_CAN_FLOAT,
    .cross_entropy = TPI_CAN_FLOAT,
    .index_rows = TPI_CAN_ALL,
    .index_add = TPI_CAN_FLOAT | TPI_CAN_INT,
    .gather = TPI_CAN_ALL,
    .scatter_add = TPI_CAN_FLOAT | TPI_CAN_INT,
    .layernorm = TPI_CAN_FLOAT,
    .layernorm_grad = TPI_CAN_FLOAT,
    .rmsnorm = TPI_CAN_FLOAT,
    .rmsnorm_grad = TPI_CAN_FLOAT,
    .rope = TPI_CAN_FLOAT,
    .attention = TPI_CAN_FLOAT,
    .attention_grad = TPI_CAN_FLOAT,
    .blocks = TPI_CAN_FLOAT,
    .blocks_da = TPI_CAN_FLOAT,
    .blocks_dx = TPI_CAN_FLOAT,
    .silu_mul = TPI_CAN_FLOAT,
    .silu_mul_grad = TPI_CAN_FLOAT,
    .optim = TPI_CAN_FLOAT,
    .sumsq = TPI_CAN_FLOAT,
    .nonfinite = TPI_CAN_FLOAT,
    .sort = TPI_CAN_ALL,
    .factor = TPI_CAN_FLOAT,
};

static bool usable(void)
{
    return true;
}

/* Host memory, host order: nothing to allocate or move of its own. */
const tpi_backend tpi_backend_ref = { .name = "ref", .device = TP_REF, .k = &kernels, .can = &can, .usable = usable };
