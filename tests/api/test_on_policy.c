/* Windows that the student writes itself: what is kept of the data, who writes the rest, what the loss is of, and that
 * a step is the same however it comes to be made. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "small.h"

enum { PROMPT = 5, NEW = 8, BATCH = 4, STEPS = 12 };

#define ON "train.on_policy: {lambda: %s, max_new_tokens: 8, prompt_tokens: 5}\n"
#define ON_HALF "train.on_policy: {lambda: 0.5, max_new_tokens: 8, prompt_tokens: 5}\n"
#define ALWAYS "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5}\n"

/* A student that no token ends the text of, unless a test says so: else its family's own does. */
static int models(void)
{
    static int made;
    if (!small_models("on_policy")) return 0;
    char *config = made ? NULL : small_read(test_path(small_folder, "student.json"), NULL);
    if (config) {
        *strrchr(config, '}') = '\0';
        made = small_write(test_path(small_folder, "student.json"), small_text("%s,\"eos_token_id\":null}", config));
    }
    free(config);
    return made;
}

static int32_t step_of(small *s, distill_progress *now, distill_error *err)
{
    DISTILL_INIT(now);
    return distill_trainer_step(s->trainer, now, err);
}

/* ---- what a window is ---- */

/* TRL 1.16 divides by the dataset's labels, which are 64 here. */
TEST(divisor)
{
    small s;
    distill_error err;
    distill_progress now;
    REQUIRE(models());
    REQUIRE_OK(small_open(&s, ALWAYS, &err));
    for (int i = 1; i <= 2; i++) {
        REQUIRE_OK(step_of(&s, &now, &err));
        CHECK_INT(now.count, BATCH * NEW);
        CHECK_NEAR(now.weight_sum, BATCH * NEW, 0);
        CHECK_INT(now.tokens, i * BATCH * (PROMPT + NEW));
        CHECK_INT(now.generated, i * BATCH * NEW);
        CHECK_NEAR(now.on_policy_share, 1, 0);
    }
    small_close(&s);
}

typedef struct written {
    int32_t ids[BATCH][NEW];
    int64_t count[BATCH];
} written;

static int32_t take(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    written *w = user;
    (void)log_prob, (void)text, (void)size, (void)finished;
    w->ids[sequence][w->count[sequence]++] = id;
    return DISTILL_CB_OK;
}

/* What a model in this folder writes most probably behind the prompts of a batch. */
static void write_greedily(small *s, const char *folder, const distill_batch *batch, written *out)
{
    int32_t ids[BATCH * PROMPT];
    int64_t offsets[BATCH + 1];
    distill_batch prompts;
    distill_teacher *model = NULL;
    distill_error err;
    DISTILL_INIT(&prompts);
    for (int i = 0; i <= BATCH; i++) offsets[i] = (int64_t)i * PROMPT;
    for (int i = 0; i < BATCH; i++) memcpy(ids + offsets[i], batch->ids + batch->offsets[i], PROMPT * sizeof *ids);
    prompts.ids = ids;
    prompts.offsets = offsets;
    prompts.sequences = BATCH;
    memset(out, 0, sizeof *out);
    REQUIRE_OK(distill_options_set(s->options, "generate", "{max_tokens: 8, temperature: 0}", &err));
    REQUIRE_OK(distill_teacher_open(s->env, folder, s->options, &model, &err));
    CHECK_OK(distill_teacher_generate(model, &prompts, s->options, take, out, &err));
    distill_teacher_free(model);
}

/* The weights as they stand write, as the files would that they are saved to; and pull mode sees it. */
TEST(live_weights_write)
{
    small s;
    distill_error err;
    distill_progress now;
    distill_forward forward;
    written want;
    char folder[600];
    REQUIRE(models());
    REQUIRE_OK(small_open(&s,
                          "train: {micro_batch_size: 4, on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5, "
                          "temperature: 0}}\n",
                          &err));
    for (int i = 0; i < 3; i++) REQUIRE_OK(step_of(&s, &now, &err));
    snprintf(folder, sizeof folder, "%s/live", small_folder);
    REQUIRE_OK(distill_options_set(s.options, "output", "{type: f32}", &err));
    REQUIRE_OK(distill_student_save(s.student, folder, s.options, &err));
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_INT(forward.rows, BATCH * NEW);
    CHECK_INT(forward.batch->sequences, BATCH);
    CHECK_NEAR(forward.weight_sum, BATCH * NEW, 0);
    write_greedily(&s, folder, forward.batch, &want);
    for (int i = 0; i < BATCH; i++) {
        const int64_t first = forward.batch->offsets[i];
        CHECK_INT(forward.batch->offsets[i + 1] - first, PROMPT + NEW);
        for (int k = 0; k < NEW; k++) {
            const int64_t row = (int64_t)i * NEW + k;
            CHECK_INT(forward.batch->ids[first + PROMPT + k], want.ids[i][k]);
            CHECK_INT(forward.batch->rows[row], first + PROMPT + k - 1);
            CHECK_INT(((const int32_t *)forward.labels->data)[row], want.ids[i][k]);
        }
    }
    REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    DISTILL_INIT(&now);
    REQUIRE_OK(distill_trainer_apply(s.trainer, &now, &err));
    CHECK_INT(now.generated, 4 * BATCH * NEW);
    small_close(&s);
}

