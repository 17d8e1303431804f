/* ranks.h - the other processes of the same job, which the host brings: a table of functions that carry bytes. Without
 * one a host is alone: rank 0 of 1, and nothing here calls anybody.
 *
 * Every function below is called by all ranks, in the same order, by one thread at a time. After a table's function has
 * failed nothing is called any more: the others are gone. */
#ifndef DK_BASE_RANKS_H
#define DK_BASE_RANKS_H

#include "base/host.h"
#include "base/strbuf.h"

typedef struct dk_communicator { /* functions return 0, DK_RANKS_CANCEL, or a failure of their own */
    void *user;
    void (*destroy)(void *user);
    int64_t rank, size;
    int32_t (*all_to_all_start)(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket);
    int32_t (*all_gather_start)(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket);
    int32_t (*wait)(void *user, int64_t ticket);
    int32_t (*broadcast)(void *user, void *data, int64_t bytes, int64_t root);
    int32_t (*barrier)(void *user);
    void (*abort)(void *user, const char *message);
} dk_communicator;
enum { DK_RANKS_CANCEL = 2 };

/* NULL = alone. The table is taken over, also where it is refused: destroy has run then. */
int32_t dk_host_set_ranks(dk_host *host, const dk_communicator *table, dk_error *err);
int64_t dk_rank(const dk_host *host);
int64_t dk_ranks(const dk_host *host); /* how many there are; 1 = alone */

/* in [size, bytes_each] -> out [size, bytes_each]: part j goes to rank j. Both stay untouched by others until wait. */
int32_t dk_ranks_exchange(dk_host *host, const void *in, void *out, int64_t bytes_each, int64_t *ticket, dk_error *err);
/* in [bytes_each] -> out [size, bytes_each] */
int32_t dk_ranks_collect(dk_host *host, const void *in, void *out, int64_t bytes_each, int64_t *ticket, dk_error *err);
int32_t dk_ranks_wait(dk_host *host, int64_t ticket, dk_error *err);
int32_t dk_ranks_gather(dk_host *host, const void *in, void *out, int64_t bytes_each, dk_error *err); /* both */
int32_t dk_ranks_barrier(dk_host *host, dk_error *err);
int32_t dk_ranks_broadcast(dk_host *host, void *data, int64_t bytes, int64_t root, dk_error *err);

/* What rank root has becomes that of all. */
int32_t dk_ranks_bytes(dk_host *host, dk_strbuf *bytes, int64_t root, dk_error *err);
int32_t dk_ranks_text(dk_host *host, dk_strbuf *text, dk_error *err); /* of rank 0 */
int32_t dk_ranks_lost(const dk_host *host);                           /* a call failed before: nobody can be reached */

/* What became of all: DK_OK where every rank has rc DK_OK; else the same error everywhere, "rank 2: ...", a failure
 * before a cancellation. flags (or NULL): bits that any rank has. */
int32_t dk_ranks_meet(dk_host *host, int32_t rc, uint32_t *flags, dk_error *err);
int32_t dk_ranks_agree(dk_host *host, int32_t rc, dk_error *err);
/* What all ranks must have alike. Each value is compared with rank 0's; rc: what became of finding them. E_MISMATCH:
 * "ranks differ in the NAME: rank 0 has ..., rank 2 has ...". */
enum { DK_RANKS_ITEMS = 12 };
typedef struct dk_ranks_item {
    const char *name;
    char value[96];
} dk_ranks_item;
int32_t dk_ranks_same(dk_host *host, int32_t rc, const dk_ranks_item *items, int64_t count, dk_error *err);
void dk_ranks_item_hash(dk_ranks_item *item, const char *text, size_t size); /* the value is a short hash of it */
/* For what would be done once by every rank. what: "augmentation". */
int32_t dk_ranks_refuse(const dk_host *host, const char *what, dk_error *err);

#endif
