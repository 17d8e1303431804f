/* Runs of several ranks: caches of targets that they fill first, what must be the same on all of them, and who is
 * slow. */
#include "rank_jobs.h"

/* ---- caches ---- */

static int same_files(const char *a, const char *b)
{
    size_t sizes[2] = {0, 0};
    char *one = small_read(a, &sizes[0]), *other = small_read(b, &sizes[1]);
    const int same = one && other && sizes[0] == sizes[1] && memcmp(one, other, sizes[0]) == 0;
    free(one);
    free(other);
    return same;
}

static const char *fresh_cache(const char *name)
{
    const char *path = fresh_folder(name);
    if (path) remove(small_text("%s.index", path));
    return path;
}

static const char *cache_yaml(const char *path, const char *more)
{
    return small_text("teacher: {path: '%s/teacher', cache: {path: '%s'%s}}\ntrain: {eval_every: 20}\n", small_folder,
                      path, more);
}

/* What one process fills on the way several ranks fill before; then they train as it does. */
static void check_cache(const char *tier)
{
    char yaml[2][1200], path[2][600];
    snprintf(path[0], sizeof path[0], "%s", fresh_cache("one.targets"));
    snprintf(path[1], sizeof path[1], "%s", fresh_cache("several.targets"));
    for (int i = 0; i < 2; i++) snprintf(yaml[i], sizeof yaml[i], "%s", cache_yaml(path[i], tier));
    job one = {.more = yaml[0], .by_options = 1}, several = {.more = yaml[1], .by_options = 1};
    run_job(&one, 1);
    for (int64_t ranks = 3; ranks > 1 && !test_failures; ranks--) { /* made by three, whole for two */
        run_job(&several, ranks);
        const double off = relative(several.ranks[0].student, one.ranks[0].student);
        if (!(off <= 2e-6)) FAIL("%s: weights of %d ranks are off by %.3g", tier, (int)ranks, off);
        end_job(&several);
    }
    CHECK(small_exists(path[1]));
    end_job(&one);
}

TEST(caches)
{
    REQUIRE(small_models("rank_runs"));
    check_cache(", tier: top_k, k: 8");
    check_cache(", tier: hidden");
    check_cache(", tier: full");
}

/* Of a part of the data there are targets already; the file is that of one process. */
TEST(part_of_a_cache)
{
    REQUIRE(small_models("rank_runs"));
    char path[2][600], yaml[1200];
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s", fresh_cache(i ? "run.targets" : "built.targets"));
        small s;
        distill_error err;
        distill_report *report = NULL;
        CHECK_OK(small_parts(&s, NULL, "teacher: {cache: {tier: top_k, k: 8}}\n", &err));
        CHECK_OK(distill_cache_build(s.env, s.teacher, s.eval, path[i], s.options, NULL, NULL, &report, &err));
        if (!i) CHECK_OK(distill_cache_build(s.env, s.teacher, s.train, path[i], s.options, NULL, NULL, NULL, &err));
        distill_report_free(report);
        small_close(&s);
    }
    snprintf(yaml, sizeof yaml, "%s", cache_yaml(path[1], ""));
    job several = {.more = yaml, .by_options = 1, .steps = 2};
    run_job(&several, 3);
    end_job(&several);
    CHECK(same_files(path[0], path[1]));
}

/* The teacher is the host's, and options name a file for what it says. */
static void name_cache(small *s, int64_t rank)
{
    distill_error err;
    (void)rank;
    CHECK_OK(distill_options_set(s->options, "teacher.cache.path", test_path(small_folder, "named.targets"), &err));
}

TEST(cache_of_a_host_s_teacher)
{
    REQUIRE(small_models("rank_runs"));
    job one = {.steps = 12}, several = {.steps = 12, .before = name_cache};
    fresh_cache("named.targets");
    run_job(&one, 1);
    run_job(&several, 2);
    CHECK(relative(several.ranks[1].student, one.ranks[0].student) <= 2e-6);
    CHECK(small_exists(test_path(small_folder, "named.targets")));
    end_job(&one);
    end_job(&several);
}

/* One that nobody filled is read alone: a teacher that was opened by the host is not asked. */
static void keep_in(small *s, int64_t rank)
{
    distill_teacher *cached = NULL;
    distill_error err;
    (void)rank;
    CHECK_OK(distill_options_set(s->options, "teacher.cache.path", small_text("%s/none.targets", small_folder), &err));
    CHECK_OK(
        distill_teacher_cached(s->env, small_text("%s/none.targets", small_folder), s->teacher, NULL, &cached, &err));
    distill_teacher_free(s->teacher);
    s->teacher = cached;
    CHECK_OK(distill_options_set(s->options, "teacher.cache.path", NULL, &err));
}

TEST(unfilled_cache)
{
    REQUIRE(small_models("rank_runs"));
    fresh_cache("none.targets");
    job j = {.want = DISTILL_E_NOT_FOUND, .says = "distill cache build", .before = keep_in};
    run_job(&j, 2);
    end_job(&j);
    CHECK(!small_exists(test_path(small_folder, "none.targets")));
}

/* ---- what must be the same ---- */

/* What rank 1 says of itself, where it is text, is another thing. */
static const char *told, *instead;
static int32_t tell_another(void *user, const void *in, void *out, int64_t bytes, int64_t *ticket)
{
    static char copy[1 << 16];
    const thread_rank *r = user;
    if (r->rank != 1 || bytes > (int64_t)sizeof copy) return thread_all_gather(user, in, out, bytes, ticket);
    memcpy(copy, in, (size_t)bytes);
    for (int64_t i = 0; i + (int64_t)strlen(told) <= bytes; i++)
        if (memcmp(copy + i, told, strlen(told)) == 0) memcpy(copy + i, instead, strlen(instead));
    return thread_all_gather(user, copy, out, bytes, ticket);
}

