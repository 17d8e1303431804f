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

static int32_t give(const di_tokens *tokens, int64_t first, int64_t count, di_counts *counts, di_sequence_fn fn,
                    void *user, dk_error *err)
{
    int64_t learnt = count > 1 ? di_tokens_count_learnt(tokens, first + 1, count - 1) : 0;
    if (!learnt) {
        counts->dropped++;
        return DK_OK;
    }
    counts->tokens += count;
    counts->learnt += learnt;
    if (count > counts->max_length) counts->max_length = count;
    return fn(user, first, count, err);
}

int32_t di_cut(const di_rules *rules, const di_tokens *tokens, int64_t first, int64_t count, uint32_t flags,
               di_counts *counts, di_sequence_fn fn, void *user, dk_error *err)
{
    const int64_t length = rules->length;
    int32_t rc = DK_OK;
    counts->samples++;
    if (count <= length) return give(tokens, first, count, counts, fn, user, err);
    if ((flags & DI_DOCUMENT_FILE) || ((flags & DI_DOCUMENT_TEXT) && rules->too_long == DI_TOO_LONG_RIGHT)) {
        for (int64_t at = 0; at < count; at += length)
            DK_TRY(give(tokens, first + at, count - at < length ? count - at : length, counts, fn, user, err));
        return DK_OK;
    }
    if (rules->too_long == DI_TOO_LONG_ERROR)
        return dk_fail(err, DK_E_INVALID,
                       "the sample has %lld tokens, data.sequence_length is %lld: raise it, or set data.too_long to "
                       "truncate_left, truncate_right or skip",
                       (long long)count, (long long)length);
    if (rules->too_long == DI_TOO_LONG_SKIP) {
        counts->skipped++;
        return DK_OK;
    }
    counts->truncated++;
    rc = give(tokens, rules->too_long == DI_TOO_LONG_LEFT ? first + count - length : first, length, counts, fn, user,
              err);
out:
    return rc;
}
