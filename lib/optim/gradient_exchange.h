/* gradient_exchange.h - gradients that several ranks made of their parts of a window, summed over all of them.
 *
 * A parameter is cut into as many shares as there are ranks, of equal size; rank j sums share j of all ranks'
 * gradients, in the order of ranks, and so one number of ranks gives the same bits every time. Parameters go in
 * buckets, each of which begins its way as soon as its gradients are whole, in an order that is the same on every rank.
 * Each rank sends 2(N-1)/N of the gradients' bytes (Patarasuk & Yuan 2009). */
#ifndef DK_OPTIM_GRADIENT_EXCHANGE_H
#define DK_OPTIM_GRADIENT_EXCHANGE_H

#include "base/ranks.h"
#include "optim/optim.h"

typedef struct dk_exchange dk_exchange;
typedef struct dk_exchange_spec {
    dk_parameter *parameters; /* [count], borrowed; frozen ones are passed over */
    int64_t count;
    const int64_t *stages; /* [count] copied: those of higher stages are whole earlier; NULL = all at the end */
    dk_dtype wire;         /* what gradients travel in: the backend's real or BF16; sums are real */
    int64_t bucket_bytes;  /* about; 0 = DK_BUCKET_BYTES */
    int32_t sharded;       /* a rank gets the sums of its own shares alone (Rajbhandari et al. 2020, ZeRO-1) */
} dk_exchange_spec;
#define DK_BUCKET_BYTES ((int64_t)8 << 20)
/* *out NULL where the host is alone. All functions take that, and do nothing. */
int32_t dk_exchange_create(dk_backend *backend, const dk_exchange_spec *spec, dk_exchange **out, dk_error *err);
void dk_exchange_free(dk_exchange *exchange);
/* Gradients of this stage and of all higher ones are whole behind what was put into the queue. A failure is kept. */
void dk_exchange_reached(dk_exchange *exchange, dk_queue *queue, int64_t stage);
/* What has not begun yet goes; all is waited for. Every rank calls it once a step, whatever became of its gradients. */
int32_t dk_exchange_finish(dk_exchange *exchange, dk_error *err);
/* Sharded: every rank's share of the values to all, and each parameter refreshed. */
int32_t dk_exchange_values(dk_exchange *exchange, dk_error *err);
/* Sharded, of each rank's share as optimizer keeps it: moment of parameter index, whole, as host elements of its dtype;
 * out NULL on ranks that have no use for it. Called by all. */
int32_t dk_exchange_moment(dk_exchange *exchange, const dk_optimizer *optimizer, int64_t index, int32_t second,
                           void *out, dk_error *err);
int64_t dk_exchange_bytes(const dk_exchange *exchange); /* sent by this rank since create */

#endif
