/* open_tokenizer.h - a tokenizer from whatever a model's path is. */
#ifndef DK_FORMAT_OPEN_TOKENIZER_H
#define DK_FORMAT_OPEN_TOKENIZER_H

#include "text/tokenizer.h"

/* path: a folder with tokenizer.json or tokenizer.model, a file *.model, or a GGUF file with a vocabulary. */
int32_t dk_open_tokenizer(dk_host *host, const char *path, dk_tokenizer **out, dk_error *err);

#endif
