/* reference_heads.inc.h - ops over [rows, vocab] strips, and the optimiser. */

static void op_softcap(dk_queue *queue, dk_view z, double scale, double cap)
{
    if (!dk_check_softcap(queue, "softcap", &z, NULL)) return;
    for (int64_t r = 0; r < rows_of(&z); r++) {
        for (int64_t c = 0; c < width_of(&z); c++) {
            REAL s = (REAL)scale * get(&z, r, c);
            put(&z, r, c, cap > 0 ? (REAL)cap * tanh(s / (REAL)cap) : s);
        }
    }
}

static void op_softcap_backward(dk_queue *queue, dk_view z, double scale, double cap, dk_view dz)
{
    if (!dk_check_softcap(queue, "softcap_backward", &z, &dz)) return;
    for (int64_t r = 0; r < rows_of(&z); r++) {
        for (int64_t c = 0; c < width_of(&z); c++) {
            REAL t = cap > 0 ? get(&z, r, c) / (REAL)cap : 0;
            put(&dz, r, c, get(&dz, r, c) * (REAL)scale * (1 - t * t));
        }
    }
}

static void op_log_softmax(dk_queue *queue, dk_view z, int64_t vocab, double temperature, dk_view y)
{
    if (!dk_check_log_softmax(queue, &z, vocab, temperature, &y)) return;
    for (int64_t r = 0; r < rows_of(&z); r++) {
        REAL highest = -(REAL)INFINITY, sum = 0;
        for (int64_t c = 0; c < vocab; c++) highest = fmax(highest, get(&z, r, c));
        for (int64_t c = 0; c < vocab; c++) sum += exp((get(&z, r, c) - highest) / (REAL)temperature);
        for (int64_t c = 0; c < vocab; c++) put(&y, r, c, (get(&z, r, c) - highest) / (REAL)temperature - log(sum));
        for (int64_t c = vocab; c < width_of(&y); c++) put(&y, r, c, -(REAL)INFINITY);
    }
}

static void op_log_softmax_backward(dk_queue *queue, dk_view log_q, int64_t vocab, double temperature, dk_view weights,
                                    dk_view h)
{
    if (!dk_check_log_softmax_backward(queue, &log_q, vocab, temperature, &weights, &h)) return;
    for (int64_t r = 0; r < rows_of(&h); r++) {
        REAL weight = (weights.buffer ? get(&weights, 0, r) : 1) / (REAL)temperature, sum = 0;
        for (int64_t c = 0; c < vocab; c++) sum += get(&h, r, c);
        for (int64_t c = 0; c < vocab; c++) put(&h, r, c, weight * (get(&h, r, c) - exp(get(&log_q, r, c)) * sum));
        for (int64_t c = vocab; c < width_of(&h); c++) put(&h, r, c, 0);
    }
}

/* ---- what a text has already ---- */
static int32_t has_id(const int32_t *ids, int64_t from, int64_t count, int32_t id)
{
    for (int64_t i = from; i < count; i++)
        if (ids[i] == id) return 1;
    return 0;
}

static void op_adjust(dk_queue *queue, const dk_adjust_args *args, dk_view logits, int64_t vocab)
{
    if (!dk_check_adjust(queue, args, &logits, vocab)) return;
    for (int64_t r = 0; r < rows_of(&logits); r++) {
        for (int64_t i = 0; i < args->bias_count; i++)
            if (args->bias_ids[i] < vocab)
                put(&logits, r, args->bias_ids[i], get(&logits, r, args->bias_ids[i]) + (REAL)args->bias[i]);
        for (int32_t id = 0; args->ids && id < vocab; id++) {
            REAL z = get(&logits, r, id), by = (REAL)args->repetition;
            if (!has_id(args->ids[r], 0, args->count[r], id)) continue;
            z = z > 0 ? z / by : z * by;
            if (has_id(args->ids[r], args->own[r], args->count[r], id)) z -= (REAL)args->presence;
            put(&logits, r, id, z);
        }
    }
}

/* ---- sampling: candidates fall by logit, ties by id; top_k cuts first, then top_p of what is left, then
 * min_p ---- */
typedef struct candidate {
    REAL logit;
    int32_t id;
} candidate;

