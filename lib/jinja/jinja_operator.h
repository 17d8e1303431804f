/* jinja_operator.h - operators on values, as Python has them. Private to lib/jinja. */
#ifndef DK_JINJA_OPERATOR_H
#define DK_JINJA_OPERATOR_H

#include "jinja/jinja_run.h"

/* op: as the lexer numbers signs. */
int32_t dk_jinja_binary(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b,
                        dk_jinja_value *out);
/* The same, 'i' = in, 'n' = not in. */
int32_t dk_jinja_compare(dk_jinja_run *run, int32_t op, const dk_jinja_value *a, const dk_jinja_value *b, int32_t *yes);
int32_t dk_jinja_negate(dk_jinja_run *run, const dk_jinja_value *a, dk_jinja_value *out);
/* text % values, which is what the filter format does too. */
int32_t dk_jinja_format(dk_jinja_run *run, const dk_jinja_text *text, const dk_jinja_value *values, size_t count,
                        dk_jinja_value *out);
int32_t dk_jinja_escape(dk_jinja_run *run, const dk_jinja_text *text,
                        dk_jinja_value *out); /* HTML; the result is safe */

#endif
