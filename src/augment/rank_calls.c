#include "augment/rank_calls.h"

#include "base/ranks.h"

enum { NOBODY = -1 }; /* the number that ends it */

void di_rank_calls_free(di_rank_calls *calls)
{
    if (calls->host) dk_free(calls->host, calls->askers);
    *calls = (di_rank_calls){0};
}

int64_t di_rank_share(dk_host *host, int64_t count, int side)
{
    return count * (dk_rank(host) + side) / dk_ranks(host);
}

int32_t di_rank_calls_join(di_rank_calls *calls, void *self, di_rank_call_fn fn, int64_t *number, dk_error *err)
{
    di_rank_asker *grown = dk_realloc(calls->host, calls->askers, (uint64_t)calls->count + 1, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)(calls->count + 1) * sizeof *grown);
    calls->askers = grown;
    *number = calls->count++;
    grown[*number] = (di_rank_asker){self, fn};
    return DK_OK;
}

/* What this rank answers, and then what all do. */
static int32_t answer(di_rank_calls *calls, int64_t number, const dk_strbuf *question, dk_strbuf *answers,
                      dk_error *err)
{
    dk_strbuf own, other;
    int32_t rc;
    dk_strbuf_init(&own, calls->host);
    dk_strbuf_init(&other, calls->host);
    if (number < 0 || number >= calls->count)
        rc = dk_fail(err, DK_E_MISMATCH,
                     "rank 0 asks with model %lld, and here %lld ask: give all ranks the same recipe",
                     (long long)number, (long long)calls->count);
    else if (dk_host_cancelled(calls->host)) rc = dk_fail(err, DK_E_CANCELLED, "augmentation was cancelled");
    else rc = calls->askers[number].fn(calls->askers[number].self, question, &own, err);
    DK_TRY(dk_ranks_agree(calls->host, rc, err));
    for (int64_t j = 0; j < dk_ranks(calls->host); j++) {
        dk_strbuf *part = dk_rank(calls->host) == j ? &own : &other;
        DK_TRY(dk_ranks_bytes(calls->host, part, j, err));
        if (answers && part->size) dk_strbuf_append(answers, part->data, part->size);
    }
    DK_TRY(dk_ranks_agree(calls->host, answers ? dk_strbuf_check(answers, err) : DK_OK, err));
out:
    dk_strbuf_free(&own);
    dk_strbuf_free(&other);
    return rc;
}

int32_t di_rank_call(di_rank_calls *calls, int64_t number, dk_strbuf *question, dk_strbuf *answers, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_strbuf_check(question, err));
    DK_TRY(dk_ranks_broadcast(calls->host, &number, sizeof number, 0, err));
    DK_TRY(dk_ranks_bytes(calls->host, question, 0, err));
    rc = answer(calls, number, question, answers, err);
out:
    return rc;
}

/* A part that fails is rank 0's to judge: it may set samples aside and go on. */
int32_t di_rank_calls_serve(di_rank_calls *calls, dk_error *err)
{
    int64_t number = NOBODY;
    dk_strbuf question;
    dk_error problem;
    int32_t rc;
    dk_strbuf_init(&question, calls->host);
    for (;;) {
        DK_TRY(dk_ranks_broadcast(calls->host, &number, sizeof number, 0, err));
        if (number == NOBODY) break;
        DK_TRY(dk_ranks_bytes(calls->host, &question, 0, err));
        rc = answer(calls, number, &question, NULL, &problem);
        if (rc && dk_ranks_lost(calls->host)) {
            if (err) *err = problem;
            goto out;
        }
    }
    rc = dk_ranks_agree(calls->host, DK_OK, err);
out:
    dk_strbuf_free(&question);
    return rc;
}

int32_t di_rank_calls_end(di_rank_calls *calls, int32_t rc, dk_error *err)
{
    int64_t number = NOBODY;
    dk_error problem;
    if (dk_ranks_lost(calls->host)) return rc;
    if (dk_ranks_broadcast(calls->host, &number, sizeof number, 0, &problem)) {
        if (err) *err = problem;
        return problem.code;
    }
    return dk_ranks_agree(calls->host, rc, err);
}
