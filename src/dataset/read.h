/* read.h - sources become stores: text and JSONL files, batches in memory, a host's callbacks. Private to
 * src/dataset. */
#ifndef DI_DATASET_READ_H
#define DI_DATASET_READ_H

#include "dataset/dataset.h"
#include "dataset/sample.h"

typedef enum { DI_FORMAT_TEXT, DI_FORMAT_JSONL, DI_FORMAT_TOKENS } di_format;
typedef struct di_reading {
    const di_encoder *encoder;
    di_builder *builder;
    const char *name;                /* of the file */
    di_dataset_progress_fn progress; /* or NULL */
    void *user;
} di_reading;

/* Documents, or pieces of long ones, are tokenised in parallel and stored in order. A text is cut into pieces of about
 * 1 MiB behind a line end (or in front of a space) that stands between two other characters, where no pre-tokenizer
 * joins. */
int32_t di_read_file(const di_reading *reading, const dk_mapping *map, di_format format, const char *separator,
                     dk_error *err);
int32_t di_read_batch(const distill_batch *batch, di_builder *builder, dk_host *host, dk_error *err);
int32_t di_read_callbacks(const di_encoder *encoder, const distill_dataset_callbacks *table, di_builder *builder,
                          dk_error *err);

/* Sample `index` of a host as one encoded document. weight: of its positions. DK_E_END = there is none. */
int32_t di_read_sample(const di_encoder *encoder, const distill_dataset_callbacks *table, int64_t index,
                       di_encoded *out, double *weight, dk_error *err);

#endif
