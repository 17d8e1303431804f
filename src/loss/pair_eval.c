/* pair_eval.c - pairs of a call on rows: sequences 0 and 1 are one, 2 and 3 the next. */
#include <math.h>

#include "loss/loss_parts.h"

static int32_t check_rows(const di_pair_rows *rows, dk_error *err)
{
    int64_t next = 0; /* sequence whose first row is due */
    for (int64_t i = 0; i <= rows->count; i++) {
        const int64_t sequence = i < rows->count ? rows->sequences[i] : rows->sequence_count;
        const int32_t begins = i == rows->count || sequence >= next;
        if (begins && sequence > next)
            return dk_fail(err, DK_E_INVALID,
                           "args.sequences: sequence %lld has no row that counts; both sides of a "
                           "pair have some",
                           (long long)next);
        if (begins) next = sequence + 1;
        if (i && i < rows->count && (sequence % 2 || !begins) && rows->weights[i] != rows->weights[i - 1])
            return dk_fail(err, DK_E_INVALID,
                           "args.weights: rows of the pair of sequences %lld and %lld weigh %g and %g; a pair has one "
                           "weight",
                           (long long)(sequence - sequence % 2), (long long)(sequence - sequence % 2 + 1),
                           (double)rows->weights[i - 1], (double)rows->weights[i]);
    }
    return DK_OK;
}

static int32_t check(const di_pair_rows *rows, dk_error *err)
{
    const char *name = rows->loss->terms[0].entry->name;
    if (rows->loss->count > 1)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "a call on rows takes a loss that compares pairs alone, for its divisor is another one: call "
                       "each loss of the list");
    if (!rows->grouped || rows->sequence_count % 2)
        return dk_fail(err, DK_E_INVALID,
                       "loss %s compares pairs: args.sequences numbers their rows, 2i for chosen and 2i + 1 for "
                       "rejected, and %s",
                       name, rows->grouped ? "the last one has no rejected side" : "is NULL");
    if (!rows->preference != !di_loss_teacher_labels(rows->loss))
        return dk_fail(err, DK_E_INVALID,
                       rows->preference ? "args.preference goes with loss.dpo.label teacher"
                                        : "loss.dpo.label teacher: args.preference is NULL");
    return check_rows(rows, err);
}

static int32_t read_scores(const di_pair_rows *rows, const distill_tensor *from, const char *name, double *out,
                           dk_error *err)
{
    const int64_t shape[1] = {rows->sequence_count};
    int32_t rc = from ? di_check_tensor(from, name, 1, shape, 0, err) : DK_OK;
    for (int64_t s = 0; from && s < rows->sequence_count && rc == DK_OK; s++) {
        float score;
        di_tensor_read_rows(from, s, 1, &score);
        out[s] = (double)score;
        if (!isfinite(score)) rc = dk_fail(err, DK_E_NUMERIC, "%s: entry %lld is not finite", name, (long long)s);
    }
    return rc;
}

int32_t di_pair_sides_read(const di_pair_rows *rows, di_pair_sides *out, dk_error *err)
{
    int64_t term, item;
    int32_t rc;
    if (!di_loss_pair_term(rows->loss, &term, &item)) {
        if (!rows->reference && !rows->preference) return DK_OK;
        return dk_fail(err, DK_E_INVALID, "args.%s goes with a loss that compares pairs (dpo)",
                       rows->reference ? "reference" : "preference");
    }
    DK_TRY(check(rows, err));
    DK_TRY(dk_new(rows->host, rows->sequence_count, &out->sides, err));
    DK_TRY(dk_new(rows->host, 2 * rows->sequence_count, &out->scores, err));
    for (int64_t s = 0; s < rows->sequence_count; s++) out->sides[s] = s % 2 ? DISTILL_REJECTED : DISTILL_CHOSEN;
    DK_TRY(read_scores(rows, rows->reference, "args.reference", out->scores, err));
    DK_TRY(read_scores(rows, rows->preference, "args.preference", out->scores + rows->sequence_count, err));
    out->pairs = (di_pairs){.sides = out->sides,
                            .reference = out->scores,
                            .teacher = rows->preference ? out->scores + rows->sequence_count : NULL,
                            .scale = 1};
out:
    return rc;
}

void di_pair_sides_free(dk_host *host, di_pair_sides *sides)
{
    dk_free(host, sides->sides);
    dk_free(host, sides->scores);
}
