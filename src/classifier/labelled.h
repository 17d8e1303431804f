/* labelled.h - texts with what a teacher thinks of them: lines of JSON.
 *
 *     {"text": "...", "probabilities": {"sport": 0.7, "art": 0.3}}      or [0.7, 0.3], in the order of the classes
 *     {"prompt": "...", "label": "sport"}                               or its number; alone it is all of p
 *
 * Beside probabilities a label is the true one, for losses of labels. "weight" multiplies the text's part in the loss.
 * Other keys say where a text came from: they are counted by name. */
#ifndef DI_CLASSIFIER_LABELLED_H
#define DI_CLASSIFIER_LABELLED_H

#include "classifier/class_names.h"

enum { DI_UNUSED_KEYS = 32 };
typedef struct di_labelled {
    dk_host *host;
    const di_class_names *names; /* borrowed */
    int64_t count, cap;
    char **texts; /* [count] */
    size_t *sizes;
    int32_t *answers; /* [count] the teacher's likeliest class: of equal ones the first */
    int32_t *labels;  /* [count] the true one; the answer where it is not said */
    float *weights;   /* [count] */
    int64_t *rows;    /* [count] of probabilities; -1 = p is 1 of the answer */
    float *probabilities;
    int64_t row_count, row_cap;
    uint64_t hash;                /* of all of it */
    char *unused[DI_UNUSED_KEYS]; /* keys */
    int64_t unused_counts[DI_UNUSED_KEYS];
    int64_t unused_count;
} di_labelled;
void di_labelled_init(di_labelled *labelled, dk_host *host, const di_class_names *names);
void di_labelled_free(di_labelled *labelled); /* a zeroed one is fine */
int32_t di_labelled_add(di_labelled *labelled, const di_source_text *source, dk_error *err);
/* Writes log p of a text, [classes]: -inf where p is 0. */
void di_labelled_log_p(const di_labelled *labelled, int64_t index, float *log_p);
void di_labelled_unused_json(const di_labelled *labelled, dk_strbuf *out); /* {"id":200,...} */

#endif
