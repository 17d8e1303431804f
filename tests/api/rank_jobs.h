/* rank_jobs.h - a training by several ranks, as threads with an env each, or by one process: it is run, and what came
 * of it is kept. */
#ifndef TESTS_API_RANK_JOBS_H
#define TESTS_API_RANK_JOBS_H

#include "small.h"
#include "thread_ranks.h"

/* A sanitizer looks at threads and memory, which a few steps show as well. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { STEPS = 12 };
#else
enum { STEPS = 50 };
#endif

typedef struct job {
    const char *more, *out; /* YAML; the output folder, or NULL */
    int32_t want, resume;
    const char *says; /* the message, where want is a failure */
    int64_t steps;
    distill_progress_fn progress;
    int32_t only; /* rank that has it; -1 = all */
    int64_t fails_rank, fails_at;
    int32_t by_options; /* the teacher is opened by the trainer, as options say */
    void (*before)(small *s, int64_t rank);
    small ranks[THREAD_RANKS];
    distill_progress last[THREAD_RANKS];
    int64_t bytes[THREAD_RANKS], calls[THREAD_RANKS];
} job;

static inline int32_t note_progress(void *user, const distill_progress *p)
{
    memcpy(user, p, sizeof *p);
    return DISTILL_CB_OK;
}

static inline int32_t join_ranks(small *s, thread_rank *r, distill_error *err)
{
    distill_communicator table;
    if (!r) return DISTILL_OK;
    DISTILL_INIT(&table);
    THREAD_COMMUNICATOR(&table, r);
    return distill_env_set_communicator(s->env, &table, err);
}

static inline int32_t open_rank(small *s, thread_rank *r, const job *j, distill_error *err)
{
    char yaml[2000];
    memset(s, 0, sizeof *s);
    snprintf(yaml, sizeof yaml, "train: {steps: %d, warmup_steps: 2}\n%s%s%s\n", (int)(j->steps ? j->steps : STEPS),
             j->out ? "output: '" : "", j->out ? j->out : "", j->out ? "'" : "");
    int32_t rc = small_env(s, NULL, yaml, err);
    if (!rc && j->more) rc = distill_options_parse(s->options, j->more, strlen(j->more), "more", err);
    if (!rc) rc = join_ranks(s, r, err);
    if (!rc) rc = small_handles(s, err);
    if (j->by_options) {
        distill_teacher_free(s->teacher);
        s->teacher = NULL;
    }
    if (!rc && j->before) j->before(s, r ? r->rank : 0);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static inline void one_rank(thread_rank *r, void *user)
{
    job *j = user;
    const int64_t rank = r ? r->rank : 0;
    small *s = &j->ranks[rank];
    distill_error err;
    if (r && j->fails_at && j->fails_rank == rank) r->fails_at = j->fails_at;
    if (r) r->seconds = j->fails_at ? 3 : 60;
    int32_t rc = open_rank(s, r, j, &err);
    if (!rc) rc = distill_trainer_on_progress(s->trainer, note_progress, &j->last[rank], NULL, &err);
    if (!rc && j->progress && (j->only < 0 || j->only == rank))
        rc = distill_trainer_on_progress(s->trainer, j->progress, &j->last[rank], NULL, &err);
    if (!rc && j->resume) rc = distill_trainer_resume(s->trainer, &err);
    if (!rc) rc = distill_trainer_run(s->trainer, &err);
    if (rc != j->want) FAIL("rank %d: %d %s", (int)rank, rc, err.message);
    else if (j->says) CHECK_HAS(err.message, j->says);
    if (r) j->bytes[rank] = r->bytes;
    if (r) j->calls[rank] = r->next;
}

static inline void run_job(job *j, int64_t ranks)
{
    memset(j->ranks, 0, sizeof j->ranks);
    if (ranks == 1) one_rank(NULL, j);
    else CHECK(thread_ranks_run(ranks, one_rank, j));
}

static inline void end_job(job *j)
{
    for (int i = 0; i < THREAD_RANKS; i++) small_close(&j->ranks[i]);
}

/* |a - b| / |b| over all weights. */
static inline double relative(distill_student *a, distill_student *b)
{
    double difference = 0, size = 0;
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(a, i)); i++) {
        distill_tensor x, y;
        if (distill_student_parameter(a, name, DISTILL_WEIGHT, &x, NULL) ||
            distill_student_parameter(b, name, DISTILL_WEIGHT, &y, NULL))
            return -1;
        for (int64_t k = 0; k < small_elements(&x); k++) {
            const double p = (double)((const float *)x.data)[k], q = (double)((const float *)y.data)[k];
            difference += (p - q) * (p - q);
            size += q * q;
        }
    }
    return sqrt(difference / size);
}

static inline const char *fresh_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

#endif
