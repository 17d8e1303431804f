/* Several ranks, as threads with an env each, against one: the same loss and weights to rounding, for one number of
 * ranks the same bits. */
#include "rank_jobs.h"

static void compare_jobs(job one, double loss, double weights)
{
    const char *more = one.more;
    job several = one, again = one;
    run_job(&one, 1);
    for (int64_t ranks = 2; ranks <= 4; ranks++) {
        run_job(&several, ranks);
        if (test_failures) break;
        const double off = relative(several.ranks[0].student, one.ranks[0].student);
        if (!(off <= weights)) FAIL("%s: weights of %d ranks are off by %.3g", more, (int)ranks, off);
        if (!(fabs(several.last[0].loss - one.last[0].loss) <= loss * (1 + fabs(one.last[0].loss))))
            FAIL("%s: loss of %d ranks is %.9g, not %.9g", more, (int)ranks, several.last[0].loss, one.last[0].loss);
        CHECK_INT(several.last[0].tokens, one.last[0].tokens);
        for (int64_t r = 1; r < ranks; r++) {
            CHECK(small_same_bits(several.ranks[r].student, several.ranks[0].student));
            CHECK(several.last[r].loss == several.last[0].loss);
        }
        run_job(&again, ranks);
        CHECK(small_same_bits(several.ranks[0].student, again.ranks[0].student));
        end_job(&again);
        end_job(&several);
    }
    end_job(&one);
}

static void compare(const char *more, double loss, double weights) { compare_jobs((job){.more = more}, loss, weights); }

/* ---- a loss of the host's own ---- */

typedef struct own_loss {
    int64_t step; /* at which NaN comes out; -1 = never */
} own_loss;

/* Mean squared distance of logits. */
static int32_t squared(void *user, const distill_loss_rows *rows)
{
    const own_loss *own = user;
    for (int64_t i = 0; i < rows->rows * rows->vocab; i++) {
        const double d = ((double)rows->student[i] - (double)rows->teacher[i]) / (double)rows->vocab;
        rows->value[i / rows->vocab] += d * d * (double)rows->vocab;
        if (rows->gradient) rows->gradient[i] = own->step == rows->step ? NAN : (float)(2 * d);
    }
    return DISTILL_CB_OK;
}

static void use_squared(small *s, own_loss *own)
{
    distill_loss_callbacks table;
    distill_error err;
    DISTILL_INIT(&table);
    table.user = own;
    table.eval = squared;
    table.targets = 1 << DISTILL_DENSE;
    CHECK_OK(distill_env_add_loss(s->env, "mine", &table, &err));
    CHECK_OK(distill_options_set(s->options, "loss.type", "mine", &err));
}

static void add_squared(small *s, int64_t rank)
{
    static own_loss whole = {-1};
    (void)rank;
    use_squared(s, &whole);
}

/* NaN in the part of one rank stops all of them, and nothing was changed. */
static void add_poisoned(small *s, int64_t rank)
{
    static own_loss parts[2] = {{-1}, {3}};
    use_squared(s, &parts[rank == 1]);
}

TEST(callbacks)
{
    REQUIRE(small_models("ranks"));
    /* CBLAS sums fewer rows in another order */
    compare_jobs((job){.more = "loss: {type: mine}\n", .before = add_squared}, 1e-6,
                 small_own_products() ? 2e-6 : 4e-6);
    job poisoned = {.before = add_poisoned, .says = "rank 1: "};
    poisoned.want = DISTILL_E_NUMERIC;
    run_job(&poisoned, 3);
    for (int64_t r = 0; r < 3; r++) CHECK_INT(poisoned.last[r].step, 3);
    for (int64_t r = 1; r < 3; r++) CHECK(small_same_bits(poisoned.ranks[r].student, poisoned.ranks[0].student));
    end_job(&poisoned);
}

TEST(equal_to_one)
{
    REQUIRE(small_models("ranks"));
    compare("train: {batch_size: 8, micro_batch_size: 8}\n", 1e-6, 2e-6); /* accumulation 1, 3, 8 on one rank */
    compare("train: {batch_size: 8, micro_batch_size: 3}\n", 1e-6, 2e-6);
    compare("train: {batch_size: 8, micro_batch_size: 1}\n", 1e-6, 2e-6);
    compare("train: {batch_size: 5}\ndata: {pack: true}\n", 1e-6, 2e-6);
    compare("student: {freeze: ['model.embed_tokens.*', 'model.layers.0.*']}\n", 1e-6, 2e-6);
    compare("train: {clip_norm: 0.5}\nloss: {type: jsd}\n", 1e-6, 1e-5);
}

