/* Gradients of several ranks: their sum in the order of ranks, in buckets of any size, whole or in shares. */
#include "optim/gradient_exchange.h"
#include "test.h"
#include "thread_ranks.h"

enum { TENSORS = 4, MOST = 64 };
static const int64_t shapes[TENSORS][2] = {{7, 9}, {5, 1}, {3, 4}, {1, 1}};
static const int32_t dims[TENSORS] = {2, 1, 2, 1};
static const int64_t stages[TENSORS] = {-1, 0, 1, 2};
static const char *const names[TENSORS] = {"w", "b", "u", "s"};

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    dk_buffer *buffers[2 * TENSORS];
    dk_parameter parameters[TENSORS];
} fixture;

static int64_t count_of(int i) { return shapes[i][0] * shapes[i][1]; }

static float gradient_of(int64_t rank, int i, int64_t k) { return (float)sin((double)(1 + rank * 97 + i * 31 + k)); }

static void open_fixture(fixture *f, thread_rank *r)
{
    dk_communicator table = {0};
    dk_error err;
    memset(f, 0, sizeof *f);
    REQUIRE_OK(dk_host_create(NULL, &f->host, &err));
    if (r) {
        THREAD_COMMUNICATOR(&table, r);
        REQUIRE_OK(dk_host_set_ranks(f->host, &table, &err));
    }
    REQUIRE_OK(dk_host_set_threads(f->host, 1, NULL, NULL, NULL, &err));
    REQUIRE_OK(dk_backend_cpu(f->host, &f->backend, &err));
    REQUIRE_OK(dk_queue_open(&f->queue, f->backend, &err));
    for (int i = 0; i < TENSORS; i++) {
        dk_parameter *p = &f->parameters[i];
        REQUIRE_OK(f->backend->ops->buffer_create(f->backend, 4 * MOST, &f->buffers[2 * i], &err));
        REQUIRE_OK(f->backend->ops->buffer_create(f->backend, 4 * MOST, &f->buffers[2 * i + 1], &err));
        p->name = names[i];
        p->value = dk_view_make(f->buffers[2 * i], 0, DK_F32, dims[i], shapes[i]);
        p->gradient = dk_view_make(f->buffers[2 * i + 1], 0, DK_F32, dims[i], shapes[i]);
    }
}

static void close_fixture(fixture *f)
{
    for (int i = 0; i < 2 * TENSORS; i++) f->backend->ops->buffer_free(f->backend, f->buffers[i]);
    dk_queue_close(&f->queue);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static void set(fixture *f, int64_t rank)
{
    float data[MOST];
    for (int i = 0; i < TENSORS; i++) {
        for (int64_t k = 0; k < count_of(i); k++) data[k] = gradient_of(rank, i, k);
        f->backend->ops->copy_in(&f->queue, f->parameters[i].gradient, data);
    }
}

static float summed(int64_t size, int i, int64_t k)
{
    float sum = gradient_of(0, i, k);
    for (int64_t j = 1; j < size; j++) sum += gradient_of(j, i, k);
    return sum;
}

typedef struct plan {
    int64_t bucket_bytes;
    dk_dtype wire;
    int32_t staged;
} plan;

/* All ranks get the same sums, in the bits that adding in order gives; twice, so that buffers are used again. */
static void whole(thread_rank *r, void *user)
{
    const plan *p = user;
    const int64_t size = r->job->size;
    dk_exchange *x = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, r);
    const dk_exchange_spec spec = {f.parameters, TENSORS, stages, p->wire, p->bucket_bytes, 0};
    REQUIRE_OK(dk_exchange_create(f.backend, &spec, &x, &err));
    for (int turn = 0; turn < 2; turn++) {
        set(&f, r->rank);
        for (int64_t stage = 2; p->staged && stage >= 0; stage--) dk_exchange_reached(x, &f.queue, stage);
        CHECK_OK(dk_exchange_finish(x, &err));
        for (int i = 0; i < TENSORS; i++) {
            float data[MOST];
            f.backend->ops->copy_out(&f.queue, f.parameters[i].gradient, data);
            for (int64_t k = 0; k < count_of(i); k++) {
                const float want = summed(size, i, k);
                if (p->wire == DK_F32 ? data[k] != want : fabs((double)(data[k] - want)) > (double)(1 + size) / 256)
                    FAIL("%s[%d] is %.9g, not %.9g", names[i], (int)k, (double)data[k], (double)want);
            }
        }
    }
    int64_t elements = 0;
    for (int i = 0; i < TENSORS; i++) elements += dk_share_each(count_of(i), size);
    CHECK_INT(dk_exchange_bytes(x), 2 * 2 * (size - 1) * elements * (p->wire == DK_F32 ? 4 : 2));
    CHECK_INT(r->bytes, dk_exchange_bytes(x));
    dk_exchange_free(x);
    close_fixture(&f);
}

