#include "evaluate/detail_parts.h"

#include <math.h>
#include <string.h>

int32_t di_detail_create(dk_host *host, di_dataset *data, int64_t vocab, dk_tokenizer *tokenizer, di_detail **out,
                         dk_error *err)
{
    di_detail *detail = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &detail, err));
    detail->host = host;
    detail->tokenizer = tokenizer ? dk_tokenizer_retain(tokenizer) : NULL;
    detail->vocab = vocab;
    DK_TRY(di_dataset_get_i64(data, "windows", &detail->windows, err));
    detail->blocks = detail->windows < DI_BLOCKS ? detail->windows : DI_BLOCKS;
    DK_TRY(dk_new(host, vocab, &detail->counts, err));
    DK_TRY(di_count_labels(host, data, vocab, detail->counts, err));
    *out = detail;
    return DK_OK;
out:
    di_detail_free(detail);
    return rc;
}

void di_detail_free(di_detail *detail)
{
    if (!detail) return;
    dk_tokenizer_release(detail->tokenizer);
    dk_free(detail->host, detail->counts);
    dk_free(detail->host, detail);
}

void di_detail_begin(di_detail *detail, int32_t has_teacher, int32_t teacher_kind)
{
    detail->has_teacher = has_teacher;
    detail->dense = has_teacher && teacher_kind == DISTILL_DENSE;
    detail->has_kl = has_teacher && teacher_kind != DISTILL_SAMPLED;
    memset(&detail->tally, 0, sizeof detail->tally);
}

static void add(di_sums *to, const di_measured *row)
{
    to->tokens++;
    to->nats += row->nats;
    to->teacher_nats += row->teacher_nats;
    to->kl += row->kl;
}

void di_detail_add(di_detail *detail, const di_detail_row *row)
{
    const int32_t label = row->strip->labels[row->row];
    const int64_t count = label >= 0 && label < detail->vocab ? detail->counts[label] : 1;
    const int64_t block = detail->windows ? row->window * detail->blocks / detail->windows : 0;
    add(&detail->tally.position[di_position_bucket(row->position)], row->measured);
    add(&detail->tally.frequency[di_frequency_bucket(count)], row->measured);
    if (block >= 0 && block < detail->blocks) add(&detail->tally.block[block], row->measured);
    if (detail->has_kl) di_disagreements_add(&detail->tally.found, row);
}

/* ---- JSON ---- */

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

typedef void (*bounds_fn)(int64_t bucket, int64_t *from, int64_t *to);

static void buckets_json(const di_detail *detail, const char *name, const di_sums *sums, int64_t count,
                         bounds_fn bounds, dk_strbuf *out)
{
    int64_t from, to;
    int32_t some = 0;
    dk_strbuf_printf(out, ",\"%s\":[", name);
    for (int64_t i = 0; i < count; i++) {
        const double tokens = (double)sums[i].tokens;
        if (!sums[i].tokens) continue;
        bounds(i, &from, &to);
        dk_strbuf_printf(out, "%s{\"from\":%lld,\"to\":", some++ ? "," : "", (long long)from);
        if (to < 0) dk_strbuf_puts(out, "null");
        else dk_strbuf_printf(out, "%lld", (long long)to);
        dk_strbuf_printf(out, ",\"tokens\":%lld", (long long)sums[i].tokens);
        number(out, "nats", sums[i].nats / tokens);
        if (detail->dense) number(out, "teacher_nats", sums[i].teacher_nats / tokens);
        if (detail->has_kl) number(out, "forward_kl", sums[i].kl / tokens);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "]");
}

static void block_values(const di_detail *detail, const char *name, size_t offset, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\"%s\":[", name);
    for (int64_t i = 0; i < detail->blocks; i++) {
        double value;
        memcpy(&value, (const char *)&detail->tally.block[i] + offset, sizeof value);
        if (i) dk_strbuf_puts(out, ",");
        if (isfinite(value)) dk_strbuf_f64(out, value);
        else dk_strbuf_puts(out, "null");
    }
    dk_strbuf_puts(out, "]");
}

/* Sums over the tokens of each block. */
static void blocks_json(const di_detail *detail, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\"blocks\":{\"windows\":%lld,\"tokens\":[", (long long)detail->windows);
    for (int64_t i = 0; i < detail->blocks; i++)
        dk_strbuf_printf(out, "%s%lld", i ? "," : "", (long long)detail->tally.block[i].tokens);
    dk_strbuf_puts(out, "]");
    block_values(detail, "nats", offsetof(di_sums, nats), out);
    if (detail->dense) block_values(detail, "teacher_nats", offsetof(di_sums, teacher_nats), out);
    if (detail->has_kl) block_values(detail, "forward_kl", offsetof(di_sums, kl), out);
    dk_strbuf_puts(out, "}");
}

int32_t di_detail_json(const di_detail *detail, dk_strbuf *out, dk_error *err)
{
    int32_t rc = DK_OK;
    buckets_json(detail, "by_position", detail->tally.position, DI_POSITIONS, di_position_bounds, out);
    buckets_json(detail, "by_frequency", detail->tally.frequency, DI_FREQUENCIES, di_frequency_bounds, out);
    if (detail->has_kl) DK_TRY(di_disagreements_json(&detail->tally.found, detail->tokenizer, out, err));
    blocks_json(detail, out);
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}
