/* A cache of targets that several ranks fill, as threads with an env each: the file is that of one rank, byte for byte,
 * whatever stands twice in the data and whatever was there before. */
#include "small.h"
#include "thread_ranks.h"

enum { SEQUENCES = 83 };

typedef struct job {
    const char *yaml, *out; /* the file, or where the teacher is members that have one each: OUT.a, OUT.b */
    int32_t members;
    int64_t from, to; /* sequences of the data */
    int32_t want;
    const char *says;
    int64_t other_rank; /* has other data; 0 = none has */
    double added[THREAD_RANKS];
} job;

/* Every eleventh sequence stands there again a little later, and in places with more of its rows. */
static int32_t make_data(const small *s, const job *j, int64_t rank, distill_dataset **out, distill_error *err)
{
    static int32_t ids[THREAD_RANKS][SEQUENCES * SMALL_LENGTH];
    int64_t offsets[SEQUENCES + 1], count = j->to - j->from;
    distill_batch batch;
    for (int64_t i = 0; i <= count; i++) offsets[i] = i * SMALL_LENGTH;
    for (int64_t i = 0; i < count; i++) {
        const int64_t number = j->from + i;
        small_ids(ids[rank] + offsets[i], SMALL_LENGTH, (uint32_t)(number % 11 == 10 ? number - 9 : number));
    }
    if (j->other_rank && j->other_rank == rank) ids[rank][1] ^= 1;
    DISTILL_INIT(&batch);
    batch.ids = ids[rank];
    batch.offsets = offsets;
    batch.sequences = count;
    return distill_dataset_from_tokens(s->env, &batch, s->options, out, err);
}

static int32_t join(small *s, thread_rank *r, distill_error *err)
{
    distill_communicator table;
    if (!r) return DISTILL_OK;
    r->seconds = 60;
    DISTILL_INIT(&table);
    THREAD_COMMUNICATOR(&table, r);
    return distill_env_set_communicator(s->env, &table, err);
}

static int32_t set_teacher(const small *s, const job *j, distill_error *err)
{
    char text[3000];
    if (j->members)
        snprintf(text, sizeof text,
                 "teachers:\n  a: {path: '%s/teacher', cache: {path: '%s.a', tier: hidden}}\n"
                 "  b: {path: '%s/teacher', cache: {path: '%s.b', tier: full}}\n%s",
                 small_folder, j->out, small_folder, j->out, j->yaml);
    else snprintf(text, sizeof text, "teacher: {path: '%s/teacher', cache: {path: '%s'}}\n", small_folder, j->out);
    return distill_options_parse(s->options, text, strlen(text), "teachers", err);
}

static void one_rank(thread_rank *r, void *user)
{
    job *j = user;
    const int64_t rank = r ? r->rank : 0;
    small s = {0};
    distill_report *report = NULL;
    distill_error err;
    int32_t rc = small_env(&s, NULL, j->members ? NULL : j->yaml, &err);
    if (!rc) rc = join(&s, r, &err);
    if (!rc) rc = set_teacher(&s, j, &err);
    if (!rc) rc = make_data(&s, j, rank, &s.train, &err);
    if (!rc) rc = distill_cache_build(s.env, NULL, s.train, NULL, s.options, NULL, NULL, &report, &err);
    if (!rc) rc = distill_report_get_f64(report, "added", &j->added[rank], &err);
    if (rc != j->want) FAIL("%s: rank %d: %d %s", j->yaml, (int)rank, rc, err.message);
    else if (j->says) CHECK_HAS(err.message, j->says);
    distill_report_free(report);
    small_close(&s);
}

static void run(job *j, int64_t ranks)
{
    if (ranks == 1) one_rank(NULL, j);
    else CHECK(thread_ranks_run(ranks, one_rank, j));
    for (int64_t i = 1; i < ranks; i++) CHECK(j->added[i] == j->added[0]);
}

static const char *fresh(const char *name)
{
    static char paths[8][700];
    static int next;
    char *path = paths[next++ % 8], command[2000];
    snprintf(path, sizeof paths[0], "%s/%s", small_folder, name);
    snprintf(command, sizeof command, "rm -f '%s' '%s'.*", path, path);
    return system(command) ? NULL : path;
}

static void check_same(const char *yaml, const char *one, const char *several, int64_t ranks)
{
    size_t sizes[2] = {0, 0};
    char *a = small_read(one, &sizes[0]), *b = small_read(several, &sizes[1]);
    if (!a || !b || sizes[0] != sizes[1] || memcmp(a, b, sizes[0]) != 0)
        FAIL("%s: the file of %d ranks, %lld bytes, is not that of one, %lld", yaml, (int)ranks, (long long)sizes[1],
             (long long)sizes[0]);
    free(a);
    free(b);
}

/* First a part of the data, so that some rows are there, then all of it. */
static void compare(const char *yaml)
{
    job one = {.yaml = yaml, .out = fresh("one.targets"), .from = 20, .to = 31};
    run(&one, 1);
    one.from = 0;
    one.to = SEQUENCES;
    run(&one, 1);
    CHECK(one.added[0] > 0);
    for (int64_t ranks = 2; ranks <= 4 && !test_failures; ranks++) {
        job several = {.yaml = yaml, .out = fresh("several.targets"), .from = 20, .to = 31};
        run(&several, ranks);
        several.from = 0;
        several.to = SEQUENCES;
        run(&several, ranks);
        check_same(yaml, one.out, several.out, ranks);
        CHECK(several.added[0] == one.added[0]);
        run(&several, 5 - ranks); /* whole: nothing is asked, by any number of ranks */
        CHECK(several.added[0] == 0);
        check_same(yaml, one.out, several.out, ranks);
    }
}

TEST(same_bytes)
{
    REQUIRE(small_models("rank_caches"));
    compare("teacher: {cache: {tier: top_k, k: 8}}\n");
    compare("teacher: {cache: {tier: sampled, draws: 20}}\n");
    compare("teacher: {cache: {tier: hidden}}\n");
    compare("teacher: {cache: {tier: full}}\n");
}

/* Each member keeps its own. */
TEST(members)
{
    REQUIRE(small_models("rank_caches"));
    const char *yaml = "teacher: {route: {by: source, map: {x: a}, default: b}}\n";
    job one = {.yaml = yaml, .members = 1, .out = fresh("one"), .to = SEQUENCES}, three = one;
    three.out = fresh("three");
    run(&one, 1);
    run(&three, 3);
    CHECK(three.added[0] == one.added[0]);
    check_same("a", small_text("%s.a", one.out), small_text("%s.a", three.out), 3);
    check_same("b", small_text("%s.b", one.out), small_text("%s.b", three.out), 3);
}

TEST(refused)
{
    REQUIRE(small_models("rank_caches"));
    job data = {.yaml = "teacher: {cache: {tier: top_k, k: 8}}\n",
                .out = fresh("other.targets"),
                .to = 30,
                .want = DISTILL_E_MISMATCH,
                .says = "ranks differ in the data: rank 0 has",
                .other_rank = 1};
    run(&data, 2);
    job nested = {.yaml = "teacher: {blend: {of: [b]}, cache: {path: nested.targets}}\n",
                  .members = 1,
                  .out = fresh("nested"),
                  .to = 30,
                  .want = DISTILL_E_UNSUPPORTED,
                  .says = "its teachers keep their targets, too"};
    run(&nested, 2);
    remove("nested.targets");
    remove("nested.targets.index");
}

TEST_MAIN(TEST_CASE(same_bytes) TEST_CASE(members) TEST_CASE(refused))
