/* Threads, signals, fork and the caller's floating-point environment: whatever the process does, results are the same.
 * Also built with ThreadSanitizer (tests/run.sh). */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fpenv.h"
#include "small.h"

static int32_t open_with(small *s, int64_t threads, distill_parallel_fn fn, distill_error *err)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, NULL, err);
    if (!rc) rc = distill_env_set_threads(s->env, threads, fn, NULL, NULL, err);
    if (!rc) rc = small_handles(s, err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, err);
    return rc;
}

enum { SCORED = 2 * (SMALL_LENGTH - 1) };
/* Logits [SCORED, SMALL_VOCAB] of two sequences. */
static int32_t score(const distill_teacher *teacher, float *logits, distill_error *err)
{
    int32_t ids[2 * SMALL_LENGTH];
    int64_t offsets[] = {0, SMALL_LENGTH, 2 * SMALL_LENGTH}, shape[] = {SCORED, SMALL_VOCAB};
    distill_tensor values = {.data = logits,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_batch batch;
    distill_target out;
    small_ids(ids, 2 * SMALL_LENGTH, 5);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    DISTILL_INIT(&out);
    out.kind = DISTILL_DENSE;
    out.values = &values;
    return distill_teacher_score(teacher, &batch, &out, err);
}

/* ---- threads are set once ---- */
TEST(threads_come_before_what_computes)
{
    small s = {0};
    distill_error err;
    distill_teacher *none = NULL;
    REQUIRE(small_models("threads"));
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    CHECK(distill_teacher_open(s.env, "nowhere", s.options, &none, &err) != DISTILL_OK);
    CHECK_OK(distill_env_set_threads(s.env, 3, NULL, NULL, NULL, &err)); /* nothing was made yet */
    CHECK_INT(distill_env_set_threads(s.env, 1025, NULL, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "[0, 1024]");
    REQUIRE_OK(small_handles(&s, &err));
    CHECK_INT(distill_env_set_threads(s.env, 2, NULL, NULL, NULL, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "before");
    small_close(&s);
}

/* ---- the process's own loop ---- */
static _Atomic int32_t loop_code, loop_calls;
static int32_t host_loop(void *user, int64_t n, distill_body_fn body, void *context)
{
    (void)user;
    loop_calls++;
    if (loop_code) return loop_code; /* and does nothing */
    body(context, 0, n);
    return DISTILL_OK;
}

TEST(a_failing_loop_stops_the_call)
{
    static float logits[SCORED * SMALL_VOCAB];
    small s, plain;
    distill_error err;
    distill_report *report = NULL;
    REQUIRE(small_models("threads"));
    loop_code = loop_calls = 0;
    REQUIRE_OK(open_with(&plain, 2, NULL, &err));
    REQUIRE_OK(open_with(&s, 2, host_loop, &err));
    REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
    REQUIRE_OK(distill_trainer_step(plain.trainer, NULL, &err));
    CHECK(loop_calls > 0);
    loop_code = -77;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, -77);
    CHECK(small_same_bits(s.student, plain.student)); /* the step is undone */
    CHECK_INT(score(s.teacher, logits, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, -77);
    CHECK_INT(distill_evaluate(s.student, s.teacher, s.eval, s.options, &report, &err), DISTILL_E_CALLBACK);
    CHECK(!report);
    loop_code = DISTILL_CB_CANCEL;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CANCELLED);
    loop_code = 0;
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, NULL, &err));
    }
    CHECK(small_same_bits(s.student, plain.student));
    small_close(&s);
    small_close(&plain);
}

/* ---- a caller that flushes denormals to zero ---- */
#ifdef DK_FP_DEFAULT
/* A head so small that every logit is a denormal number. */
static void shrink_head(distill_student *student)
{
    distill_error err;
    distill_tensor head;
    REQUIRE_OK(distill_student_parameter(student, "lm_head.weight", DISTILL_WEIGHT, &head, &err));
    uint32_t saved = dk_fp_enter();
    for (int64_t i = 0; i < small_elements(&head); i++) ((float *)head.data)[i] *= 1e-39f;
    dk_fp_leave(saved);
    REQUIRE_OK(distill_student_weights_changed(student, &err));
}

static void train_and_score(small *s, float *logits)
{
    distill_error err;
    distill_teacher *scorer = NULL;
    REQUIRE_OK(open_with(s, 2, NULL, &err));
    for (int i = 0; i < 4; i++) REQUIRE_OK(distill_trainer_step(s->trainer, NULL, &err));
    shrink_head(s->student);
    REQUIRE_OK(distill_teacher_from_student(s->student, &scorer, &err));
    REQUIRE_OK(score(scorer, logits, &err));
    distill_teacher_free(scorer);
}

