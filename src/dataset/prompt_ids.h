/* prompt_ids.h - what a model is asked, as ids: a text that it goes on with, or what a user says in its chat
 * template. */
#ifndef DI_DATASET_PROMPT_IDS_H
#define DI_DATASET_PROMPT_IDS_H

#include "text/tokenizer.h"

/* Appended to *ids. Special tokens that the text spells out are text; those of the template, or the BOS in front of a
 * text, are not. */
int32_t di_prompt_ids(dk_host *host, const dk_tokenizer *tokenizer, const char *text, size_t size, int32_t chat,
                      int32_t **ids, int64_t *cap, int64_t *count, dk_error *err);

#endif
