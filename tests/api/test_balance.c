/* Two losses balanced by the norms of their gradients: what the norms are, how factors follow from them, that going on
 * and accumulation change nothing, and where balancing is refused. */
#include "small.h"

enum { STEPS = 6 };
#define TWO "loss: [{type: jsd}, {type: cross_entropy, weight: 0.5}]\n"
#define KEYS "balance: {by: gradient_norm, smoothing: 0.5, floor: 0.01, ceiling: 4}"
#define BY "train: {" KEYS "}\n"

static distill_error err;

static const char *fresh(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

typedef struct figures {
    double factor[STEPS], norms[STEPS][2], weights[STEPS][2], values[STEPS][2], loss[STEPS];
} figures;

static double after(const char **at, const char *name)
{
    const char *found = strstr(*at, name);
    CHECK(found != NULL);
    if (!found) return NAN;
    *at = found + strlen(name);
    return strtod(*at, NULL);
}

static void read_figures(const char *folder, figures *out)
{
    char *text = small_read(small_text("%s/metrics.jsonl", folder), NULL);
    const char *at = text;
    for (int i = 0; text && i < STEPS; i++) {
        out->loss[i] = after(&at, ",\"loss\":");
        for (int k = 0; k < 2; k++) {
            out->weights[i][k] = after(&at, "\"weight\":");
            out->values[i][k] = after(&at, "\"value\":");
        }
        out->factor[i] = after(&at, "\"balance\":{\"factor\":");
        out->norms[i][0] = after(&at, "\"norms\":[");
        out->norms[i][1] = after(&at, ",");
    }
    CHECK(text != NULL);
    free(text);
}

/* keys: of section train. */
static void run_to(const char *out, const char *keys, figures *found)
{
    small s;
    const char *yaml = small_text("output: '%s'\n" TWO "train: {steps: %d, log_every: 1, %s}\n", out, STEPS, keys);
    memset(found, 0, sizeof *found);
    CHECK_OK(small_open(&s, yaml, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    read_figures(out, found);
    small_close(&s);
}

/* ---- what a norm is ---- */

static void log_softmax(const float *z, int64_t n, double *out)
{
    double top = z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) top = fmax(top, z[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(z[i] - top);
    for (int64_t i = 0; i < n; i++) out[i] = z[i] - top - log(sum);
}

/* |dL/dz|^2 of jsd at 1/2 and of cross-entropy, of a row. */
static void add_squares(const float *z, const float *t, int32_t label, double squares[2])
{
    double q[SMALL_VOCAB], p[SMALL_VOCAB], h[SMALL_VOCAB], sum = 0;
    log_softmax(z, SMALL_VOCAB, q);
    log_softmax(t, SMALL_VOCAB, p);
    for (int i = 0; i < SMALL_VOCAB; i++) {
        h[i] = 0.5 * exp(q[i]) * (q[i] - log(0.5 * exp(p[i]) + 0.5 * exp(q[i])));
        sum += h[i];
    }
    for (int i = 0; i < SMALL_VOCAB; i++) {
        squares[0] += pow(h[i] - exp(q[i]) * sum, 2);
        squares[1] += pow(exp(q[i]) - (i == label), 2);
    }
}

/* Of the first window, by the rows that a host sees. */
static void norms_by_hand(double norms[2])
{
    double squares[2] = {0, 0}, rows = 0;
    small s;
    CHECK_OK(small_open(&s, "train: {micro_batch_size: 4}\n" TWO, &err));
    distill_forward forward;
    distill_strip strip;
    DISTILL_INIT(&forward);
    DISTILL_INIT(&strip);
    CHECK_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_INT(forward.micro_batches, 1);
    while (distill_trainer_next_rows(s.trainer, &strip, &err) == DISTILL_OK)
        for (int64_t r = 0; r < strip.rows; r++) {
            add_squares(strip.student + r * strip.student_stride, strip.teacher + r * strip.teacher_stride,
                        strip.labels[r], squares);
            rows++;
        }
    for (int i = 0; i < 2; i++) norms[i] = sqrt(squares[i]) / rows;
    CHECK_NEAR(rows, forward.weight_sum, 0);
    small_close(&s);
}

static double clamp(double x, double low, double high) { return fmin(fmax(x, low), high); }

static void check_course(const figures *f, double smoothing, double low, double high)
{
    double means[2] = {0, 0};
    for (int i = 0; i < STEPS; i++) {
        CHECK_NEAR(f->factor[i], i ? clamp(means[0] / means[1], low, high) : 1, 1e-12);
        CHECK_NEAR(f->weights[i][0], 1, 0);
        CHECK_NEAR(f->weights[i][1], 0.5 * f->factor[i], 1e-15);
        CHECK_NEAR(f->loss[i], f->values[i][0] + f->weights[i][1] * f->values[i][1], 1e-9);
        for (int k = 0; k < 2; k++) means[k] = smoothing * means[k] + (1 - smoothing) * f->norms[i][k];
    }
}

TEST(factors_follow_from_the_norms)
{
    figures f;
    double norms[2];
    REQUIRE(small_models("balance"));
    run_to(fresh("course"), KEYS, &f);
    norms_by_hand(norms);
    for (int k = 0; k < 2; k++) CHECK_NEAR(f.norms[0][k], norms[k], 2e-6 * norms[k]);
    check_course(&f, 0.5, 0.01, 4);
    CHECK(f.factor[1] != 1 && f.factor[2] != f.factor[1]);
    run_to(fresh("floor"), "balance: {by: gradient_norm, smoothing: 0, floor: 0.9, ceiling: 1}", &f);
    check_course(&f, 0, 0.9, 1);
    CHECK_NEAR(f.factor[1], 0.9, 0);
    char *result = small_read(small_text("%s/floor/result.json", small_folder), NULL);
    CHECK_HAS(result, "\"balance\":{\"factor\":");
    free(result);
}

/* However a window is cut up. */
TEST(micro_batches_change_nothing)
{
    figures whole, cut;
    REQUIRE(small_models("balance"));
    run_to(fresh("whole"), KEYS ", micro_batch_size: 4", &whole);
    run_to(fresh("cut"), KEYS ", micro_batch_size: 1", &cut);
    for (int i = 0; i < STEPS; i++) {
        CHECK_NEAR(cut.factor[i], whole.factor[i], 1e-4 * whole.factor[i]);
        for (int k = 0; k < 2; k++) CHECK_NEAR(cut.norms[i][k], whole.norms[i][k], 1e-4 * whole.norms[i][k]);
    }
}

/* Temperature, T squared and a term's own weight: the norm is that of the term as it is summed, its weight left out. */
TEST(terms_of_other_temperatures)
{
    small s, plain;
    distill_progress p, q;
    REQUIRE(small_models("balance"));
    DISTILL_INIT(&p);
    DISTILL_INIT(&q);
    const char *hard = "loss: {type: forward_kl, temperature: 2, hard_label_weight: 0.25}\n";
    CHECK_OK(small_open(&s, small_text("%s" BY, hard), &err));
    CHECK_OK(small_open(&plain, hard, &err));
    CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_OK(distill_trainer_step(plain.trainer, &q, &err));
    CHECK(small_same_bits(s.student, plain.student)); /* the first window has no norms before it */
    CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_INT(p.term_count, 2);
    CHECK_STR(p.term_names[0], "cross_entropy");
    CHECK_NEAR(p.term_weights[0], 0.25, 0);
    CHECK(p.term_weights[1] != 0.75);
    CHECK_NEAR(p.term_weights[0] * p.term_values[0] + p.term_weights[1] * p.term_values[1], p.loss, 1e-9);
    small_close(&s);
    small_close(&plain);
}

TEST(goes_on_bitwise)
{
    char half[600];
    small whole, s;
    distill_progress p, q;
    REQUIRE(small_models("balance"));
    DISTILL_INIT(&p);
    DISTILL_INIT(&q);
    snprintf(half, sizeof half, "%s", fresh("half"));
    CHECK_OK(small_open(&whole, TWO BY, &err));
    CHECK_OK(small_open(&s, TWO BY, &err));
    for (int i = 0; i < STEPS; i++) {
        CHECK_OK(distill_trainer_step(whole.trainer, &p, &err));
        if (i == 2) CHECK_OK(distill_trainer_save(whole.trainer, half, &err));
    }
    CHECK_OK(distill_trainer_load(s.trainer, half, &err));
    for (int i = 3; i < STEPS; i++) CHECK_OK(distill_trainer_step(s.trainer, &q, &err));
    CHECK(small_same_bits(whole.student, s.student));
    CHECK_NEAR(p.term_weights[1], q.term_weights[1], 0);
    CHECK(q.term_weights[1] != 0.5);
    char *state = small_read(small_text("%s/state.json", half), NULL);
    CHECK_HAS(state, "\"balance\":{\"share\":0.875,");
    free(state);
    small_close(&whole);
    small_close(&s);
    /* without the means of the half it would be another run */
    CHECK_OK(small_open(&s, TWO, &err));
    CHECK_OK(distill_trainer_load(s.trainer, half, &err));
    CHECK_OK(distill_trainer_step(s.trainer, &q, &err));
    CHECK_NEAR(q.term_weights[1], 0.5, 0);
    small_close(&s);
}

TEST(bounds_are_live)
{
    small s;
    distill_progress p;
    REQUIRE(small_models("balance"));
    DISTILL_INIT(&p);
    CHECK_OK(small_open(&s, TWO BY, &err));
    for (int i = 0; i < 2; i++) CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
    const int below = p.term_weights[1] < 0.5;
    CHECK_OK(distill_options_set(s.options, below ? "train.balance.floor" : "train.balance.ceiling", "1", &err));
    CHECK_OK(distill_trainer_configure(s.trainer, s.options, &err));
    CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_NEAR(p.term_weights[1], 0.5, 0);
    CHECK_OK(distill_options_set(s.options, "loss.1.weight", "0", &err));
    CHECK(distill_trainer_configure(s.trainer, s.options, &err) != DISTILL_OK);
    CHECK_HAS(err.message, "train.balance.by gradient_norm balances two losses, and 1 has a weight here");
    CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
    small_close(&s);
}

/* What would be refused at create is refused later, too: nothing would read it. */
TEST(what_nothing_reads_is_not_taken_later)
{
    small s;
    REQUIRE(small_models("balance"));
    CHECK_OK(small_open(&s, TWO, &err));
    CHECK_OK(distill_options_set(s.options, "train.balance.floor", "0.5", &err));
    CHECK_INT(distill_trainer_configure(s.trainer, s.options, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "train.balance.floor goes with by=gradient_norm only");
    CHECK_OK(distill_options_set(s.options, "train.balance.floor", NULL, &err));
    CHECK_OK(distill_options_set(s.options, "train.learning_rate", "0.001", &err));
    CHECK_OK(distill_trainer_configure(s.trainer, s.options, &err));
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    small_close(&s);
}

/* While one of the two has no weight there is nothing to compare. */
TEST(a_weight_that_comes_later)
{
    small s;
    distill_progress p;
    REQUIRE(small_models("balance"));
    DISTILL_INIT(&p);
    CHECK_OK(small_open(
        &s, "loss: [{type: jsd}, {type: cross_entropy, weight: {schedule: step, from: 0, to: 0.5, steps: 2}}]\n" BY,
        &err));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
        if (i < 2) CHECK_NEAR(p.term_weights[1], 0, 0);
        if (i == 2) CHECK_NEAR(p.term_weights[1], 0.5, 0);
        if (i == 3) CHECK(p.term_weights[1] > 0 && p.term_weights[1] != 0.5);
    }
    small_close(&s);
}

static void check_refused(const char *yaml, const char *why)
{
    small s;
    const int32_t rc = small_open(&s, yaml, &err);
    if (rc == DISTILL_OK) FAIL("%s is taken", yaml);
    else if (!strstr(err.message, why)) FAIL("%s: \"%s\", without \"%s\"", yaml, err.message, why);
    small_close(&s);
}

TEST(where_it_makes_no_sense)
{
    small s;
    distill_forward forward;
    distill_strip strip;
    REQUIRE(small_models("balance"));
    check_refused("loss: jsd\n" BY, "balances two losses, and 1 has a weight here: give two, or leave it out");
    check_refused("loss: [{type: jsd}, {type: tvd}, {type: cross_entropy}]\n" BY, "and 3 have a weight here");
    check_refused("loss: [{type: jsd}, {type: hidden_mse}]\n" BY, "loss hidden_mse has none there");
    check_refused(TWO "train: {balance: {floor: 0.5}}\n", "train.balance.floor goes with by=gradient_norm only");
    check_refused(TWO "train: {balance: {by: gradient_norm, ceiling: 0.5}}\n", "train.balance.ceiling");
    check_refused(TWO "train: {balance: {by: gradient_norm, smoothing: 1}}\n", "train.balance.smoothing");
    CHECK_OK(small_open(&s, TWO BY, &err));
    DISTILL_INIT(&forward);
    DISTILL_INIT(&strip);
    CHECK_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_INT(distill_trainer_next_rows(s.trainer, &strip, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "gradients of the host's own are not seen by it");
    CHECK_INT(distill_trainer_backward(s.trainer, forward.student->values, 0, &err), DISTILL_E_STAGE);
    CHECK_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    small_close(&s);
}

TEST_MAIN(TEST_CASE(factors_follow_from_the_norms) TEST_CASE(micro_batches_change_nothing)
              TEST_CASE(terms_of_other_temperatures) TEST_CASE(goes_on_bitwise) TEST_CASE(bounds_are_live)
                  TEST_CASE(what_nothing_reads_is_not_taken_later) TEST_CASE(a_weight_that_comes_later)
                      TEST_CASE(where_it_makes_no_sense))
