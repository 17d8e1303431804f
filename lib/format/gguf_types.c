#include "format/format_parts.h"

/* Codes, blocks and names as ggml has them; only F32, F16 and BF16 can be computed with. */
static const dk_gguf_type types[] = {
    {0, "F32", DK_TENSOR_F32, 1, 4},           {1, "F16", DK_TENSOR_F16, 1, 2},
    {30, "BF16", DK_TENSOR_BF16, 1, 2},        {2, "Q4_0", DK_TENSOR_OTHER, 32, 18},
    {3, "Q4_1", DK_TENSOR_OTHER, 32, 20},      {6, "Q5_0", DK_TENSOR_OTHER, 32, 22},
    {7, "Q5_1", DK_TENSOR_OTHER, 32, 24},      {8, "Q8_0", DK_TENSOR_OTHER, 32, 34},
    {9, "Q8_1", DK_TENSOR_OTHER, 32, 36},      {10, "Q2_K", DK_TENSOR_OTHER, 256, 84},
    {11, "Q3_K", DK_TENSOR_OTHER, 256, 110},   {12, "Q4_K", DK_TENSOR_OTHER, 256, 144},
    {13, "Q5_K", DK_TENSOR_OTHER, 256, 176},   {14, "Q6_K", DK_TENSOR_OTHER, 256, 210},
    {15, "Q8_K", DK_TENSOR_OTHER, 256, 292},   {16, "IQ2_XXS", DK_TENSOR_OTHER, 256, 66},
    {17, "IQ2_XS", DK_TENSOR_OTHER, 256, 74},  {18, "IQ3_XXS", DK_TENSOR_OTHER, 256, 98},
    {19, "IQ1_S", DK_TENSOR_OTHER, 256, 50},   {20, "IQ4_NL", DK_TENSOR_OTHER, 32, 18},
    {21, "IQ3_S", DK_TENSOR_OTHER, 256, 110},  {22, "IQ2_S", DK_TENSOR_OTHER, 256, 82},
    {23, "IQ4_XS", DK_TENSOR_OTHER, 256, 136}, {24, "I8", DK_TENSOR_OTHER, 1, 1},
    {25, "I16", DK_TENSOR_OTHER, 1, 2},        {26, "I32", DK_TENSOR_OTHER, 1, 4},
    {27, "I64", DK_TENSOR_OTHER, 1, 8},        {28, "F64", DK_TENSOR_OTHER, 1, 8},
    {29, "IQ1_M", DK_TENSOR_OTHER, 256, 56},   {34, "TQ1_0", DK_TENSOR_OTHER, 256, 54},
    {35, "TQ2_0", DK_TENSOR_OTHER, 256, 66},   {39, "MXFP4", DK_TENSOR_OTHER, 32, 17},
};

const dk_gguf_type *dk_gguf_type_find(uint32_t code)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((uint32_t)types[i].code == code) return &types[i];
    return NULL;
}
