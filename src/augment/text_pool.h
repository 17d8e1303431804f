/* text_pool.h - texts that are drawn from: personas, topics, seed tasks; of a list in the recipe, or a file. Private to
 * src/augment. */
#ifndef DI_AUGMENT_TEXT_POOL_H
#define DI_AUGMENT_TEXT_POOL_H

#include "augment/operator.h"

enum { DI_POOL_MOST = 4096 }; /* of a file the first ones */
typedef struct di_text_pool {
    dk_host *host;
    char **texts; /* [count] */
    int64_t count, capacity;
} di_text_pool;
/* The list that option key of the step holds, or a line each of the file that option `from` names. */
int32_t di_text_pool_open(const di_step *step, const char *key, di_text_pool *out, dk_error *err);
/* The questions of a file of samples. */
int32_t di_text_pool_of_samples(const di_step *step, const char *path, di_text_pool *out, dk_error *err);
void di_text_pool_close(di_text_pool *pool); /* zeroed is fine */
/* Which one a record gets, for its k-th draw. */
const char *di_text_pool_draw(const di_text_pool *pool, const di_step *step, const di_record *record, uint64_t k);

#endif