/* The same text given as data makes the same step. */
TEST(as_if_it_were_data)
{
    small a, b;
    distill_error err;
    distill_progress now, then;
    distill_forward forward;
    int64_t rows[BATCH * NEW];
    const char *base = "data: {shuffle: false}\ntrain.micro_batch_size: 4\nloss: {type: jsd, temperature: 2}\n";
    REQUIRE(models());
    REQUIRE_OK(small_open(&a, small_text("%s" ALWAYS, base), &err));
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_forward(a.trainer, 0, &forward, &err));
    REQUIRE_OK(small_parts(&b, NULL, base, &err));
    distill_batch text = *forward.batch;
    memcpy(rows, forward.batch->rows, sizeof rows);
    text.rows = rows;
    text.weights = NULL;
    distill_dataset_free(b.train);
    b.train = NULL;
    REQUIRE_OK(distill_dataset_from_tokens(b.env, &text, b.options, &b.train, &err));
    REQUIRE_OK(distill_trainer_create(b.env, b.teacher, b.student, b.train, b.eval, b.options, &b.trainer, &err));
    REQUIRE_OK(distill_trainer_backward(a.trainer, NULL, 0, &err));
    DISTILL_INIT(&now);
    REQUIRE_OK(distill_trainer_apply(a.trainer, &now, &err));
    REQUIRE_OK(step_of(&b, &then, &err));
    CHECK_NEAR(now.loss, then.loss, 0);
    CHECK_INT(then.count, BATCH * NEW);
    CHECK(small_same_bits(a.student, b.student));
    small_close(&a);
    small_close(&b);
}

TEST(micro_batches)
{
    static const char *const more[] = {"", "data: {pack: true}\n"};
    distill_error err;
    REQUIRE(models());
    for (int pack = 0; pack < 2; pack++) {
        small s[3];
        distill_progress now[3];
        for (int i = 0; i < 3; i++) {
            REQUIRE_OK(
                small_open(&s[i], small_text("%s" ALWAYS "train.micro_batch_size: %d\n", more[pack], 1 << i), &err));
            for (int k = 0; k < 3; k++) REQUIRE_OK(step_of(&s[i], &now[i], &err));
            CHECK_INT(now[i].generated, now[0].generated);
            CHECK_NEAR(now[i].weight_sum, now[0].weight_sum, 0);
            CHECK_NEAR(now[i].loss, now[0].loss, 1e-5);
            CHECK(small_distance(s[i].student, s[0].student) < 1e-4);
        }
        for (int i = 0; i < 3; i++) small_close(&s[i]);
    }
}

