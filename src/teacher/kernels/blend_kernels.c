#include "compute/simd.h"
#include "teacher/blend_rows.h"

enum { BLOCK = 64 * DK_VF }; /* floats inside a block, doubles over blocks */

#define FAR (-80.0f)  /* a share below e^FAR is kept as its logarithm */
#define FIRM (1e-30f) /* above it a sum of shares has lost nothing that underflowed */

static int64_t block_end(int64_t begin, int64_t n) { return n - begin < BLOCK ? n : begin + BLOCK; }

static double mass(const float *log_p, int64_t n)
{
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = block_end(begin, n);
        dk_vf sum = dk_vf_set(0);
        for (int64_t i = begin; i < end; i += DK_VF) sum = sum + dk_vf_exp(dk_vf_take(log_p + i, end - i, -INFINITY));
        total += (double)dk_vf_sum(sum);
    }
    return total;
}

static float highest(const float *z, int64_t n)
{
    const dk_vf infinite = dk_vf_set(INFINITY);
    dk_vf top = dk_vf_set(-INFINITY);
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf x = dk_vf_take(z + i, n - i, -INFINITY);
        top = dk_vf_max(top, dk_vf_select(dk_vf_less(x, infinite), x, infinite));
    }
    return dk_vf_highest(top);
}

/* x e^x, where e^x = 0 adds nothing */
static inline dk_vf moment_of(dk_vf x, dk_vf share)
{
    return dk_vf_select(dk_vf_less(x, dk_vf_set(-103.0f)), dk_vf_set(0), share * x);
}

static inline double walk(const float *z, float *out, int64_t n, float top, float inverse, double *moment)
{
    const dk_vf high = dk_vf_set(top), by = dk_vf_set(inverse), far = dk_vf_set(FAR);
    double total = 0, first = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = block_end(begin, n);
        dk_vf sum = dk_vf_set(0), weighted = sum;
        for (int64_t i = begin; i < end; i += DK_VF) {
            dk_vf x = (dk_vf_take(z + i, end - i, -INFINITY) - high) * by, share = dk_vf_exp(x);
            sum = sum + share;
            if (moment) weighted = weighted + moment_of(x, share);
            if (out) dk_vf_give(out + i, dk_vf_select(dk_vf_less(x, far), x, share), end - i);
        }
        total += (double)dk_vf_sum(sum);
        if (moment) first += (double)dk_vf_sum(weighted);
    }
    if (moment) *moment = first;
    return total;
}

static double sums(const float *z, int64_t n, float top, float inverse, double *moment)
{
    return walk(z, NULL, n, top, inverse, moment);
}

static double shares(const float *z, float *out, int64_t n, float top, float inverse, double *moment)
{
    return moment ? walk(z, out, n, top, inverse, moment) : walk(z, out, n, top, inverse, NULL);
}

static double rest(const float *z, int64_t n, float top, float inverse)
{
    const dk_vf high = dk_vf_set(top), by = dk_vf_set(inverse), zero = dk_vf_set(0);
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = block_end(begin, n);
        dk_vf sum = zero;
        for (int64_t i = begin; i < end; i += DK_VF) {
            dk_vf x = dk_vf_take(z + i, end - i, -INFINITY);
            sum = sum + dk_vf_select(dk_vf_less(x, high), dk_vf_exp((x - high) * by), zero);
        }
        total += (double)dk_vf_sum(sum);
    }
    return total;
}

static inline dk_vf log_of(dk_vf share)
{
    dk_vf zero = dk_vf_set(0);
    return dk_vf_select(dk_vf_less(share, zero), share, dk_vf_log(share));
}

/* Where one of them is kept as its logarithm, or next to nothing: log(e^a + e^b). */
static inline dk_vf mix_logs(dk_vf sum, dk_vf share, dk_vf log_keep, dk_vf log_take)
{
    const dk_vf one = dk_vf_set(1), none = dk_vf_set(-INFINITY);
    dk_vf a = log_of(sum) + log_keep, b = log_of(share) + log_take;
    dk_vf high = dk_vf_max(a, b), low = dk_vf_min(a, b);
    return dk_vf_select(dk_vf_less(none, high), high + dk_vf_log(one + dk_vf_exp(low - high)), high);
}

static inline void mix_row(float *sum, const float *share, int64_t n, double keep, double take, int last)
{
    const dk_vf kept = dk_vf_set((float)keep), taken = dk_vf_set((float)take), zero = dk_vf_set(0),
                firm = dk_vf_set(FIRM), far = dk_vf_set(FAR);
    const dk_vf log_keep = dk_vf_set((float)log(keep)), log_take = dk_vf_set((float)log(take));
    for (int64_t i = 0; i < n; i += DK_VF) {
        dk_vf a = dk_vf_take(sum + i, n - i, 1), b = dk_vf_take(share + i, n - i, 1);
        dk_vf both = dk_vf_fma(a, kept, b * taken);
        if (dk_vm_any(dk_vf_less(dk_vf_min(both - firm, dk_vf_min(a, b)), zero))) {
            dk_vf logs = mix_logs(a, b, log_keep, log_take);
            both = last ? logs : dk_vf_select(dk_vf_less(logs, far), logs, dk_vf_exp(logs));
        } else if (last) {
            both = dk_vf_log(both);
        }
        dk_vf_give(sum + i, both, n - i);
    }
}

static void mix(float *sum, const float *share, int64_t n, double keep, double take)
{
    mix_row(sum, share, n, keep, take, 0);
}

static void mix_last(float *sum, const float *share, int64_t n, double keep, double take)
{
    mix_row(sum, share, n, keep, take, 1);
}

static void add(float *sum, const float *z, int64_t n, float top, float keep, float take)
{
    const dk_vf kept = dk_vf_set(keep), taken = dk_vf_set(take), zero = dk_vf_set(0), high = dk_vf_set(top);
    for (int64_t i = 0; i < n; i += DK_VF) { /* 0 times -inf is no part of a product */
        dk_vf a = keep > 0 ? dk_vf_take(sum + i, n - i, 0) * kept : zero;
        dk_vf b = take > 0 ? (dk_vf_take(z + i, n - i, 0) - high) * taken : zero;
        dk_vf_give(sum + i, a + b, n - i);
    }
}

static void scale(const float *z, float *out, int64_t n, float top, float inverse)
{
    const dk_vf high = dk_vf_set(top), by = dk_vf_set(inverse);
    for (int64_t i = 0; i < n; i += DK_VF) dk_vf_give(out + i, (dk_vf_take(z + i, n - i, 0) - high) * by, n - i);
}

extern const di_blend_rows DK_VARIANT(di_blend_rows);
const di_blend_rows DK_VARIANT(di_blend_rows) = {mass, highest, sums, rest, shares, mix, mix_last, add, scale};
