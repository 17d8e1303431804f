/* targets.h - what a teacher said of its own words becomes targets that training finds: rows of a target cache
 * (OUT.targets, tier top_k), keyed by the sequence that training will see of the sample.
 *
 * A row is kept where the tokens that training learns of the sample are those that were generated. */
#ifndef DI_AUGMENT_TARGETS_H
#define DI_AUGMENT_TARGETS_H

#include "augment/operator.h"
#include "cache/target_cache.h"

typedef struct di_matched { /* a sample as training sees it, beside what was kept */
    int64_t count;          /* tokens of its sequence */
    int64_t first, rows;    /* its tokens [first, first + rows) are the first `rows` that were generated */
    const char *why; /* training learns a token that has no row: "cut", "other_tokens", "other_answers", "too_long";
                               NULL = each has one */
} di_matched;
/* scratch: its ids stay until the next call. length: data.sequence_length. */
int32_t di_targets_match(const di_encoder *encoder, const di_record *record, int64_t length, di_encoded *scratch,
                         di_matched *out, dk_error *err);

typedef struct di_targets di_targets;
/* Made, or gone on with: what is there is not added twice. */
int32_t di_targets_open(dk_host *host, const char *path, di_teacher *teacher, const di_encoder *encoder,
                        const di_options *recipe, int64_t k, di_targets **out, dk_error *err);
void di_targets_close(di_targets *targets); /* NULL is fine */
int32_t di_targets_add(di_targets *targets, const di_record *record, dk_error *err);
int32_t di_targets_flush(di_targets *targets, dk_error *err);

#endif
