/* disagree.c - the contexts in which student and teacher differ most, with what both expected there. */
#include <math.h>
#include <string.h>

#include "evaluate/detail.h"

/* ---- the likeliest of a row ---- */

typedef struct spread { /* of logits: q = exp(z * factor - shift) */
    const float *z;
    double factor, shift;
} spread;

static spread spread_of(const float *z, int64_t vocab, double temperature)
{
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocab; v++)
        if ((double)z[v] > top) top = (double)z[v];
    for (int64_t v = 0; v < vocab; v++) sum += exp(((double)z[v] - top) / temperature);
    return (spread){z, 1 / temperature, top / temperature + log(sum)};
}

static double probability(const spread *s, int64_t id) { return exp((double)s->z[id] * s->factor - s->shift); }

/* value(j), j < count: the ids of the DI_LIKELY largest, falling; -1 behind them */
static void insert(int32_t *ids, double *values, int32_t id, double value)
{
    int64_t at = DI_LIKELY;
    while (at > 0 && (ids[at - 1] < 0 || value > values[at - 1])) at--;
    for (int64_t i = DI_LIKELY - 1; i > at; i--) {
        ids[i] = ids[i - 1];
        values[i] = values[i - 1];
    }
    if (at == DI_LIKELY) return;
    ids[at] = id;
    values[at] = value;
}

static void clear(int32_t *ids, double *values)
{
    for (int64_t i = 0; i < DI_LIKELY; i++) {
        ids[i] = -1;
        values[i] = -INFINITY;
    }
}

static void likely(const float *z, int64_t vocab, int32_t *ids)
{
    double values[DI_LIKELY];
    clear(ids, values);
    for (int64_t v = 0; v < vocab; v++)
        if ((double)z[v] > values[DI_LIKELY - 1]) insert(ids, values, (int32_t)v, (double)z[v]);
}

/* ---- what a teacher says of a row ---- */

typedef struct said {
    const di_measure *strip;
    int64_t row;
    spread dense;
} said;

static int64_t listed(const distill_target *target) { return target->ids->ndim == 2 ? target->ids->shape[1] : 1; }

/* -1 = it does not say */
static double teacher_probability(const said *s, int32_t id)
{
    const distill_target *target = s->strip->target;
    if (!target) return probability(&s->dense, id);
    const int64_t k = listed(target);
    const int32_t *ids = (const int32_t *)target->ids->data + s->row * k;
    const float *log_p = target->values ? (const float *)target->values->data + s->row * k : NULL;
    if (target->kind == DISTILL_ONE_HOT) return ids[0] == id ? 1 : 0;
    for (int64_t j = 0; log_p && j < k; j++)
        if (ids[j] == id) return exp((double)log_p[j]);
    return -1;
}

static void teacher_likely(const said *s, int32_t *out)
{
    const distill_target *target = s->strip->target;
    double values[DI_LIKELY];
    if (!target) {
        likely(s->dense.z, s->strip->vocab, out);
        return;
    }
    const int64_t k = listed(target);
    const int32_t *ids = (const int32_t *)target->ids->data + s->row * k;
    clear(out, values);
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) insert(out, values, ids[j], teacher_probability(s, ids[j]));
}

/* ---- the list ---- */

static void add_ids(di_disagreement *to, const int32_t *ids)
{
    for (int64_t i = 0; i < DI_LIKELY; i++) {
        int32_t there = ids[i] < 0;
        for (int32_t j = 0; j < to->count && !there; j++) there = to->ids[j] == ids[i];
        if (!there) to->ids[to->count++] = ids[i];
    }
}

static void fill(di_disagreement *to, const di_detail_row *row)
{
    const di_measure *strip = row->strip;
    const float *z = strip->student + row->row * strip->student_stride;
    const spread student = spread_of(z, strip->vocab, strip->temperature);
    said teacher = {strip, row->row, {0}};
    int32_t ids[DI_LIKELY];
    if (strip->teacher)
        teacher.dense = spread_of(strip->teacher + row->row * strip->teacher_stride, strip->vocab, strip->temperature);
    memset(to, 0, sizeof *to);
    to->kl = row->measured->kl;
    to->window = row->window;
    to->position = row->position;
    to->label = strip->labels[row->row];
    to->context_count = (int32_t)(row->position < DI_CONTEXT ? row->position : DI_CONTEXT);
    memcpy(to->context, row->ids + row->position - to->context_count, (size_t)to->context_count * sizeof *row->ids);
    teacher_likely(&teacher, ids);
    add_ids(to, ids);
    likely(z, strip->vocab, ids);
    add_ids(to, ids);
    for (int32_t i = 0; i < to->count; i++) {
        to->p[i] = teacher_probability(&teacher, to->ids[i]);
        to->q[i] = probability(&student, to->ids[i]);
    }
    to->label_p = teacher_probability(&teacher, to->label);
    to->label_q = probability(&student, to->label);
}

