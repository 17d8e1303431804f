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

/* Counts of another process are bounds of loops here. */
static int32_t check_told(const di_disagreements *found, dk_error *err)
{
    int32_t good = found->count >= 0 && found->count <= DI_DISAGREEMENTS;
    for (int64_t i = 0; good && i < found->count; i++) {
        const di_disagreement *one = &found->items[i];
        good = one->context_count >= 0 && one->context_count <= DI_CONTEXT && one->count >= 0 &&
               one->count <= 2 * DI_LIKELY;
    }
    if (good) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "ranks tell of contexts that cannot be: do all run the same program?");
}

int32_t di_detail_meet(di_detail *detail, dk_error *err)
{
    const int64_t ranks = dk_ranks(detail->host);
    di_detail_tally *all = NULL;
    int32_t rc;
    if (ranks == 1) return DK_OK;
    DK_TRY(dk_ranks_agree(detail->host, dk_new(detail->host, ranks, &all, err), err));
    DK_TRY(dk_ranks_gather(detail->host, &detail->tally, all, sizeof detail->tally, err));
    for (int64_t j = 0; j < ranks; j++) DK_TRY(check_told(&all[j].found, err));
    detail->tally = all[0];
    for (int64_t j = 1; j < ranks; j++) add(&detail->tally, &all[j]);
out:
    dk_free(detail->host, all);
    return rc;
}
