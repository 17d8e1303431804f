/* Classifiers: gradients, what training reaches, the same bits for any threads and however interrupted, files. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "classifier_fixture.h"

/* ---- gradients against finite differences, by a forward pass of its own in double ---- */

typedef struct net { /* as doubles */
    int64_t inputs, width, hidden, classes;
    double *table, *bias, *head, *head_bias;
} net;

static double loss_of(const net *n, const di_inputs *x, const double *p)
{
    double h[16] = {0}, z[8] = {0}, peak = -1e300, sum = 0, loss = 0;
    double *first = n->hidden ? h : z;
    for (int64_t j = 0; j < n->width; j++) {
        first[j] = n->bias[j];
        for (int64_t i = 0; i < x->count; i++) first[j] += (double)x->values[i] * n->table[x->ids[i] * n->width + j];
    }
    for (int64_t j = 0; n->hidden && j < n->classes; j++) {
        z[j] = n->head_bias[j];
        for (int64_t i = 0; i < n->hidden; i++) z[j] += tanh(h[i]) * n->head[i * n->classes + j];
    }
    for (int64_t j = 0; j < n->classes; j++) peak = z[j] > peak ? z[j] : peak;
    for (int64_t j = 0; j < n->classes; j++) sum += exp(z[j] - peak);
    for (int64_t j = 0; j < n->classes; j++)
        if (p[j] > 0) loss += p[j] * (log(p[j]) - (z[j] - peak - log(sum)));
    return loss;
}

static double total_loss(const net *n, const di_fit *fit, const int64_t *indices, int64_t count)
{
    double sum = 0;
    for (int64_t r = 0; r < count; r++) {
        const int64_t at = indices[r];
        double p[8];
        for (int64_t j = 0; j < n->classes; j++)
            p[j] = (double)fit->texts->probabilities[fit->texts->rows[at] * n->classes + j];
        sum += (double)fit->texts->weights[at] * loss_of(n, &fit->features[r], p);
    }
    return sum;
}

static void check_numbers(const net *n, const di_fit *fit, const int64_t *indices, int64_t count, double *numbers,
                          int64_t size, const float *gradient, const char *what)
{
    const double e = 1e-6;
    for (int64_t i = 0; i < size; i++) {
        const double was = numbers[i];
        numbers[i] = was + e;
        const double above = total_loss(n, fit, indices, count);
        numbers[i] = was - e;
        const double below = total_loss(n, fit, indices, count), want = (above - below) / (2 * e);
        numbers[i] = was;
        if (!(fabs((double)gradient[i] - want) <= 2e-5 * (1 + fabs(want)))) {
            FAIL("d %s[%d] is %.9g, not %.9g", what, (int)i, (double)gradient[i], want);
            return;
        }
    }
}

static double *doubles(const float *from, int64_t count)
{
    double *out = malloc(sizeof *out * (size_t)(count + 1));
    for (int64_t i = 0; i < count; i++) out[i] = (double)from[i];
    return out;
}

static void randomise(float *numbers, int64_t count, uint64_t stream)
{
    for (int64_t i = 0; i < count; i++) numbers[i] = (float)(dk_random_normal(5, stream, (uint64_t)i) * 0.5);
}

