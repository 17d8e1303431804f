#include "loss/kernels/loss_rows.h"

static float highest(const float *x, int64_t n)
{
    dk_vf top = dk_vf_set(-INFINITY);
    DI_VECTORS(0, n) top = dk_vf_max(top, di_load(x + i, lanes, -INFINITY));
    return dk_vf_highest(top);
}

typedef struct di_ends { /* of a block */
    dk_vf top, low;
} di_ends;

static inline void no_ends(di_ends *ends) { *ends = (di_ends){dk_vf_set(-INFINITY), dk_vf_set(INFINITY)}; }

static inline void widen_ends(di_ends *ends, const float *z, int64_t lanes)
{
    ends->top = dk_vf_max(ends->top, di_load(z, lanes, -INFINITY));
    ends->low = dk_vf_min(ends->low, di_load(z, lanes, INFINITY));
}

typedef struct di_below {
    dk_vf sum, count;
} di_below;

/* Adds up exp((z - top)*factor); those at the top are counted, not added: 1 + 1e-9 is 1 in a float. NaN comes out as
 * NaN. */
static inline void add_below(di_below *below, const float *z, int64_t lanes, const di_logits *logits, float *masses)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1);
    const dk_vf u = di_shifted(di_load(z, lanes, -INFINITY), logits);
    const dk_vm is_below = dk_vf_less(u, zero);
    const dk_vf mass = dk_vf_exp_down(u);
    if (masses) di_store(masses, mass, lanes);
    below->sum = below->sum + dk_vf_select(is_below, mass, u);
    below->count = below->count + dk_vf_select(is_below, zero, one);
}

/* Of a whole block that lies below the top, and not too far, while the ends of the next one, of `next` whole vectors,
 * are found: the processor fetches that one as it adds up this one, and `ahead` of another row. */
static inline dk_vf sum_mild(const float *z, int64_t next, const di_logits *logits, const float *ahead,
                             const float *into, di_ends *ends, float *masses)
{
    const dk_vf top = dk_vf_set(logits->top), factor = dk_vf_set((float)logits->factor),
                base2 = dk_vf_set((float)(logits->factor * 1.4426950408889634));
    dk_vf sum = dk_vf_set(0);
    int64_t i = 0;
    for (; i < next; i += DK_VF) {
        DI_FETCH(ahead + i / 2, 0);
        if (into) DI_FETCH(into + i, 1);
        const dk_vf mass = di_exp_below(dk_vf_load(z + i) - top, factor, base2);
        widen_ends(ends, z + DI_BLOCK + i, DK_VF);
        if (masses) dk_vf_store(masses + i, mass);
        sum = sum + mass;
    }
    for (; i < DI_BLOCK; i += DK_VF) {
        const dk_vf mass = di_exp_below(dk_vf_load(z + i) - top, factor, base2);
        if (masses) dk_vf_store(masses + i, mass);
        sum = sum + mass;
    }
    return sum;
}

static di_below sum_any(const float *z, int64_t n, int64_t next, const di_logits *logits, const float *ahead,
                        di_ends *ends, float *masses)
{
    di_below below = {dk_vf_set(0), dk_vf_set(0)};
    for (int64_t i = 0; i < next; i += DK_VF) {
        DI_FETCH(ahead + i / 2, 0);
        widen_ends(ends, z + n + i, DK_VF);
        add_below(&below, z + i, DK_VF, logits, masses ? masses + i : NULL);
    }
    DI_VECTORS(next, n) add_below(&below, z + i, lanes, logits, masses ? masses + i : NULL);
    return below;
}

typedef struct di_fetching { /* what a block asks memory for */
    const float *ahead, *into;
} di_fetching;

static inline di_fetching fetching(const float *z, const di_logits *logits)
{
    return (di_fetching){(logits->next ? logits->next : logits->z) + (z - logits->z) / 2,
                         logits->into ? logits->into + (z - logits->z) : NULL};
}

/* A whole block below the top, no logit of it further than e^farthest. */
static inline int32_t is_mild(int64_t n, const di_logits *logits, const di_ends *ends, double farthest)
{
    const float low = -dk_vf_highest(dk_vf_set(0) - ends->low), top = dk_vf_highest(ends->top);
    return n == DI_BLOCK && top < logits->top && ((double)low - (double)logits->top) * logits->factor > farthest;
}

