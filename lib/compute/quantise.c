/* Floats as blocks of the layouts in quant_blocks.h. Every block takes the scale (and least value) whose values lie
 * closest in squares, of some that are tried. */
#include "compute/compute.h"
#include "compute/half.h"

#include <math.h>

static void store_f16(float value, uint8_t *at)
{
    uint16_t half = dk_narrow_f16(value);
    memcpy(at, &half, sizeof half);
}

static float through_f16(float value) { return dk_widen_f16(dk_narrow_f16(value)); }

static int32_t nearest(float value, int32_t low, int32_t high)
{
    if (value <= (float)low) return low;
    if (value >= (float)high) return high;
    return (int32_t)lrintf(value);
}

/* The value with the largest magnitude, with its sign. */
static float extreme(const float *x, int n)
{
    float out = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(out)) out = x[i];
    return out;
}

static int32_t narrow_q8_0(const float *x, uint8_t *out)
{
    float d = through_f16(fabsf(extreme(x, 32)) / 127);
    store_f16(d, out);
    for (int i = 0; i < 32; i++) out[2 + i] = (uint8_t)(int8_t)(d > 0 ? nearest(x[i] / d, -127, 127) : 0);
    return isfinite(d);
}

/* ---- one scale for 32 levels around 0: -levels..levels - 1 ---- */
static double error_of(const float *x, float d, int32_t levels)
{
    double sum = 0;
    float inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < 32; i++) {
        double off = (double)x[i] - (double)d * nearest(x[i] * inverse, -levels, levels - 1);
        sum += off * off;
    }
    return sum;
}

/* The scale that suits the levels to which `from` rounds the values. */
static float fitted(const float *x, float from, int32_t levels)
{
    double by = 0, squares = 0;
    float inverse = 1 / from;
    if (!isfinite(inverse)) return from;
    for (int i = 0; i < 32; i++) {
        double q = nearest(x[i] * inverse, -levels, levels - 1);
        by += q * (double)x[i];
        squares += q * q;
    }
    return squares > 0 ? (float)(by / squares) : from;
}

/* The extreme value takes the side that has a level more, near its last level or a little beyond it. */
static float find_scale(const float *x, int32_t levels)
{
    float most = extreme(x, 32), best = through_f16(most / (float)-levels);
    double least = error_of(x, best, levels);
    for (int side = -1; side <= 1 && most != 0; side += 2) {
        for (int step = -4; step <= 4; step++) {
            float tried = most / ((float)side * ((float)levels + 0.3f * (float)step));
            float d = through_f16(fitted(x, tried, levels));
            double error = d != 0 && isfinite(d) ? error_of(x, d, levels) : INFINITY;
            if (error < least) {
                least = error;
                best = d;
            }
        }
    }
    return best;
}

static int32_t level_of(float x, float d, int32_t levels)
{
    return (d != 0 ? nearest(x / d, -levels, levels - 1) : 0) + levels;
}

static int32_t narrow_q4_0(const float *x, uint8_t *out)
{
    float d = find_scale(x, 8);
    store_f16(d, out);
    for (int i = 0; i < 16; i++) out[2 + i] = (uint8_t)(level_of(x[i], d, 8) | level_of(x[i + 16], d, 8) << 4);
    return isfinite(d);
}

static int32_t narrow_q5_0(const float *x, uint8_t *out)
{
    float d = find_scale(x, 16);
    uint32_t high = 0;
    store_f16(d, out);
    for (int i = 0; i < 16; i++) {
        uint32_t low = (uint32_t)level_of(x[i], d, 16), up = (uint32_t)level_of(x[i + 16], d, 16);
        out[6 + i] = (uint8_t)((low & 15) | (up & 15) << 4);
        high |= low >> 4 << i | up >> 4 << (i + 16);
    }
    memcpy(out + 2, &high, sizeof high);
    return isfinite(d);
}

/* ---- Q4_K: eight groups of 32, each scale*q - least with q in 0..15; scales and least values of six bits ---- */
typedef struct group {
    float scale, least; /* both >= 0 */
} group;

static int32_t step_of(float x, group g) { return g.scale > 0 ? nearest((x + g.least) / g.scale, 0, 15) : 0; }

static double group_error(const float *x, group g)
{
    double sum = 0;
    for (int i = 0; i < 32; i++) {
        double off = (double)x[i] - ((double)g.scale * step_of(x[i], g) - (double)g.least);
        sum += off * off;
    }
    return sum;
}