TEST(shares_and_wires)
{
    REQUIRE(small_models("ranks"));
    compare("train: {shard_optimizer: true}\n", 1e-6, 2e-6);
    compare("train: {shard_optimizer: true, moments: bf16, beta2: 0.95}\n", 1e-4, 1e-3);
    compare("train: {gradient_wire: bf16}\n", 2e-2, 2e-2);
}

/* ---- evaluations and files ---- */

static double number_of(const job *j, const char *key)
{
    distill_report *report = NULL;
    double value = NAN;
    distill_error err;
    if (distill_trainer_report(j->ranks[0].trainer, &report, &err) || distill_report_get_f64(report, key, &value, &err))
        FAIL("%s: %s", key, err.message);
    distill_report_free(report);
    return value;
}

#define FILES "train: {eval_every: 4, keep_best: true, checkpoint_every: 5, log_every: 1}\n"

static int lines_of(const char *path)
{
    char *text = small_read(path, NULL);
    int lines = 0;
    for (char *at = text; at && *at; at++) lines += *at == '\n';
    free(text);
    return lines;
}

/* Enough for several batches of an evaluation. */
static void more_held_out(small *s, int64_t rank)
{
    distill_error err;
    (void)rank;
    distill_dataset_free(s->eval);
    CHECK_OK(small_dataset_seeded(s, SMALL_SEQUENCES, 900, &s->eval, &err));
}

/* Rank 0 writes what one rank alone writes; evaluations are shared and come to the same. */
static void check_files(const char *more)
{
    char out[2][600];
    snprintf(out[0], sizeof out[0], "%s", fresh_folder("one"));
    snprintf(out[1], sizeof out[1], "%s", fresh_folder("three"));
    job one = {.more = more, .out = out[0], .before = more_held_out}, three = one;
    three.out = out[1];
    run_job(&one, 1);
    run_job(&three, 3);
    const char *const keys[] = {"student.forward_kl",
                                "student.perplexity",
                                "student.forward_kl_p99",
                                "training.last_loss",
                                "eval.by_position.1.nats",
                                "eval.by_frequency.0.forward_kl",
                                "eval.disagreements.0.forward_kl",
                                "eval.disagreements.0.window",
                                "eval.disagreements.2.position",
                                "eval.blocks.windows",
                                "eval.blocks.tokens.1",
                                "eval.blocks.nats.2"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !test_failures; i++) {
        const double a = number_of(&one, keys[i]), b = number_of(&three, keys[i]);
        if (!(fabs(a - b) <= 2e-6 * (1 + fabs(a)))) FAIL("%s: %s is %.9g, not %.9g", more, keys[i], b, a);
    }
    CHECK_INT(lines_of(test_path(out[1], "metrics.jsonl")), lines_of(test_path(out[0], "metrics.jsonl")));
    CHECK(small_exists(test_path(out[1], "model.safetensors")));
    CHECK(small_exists(test_path(out[1], "result.json")));
    end_job(&one);
    end_job(&three);
}

TEST(files)
{
    REQUIRE(small_models("ranks"));
    check_files(FILES);
    check_files(FILES "loss: {hard_label_weight: 0.5}\n");
}

