/* template.h - texts with {{fields}} that a teacher is asked with. Some are shipped, in share/templates/LANGUAGE, and
 * stand in the library, too; a user's own is a file.
 *
 * A field is one that the operator knows, or {{sample.KEY}}: what stands in the sample under KEY. */
#ifndef DI_AUGMENT_TEMPLATE_H
#define DI_AUGMENT_TEMPLATE_H

#include "augment/operator.h"

typedef struct di_shipped_template {
    const char *name; /* "en/paraphrase"; NULL ends the list */
    const char *text;
    size_t size;
} di_shipped_template;
extern const di_shipped_template di_shipped_templates[];

typedef struct di_template di_template;
typedef struct di_template_value {
    const char *field;
    const char *text;
    size_t size;
} di_template_value;
/* The file that option template of the step names, or the shipped one of that name in the step's language. known: names
 * of fields, ended by NULL; another one in the text is E_OPTION. */
int32_t di_template_open(const di_step *step, const char *name, const char *const *known, di_template **out,
                         dk_error *err);
void di_template_free(di_template *made); /* NULL is fine */
const char *di_template_hash(const di_template *made);
/* Appends; values [count]. *missing: a key of {{sample.KEY}} that this sample has not; NULL = none. */
int32_t di_template_fill(const di_template *made, const di_record *record, const di_template_value *values,
                         int64_t count, dk_strbuf *out, const char **missing, dk_error *err);

#endif
