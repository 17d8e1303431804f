/* target_sparse.c - what TOPK, SAMPLED and ONE_HOT targets say, looked at before a loss sees it: ids that exist, once
 * each, and masses that belong to one distribution. */
#include <math.h>

#include "target/target.h"

enum { ROOM = 1 << 20 }; /* ids; grown for larger ones */

struct di_sparse_check {
    dk_host *host;
    int64_t vocab, room;
    uint64_t *seen; /* [room / 64 + 1] bit per id, all 0 between rows */
};

int32_t di_sparse_check_create(dk_host *host, int64_t vocab, di_sparse_check **out, dk_error *err)
{
    di_sparse_check *check = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &check, err));
    check->host = host;
    check->vocab = vocab;
    check->room = vocab < ROOM ? vocab : ROOM;
    DK_TRY(dk_new(host, check->room / 64 + 1, &check->seen, err));
out:
    if (rc) di_sparse_check_free(check);
    else *out = check;
    return rc;
}

void di_sparse_check_free(di_sparse_check *check)
{
    if (!check) return;
    dk_free(check->host, check->seen);
    dk_free(check->host, check);
}

typedef struct sparse_row {
    const distill_target *target;
    const int32_t *ids;              /* [k] */
    const float *values;             /* [k]; NULL = one-hot */
    int64_t k, index, number, vocab; /* index: in the target; number: for messages */
} sparse_row;

static int32_t make_room(di_sparse_check *check, const sparse_row *row, dk_error *err)
{
    int64_t room = check->room;
    uint64_t *seen = NULL;
    int32_t rc;
    for (int64_t j = 0; j < row->k; j++)
        if (row->ids[j] > room) room = row->ids[j];
    if (room == check->room) return DK_OK;
    if ((rc = dk_new(check->host, room / 64 + 1, &seen, err)) != DK_OK) return rc;
    dk_free(check->host, check->seen);
    check->seen = seen;
    check->room = room;
    return DK_OK;
}

/* Clears what it marked, also where it stops: at the second of two equal ids, or at the end. */
static int32_t check_once(di_sparse_check *check, const sparse_row *row, dk_error *err)
{
    int64_t end = 0;
    int32_t rc = DK_OK;
    for (; end < row->k && rc == DK_OK; end++) {
        const int32_t id = row->ids[end];
        const uint64_t bit = id < 0 ? 0 : (uint64_t)1 << (id % 64);
        if (id < 0) continue;
        if (check->seen[id / 64] & bit)
            rc = dk_fail(err, DK_E_INVALID, "teacher: row %lld has id %d twice; add up what belongs to one id",
                         (long long)row->number, (int)id);
        check->seen[id / 64] |= bit;
    }
    for (int64_t j = 0; j < end; j++)
        if (row->ids[j] >= 0) check->seen[row->ids[j] / 64] = 0;
    return rc;
}

static int32_t check_values(const sparse_row *row, dk_error *err)
{
    const int32_t logs = row->target->kind == DISTILL_TOPK;
    for (int64_t j = 0; j < row->k; j++) {
        const double value = row->values && row->ids[j] >= 0 ? (double)row->values[j] : 0;
        char text[32];
        if (row->ids[j] >= row->vocab)
            return dk_fail(err, DK_E_INVALID,
                           "teacher: id of row %lld is %d, outside the %lld ids that both sides know",
                           (long long)row->number, (int)row->ids[j], (long long)row->vocab);
        if (logs ? value <= 1e-3 : value >= 0 && isfinite(value)) continue;
        dk_format_f64(value, text);
        return dk_fail(err, DK_E_INVALID, "teacher: the %s of id %d of row %lld is %s; it must be %s",
                       logs ? "log-probability" : "count", (int)row->ids[j], (long long)row->number, text,
                       logs ? "at most 0" : "finite and not negative");
    }
    return DK_OK;
}