/* Least squares for the steps to which g rounds; a least value below 0 does not exist. */
static group fitted_group(const float *x, group g)
{
    double n = 32, q1 = 0, q2 = 0, x1 = 0, xq = 0;
    for (int i = 0; i < 32; i++) {
        double q = step_of(x[i], g);
        q1 += q, q2 += q * q, x1 += (double)x[i], xq += q * (double)x[i];
    }
    double under = n * q2 - q1 * q1;
    if (!(under > 0)) return g;
    group out = {(float)((n * xq - q1 * x1) / under), (float)-((q2 * x1 - q1 * xq) / under)};
    if (out.least < 0) out = (group){q2 > 0 ? (float)(xq / q2) : 0, 0};
    return out.scale > 0 ? out : g;
}

static group find_group(const float *x)
{
    float low = 0, high = x[0];
    for (int i = 0; i < 32; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    group best = {high > low ? (high - low) / 15 : 0, -low};
    double least = group_error(x, best);
    for (int step = -6; step <= 6 && best.scale > 0; step++) {
        group tried = fitted_group(x, (group){(high - low) / (15 + 0.25f * (float)step), -low});
        double error = group_error(x, tried);
        if (error < least) {
            least = error;
            best = tried;
        }
    }
    return best;
}

/* Six-bit numbers beside those to which a group rounds may lie closer once d and d_least are what they are. */
static void settle(const float *x, group wanted, float d, float d_least, uint8_t *scale, uint8_t *least)
{
    int32_t s = d > 0 ? nearest(wanted.scale / d, 0, 63) : 0,
            m = d_least > 0 ? nearest(wanted.least / d_least, 0, 63) : 0;
    double best = INFINITY;
    for (int32_t a = s > 0 ? s - 1 : 0; a <= s + 1 && a <= 63; a++) {
        for (int32_t b = m > 0 ? m - 1 : 0; b <= m + 1 && b <= 63; b++) {
            double error = group_error(x, (group){d * (float)a, d_least * (float)b});
            if (error >= best) continue;
            best = error;
            *scale = (uint8_t)a;
            *least = (uint8_t)b;
        }
    }
}

/* The upper four of scales and least values give their high bits to the lower four. */
static void pack_scales(const uint8_t scale[8], const uint8_t least[8], uint8_t *out)
{
    for (int j = 0; j < 4; j++) {
        out[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        out[j + 4] = (uint8_t)(least[j] | least[j + 4] >> 4 << 6);
        out[j + 8] = (uint8_t)((scale[j + 4] & 15) | (least[j + 4] & 15) << 4);
    }
}

static int32_t narrow_q4_k(const float *x, uint8_t *out)
{
    group groups[8];
    uint8_t scale[8] = {0}, least[8] = {0};
    float scale_most = 0, least_most = 0;
    for (int g = 0; g < 8; g++) {
        groups[g] = find_group(x + 32 * g);
        scale_most = fmaxf(scale_most, groups[g].scale);
        least_most = fmaxf(least_most, groups[g].least);
    }
    const float d = through_f16(scale_most / 63), d_least = through_f16(least_most / 63);
    for (int g = 0; g < 8; g++) settle(x + 32 * g, groups[g], d, d_least, &scale[g], &least[g]);
    store_f16(d, out);
    store_f16(d_least, out + 2);
    pack_scales(scale, least, out + 4);
    memset(out + 16, 0, 128);
    for (int i = 0; i < 256; i++) {
        int g = i / 32;
        int32_t q = step_of(x[i], (group){d * (float)scale[g], d_least * (float)least[g]});
        out[16 + 32 * (g / 2) + i % 32] |= (uint8_t)(q << 4 * (g % 2));
    }
    return isfinite(d) && isfinite(d_least);
}

/* ---- any ---- */
typedef int32_t (*narrow_fn)(const float *x, uint8_t *out);

int32_t dk_blocks_narrow(dk_dtype dtype, const float *x, void *blocks, int64_t n)
{
    static const narrow_fn rules[DK_DTYPE_END] = {
        [DK_Q8_0] = narrow_q8_0, [DK_Q4_0] = narrow_q4_0, [DK_Q5_0] = narrow_q5_0, [DK_Q4_K] = narrow_q4_k};
    const dk_dtype_info *type = dk_dtype_find(dtype);
    if (!type || !rules[dtype]) return 0;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return 0;
    for (uint8_t *at = blocks; n > 0; n -= type->block, at += type->bytes, x += type->block)
        if (!rules[dtype](x, at)) return 0;
    return 1;
}
