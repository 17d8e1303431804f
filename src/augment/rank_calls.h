/* rank_calls.h - one augmentation by several ranks. Rank 0 runs the steps and owns every file; when a step asks a model
 * about a batch, all ranks answer a part of it: whoever asks models joins when it is made, on every rank in the same
 * order. So the result is that of one rank, and a run may go on with any number. Private to src/augment. */
#ifndef DI_AUGMENT_RANK_CALLS_H
#define DI_AUGMENT_RANK_CALLS_H

#include "base/host.h"
#include "base/strbuf.h"

/* Answers this rank's part of the question: of count items [di_rank_share(host, count, 0), (..., 1)). */
typedef int32_t (*di_rank_call_fn)(void *self, const dk_strbuf *question, dk_strbuf *answer, dk_error *err);
typedef struct di_rank_asker {
    void *self;
    di_rank_call_fn fn;
} di_rank_asker;
typedef struct di_rank_calls {
    dk_host *host;
    di_rank_asker *askers;
    int64_t count;
} di_rank_calls;
void di_rank_calls_free(di_rank_calls *calls);                 /* zeroed is fine */
int64_t di_rank_share(dk_host *host, int64_t count, int side); /* 0 = where this rank's part begins, 1 = ends */
/* number: of the asker, for di_rank_call. */
int32_t di_rank_calls_join(di_rank_calls *calls, void *self, di_rank_call_fn fn, int64_t *number, dk_error *err);
/* Rank 0: the question goes to all; answers: of all ranks in their order, one behind the other. */
int32_t di_rank_call(di_rank_calls *calls, int64_t number, dk_strbuf *question, dk_strbuf *answers, dk_error *err);
/* The other ranks: they answer until rank 0 has ended. */
int32_t di_rank_calls_serve(di_rank_calls *calls, dk_error *err);
/* Rank 0: it has, with rc. Each of the three returns the same on all ranks. */
int32_t di_rank_calls_end(di_rank_calls *calls, int32_t rc, dk_error *err);

#endif
