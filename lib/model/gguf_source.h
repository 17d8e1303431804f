/* gguf_source.h - a GGUF file's metadata on the way to the config.json that says the same. A key that is asked for is
 * marked, so that the others can be named. */
#ifndef DK_MODEL_GGUF_SOURCE_H
#define DK_MODEL_GGUF_SOURCE_H

#include "model/architecture.h"

typedef struct dk_gguf_source {
    dk_host *host;
    const dk_checkpoint *file;
    const dk_architecture *row;
    dk_strbuf text, notes;
    int64_t vocab_size; /* rows of the embedding */
    uint8_t *asked;     /* [metadata keys] */
} dk_gguf_source;

/* ---- one key at a time; suffix: what stands behind "llama." ---- */
const char *dk_gguf_key(const dk_gguf_source *in, const char *suffix, char out[96]);
int32_t dk_gguf_has(const dk_gguf_source *in, const char *suffix);
int32_t dk_gguf_get_size(const dk_gguf_source *in, const char *suffix, int64_t fallback, int64_t *out, dk_error *err);
/* Files with a value for each layer are read when all are equal. */
int32_t dk_gguf_get_uniform(const dk_gguf_source *in, const char *suffix, int64_t fallback, int64_t *out,
                            dk_error *err);
int32_t dk_gguf_get_number(const dk_gguf_source *in, const char *suffix, double fallback, double *out, dk_error *err);
int32_t dk_gguf_get_positive(const dk_gguf_source *in, const char *suffix, double fallback, double *out, dk_error *err);
/* A float of GGUF has 32 bits: its shortest decimal text is what was meant (1e-05, not 9.999999747378752e-06). */
double dk_gguf_as_written(double value);

/* ---- what the config.json says ---- */
void dk_gguf_say_i64(dk_gguf_source *in, const char *key, int64_t value);
void dk_gguf_say_f64(dk_gguf_source *in, const char *key, double value);
void dk_gguf_say_bool(dk_gguf_source *in, const char *key, int32_t value);

/* Rotary positions. */
int32_t dk_gguf_say_rope(dk_gguf_source *in, int64_t head_dim, dk_error *err);

/* Refuses what is no model, and what changes the arithmetic and is not built. */
int32_t dk_gguf_check_keys(const dk_checkpoint *file, const dk_architecture *row, dk_error *err);
/* Names what nobody asked for. */
int32_t dk_gguf_note_keys(const dk_gguf_source *in, dk_strbuf *notes, dk_error *err);

#endif
