/*
 * backend_cpu.c - the CPU's back end, one per instruction set.
 */
#include "ops/cpu/onednn.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/detect.h"

static const tpi_kernels kernels = {
    .copy = CPU(copy),
    .fill = CPU(fill),
    .unary = CPU(unary),
    .unary_grad = CPU(unary_grad),
    .binary = CPU(binary),
    .compare = CPU(compare),
    .where = CPU(where),
    .reduce = CPU(reduce),
    .cumsum = CPU(cumsum),
    .random = CPU(random),
    .dropout = CPU(dropout),
    .gemm_space = CPU(gemm_space),
    .gemm = CPU(gemm),
    .softmax = CPU(softmax),
    .softmax_grad = CPU(softmax_grad),
    .cross_entropy = CPU(cross_entropy),
    .index_rows = CPU(index_rows),
    .index_add = CPU(index_add),
    .gather = CPU(gather),
    .scatter_add = CPU(scatter_add),
    .layernorm = CPU(layernorm),
    .layernorm_grad = CPU(layernorm_grad),
    .rmsnorm = CPU(rmsnorm),
    .rmsnorm_grad = CPU(rmsnorm_grad),
    .conv_space = CPU(conv_space),
    .conv = CPU(conv),
    .conv_dx = CPU(conv_dx),
    .conv_dw = CPU(conv_dw),
    .max_pool = CPU(max_pool),
    .max_pool_grad = CPU(max_pool_grad),
    .avg_pool = CPU(avg_pool),
    .avg_pool_grad = CPU(avg_pool_grad),
    .set_stats = CPU(set_stats),
    .set_norm = CPU(set_norm),
    .set_norm_grad = CPU(set_norm_grad),
    .rope = CPU(rope),
    .attention_space = CPU(attention_space),
    .attention_grad_space = CPU(attention_grad_space),
    .attention = CPU(attention),
    .attention_grad = CPU(attention_grad),
    .blocks_space = CPU(blocks_space),
    .blocks = CPU(blocks),
    .blocks_da = CPU(blocks_da),
    .blocks_dx = CPU(blocks_dx),
    .silu_mul = CPU(silu_mul),
    .silu_mul_grad = CPU(silu_mul_grad),
    .optim = CPU(optim),
    .sumsq = CPU(sumsq),
    .nonfinite = CPU(nonfinite),
    .sort = CPU(sort),
};

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
    .conv = TPI_CAN_FLOAT,
    .conv_dx = TPI_CAN_FLOAT,
    .conv_dw = TPI_CAN_FLOAT,
    .max_pool = TPI_CAN_FLOAT,
    .max_pool_grad = TPI_CAN_FLOAT,
    .avg_pool = TPI_CAN_FLOAT,
    .avg_pool_grad = TPI_CAN_FLOAT,
    .set_stats = TPI_CAN_FLOAT,
    .set_norm = TPI_CAN_FLOAT,
    .set_norm_grad = TPI_CAN_FLOAT,
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
};

/* Whether this machine runs what this file was compiled for. */
static bool usable(void)
{
#if defined(__AVX512F__)
    return tpi_cpu_has_avx512();
#elif defined(__AVX2__)
    return tpi_cpu_has_avx2();
#else
    return true;
#endif
}

static const char *note(char *buf, size_t size)
{
    snprintf(buf, size, "oneDNN %s, bf16 products %s", tpi_dnnl_version(),
             tpi_dnnl_has(TP_BF16) ? "in hardware" : "by conversion to f32");
    return buf;
}

const tpi_backend CPU(backend) = {
    .name = TPI_TEXT(TPI_ISA),
    .device = TP_CPU,
    .k = &kernels,
    .can = &can,
    .usable = usable,
    .note = note,
};
