/* row_maker.h - a row of a teacher's as a tier keeps it: its likeliest ids, draws from it, or all of it. */
#ifndef DI_TEACHER_ROW_MAKER_H
#define DI_TEACHER_ROW_MAKER_H

#include "cache/cache_rows.h"

typedef struct di_row_maker di_row_maker;
/* header: borrowed */
int32_t di_row_maker_create(dk_host *host, const di_cache_header *header, di_row_maker **out, dk_error *err);
void di_row_maker_free(di_row_maker *maker); /* NULL is fine */
/* hidden: the state; full: logits; top_k and sampled: log-probabilities at the header's temperature. Draws are a
 * function of the header's seed, the key of the sequence and the position in it. */
int32_t di_row_maker_put(di_row_maker *maker, const uint8_t key[16], int64_t position, const float *row, dk_error *err);
di_row_writer *di_row_maker_writer(di_row_maker *maker);

#endif
