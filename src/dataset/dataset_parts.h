/* dataset_parts.h - what stands behind a di_dataset. Private to src/dataset. */
#ifndef DI_DATASET_DATASET_PARTS_H
#define DI_DATASET_DATASET_PARTS_H

#include "dataset/dataset.h"
#include "dataset/plan.h"
#include "dataset/sample_stream.h"

enum { DI_UNCOUNTED = -2 };
enum { DI_MEMORY_LIMIT = 64 << 20 }; /* bytes of ids that stay in memory; more go to a temporary file that is mapped */

typedef struct di_mix { /* several sources, each a dataset of its own */
    di_dataset **sources;
    double *weights; /* of their tokens; 0 = not trained on */
    int64_t count;   /* 0 = this is no mix */
    int32_t by_size;
} di_mix;

struct di_dataset {
    atomic_int references;
    dk_host *host;
    char *name;      /* of the source; NULL = as the store is called */
    di_mix mix;      /* has no store, range and plan of its own */
    di_store *store; /* of a stream: its callbacks and tokenizer alone */
    di_rules rules;
    di_range range;
    di_plan plan;
    di_sample_stream *stream;   /* NULL = all is known */
    _Atomic int64_t text_bytes; /* DI_UNCOUNTED until asked for */
};

/* Takes the reference to store over, also when it fails. range NULL = everything. */
int32_t di_dataset_create(di_store *store, const di_rules *rules, const di_range *range, di_dataset **out,
                          dk_error *err);
/* mix.c: holds the sources, too; weights NULL = by size */
int32_t di_dataset_mix(dk_host *host, di_dataset **sources, int64_t count, const double *weights, di_dataset **out,
                       dk_error *err);
/* Of the sequence that begins with this token; its number is not known. */
di_origin di_dataset_origin(const di_dataset *dataset, int64_t first);
double di_mix_share(const di_mix *mix, int64_t source); /* of the tokens */
void di_dataset_tell(
    const di_dataset *dataset); /* what became of the samples, to the log; a stream tells it at its end */
/* As di_dataset_open_watched, with another limit than DI_MEMORY_LIMIT. */
int32_t di_dataset_open_limited(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                                uint64_t memory_limit, di_dataset_progress_fn fn, void *user, di_dataset **out,
                                dk_error *err);

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

#endif
