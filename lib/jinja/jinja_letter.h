/* jinja_letter.h - what filters and methods on text share. Private to lib/jinja. */
#ifndef DK_JINJA_LETTER_H
#define DK_JINJA_LETTER_H

#include "jinja/jinja_text.h"

typedef enum {
    DK_JINJA_UPPER,
    DK_JINJA_LOWER,
    DK_JINJA_TITLE,    /* str.title: a letter behind what is no letter is large */
    DK_JINJA_HEADLINE, /* the filter: a letter behind white space or an opening sign is */
    DK_JINJA_CAPITAL   /* the first character is */
} dk_jinja_case;
int32_t dk_jinja_change_case(dk_jinja_run *run, const dk_jinja_text *text, dk_jinja_case how, dk_jinja_value *out);
/* count < 0 = all */
int32_t dk_jinja_replace(dk_jinja_run *run, const dk_jinja_text *text, const dk_jinja_text *old,
                         const dk_jinja_text *new_text, int64_t count, dk_jinja_value *out);

#endif
