/* thirds.h - a float as three of BF16, exactly: x = high + middle + low, each the nearest BF16 to what is left of x.
 *
 * 24 bits are three times eight: |middle| <= 2^-8 |x|, |low| <= 2^-16 |x|, and nothing is left of the third. So a float
 * can be multiplied by a number of BF16 where these are, in three products that are exact (Henry, Tang and Heinecke
 * 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations").
 *
 * A number that has no thirds - NaN, infinity, what rounds to it, and what is so small that a third would be a
 * denormal, which BF16 instructions take for zero - is NaN in its high one and has its own bits in the others: whatever
 * it comes into is NaN, and can be computed again from the same thirds. */
#ifndef DK_COMPUTE_THIRDS_H
#define DK_COMPUTE_THIRDS_H

#include "compute/simd.h"

#define DK_THIRDS_LEAST 0x0c000000 /* the bits of 2^-103, whose last bit is 2^-126 */
#define DK_THIRDS_ABOVE 0x7f7f8000 /* of the first number whose nearest BF16 is infinite */
#define DK_THIRDS_NONE 0x7fc00000  /* a high third: the other two hold the number */

typedef struct dk_thirds { /* in the upper halves of floats */
    dk_vi high, middle, low;
} dk_thirds;

static inline dk_vi dk_nearest_third(dk_vi bits)
{
    const dk_vi up = dk_vi_set(0x7fff) + ((bits >> 16) & dk_vi_set(1));
    return (dk_vi)((dk_vu)bits + (dk_vu)up) & dk_vi_set((int32_t)0xffff0000); /* bits of a NaN may be the largest */
}

static inline dk_vi dk_thirds_choose(dk_vm mask, dk_vi yes, dk_vi no)
{
    return dk_vf_bits(dk_vf_select(mask, dk_vi_bits(yes), dk_vi_bits(no)));
}

static inline dk_thirds dk_thirds_of(dk_vf x)
{
    const dk_vi bits = dk_vf_bits(x), size = bits & dk_vi_set(0x7fffffff);
    const dk_vm small = dk_vm_and(dk_vi_less(size, dk_vi_set(DK_THIRDS_LEAST)), dk_vi_less(dk_vi_set(0), size)),
                large = dk_vi_less(dk_vi_set(DK_THIRDS_ABOVE - 1), size);
    dk_thirds t = {.high = dk_nearest_third(bits)};
    const dk_vf left = x - dk_vi_bits(t.high);
    t.middle = dk_nearest_third(dk_vf_bits(left));
    t.low = dk_vf_bits(left - dk_vi_bits(t.middle));
    if (!dk_vm_any(small) && !dk_vm_any(large)) return t;
    const dk_vm none = (dk_vm)(small | large);
    t.high = dk_thirds_choose(none, dk_vi_set(DK_THIRDS_NONE), t.high);
    t.middle = dk_thirds_choose(none, bits & dk_vi_set((int32_t)0xffff0000), t.middle);
    t.low = dk_thirds_choose(none, (dk_vi)((dk_vu)bits << 16), t.low);
    return t;
}

/* The number again. */
static inline float dk_thirds_join(uint16_t high, uint16_t middle, uint16_t low)
{
    if (high == DK_THIRDS_NONE >> 16) return dk_float_from_bits((uint32_t)middle << 16 | low);
    return dk_widen_bf16(high) + dk_widen_bf16(middle) + dk_widen_bf16(low);
}

#endif