static double sum_below(const float *z, int64_t n, int64_t next, const di_logits *logits, di_ends *ends, double *at_top,
                        float *masses)
{
    const int64_t whole = next - next % DK_VF;
    const int32_t mild = is_mild(n, logits, ends, -103);
    const di_fetching to = fetching(z, logits);
    di_below below = {dk_vf_set(0), dk_vf_set(0)};
    no_ends(ends);
    if (mild && !masses) below.sum = sum_mild(z, whole, logits, to.ahead, to.into, ends, NULL);
    else if (mild && to.into) below.sum = sum_mild(z, whole, logits, to.ahead, to.into, ends, masses);
    else if (mild) below.sum = sum_mild(z, whole, logits, to.ahead, NULL, ends, masses);
    else below = sum_any(z, n, whole, logits, to.ahead, ends, masses);
    DI_VECTORS(whole, next) widen_ends(ends, z + n + i, lanes);
    *at_top += (double)dk_vf_sum(below.count);
    return (double)dk_vf_sum(below.sum);
}

/* exp(below*factor) of a logit not more than e^700 below the top; base2 is factor*log2(e). */
static inline dk_vd exp_below_double(dk_vd below, dk_vd factor, dk_vd base2)
{
#ifdef DK_VD_ROOTS
    const dk_vd shift = dk_vd_set(0x1.8p48), scaled = dk_vd_fma(below, base2, shift), n = scaled - shift;
    (void)factor;
    return dk_vd_exp2_of(scaled, n, dk_vd_fma(below, base2, dk_vd_set(0) - n));
#else
    (void)base2;
    return dk_vd_exp_mild(below * factor);
#endif
}

static double sum_mild_double(const float *z, const di_logits *logits)
{
    const di_fetching to = fetching(z, logits);
    const dk_vd top = dk_vd_set((double)logits->top), factor = dk_vd_set(logits->factor),
                base2 = dk_vd_set(logits->factor * 1.4426950408889634);
    dk_vd sum = dk_vd_set(0), other = sum;
    for (int64_t i = 0; i < DI_BLOCK; i += 2 * DK_VD) {
        DI_FETCH(to.ahead + i / 2, 0);
        if (to.into) DI_FETCH(to.into + i, 1);
        sum = sum + exp_below_double(dk_vd_take(z + i, DK_VD, 0) - top, factor, base2);
        other = other + exp_below_double(dk_vd_take(z + i + DK_VD, DK_VD, 0) - top, factor, base2);
    }
    return dk_vd_sum(sum + other);
}

static double sum_below_double(const float *z, int64_t n, int64_t next, const di_logits *logits, di_ends *ends,
                               double *at_top)
{
    const int32_t mild = is_mild(n, logits, ends, -700);
    no_ends(ends);
    DI_VECTORS(n, n + next) widen_ends(ends, z + i, lanes);
    return mild ? sum_mild_double(z, logits) : di_sum_below(z, n, logits->top, logits->factor, at_top);
}

/* Reads the row once: where a block has a higher top, the sum so far is brought to it. */
static inline void log_sum_of(const float *z, int64_t n, double divisor, int32_t doubles, di_logits *out)
{
    float *masses = doubles ? NULL : out->masses, *scales = out->scales;
    double below = 0, tops = 0;
    di_ends ends;
    out->z = z;
    out->factor = 1 / divisor;
    out->top = -INFINITY;
    out->low = INFINITY;
    out->top_at = 0;
    out->masses = masses;
    out->fetched = n / 2;
    no_ends(&ends);
    DI_VECTORS(0, di_block_end(0, n)) widen_ends(&ends, z + i, lanes);
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        const int64_t end = di_block_end(begin, n), count = end - begin, next = di_block_end(end, n) - end;
        const float low = -dk_vf_highest(dk_vf_set(0) - ends.low);
        float top = dk_vf_highest(ends.top);
        if (low < out->low) out->low = low;
        if (top == -INFINITY && out->top == -INFINITY) top = highest(z, n);
        if (top > out->top) {
            below = (below + tops) * exp(((double)out->top - (double)top) * out->factor);
            tops = 0;
            out->top = top;
            out->top_at = begin;
        }
        if (masses) scales[begin / DI_BLOCK] = out->top;
        below += doubles ? sum_below_double(z + begin, count, next, out, &ends, &tops)
                         : sum_below(z + begin, count, next, out, &ends, &tops, masses ? masses + begin : NULL);
    }
    out->log_sum = log1p(tops - 1 + below);
    for (int64_t b = 0; masses && b * DI_BLOCK < n; b++)
        scales[b] = (float)exp(((double)scales[b] - (double)out->top) * out->factor - out->log_sum);
}

static void log_sum(const float *z, int64_t n, double divisor, di_logits *out) { log_sum_of(z, n, divisor, 0, out); }

static void log_sum_double(const float *z, int64_t n, double divisor, di_logits *out)
{
    log_sum_of(z, n, divisor, 1, out);
}

static void log_softmax(const di_logits *logits, int64_t n, float *out)
{
    const dk_vf sum = dk_vf_set((float)logits->log_sum);
    DI_VECTORS(0, n) di_store(out + i, di_shifted(di_load(logits->z + i, lanes, 0), logits) - sum, lanes);
}

