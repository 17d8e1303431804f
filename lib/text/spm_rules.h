/* spm_rules.h - how SentencePiece prepares a text: its charsmap, the spaces that it drops, marks and adds. Private to
 * lib/text. */
#ifndef DK_TEXT_SPM_RULES_H
#define DK_TEXT_SPM_RULES_H

#include "text/charsmap.h"
#include "text/pieces.h"

#define DK_MARK "\xe2\x96\x81" /* U+2581, a space in SentencePiece's vocabularies */

typedef struct dk_spm_rules {
    dk_host *host;
    dk_charsmap *charsmap; /* NULL = none */
    dk_pieces kept;        /* symbols that the charsmap does not touch; no units = none */
    int32_t prefix;        /* add_dummy_prefix: a mark in front */
    int32_t merge_spaces;  /* remove_extra_whitespaces */
    int32_t llama; /* as llama.cpp does it, which keeps marks at the end and puts one in front where it merges */
} dk_spm_rules;
int32_t dk_spm_rules_create(dk_host *host, dk_spm_rules **out, dk_error *err);
void dk_spm_rules_free(dk_spm_rules *rules); /* NULL is fine */
/* goes_on: the text continues another one: it begins with no mark, and its first spaces stay. */
void dk_spm_apply(const dk_spm_rules *rules, int32_t goes_on, const char *text, size_t size, dk_strbuf *out);

#endif