/* Stopped by rank `only`, and gone on with another number of ranks. */
static int32_t stop(void *user, const distill_progress *p)
{
    memcpy(user, p, sizeof *p);
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 5 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static void check_resume(const char *more, int64_t before, int64_t after)
{
    char out[600], apart[600];
    snprintf(out, sizeof out, "%s", fresh_folder("stopped"));
    snprintf(apart, sizeof apart, "%s", fresh_folder("whole"));
    job whole = {.more = more, .out = apart};
    job stopped = {.more = more,
                   .out = out,
                   .want = DISTILL_E_CANCELLED,
                   .says = "checkpoints",
                   .progress = stop,
                   .only = before - 1};
    job resumed = {.more = more, .out = out, .resume = 1};
    run_job(&whole, before);
    run_job(&stopped, before);
    for (int64_t r = 0; r < before; r++) CHECK_INT(stopped.last[r].step, 5);
    end_job(&stopped);
    run_job(&resumed, after);
    const double off = relative(resumed.ranks[0].student, whole.ranks[0].student);
    if (before == after ? !small_same_bits(resumed.ranks[0].student, whole.ranks[0].student) : !(off <= 2e-6))
        FAIL("%s: %d ranks and then %d: off by %.3g", more, (int)before, (int)after, off);
    end_job(&resumed);
    end_job(&whole);
}

TEST(resumed)
{
    REQUIRE(small_models("ranks"));
    check_resume("", 2, 2);
    check_resume("train: {shard_optimizer: true}\n", 3, 3);
    check_resume("train: {shard_optimizer: true}\n", 3, 2);
    check_resume("train: {shard_optimizer: true, checkpoint_every: 2}\n", 2, 4);
    check_resume("train: {shard_optimizer: true}\n", 2, 1);
    check_resume("train: {keep_best: true, eval_every: 3}\n", 1, 3);
}

/* ---- what goes wrong ---- */

static void refuse(const char *more, int64_t ranks, int32_t want, const char *says)
{
    job j = {.more = more, .want = want, .says = says};
    run_job(&j, ranks);
    end_job(&j);
}

static void poison(small *s, int64_t rank)
{
    distill_tensor w;
    distill_error err;
    if (rank == 0) return;
    CHECK_OK(distill_student_parameter(s->student, "model.norm.weight", DISTILL_WEIGHT, &w, &err));
    ((float *)w.data)[0] = 2;
    CHECK_OK(distill_student_weights_changed(s->student, &err));
}

static void set_apart(small *s, int64_t rank)
{
    distill_error err;
    if (rank) CHECK_OK(distill_options_set(s->options, "train.learning_rate", "0.02", &err));
}

static void other_data(small *s, int64_t rank)
{
    distill_error err;
    if (!rank) return;
    distill_dataset_free(s->train);
    CHECK_OK(small_dataset_seeded(s, SMALL_SEQUENCES, 101, &s->train, &err));
}

TEST(refused)
{
    REQUIRE(small_models("ranks"));
    refuse("train: {batch_size: 2}\n", 3, DISTILL_E_OPTION, "train.batch_size 2 is below the 3 ranks");
    refuse("train: {on_policy: {lambda: 0.5, max_new_tokens: 4}}\n", 2, DISTILL_E_UNSUPPORTED, "train.on_policy");
    job weights = {.want = DISTILL_E_MISMATCH, .says = "weights of the student", .before = poison};
    run_job(&weights, 2);
    end_job(&weights);
    job data = {.want = DISTILL_E_MISMATCH, .says = "training data", .before = other_data};
    run_job(&data, 3);
    end_job(&data);
    job options = {.want = DISTILL_E_MISMATCH, .says = "same recipe", .before = set_apart};
    run_job(&options, 2);
    end_job(&options);
}

/* A rank that is gone ends all the others, with a line that says so. */
TEST(gone)
{
    REQUIRE(small_models("ranks"));
    job j = {.want = DISTILL_E_CALLBACK, .says = "communicator", .fails_rank = 1, .fails_at = 60};
    run_job(&j, 3);
    end_job(&j);
}

/* Of each step 2(N-1)/N of the gradients' bytes, beside a few figures. */
TEST(bytes)
{
    REQUIRE(small_models("ranks"));
    job few = {.steps = 2}, more = {.steps = 12};
    run_job(&few, 2);
    run_job(&more, 2);
    distill_error err;
    int64_t trained = 0;
    CHECK_OK(distill_student_get_i64(more.ranks[0].student, "trainable_parameters", &trained, &err));
    const double each = (double)(more.bytes[0] - few.bytes[0]) / 10, gradients = 4 * (double)trained;
    CHECK_NEAR(each / gradients, 1, 0.01); /* 2 * (2 - 1) / 2 */
    end_job(&few);
    end_job(&more);
}

TEST_MAIN(TEST_CASE(equal_to_one) TEST_CASE(shares_and_wires) TEST_CASE(callbacks) TEST_CASE(files) TEST_CASE(resumed)
              TEST_CASE(refused) TEST_CASE(gone) TEST_CASE(bytes))
