/* labelled.h - texts with what a teacher thinks of them: lines of JSON.
 *
 *     {"text": "...", "probabilities": {"sport": 0.7, "art": 0.3}}      or [0.7, 0.3], in the order of the classes
 *     {"prompt": "...", "label": "sport"}                               or its number; alone it is all of p
 *
 * Beside probabilities a label is the true one, for losses of labels. "weight" multiplies the text's part in the loss.
 * Other keys say where a text came from: they are counted by name. */
#ifndef DI_CLASSIFIER_LABELLED_H
#define DI_CLASSIFIER_LABELLED_H

#include "base/slice.h"
#include "base/strbuf.h"

typedef struct di_class_names {
    dk_host *host;
    char **names;   /* [count] */
    int64_t *order; /* [count] by name */
    int64_t count;
} di_class_names;
void di_class_names_free(di_class_names *names); /* a zeroed one is fine */
/* Copied; E_INVALID where two are the same or one is empty. */
int32_t di_class_names_take(dk_host *host, const char *const *names, int64_t count, di_class_names *out, dk_error *err);
int64_t di_class_names_find(const di_class_names *names, const char *name); /* -1 = none */

typedef struct di_source_text { /* a file, or lines of the host's */
    const char *name;           /* in messages */
    dk_slice *lines;            /* [count] */
    int64_t *numbers;           /* [count] of the lines, from 1; NULL = the same */
    int64_t count;
    char *data; /* that lines lie in, or NULL */
} di_source_text;
/* A file of JSONL; empty lines are passed over. What is packed, or no text, is refused. */
int32_t di_source_open(dk_host *host, const char *path, di_source_text *out, dk_error *err);
void di_source_free(dk_host *host, di_source_text *source); /* a zeroed one is fine */
/* The classes that lines name, sorted; where probabilities are lists and labels numbers, "0", "1", ... */
int32_t di_class_names_gather(dk_host *host, const di_source_text *sources, int64_t count, di_class_names *out,
                              dk_error *err);

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
