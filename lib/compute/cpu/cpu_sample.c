#include "compute/cpu/cpu.h"

#include <math.h>

#include "base/random.h"
#include "compute/cpu/sample_order.h"

enum { FAILED = -1, SCRATCH = 12 }; /* bytes of scratch for an id: its weight, and its places in the order */

typedef struct sampler {
    dk_queue *queue;
    const dk_sample_args *args;
    dk_rows logits;
    int32_t *ids;
    int64_t step, vocab;
} sampler;

/* weights[i] = exp((z[i] - highest)/T). top_k cuts first, then top_p of what is left, then min_p, whose measure is the
 * likeliest one's weight, 1; then one number decides. */
static int32_t draw(const sampler *s, dk_order *order, const float *weights, uint64_t counter)
{
    const dk_sample_args *args = s->args;
    int64_t keep = args->top_k > 0 && args->top_k < s->vocab ? args->top_k : s->vocab, cut = 0;
    int32_t cuts = args->top_p < 1 || args->min_p > 0;
    double total = 0, kept = 0, sum = 0, uniform = dk_random_uniform(args->seed, DK_STREAM_SAMPLE, counter);
    for (int64_t i = 0; i < keep; i++) total += (double)weights[keep == s->vocab ? i : dk_order_at(order, i)];
    double limit = args->top_p < 1 ? args->top_p * total : INFINITY;
    for (; cuts && cut < keep && kept < limit; cut++) {
        double weight = (double)weights[dk_order_at(order, cut)];
        if (cut > 0 && weight < args->min_p) break;
        kept += weight;
    }
    double point = uniform * (cuts ? kept : total);
    if (cuts) keep = cut;
    for (int64_t i = 0; i < keep; i++) {
        int32_t id = dk_order_at(order, i);
        sum += (double)weights[id];
        if (sum > point) return id;
    }
    return dk_order_at(order, keep - 1); /* rounding left the point behind the last */
}

static int32_t lowest_best(const float *z, int64_t vocab, float highest)
{
    for (int64_t i = 0; i < vocab; i++)
        if (z[i] >= highest) return (int32_t)i;
    return FAILED;
}

static int32_t sample_row(const sampler *s, int64_t r, uint8_t *scratch)
{
    const dk_kernels *kernels = dk_kernels_of(s->queue);
    const float *z = dk_row(&s->logits, r);
    float highest = kernels->highest(z, s->vocab);
    if (!(fabsf(highest) < INFINITY)) return FAILED;
    if (s->args->temperature < DK_TEMPERATURE_MIN) return lowest_best(z, s->vocab, highest);
    float *weights = (float *)(void *)scratch;
    int32_t *ids = (int32_t *)(void *)(weights + s->vocab);
    dk_order order;
    kernels->softmax_weights(z, weights, s->vocab, highest, (float)(1 / s->args->temperature));
    dk_order_open(&order, z, s->vocab, highest, s->args->temperature, ids, ids + s->vocab);
    return draw(s, &order, weights, s->args->counters[r]);
}

static void sample_body(void *context, int64_t begin, int64_t end)
{
    const sampler *s = context;
    dk_scratch *workers = &dk_cpu_of(s->queue)->workers;
    uint8_t *scratch = dk_scratch_take(workers, s->vocab * SCRATCH);
    for (int64_t r = begin; r < end; r++) s->ids[r * s->step] = scratch ? sample_row(s, r, scratch) : INT32_MIN;
    dk_scratch_give(workers, scratch);
}

static void op_sample(dk_queue *queue, const dk_sample_args *args, dk_view logits, int64_t vocab, dk_view ids)
{
    if (!dk_check_sample(queue, args, &logits, vocab, &ids)) return;
    sampler work = {.queue = queue,
                    .args = args,
                    .logits = dk_rows_of(&logits),
                    .ids = dk_buffer_map(ids),
                    .step = ids.stride[0],
                    .vocab = vocab};
    dk_host *host = queue->backend->host;
    int64_t threads = dk_host_threads(host);
    if (!dk_scratch_prepare(&dk_cpu_of(queue)->workers, work.logits.rows < threads ? work.logits.rows : threads,
                            vocab * SCRATCH)) {
        dk_cpu_no_memory(queue, "sample", vocab * SCRATCH);
        return;
    }
    dk_parallel_for(host, work.logits.rows, 1, sample_body, &work);
    for (int64_t r = 0; r < work.logits.rows; r++) {
        int32_t id = work.ids[r * work.step];
        if (id == INT32_MIN) dk_cpu_no_memory(queue, "sample", vocab * SCRATCH);
        if (id == FAILED)
            dk_queue_fail(queue, DK_E_NUMERIC, "sample: row %lld holds nan or infinity, or nothing above -infinity",
                          (long long)r);
    }
}

void dk_cpu_fill_sample(dk_ops *ops) { ops->sample = op_sample; }
