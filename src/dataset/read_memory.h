/* read_memory.h - samples that the host hands over become stores: a batch, or one by one. Private to src/dataset. */
#ifndef DI_DATASET_READ_MEMORY_H
#define DI_DATASET_READ_MEMORY_H

#include "dataset/sample.h"

int32_t di_read_batch(const distill_batch *batch, di_builder *builder, dk_host *host, dk_error *err);
int32_t di_read_callbacks(const di_encoder *encoder, const distill_dataset_callbacks *table, di_builder *builder,
                          dk_error *err);

/* Sample `index` of a host as one encoded document, of a pair two. DK_E_END = there is none. */
int32_t di_read_sample(const di_encoder *encoder, const distill_dataset_callbacks *table, int64_t index,
                       di_encoded *out, dk_error *err);

#endif
