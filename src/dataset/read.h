/* read.h - files of text and JSONL become stores. Private to src/dataset. */
#ifndef DI_DATASET_READ_H
#define DI_DATASET_READ_H

#include "dataset/dataset.h"
#include "dataset/file_kind.h"
#include "dataset/sample.h"

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
int32_t di_read_file(const di_reading *reading, const uint8_t *data, uint64_t size, di_format format,
                     const char *separator, dk_error *err);

#endif
