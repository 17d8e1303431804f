/* The other processes of a job: what is carried, what all agree on, and a table that fails. */
#include "base/ranks.h"
#include "test.h"
#include "thread_ranks.h"

static int destroyed;
static void on_destroy(void *user)
{
    (void)user;
    destroyed++;
}

static dk_host *host_of(thread_rank *r)
{
    dk_communicator table = {0};
    dk_host *host = NULL;
    dk_error err;
    THREAD_COMMUNICATOR(&table, r);
    if (dk_host_create(NULL, &host, &err) || dk_host_set_ranks(host, &table, &err)) FAIL("%s", err.message);
    return host;
}

TEST(alone)
{
    dk_host *host;
    dk_error err;
    int32_t in = 5, out = 0;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    CHECK_INT(dk_ranks(host), 1);
    CHECK_INT(dk_rank(host), 0);
    CHECK_OK(dk_ranks_gather(host, &in, &out, sizeof in, &err));
    CHECK_INT(out, 5);
    CHECK_OK(dk_ranks_broadcast(host, &in, sizeof in, 0, &err));
    CHECK_OK(dk_ranks_barrier(host, &err));
    CHECK_OK(dk_ranks_agree(host, DK_OK, &err));
    CHECK_INT(dk_ranks_agree(host, DK_E_END, &err), DK_E_END);
    CHECK_OK(dk_ranks_refuse(host, "this", &err));
    dk_host_release(host);
}

TEST(refused)
{
    dk_host *host;
    dk_error err;
    thread_job job;
    thread_rank r = {.job = &job};
    dk_communicator table = {.destroy = on_destroy};
    thread_job_open(&job, 2);
    THREAD_COMMUNICATOR(&table, &r);
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    destroyed = 0;
    table.rank = 2;
    CHECK_INT(dk_host_set_ranks(host, &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "rank 2 of 2");
    table.rank = 0;
    table.wait = NULL;
    CHECK_INT(dk_host_set_ranks(host, &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "wait");
    CHECK_INT(destroyed, 2);
    table.wait = thread_wait;
    CHECK_OK(dk_host_set_ranks(host, &table, &err));
    CHECK_INT(dk_ranks_refuse(host, "augmentation", &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "augmentation");
    CHECK_OK(dk_host_set_ranks(host, &table, &err));
    CHECK_INT(destroyed, 3);
    CHECK_OK(dk_host_set_ranks(host, NULL, &err));
    CHECK_INT(destroyed, 4);
    CHECK_INT(dk_ranks(host), 1);
    CHECK_OK(dk_host_set_ranks(host, &table, &err));
    dk_host_release(host);
    CHECK_INT(destroyed, 5);
    thread_job_close(&job);
}

static void carry(thread_rank *r, void *user)
{
    dk_host *host = host_of(r);
    int64_t in[THREAD_RANKS], out[THREAD_RANKS], ticket, one = 100 + r->rank;
    dk_error err;
    (void)user;
    for (int64_t j = 0; j < r->job->size; j++) in[j] = 10 * r->rank + j;
    CHECK_OK(dk_ranks_exchange(host, in, out, sizeof *in, &ticket, &err));
    CHECK_OK(dk_ranks_wait(host, ticket, &err));
    for (int64_t j = 0; j < r->job->size; j++) CHECK_INT(out[j], 10 * j + r->rank);
    CHECK_OK(dk_ranks_gather(host, &one, out, sizeof one, &err));
    for (int64_t j = 0; j < r->job->size; j++) CHECK_INT(out[j], 100 + j);
    CHECK_OK(dk_ranks_broadcast(host, &one, sizeof one, 1, &err));
    CHECK_INT(one, 101);
    CHECK_OK(dk_ranks_barrier(host, &err));
    dk_host_release(host);
}

TEST(carries)
{
    for (int64_t size = 2; size <= 4; size++) CHECK(thread_ranks_run(size, carry, NULL));
}

/* A failure goes before a cancellation and the end of data; whoever has it, all know it. */
static void agree(thread_rank *r, void *user)
{
    dk_host *host = host_of(r);
    uint32_t flags = (uint32_t)1 << r->rank;
    dk_error err;
    int32_t rc = DK_OK;
    (void)user;
    CHECK_OK(dk_ranks_meet(host, DK_OK, &flags, &err));
    CHECK_INT(flags, 7);
    if (r->rank == 1) rc = dk_fail(&err, DK_E_CANCELLED, "enough");
    CHECK_INT(dk_ranks_agree(host, rc, &err), DK_E_CANCELLED);
    CHECK_HAS(err.message, "rank 1: enough");
    rc = DK_OK;
    if (r->rank == 0) rc = dk_fail(&err, DK_E_END, "no more");
    if (r->rank == 2) rc = dk_fail_at(&err, DK_E_IO, 7, "a disk is full");
    CHECK_INT(dk_ranks_agree(host, rc, &err), DK_E_IO);
    CHECK_STR(err.message, "rank 2: a disk is full");
    CHECK_INT(err.position, 7);
    CHECK_OK(dk_ranks_agree(host, DK_OK, NULL));
    dk_host_release(host);
}

TEST(agrees) { CHECK(thread_ranks_run(3, agree, NULL)); }

/* A rank that is gone: the others come back, once, with what to do, and call nobody any more. */
static void lose(thread_rank *r, void *user)
{
    dk_host *host = host_of(r);
    int64_t out[THREAD_RANKS], one = 1;
    dk_error err;
    (void)user;
    r->seconds = 1;
    if (r->rank != 2) {
        CHECK_INT(dk_ranks_gather(host, &one, out, sizeof one, &err), DK_E_CALLBACK);
        CHECK_INT(err.user_code, 78);
        CHECK_HAS(err.message, "another rank is gone");
        const int64_t calls = r->next;
        CHECK_INT(dk_ranks_agree(host, DK_OK, &err), DK_E_CALLBACK);
        CHECK_INT(dk_ranks_broadcast(host, &one, sizeof one, 0, &err), DK_E_CALLBACK);
        CHECK_INT(r->next, calls);
    }
    dk_host_release(host);
}

TEST(lost) { CHECK(thread_ranks_run(3, lose, NULL)); }

TEST_MAIN(TEST_CASE(alone) TEST_CASE(refused) TEST_CASE(carries) TEST_CASE(agrees) TEST_CASE(lost))