static void check_gradients(int64_t hidden)
{
    static const char *const names[] = {"art", "science", "sport"};
    static const int64_t indices[5] = {3, 0, 7, 11, 2};
    const di_classifier_spec spec = {.ngrams = {2, 3, 4, 9, 1, DI_COUNT_LOG_TF},
                                     .hidden = hidden,
                                     .classes = 3,
                                     .names = names,
                                     .store = DI_WEIGHT_F32,
                                     .seed = 3};
    di_classifier *c = NULL;
    di_fit *fit = NULL;
    di_loss *loss = NULL;
    di_source_text source = {0};
    di_class_names classes = {0};
    di_labelled texts = {0};
    double weight_sum = 0;
    dk_error err;
    fixture f;
    fixture_open(&f, "gradients");
    set_recipe(&f);
    REQUIRE_OK(di_classifier_create(f.backend, &spec, &c, &err));
    REQUIRE_OK(di_class_names_take(f.host, names, 3, &classes, &err));
    di_labelled_init(&texts, f.host, &classes);
    REQUIRE_OK(di_source_open(f.host, test_path(f.folder, "train.jsonl"), &source, &err));
    REQUIRE_OK(di_labelled_add(&texts, &source, &err));
    texts.weights[7] = 2.5f;
    randomise(c->table, c->inputs * c->width, 1);
    randomise(c->bias, c->width, 2);
    if (hidden) randomise(c->head_bias, c->classes, 4);
    REQUIRE_OK(di_loss_create(f.registry, NULL, f.options, &loss, &err));
    REQUIRE_OK(di_fit_create(c, &texts, loss, f.options, &fit, &err));
    REQUIRE_OK(di_fit_gradients(fit, indices, 5, &weight_sum, &err));
    CHECK_NEAR(weight_sum, 6.5, 1e-6);

    net n = {c->inputs,
             c->width,
             hidden,
             3,
             doubles(c->table, c->inputs * c->width),
             doubles(c->bias, c->width),
             hidden ? doubles(c->head, hidden * 3) : NULL,
             hidden ? doubles(c->head_bias, 3) : NULL};
    CHECK_NEAR(fit->last_loss, total_loss(&n, fit, indices, 5) / 6.5, 1e-5);
    CHECK(fit->touched_count > 50 && fit->touched_count < c->inputs);
    for (int64_t t = 0; t < fit->touched_count; t += 9)
        check_numbers(&n, fit, indices, 5, n.table + fit->touched[t] * n.width, n.width, fit->gradient + t * n.width,
                      "table");
    check_numbers(&n, fit, indices, 5, n.bias, n.width, fit->gradients[0], "bias");
    if (hidden) check_numbers(&n, fit, indices, 5, n.head, hidden * 3, fit->gradients[1], "head");
    if (hidden) check_numbers(&n, fit, indices, 5, n.head_bias, 3, fit->gradients[2], "head_bias");
    free(n.table);
    free(n.bias);
    free(n.head);
    free(n.head_bias);
    di_fit_free(fit);
    di_loss_release(loss);
    di_classifier_free(c);
    di_labelled_free(&texts);
    di_class_names_free(&classes);
    di_source_free(f.host, &source);
    fixture_close(&f);
}

TEST(gradients_of_one_layer) { check_gradients(0); }
TEST(gradients_of_two_layers) { check_gradients(7); }

/* ---- training ---- */

TEST(reaches_texts_that_words_tell_apart)
{
    float p[3];
    di_verdict verdict;
    di_classifier *c = NULL;
    dk_strbuf json;
    dk_error err;
    fixture f;
    for (int hidden = 0; hidden <= 8; hidden += 8) {
        fixture_open(&f, "apart");
        set_recipe(&f);
        if (hidden) set(&f, "classifier.hidden", "8");
        dk_strbuf_init(&json, f.host);
        REQUIRE_OK(train(&f, 0, &c, &json, &err));
        CHECK_HAS(json.data, "\"agreement\":1,");
        CHECK_HAS(c->held_out.data, "\"texts\":120,\"agreement\":1,");
        REQUIRE_OK(di_classifier_predict(c, "The atom of a ball", 18, p, &verdict, &err));
        REQUIRE_OK(di_classifier_predict(c, "a canvas to paint", 17, p, &verdict, &err));
        CHECK_STR(c->names[verdict.answer], "art");
        CHECK_NEAR((double)(p[0] + p[1] + p[2]), 1, 1e-6);
        CHECK(c->promise.threshold < 1 && c->promise.answered == 120 && c->promise.wrong == 0);
        di_classifier_free(c);
        dk_strbuf_free(&json);
        fixture_close(&f);
    }
}

/* One text again and again: forward_kl has its minimum, 0, where q is p, whatever p is. */
TEST(what_forward_kl_reaches_is_the_teacher)
{
    static const double want[4] = {0.55, 0.3, 0.15, 0};
    float p[4];
    di_verdict verdict;
    di_classifier *c = NULL;
    dk_strbuf json;
    dk_error err;
    fixture f;
    fixture_open(&f, "optimum");
    dk_strbuf_init(&json, f.host);
    write_text(&f, "train.jsonl", "{\"text\": \"same\", \"probabilities\": [0.55, 0.3, 0.15, 0]}\n");
    set_path(&f, "data.train", "train.jsonl");
    set(&f, "loss.type", "forward_kl");
    set(&f, "train.steps", "4000");
    set(&f, "train.batch_size", "1");
    set(&f, "train.learning_rate", "0.05");
    set(&f, "train.weight_decay", "0");
    set(&f, "classifier.type", "f32");
    REQUIRE_OK(train(&f, 0, &c, &json, &err));
    REQUIRE_OK(di_classifier_predict(c, "same", 4, p, &verdict, &err));
    for (int j = 0; j < 4; j++) CHECK_NEAR((double)p[j], want[j], 1e-3);
    CHECK_STR(c->names[2], "2");
    di_classifier_free(c);
    dk_strbuf_free(&json);
    fixture_close(&f);
}