static int64_t raise_to(float *x, int64_t n, float floor)
{
    const dk_vf low = dk_vf_set(floor), one = dk_vf_set(1), zero = dk_vf_set(0);
    int64_t count = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf raised = zero;
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            dk_vf v = di_load(x + i, lanes, 0);
            dk_vm below = dk_vf_less(v, low);
            raised = raised + dk_vf_select(below, one, zero);
            di_store(x + i, dk_vf_select(below, low, v), lanes);
        }
        count += (int64_t)dk_vf_sum(raised);
    }
    return count;
}

static void axpy(float a, const float *x, float *y, int64_t n)
{
    DI_VECTORS(0, n)
    di_store(y + i, dk_vf_fma(dk_vf_set(a), di_load(x + i, lanes, 0), di_load(y + i, lanes, 0)), lanes);
}

/* In doubles: floats that are all alike round the same way every time. */
static double sum_of(const float *x, int64_t n)
{
    dk_vd sum = dk_vd_set(0);
    for (int64_t i = 0; i < n; i += DK_VD) sum = sum + dk_vd_take(x + i, n - i < DK_VD ? n - i : DK_VD, 0);
    return dk_vd_sum(sum);
}

static inline void give(float *out, dk_vf v, int64_t lanes, int32_t past)
{
    if (past && lanes == DK_VF) dk_vf_store_past(out, v);
    else di_store(out, v, lanes);
}

static double squares(const di_logits *q, const float *h, int64_t n, double sum)
{
    const dk_vf share = dk_vf_set(q ? (float)(-sum * exp(-q->log_sum)) : 0);
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf block = dk_vf_set(0);
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            dk_vf u = di_load(h + i, lanes, 0);
            if (q) u = dk_vf_fma(dk_vf_exp(di_shifted(di_load(q->z + i, lanes, -INFINITY), q)), share, u);
            block = dk_vf_fma(u, u, block);
        }
        total += (double)dk_vf_sum(block);
    }
    return total;
}

static int32_t backward(const di_logits *q, const float *h, int64_t n, double sum, float a, const float *add,
                        float *out, int32_t past)
{
    const dk_vf share = dk_vf_set((float)-sum), one_q = dk_vf_set((float)exp(-q->log_sum)), factor = dk_vf_set(a);
    const float *rest = di_rest_of(q);
    dk_vf seen = dk_vf_set(0); /* 0*x is NaN for infinity and NaN */
    DI_VECTORS(0, n)
    {
        DI_FETCH(rest + i / 2, 0);
        dk_vf u = dk_vf_fma(di_mass_at(q, i, lanes, one_q), share, di_load(h + i, lanes, 0));
        dk_vf more = add ? di_load(add + i, lanes, 0) : dk_vf_set(0);
        u = dk_vf_fma(factor, u, more);
        seen = dk_vf_fma(u, dk_vf_set(0), seen);
        give(out + i, u, lanes, past);
    }
    if (past) dk_store_fence();
    return dk_vf_sum(seen) == 0;
}

static int32_t scale_add(const float *h, int64_t n, float a, const float *add, float *out, int32_t past)
{
    dk_vf seen = dk_vf_set(0);
    DI_VECTORS(0, n)
    {
        dk_vf more = add ? di_load(add + i, lanes, 0) : dk_vf_set(0);
        more = dk_vf_fma(dk_vf_set(a), di_load(h + i, lanes, 0), more);
        seen = dk_vf_fma(more, dk_vf_set(0), seen);
        give(out + i, more, lanes, past);
    }
    if (past) dk_store_fence();
    return dk_vf_sum(seen) == 0;
}

static int32_t all_finite(const float *x, int64_t n)
{
    dk_vf sum = dk_vf_set(0); /* 0*x is NaN for infinity and NaN */
    DI_VECTORS(0, n) sum = sum + di_load(x + i, lanes, 0) * dk_vf_set(0);
    return dk_vf_sum(sum) == 0;
}

static void halve(const float *x, int64_t n, uint16_t *out)
{
    int64_t i = 0;
#if DK_VF > 1
    typedef uint16_t halves __attribute__((vector_size(2 * DK_VF)));
    for (; i + DK_VF <= n; i += DK_VF) {
        const halves narrow = __builtin_convertvector(dk_vf_round_bf16(dk_vf_load(x + i)) >> 16, halves);
        memcpy(out + i, &narrow, sizeof narrow);
    }
#endif
    for (; i < n; i++) out[i] = dk_narrow_bf16(x[i]);
}

const di_rows DK_VARIANT(di_rows) = {log_sum,  log_sum_double, log_softmax, raise_to,   axpy, sum_of,
                                     backward, squares,        scale_add,   all_finite, halve};
