/* suggest.h - did you mean: the name, choice or option that a text was probably meant to be. */
#ifndef DI_OPTIONS_SUGGEST_H
#define DI_OPTIONS_SUGGEST_H

#include "options/table.h"

/* The name of a row or group of the table; NULL = nothing is near. */
const char *di_option_suggest(const di_table *table, const char *text, size_t size);
/* One of "a|b|c", copied into out; NULL = nothing is near. */
const char *di_choice_suggest(const char *choices, const char *text, char *out, size_t cap);

#endif
