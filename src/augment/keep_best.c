/* keep_best.c - keep: best. Of the samples that were made of one and the same, the one with the highest score; of equal
 * ones the first. by: teacher_likelihood is asked of the teacher where a sample has it not. */
#include <math.h>
#include <string.h>

#include "augment/likelihood.h"
#include "base/hash.h"

typedef struct keep_best {
    const di_step *step;
    const char *by;
    di_likelihood likelihood; /* zeroed = is not asked for */
} keep_best;

static void free_state(void *state)
{
    keep_best *k = state;
    di_likelihood_free(&k->likelihood);
    dk_free(k->step->host, k);
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    keep_best *k = NULL;
    int32_t rc;
    if (!di_options_text(step->options, "by"))
        return di_step_fail(step, err, "by is missing: teacher_likelihood, or the name of a score or of a field");
    DK_TRY(dk_new(step->host, 1, &k, err));
    k->step = step;
    k->by = di_options_text(step->options, "by");
    if (!strcmp(k->by, "teacher_likelihood") && step->teacher && step->encoder)
        DK_TRY(di_likelihood_init(&k->likelihood, step, step->teacher, err));
    *state = k;
out:
    return rc;
}

typedef struct unscored { /* samples that have no score yet */
    di_record **records;  /* [count] */
    int64_t *places;      /* [count] of each in the chunk */
    double *means;
    const char **why;
    int64_t count;
} unscored;

static int32_t ask_teacher(keep_best *k, unscored *u, double *scores, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_likelihood_of(&k->likelihood, u->records, u->count, u->means, u->why, err));
    for (int64_t i = 0; i < u->count; i++) {
        scores[u->places[i]] = u->means[i];
        if (!isnan(u->means[i])) DK_TRY(di_record_set_score(u->records[i], k->by, u->means[i], err));
    }
out:
    return rc;
}

/* scores [count]; NAN = has none */
static int32_t find_scores(keep_best *k, di_record **in, int64_t count, double *scores, dk_error *err)
{
    dk_host *host = k->step->host;
    unscored u = {0};
    int32_t rc;
    DK_TRY(dk_new(host, count, &u.records, err));
    DK_TRY(dk_new(host, count, &u.places, err));
    DK_TRY(dk_new(host, count, &u.means, err));
    DK_TRY(dk_new(host, count, &u.why, err));
    for (int64_t i = 0; i < count; i++) {
        if (di_record_number(in[i], k->by, &scores[i])) continue;
        scores[i] = NAN;
        u.records[u.count] = in[i];
        u.places[u.count++] = i;
    }
    if (u.count && k->likelihood.step) DK_TRY(ask_teacher(k, &u, scores, err));
out:
    dk_free(host, u.records);
    dk_free(host, u.places);
    dk_free(host, u.means);
    dk_free(host, u.why);
    return rc;
}

typedef struct family { /* of samples that were made of one and the same */
    const char *parent; /* NULL = an empty slot */
    int64_t best;
} family;

/* Slots are a power of two, at least twice as many as there are families. */
static family *family_of(family *families, int64_t slots, const char *parent)
{
    int64_t at = (int64_t)(dk_hash64(parent, strlen(parent)) & (uint64_t)(slots - 1));
    while (families[at].parent && strcmp(families[at].parent, parent) != 0) at = (at + 1) & (slots - 1);
    return &families[at];
}

/* best [count]: of those that are siblings of each, itself where it has none; -1 = none has a score. */
static int32_t find_best(const keep_best *k, di_record *const *in, const double *scores, int64_t count, int64_t *best,
                         dk_error *err)
{
    family *families = NULL;
    int64_t slots = 2;
    int32_t rc;
    while (slots < 2 * count) slots *= 2;
    DK_TRY(dk_new(k->step->host, slots, &families, err));
    for (int64_t i = 0; i < count; i++) {
        const char *parent = di_record_parent(in[i]);
        if (!parent || isnan(scores[i])) continue;
        family *own = family_of(families, slots, parent);
        if (!own->parent || scores[i] > scores[own->best]) *own = (family){parent, i};
    }
    for (int64_t i = 0; i < count; i++) {
        const char *parent = di_record_parent(in[i]);
        best[i] = isnan(scores[i]) ? -1 : parent ? family_of(families, slots, parent)->best : i;
    }
out:
    dk_free(k->step->host, families);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    keep_best *k = state;
    double *scores = NULL;
    int64_t *best = NULL;
    int32_t rc;
    DK_TRY(dk_new(k->step->host, count, &scores, err));
    DK_TRY(dk_new(k->step->host, count, &best, err));
    DK_TRY(find_scores(k, in, count, scores, err));
    DK_TRY(find_best(k, in, scores, count, best, err));
    for (int64_t i = 0; i < count; i++) {
        const char *why = isnan(scores[i]) ? "no_such_score" : "not_the_best";
        DK_TRY(best[i] == i ? di_flow_emit(flow, &in[i], err) : di_flow_drop(flow, &in[i], why, err));
    }
out:
    dk_free(k->step->host, scores);
    dk_free(k->step->host, best);
    return rc;
}

const di_operator_functions di_keep_best = {.create = create, .free = free_state, .apply = apply};
