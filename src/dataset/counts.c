#include "dataset/counts.h"

void di_counts_add(di_counts *to, const di_counts *from)
{
    to->samples += from->samples;
    to->skipped += from->skipped;
    to->truncated += from->truncated;
    to->split += from->split;
    to->no_labels += from->no_labels;
    to->lost_labels += from->lost_labels;
    to->lost_tokens += from->lost_tokens;
    to->lost_learnt += from->lost_learnt;
    to->dropped += from->dropped;
    to->pairs += from->pairs;
    to->tokens += from->tokens;
    to->learnt += from->learnt;
    if (from->max_length > to->max_length) to->max_length = from->max_length;
}

static void add(dk_strbuf *out, int64_t count, const char *what)
{
    if (count) dk_strbuf_printf(out, "%s%lld %s", out->size ? ", " : "", (long long)count, what);
}

void di_counts_tell(const di_counts *counts, int64_t windows, int64_t length, dk_host *host, const char *name)
{
    int64_t lost = counts->skipped + counts->no_labels;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    add(&text, counts->pairs, "pairs of chosen and rejected");
    add(&text, counts->skipped, "skipped as too long");
    add(&text, counts->no_labels - counts->lost_labels, "without a token to learn");
    add(&text, counts->lost_labels, "that lost all that is to be learnt when they were truncated");
    add(&text, counts->truncated, "truncated");
    add(&text, counts->split, "cut into several windows");
    add(&text, counts->lost_tokens, "tokens gone");
    add(&text, counts->lost_learnt, "of these to be learnt");
    const char *more = text.data ? text.data : "";
    if (lost || counts->truncated)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: of %lld samples %lld are learnt from (data.sequence_length is %lld): %s", name,
               (long long)counts->samples, (long long)(counts->samples - lost), (long long)length, more);
    else
        dk_log(host, DK_LOG_INFO, "dataset", "%s: %lld samples, %lld windows, %lld tokens, %lld of them learnt%s%s",
               name, (long long)counts->samples, (long long)windows, (long long)counts->tokens,
               (long long)counts->learnt, *more ? "; " : "", more);
    dk_strbuf_free(&text);
}

void di_counts_json(const di_counts *counts, dk_strbuf *out)
{
    dk_strbuf_printf(
        out,
        "\"samples\":%lld,\"tokens\":%lld,\"learnt\":%lld,\"skipped\":{\"too_long\":%lld},\"truncated\":%lld,"
        "\"split\":%lld,\"no_labels\":%lld,\"lost_labels\":%lld,\"lost_tokens\":%lld,\"lost_learnt\":%lld",
        (long long)counts->samples, (long long)counts->tokens, (long long)counts->learnt, (long long)counts->skipped,
        (long long)counts->truncated, (long long)counts->split, (long long)counts->no_labels,
        (long long)counts->lost_labels, (long long)counts->lost_tokens, (long long)counts->lost_learnt);
    if (counts->pairs) dk_strbuf_printf(out, ",\"pairs\":%lld", (long long)counts->pairs);
}

int32_t di_counts_fail(const di_counts *counts, int64_t length, const char *name, dk_error *err)
{
    if (!counts->samples)
        return dk_fail(err, DK_E_INVALID, "no sample with a token to learn in %s: it has no sample at all", name);
    return dk_fail(
        err, DK_E_INVALID,
        "no sample with a token to learn in %s: of %lld samples, %lld are longer than data.sequence_length %lld "
        "and skipped, %lld lost all that is to be learnt when they were truncated to it, %lld have nothing to "
        "learn",
        name, (long long)counts->samples, (long long)counts->skipped, (long long)length, (long long)counts->lost_labels,
        (long long)(counts->no_labels - counts->lost_labels));
}