/* Sequences of several lengths in one packed window: what is written is packed anew, in room that is planned. */
TEST(packed)
{
    enum { SAMPLES = 24 };
    int32_t ids[SAMPLES * 6];
    int64_t offsets[SAMPLES + 1] = {0};
    distill_batch batch;
    distill_error err;
    distill_progress now;
    small s;
    for (int i = 0; i < SAMPLES; i++) offsets[i + 1] = offsets[i] + 2 + i % 5;
    for (int64_t i = 0; i < offsets[SAMPLES]; i++) ids[i] = (int32_t)(i * 7 % SMALL_VOCAB);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = SAMPLES;
    REQUIRE(models());
    REQUIRE_OK(small_parts(&s, NULL, "data: {pack: true}\n" ALWAYS, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(distill_dataset_from_tokens(s.env, &batch, s.options, &s.train, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    for (int i = 0; i < 4; i++) {
        REQUIRE_OK(step_of(&s, &now, &err));
        CHECK(now.count > BATCH * NEW); /* several texts in a window */
        CHECK_INT(now.count % NEW, 0);
    }
    small_close(&s);
}

/* A prompt of the data stays whole, a sample's weight is that of its text, and one that fills the room is left out. */
TEST(prompts_and_weights)
{
    enum { FULL = 17 };
    int32_t ids[3 * FULL];
    int64_t offsets[4] = {0, FULL, 2 * FULL, 3 * FULL}, rows[] = {9, 10, 2 * FULL - 2, 2 * FULL + 13};
    float weights[] = {0.5f, 0.5f, 2, 3};
    distill_batch batch;
    distill_error err;
    distill_progress now;
    distill_forward forward;
    small s;
    for (uint32_t i = 0; i < 3; i++) small_ids(ids + i * FULL, FULL, i);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 3;
    batch.rows = rows;
    batch.row_count = 4;
    batch.weights = weights;
    REQUIRE(models());
    REQUIRE_OK(
        small_parts(&s, NULL, "data: {shuffle: false}\ntrain.batch_size: 3\ntrain.micro_batch_size: 3\n" ALWAYS, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(distill_dataset_from_tokens(s.env, &batch, s.options, &s.train, &err));
    REQUIRE_OK(distill_options_set(s.options, "data.sequence_length", "16", &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    REQUIRE(forward.batch->sequences == 2);
    CHECK_INT(forward.batch->offsets[1], 16); /* a prompt of 10 leaves room for 6 */
    CHECK_INT(forward.batch->offsets[2], 32); /* one of 14 for 2, and one of 16 for nothing */
    CHECK(!memcmp(forward.batch->ids, ids, 10 * sizeof *ids));
    CHECK(!memcmp(forward.batch->ids + 16, ids + 34, 14 * sizeof *ids));
    CHECK_INT(forward.rows, 8);
    CHECK_NEAR(forward.weight_sum, 6 * 0.5 + 2 * 3, 0);
    REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    DISTILL_INIT(&now);
    REQUIRE_OK(distill_trainer_apply(s.trainer, &now, &err));
    CHECK_NEAR(now.weight_sum, 9, 0);
    small_close(&s);
}

/* ---- which windows ---- */

static int windows_of(const char *lambda, int64_t generated[], int steps)
{
    small s;
    distill_error err;
    distill_progress now;
    int count = 0;
    int64_t before = 0;
    int32_t rc = small_open(&s, small_text(ON "train.steps: %d\n", lambda, steps), &err);
    if (rc) FAIL("lambda %s: %d %s", lambda, rc, err.message);
    for (int i = 0; !rc && i < steps; i++) {
        rc = step_of(&s, &now, &err);
        if (rc) FAIL("lambda %s: %d %s", lambda, rc, err.message);
        generated[i] = now.generated - before;
        CHECK_INT(now.count, generated[i] ? BATCH * NEW : BATCH * (SMALL_LENGTH - 1));
        count += generated[i] > 0;
        before = now.generated;
    }
    small_close(&s);
    return count;
}

/* The draw of a step is one number against lambda: windows of a lower lambda are among those of a higher one. */
TEST(share_of_windows)
{
    enum { MANY = 60 };
    int64_t some[MANY], more[MANY];
    REQUIRE(models());
    const int few = windows_of("0.3", some, MANY), many = windows_of("0.7", more, MANY);
    CHECK(few > MANY * 3 / 20 && few < MANY * 9 / 20);
    CHECK(many > MANY * 11 / 20 && many < MANY * 17 / 20);
    for (int i = 0; i < MANY; i++) CHECK(!some[i] || more[i]);
}

/* Draws of a temperature and of another step are others. */
TEST(draws)
{
    static const char *const yaml[] = {ALWAYS, ALWAYS, ALWAYS "train.seed: 2\n",
                                       ("train.on_policy: {lambda: 1, max_new_tokens: 8, "
                                        "prompt_tokens: 5, top_p: 0.2, temperature: 0.5}\n")};
    int32_t ids[4][BATCH * (PROMPT + NEW)];
    distill_error err;
    REQUIRE(models());
    for (int i = 0; i < 4; i++) {
        small s;
        distill_forward forward;
        REQUIRE_OK(small_open(&s, small_text("data: {shuffle: false}\ntrain.micro_batch_size: 4\n%s", yaml[i]), &err));
        DISTILL_INIT(&forward);
        REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
        memcpy(ids[i], forward.batch->ids, sizeof ids[i]);
        small_close(&s);
    }
    CHECK(!memcmp(ids[0], ids[1], sizeof ids[0]));
    CHECK(memcmp(ids[0], ids[2], sizeof ids[0]) != 0);
    CHECK(memcmp(ids[0], ids[3], sizeof ids[0]) != 0);
}

/* A token that ends a text is written and learnt, and nothing comes behind it. */
TEST(ends)
{
    small s;
    distill_error err;
    distill_progress now;
    distill_report *report = NULL;
    char text[64], json[16384];
    size_t needed = 0;
    REQUIRE(models());
    char *config = small_read(test_path(small_folder, "student.json"), NULL);
    REQUIRE(config);
    *strstr(config, "null}") = '\0';
    REQUIRE(small_write(test_path(small_folder, "ends.json"), small_text("%s[1,2,3,4,5,6,7,8,9,10,11,12]}", config)));
    free(config);
    REQUIRE_OK(small_parts(&s, NULL, ALWAYS "train.learning_rate: 0\n", &err));
    distill_student_free(s.student);
    s.student = NULL;
    REQUIRE_OK(distill_student_create(s.env, test_path(small_folder, "ends.json"), NULL, s.options, &s.student, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    int64_t short_ones = 0;
    for (int i = 0; i < 6; i++) {
        distill_forward f;
        for (int micro = 0; micro < 2; micro++) {
            DISTILL_INIT(&f);
            REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &f, &err));
            for (int64_t q = 0; q < f.batch->sequences; q++) {
                const int64_t first = f.batch->offsets[q] + PROMPT, end = f.batch->offsets[q + 1];
                for (int64_t k = first; k + 1 < end; k++) CHECK(f.batch->ids[k] < 1 || f.batch->ids[k] > 12);
                const int32_t last = f.batch->ids[end - 1];
                short_ones += last >= 1 && last <= 12;
                CHECK(end - first == NEW || (last >= 1 && last <= 12));
            }
            REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
        }
        DISTILL_INIT(&now);
        REQUIRE_OK(distill_trainer_apply(s.trainer, &now, &err));
        CHECK_NEAR(now.weight_sum, (double)now.count, 0);
    }
    CHECK(short_ones > 0);
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_OK(distill_report_json(report, json, sizeof json, &needed, &err));
    snprintf(text, sizeof text, "\"ended\":%lld", (long long)short_ones);
    CHECK_HAS(json, text);
    CHECK_HAS(json, "\"on_policy\":{\"share\":1,\"windows\":6,\"replayed\":0,\"texts\":24,");
    distill_report_free(report);
    small_close(&s);
}

/* ---- losses of one kind of text ---- */

#define APART "loss: [{type: skew_forward_kl, on: data}, {type: skew_reverse_kl, on: student, weight: 2}]\n"

/* A window has the terms that are of its text, and the others have no part in it. */
TEST(losses_apart)
{
    small s;
    distill_error err;
    distill_progress now;
    int64_t generated = 0;
    int of_student = 0;
    REQUIRE(models());
    REQUIRE_OK(small_open(&s, small_text(APART ON "train.steps: 20\n", "0.5"), &err));
    for (int i = 0; i < 20; i++) {
        REQUIRE_OK(step_of(&s, &now, &err));
        const int own = now.generated > generated;
        of_student += own;
        REQUIRE(now.term_count == 2);
        CHECK_STR(now.term_names[0], "skew_forward_kl on data");
        CHECK_STR(now.term_names[1], "skew_reverse_kl on student");
        CHECK_NEAR(now.term_weights[0], own ? 0 : 1, 0);
        CHECK_NEAR(now.term_weights[1], own ? 2 : 0, 0);
        CHECK_NEAR(now.term_values[!own], 0, 0);
        CHECK(now.term_values[own] > 0);
        CHECK_NEAR(now.loss, (own ? 2 : 1) * now.term_values[own], 1e-9);
        generated = now.generated;
    }
    CHECK(of_student > 4 && of_student < 16);
    small_close(&s);
}

/* Where all windows are of one kind it is as if the other term were not there; also losses on features. */
TEST(losses_apart_are_alone)
{
    static const char *const pairs[][2] = {
        {"loss: [{type: reverse_kl, on: student}, {type: forward_kl, on: data}]\n", "loss: reverse_kl\n"},
        {"loss: [{type: reverse_kl, on: student}, {type: cross_entropy, on: data}]\n", "loss: reverse_kl\n"},
        {"loss: [{type: reverse_kl}, {type: hidden_mse, on: data, weight: 3}]\n", "loss: reverse_kl\n"},
        {"loss: [{type: reverse_kl}, {type: hidden_mse, on: student, weight: 3}]\n",
         "loss: [{type: reverse_kl}, {type: hidden_mse, weight: 3}]\n"}};
    distill_error err;
    distill_progress now;
    REQUIRE(models());
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        small s[2];
        for (int k = 0; k < 2; k++) {
            REQUIRE_OK(small_open(&s[k], small_text("%s" ALWAYS, pairs[i][k]), &err));
            for (int step = 0; step < 3; step++) REQUIRE_OK(step_of(&s[k], &now, &err));
        }
        if (!small_same_bits(s[0].student, s[1].student))
            FAIL("%s: off by %g", pairs[i][0], small_distance(s[0].student, s[1].student));
        for (int k = 0; k < 2; k++) small_close(&s[k]);
    }
}

/* ---- texts of earlier steps ---- */

enum { LONG = 40, TEXT = PROMPT + NEW };

typedef struct seen { /* texts as they were trained on, by step; of a step of the data none */
    int32_t ids[LONG][BATCH][TEXT];
    int count[LONG];
} seen;

static int find_text(const seen *all, int from, int to, const int32_t *ids)
{
    for (int k = from; k < to; k++)
        for (int i = 0; i < all->count[k]; i++)
            if (!memcmp(all->ids[k][i], ids, sizeof all->ids[k][i])) return k;
    return -1;
}

static void keep_text(const distill_batch *batch, seen *all, int step)
{
    for (int64_t i = 0; i < batch->sequences; i++) {
        if (batch->offsets[i + 1] - batch->offsets[i] != TEXT) continue; /* of the data */
        if (!CHECK(all->count[step] < BATCH)) return;
        memcpy(all->ids[step][all->count[step]++], batch->ids + batch->offsets[i], sizeof all->ids[0][0]);
    }
}

static int32_t pull_step(small *s, seen *all, int step, distill_progress *now, distill_error *err)
{
    distill_forward f;
    int32_t rc = 0;
    DISTILL_INIT(&f);
    do {
        if ((rc = distill_trainer_forward(s->trainer, 0, &f, err))) return rc;
        keep_text(f.batch, all, step);
        if ((rc = distill_trainer_backward(s->trainer, NULL, 0, err))) return rc;
    } while (f.micro_batch + 1 < f.micro_batches);
    DISTILL_INIT(now);
    return distill_trainer_apply(s->trainer, now, err);
}

/* A window is of new texts or of old ones, these are all different and no older than they may be. */
static void check_replay(const char *replay, int oldest)
{
    static seen all;
    small s;
    distill_error err;
    distill_progress now;
    int64_t generated = 0;
    int old = 0;
    memset(&all, 0, sizeof all);
    REQUIRE_OK(small_open(&s,
                          small_text("train.on_policy: {lambda: 0.8, max_new_tokens: 8, prompt_tokens: 5, replay: %s}\n"
                                     "train.steps: %d\n",
                                     replay, LONG),
                          &err));
    for (int step = 0; step < LONG; step++) {
        int found = 0;
        REQUIRE_OK(pull_step(&s, &all, step, &now, &err));
        CHECK_NEAR(now.weight_sum, all.count[step] ? BATCH * NEW : BATCH * (SMALL_LENGTH - 1), 0);
        for (int i = 0; i < all.count[step]; i++) {
            found += find_text(&all, step > oldest ? step - oldest : 0, step, all.ids[step][i]) >= 0;
            for (int k = 0; k < i; k++) CHECK(memcmp(all.ids[step][i], all.ids[step][k], sizeof all.ids[0][0]) != 0);
        }
        if (all.count[step]) CHECK_INT(found, now.generated > generated ? 0 : BATCH);
        old += found == BATCH;
        generated = now.generated;
    }
    CHECK(old > LONG / 5 && old < LONG * 3 / 5);
    small_close(&s);
}

TEST(replay)
{
    REQUIRE(models());
    check_replay("{share: 0.5}", LONG);
    check_replay("{share: 0.5, age: 5}", 5);
    check_replay("{share: 0.5, capacity: 9}", LONG); /* the oldest in part */
}

/* Nothing is drawn while there is too little: with a share of nearly 1 a window is new as often as old texts go. */
TEST(too_few_to_draw)
{
    small s;
    distill_error err;
    distill_progress now;
    REQUIRE(models());
    REQUIRE_OK(small_open(
        &s, "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5, replay: {share: 0.999, age: 2}}\n",
        &err));
    for (int i = 0; i < 6; i++) {
        REQUIRE_OK(step_of(&s, &now, &err));
        CHECK_INT(now.generated, (i / 3 + 1) * BATCH * NEW);
    }
    small_close(&s);
}

/* ---- a share that adapts ---- */

static double share_after(const char *tolerance, int steps)
{
    small s;
    distill_error err;
    distill_report *report = NULL;
    char json[16384] = "";
    size_t needed = 0;
    int32_t rc = small_open(&s,
                            small_text("train.on_policy: {lambda: 0.7, max_new_tokens: 8, prompt_tokens: 5, adaptive: "
                                       "{start: 0.25, rise: 0.125, tolerance: %s}}\ntrain.steps: %d\n"
                                       "train.eval_every: 2\n",
                                       tolerance, steps),
                            &err);
    if (!rc) rc = distill_trainer_run(s.trainer, &err);
    if (!rc) rc = distill_trainer_report(s.trainer, &report, &err);
    if (!rc) rc = distill_report_json(report, json, sizeof json, &needed, &err);
    if (rc) FAIL("tolerance %s: %d %s", tolerance, rc, err.message);
    distill_report_free(report);
    small_close(&s);
    const char *share = strstr(json, "\"on_policy\":{\"share\":");
    return share ? strtod(share + 21, NULL) : -1;
}

TEST(adaptive)
{
    REQUIRE(models());
    CHECK_NEAR(share_after("1000", 6), 0.5, 0); /* evaluations behind steps 2, 4 and 6: none is better */
    CHECK_NEAR(share_after("1000", 4), 0.375, 0);
    CHECK_NEAR(share_after("1000", 12), 0.7, 0);  /* no more than lambda */
    CHECK_NEAR(share_after("-1000", 6), 0.25, 0); /* all are */
}

/* ---- the same step again ---- */

TEST(undone)
{
    small a, b;
    distill_error err;
    distill_progress now;
    REQUIRE(models());
    REQUIRE_OK(small_open(&a, ALWAYS, &err));
    REQUIRE_OK(small_open(&b, ALWAYS, &err));
    for (int i = 0; i < 3; i++) {
        distill_forward forward;
        distill_trainer_cancel(a.trainer, 1);
        CHECK_INT(step_of(&a, &now, &err), DISTILL_E_CANCELLED);
        CHECK_HAS(err.message, "which is undone");
        distill_trainer_cancel(a.trainer, 0);
        DISTILL_INIT(&forward); /* and in the middle of a window */
        REQUIRE_OK(distill_trainer_forward(a.trainer, 0, &forward, &err));
        distill_trainer_cancel(a.trainer, 1);
        CHECK_INT(distill_trainer_forward(a.trainer, 0, &forward, &err), DISTILL_E_CANCELLED);
        distill_trainer_cancel(a.trainer, 0);
        REQUIRE_OK(step_of(&a, &now, &err));
        REQUIRE_OK(step_of(&b, &now, &err));
        CHECK(small_same_bits(a.student, b.student));
    }
    small_close(&a);
    small_close(&b);
}

static const char *const kinds[] = {
    "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5, replay: {share: 0.6, importance: 2}}\n",
    "train.on_policy: {lambda: 0.5, max_new_tokens: 8, prompt_tokens: 5}\n",
    ("train.on_policy: {lambda: 0.9, max_new_tokens: 8, prompt_tokens: 5, temperature: 2, replay: {share: 0.5, age: "
     "6},\n"
     "  adaptive: {start: 0.5, rise: 0.1, tolerance: 1000}}\ntrain.eval_every: 2\n")};

static const char *run_yaml(const char *out, int kind)
{
    return small_text("output: '%s'\ntrain.steps: %d\ntrain.warmup_steps: 2\ntrain.checkpoint_every: 1\n%s", out, STEPS,
                      kinds[kind]);
}

static const char *output_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

static int32_t linger(void *user, const distill_progress *p)
{
    const struct timespec time = {0, 2000000};
    (void)user, (void)p;
    nanosleep(&time, NULL);
    return DISTILL_CB_OK;
}

static void child(const char *out, int kind)
{
    small s;
    if (small_open(&s, run_yaml(out, kind), NULL)) _exit(3);
    if (distill_trainer_on_progress(s.trainer, linger, NULL, NULL, NULL)) _exit(4);
    _exit(distill_trainer_run(s.trainer, NULL) ? 5 : 0);
}

static int lines_of(const char *path)
{
    char *text = small_read(path, NULL);
    int lines = 0;
    for (const char *at = text; at && (at = strchr(at, '\n')); at++) lines++;
    free(text);
    return lines;
}

/* A step is two dozen milliseconds or less; where in it the process dies is left to the machine. */
static void kill_behind(const char *out, int kind, int line)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) child(out, kind);
    REQUIRE(pid > 0);
    for (int i = 0; i < 20000 && lines_of(test_path(out, "metrics.jsonl")) < line; i++) {
        const struct timespec time = {0, 500000};
        if (waitpid(pid, &status, WNOHANG) == pid) return; /* it was quick */
        nanosleep(&time, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

/* All but times and sizes. */
static void check_same_result(const char *a_folder, const char *b_folder)
{
    char *a = small_read(test_path(a_folder, "result.json"), NULL),
         *b = small_read(test_path(b_folder, "result.json"), NULL);
    const char *x = a ? strstr(a, "\"on_policy\"") : NULL, *y = b ? strstr(b, "\"on_policy\"") : NULL;
    if (!CHECK(x && y)) goto out;
    const size_t size = (size_t)(strchr(x, '}') - x);
    if (memcmp(x, y, size) != 0) FAIL("%.*s | %.*s", (int)size, x, (int)size, y);
out:
    free(a);
    free(b);
}

static void check_killed(int kind)
{
    small whole, s;
    distill_error err;
    char whole_out[600], out[600];
    snprintf(whole_out, sizeof whole_out, "%s", output_folder("whole"));
    REQUIRE_OK(small_open(&whole, run_yaml(whole_out, kind), &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    for (int line = 2; line < STEPS; line += 3) {
        snprintf(out, sizeof out, "%s", output_folder("killed"));
        kill_behind(out, kind, line);
        if (small_exists(test_path(out, "result.json"))) continue;
        REQUIRE_OK(small_open(&s, run_yaml(out, kind), &err));
        CHECK_OK(distill_trainer_resume(s.trainer, &err));
        CHECK_OK(distill_trainer_run(s.trainer, &err));
        if (!small_same_bits(s.student, whole.student))
            FAIL("killed behind line %d: off by %g", line, small_distance(s.student, whole.student));
        check_same_result(whole_out, out);
        small_close(&s);
    }
    small_close(&whole);
}

TEST(killed)
{
    REQUIRE(models());
    check_killed(1);
}

TEST(killed_with_texts_that_are_kept)
{
    REQUIRE(models());
    check_killed(2);
    check_killed(0);
}

/* A trainer that goes back has the texts of then. */
TEST(save_and_load)
{
    small a;
    distill_error err;
    distill_progress now;
    char path[600];
    double loss[5];
    REQUIRE(models());
    snprintf(path, sizeof path, "%s", output_folder("saved"));
    REQUIRE_OK(small_open(&a,
                          "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5, replay: {share: 0.7}}\n"
                          "train.steps: 20\n",
                          &err));
    for (int i = 0; i < 6; i++) REQUIRE_OK(step_of(&a, &now, &err));
    REQUIRE_OK(distill_trainer_save(a.trainer, path, &err));
    CHECK(small_exists(test_path(path, "replay/model.safetensors")));
    for (int again = 0; again < 3; again++) {
        for (int i = 0; i < 5; i++) {
            REQUIRE_OK(step_of(&a, &now, &err));
            if (!again) loss[i] = now.loss;
            CHECK_NEAR(now.loss, loss[i], 0);
        }
        REQUIRE_OK(distill_trainer_load(a.trainer, path, &err));
    }
    REQUIRE_OK(distill_options_set(a.options, "train.on_policy.max_new_tokens", "4", &err));
    distill_trainer_free(a.trainer);
    a.trainer = NULL;
    REQUIRE_OK(distill_trainer_create(a.env, a.teacher, a.student, a.train, a.eval, a.options, &a.trainer, &err));
    CHECK_OK(distill_trainer_load(a.trainer, path, &err)); /* sequences of the data are longer */
    small_close(&a);
}

/* Prompts of 3 to 10 tokens. */
static int32_t open_uneven(small *s, const char *yaml, distill_error *err)
{
    enum { COUNT = 16, LENGTH = 17 };
    static int32_t ids[COUNT * LENGTH];
    int64_t offsets[COUNT + 1] = {0}, rows[COUNT];
    distill_batch batch;
    for (uint32_t i = 0; i < COUNT; i++) {
        small_ids(ids + i * LENGTH, LENGTH, i);
        offsets[i + 1] = offsets[i] + LENGTH;
        rows[i] = offsets[i] + 2 + i * 5 % 8;
    }
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = COUNT;
    batch.rows = rows;
    batch.row_count = COUNT;
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (rc) return rc;
    distill_dataset_free(s->train);
    s->train = NULL;
    rc = distill_dataset_from_tokens(s->env, &batch, s->options, &s->train, err);
    return rc ? rc
              : distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, err);
}

/* The file of texts that are kept is the same, byte for byte, whether a run went on or not. */
TEST(kept_texts_are_the_same_bytes)
{
    static const char *const yaml =
        "train.steps: 20\n"
        "train.on_policy: {lambda: 1, max_new_tokens: 6, replay: {share: 0.2, importance: 2}}\n";
    small s[2];
    distill_error err;
    distill_progress now;
    char folders[2][600], *kept[2];
    size_t sizes[2] = {0, 0};
    REQUIRE(models());
    snprintf(folders[0], sizeof folders[0], "%s", output_folder("kept"));
    for (int i = 0; i < 2; i++) REQUIRE_OK(open_uneven(&s[i], yaml, &err));
    for (int i = 0; i < 4; i++) REQUIRE_OK(step_of(&s[0], &now, &err));
    REQUIRE_OK(distill_trainer_save(s[0].trainer, folders[0], &err));
    REQUIRE_OK(distill_trainer_load(s[1].trainer, folders[0], &err));
    for (int k = 0; k < 2; k++) {
        snprintf(folders[k], sizeof folders[k], "%s", output_folder(k ? "kept-1" : "kept-0"));
        for (int i = 0; i < 4; i++) REQUIRE_OK(step_of(&s[k], &now, &err));
        REQUIRE_OK(distill_trainer_save(s[k].trainer, folders[k], &err));
        kept[k] = small_read(test_path(folders[k], "replay/model.safetensors"), &sizes[k]);
    }
    if (CHECK(kept[0] && kept[1] && sizes[0] == sizes[1])) CHECK(!memcmp(kept[0], kept[1], sizes[0]));
    for (int k = 0; k < 2; k++) {
        free(kept[k]);
        small_close(&s[k]);
    }
}

/* ---- a student of the host's own ---- */

typedef struct bigram { /* logits of what follows an id */
    float w[SMALL_VOCAB][SMALL_VOCAB], g[SMALL_VOCAB][SMALL_VOCAB];
    const distill_batch *batch;
    int texts, wrong, fault; /* fault: what its generate does that it may not */
    int64_t seeds[3];
} bigram;

static int32_t bigram_forward(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    bigram *b = user;
    b->batch = batch;
    for (int64_t r = 0; r < count; r++)
        memcpy((float *)out->values->data + r * SMALL_VOCAB, b->w[batch->ids[batch->rows[first + r]]], sizeof b->w[0]);
    return DISTILL_CB_OK;
}

static int32_t bigram_backward(void *user, int64_t first, int64_t count, const distill_tensor *gradient)
{
    bigram *b = user;
    const int64_t stride = gradient->strides ? gradient->strides[0] : SMALL_VOCAB;
    for (int64_t r = 0; r < count; r++)
        for (int i = 0; i < SMALL_VOCAB; i++)
            b->g[b->batch->ids[b->batch->rows[first + r]]][i] += ((const float *)gradient->data)[r * stride + i];
    return DISTILL_CB_OK;
}

static int32_t bigram_apply(void *user, int64_t step, double rate, double scale)
{
    bigram *b = user;
    (void)step, (void)rate;
    for (int i = 0; i < SMALL_VOCAB; i++)
        for (int k = 0; k < SMALL_VOCAB; k++) b->w[i][k] -= (float)(20 * scale) * b->g[i][k];
    memset(b->g, 0, sizeof b->g);
    return DISTILL_CB_OK;
}

static int32_t likeliest(const bigram *b, int32_t id)
{
    int32_t best = 0;
    for (int32_t i = 1; i < SMALL_VOCAB; i++)
        if (b->w[id][i] > b->w[id][best]) best = i;
    return best;
}

/* The likeliest ids, of which 7 ends a text. */
static int32_t bigram_generate(void *user, const distill_batch *prompts, const distill_writing *how,
                               distill_token_fn emit, void *emit_user)
{
    bigram *b = user;
    int32_t rc = DISTILL_CB_OK;
    b->wrong += how->vocab != SMALL_VOCAB || how->temperature != 0.5 || how->top_p != 0.9;
    b->seeds[2] = b->seeds[1], b->seeds[1] = b->seeds[0], b->seeds[0] = how->seed;
    if (b->fault == 1) return 5;
    for (int64_t s = 0; s < prompts->sequences; s++) {
        int32_t id = prompts->ids[prompts->offsets[s + 1] - 1];
        b->texts++;
        b->wrong += prompts->offsets[s + 1] - prompts->offsets[s] != PROMPT || how->most[s] != NEW;
        for (int64_t k = 0; k < how->most[s] && rc == DISTILL_CB_OK; k++) {
            id = b->fault == 2 ? SMALL_VOCAB : likeliest(b, id);
            if (b->fault == 3 && k == 3) break;
            rc = emit(emit_user, b->fault == 4 ? s + 9 : s, id, 0, NULL, 0, b->fault == 5 ? 3 : id == 7);
            if (id == 7 && b->fault != 6) break;
        }
        if (b->fault == 6 && rc == DISTILL_CB_OK) rc = emit(emit_user, s, 1, 0, NULL, 0, 0);
        if (rc != DISTILL_CB_OK) return rc;
    }
    return DISTILL_CB_OK;
}

static int32_t open_bigram(small *s, bigram *b, const char *yaml, distill_error *err)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = {NULL, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    distill_target form;
    distill_student_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.temperature = 1;
    form.vocab_valid = SMALL_VOCAB;
    form.values = &values;
    table.user = b;
    table.forward = bigram_forward;
    table.backward = bigram_backward;
    table.apply = bigram_apply;
    table.generate = b->fault < 0 ? NULL : bigram_generate;
    table.form = &form;
    int32_t rc = small_parts(s, NULL, yaml, err);
    distill_student_free(s->student);
    s->student = NULL;
    if (!rc) rc = distill_student_from_callbacks(s->env, &table, s->options, &s->student, err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

#define HOSTED "train.on_policy: {lambda: 1, max_new_tokens: 8, prompt_tokens: 5, temperature: 0.5, top_p: 0.9}\n"

TEST(student_of_callbacks)
{
    static bigram b;
    static const char *const faults[] = {"returned 5",
                                         "no id that both models know: 64",
                                         "text 0 of 4: it was left unfinished after so many tokens: 3",
                                         "text 9 of 4: there is no such one",
                                         "finished is none of 0, 1, 2: 3",
                                         "more tokens than it may have: 8"};
    small s;
    distill_error err;
    distill_progress now;
    double first = 0;
    REQUIRE(models());
    memset(&b, 0, sizeof b);
    for (int i = 0; i < SMALL_VOCAB; i++) b.w[i][(i * 5 + 3) % SMALL_VOCAB] = 1;
    REQUIRE_OK(open_bigram(&s, &b, "train.steps: 30\n" HOSTED, &err));
    for (int i = 0; i < 30; i++) {
        REQUIRE_OK(step_of(&s, &now, &err));
        if (!i) first = now.loss;
        CHECK(now.count <= BATCH * NEW && now.count >= BATCH);
    }
    CHECK(now.loss > 0 && now.loss != first); /* what is likeliest changes, and with it what is written */
    CHECK_INT(b.texts, 30 * BATCH);
    CHECK_INT(b.wrong, 0);
    CHECK(b.seeds[0] != b.seeds[1] && b.seeds[1] != b.seeds[2]);
    for (int fault = 1; fault <= 6; fault++) {
        const float kept = b.w[0][0];
        b.fault = fault;
        for (int i = 0; i < SMALL_VOCAB && fault == 6; i++) b.w[i][7] = -9; /* nothing ends */
        distill_trainer_free(s.trainer);
        s.trainer = NULL;
        REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
        CHECK_INT(step_of(&s, &now, &err), DISTILL_E_CALLBACK);
        CHECK_HAS(err.message, faults[fault - 1]);
        CHECK_NEAR(b.w[0][0], kept, 0);
    }
    small_close(&s);
    b.fault = -1;
    CHECK_INT(open_bigram(&s, &b, HOSTED, &err), DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "its table has no generate");
    small_close(&s);
}

/* ---- what cannot be is said at create ---- */

static void check_refused(const char *yaml, int32_t code, const char *part)
{
    small s;
    distill_error err;
    CHECK_INT(small_open(&s, yaml, &err), code);
    CHECK_HAS(err.message, part);
    small_close(&s);
}

TEST(refused)
{
    small s;
    distill_error err;
    REQUIRE(models());
    check_refused("loss: {hard_label_weight: 0.5}\n" ALWAYS, DISTILL_E_OPTION, "cross_entropy learns from labels");
    check_refused("loss: [{type: forward_kl}, {type: cross_entropy, weight: 0.1}]\n" ALWAYS, DISTILL_E_OPTION,
                  "cross_entropy learns from labels");
    check_refused("loss: {hard_label_weight: 1}\n" ALWAYS, DISTILL_E_OPTION,
                  "and loss cross_entropy asks for none: take one that does");
    check_refused("loss: {type: cross_entropy}\n" ALWAYS, DISTILL_E_OPTION,
                  "and loss cross_entropy asks for none: take one that does");
    check_refused("train.on_policy: {lambda: 1, max_new_tokens: 8, replay: {share: 1}}\n", DISTILL_E_OPTION,
                  "train.on_policy.replay.share 1 is neither 0 nor in [1e-06, 1): ");
    check_refused("train: {on_policy: {lambda: 1, max_new_tokens: 17}}\n", DISTILL_E_OPTION,
                  "leaves no room for a prompt in data.sequence_length 17");
    check_refused("data: {sequence_length: 400}\ntrain: {on_policy: {lambda: 1, max_new_tokens: 60}}\n",
                  DISTILL_E_MISMATCH, "the student's context is 64");
    check_refused("train: {on_policy: {max_new_tokens: 60}}\n", DISTILL_E_OPTION, "max_new_tokens");
    check_refused("train.on_policy.replay.share: 0.5\n", DISTILL_E_OPTION, "train.on_policy.replay.share");
    check_refused("train.on_policy: {lambda: 1, max_new_tokens: 8, replay: {share: 0.5, capacity: 3}}\n",
                  DISTILL_E_OPTION, "is below train.batch_size 4");
    check_refused("train.on_policy: {lambda: 1, max_new_tokens: 8, top_p: 0.9, replay: {share: 0.5, importance: 2}}\n",
                  DISTILL_E_OPTION, "importance goes by the student's own probabilities");
    check_refused("train.on_policy: {lambda: 0.5, max_new_tokens: 8, adaptive: {rise: 0.1}}\n", DISTILL_E_OPTION,
                  "goes by evaluations");
    check_refused("train.on_policy: {lambda: 0.5, max_new_tokens: 8, adaptive: {rise: 0.1, start: 0.6}}\n",
                  DISTILL_E_OPTION, "start is above train.on_policy.lambda");
    check_refused("loss: [{type: forward_kl, on: data}]\n" ALWAYS, DISTILL_E_OPTION,
                  "no loss is on text that the student writes itself");
    check_refused("loss: {type: forward_kl, on: student}\n" ON_HALF, DISTILL_E_OPTION,
                  "no loss is on the data, and not all windows are the student's");
    check_refused("loss: {type: forward_kl, on: student}\n", DISTILL_E_OPTION,
                  "no loss is on the data, and there is no train.on_policy");
    check_refused("loss: {type: forward_kl, on: data}\n", DISTILL_E_OPTION,
                  "loss.on of forward_kl: without train.on_policy");
    check_refused(APART ON_HALF "train.balance.by: gradient_norm\n", DISTILL_E_OPTION,
                  "loss.on keeps skew_forward_kl apart");
    distill_loss *loss = NULL;
    REQUIRE_OK(small_parts(&s, NULL, APART, &err));
    CHECK_INT(distill_loss_create(s.env, NULL, s.options, &loss, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "is of some text alone");
    small_close(&s);
    /* a weight that would come later */
    REQUIRE_OK(small_open(&s, ALWAYS, &err));
    REQUIRE_OK(distill_options_set(s.options, "loss.hard_label_weight", "0.5", &err));
    CHECK_INT(distill_trainer_configure(s.trainer, s.options, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "cross_entropy learns from labels");
    small_close(&s);
}

static int32_t open_with_teacher(small *s, const char *yaml, distill_error *err)
{
    int32_t rc = small_parts(s, NULL, NULL, err);
    if (!rc) rc = distill_options_parse(s->options, yaml, strlen(yaml), "test", err);
    return rc ? rc : distill_trainer_create(s->env, NULL, s->student, s->train, s->eval, s->options, &s->trainer, err);
}

/* Text that was just written is in no file of targets, and nobody knows its true next token. */
TEST(teachers_that_know_the_data_alone)
{
    small s;
    distill_error err;
    distill_progress now;
    char path[600], teacher[600];
    REQUIRE(models());
    snprintf(path, sizeof path, "%s", output_folder("targets"));
    snprintf(teacher, sizeof teacher, "%s/teacher", small_folder);
    REQUIRE_OK(open_with_teacher(
        &s, small_text("teacher: {path: '%s', cache: {path: '%s', tier: full}}\n" ALWAYS, teacher, path), &err));
    for (int i = 0; i < 2; i++) REQUIRE_OK(step_of(&s, &now, &err));
    CHECK_INT(now.generated, 2 * BATCH * NEW);
    small_close(&s);
    CHECK_INT(open_with_teacher(&s,
                                small_text("teacher: {path: '%s', cache: {path: '%s.few', tier: top_k, k: 4}}\n" ALWAYS,
                                           teacher, path),
                                &err),
              DISTILL_E_OPTION);
    CHECK_HAS(err.message, "this target cache has tier top_k");
    small_close(&s);
    CHECK_INT(open_with_teacher(&s, small_text("teacher: {cache: {path: '%s'}}\n" ALWAYS, path), &err),
              DISTILL_E_OPTION);
    CHECK_HAS(err.message, "give its teacher, too");
    small_close(&s);
    CHECK_INT(
        open_with_teacher(&s,
                          small_text("teachers: {a: {path: '%s'}, b: {path: '%s'}}\nteacher: {blend: {of: [a, b], "
                                     "mode: min_cross_entropy}}\n" ALWAYS,
                                     teacher, teacher),
                          &err),
        DISTILL_E_OPTION);
    CHECK_HAS(err.message, "train.on_policy: teacher.blend.mode min_cross_entropy goes by the true next token");
    small_close(&s);
}

TEST_MAIN(TEST_CASE(divisor) TEST_CASE(live_weights_write) TEST_CASE(as_if_it_were_data) TEST_CASE(micro_batches)
              TEST_CASE(packed) TEST_CASE(prompts_and_weights) TEST_CASE(share_of_windows) TEST_CASE(draws)
                  TEST_CASE(ends) TEST_CASE(losses_apart) TEST_CASE(losses_apart_are_alone) TEST_CASE(replay)
                      TEST_CASE(too_few_to_draw) TEST_CASE(adaptive) TEST_CASE(undone) TEST_CASE(killed)
                          TEST_CASE(killed_with_texts_that_are_kept) TEST_CASE(save_and_load)
                              TEST_CASE(kept_texts_are_the_same_bytes) TEST_CASE(student_of_callbacks)
                                  TEST_CASE(refused) TEST_CASE(teachers_that_know_the_data_alone))