static void drop(di_disagreements *found, int64_t at)
{
    memmove(found->items + at, found->items + at + 1, (size_t)(found->count - at - 1) * sizeof *found->items);
    found->count--;
}

/* Where a distance in that window goes; NULL = it is none of the largest. Of equal ones the earlier window is before
 * the later, in whatever order they come. */
static di_disagreement *place_for(di_disagreements *found, double kl, int64_t window)
{
    int64_t at = 0, same = -1;
    for (int64_t i = 0; i < found->count; i++)
        if (found->items[i].window == window) same = i;
    if (same >= 0 && !(kl > found->items[same].kl)) return NULL;
    if (same >= 0) drop(found, same);
    while (at < found->count &&
           (found->items[at].kl > kl || (!(found->items[at].kl < kl) && found->items[at].window < window)))
        at++;
    if (at == DI_DISAGREEMENTS) return NULL;
    if (found->count == DI_DISAGREEMENTS) found->count--;
    memmove(found->items + at + 1, found->items + at, (size_t)(found->count - at) * sizeof *found->items);
    found->count++;
    return &found->items[at];
}

void di_disagreements_add(di_disagreements *found, const di_detail_row *row)
{
    di_disagreement *to = place_for(found, row->measured->kl, row->window);
    if (to) fill(to, row);
}

void di_disagreements_take(di_disagreements *found, const di_disagreement *one)
{
    di_disagreement *to = place_for(found, one->kl, one->window);
    if (to) *to = *one;
}

/* ---- JSON ---- */

static int32_t spell(const dk_tokenizer *tokenizer, const int32_t *ids, int64_t count, dk_strbuf *out, dk_error *err)
{
    dk_strbuf text;
    int32_t rc = DK_OK;
    dk_strbuf_init(&text, out->host);
    if (tokenizer && dk_tokenizer_decode_to(tokenizer, ids, count, 0, &text, err) != DK_OK) {
        dk_strbuf_clear(&text); /* an id of the model without a token: as a number */
        tokenizer = NULL;
    }
    for (int64_t i = 0; !tokenizer && i < count; i++) dk_strbuf_printf(&text, "%s#%d", i ? " " : "", (int)ids[i]);
    dk_strbuf_json(out, text.data ? text.data : "", text.size);
    rc = dk_strbuf_check(&text, err);
    dk_strbuf_free(&text);
    return rc;
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value) && value >= 0) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static int32_t token_json(const dk_tokenizer *tokenizer, int32_t id, double p, double q, dk_strbuf *out, dk_error *err)
{
    int32_t rc;
    dk_strbuf_printf(out, "{\"id\":%d,\"text\":", (int)id);
    DK_TRY(spell(tokenizer, &id, 1, out, err));
    number(out, "teacher", p);
    number(out, "student", q);
    dk_strbuf_puts(out, "}");
out:
    return rc;
}

static int32_t item_json(const di_disagreement *d, const dk_tokenizer *tokenizer, dk_strbuf *out, dk_error *err)
{
    int32_t rc;
    dk_strbuf_printf(out, "{\"window\":%lld,\"position\":%lld,\"forward_kl\":", (long long)d->window,
                     (long long)d->position);
    dk_strbuf_f64(out, d->kl);
    dk_strbuf_printf(out, ",\"from_start\":%s,\"context\":", d->context_count == d->position ? "true" : "false");
    DK_TRY(spell(tokenizer, d->context, d->context_count, out, err));
    dk_strbuf_puts(out, ",\"label\":");
    DK_TRY(token_json(tokenizer, d->label, d->label_p, d->label_q, out, err));
    dk_strbuf_puts(out, ",\"tokens\":[");
    for (int32_t i = 0; i < d->count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        DK_TRY(token_json(tokenizer, d->ids[i], d->p[i], d->q[i], out, err));
    }
    dk_strbuf_puts(out, "]}");
out:
    return rc;
}

int32_t di_disagreements_json(const di_disagreements *found, const dk_tokenizer *tokenizer, dk_strbuf *out,
                              dk_error *err)
{
    int32_t rc = DK_OK;
    dk_strbuf_puts(out, ",\"disagreements\":[");
    for (int64_t i = 0; i < found->count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        DK_TRY(item_json(&found->items[i], tokenizer, out, err));
    }
    dk_strbuf_puts(out, "]");
out:
    return rc;
}
