/* test.h - a test runner in one header. A test file holds TEST(name) { ... } blocks and ends with TEST_MAIN(a, b, c).
 *
 * CHECK* record a failure and go on; REQUIRE* leave the test. A test without what it needs calls SKIP("reason").
 * Exit code: 0 all passed, 1 a failure, 77 everything was skipped (CTest shows "Skipped"). Arguments name the
 * tests to run, all of them without. */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures, test_skips;

#ifdef __cplusplus
#define TEST_LOCAL static thread_local
#else
#define TEST_LOCAL static _Thread_local
#endif
#define TEST(name) static void test_##name(void)
#define FAIL(...) \
    (test_failures++, fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))
#define CHECK(condition) ((condition) ? 1 : (FAIL("%s", #condition), 0))
#define CHECK_INT(got, want)                                                \
    do {                                                                    \
        long long got_ = (long long)(got), want_ = (long long)(want);       \
        if (got_ != want_) FAIL("%s is %lld, not %lld", #got, got_, want_); \
    } while (0)
#define CHECK_STR(got, want)                                                                                          \
    do {                                                                                                              \
        const char *got_ = (got), *want_ = (want);                                                                    \
        if (!got_ || strcmp(got_, want_) != 0) FAIL("%s is \"%s\", not \"%s\"", #got, got_ ? got_ : "(null)", want_); \
    } while (0)
#define CHECK_HAS(got, part)                                                                                          \
    do {                                                                                                              \
        const char *got_ = (got), *part_ = (part);                                                                    \
        if (!got_ || !strstr(got_, part_)) FAIL("%s is \"%s\", without \"%s\"", #got, got_ ? got_ : "(null)", part_); \
    } while (0)
#define CHECK_NEAR(got, want, tolerance)                                                       \
    do {                                                                                       \
        double got_ = (got), want_ = (want);                                                   \
        if (!(fabs(got_ - want_) <= (tolerance)))                                              \
            FAIL("%s is %.9g, not %.9g (off by %.3g)", #got, got_, want_, fabs(got_ - want_)); \
    } while (0)
/* The larger one, and NaN where either is: fmax would pass over it, and with it over a result that is none. */
static inline double test_worst(double worst, double apart) { return isnan(worst) || apart <= worst ? worst : apart; }
#define REQUIRE(condition)             \
    do {                               \
        if (!CHECK(condition)) return; \
    } while (0)
/* A call that returns a status, with `dk_error err` or `distill_error err` in scope. */
#define CHECK_OK(call)                                       \
    do {                                                     \
        int rc_ = (int)(call);                               \
        if (rc_) FAIL("%s: %d %s", #call, rc_, err.message); \
    } while (0)
#define REQUIRE_OK(call)                                \
    do {                                                \
        int rc_ = (int)(call);                          \
        if (rc_) {                                      \
            FAIL("%s: %d %s", #call, rc_, err.message); \
            return;                                     \
        }                                               \
    } while (0)
#define SKIP(reason)                              \
    do {                                          \
        fprintf(stderr, "skipped: %s\n", reason); \
        test_skips++;                             \
        return;                                   \
    } while (0)

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

static inline int test_is_named(const char *name, char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return 1;
    return 0;
}

static inline int test_main(const test_case *cases, int count, int argc, char **argv)
{
    int ran = 0, found = 0;
    for (int i = 0; i < count; i++) {
        int before = test_failures, skips = test_skips;
        if (argc > 1 && !test_is_named(cases[i].name, argv + 1, argc - 1)) continue;
        found++;
        cases[i].run();
        ran += test_skips == skips;
        fprintf(stderr, "%s %s\n",
                test_failures > before ? "FAILED "
                : test_skips > skips   ? "skipped"
                                       : "ok     ",
                cases[i].name);
    }
    if (argc > 1 && found < argc - 1) {
        fprintf(stderr, "%d of the %d tests named are none of this program's\n", argc - 1 - found, argc - 1);
        return 1;
    }
    return test_failures ? 1 : ran || !count ? 0 : 77;
}
#define TEST_CASE(name) {#name, test_##name},
#define TEST_MAIN(...)                                                            \
    int main(int argc, char **argv)                                               \
    {                                                                             \
        static const test_case cases[] = {__VA_ARGS__};                           \
        return test_main(cases, (int)(sizeof cases / sizeof *cases), argc, argv); \
    }

/* Folder with the shared test assets, or NULL. */
static inline const char *test_assets(void)
{
    const char *path = getenv("DISTILL_TEST_ASSETS");
    return path && *path ? path : NULL;
}
/* Joins into one of four rotating buffers: enough for a call's arguments. */
static inline const char *test_path(const char *folder, const char *name)
{
    TEST_LOCAL char buffers[4][2048];
    TEST_LOCAL int next;
    char *out = buffers[next++ % 4];
    return snprintf(out, sizeof buffers[0], "%s/%s", folder, name) < (int)sizeof buffers[0] ? out : NULL;
}
/* A new empty folder below TEST_TMP (a compile definition). Left behind for a look after a failure. */
static inline const char *test_folder(const char *name)
{
    static char path[1024], command[2200];
    snprintf(path, sizeof path, "%s/%s", TEST_TMP, name);
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", path, path);
    return system(command) ? NULL : path;
}

#endif
