/* sample_stream.h - windows of a host's samples as they come, each asked for once and in order. Private to
 * src/dataset. */
#ifndef DI_DATASET_SAMPLE_STREAM_H
#define DI_DATASET_SAMPLE_STREAM_H

#include "dataset/batch.h"
#include "dataset/cut.h"
#include "dataset/sample.h"

typedef struct di_sample_stream di_sample_stream;
int32_t di_sample_stream_create(const di_encoder *encoder, const distill_dataset_callbacks *table,
                                const di_rules *rules, di_sample_stream **out, dk_error *err);
void di_sample_stream_free(di_sample_stream *stream);
/* Windows [first, first + count), fewer at the end. Those before `first` are gone for good. */
int32_t di_sample_stream_windows(di_sample_stream *stream, int64_t first, int64_t count, di_batch *out, dk_error *err);
const di_counts *di_sample_stream_counts(const di_sample_stream *stream);

#endif
