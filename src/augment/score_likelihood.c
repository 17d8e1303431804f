/* score_likelihood.c - score: likelihood and score: gap. teacher_likelihood is the mean log-probability of what is
 * learnt of a sample, teacher_perplexity its exp(-x); with a student, student_likelihood is the same of it, and gap
 * what the teacher finds likelier. */
#include <math.h>

#include "augment/likelihood.h"

typedef struct score_likelihood {
    const di_step *step;
    di_likelihood teacher, student;
    di_teacher *other; /* the student; NULL = none */
    char other_hash[65];
} score_likelihood;

static void free_state(void *state)
{
    score_likelihood *s = state;
    di_likelihood_free(&s->teacher);
    di_likelihood_free(&s->student);
    di_teacher_release(s->other);
    dk_free(s->step->host, s);
}

static int32_t open_student(score_likelihood *s, dk_error *err)
{
    const char *path = di_options_text(s->step->options, "model");
    int32_t rc;
    if (!path) return di_step_fail(s->step, err, "model is missing: the student's folder or GGUF file");
    DK_TRY(di_teacher_open(s->step->backend, path, 1, &s->other, err));
    DK_TRY(di_check_same_tokenizers("the teacher", s->step->teacher, "the student", s->other, err));
    DK_TRY(di_teacher_hash(s->other, s->other_hash, err));
    DK_TRY(di_likelihood_init(&s->student, s->step, s->other, err));
out:
    return rc;
}

static int32_t create_either(const di_step *step, int32_t gap, void **state, dk_error *err)
{
    score_likelihood *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &s, err));
    s->step = step;
    DK_TRY(di_likelihood_init(&s->teacher, step, step->teacher, err));
    if (gap) DK_TRY(open_student(s, err));
    *state = s;
    return DK_OK;
out:
    if (s) free_state(s);
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err) { return create_either(step, 0, state, err); }

static int32_t create_gap(const di_step *step, void **state, dk_error *err)
{
    return create_either(step, 1, state, err);
}

static int32_t set_scores(const score_likelihood *s, di_record *record, double teacher, double student, dk_error *err)
{
    const di_made made = {.verb = s->step->verb,
                          .name = s->step->name,
                          .teacher = s->other ? s->other_hash : s->step->teacher_hash,
                          .seed = s->step->seed};
    int32_t rc;
    DK_TRY(di_record_set_score(record, "teacher_likelihood", teacher, err));
    DK_TRY(di_record_set_score(record, "teacher_perplexity", exp(-teacher), err));
    if (s->other) {
        DK_TRY(di_record_set_score(record, "student_likelihood", student, err));
        DK_TRY(di_record_set_score(record, "gap", teacher - student, err));
    }
    rc = di_record_add_operator(record, &made, err);
out:
    return rc;
}

static int32_t finish(const score_likelihood *s, di_record **record, double teacher, double student, const char *why,
                      di_flow *flow, dk_error *err)
{
    int32_t rc;
    if (!why && !(isfinite(teacher) && isfinite(student))) why = "not_finite";
    if (why) return di_flow_aside(flow, record, why, err);
    DK_TRY(set_scores(s, *record, teacher, student, err));
    rc = di_flow_emit(flow, record, err);
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    score_likelihood *s = state;
    double *means = NULL;
    const char **why = NULL;
    int32_t rc;
    DK_TRY(dk_new(s->step->host, 2 * count, &means, err));
    DK_TRY(dk_new(s->step->host, 2 * count, &why, err));
    DK_TRY(di_likelihood_of(&s->teacher, in, count, means, why, err));
    if (s->other) DK_TRY(di_likelihood_of(&s->student, in, count, means + count, why + count, err));
    for (int64_t i = 0; i < count; i++)
        DK_TRY(finish(s, &in[i], means[i], means[count + i], why[i] ? why[i] : why[count + i], flow, err));
out:
    dk_free(s->step->host, means);
    dk_free(s->step->host, why);
    return rc;
}

static const char *identity(const void *state) { return ((const score_likelihood *)state)->other_hash; }

const di_operator_functions di_score_likelihood = {.create = create, .free = free_state, .apply = apply};
const di_operator_functions di_score_gap = {
    .create = create_gap, .free = free_state, .apply = apply, .identity = identity};