TEST(flush_to_zero_changes_nothing)
{
    static float logits[2][SCORED * SMALL_VOCAB];
    const uint32_t flushing = DK_FP_DEFAULT | 0x8040;
    small plain, s;
    REQUIRE(small_models("threads"));
    train_and_score(&plain, logits[0]);
    CHECK(logits[0][0] != 0 && fabs((double)logits[0][0]) < 1e-37);
    _mm_setcsr(flushing);
    train_and_score(&s, logits[1]);
    uint32_t after = _mm_getcsr() & ~0x3fu;
    _mm_setcsr(DK_FP_DEFAULT);
    CHECK_INT(after, flushing); /* the caller has its own back */
    CHECK(small_same_bits(s.student, plain.student));
    CHECK(!memcmp(logits[0], logits[1], sizeof logits[0]));
    small_close(&s);
    small_close(&plain);
}

/* Everything that reads, computes or prints a number, as one text. */
static void numbers(small *s, char *out, size_t size)
{
    static const char yaml[] = "loss: {temperature: 0.7}";
    static float chosen[SCORED];
    const int64_t shape[1] = {SCORED};
    int32_t ids[SCORED + 1];
    int64_t offsets[2] = {0, SCORED + 1};
    distill_tensor values = {.data = chosen,
                             .device_type = DISTILL_CPU,
                             .ndim = 1,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_report *report = NULL;
    distill_batch batch;
    distill_error err;
    double perplexity = 0;
    size_t used;
    REQUIRE_OK(distill_options_parse(s->options, yaml, strlen(yaml), "t", &err));
    REQUIRE_OK(distill_options_set(s->options, "train.learning_rate", "0.1", &err));
    REQUIRE_OK(distill_options_set_f64(s->options, "train.min_learning_rate_ratio", 0.3, &err));
    REQUIRE_OK(distill_options_get(s->options, "", out, size, &used, &err));
    REQUIRE_OK(distill_evaluate(s->student, s->teacher, s->eval, s->options, &report, &err));
    REQUIRE_OK(distill_report_json(report, out + strlen(out), size - used, NULL, &err));
    REQUIRE_OK(distill_report_get_f64(report, "perplexity", &perplexity, &err));
    small_ids(ids, SCORED + 1, 5);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    REQUIRE_OK(distill_teacher_log_probs(s->teacher, &batch, 0.3, &values, NULL, &err));
    uint32_t saved = dk_fp_enter();
    snprintf(out + strlen(out), size - strlen(out), "%.17g", perplexity);
    for (int i = 0; i < SCORED; i++) snprintf(out + strlen(out), size - strlen(out), " %.9g", (double)chosen[i]);
    dk_fp_leave(saved);
    distill_report_free(report);
}

TEST(rounding_of_the_host_changes_nothing)
{
    static char text[4][16384];
    static const uint32_t hosts[] = {DK_FP_DEFAULT, DK_FP_DEFAULT | 0x4000, DK_FP_DEFAULT | 0xa000,
                                     DK_FP_DEFAULT | 0xe040}; /* nearest, up, down, to zero; and flushing */
    small s;
    distill_error err;
    REQUIRE(small_models("threads"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    for (int i = 0; i < 4; i++) {
        _mm_setcsr(hosts[i]);
        numbers(&s, text[i], sizeof text[i]);
        uint32_t after = _mm_getcsr() & ~0x3fu;
        _mm_setcsr(DK_FP_DEFAULT);
        CHECK_INT(after, hosts[i]);
        char *seconds = strstr(text[i], "\"seconds\"");
        REQUIRE(seconds);
        memmove(seconds, strchr(seconds, '}'), strlen(strchr(seconds, '}')) + 1);
        CHECK_STR(text[i], text[0]);
    }
    small_close(&s);
}
#else
TEST(rounding_of_the_host_changes_nothing) { SKIP("no way to round otherwise here"); }
TEST(flush_to_zero_changes_nothing) { SKIP("no way to flush denormals here"); }
#endif

/* ---- fork ---- */
#ifdef __SANITIZE_THREAD__
#define CHILD_COMPUTES 0 /* ThreadSanitizer knows no threads in a child of a process with threads */
#else
#define CHILD_COMPUTES 1
#endif
/* Exit code of a child that steps (where asked), scores and frees; -1 where it was killed. */
static int child_of(small *s, int compute, double loss)
{
    static float logits[SCORED * SMALL_VOCAB];
    int status = 0, before = test_failures;
    pid_t child = fork();
    if (!child) {
        distill_error err;
        distill_progress p;
        DISTILL_INIT(&p);
        alarm(120); /* a child that hangs is killed, and the parent sees it */
        if (compute) CHECK_OK(distill_trainer_step(s->trainer, &p, &err));
        if (compute) CHECK(p.loss == loss);
        if (compute) CHECK_OK(score(s->teacher, logits, &err));
        small_close(s);
        _exit(test_failures != before);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(children_of_fork_compute_and_free)
{
    small s, plain;
    distill_error err;
    distill_progress p;
    DISTILL_INIT(&p);
    REQUIRE(small_models("threads"));
    REQUIRE_OK(open_with(&s, 3, NULL, &err));
    REQUIRE_OK(open_with(&plain, 3, NULL, &err));
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(distill_trainer_step(plain.trainer, &p, &err));
        CHECK_INT(child_of(&s, 0, 0), 0);
        CHECK_INT(child_of(&s, CHILD_COMPUTES, p.loss), 0);
        REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
    }
    CHECK(small_same_bits(s.student, plain.student));
    small_close(&s);
    small_close(&plain);
}

/* ---- cancel ---- */
static _Atomic int64_t steps_seen;
static int32_t count_steps(void *user, const distill_progress *progress)
{
    (void)user;
    atomic_store(&steps_seen, progress->step);
    return DISTILL_CB_OK;
}

static void *cancel_later(void *trainer)
{
    while (atomic_load(&steps_seen) < 2) continue;
    distill_trainer_cancel(trainer, 1);
    return NULL;
}

static void *cancel_env_later(void *env)
{
    while (atomic_load(&steps_seen) < 2) continue;
    distill_env_cancel(env, 1);
    return NULL;
}

static _Atomic(distill_trainer *) signalled;
static void on_signal(int number)
{
    (void)number;
    distill_trainer_cancel(atomic_load(&signalled), 1);
}

static pthread_t training_thread;
static void *signal_later(void *unused)
{
    (void)unused;
    while (atomic_load(&steps_seen) < 2) continue;
    pthread_kill(training_thread, SIGUSR1);
    return NULL;
}

static void cancelled_run(small *s, void *(*canceller)(void *), void *argument)
{
    pthread_t other;
    distill_error err;
    atomic_store(&steps_seen, 0);
    REQUIRE(!pthread_create(&other, NULL, canceller, argument));
    CHECK_INT(distill_trainer_run(s->trainer, &err), DISTILL_E_CANCELLED);
    pthread_join(other, NULL);
    distill_trainer_cancel(s->trainer, 0);
    distill_env_cancel(s->env, 0);
}

TEST(cancel_from_threads_and_signals)
{
    small s;
    distill_error err;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, NULL);
    REQUIRE(small_models("threads"));
    REQUIRE_OK(small_open(&s, "train: {steps: 1000000}\n", &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, count_steps, NULL, NULL, &err));
    atomic_store(&signalled, s.trainer);
    training_thread = pthread_self();
    cancelled_run(&s, cancel_later, s.trainer);
    cancelled_run(&s, cancel_env_later, s.env);
    cancelled_run(&s, signal_later, NULL);
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    small_close(&s);
}

/* ---- several envs, and one teacher for several threads ---- */
typedef struct job {
    small s;
    int32_t rc;
    const distill_teacher *teacher;
    float logits[SCORED * SMALL_VOCAB];
} job;

static void *train_alone(void *argument)
{
    job *j = argument;
    distill_error err;
    j->rc = open_with(&j->s, 2, NULL, &err);
    for (int i = 0; !j->rc && i < 4; i++) j->rc = distill_trainer_step(j->s.trainer, NULL, &err);
    return NULL;
}

static void *score_shared(void *argument)
{
    job *j = argument;
    distill_error err;
    j->rc = 0;
    for (int i = 0; !j->rc && i < 5; i++) j->rc = score(j->teacher, j->logits, &err);
    return NULL;
}

enum { JOBS = 3 };
static void run_jobs(job *jobs, void *(*work)(void *))
{
    pthread_t threads[JOBS];
    for (int i = 0; i < JOBS; i++) REQUIRE(!pthread_create(&threads[i], NULL, work, &jobs[i]));
    for (int i = 0; i < JOBS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < JOBS; i++) CHECK_INT(jobs[i].rc, 0);
}

TEST(envs_do_not_see_each_other)
{
    static job jobs[JOBS];
    REQUIRE(small_models("threads"));
    run_jobs(jobs, train_alone);
    for (int i = 1; i < JOBS; i++) CHECK(small_same_bits(jobs[0].s.student, jobs[i].s.student));
    for (int i = 0; i < JOBS; i++) small_close(&jobs[i].s);
}

TEST(one_teacher_for_many_threads)
{
    static job jobs[JOBS];
    static float alone[SCORED * SMALL_VOCAB];
    small s;
    distill_error err;
    REQUIRE(small_models("threads"));
    REQUIRE_OK(open_with(&s, 3, NULL, &err));
    REQUIRE_OK(score(s.teacher, alone, &err));
    for (int i = 0; i < JOBS; i++) jobs[i].teacher = s.teacher;
    run_jobs(jobs, score_shared);
    for (int i = 0; i < JOBS; i++) CHECK(!memcmp(jobs[i].logits, alone, sizeof alone));
    small_close(&s);
}

TEST_MAIN(TEST_CASE(threads_come_before_what_computes) TEST_CASE(a_failing_loop_stops_the_call)
              TEST_CASE(flush_to_zero_changes_nothing) TEST_CASE(children_of_fork_compute_and_free)
                  TEST_CASE(cancel_from_threads_and_signals) TEST_CASE(envs_do_not_see_each_other)
                      TEST_CASE(one_teacher_for_many_threads) TEST_CASE(rounding_of_the_host_changes_nothing))
