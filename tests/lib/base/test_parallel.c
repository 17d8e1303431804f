#include "base/host.h"
#include "base/fpenv.h"
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct cover {
    dk_host *host;
    int64_t n, grain;
    _Atomic int32_t *seen; /* [n] */
    _Atomic int64_t ranges, wrong;
    pthread_t caller;
} cover;

static void mark(void *context, int64_t begin, int64_t end)
{
    cover *c = context;
    int64_t limit = begin + c->grain < c->n ? begin + c->grain : c->n;
    if (begin % c->grain || end != limit) c->wrong++;
    c->ranges++;
    for (int64_t i = begin; i < end; i++) c->seen[i]++;
}

static int64_t uncovered(const cover *c)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < c->n; i++) bad += c->seen[i] != 1;
    return bad;
}

static void check_cover(dk_host *host, int64_t n, int64_t grain)
{
    cover c = {.host = host, .n = n, .grain = grain};
    c.seen = calloc((size_t)n + 1, sizeof *c.seen);
    dk_parallel_for(host, n, grain, mark, &c);
    CHECK_INT(uncovered(&c), 0);
    CHECK_INT(c.wrong, 0);
    CHECK_INT(c.ranges, (n + grain - 1) / grain);
    free((void *)c.seen);
}

TEST(covers_every_index_once)
{
    dk_error err;
    dk_host *host;
    static const int64_t sizes[] = {0, 1, 2, 63, 64, 65, 1000, 4097};
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    for (int64_t threads = 1; threads <= 5; threads += 2) {
        REQUIRE_OK(dk_host_set_threads(host, threads, NULL, NULL, NULL, &err));
        CHECK_INT(dk_host_threads(host), threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int64_t grain = 1; grain < 200; grain = grain * 3 + 1) check_cover(host, sizes[i], grain);
    }
    for (int i = 0; i < 20000; i++) check_cover(host, 5, 1); /* start and end of jobs follow each other closely */
    dk_host_release(host);
}

TEST(workers_sleep_and_wake)
{
    dk_error err;
    dk_host *host;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 3, NULL, NULL, NULL, &err));
    for (int i = 0; i < 30; i++) {
        double end = dk_seconds() + 0.001; /* longer than workers spin */
        while (dk_seconds() < end) continue;
        check_cover(host, 64, 1);
    }
    dk_host_release(host);
}

static void outer(void *context, int64_t begin, int64_t end)
{
    cover *c = context;
    for (int64_t i = begin; i < end; i++) {
        cover inner = {.n = 10, .grain = 2};
        _Atomic int32_t seen[10] = {0};
        inner.seen = seen;
        dk_parallel_for(c->host, 10, 2, mark, &inner);
        if (uncovered(&inner) || inner.wrong) c->wrong++;
        c->seen[i]++;
    }
}

TEST(nested_calls_stay_in_their_thread)
{
    dk_error err;
    cover c = {.n = 50, .grain = 1};
    _Atomic int32_t seen[50] = {0};
    REQUIRE_OK(dk_host_create(NULL, &c.host, &err));
    REQUIRE_OK(dk_host_set_threads(c.host, 4, NULL, NULL, NULL, &err));
    c.seen = seen;
    dk_parallel_for(c.host, c.n, 1, outer, &c);
    CHECK_INT(uncovered(&c), 0);
    CHECK_INT(c.wrong, 0);
    dk_host_release(c.host);
}

static void *many_loops(void *host)
{
    for (int i = 0; i < 300; i++) check_cover(host, 100, 3);
    return NULL;
}

TEST(concurrent_callers)
{
    dk_error err;
    dk_host *host;
    pthread_t threads[3];
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 2, NULL, NULL, NULL, &err));
    for (int i = 0; i < 3; i++) REQUIRE(!pthread_create(&threads[i], NULL, many_loops, host));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    dk_host_release(host);
}

