/* One window: a failed or cancelled one leaves no trace, micro-batches add up, the schedule gives the rate. */
#include "../teacher/model_fixture.h"
#include "trainer/trainer_state.h"

static int32_t try_open(fixture *f, const char *micro, const char *loss, di_trainer **trainer, dk_error *error)
{
    static const char *const set[][2] = {{"data.sequence_length", "7"},
                                         {"data.pack", "false"},
                                         {"train.batch_size", "2"},
                                         {"train.steps", "8"},
                                         {"train.warmup_steps", "0"}};
    distill_batch batch = tiny_batch();
    di_parts parts = {.backend = f->backend};
    di_student *student = NULL;
    di_dataset *data = NULL;
    dk_error err;
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        CHECK_OK(di_options_set(f->options, set[i][0], set[i][1], &err));
    CHECK_OK(di_options_set(f->options, "train.micro_batch_size", micro, &err));
    CHECK_OK(di_options_set(f->options, "loss", loss, &err));
    CHECK_OK(di_registry_create(f->host, &parts.registry, &err));
    CHECK_OK(di_student_create(f->backend, f->config, NULL, f->options, &student, &err));
    CHECK_OK(di_dataset_from_tokens(f->host, &batch, f->options, &data, &err));
    parts.student = student;
    parts.train = data;
    const int32_t rc = di_trainer_create(&parts, f->options, trainer, error);
    di_student_release(student);
    di_dataset_release(data);
    di_registry_free(parts.registry);
    return rc;
}

static di_trainer *open_with(fixture *f, const char *micro, const char *loss)
{
    di_trainer *trainer = NULL;
    dk_error err;
    CHECK_OK(try_open(f, micro, loss, &trainer, &err));
    return trainer;
}

static di_trainer *open_trainer(fixture *f, const char *micro) { return open_with(f, micro, "{hard_label_weight: 1}"); }

static float *weights(di_trainer *trainer, int64_t *count)
{
    distill_tensor tensor;
    dk_error err;
    CHECK_OK(di_student_parameter(trainer->student, "model.norm.weight", DISTILL_WEIGHT, &tensor, &err));
    *count = tensor.shape[0];
    return tensor.data;
}

TEST(cancelled_window)
{
    float before[TINY_WIDTH], *now;
    const _Atomic int32_t cancel = 1;
    int64_t count = 0;
    dk_error err;
    fixture f;
    open_fixture(&f, "cancelled");
    di_trainer *trainer = open_trainer(&f, "1");
    REQUIRE(trainer);
    now = weights(trainer, &count);
    memcpy(before, now, sizeof before);
    CHECK_INT(di_window_step(trainer, &cancel, &err), DK_E_CANCELLED);
    CHECK(memcmp(before, weights(trainer, &count), sizeof before) == 0);
    CHECK_INT(trainer->counters.step, 0);
    CHECK_INT(trainer->window.stage, DI_STAGE_IDLE);
    CHECK_OK(di_window_step(trainer, NULL, &err));
    CHECK(memcmp(before, weights(trainer, &count), sizeof before) != 0);
    CHECK_INT(trainer->counters.step, 1);
    CHECK_INT(trainer->counters.tokens, 11);
    di_trainer_free(trainer);
    close_fixture(&f);
}

TEST(micro_batches_add_up)
{
    double loss[2];
    dk_error err;
    for (int i = 0; i < 2; i++) {
        fixture f;
        open_fixture(&f, "micro");
        di_trainer *trainer = open_trainer(&f, i ? "2" : "1");
        REQUIRE(trainer);
        for (int k = 0; k < 3; k++) CHECK_OK(di_window_step(trainer, NULL, &err));
        CHECK_INT(trainer->window.micro_count, i ? 1 : 2);
        loss[i] = trainer->counters.last_loss;
        di_trainer_free(trainer);
        close_fixture(&f);
    }
    CHECK_NEAR(loss[0], loss[1], 1e-6);
}

static double loss_by(const char *products, const char *precision, int64_t threads)
{
    double loss;
    dk_error err;
    fixture f;
    open_fixture(&f, "precision");
    CHECK_OK(dk_host_set_threads(f.host, threads, NULL, NULL, NULL, &err));
    CHECK_OK(dk_backend_set_products(f.backend, products, &err));
    CHECK_OK(di_options_set(f.options, "train.precision", precision, &err));
    di_trainer *trainer = open_trainer(&f, "1");
    for (int k = 0; k < 3; k++) CHECK_OK(di_window_step(trainer, NULL, &err));
    loss = trainer->counters.last_loss;
    di_trainer_free(trainer);
    close_fixture(&f);
    return loss;
}

