/* ranks_same.c - is it the same on all ranks? What differs is named, by rank 0's value and the other one. */
#include <string.h>

#include "base/hash.h"
#include "base/ranks.h"

typedef char values[DK_RANKS_ITEMS][sizeof((dk_ranks_item *)0)->value];

void dk_ranks_item_hash(dk_ranks_item *item, const char *text, size_t size)
{
    uint8_t digest[32];
    dk_sha256 sha;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, text, size);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, 8, item->value);
}

/* The first rank and item that differ from rank 0's; rank 0 = none. */
static int64_t find_other(const values *all, int64_t ranks, int64_t count, int64_t *item)
{
    for (int64_t j = 1; j < ranks; j++)
        for (*item = 0; *item < count; ++*item)
            if (memcmp(all[j][*item], all[0][*item], sizeof all[0][0]) != 0) return j;
    return 0;
}

int32_t dk_ranks_same(dk_host *host, int32_t rc, const dk_ranks_item *items, int64_t count, dk_error *err)
{
    const int64_t ranks = dk_ranks(host);
    values own, *all = NULL;
    int64_t item = 0;
    if (ranks == 1) return rc;
    memset(own, 0, sizeof own);
    for (int64_t i = 0; i < count; i++) strncpy(own[i], items[i].value, sizeof own[i] - 1);
    DK_TRY(dk_ranks_agree(host, rc, err));
    DK_TRY(dk_ranks_agree(host, dk_new(host, ranks, &all, err), err));
    DK_TRY(dk_ranks_gather(host, own, all, sizeof own, err));
    const int64_t other = find_other((const values *)all, ranks, count, &item);
    if (other)
        rc = dk_fail(err, DK_E_MISMATCH, "ranks differ in the %s: rank 0 has %.64s, rank %lld has %.64s",
                     items[item].name, all[0][item], (long long)other, all[other][item]);
out:
    dk_free(host, all);
    return rc;
}