/* ---- the host's own loop ---- */
static int host_mode, host_calls, host_destroyed;
static int32_t host_loop(void *user, int64_t n, dk_body_fn body, void *context)
{
    (void)user;
    host_calls++;
    if (host_mode == 1) return -1;                         /* does nothing */
    if (host_mode == 2) n /= 2;                            /* forgets half */
    for (int64_t i = n; i-- > 0;) body(context, i, i + 1); /* backwards */
    if (host_mode == 3) body(context, 0, n);               /* everything twice */
    return 0;
}
static int failing_calls;
static int32_t failing_code;
static int32_t failing_loop(void *user, int64_t n, dk_body_fn body, void *context)
{
    (void)user;
    failing_calls++;
    body(context, 0, n / 3);
    return failing_code;
}
static void host_destroy(void *user)
{
    (void)user;
    host_destroyed++;
}

TEST(host_loops_good_and_bad)
{
    dk_error err;
    dk_host *host;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 2, host_loop, NULL, host_destroy, &err));
    for (host_mode = 0; host_mode < 4; host_mode++) {
        check_cover(host, 100, 7);
        CHECK_INT(dk_parallel_check(host, &err), host_mode == 1 ? DK_E_CALLBACK : DK_OK);
    }
    CHECK_INT(host_calls, 4);
    check_cover(host, 7, 7); /* one range needs nobody */
    CHECK_INT(host_calls, 4);
    CHECK_INT(dk_host_set_threads(host, -1, host_loop, NULL, host_destroy, &err), DK_E_INVALID);
    CHECK_INT(host_destroyed, 1); /* of the refused one */
    CHECK_HAS(err.message, "max_threads -1");
    REQUIRE_OK(dk_host_set_threads(host, 0, NULL, NULL, NULL, &err));
    CHECK_INT(host_destroyed, 2);
    CHECK(dk_host_threads(host) >= 1);
    dk_host_release(host);
}

static void *check_from_elsewhere(void *host)
{
    dk_error err;
    CHECK_OK(dk_parallel_check(host, &err)); /* the failure is another thread's */
    check_cover(host, 100, 7);
    CHECK_OK(dk_parallel_check(host, &err));
    return NULL;
}

TEST(a_failing_host_loop_is_told_once)
{
    dk_error err;
    dk_host *host;
    pthread_t other;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 2, failing_loop, NULL, NULL, &err));
    for (failing_code = -7; failing_code <= DK_PARALLEL_CANCEL; failing_code += 9) {
        check_cover(host, 100, 7);
        REQUIRE(!pthread_create(&other, NULL, check_from_elsewhere, host));
        pthread_join(other, NULL);
        check_cover(host, 100, 7); /* not asked again before it was told */
        CHECK_INT(dk_parallel_check(host, &err), failing_code < 0 ? DK_E_CALLBACK : DK_E_CANCELLED);
        CHECK_INT(err.user_code, failing_code < 0 ? -7 : 0);
        CHECK_OK(dk_parallel_check(host, &err));
    }
    CHECK_INT(failing_calls, 2);
    dk_host_release(host);
}

/* ---- fork: a child has none of its parent's threads ---- */
#ifdef __SANITIZE_THREAD__
#define CHILD_COMPUTES 0 /* ThreadSanitizer knows no threads in a child of a process with threads */
#else
#define CHILD_COMPUTES 1
#endif
static int32_t child_passes(dk_host *host, int32_t compute)
{
    int status = 0, before = test_failures;
    pid_t child = fork();
    if (!child) {
        alarm(120); /* a child that hangs is killed, and the parent sees it */
        if (compute) check_cover(host, 1000, 3);
        if (compute) CHECK_INT(dk_host_set_threads(host, 3, NULL, NULL, NULL, NULL), DK_OK);
        if (compute) check_cover(host, 1000, 3);
        dk_host_release(host);
        _exit(test_failures != before);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

TEST(children_of_fork_use_and_free)
{
    dk_error err;
    dk_host *host;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 4, NULL, NULL, NULL, &err));
    CHECK(child_passes(host, CHILD_COMPUTES)); /* no pool yet */
    check_cover(host, 1000, 3);
    CHECK(child_passes(host, 0));
    CHECK(child_passes(host, CHILD_COMPUTES));
    check_cover(host, 1000, 3); /* the parent's own workers stand */
    dk_host_release(host);
}

static _Atomic int32_t loop_begun, loop_may_end;
static void wait_inside(void *context, int64_t begin, int64_t end)
{
    (void)context, (void)begin, (void)end;
    atomic_store(&loop_begun, 1);
    while (!atomic_load(&loop_may_end)) continue;
}

