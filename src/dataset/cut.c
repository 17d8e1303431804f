#include "dataset/cut.h"

void di_rules_read(di_rules *rules, const di_options *options)
{
    static const char *const names[] = {"error", "truncate_left", "truncate_right", "skip"};
    rules->length = di_options_i64(options, "data.sequence_length");
    rules->pack = di_options_flag(options, "data.pack");
    rules->shuffle = di_options_flag(options, "data.shuffle");
    rules->too_long = DI_TOO_LONG_RIGHT;
    for (int i = 0; i < 4; i++)
        if (di_options_is(options, "data.too_long", names[i])) rules->too_long = (di_too_long)i;
}

typedef struct cutter { /* of one sample */
    const di_tokens *tokens;
    di_counts *counts;
    di_sequence_fn fn;
    void *user;
    int64_t given; /* sequences */
} cutter;

static int64_t learnt_of(const di_tokens *tokens, int64_t first, int64_t count)
{
    return count > 1 ? di_tokens_count_learnt(tokens, first + 1, count - 1) : 0; /* the first is no label */
}

static int32_t give(cutter *c, int64_t first, int64_t count, dk_error *err)
{
    int64_t learnt = learnt_of(c->tokens, first, count);
    if (!learnt) {
        c->counts->dropped++;
        return DK_OK;
    }
    c->given++;
    c->counts->tokens += count;
    c->counts->learnt += learnt;
    if (count > c->counts->max_length) c->counts->max_length = count;
    return c->fn(c->user, first, count, err);
}

static int32_t split(cutter *c, int64_t first, int64_t count, int64_t length, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t at = 0; at < count; at += length)
        DK_TRY(give(c, first + at, count - at < length ? count - at : length, err));
    c->counts->split += c->given > 0;
out:
    return rc;
}

static void lose(cutter *c, int64_t first, int64_t count)
{
    c->counts->lost_tokens += count;
    c->counts->lost_learnt += di_tokens_count_learnt(c->tokens, first, count);
}

static int32_t truncate(cutter *c, int64_t first, int64_t count, int64_t length, int32_t left, dk_error *err)
{
    int64_t kept = left ? first + count - length : first;
    c->counts->truncated++;
    lose(c, left ? first : first + length, count - length);
    int32_t rc = give(c, kept, length, err);
    if (!c->given) c->counts->lost_labels += learnt_of(c->tokens, first, count) > 0;
    return rc;
}

int32_t di_cut(const di_rules *rules, const di_tokens *tokens, int64_t first, int64_t count, uint32_t flags,
               di_counts *counts, di_sequence_fn fn, void *user, dk_error *err)
{
    const int64_t length = rules->length;
    cutter c = {tokens, counts, fn, user, 0};
    int32_t rc;
    counts->samples++;
    if (count <= length) DK_TRY(give(&c, first, count, err));
    else if (flags == DI_DOCUMENT_FILE || (flags == DI_DOCUMENT_TEXT && rules->too_long == DI_TOO_LONG_RIGHT))
        DK_TRY(split(&c, first, count, length, err));
    else if (rules->too_long == DI_TOO_LONG_ERROR)
        return dk_fail(err, DK_E_INVALID,
                       "the sample has %lld tokens, data.sequence_length is %lld: raise it, or set data.too_long to "
                       "truncate_left, truncate_right or skip",
                       (long long)count, (long long)length);
    else if (rules->too_long == DI_TOO_LONG_SKIP) {
        counts->skipped++;
        lose(&c, first, count);
        return DK_OK;
    } else DK_TRY(truncate(&c, first, count, length, rules->too_long == DI_TOO_LONG_LEFT, err));
    counts->no_labels += c.given == 0;
out:
    return rc;
}

int32_t di_cut_pair(const di_rules *rules, const di_tokens *tokens, int64_t first, int64_t middle, int64_t last,
                    di_counts *counts, int32_t *kept, dk_error *err)
{
    const int64_t chosen = middle - first, rejected = last - middle, longer = chosen > rejected ? chosen : rejected;
    cutter c = {tokens, counts, NULL, NULL, 0};
    counts->samples++;
    *kept = 0;
    if (longer > rules->length && rules->too_long == DI_TOO_LONG_ERROR)
        return dk_fail(err, DK_E_INVALID,
                       "the %s side of the pair has %lld tokens, data.sequence_length is %lld: raise it, or set "
                       "data.too_long to skip",
                       chosen == longer ? "chosen" : "rejected", (long long)longer, (long long)rules->length);
    if (longer > rules->length) {
        counts->skipped++;
        lose(&c, first, last - first);
        return DK_OK;
    }
    if (!learnt_of(tokens, first, chosen) || !learnt_of(tokens, middle, rejected)) {
        counts->dropped += 2;
        counts->no_labels++;
        return DK_OK;
    }
    *kept = 1;
    counts->pairs++;
    counts->tokens += last - first;
    counts->learnt += learnt_of(tokens, first, chosen) + learnt_of(tokens, middle, rejected);
    if (longer > counts->max_length) counts->max_length = longer;
    return DK_OK;
}
