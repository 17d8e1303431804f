/* sample_texts.h - every text of a sample, wherever it stands: text, prompt, completion, the contents of messages,
 * chosen and rejected. */
#ifndef DI_AUGMENT_CURATE_SAMPLE_TEXTS_H
#define DI_AUGMENT_CURATE_SAMPLE_TEXTS_H

#include "conf/document.h"

typedef int32_t (*di_text_fn)(void *user, const char *text, size_t size, dk_error *err);
int32_t di_each_text(const dk_node *sample, di_text_fn fn, void *user, dk_error *err);

#endif