static int falling(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static int32_t draw(const dk_sample_args *args, const candidate *all, int64_t count, uint64_t counter)
{
    REAL highest = all[0].logit, total = 0, kept = 0, sum = 0;
    int64_t keep = args->top_k > 0 && args->top_k < count ? args->top_k : count, last = 0;
    for (int64_t i = 0; i < keep; i++) total += exp((all[i].logit - highest) / (REAL)args->temperature);
    while (last < keep) {
        REAL weight = exp((all[last].logit - highest) / (REAL)args->temperature);
        if (weight < (REAL)args->min_p) break;
        kept += weight;
        last++;
        if (args->top_p < 1 && kept >= (REAL)args->top_p * total) break;
    }
    double point = dk_random_uniform(args->seed, DK_STREAM_SAMPLE, counter) * (double)kept;
    for (int64_t i = 0; i < last; i++) {
        sum += exp((all[i].logit - highest) / (REAL)args->temperature);
        if ((double)sum > point) return all[i].id;
    }
    return all[last - 1].id;
}

static void op_sample(dk_queue *queue, const dk_sample_args *args, dk_view logits, int64_t vocab, dk_view ids)
{
    if (!dk_check_sample(queue, args, &logits, vocab, &ids)) return;
    candidate *all = dk_alloc(queue->backend->host, (uint64_t)vocab, sizeof *all);
    if (!all) {
        dk_queue_fail(queue, DK_E_NOMEM, "sample: no memory for %lld candidates", (long long)vocab);
        return;
    }
    for (int64_t r = 0; r < rows_of(&logits); r++) {
        for (int64_t c = 0; c < vocab; c++) {
            all[c] = (candidate){get(&logits, r, c), (int32_t)c};
            if (isnan(all[c].logit) || all[c].logit == (REAL)INFINITY) {
                dk_queue_fail(queue, DK_E_NUMERIC, "sample: row %lld holds nan or infinity", (long long)r);
                goto out;
            }
        }
        qsort(all, (size_t)vocab, sizeof *all, falling);
        if (all[0].logit == -(REAL)INFINITY) {
            dk_queue_fail(queue, DK_E_NUMERIC, "sample: row %lld has no candidate above -infinity", (long long)r);
            goto out;
        }
        int32_t greedy = args->temperature < DK_TEMPERATURE_MIN;
        *(int32_t *)element(&ids, 0, r) = greedy ? all[0].id : draw(args, all, vocab, args->counters[r]);
    }
out:
    dk_free(queue->backend->host, all);
}

/* ---- optimiser ---- */
static void op_sum_squares(dk_queue *queue, dk_view x, dk_view sum)
{
    if (!dk_check_scalar(queue, "sum_squares", &x, &sum)) return;
    double total = 0;
    for (int64_t r = 0; r < rows_of(&x); r++)
        for (int64_t c = 0; c < width_of(&x); c++) total += (double)get(&x, r, c) * (double)get(&x, r, c);
    *scalar_of(&sum) += total;
}

static void op_clip_factor(dk_queue *queue, dk_view sum, double divisor, double max_norm, dk_view factor, dk_view norm)
{
    if (!dk_check_clip_factor(queue, &sum, &factor, &norm)) return;
    *scalar_of(&norm) = sqrt(*scalar_of(&sum)) / divisor;
    *scalar_of(&factor) = (max_norm > 0 ? fmin(1.0, max_norm / (*scalar_of(&norm) + 1e-6)) : 1.0) / divisor;
}

static void op_adamw(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_view p, dk_view g, dk_view m,
                     dk_view v)
{
    if (!dk_check_adamw(queue, args, &factor, &p, &g, &m, &v)) return;
    REAL by = (REAL)(factor.buffer ? *scalar_of(&factor) : 1);
    REAL beta2 = (REAL)args->beta2, rest1 = (REAL)(1 - args->beta1), rest2 = (REAL)(1 - args->beta2);
    REAL rate = (REAL)(args->learning_rate / (1 - pow(args->beta1, (double)args->step)));
    REAL root = (REAL)sqrt(1 - pow(args->beta2, (double)args->step));
    for (int64_t r = 0; r < rows_of(&p); r++) {
        for (int64_t c = 0; c < width_of(&p); c++) {
            REAL gradient = get(&g, r, c) * by;
            REAL first = get(&m, r, c) + rest1 * (gradient - get(&m, r, c));
            REAL second = beta2 * get(&v, r, c) + rest2 * gradient * gradient;
            REAL decayed = get(&p, r, c) * (REAL)(1 - args->learning_rate * args->weight_decay);
            put(&m, r, c, first);
            put(&v, r, c, second);
            put(&p, r, c, decayed - rate * first / (sqrt(second) / root + (REAL)args->epsilon));
        }
    }
}

static void fill_heads(dk_ops *ops)
{
    ops->softcap = op_softcap;
    ops->softcap_backward = op_softcap_backward;
    ops->log_softmax = op_log_softmax;
    ops->log_softmax_backward = op_log_softmax_backward;
    ops->adjust = op_adjust;
    ops->sample = op_sample;
    ops->sum_squares = op_sum_squares;
    ops->clip_factor = op_clip_factor;
    ops->adamw = op_adamw;
}
