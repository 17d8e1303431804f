#include "base/ranks.h"

#include "base/host_parts.h"

#include <string.h>

typedef struct vote {
    int32_t rc;
    uint32_t flags;
} vote;

struct dk_ranks {
    dk_communicator table;
    int32_t broken; /* a function of it failed */
    vote *votes;    /* [size] */
};

static int32_t check_table(const dk_communicator *table, dk_error *err)
{
    if (table->size < 1 || table->rank < 0 || table->rank >= table->size)
        return dk_fail(err, DK_E_INVALID, "communicator: rank %lld of %lld does not exist", (long long)table->rank,
                       (long long)table->size);
    if (!table->all_to_all_start || !table->all_gather_start || !table->wait || !table->broadcast || !table->barrier)
        return dk_fail(err, DK_E_INVALID,
                       "communicator: all_to_all_start, all_gather_start, wait, broadcast and barrier must be given");
    return DK_OK;
}

void dk_ranks_free(dk_host *host)
{
    struct dk_ranks *old = host->ranks;
    host->ranks = NULL;
    if (!old) return;
    if (old->table.destroy) old->table.destroy(old->table.user);
    dk_free(host, old->votes);
    dk_free(host, old);
}

int32_t dk_host_set_ranks(dk_host *host, const dk_communicator *table, dk_error *err)
{
    struct dk_ranks *ranks = NULL;
    int32_t rc = DK_OK;
    if (table) DK_TRY(check_table(table, err));
    if (table) {
        DK_TRY(dk_new(host, 1, &ranks, err));
        DK_TRY(dk_new(host, table->size, &ranks->votes, err));
        ranks->table = *table;
    }
    dk_ranks_free(host);
    host->ranks = ranks;
    return DK_OK;
out:
    dk_free(host, ranks);
    if (table->destroy) table->destroy(table->user);
    return rc;
}

int64_t dk_rank(const dk_host *host) { return host->ranks ? host->ranks->table.rank : 0; }

int64_t dk_ranks(const dk_host *host) { return host->ranks ? host->ranks->table.size : 1; }

/* ---- bytes ---- */