TEST(sums)
{
    plan plans[] = {{0, DK_F32, 0}, {0, DK_F32, 1}, {1, DK_F32, 1}, {40, DK_F32, 1}, {100, DK_BF16, 1}};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        for (int64_t size = 2; size <= 5; size++) CHECK(thread_ranks_run(size, whole, &plans[i]));
}

/* Ten updates of shares, put together, against one optimizer that has the sums. */
static void shared(thread_rank *r, void *user)
{
    const int64_t size = r->job->size;
    const dk_update update = {.learning_rate = 1e-2,
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .epsilon = 1e-8,
                              .weight_decay = 0.1,
                              .divisor = 3,
                              .clip_norm = 0.5};
    dk_exchange *x = NULL;
    dk_optimizer *share = NULL, *single = NULL;
    dk_error err;
    fixture f, g;
    const plan *p = user;
    open_fixture(&f, r);
    open_fixture(&g, NULL);
    const dk_exchange_spec spec = {f.parameters, TENSORS, stages, DK_F32, p->bucket_bytes, 1};
    REQUIRE_OK(dk_exchange_create(f.backend, &spec, &x, &err));
    REQUIRE_OK(dk_optimizer_create_share(f.backend, f.parameters, TENSORS, DK_F32, r->rank, size, &share, &err));
    REQUIRE_OK(dk_optimizer_create(g.backend, g.parameters, TENSORS, DK_F32, &single, &err));
    for (int step = 0; step < 10; step++) {
        dk_update own = update;
        double squares = 0, all[THREAD_RANKS], norm = 0, want = 0;
        set(&f, r->rank);
        REQUIRE_OK(dk_exchange_finish(x, &err));
        REQUIRE_OK(dk_optimizer_squares(share, &f.queue, &squares, &err));
        REQUIRE_OK(dk_ranks_gather(f.host, &squares, all, sizeof squares, &err));
        for (int64_t j = 0; j < size; j++) own.squares_beside += all[j];
        REQUIRE_OK(dk_optimizer_norm(share, &f.queue, &own, &norm, &err));
        REQUIRE_OK(dk_optimizer_apply(share, &f.queue, &own, &err));
        REQUIRE_OK(dk_exchange_values(x, &err));
        for (int i = 0; i < TENSORS; i++) {
            float data[MOST];
            for (int64_t k = 0; k < count_of(i); k++) data[k] = summed(size, i, k);
            g.backend->ops->copy_in(&g.queue, g.parameters[i].gradient, data);
        }
        REQUIRE_OK(dk_optimizer_norm(single, &g.queue, &update, &want, &err));
        REQUIRE_OK(dk_optimizer_apply(single, &g.queue, &update, &err));
        CHECK_NEAR(norm, want, 1e-12);
    }
    for (int i = 0; i < TENSORS; i++) {
        float a[MOST], b[MOST], m[MOST], n[MOST];
        f.backend->ops->copy_out(&f.queue, f.parameters[i].value, a);
        g.backend->ops->copy_out(&g.queue, g.parameters[i].value, b);
        CHECK_OK(dk_exchange_moment(x, share, i, 1, r->rank ? NULL : m, &err));
        g.backend->ops->copy_out(&g.queue, dk_optimizer_moment(single, i, 1), n);
        for (int64_t k = 0; k < count_of(i); k++) {
            CHECK_NEAR((double)a[k], (double)b[k], 1e-7);
            if (!r->rank) CHECK_NEAR((double)m[k], (double)n[k], 1e-7);
        }
    }
    dk_optimizer_free(share);
    dk_optimizer_free(single);
    dk_exchange_free(x);
    close_fixture(&f);
    close_fixture(&g);
}

TEST(shares)
{
    plan plans[] = {{0, DK_F32, 0}, {36, DK_F32, 0}};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        for (int64_t size = 2; size <= 5; size++) CHECK(thread_ranks_run(size, shared, &plans[i]));
}

/* A communicator that fails half way: every rank comes back with an error. */
static void broken(thread_rank *r, void *user)
{
    dk_exchange *x = NULL;
    dk_error err;
    fixture f;
    (void)user;
    r->seconds = 1;
    if (r->rank == 1) r->fails_at = 3;
    open_fixture(&f, r);
    const dk_exchange_spec spec = {f.parameters, TENSORS, stages, DK_F32, 40, 0};
    REQUIRE_OK(dk_exchange_create(f.backend, &spec, &x, &err));
    set(&f, r->rank);
    dk_exchange_reached(x, &f.queue, 0);
    CHECK_INT(dk_exchange_finish(x, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, r->rank == 1 ? 77 : 78);
    dk_exchange_free(x);
    close_fixture(&f);
}

TEST(fails) { CHECK(thread_ranks_run(3, broken, NULL)); }

TEST_MAIN(TEST_CASE(sums) TEST_CASE(shares) TEST_CASE(fails))
