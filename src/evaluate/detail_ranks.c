/* detail_ranks.c - details of several ranks, each of which scored some of the windows: sums in the order of ranks,
 * and of all contexts the furthest apart. */
#include "base/ranks.h"
#include "evaluate/detail_parts.h"

static void add_sums(di_sums *to, const di_sums *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i].tokens += from[i].tokens;
        to[i].nats += from[i].nats;
        to[i].teacher_nats += from[i].teacher_nats;
        to[i].kl += from[i].kl;
    }
}

static void add(di_detail_tally *to, const di_detail_tally *from)
{
    add_sums(to->position, from->position, DI_POSITIONS);
    add_sums(to->frequency, from->frequency, DI_FREQUENCIES);
    add_sums(to->block, from->block, DI_BLOCKS);
    for (int64_t i = 0; i < from->found.count; i++) di_disagreements_take(&to->found, &from->found.items[i]);
}

int32_t di_detail_meet(di_detail *detail, dk_error *err)
{
    const int64_t ranks = dk_ranks(detail->host);
    di_detail_tally *all = NULL;
    int32_t rc;
    if (ranks == 1) return DK_OK;
    DK_TRY(dk_ranks_agree(detail->host, dk_new(detail->host, ranks, &all, err), err));
    DK_TRY(dk_ranks_gather(detail->host, &detail->tally, all, sizeof detail->tally, err));
    detail->tally = all[0];
    for (int64_t j = 1; j < ranks; j++) add(&detail->tally, &all[j]);
out:
    dk_free(detail->host, all);
    return rc;
}
