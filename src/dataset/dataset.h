/* dataset.h - a source of samples: text, JSONL, token files, memory, a host's callback; cut or packed into windows of
 * tokens; shuffled; with a cursor that is a number. Tokenisers live in lib/text, chat templates in lib/chat.
 *
 * A dataset is immutable and shared. Batch k is a pure function of (data, options, seed, k), packing included: windows
 * are cut and packed once, in order of the data; every epoch visits them in a permutation drawn from (seed, epoch). A
 * sequence of a batch knows where it came from (di_batch_identity: source, index of the sample in it, hash of the ids).
 *
 *   file_kind.c  what a file is, by its bytes                        unpack.c       gzip and zstd
 *   sample.c     one sample -> tokens, and what of them is learnt    read*.c        files, batches, callbacks
 *   store.c      the tokens of all documents (spool.c: on disk)      token_*.c     files of tokens, also as a cache
 *   tags.c       what samples say of themselves
 *   cut.c        documents -> sequences (counts.c: what is lost)     pack.c        sequences -> windows
 *   plan.c       all windows of a store                              sample_stream.c  windows of an endless stream
 *   sources.c    several sources by name                             mix.c walk.c  as one dataset, by weight
 *   batch.c      some windows as the models take them                dataset_*.c   which windows; what is known */
#ifndef DI_DATASET_DATASET_H
#define DI_DATASET_DATASET_H

#include "dataset/batch.h"
#include "distill.h"
#include "options/options.h"
#include "text/tokenizer.h"

typedef struct di_dataset di_dataset;
/* list: "data.train", with data.mix, or "data.eval": one path or several sources with names. */
int32_t di_dataset_open_list(dk_host *host, const char *list, dk_tokenizer *tokenizer, const di_options *options,
                             di_dataset **out, dk_error *err);
int32_t di_dataset_open(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                        di_dataset **out, dk_error *err);
int32_t di_dataset_from_tokens(dk_host *host, const distill_batch *tokens, const di_options *options, di_dataset **out,
                               dk_error *err);
int32_t di_dataset_from_callbacks(dk_host *host, const distill_dataset_callbacks *table, dk_tokenizer *tokenizer,
                                  const di_options *options, di_dataset **out, dk_error *err);
/* As di_dataset_open, told while it tokenises, at most ten times a second: done and total in bytes. Non-zero
 * cancels. */
typedef int32_t (*di_dataset_progress_fn)(void *user, int64_t done, int64_t total);
int32_t di_dataset_open_watched(dk_host *host, const char *path, dk_tokenizer *tokenizer, const di_options *options,
                                di_dataset_progress_fn fn, void *user, di_dataset **out, dk_error *err);
/* What a file of data is and how many samples it has, each checked as far as that goes without a tokenizer:
 * {"kind":"data","format":"jsonl","packed":"gzip","samples":...,"whole":true}. A file that is no data is an error. */
int32_t di_dataset_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err);
const char *di_dataset_unpacks(void); /* how files of data may be compressed in this build: "gzip, zstd", or "none" */
di_dataset *di_dataset_retain(di_dataset *dataset);
void di_dataset_release(di_dataset *dataset);
/* data.eval_fraction: the last documents of each source as a second dataset; both share the data. */
int32_t di_dataset_split(di_dataset *dataset, double fraction, di_dataset **train, di_dataset **held_out,
                         dk_error *err);
/* ---- sources: each is a dataset, too; one that is no mix is its own only source ---- */
int64_t di_dataset_sources(const di_dataset *dataset);
const di_dataset *di_dataset_source(const di_dataset *dataset, int64_t source);
const char *di_dataset_name(const di_dataset *dataset);
/* Jinja text of the chat template that options named for the first source with one; NULL = none did. */
const char *di_dataset_chat_template(const di_dataset *dataset);

/* keys of distill_dataset_get_i64, and "windows", "bytes" (di_dataset_text_bytes), "max_length", "dropped" (sequences
   without a label), "stream" */
