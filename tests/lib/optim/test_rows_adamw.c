/* Rows of a table that are updated by themselves: the same bits as the whole table has there, and nothing else moves;
 * a norm that takes in gradients elsewhere. */
#include "optim/optim.h"
#include "test.h"

enum { ROWS = 6, WIDTH = 3, SIZE = ROWS * WIDTH };

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    dk_arena arena;
    dk_table table, whole, scratch;
    dk_view rows, gradient, all, factor;
} fixture;

static dk_table take(dk_arena *arena, int64_t rows)
{
    dk_table t;
    t.value = dk_arena_2d(arena, DK_F32, rows, WIDTH);
    t.first = dk_arena_2d(arena, DK_F32, rows, WIDTH);
    t.second = dk_arena_2d(arena, DK_F32, rows, WIDTH);
    return t;
}

static void plan(fixture *f, int64_t count)
{
    const int64_t one = 1;
    f->table = take(&f->arena, ROWS);
    f->whole = take(&f->arena, ROWS);
    f->scratch = take(&f->arena, count);
    f->rows = dk_arena_take(&f->arena, DK_I32, 1, &count);
    f->gradient = dk_arena_2d(&f->arena, DK_F32, count, WIDTH);
    f->all = dk_arena_2d(&f->arena, DK_F32, ROWS, WIDTH);
    f->factor = dk_arena_take(&f->arena, DK_F64, 1, &one);
}

static int fixture_open(fixture *f, int64_t count)
{
    dk_error err;
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, &err) || dk_backend_cpu(f->host, &f->backend, &err)) return 0;
    dk_arena_init(&f->arena, f->backend);
    (void)dk_queue_open(&f->queue, f->backend, &err);
    plan(f, count);
    if (dk_arena_commit(&f->arena, &err)) return 0;
    plan(f, count);
    return 1;
}

static void fixture_close(fixture *f)
{
    dk_arena_free(&f->arena);
    dk_queue_close(&f->queue);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

TEST(rows_are_as_in_the_whole_table)
{
    static const int32_t chosen[2] = {4, 1};
    const dk_ops *ops;
    float start[SIZE], gradient[2 * WIDTH], dense[SIZE] = {0}, part[3][SIZE], whole[3][SIZE];
    const double factor = 0.25;
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, 2));
    ops = f.backend->ops;
    for (int i = 0; i < SIZE; i++) start[i] = (float)(i * 7 % 5) - 2;
    ops->copy_in(&f.queue, f.table.value, start);
    ops->copy_in(&f.queue, f.whole.value, start);
    ops->copy_in(&f.queue, f.rows, chosen);
    ops->copy_in(&f.queue, f.factor, &factor);
    for (int step = 1; step <= 3; step++) {
        const dk_adamw_args args = {0.01, 0.9, 0.95, 1e-8, 0.1, step};
        for (int i = 0; i < 2 * WIDTH; i++) {
            gradient[i] = (float)(i + step) * 0.3f - 1;
            dense[chosen[i / WIDTH] * WIDTH + i % WIDTH] = gradient[i];
        }
        ops->copy_in(&f.queue, f.gradient, gradient);
        ops->copy_in(&f.queue, f.all, dense);
        dk_rows_adamw(&f.queue, &args, f.factor, &f.table, f.rows, f.gradient, &f.scratch);
        ops->adamw(&f.queue, &args, f.factor, f.whole.value, f.all, f.whole.first, f.whole.second);
    }
    const dk_view views[2][3] = {{f.table.value, f.table.first, f.table.second},
                                 {f.whole.value, f.whole.first, f.whole.second}};
    for (int i = 0; i < 3; i++) {
        ops->copy_out(&f.queue, views[0][i], part[i]);
        ops->copy_out(&f.queue, views[1][i], whole[i]);
    }
    REQUIRE_OK(dk_queue_wait(&f.queue, &err));
    for (int r = 0; r < ROWS; r++)
        for (int j = r * WIDTH; j < (r + 1) * WIDTH; j++) {
            const int is_chosen = r == chosen[0] || r == chosen[1];
            CHECK(part[0][j] == (is_chosen ? whole[0][j] : start[j])); /* elsewhere not even decayed */
            CHECK(part[1][j] == (is_chosen ? whole[1][j] : 0) && part[2][j] == (is_chosen ? whole[2][j] : 0));
        }
    fixture_close(&f);
}

TEST(norms_take_in_what_is_elsewhere)
{
    const int64_t three = 3;
    const float gradient[3] = {3, 0, 0};
    double norm = 0, factor = 0;
    dk_optimizer *optimizer = NULL;
    dk_buffer *buffers[2];
    dk_error err;
    fixture f;
    REQUIRE(fixture_open(&f, 2));
    for (int i = 0; i < 2; i++) REQUIRE_OK(f.backend->ops->buffer_create(f.backend, 64, &buffers[i], &err));
    dk_parameter p = {.name = "w",
                      .value = dk_view_make(buffers[0], 0, DK_F32, 1, &three),
                      .gradient = dk_view_make(buffers[1], 0, DK_F32, 1, &three)};
    f.backend->ops->copy_in(&f.queue, p.gradient, gradient);
    REQUIRE_OK(dk_optimizer_create(f.backend, &p, 1, DK_F32, &optimizer, &err));
    const dk_update update = {.divisor = 2, .clip_norm = 1, .squares_beside = 16};
    REQUIRE_OK(dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err));
    CHECK_NEAR(norm, 2.5, 1e-12);
    f.backend->ops->copy_out(&f.queue, dk_optimizer_factor(optimizer), &factor);
    CHECK_NEAR(factor, 1 / 2.5 / 2, 1e-6);
    dk_optimizer_free(optimizer);
    for (int i = 0; i < 2; i++) f.backend->ops->buffer_free(f.backend, buffers[i]);
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(rows_are_as_in_the_whole_table) TEST_CASE(norms_take_in_what_is_elsewhere))
