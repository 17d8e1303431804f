/* balance.h - no value of a field more often than it may be. Streaming: what is kept hangs on what came before alone.
 * On disk 24 bytes for each sample that is kept, and 11 to 22 for each value while it runs. */
#ifndef DI_AUGMENT_CURATE_BALANCE_H
#define DI_AUGMENT_CURATE_BALANCE_H

#include "augment/curate/kept_log.h"

typedef struct di_balance di_balance;
typedef struct di_balance_rules {
    int64_t most; /* of each value; 0 = no bound */
    double share; /* of all that is kept, but for one sample: a value has at most share * kept + 1; 0 = no bound */
} di_balance_rules;
int32_t di_balance_open(dk_host *host, const char *path, di_balance_rules rules, const di_kept_state *at,
                        di_balance **out, dk_error *err);
void di_balance_close(di_balance *balance); /* NULL is fine */
int32_t di_balance_add(di_balance *balance, const char *value, size_t size, int32_t *kept, dk_error *err);
int32_t di_balance_flush(di_balance *balance, di_kept_state *state, dk_error *err);

#endif
