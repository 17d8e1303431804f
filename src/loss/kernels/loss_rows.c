#include "loss/kernels/loss_rows.h"

static float highest(const float *x, int64_t n)
{
    dk_vf top = dk_vf_set(-INFINITY);
    DI_VECTORS(0, n) top = dk_vf_max(top, di_load(x + i, lanes, -INFINITY));
    return dk_vf_highest(top);
}

/* Highest and lowest of a block. */
static void find_ends(const float *z, int64_t n, float *top, float *low)
{
    dk_vf high = dk_vf_set(-INFINITY), least = dk_vf_set(INFINITY);
    DI_VECTORS(0, n)
    {
        high = dk_vf_max(high, di_load(z + i, lanes, -INFINITY));
        least = dk_vf_min(least, di_load(z + i, lanes, INFINITY));
    }
    *top = dk_vf_highest(high);
    *low = -dk_vf_highest(dk_vf_set(0) - least);
}

/* Adds up exp((z - top)*factor) of a block; those at the top are counted, not added: 1 + 1e-9 is 1 in a float. NaN
 * comes out as NaN. */
static double sum_below(const float *z, int64_t n, const di_logits *logits, double *at_top)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1);
    dk_vf sum = zero, count = zero;
    DI_VECTORS(0, n)
    {
        dk_vf u = di_shifted(di_load(z + i, lanes, -INFINITY), logits);
        dk_vm is_below = dk_vf_less(u, zero);
        sum = sum + dk_vf_select(is_below, dk_vf_exp(u), u);
        count = count + dk_vf_select(is_below, zero, one);
    }
    *at_top += (double)dk_vf_sum(count);
    return (double)dk_vf_sum(sum);
}

/* Reads the row once: where a block has a higher top, the sum so far is brought to it. */
static void log_sum_of(const float *z, int64_t n, double divisor, int32_t doubles, di_logits *out)
{
    double below = 0, tops = 0;
    float top, low;
    *out = (di_logits){.z = z, .factor = 1 / divisor, .top = -INFINITY, .low = INFINITY};
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        const int64_t count = di_block_end(begin, n) - begin;
        find_ends(z + begin, count, &top, &low);
        if (low < out->low) out->low = low;
        if (top == -INFINITY && out->top == -INFINITY) top = highest(z, n);
        if (top > out->top) {
            below = (below + tops) * exp(((double)out->top - (double)top) * out->factor);
            tops = 0;
            out->top = top;
            out->top_at = begin;
        }
        below += doubles ? di_sum_below(z + begin, count, out->top, out->factor, &tops)
                         : sum_below(z + begin, count, out, &tops);
    }
    out->log_sum = log1p(tops - 1 + below);
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

static void backward(const di_logits *q, const float *h, int64_t n, double sum, float a, const float *add, float *out)
{
    const dk_vf share = dk_vf_set((float)(-sum * exp(-q->log_sum))), factor = dk_vf_set(a);
    DI_VECTORS(0, n)
    {
        dk_vf u = dk_vf_fma(dk_vf_exp(di_shifted(di_load(q->z + i, lanes, 0), q)), share, di_load(h + i, lanes, 0));
        dk_vf more = add ? di_load(add + i, lanes, 0) : dk_vf_set(0);
        di_store(out + i, dk_vf_fma(factor, u, more), lanes);
    }
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

static void scale_add(const float *h, int64_t n, float a, const float *add, float *out)
{
    DI_VECTORS(0, n)
    {
        dk_vf more = add ? di_load(add + i, lanes, 0) : dk_vf_set(0);
        di_store(out + i, dk_vf_fma(dk_vf_set(a), di_load(h + i, lanes, 0), more), lanes);
    }
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