static int32_t told(struct dk_ranks *ranks, const char *what, int32_t code, dk_error *err)
{
    if (code == 0) return DK_OK;
    ranks->broken = 1;
    if (code == DK_RANKS_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "communicator: %s of rank %lld was cancelled", what,
                       (long long)ranks->table.rank);
    dk_fail(err, DK_E_CALLBACK,
            "communicator: %s of rank %lld returned %d: another rank is gone, or cannot be reached; start all of them "
            "again, and resume",
            what, (long long)ranks->table.rank, (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t check_whole(const struct dk_ranks *ranks, dk_error *err)
{
    if (!ranks->broken) return DK_OK;
    return dk_fail(err, DK_E_CALLBACK, "communicator: a call of rank %lld failed before, the others are not called",
                   (long long)ranks->table.rank);
}

int32_t dk_ranks_exchange(dk_host *host, const void *in, void *out, int64_t bytes_each, int64_t *ticket, dk_error *err)
{
    struct dk_ranks *ranks = host->ranks;
    *ticket = -1;
    if (!ranks) {
        memcpy(out, in, (size_t)bytes_each);
        return DK_OK;
    }
    if (check_whole(ranks, err)) return DK_E_CALLBACK;
    return told(ranks, "all_to_all", ranks->table.all_to_all_start(ranks->table.user, in, out, bytes_each, ticket),
                err);
}

int32_t dk_ranks_collect(dk_host *host, const void *in, void *out, int64_t bytes_each, int64_t *ticket, dk_error *err)
{
    struct dk_ranks *ranks = host->ranks;
    *ticket = -1;
    if (!ranks) {
        memcpy(out, in, (size_t)bytes_each);
        return DK_OK;
    }
    if (check_whole(ranks, err)) return DK_E_CALLBACK;
    return told(ranks, "all_gather", ranks->table.all_gather_start(ranks->table.user, in, out, bytes_each, ticket),
                err);
}

int32_t dk_ranks_wait(dk_host *host, int64_t ticket, dk_error *err)
{
    struct dk_ranks *ranks = host->ranks;
    if (!ranks) return DK_OK;
    if (check_whole(ranks, err)) return DK_E_CALLBACK;
    return told(ranks, "wait", ranks->table.wait(ranks->table.user, ticket), err);
}

int32_t dk_ranks_gather(dk_host *host, const void *in, void *out, int64_t bytes_each, dk_error *err)
{
    int64_t ticket = -1;
    const int32_t rc = dk_ranks_collect(host, in, out, bytes_each, &ticket, err);
    return rc == DK_OK ? dk_ranks_wait(host, ticket, err) : rc;
}

int32_t dk_ranks_barrier(dk_host *host, dk_error *err)
{
    struct dk_ranks *ranks = host->ranks;
    if (!ranks) return DK_OK;
    if (check_whole(ranks, err)) return DK_E_CALLBACK;
    return told(ranks, "barrier", ranks->table.barrier(ranks->table.user), err);
}

int32_t dk_ranks_broadcast(dk_host *host, void *data, int64_t bytes, int64_t root, dk_error *err)
{
    struct dk_ranks *ranks = host->ranks;
    if (!ranks) return DK_OK;
    if (check_whole(ranks, err)) return DK_E_CALLBACK;
    return told(ranks, "broadcast", ranks->table.broadcast(ranks->table.user, data, bytes, root), err);
}

static int32_t make_room(dk_host *host, int64_t size, char **out, dk_error *err)
{
    if (size >= 0 && size < INT64_MAX) return dk_new(host, size + 1, out, err);
    return dk_fail(err, DK_E_FORMAT, "communicator: a message of %lld bytes is announced to rank %lld, which cannot be",
                   (long long)size, (long long)dk_rank(host));
}

int32_t dk_ranks_bytes(dk_host *host, dk_strbuf *bytes, int64_t root, dk_error *err)
{
    const int32_t own = dk_rank(host) == root;
    int64_t size = (int64_t)bytes->size;
    char *copy = NULL;
    int32_t rc;
    if (dk_ranks(host) == 1) return DK_OK;
    DK_TRY(dk_ranks_broadcast(host, &size, sizeof size, root, err));
    DK_TRY(dk_ranks_agree(host, own ? dk_strbuf_check(bytes, err) : make_room(host, size, &copy, err), err));
    if (size) DK_TRY(dk_ranks_broadcast(host, own ? bytes->data : copy, size, root, err));
    if (own) goto out;
    dk_strbuf_clear(bytes);
    dk_strbuf_append(bytes, copy, (size_t)size);
    rc = dk_strbuf_check(bytes, err);
out:
    dk_free(host, copy);
    return rc;
}

int32_t dk_ranks_text(dk_host *host, dk_strbuf *text, dk_error *err) { return dk_ranks_bytes(host, text, 0, err); }

int32_t dk_ranks_lost(const dk_host *host) { return host->ranks && host->ranks->broken; }

/* ---- agreement ---- */

/* The rank whose error becomes that of all; -1 = none. */
static int64_t choose(const vote *votes, int64_t size)
{
    int64_t chosen = -1;
    for (int64_t i = 0; i < size; i++) {
        const int32_t fails = votes[i].rc != DK_OK, stops = votes[i].rc == DK_E_CANCELLED || votes[i].rc == DK_E_END;
        if (fails && !stops) return i;
        if (fails && chosen < 0) chosen = i;
    }
    return chosen;
}

static int32_t take_error(dk_host *host, int64_t rank, dk_error *err)
{
    const struct dk_ranks *ranks = host->ranks;
    dk_error all;
    int32_t rc;
    memset(&all, 0, sizeof all);
    if (err && rank == ranks->table.rank) all = *err;
    DK_TRY(dk_ranks_broadcast(host, &all, sizeof all, rank, err));
    all.message[sizeof all.message - 1] = 0;
    if (err) *err = all;
    rc = all.code;
    if (rc != DK_E_END) dk_error_context(err, "rank %lld", (long long)rank);
out:
    return rc;
}

int32_t dk_ranks_meet(dk_host *host, int32_t rc, uint32_t *flags, dk_error *err)
{
    const vote own = {rc, flags ? *flags : 0};
    dk_error first, problem;
    if (dk_ranks(host) == 1) return rc;
    const int64_t size = dk_ranks(host);
    vote *votes = host->ranks->votes;
    int32_t met;
    if (rc == DK_E_CALLBACK && host->ranks->broken) return rc; /* nobody would answer */
    dk_error_clear(&first);
    if (err && rc) first = *err;
    else first.code = rc;
    if ((met = dk_ranks_gather(host, &own, votes, sizeof own, &problem)) != DK_OK) {
        if (err) *err = problem;
        return met;
    }
    for (int64_t i = 0; flags && i < size; i++) *flags |= votes[i].flags;
    const int64_t chosen = choose(votes, size);
    if (chosen < 0) return DK_OK;
    rc = take_error(host, chosen, &first);
    if (err) *err = first;
    return rc;
}

int32_t dk_ranks_agree(dk_host *host, int32_t rc, dk_error *err) { return dk_ranks_meet(host, rc, NULL, err); }

int32_t dk_ranks_refuse(const dk_host *host, const char *what, dk_error *err)
{
    if (dk_ranks(host) == 1) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s is not shared among ranks: each of the %lld would do all of it; do it in one process, without a "
                   "communicator",
                   what, (long long)dk_ranks(host));
}