int32_t di_dataset_get_i64(const di_dataset *dataset, const char *key, int64_t *out, dk_error *err);
/* "source":... (of one alone),"samples":...,"skipped":{"too_long":...},...,"sources":{NAME:{...}}: what became of the
   samples, of a stream so far, and of those of each source; members without their braces. seen: how far training has
   come; NULL = it is not trained on */
void di_dataset_describe(const di_dataset *dataset, const di_walk *seen, dk_strbuf *json);
/* To the log, before training: share of each source in so many windows, and how often it is seen. */
void di_dataset_tell_mix(const di_dataset *dataset, int64_t windows);
/* 1 = nothing is known before it is read, and it is read once: no epochs, no held-out data */
int32_t di_dataset_is_stream(const di_dataset *dataset);
/* of content and options: a checkpoint of other data is refused */
int32_t di_dataset_hash(const di_dataset *dataset, char hex[65], dk_error *err);
/* Each source and tag that its samples have, once, as far as that is known before they are read; a source of weight 0
 * is none. */
typedef int32_t (*di_origin_fn)(void *user, const di_origin *origin, dk_error *err);
int32_t di_dataset_origins(const di_dataset *dataset, di_origin_fn fn, void *user, dk_error *err);
/* largest id < vocab_size */
int32_t di_dataset_check_vocab(const di_dataset *dataset, int64_t vocab_size, dk_error *err);

/* ---- batches ---- */
/* room for the largest batch of that many windows */
int32_t di_batch_create(const di_dataset *dataset, int64_t windows, di_batch **out, dk_error *err);
/* Windows [k*windows, (k+1)*windows) of the endless stream of shuffled epochs; of a mix, of the sources by weight
 * (walk.h). The last batch of an epoch runs on into the next. Allocates nothing for data that is in memory or mapped. A
 * stream (count -1) must be read in order of k; its end is E_END. */
int32_t di_dataset_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, di_batch *out, dk_error *err);
/* The same by epochs: no batch reaches into the next epoch, the last of each may be smaller. An epoch of a mix is over
 * when every source was seen whole, the others more than once; all are as long as the first one. Not of a stream. */
typedef struct di_epochs {
    int64_t length, total; /* windows of one, and in all: the last may be part of one */
} di_epochs;
int32_t di_dataset_epochs(const di_dataset *dataset, uint64_t seed, double count, di_epochs *out, dk_error *err);
int64_t di_epoch_steps(const di_epochs *epochs, int64_t windows);
int64_t di_epoch_place(const di_epochs *epochs, int64_t windows, int64_t k); /* windows before batch k */
int32_t di_dataset_epoch_batch(di_dataset *dataset, uint64_t seed, int64_t k, int64_t windows, const di_epochs *epochs,
                               di_batch *out, dk_error *err);
/* How far each source has come after so many windows. */
int32_t di_dataset_walk(const di_dataset *dataset, uint64_t seed, int64_t windows, di_walk *out, dk_error *err);
void di_walk_free(const di_dataset *dataset, di_walk *walk);
/* Each sequence of a batch has a number below this; a stream's are not counted: 0. */
int64_t di_dataset_sequence_count(const di_dataset *dataset);
/* In order of the data, not shuffled, for evaluation: windows [first, first+count) as far as they exist; E_END behind
 * the last. */
int32_t di_dataset_windows(di_dataset *dataset, int64_t first, int64_t count, di_batch *out, dk_error *err);
/* Bytes of the text that is scored (of pairs the chosen side), for bits per byte: the sum over all labels of what the
 * token adds to decoded text inside a text; a special token adds nothing, and the first token of a sequence is no
 * label. *out -1 = no tokenizer is known, or a stream. */
int32_t di_dataset_text_bytes(const di_dataset *dataset, int64_t *out, dk_error *err);

#endif