static int32_t refuse_mass(const sparse_row *row, double listed, const float *tail, int32_t heaviest, dk_error *err)
{
    char mass[32], rest[32];
    dk_format_f64(listed, mass);
    if (!tail)
        return dk_fail(err, DK_E_INVALID,
                       "teacher: the ids of row %lld hold a mass of %s, above 1 (most of it id %d); values are "
                       "log-probabilities over the whole vocabulary",
                       (long long)row->number, mass, (int)heaviest);
    dk_format_f64(exp((double)*tail), rest);
    return dk_fail(
        err, DK_E_INVALID,
        "teacher: the ids of row %lld hold a mass of %s and the tail %s, together not 1; the tail is the log "
        "of the mass outside the ids",
        (long long)row->number, mass, rest);
}

/* Logarithms that were rounded may be off by as much of their mass. */
static int32_t check_mass(const sparse_row *row, double rounding, dk_error *err)
{
    const float *tail = row->target->tail ? (const float *)row->target->tail->data + row->index : NULL;
    double listed = 0, slack = 1e-4, most = -INFINITY;
    int32_t heaviest = -1;
    for (int64_t j = 0; j < row->k; j++) {
        const double log_p = (double)row->values[j], p = exp(log_p);
        if (row->ids[j] < 0) continue;
        listed += p;
        if (p > 0) slack -= rounding * p * log_p;
        if (log_p <= most) continue;
        most = log_p;
        heaviest = row->ids[j];
    }
    if (tail && !((double)*tail <= 1e-3)) return refuse_mass(row, listed, tail, heaviest, err);
    if (listed > 1 + slack) return refuse_mass(row, listed, NULL, heaviest, err);
    if (!tail) return DK_OK;
    if (*tail > -INFINITY) slack -= rounding * exp((double)*tail) * (double)*tail;
    return fabs(listed + exp((double)*tail) - 1) <= slack ? DK_OK : refuse_mass(row, listed, tail, heaviest, err);
}

/* Rounding may leave that of a certain row below 0. */
static int32_t check_entropy(const sparse_row *row, dk_error *err)
{
    const distill_tensor *entropy = row->target->entropy;
    const double value = entropy ? (double)((const float *)entropy->data)[row->index] : 0;
    char text[32];
    if (value >= -1e-3 && isfinite(value)) return DK_OK;
    dk_format_f64(value, text);
    return dk_fail(err, DK_E_INVALID, "teacher: the entropy of row %lld is %s; it must be finite and not negative",
                   (long long)row->number, text);
}

int32_t di_sparse_check_row(di_sparse_check *check, const distill_target *target, int64_t index,
                            const di_sparse_rules *rules, dk_error *err)
{
    const int64_t k = target->ids->ndim == 2 ? target->ids->shape[1] : 1;
    const int64_t place = rules->first + index;
    sparse_row row = {target,
                      (const int32_t *)target->ids->data + index * k,
                      NULL,
                      k,
                      index,
                      rules->numbers ? rules->numbers[place] : place,
                      rules->vocab < check->vocab ? rules->vocab : check->vocab};
    double drawn = 0;
    int32_t rc;
    if (target->values && target->kind != DISTILL_ONE_HOT) row.values = (const float *)target->values->data + index * k;
    DK_TRY(check_values(&row, err));
    DK_TRY(make_room(check, &row, err));
    DK_TRY(check_once(check, &row, err));
    if (target->kind == DISTILL_TOPK) DK_TRY(check_mass(&row, rules->rounding, err));
    if (target->kind == DISTILL_SAMPLED) DK_TRY(check_entropy(&row, err));
    for (int64_t j = 0; row.values && j < k; j++)
        if (row.ids[j] >= 0) drawn += (double)row.values[j];
    if ((target->kind == DISTILL_SAMPLED && !(drawn > 0)) || (target->kind == DISTILL_ONE_HOT && row.ids[0] < 0))
        rc = dk_fail(err, DK_E_INVALID, "teacher: row %lld of a %s target has no id", (long long)row.number,
                     di_kind_name(target->kind));
out:
    return rc;
}
