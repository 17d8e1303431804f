/* Gradients for products in BF16: a source that takes them so is given the very bits that the full ones round to. */
#include "loss_fixture.h"

enum { ROWS = 21, WIDTH = 37, VALID = 35 };

typedef struct side {
    dk_backend *backend;
    dk_queue queue;
    const float *logits; /* [ROWS, WIDTH] */
    float *out;          /* likewise */
    dk_dtype seen;
} side;

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    side *s = self;
    (void)target;
    s->backend->ops->copy_in(&s->queue, strip, s->logits + first * WIDTH);
    CHECK_INT(strip.shape[0], count);
    return dk_queue_wait(&s->queue, err);
}

static int32_t gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err)
{
    side *s = self;
    uint16_t halves[ROWS * WIDTH];
    (void)logits;
    s->seen = dlogits.dtype;
    CHECK(dlogits.shape[0] == count && dlogits.shape[1] == WIDTH);
    s->backend->ops->copy_out(&s->queue, dlogits, s->seen == DK_BF16 ? (void *)halves : s->out + first * WIDTH);
    for (int64_t i = 0; i < count * WIDTH && s->seen == DK_BF16; i++)
        s->out[first * WIDTH + i] = dk_bf16_to_f32(halves[i]);
    return dk_queue_wait(&s->queue, err);
}

/* In the places of the logits. */
static dk_view halves(void *self, int64_t first, int64_t count, dk_view strip)
{
    (void)self;
    CHECK(first >= 0 && count == strip.shape[0]);
    strip.dtype = DK_BF16;
    strip.stride[0] *= 2;
    return strip;
}

static di_source source_of(side *s, fixture *f, const float *logits, float *out)
{
    dk_error err = {0};
    *s = (side){.backend = f->backend, .logits = logits, .out = out};
    CHECK_OK(dk_queue_open(&s->queue, f->backend, &err));
    return (di_source){.self = s,
                       .kind = DISTILL_DENSE,
                       .width = WIDTH,
                       .vocab_valid = VALID,
                       .temperature = 1,
                       .rows = rows,
                       .gradient = out ? gradient : NULL};
}

/* few: with as little memory as will do, so that strips have a row or two. */
static di_workspace *make_workspace(fixture *f, const di_loss *loss, int32_t few)
{
    di_workspace_spec spec = {
        .limit = "memory", .student_width = WIDTH, .teacher_width = WIDTH, .memory = few, .max_rows = ROWS};
    di_workspace *workspace = NULL;
    dk_error err = {0};
    while (di_workspace_create(f->backend, loss, &spec, &workspace, &err) && spec.memory && spec.memory < 1 << 30)
        spec.memory += spec.memory / 8 + 1;
    CHECK(workspace && (!few || di_workspace_strip_rows(workspace) < ROWS));
    return workspace;
}

static void check(fixture *f, const char *yaml, int32_t few)
{
    static float z[ROWS * WIDTH], p[ROWS * WIDTH], out[2][ROWS * WIDTH];
    int32_t labels[ROWS];
    di_loss *loss = make_loss(f, NULL, yaml);
    di_workspace *workspace = make_workspace(f, loss, few);
    dk_error err = {0};
    randomize(z, ROWS * WIDTH, 3, 1);
    randomize(p, ROWS * WIDTH, 3, 2);
    for (int i = 0; i < ROWS; i++) labels[i] = i % 5 == 3 ? -1 : i % VALID; /* some are masked */
    for (int way = 0; way < 2; way++) {
        side mine, other;
        di_source student = source_of(&mine, f, z, out[way]), teacher = source_of(&other, f, p, NULL);
        if (way) student.halves = halves;
        di_loss_batch batch = {.student = &student, .teacher = &teacher, .rows = ROWS, .labels = labels};
        batch.want_gradient = 1;
        batch.grad_scale = 0.3;
        di_loss_sums sums = {0};
        CHECK_OK(di_loss_run(loss, workspace, &batch, NULL, &sums, &err));
        CHECK_INT(mine.seen, way && !getenv("TEST_HIDDEN_MEMORY") ? DK_BF16 : DK_F32);
        dk_queue_close(&mine.queue);
        dk_queue_close(&other.queue);
    }
    for (int i = 0; i < ROWS * WIDTH; i++) {
        const float want = getenv("TEST_HIDDEN_MEMORY") ? out[0][i] : dk_bf16_to_f32(dk_f32_to_bf16(out[0][i]));
        if (memcmp(&out[1][i], &want, sizeof want))
            FAIL("%s: row %d, column %d: %g, not %g", yaml, i / WIDTH, i % WIDTH, (double)out[1][i], (double)want);
        if (i % WIDTH >= VALID || labels[i / WIDTH] < 0) CHECK(out[1][i] == 0);
    }
    di_workspace_free(workspace);
    di_loss_release(loss);
}

TEST(are_what_full_ones_round_to)
{
    fixture f;
    open_fixture(&f);
    for (int32_t few = 0; few < 2; few++) { /* strips of all rows, and of few */
        check(&f, "{type: forward_kl, temperature: 2, hard_label_weight: 0.5}", few);
        check(&f, "{type: logit_mse}", few);
        check(&f, "[{type: jsd, temperature: 3}, {type: reverse_kl, weight: 0.2}]", few);
    }
    close_fixture(&f);
}

/* A gradient of -s at the labels, s between the largest number of BF16 and that of fp32. */
TEST(a_row_that_bf16_does_not_hold_is_named)
{
    enum { LARGE = 13 };
    static const double scales[] = {3.389e38, 3.4e38};
    static float z[ROWS * WIDTH], out[ROWS * WIDTH];
    int32_t labels[ROWS];
    float weights[ROWS];
    fixture f;
    open_fixture(&f);
    di_loss *loss = make_loss(&f, NULL, "{type: cross_entropy}");
    di_workspace *workspace = make_workspace(&f, loss, 0);
    for (int r = 0; r < ROWS; r++) {
        labels[r] = r % VALID;
        weights[r] = r == LARGE ? 1 : 1e-3f;
        z[r * WIDTH + labels[r]] = -60;
    }
    for (int at = 0; at < 4; at++) {
        side mine;
        dk_error err = {0};
        di_source student = source_of(&mine, &f, z, out);
        if (at / 2) student.halves = halves;
        di_loss_batch batch = {.student = &student, .rows = ROWS, .labels = labels, .weights = weights};
        batch.want_gradient = 1;
        batch.grad_scale = scales[at % 2];
        di_loss_sums sums = {0};
        const int32_t refused = at == 3 && !getenv("TEST_HIDDEN_MEMORY");
        CHECK_INT(di_loss_run(loss, workspace, &batch, NULL, &sums, &err), refused ? DK_E_NUMERIC : DK_OK);
        if (refused) CHECK_HAS(err.message, "gradient of row 13 is more than bf16 holds (3.39e38)");
        else CHECK(isfinite(out[LARGE * WIDTH + labels[LARGE]]));
        dk_queue_close(&mine.queue);
    }
    di_workspace_free(workspace);
    di_loss_release(loss);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(are_what_full_ones_round_to) TEST_CASE(a_row_that_bf16_does_not_hold_is_named))