static void *long_loop(void *host)
{
    dk_parallel_for(host, 8, 1, wait_inside, NULL);
    return NULL;
}

TEST(fork_while_another_thread_computes)
{
    dk_error err;
    dk_host *host;
    pthread_t other;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 2, NULL, NULL, NULL, &err));
    REQUIRE(!pthread_create(&other, NULL, long_loop, host));
    while (!atomic_load(&loop_begun)) continue;
    CHECK(child_passes(host, 0));
    CHECK(child_passes(host, CHILD_COMPUTES)); /* set_threads works there: what the parent's thread held is free */
    CHECK_INT(dk_host_set_threads(host, 2, NULL, NULL, NULL, &err), DK_E_BUSY);
    atomic_store(&loop_may_end, 1);
    pthread_join(other, NULL);
    dk_host_release(host);
}

static void try_to_change(void *context, int64_t begin, int64_t end)
{
    cover *c = context;
    (void)begin;
    (void)end;
    if (dk_host_set_threads(c->host, 1, NULL, NULL, NULL, NULL) != DK_E_BUSY) c->wrong++;
}

TEST(threads_cannot_change_inside)
{
    dk_error err;
    cover c = {0};
    REQUIRE_OK(dk_host_create(NULL, &c.host, &err));
    REQUIRE_OK(dk_host_set_threads(c.host, 2, NULL, NULL, NULL, &err));
    dk_parallel_for(c.host, 8, 1, try_to_change, &c);
    CHECK_INT(c.wrong, 0);
    dk_host_release(c.host);
}

/* ---- what the threads run with ---- */
static void check_thread(void *context, int64_t begin, int64_t end)
{
    cover *c = context;
    sigset_t blocked;
    volatile float tiny = 1e-38f;
    (void)begin;
    (void)end;
    if (tiny / 1000.0f == 0) c->wrong++; /* denormals are kept */
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (!pthread_equal(pthread_self(), c->caller) && !sigismember(&blocked, SIGINT)) c->wrong++;
    double until = dk_seconds() + 0.0005;
    while (dk_seconds() < until) continue; /* long enough for every worker to get a share */
}

TEST(environment_of_the_threads)
{
    dk_error err;
    cover c = {.caller = pthread_self()};
    REQUIRE_OK(dk_host_create(NULL, &c.host, &err));
    REQUIRE_OK(dk_host_set_threads(c.host, 3, NULL, NULL, NULL, &err));
#ifdef DK_FP_DEFAULT
    uint32_t flushing = DK_FP_DEFAULT | 0x8040; /* a host that flushes denormals to zero */
    _mm_setcsr(flushing);
#endif
    dk_parallel_for(c.host, 40, 1, check_thread, &c);
#ifdef DK_FP_DEFAULT
    CHECK_INT(_mm_getcsr() & ~0x3fu, flushing);
    _mm_setcsr(DK_FP_DEFAULT);
#endif
    CHECK_INT(c.wrong, 0);
    dk_host_release(c.host);
}

static void sum_range(void *context, int64_t begin, int64_t end)
{
    float *parts = context, sum = 0;
    for (int64_t i = begin; i < end; i++) sum += 1.0f / (float)(i + 1);
    parts[begin / 37] = sum;
}

TEST(reductions_do_not_depend_on_threads)
{
    dk_error err;
    dk_host *host;
    float first[28], parts[28];
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    for (int64_t threads = 1; threads < 5; threads++) {
        REQUIRE_OK(dk_host_set_threads(host, threads, NULL, NULL, NULL, &err));
        dk_parallel_for(host, 1000, 37, sum_range, parts);
        if (threads == 1) memcpy(first, parts, sizeof first);
        CHECK(!memcmp(first, parts, sizeof first));
    }
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(covers_every_index_once) TEST_CASE(workers_sleep_and_wake)
              TEST_CASE(nested_calls_stay_in_their_thread) TEST_CASE(concurrent_callers)
                  TEST_CASE(host_loops_good_and_bad) TEST_CASE(a_failing_host_loop_is_told_once)
                      TEST_CASE(children_of_fork_use_and_free) TEST_CASE(fork_while_another_thread_computes)
                          TEST_CASE(threads_cannot_change_inside) TEST_CASE(environment_of_the_threads)
                              TEST_CASE(reductions_do_not_depend_on_threads))
