/* class_names.h - the classes of a classifier by name. */
#ifndef DI_CLASSIFIER_CLASS_NAMES_H
#define DI_CLASSIFIER_CLASS_NAMES_H

#include "dataset/text_lines.h"

enum { DI_CLASSES_MOST = 65536 };
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
/* The classes that lines name, sorted; where probabilities are lists and labels numbers, "0", "1", ... */
int32_t di_class_names_gather(dk_host *host, const di_source_text *sources, int64_t count, di_class_names *out,
                              dk_error *err);

#endif
