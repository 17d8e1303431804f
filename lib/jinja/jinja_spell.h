/* jinja_spell.h - values as text: as Python's str, repr and json.dumps spell them. Private to lib/jinja. */
#ifndef DK_JINJA_SPELL_H
#define DK_JINJA_SPELL_H

#include "jinja/jinja_text.h"

int32_t dk_jinja_put_str(dk_jinja_run *run, dk_jinja_builder *builder, const dk_jinja_value *value);
int32_t dk_jinja_str(dk_jinja_run *run, const dk_jinja_value *value, dk_jinja_value *out);
typedef struct dk_jinja_json {
    int32_t ascii, sorted;           /* escape what is not ASCII; order keys */
    const dk_jinja_text *indent;     /* NULL = one line */
    const dk_jinja_text *item, *key; /* separators */
} dk_jinja_json;
int32_t dk_jinja_put_json(dk_jinja_run *run, dk_jinja_builder *builder, const dk_jinja_value *value,
                          const dk_jinja_json *how, int32_t level);

#endif
