#include "format/format_parts.h"

/* Codes and names as ggml has them. */
static const dk_gguf_type types[] = {
    {0, "F32", DK_F32},        {1, "F16", DK_F16},          {30, "BF16", DK_BF16},     {2, "Q4_0", DK_Q4_0},
    {3, "Q4_1", DK_Q4_1},      {6, "Q5_0", DK_Q5_0},        {7, "Q5_1", DK_Q5_1},      {8, "Q8_0", DK_Q8_0},
    {9, "Q8_1", DK_Q8_1},      {10, "Q2_K", DK_Q2_K},       {11, "Q3_K", DK_Q3_K},     {12, "Q4_K", DK_Q4_K},
    {13, "Q5_K", DK_Q5_K},     {14, "Q6_K", DK_Q6_K},       {15, "Q8_K", DK_Q8_K},     {16, "IQ2_XXS", DK_IQ2_XXS},
    {17, "IQ2_XS", DK_IQ2_XS}, {18, "IQ3_XXS", DK_IQ3_XXS}, {19, "IQ1_S", DK_IQ1_S},   {20, "IQ4_NL", DK_IQ4_NL},
    {21, "IQ3_S", DK_IQ3_S},   {22, "IQ2_S", DK_IQ2_S},     {23, "IQ4_XS", DK_IQ4_XS}, {24, "I8", DK_I8},
    {25, "I16", DK_I16},       {26, "I32", DK_I32},         {27, "I64", DK_I64},       {28, "F64", DK_F64},
    {29, "IQ1_M", DK_IQ1_M},   {34, "TQ1_0", DK_TQ1_0},     {35, "TQ2_0", DK_TQ2_0},   {39, "MXFP4", DK_MXFP4},
};

const dk_gguf_type *dk_gguf_type_find(uint32_t code)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((uint32_t)types[i].code == code) return &types[i];
    return NULL;
}

const dk_gguf_type *dk_gguf_type_of(dk_dtype dtype)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype) return &types[i];
    return NULL;
}

const char *dk_gguf_way_out(void)
{
    return "supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and "
           "MXFP4: take the model's file in one of these, or quantise its F16 or BF16 file anew (llama-quantize)";
}