static double loss_after(const char *precision, int64_t threads) { return loss_by("portable", precision, threads); }

static int has_native(void)
{
    fixture f;
    open_fixture(&f, "precision");
    const int native = f.backend->native >> DK_PRECISION_BF16 & 1;
    close_fixture(&f);
    return native;
}

/* bf16 is another arithmetic, near the first one, with the same bits for any number of threads; auto is full where the
 * machine has no instructions for it; CBLAS has none. */
TEST(precision)
{
    dk_error err = {0};
    fixture f;
    di_trainer *trainer = NULL;
    open_fixture(&f, "precision");
    const int alone = dk_backend_set_products(f.backend, "portable", &err) != DK_OK;
    close_fixture(&f);
    if (alone) SKIP("this build forms products by cblas alone");
    const double full = loss_after("fp32", 1), half = loss_after("bf16", 1);
    CHECK(half != full);
    CHECK_NEAR(half, full, 1e-2 * full);
    CHECK(loss_after("bf16", 3) == half);
    CHECK(loss_after("fp32", 3) == full);
    CHECK(loss_after("auto", 1) == full); /* plain C */
    if (has_native()) {                   /* where gradients of logits wait for one product */
        const double native = loss_by("auto", "bf16", 1);
        CHECK(loss_by("auto", "bf16", 3) == native);
        CHECK_NEAR(native, half, 1e-4 * half);
    }
    open_fixture(&f, "precision");
    CHECK_OK(di_options_set(f.options, "train.precision", "auto", &err));
    trainer = open_trainer(&f, "1");
    CHECK_INT(trainer->precision, f.backend->native >> DK_PRECISION_BF16 & 1);
    di_trainer_free(trainer);
    trainer = NULL;
    CHECK_OK(dk_backend_set_products(f.backend, "cblas", &err));
    CHECK_OK(di_options_set(f.options, "train.precision", "bf16", &err));
    CHECK_INT(try_open(&f, "1", "{hard_label_weight: 1}", &trainer, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "train.precision: backend cpu-");
    CHECK_HAS(err.message, "has no products in precision bf16");
    close_fixture(&f);
}

/* Weights of losses are live between windows: the next one has them. */
TEST(live_weights)
{
    dk_error err;
    fixture f;
    open_fixture(&f, "live_weights");
    di_trainer *trainer = open_with(&f, "1", "[{type: cross_entropy}, {type: cross_entropy, weight: 0}]");
    REQUIRE(trainer);
    CHECK_OK(di_options_set(f.options, "train.learning_rate", "0", &err));
    CHECK_OK(di_trainer_configure(trainer, f.options, &err));
    CHECK_OK(di_window_step(trainer, NULL, &err));
    const double before = trainer->counters.last_loss;
    CHECK_OK(di_options_set(f.options, "loss.1.weight", "1.5", &err));
    CHECK_OK(di_window_begin(trainer, &err));
    CHECK_INT(di_trainer_configure(trainer, f.options, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "between windows");
    di_window_discard(trainer);
    CHECK_OK(di_trainer_configure(trainer, f.options, &err));
    trainer->counters.step = 0; /* the same window again */
    CHECK_OK(di_window_step(trainer, NULL, &err));
    CHECK_NEAR(trainer->counters.last_loss, 2.5 * before, 1e-6);
    CHECK_NEAR(trainer->objective.sums.terms[0], trainer->objective.sums.terms[1], 0);
    di_trainer_free(trainer);
    close_fixture(&f);
}

/* What a new weight would need must be there; what is refused changes nothing. */
TEST(live_weights_that_need_a_teacher)
{
    dk_error err;
    fixture f;
    di_options *change = NULL;
    open_fixture(&f, "live_weights_teacher");
    di_trainer *trainer = open_trainer(&f, "1");
    REQUIRE(trainer);
    CHECK_OK(di_options_create(f.host, &change, &err));
    CHECK_OK(di_options_set(change, "loss.hard_label_weight", "0.5", &err));
    CHECK_INT(di_trainer_configure(trainer, change, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "the loss would need the teacher now");
    CHECK(di_options_f64(trainer->options, "loss.hard_label_weight") == 1);
    CHECK_OK(di_window_step(trainer, NULL, &err));
    di_options_free(change);
    di_trainer_free(trainer);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(cancelled_window) TEST_CASE(micro_batches_add_up) TEST_CASE(precision) TEST_CASE(live_weights)
              TEST_CASE(live_weights_that_need_a_teacher))
