/* int8_blocks.h - blocks of activations and of weights, as all kernels of whole numbers take them: activations rounded
 * to them, and the numbers and scales of DK_VF lines of weights, one line to a lane. A turned block has four numbers of
 * every line in each of eight vectors: turning squares of four lines by four in registers is two unpackings of each. */
#ifndef DK_COMPUTE_INT8_BLOCKS_H
#define DK_COMPUTE_INT8_BLOCKS_H

#include "compute/cpu/product/int8/int8.h"
#include "compute/cpu/product/int8/int8_lanes.h"
#include "compute/cpu/product/micro/micro.h"

/* ---- activations ---- */
/* What is added to each weight of a dtype. */
static inline int32_t int8_offset(dk_dtype dtype)
{
    switch ((int)dtype) {
    case DK_Q8_0:
        return DK_INT8_OFFSET;
    case DK_Q4_0:
        return 8;
    case DK_Q3_K:
        return 4;
    case DK_Q6_K:
        return 32;
    default: /* those that have least values */
        return 0;
    }
}

static inline void int8_store(int8_t *to, dk_vi numbers)
{
#if DK_VF > 1
    typedef int8_t bytes __attribute__((vector_size(DK_VF)));
    bytes narrow = __builtin_convertvector(numbers, bytes);
    memcpy(to, &narrow, sizeof narrow);
#else
    *to = (int8_t)numbers;
#endif
}

/* The scale is the largest number's 127th; 0 = there is NaN or infinity. */
static inline int32_t int8_scale(const float *x, float *scale)
{
    dk_vf most = dk_vf_set(0), all = dk_vf_set(0);
    for (int i = 0; i < DK_INT8_BLOCK; i += DK_VF) {
        dk_vf v = dk_vf_load(x + i);
        most = dk_vf_max(dk_vf_abs(v), most);
        all = all + v * dk_vf_set(0); /* NaN where one is NaN or infinite */
    }
    *scale = dk_int8_highest(most) / 127;
    return dk_vf_sum(all) == 0;
}

/* To the nearest whole number, ties to even; a scale that is no normal number may be too small for 127 of it. */
static inline int32_t int8_round(const float *x, float scale, int8_t q[DK_INT8_BLOCK])
{
    const dk_vf by = dk_vf_set(scale > 0 ? scale : 1), most = dk_vf_set(127), least = dk_vf_set(-127),
                whole = dk_vf_set(0x1.8p23f);
    dk_vi sum = dk_vi_set(0);
    for (int i = 0; i < DK_INT8_BLOCK; i += DK_VF) {
        dk_vf v = dk_vf_max(least, dk_vf_min(dk_vf_load(x + i) / by, most));
        dk_vi numbers = dk_vf_bits(v + whole) - dk_vf_bits(whole);
        int8_store(q + i, numbers);
        sum = sum + numbers;
    }
    return dk_int8_total(sum);
}

static int32_t int8_quantise(dk_dtype dtype, const float *x, const dk_int8_rows *rows, int64_t row)
{
    const int64_t place = row % rows->height, apart = rows->in_groups ? rows->height : 1;
    const int32_t halves = dk_int8_halves_of(dtype);
    int32_t finite = 1;
    for (int64_t block = 0; block < rows->k / DK_INT8_BLOCK; block++, x += DK_INT8_BLOCK) {
        const int64_t at = dk_int8_at(rows, row, block);
        int8_t q[DK_INT8_BLOCK] = {0},
               *to = rows->q + at * DK_INT8_BLOCK + place * (rows->in_groups ? 4 : DK_INT8_BLOCK);
        int32_t sum = 0;
        if (int8_scale(x, &rows->scale[at + place])) sum = int8_round(x, rows->scale[at + place], q);
        else finite = 0;
        for (int i = 0; i < DK_INT8_BLOCK / 4; i++) memcpy(to + 4 * i * apart, q + 4 * i, 4);
        int32_t second = 0;
        for (int i = DK_INT8_BLOCK / 2; halves && i < DK_INT8_BLOCK; i++) second += q[i];
        rows->sum[at + place] = (float)(sum - second);
        rows->start[at + place] = -int8_offset(dtype) * (sum - second);
        if (!halves) continue;
        rows->sum_second[at + place] = (float)second;
        rows->start_second[at + place] = -int8_offset(dtype) * second;
    }
    return finite;
}

/* ---- weights ---- */
typedef struct int8_block { /* of DK_VF lines, turned */
    dk_vi weights[8];
    dk_vf scale, least;
} int8_block;

/* dtype is a constant where these are inlined. */
DK_ALWAYS_INLINE const uint8_t *int8_numbers(const dk_dtype dtype, const uint8_t *block)
{
    return block + (dtype == DK_Q4_1 ? 4 : 2);
}

/* Of a block of each line; *least is Q4_1's alone. */
DK_ALWAYS_INLINE void int8_scales(const dk_dtype dtype, const uint8_t *at, dk_vi offsets, dk_vf *scale, dk_vf *least)
{
    if (dtype == DK_Q4_1) dk_int8_two_halves(at, offsets, scale, least);
    else *scale = dk_int8_halves(at, offsets);
}

/* Of eight vectors the first four hold two numbers in each byte. */
static inline void int8_part(dk_vi weights[8])
{
    for (int i = 0; i < 4; i++) {
        weights[i + 4] = weights[i] >> 4 & dk_vi_set(0x0f0f0f0f);
        weights[i] = weights[i] & dk_vi_set(0x0f0f0f0f);
    }
}

DK_ALWAYS_INLINE void int8_turn(const dk_dtype dtype, const uint8_t *at, int64_t step, dk_vi offsets, int8_block *out)
{
    const uint8_t *numbers = int8_numbers(dtype, at);
    int8_scales(dtype, at, offsets, &out->scale, &out->least);
    dk_int8_turn(numbers, step, out->weights);
    if (dtype != DK_Q8_0) {
        int8_part(out->weights);
        return;
    }
    dk_int8_turn(numbers + 16, step, out->weights + 4);
    for (int i = 0; i < 8; i++) out->weights[i] = dk_int8_signed(out->weights[i]);
}

/* A panel that comes later, piece by piece. */
DK_ALWAYS_INLINE void int8_fetch(const dk_dtype dtype, const uint8_t *ahead, int64_t block)
{
    const int64_t bytes = DK_VF * dk_int8_bytes(dtype);
    if (!ahead) return;
#pragma GCC unroll 10
    for (int64_t i = 0; i < bytes; i += 64) DK_FETCH_FAR(ahead + block * bytes + i);
}

#endif
