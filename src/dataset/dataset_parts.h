/* dataset_parts.h - what stands behind a di_dataset. Private to src/dataset. */
#ifndef DI_DATASET_DATASET_PARTS_H
#define DI_DATASET_DATASET_PARTS_H

#include "dataset/dataset.h"
#include "dataset/plan.h"
#include "dataset/sample.h"

enum { DI_MEMORY_LIMIT = 64 << 20 }; /* bytes of ids that stay in memory; more go to a temporary file that is mapped */

typedef struct di_sample_stream di_sample_stream;
struct di_dataset {
    atomic_int references;
    dk_host *host;
    di_store *store; /* of a stream: its callbacks and tokenizer alone */
    di_rules rules;
    di_range range;
    di_plan plan;
    di_sample_stream *stream;   /* NULL = all is known */
    _Atomic int64_t text_bytes; /* UNCOUNTED until asked for */
};

/* As di_dataset_open_watched, with another limit than DI_MEMORY_LIMIT. */
int32_t di_dataset_open_limited(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                                uint64_t memory_limit, di_dataset_progress_fn fn, void *user, di_dataset **out,
                                dk_error *err);
/* A batch that is empty; windows are added one after the other, as many as it was made for. */
int32_t di_batch_plan(dk_host *host, int64_t windows, int64_t tokens, int64_t sequences, di_batch **out, dk_error *err);
void di_batch_clear(di_batch *batch);
void di_batch_add_sequence(di_batch *batch, const di_tokens *tokens, int64_t first, int64_t count);
void di_batch_end_window(di_batch *batch);

/* ---- token_cache.c: data.token_cache is a folder with one token file per source ---- */
/* What the tokens of a file depend on. */
int32_t di_token_cache_key(dk_host *host, const char *path, const char *format, const dk_tokenizer *tokenizer,
                           const di_options *options, uint8_t key[32], dk_error *err);
/* *out stays NULL where there is no usable file. */
int32_t di_token_cache_open(dk_host *host, const char *folder, const char *path, const uint8_t key[32],
                            dk_tokenizer *tokenizer, di_store **out, dk_error *err);
/* Writes *store; one that is mapped from a temporary file is replaced by the file written. */
int32_t di_token_cache_keep(const char *folder, const char *path, const uint8_t key[32], dk_tokenizer *tokenizer,
                            di_store **store, dk_error *err);

/* ---- sample_stream.c: windows of samples as they come ---- */
int32_t di_sample_stream_create(const di_encoder *encoder, const distill_dataset_callbacks *table,
                                const di_rules *rules, di_sample_stream **out, dk_error *err);
void di_sample_stream_free(di_sample_stream *stream);
/* Windows [first, first + count), fewer at the end. Those before `first` are gone for good. */
int32_t di_sample_stream_windows(di_sample_stream *stream, int64_t first, int64_t count, di_batch *out, dk_error *err);
const di_counts *di_sample_stream_counts(const di_sample_stream *stream);

#endif
