/* model_files.h - the files that a local model is written to: an HF folder, a GGUF file or both, and of which type. */
#ifndef DI_TEACHER_MODEL_FILES_H
#define DI_TEACHER_MODEL_FILES_H

#include "model/model.h"
#include "text/tokenizer.h"

#define DI_GGUF_NAME "model.gguf" /* inside a folder */

typedef struct di_files {
    int32_t folder, gguf; /* which are written */
    dk_dtype folder_type, gguf_type;
    const char *chat_template; /* that is written in the place of the tokenizer's own; borrowed, NULL = none */
} di_files;
/* The type that most of a model's weights have; BF16 where they are quantised. */
dk_dtype di_stored_type(const dk_model *model);
/* format: hf, gguf, both; type: auto (as stored), f32, bf16, f16, q8_0, q4_0, q4_k. A folder beside a quantised GGUF
 * file is of the type stored. */
int32_t di_files_choose(const char *format, const char *type, dk_dtype stored, di_files *out, dk_error *err);
/* Whether they can be written, as far as that can be known without the values. */
int32_t di_files_check(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, dk_error *err);
/* Into an existing folder; saved, or NULL, is told how far the HF files are. */
int32_t di_files_write(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, const char *folder,
                       dk_saved_fn saved, void *user, dk_error *err);
/* One new thing at path: a folder, or a GGUF file where nothing else is asked for. */
int32_t di_files_export(const di_files *files, const dk_model *model, const dk_tokenizer *tokenizer, const char *path,
                        dk_error *err);

#endif
