#include "loss/kernels/loss_rows.h"

static float highest(const float *x, int64_t n)
{
    dk_vf top = dk_vf_set(-INFINITY);
    DI_VECTORS(0, n) top = dk_vf_max(top, di_load(x + i, lanes, -INFINITY));
    return dk_vf_highest(top);
}

/* The exponentials at the top are counted, not added: 1 + 1e-9 is 1 in a float. */
static void log_sum(const float *z, int64_t n, double divisor, di_logits *out)
{
    const dk_vf zero = dk_vf_set(0), one = dk_vf_set(1);
    double below = 0, tops = 0;
    out->z = z;
    out->top = highest(z, n);
    out->factor = 1 / divisor;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK) {
        dk_vf sum = zero, count = zero;
        DI_VECTORS(begin, di_block_end(begin, n))
        {
            dk_vf u = di_shifted(di_load(z + i, lanes, -INFINITY), out);
            dk_vm is_below = dk_vf_less(u, zero);
            sum = sum + dk_vf_select(is_below, dk_vf_exp(u), u); /* 0 at the top; NaN stays NaN */
            count = count + dk_vf_select(is_below, zero, one);
        }
        below += (double)dk_vf_sum(sum);
        tops += (double)dk_vf_sum(count);
    }
    out->log_sum = log1p(tops - 1 + below);
}

static void log_sum_double(const float *z, int64_t n, double divisor, di_logits *out)
{
    double below = 0, tops = 0;
    out->z = z;
    out->top = highest(z, n);
    out->factor = 1 / divisor;
    for (int64_t begin = 0; begin < n; begin += DI_BLOCK)
        below += di_sum_below(z + begin, di_block_end(begin, n) - begin, out->top, out->factor, &tops);
    out->log_sum = log1p(tops - 1 + below);
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

static void backward(const float *log_q, const float *h, int64_t n, float a, const float *add, float *out)
{
    const dk_vf sum = dk_vf_set((float)-sum_of(h, n)), factor = dk_vf_set(a);
    DI_VECTORS(0, n)
    {
        dk_vf u = dk_vf_fma(dk_vf_exp(di_load(log_q + i, lanes, 0)), sum, di_load(h + i, lanes, 0));
        dk_vf more = add ? di_load(add + i, lanes, 0) : dk_vf_set(0);
        di_store(out + i, dk_vf_fma(factor, u, more), lanes);
    }
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

const di_rows DK_VARIANT(di_rows) = {log_sum, log_sum_double, log_softmax, raise_to,
                                     axpy,    backward,       scale_add,   all_finite};
