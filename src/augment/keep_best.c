/* keep_best.c - keep: best. Of the samples that were made of one and the same, the one with the highest score; of equal
 * ones the first. by: teacher_likelihood is asked of the teacher where a sample has it not. */
#include <math.h>
#include <string.h>

#include "augment/likelihood.h"

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
        di_likelihood_init(&k->likelihood, step, step->teacher);
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

static int32_t is_sibling(const di_record *a, const di_record *b)
{
    const char *first = di_record_parent(a), *second = di_record_parent(b);
    return first && second && !strcmp(first, second);
}

/* The index of the best of those that are siblings of record i. */
static int64_t best_for(di_record *const *in, const double *scores, int64_t count, int64_t i)
{
    int64_t best = -1;
    for (int64_t j = 0; j < count; j++) {
        if (isnan(scores[j]) || (j != i && !is_sibling(in[i], in[j]))) continue;
        if (best < 0 || scores[j] > scores[best]) best = j;
    }
    return best;
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
    for (int64_t i = 0; i < count; i++) best[i] = best_for(in, scores, count, i);
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
