/* look.h - the text of a record that an operator looks at: a field of it, or the words that are learnt, or all words,
 * what was asked and what was answered. */
#ifndef DI_AUGMENT_LOOK_H
#define DI_AUGMENT_LOOK_H

#include "augment/operator.h"

typedef struct di_look {
    const char *field; /* NULL = words */
    int32_t all;       /* not those alone that are learnt */
    dk_strbuf words, line;
} di_look;
void di_look_init(di_look *look, const di_step *step, int32_t all); /* option field */
void di_look_free(di_look *look);
/* Borrowed until the next call; NULL = there is no such field. A value that is no text is its JSON. */
int32_t di_look_at(di_look *look, const di_record *record, const char **text, size_t *size, dk_error *err);
/* Emits the record where why is NULL, else drops it. */
int32_t di_keep_or_drop(di_flow *flow, di_record **record, const char *why, dk_error *err);

#endif
