/* export_gguf.h - a model as a GGUF file that llama.cpp loads. What a tokenizer is made of does not live here, nor how
 * values become blocks. */
#ifndef DK_MODEL_EXPORT_GGUF_H
#define DK_MODEL_EXPORT_GGUF_H

#include "format/gguf_write.h"
#include "model/model.h"

/* dtype: F32, F16, BF16, Q8_0, Q4_0 or Q4_K, of matrices; vectors are F32, and so are learned positions beside
 * blocks. Matrices whose rows are no whole blocks of Q4_K become Q5_0, or, where 32 does not divide them either,
 * F16; they are counted and named in notes. tokenizer NULL = the file has none; chat_template NULL = the
 * tokenizer's own. What GGUF cannot say of the model is refused by name; an existing file too. The file appears at
 * once. path NULL = only that is looked at. */
int32_t dk_model_export_gguf(const dk_model *model, const dk_tokenizer *tokenizer, const char *chat_template,
                             const char *path, dk_dtype dtype, dk_strbuf *notes, dk_error *err);

/* export_keys.c: what the description says, in GGUF's keys. */
int32_t dk_gguf_put_config(dk_gguf_keys *keys, const dk_config *config, int64_t vocab_size, dk_error *err);
/* Of sliding windows that llama.cpp does not look at. */
void dk_gguf_note_windows(const dk_config *config, dk_strbuf *notes);
void dk_gguf_put_ends(dk_gguf_keys *keys, const dk_config *config, int64_t eos, dk_strbuf *notes);

#endif
