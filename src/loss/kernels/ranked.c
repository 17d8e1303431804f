#include "loss/kernels/ranked.h"

typedef struct di_best { /* the ids so far, in order */
    float key[DI_RANKED];
    int32_t id[DI_RANKED];
    int64_t count, most;
} di_best;

static void insert(di_best *best, float key, int32_t id)
{
    int64_t at = best->count;
    while (at > 0 && (best->key[at - 1] < key || (best->key[at - 1] == key && best->id[at - 1] > id))) at--;
    if (at >= best->most || key == -INFINITY) return;
    if (best->count < best->most) best->count++;
    for (int64_t i = best->count - 1; i > at; i--) {
        best->key[i] = best->key[i - 1];
        best->id[i] = best->id[i - 1];
    }
    best->key[at] = key;
    best->id[at] = id;
}

static void best_of_row(const float *z, int64_t n, di_best *best)
{
    for (int64_t i = 0; i < n; i += DK_VF) {
        const int64_t lanes = n - i < DK_VF ? n - i : DK_VF;
        const float least = best->count < best->most ? -INFINITY : best->key[best->most - 1];
        if (!dk_vm_any(dk_vf_less(dk_vf_set(least), di_load(z + i, lanes, -INFINITY)))) continue;
        for (int64_t j = 0; j < lanes; j++)
            if (z[i + j] > least) insert(best, z[i + j], (int32_t)(i + j));
    }
}

void DK_VARIANT(di_rank)(const di_pair *pair, int64_t most, di_ranking *out)
{
    di_best best;
    best.count = 0;
    best.most = most < DI_RANKED ? most : DI_RANKED;
    if (pair->p) best_of_row(pair->p->z, pair->n, &best);
    for (int64_t j = 0; !pair->p && j < pair->k; j++)
        if (pair->ids[j] >= 0) insert(&best, pair->values[j], pair->ids[j]);
    out->count = best.count;
    for (int64_t i = 0; i < best.count; i++) {
        out->id[i] = best.id[i];
        out->log_p[i] = pair->p ? di_log_at(pair->p, best.id[i]) : (double)best.key[i];
        out->log_q[i] = di_log_at(pair->q, best.id[i]);
        out->slope[i] = 0;
    }
}

void DK_VARIANT(di_rank_slopes)(const di_pair *pair, const di_ranking *ranking, double sum, double scale, float *h)
{
    const di_logits *q = pair->q;
    const dk_vf share = dk_vf_set((float)(-sum * scale)), log_sum = dk_vf_set((float)q->log_sum);
    if (sum == 0) {
        memset(h, 0, (size_t)pair->n * sizeof *h);
    } else {
        DI_VECTORS(0, pair->n)
        di_store(h + i, share * dk_vf_exp_down(di_shifted(di_load(q->z + i, lanes, q->top), q) - log_sum), lanes);
    }
    for (int64_t i = 0; i < ranking->count; i++)
        h[ranking->id[i]] = (float)(scale * (ranking->slope[i] - sum * exp(ranking->log_q[i])));
}
