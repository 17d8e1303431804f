/* regex.h - the regular expressions of tokenizer files, and those of users, run by PCRE2.
 *
 * Files are written for Oniguruma. The pattern is rewritten so that it means the same to PCRE2; a construct that would
 * mean something else is refused by name. Patterns are hostile: their size and the work of a match are limited. */
#ifndef DK_TEXT_REGEX_H
#define DK_TEXT_REGEX_H

#include "base/strbuf.h"

typedef struct dk_regex dk_regex;
typedef struct dk_regex_state dk_regex_state; /* what one thread needs to match */

int32_t dk_regex_compile(dk_host *host, const char *pattern, size_t size, dk_regex **out, dk_error *err);
void dk_regex_free(dk_regex *regex);
int32_t dk_regex_state_create(dk_host *host, dk_regex_state **out, dk_error *err);
void dk_regex_state_free(dk_regex_state *state);
/* The first match at or behind `at` in valid UTF-8; *begin = SIZE_MAX when there is none. */
int32_t dk_regex_find(const dk_regex *regex, dk_regex_state *state, const char *text, size_t size, size_t at,
                      size_t *begin, size_t *end, dk_error *err);

/* pattern.c: Oniguruma's spelling -> PCRE2's, appended to out. */
int32_t dk_pattern_translate(const char *pattern, size_t size, dk_strbuf *out, dk_error *err);

#endif