static void lie(thread_rank *r, void *user)
{
    job *j = user;
    distill_communicator table;
    small *s = &j->ranks[r->rank];
    distill_error err;
    memset(s, 0, sizeof *s);
    CHECK_OK(small_env(s, NULL, NULL, &err));
    DISTILL_INIT(&table);
    THREAD_COMMUNICATOR(&table, r);
    table.all_gather_start = tell_another;
    CHECK_OK(distill_env_set_communicator(s->env, &table, &err));
    CHECK_OK(small_handles(s, &err));
    const int32_t rc =
        distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, &err);
    if (rc != DISTILL_E_MISMATCH) FAIL("rank %d: %d %s", (int)r->rank, rc, err.message);
    else CHECK_HAS(err.message, j->says);
}

static void check_lie(const char *truth, const char *other, const char *says)
{
    job j = {.says = says};
    told = truth;
    instead = other;
    CHECK(thread_ranks_run(2, lie, &j));
    end_job(&j);
}

static void other_teacher(small *s, int64_t rank)
{
    distill_error err;
    if (!rank) return;
    distill_teacher_free(s->teacher);
    s->teacher = NULL;
    CHECK_OK(distill_teacher_from_student(s->student, &s->teacher, &err));
}

TEST(differences_are_named)
{
    REQUIRE(small_models("rank_runs"));
    job teacher = {.want = DISTILL_E_MISMATCH, .says = "ranks differ in the teacher", .before = other_teacher};
    run_job(&teacher, 3);
    end_job(&teacher);
    check_lie(DISTILL_VERSION, "9.9.9", "ranks differ in the version of the library: rank 0 has " DISTILL_VERSION);
    check_lie("evaluations full", "evaluations bf16", "ranks differ in the precision of products");
}

/* ---- what is not shared ---- */

static void compare_models(thread_rank *r, void *user)
{
    job *j = user;
    small *s = &j->ranks[r->rank];
    distill_report *report = NULL;
    distill_error err;
    memset(s, 0, sizeof *s);
    CHECK_OK(small_env(s, NULL, NULL, &err));
    CHECK_OK(join_ranks(s, r, &err));
    CHECK_OK(small_handles(s, &err));
    const int32_t rc = distill_compare(s->teacher, s->teacher, NULL, s->options, NULL, NULL, &report, &err);
    CHECK_INT(rc, DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "a comparison, which times both models, is not shared among ranks");
}

TEST(a_comparison_is_for_one_process)
{
    REQUIRE(small_models("rank_runs"));
    job j = {.want = 0};
    CHECK(thread_ranks_run(2, compare_models, &j));
    end_job(&j);
}

/* ---- who is slow ---- */

typedef struct slow {
    pthread_mutex_t lock;
    int lines;
    char line[300];
} slow;
static slow heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void hear(void *user, int32_t level, const char *component, const char *message)
{
    slow *s = user;
    (void)level, (void)component;
    if (!strstr(message, "longer for its part of a window")) return;
    pthread_mutex_lock(&s->lock);
    s->lines++;
    snprintf(s->line, sizeof s->line, "%s", message);
    pthread_mutex_unlock(&s->lock);
}

/* Squared distance of logits, and a pause for each call: of rank 2 twice as long. */
static int32_t paused(void *user, const distill_loss_rows *rows)
{
    const struct timespec pause = {0, *(const long *)user * 1000};
    for (int64_t i = 0; i < rows->rows * rows->vocab; i++) {
        const double d = ((double)rows->student[i] - (double)rows->teacher[i]) / (double)rows->vocab;
        rows->value[i / rows->vocab] += d * d * (double)rows->vocab;
        if (rows->gradient) rows->gradient[i] = (float)(2 * d);
    }
    nanosleep(&pause, NULL);
    return DISTILL_CB_OK;
}

static void make_slow(small *s, int64_t rank)
{
    static long pauses[2] = {130000, 260000}; /* microseconds */
    distill_loss_callbacks table;
    distill_error err;
    DISTILL_INIT(&table);
    table.user = &pauses[rank == 2];
    table.eval = paused;
    table.targets = 1 << DISTILL_DENSE;
    CHECK_OK(distill_env_add_loss(s->env, "mine", &table, &err));
    CHECK_OK(distill_options_set(s->options, "loss.type", "mine", &err));
    if (!rank) CHECK_OK(distill_env_set_logger(s->env, DISTILL_LOG_WARN, hear, &heard, NULL, &err));
}

TEST(a_slow_rank_is_named)
{
    REQUIRE(small_models("rank_runs"));
    job j = {.more = "train: {batch_size: 3, micro_batch_size: 1}\n", .steps = 22, .before = make_slow};
    run_job(&j, 3);
    end_job(&j);
    CHECK_INT(heard.lines, 1);
    CHECK_HAS(heard.line, "rank 2 (");
}

TEST_MAIN(TEST_CASE(caches) TEST_CASE(part_of_a_cache) TEST_CASE(cache_of_a_host_s_teacher) TEST_CASE(unfilled_cache)
              TEST_CASE(differences_are_named) TEST_CASE(a_comparison_is_for_one_process)
                  TEST_CASE(a_slow_rank_is_named))
