#include "base/dtype.h"

static const dk_dtype_info table[DK_DTYPE_END] = {
    [DK_F32] = {"f32", 1, 4},
    [DK_F64] = {"f64", 1, 8},
    [DK_F16] = {"f16", 1, 2},
    [DK_BF16] = {"bf16", 1, 2},
    [DK_I32] = {"i32", 1, 4},
    [DK_I64] = {"i64", 1, 8},
    [DK_U8] = {"u8", 1, 1},
    [DK_I8] = {"i8", 1, 1},
    [DK_I16] = {"i16", 1, 2},
    [DK_U16] = {"u16", 1, 2},
    [DK_U32] = {"u32", 1, 4},
    [DK_U64] = {"u64", 1, 8},
    [DK_BOOL] = {"bool", 1, 1},
    [DK_F8_E4M3] = {"f8_e4m3", 1, 1},
    [DK_F8_E5M2] = {"f8_e5m2", 1, 1},
    [DK_F8_E8M0] = {"f8_e8m0", 1, 1},
    [DK_C64] = {"c64", 1, 8},
    [DK_Q4_0] = {"q4_0", 32, 18},
    [DK_Q4_1] = {"q4_1", 32, 20},
    [DK_Q5_0] = {"q5_0", 32, 22},
    [DK_Q5_1] = {"q5_1", 32, 24},
    [DK_Q8_0] = {"q8_0", 32, 34},
    [DK_Q8_1] = {"q8_1", 32, 36},
    [DK_Q2_K] = {"q2_k", 256, 84},
    [DK_Q3_K] = {"q3_k", 256, 110},
    [DK_Q4_K] = {"q4_k", 256, 144},
    [DK_Q5_K] = {"q5_k", 256, 176},
    [DK_Q6_K] = {"q6_k", 256, 210},
    [DK_Q8_K] = {"q8_k", 256, 292},
    [DK_IQ1_S] = {"iq1_s", 256, 50},
    [DK_IQ1_M] = {"iq1_m", 256, 56},
    [DK_IQ2_XXS] = {"iq2_xxs", 256, 66},
    [DK_IQ2_XS] = {"iq2_xs", 256, 74},
    [DK_IQ2_S] = {"iq2_s", 256, 82},
    [DK_IQ3_XXS] = {"iq3_xxs", 256, 98},
    [DK_IQ3_S] = {"iq3_s", 256, 110},
    [DK_IQ4_NL] = {"iq4_nl", 32, 18},
    [DK_IQ4_XS] = {"iq4_xs", 256, 136},
    [DK_TQ1_0] = {"tq1_0", 256, 54},
    [DK_TQ2_0] = {"tq2_0", 256, 66},
    [DK_MXFP4] = {"mxfp4", 32, 17},
};

const dk_dtype_info *dk_dtype_find(dk_dtype dtype)
{
    return (uint32_t)dtype < DK_DTYPE_END && table[dtype].name ? &table[dtype] : NULL;
}

const char *dk_dtype_name(dk_dtype dtype)
{
    const dk_dtype_info *info = dk_dtype_find(dtype);
    return info ? info->name : "?";
}

size_t dk_dtype_size(dk_dtype dtype)
{
    const dk_dtype_info *info = dk_dtype_find(dtype);
    return info && info->block == 1 ? (size_t)info->bytes : 0;
}

int64_t dk_dtype_bytes(dk_dtype dtype, int64_t count)
{
    const dk_dtype_info *info = dk_dtype_find(dtype);
    if (!info || count < 0 || count % info->block || count / info->block > INT64_MAX / info->bytes) return -1;
    return count / info->block * info->bytes;
}

size_t dk_dtype_align(dk_dtype dtype)
{
    size_t size = dk_dtype_size(dtype);
    return size ? size : 1;
}