/* Another number of threads, a stop after any step, and the files read back: the same bits. */
static int same_weights(const di_classifier *a, const di_classifier *b)
{
    int same = !memcmp(a->table, b->table, sizeof *a->table * (size_t)(a->inputs * a->width)) &&
               !memcmp(a->bias, b->bias, sizeof *a->bias * (size_t)a->width);
    if (a->hidden)
        same &= !memcmp(a->head, b->head, sizeof *a->head * (size_t)(a->hidden * a->classes)) &&
                !memcmp(a->head_bias, b->head_bias, sizeof *a->head_bias * (size_t)a->classes);
    return same && a->promise.threshold == b->promise.threshold && a->temperature == b->temperature;
}

static di_classifier *trained(fixture *f, const char *output, int32_t resume)
{
    di_classifier *c = NULL;
    dk_strbuf json;
    dk_error err;
    dk_strbuf_init(&json, f->host);
    set_path(f, "output.path", output);
    if (train(f, resume, &c, &json, &err)) FAIL("%s", err.message);
    dk_strbuf_free(&json);
    return c;
}

TEST(threads_change_no_bit)
{
    di_classifier *c[2];
    fixture f[2];
    for (int i = 0; i < 2; i++) {
        fixture_open(&f[i], i ? "threads4" : "threads1");
        REQUIRE(dk_host_set_threads(f[i].host, i ? 4 : 1, NULL, NULL, NULL, &f[i].err) == DK_OK);
        set_recipe(&f[i]);
        set(&f[i], "classifier.hidden", "5");
        set(&f[i], "classifier.calibrate", "temperature");
        c[i] = trained(&f[i], "out", 0);
        REQUIRE(c[i] != NULL);
    }
    CHECK(same_weights(c[0], c[1]));
    for (int i = 0; i < 2; i++) {
        di_classifier_free(c[i]);
        fixture_close(&f[i]);
    }
}

typedef struct stopper {
    int64_t at;
    int32_t answer;
} stopper;

static int32_t stop(void *user, const distill_progress *progress)
{
    const stopper *s = user;
    return progress->phase == DISTILL_PHASE_TRAINING && progress->step == s->at ? s->answer : DISTILL_CB_OK;
}

TEST(resumed_is_as_never_stopped)
{
    stopper at = {23, DISTILL_CB_CANCEL};
    di_classifier *whole, *resumed, *c = NULL;
    char *a = NULL, *b = NULL;
    size_t a_size, b_size;
    dk_strbuf json;
    dk_error err;
    fixture f;
    fixture_open(&f, "resume");
    set_recipe(&f);
    set(&f, "classifier.hidden", "5");
    set(&f, "train.checkpoint_every", "7");
    dk_strbuf_init(&json, f.host);
    REQUIRE((whole = trained(&f, "whole", 0)) != NULL);
    set_path(&f, "output.path", "parts");
    di_classifier_args args = {
        .backend = f.backend, .registry = f.registry, .options = f.options, .fn = stop, .user = &at};
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_CANCELLED);
    CHECK_HAS(err.message, "step 23 of 60 is kept in");
    args.resume = 1;
    at = (stopper){40, 77};
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 77);
    REQUIRE((resumed = trained(&f, "parts", 1)) != NULL);
    CHECK(same_weights(whole, resumed));
    REQUIRE_OK(dk_file_read(f.host, test_path(f.folder, "whole/model.safetensors"), 1 << 24, &a, &a_size, &err));
    REQUIRE_OK(dk_file_read(f.host, test_path(f.folder, "parts/model.safetensors"), 1 << 24, &b, &b_size, &err));
    CHECK(a_size == b_size && !memcmp(a, b, a_size));

    set(&f, "train.learning_rate", "0.04");
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "the settings are others");
    set(&f, "train.learning_rate", "0.05");
    write_lines(&f, "train.jsonl", 1, 60);
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "the texts are others");
    args.resume = 0;
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "already holds a run");
    set_path(&f, "output.path", "nowhere");
    args.resume = 1;
    CHECK_INT(di_classifier_train(&args, &c, &json, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "no checkpoint");
    dk_free(f.host, a);
    dk_free(f.host, b);
    di_classifier_free(whole);
    di_classifier_free(resumed);
    dk_strbuf_free(&json);
    fixture_close(&f);
}

