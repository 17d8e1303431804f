/* dtype.h - what the elements of a tensor are made of: one table for files, buffers, views and products.
 *
 * Here live names and sizes. How values of a dtype are read or written does not live here: an op or a file format names
 * the dtypes that it takes and refuses the others. */
#ifndef DK_BASE_DTYPE_H
#define DK_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    DK_F32 = 1,
    DK_F64,
    DK_F16,
    DK_BF16,
    DK_I32,
    DK_I64,
    DK_U8,
    DK_I8,
    DK_I16,
    DK_U16,
    DK_U32,
    DK_U64,
    DK_BOOL,
    DK_F8_E4M3,
    DK_F8_E5M2,
    DK_F8_E8M0,
    DK_C64,
    /* block-quantised, as ggml lays them out: for frozen weights */
    DK_Q4_0,
    DK_Q4_1,
    DK_Q5_0,
    DK_Q5_1,
    DK_Q8_0,
    DK_Q8_1,
    DK_Q2_K,
    DK_Q3_K,
    DK_Q4_K,
    DK_Q5_K,
    DK_Q6_K,
    DK_Q8_K,
    DK_IQ1_S,
    DK_IQ1_M,
    DK_IQ2_XXS,
    DK_IQ2_XS,
    DK_IQ2_S,
    DK_IQ3_XXS,
    DK_IQ3_S,
    DK_IQ4_NL,
    DK_IQ4_XS,
    DK_TQ1_0,
    DK_TQ2_0,
    DK_MXFP4,
    DK_DTYPE_END /* below 62: sets of dtypes are 64 bits with two flags on top */
} dk_dtype;

typedef struct dk_dtype_info {
    const char *name;     /* "f32", "q4_k" */
    int32_t block, bytes; /* so many bytes for so many neighbouring elements of the last dimension */
} dk_dtype_info;
const dk_dtype_info *dk_dtype_find(dk_dtype dtype); /* NULL = not in the table */
const char *dk_dtype_name(dk_dtype dtype);          /* "?" = not in the table */
size_t dk_dtype_size(dk_dtype dtype);               /* bytes of one element; 0 = it comes in blocks, or is unknown */
/* Bytes of count neighbouring elements, also of the step between elements that lie so far apart. -1 where that is no
 * whole number of blocks or more than an int64 holds, and for an unknown dtype. */
int64_t dk_dtype_bytes(dk_dtype dtype, int64_t count);
size_t dk_dtype_align(dk_dtype dtype); /* of the first element; blocks may lie anywhere */

#endif