TEST(files_hold_all_of_it)
{
    static const char *const types[] = {"f32", "f16", "int8"};
    static const char text[] = "an atom and a canvas, painted";
    fixture f;
    dk_error err;
    for (int i = 0; i < 6; i++) {
        di_classifier *c, *opened = NULL;
        di_verdict verdicts[2];
        float p[2][3];
        char *a = NULL, *b = NULL;
        size_t a_size, b_size;
        fixture_open(&f, "files");
        set_recipe(&f);
        set(&f, "classifier.type", types[i % 3]);
        set(&f, "classifier.question", "\"Which is it?\\n\\n{text}\"");
        if (i / 3) set(&f, "classifier.hidden", "6");
        REQUIRE((c = trained(&f, "out", 0)) != NULL);
        REQUIRE_OK(di_classifier_open(f.backend, test_path(f.folder, "out"), NULL, &opened, &err));
        CHECK(same_weights(c, opened));
        CHECK_STR(opened->question.text, "Which is it?\n\n{text}");
        CHECK_STR(opened->held_out.data, c->held_out.data);
        REQUIRE_OK(di_classifier_predict(c, text, sizeof text - 1, p[0], &verdicts[0], &err));
        REQUIRE_OK(di_classifier_predict(opened, text, sizeof text - 1, p[1], &verdicts[1], &err));
        CHECK(!memcmp(p[0], p[1], sizeof p[0]) && verdicts[0].sure == verdicts[1].sure);
        REQUIRE_OK(di_classifier_save(opened, test_path(f.folder, "again"), &err));
        REQUIRE_OK(dk_file_read(f.host, test_path(f.folder, "out/config.json"), 1 << 24, &a, &a_size, &err));
        REQUIRE_OK(dk_file_read(f.host, test_path(f.folder, "again/config.json"), 1 << 24, &b, &b_size, &err));
        CHECK_STR(b, a); /* with the sum of the weights in it */
        dk_free(f.host, a);
        dk_free(f.host, b);
        REQUIRE_OK(dk_file_read(f.host, test_path(f.folder, "out/model.safetensors"), 1 << 24, &a, &a_size, &err));
        CHECK((int64_t)a_size >= di_classifier_bytes(c) && (int64_t)a_size < di_classifier_bytes(c) + 1024);
        a[a_size - 3] ^= 4;
        REQUIRE_OK(dk_file_replace(f.host, test_path(f.folder, "out/model.safetensors"), a, a_size, &err));
        di_classifier_free(opened);
        CHECK_INT(di_classifier_open(f.backend, test_path(f.folder, "out"), NULL, &opened, &err), DK_E_MISMATCH);
        CHECK_HAS(err.message, "is damaged");
        dk_free(f.host, a);
        di_classifier_free(c);
        fixture_close(&f);
    }
}

/* Saved over another one and killed at any moment: one of the two is there and is opened. */
TEST(saved_over_another_one)
{
    di_classifier *c[2] = {NULL, NULL}, *opened = NULL;
    int found[2] = {0, 0};
    dk_error err;
    fixture f;
    fixture_open(&f, "over");
    set_recipe(&f);
    REQUIRE((c[0] = trained(&f, "first", 0)) != NULL);
    set(&f, "train.seed", "77");
    set(&f, "classifier.type", "int8");
    REQUIRE((c[1] = trained(&f, "second", 0)) != NULL);
    char folder[600];
    snprintf(folder, sizeof folder, "%s", test_path(f.folder, "over"));
    REQUIRE_OK(di_classifier_save(c[0], folder, &err));
    for (unsigned i = 0; i < 20; i++) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (!child)
            for (int k = 0;; k++)
                if (di_classifier_save(c[k % 2], folder, NULL)) _exit(1);
        const struct timespec pause = {0, 1000000L + (long)(i * 1777777u % 9000000u)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        if (di_classifier_open(f.backend, folder, NULL, &opened, &err)) {
            FAIL("kill %u: %s", i, err.message);
            continue;
        }
        const int which = same_weights(c[0], opened) ? 0 : 1;
        CHECK(same_weights(c[which], opened));
        found[which]++;
        di_classifier_free(opened);
    }
    CHECK_INT(found[0] + found[1], 20);
    REQUIRE_OK(di_classifier_save(c[1], folder, &err)); /* and what was left aside goes */
    CHECK(!dk_path_exists(test_path(folder, "model.old.safetensors")));
    REQUIRE_OK(di_classifier_open(f.backend, folder, NULL, &opened, &err));
    CHECK(same_weights(c[1], opened));
    di_classifier_free(opened);
    for (int i = 0; i < 2; i++) di_classifier_free(c[i]);
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(gradients_of_one_layer) TEST_CASE(gradients_of_two_layers)
              TEST_CASE(reaches_texts_that_words_tell_apart) TEST_CASE(what_forward_kl_reaches_is_the_teacher)
                  TEST_CASE(threads_change_no_bit) TEST_CASE(resumed_is_as_never_stopped)
                      TEST_CASE(files_hold_all_of_it) TEST_CASE(saved_over_another_one))
