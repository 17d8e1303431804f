/* Texts that a checkpoint keeps for other steps: what was written comes back, and a file that says what cannot be is
 * refused with what it says. */
#include "base/file.h"
#include "run/checkpoint_parts.h"
#include "test.h"

enum { TEXTS = 3, FIELDS = 8, LONGEST = 10, VOCAB = 20 };

static di_trainer *open_trainer(int log_probs)
{
    static di_trainer trainer;
    dk_error err;
    memset(&trainer, 0, sizeof trainer);
    if (dk_host_create(NULL, &trainer.host, &err)) exit(3);
    trainer.objective.vocab_valid = VOCAB;
    trainer.on_policy.replay.capacity = 4;
    trainer.on_policy.replay.share = 0.5;
    trainer.on_policy.replay.keeps_log_probs = log_probs;
    if (di_replay_plan(&trainer.on_policy.replay, trainer.host, LONGEST, &err)) exit(3);
    return &trainer;
}

static void close_trainer(di_trainer *t)
{
    di_replay_free(&t->on_policy.replay);
    dk_host_release(t->host);
}

static const char *folder_of(const di_trainer *t, const char *name)
{
    static char path[600];
    dk_error err;
    snprintf(path, sizeof path, "%s/%s", TEST_TMP, name);
    if (dk_dir_remove(t->host, path, &err) || dk_dir_create(t->host, path, &err)) exit(3);
    return path;
}

static void check_round(int log_probs)
{
    di_trainer *t = open_trainer(log_probs);
    di_replay *r = &t->on_policy.replay, back = {.host = NULL};
    const char *folder = folder_of(t, "round");
    dk_error err;
    for (int i = 0; i < 6; i++) { /* two more than there is room for */
        int32_t ids[LONGEST];
        float logs[LONGEST] = {0};
        const di_text text = {
            .prompt = 1 + i % 3,
            .written = 2 + i,
            .weight = 0.5f * (float)i,
            .ended = i & 1,
            .origin = {.source = i % 2 ? "one" : "two", .teacher = i % 3 ? "tag" : NULL, .index = 100 + i, .first = i}};
        for (int k = 0; k < LONGEST; k++) ids[k] = (i * 7 + k) % VOCAB, logs[k] = -0.25f * (float)k;
        di_replay_put(r, &text, ids, logs, 10 + i);
    }
    CHECK_OK(di_replay_save(t, folder, &err));
    CHECK_OK(di_replay_load(t, folder, 20, &back, &err));
    CHECK_INT(back.count, 4);
    for (int64_t i = 0; i < back.count; i++) {
        const int32_t *a_ids, *b_ids;
        const float *a_logs, *b_logs;
        const di_kept *a = di_replay_at(r, i, &a_ids, &a_logs), *b = di_replay_at(&back, i, &b_ids, &b_logs);
        const size_t count = (size_t)(a->text.prompt + a->text.written);
        CHECK_INT(b->step, a->step);
        CHECK_INT(b->text.prompt, a->text.prompt);
        CHECK_INT(b->text.written, a->text.written);
        CHECK_INT(b->text.ended, a->text.ended);
        CHECK_NEAR((double)b->text.weight, (double)a->text.weight, 0);
        CHECK_STR(b->text.origin.source, a->text.origin.source);
        CHECK(!a->text.origin.teacher == !b->text.origin.teacher);
        CHECK_INT(b->text.origin.index, a->text.origin.index);
        CHECK_INT(b->text.origin.first, a->text.origin.first);
        CHECK(!memcmp(a_ids, b_ids, count * sizeof *a_ids));
        CHECK(!a_logs == !log_probs && !b_logs == !log_probs);
        if (log_probs) CHECK(!memcmp(a_logs, b_logs, count * sizeof *a_logs));
    }
    di_replay_free(&back);
    close_trainer(t);
}

TEST(round_trip)
{
    check_round(0);
    check_round(1);
}

TEST(nothing_is_kept)
{
    di_trainer *t = open_trainer(0);
    di_replay back = {.host = NULL};
    const char *folder = folder_of(t, "nothing");
    char path[700];
    dk_error err;
    CHECK_OK(di_replay_save(t, folder, &err));
    snprintf(path, sizeof path, "%s/replay", folder);
    CHECK(!dk_path_exists(path));
    CHECK_OK(di_replay_load(t, folder, 20, &back, &err));
    CHECK_INT(back.count, 0);
    di_replay_free(&back);
    close_trainer(t);
}

/* ---- what cannot be ---- */

typedef struct file { /* of two texts, 3 + 4 and 1 + 2 tokens */
    int64_t texts[2][FIELDS];
    int32_t ids[TEXTS * LONGEST];
    float weights[2], log_probs[TEXTS * LONGEST];
    char names[16];
    int64_t text_count, token_count, weight_count, name_size, fields;
    int tensors;
} file;

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    file *f = user;
    const void *const parts[] = {f->texts, f->ids, f->weights, f->names, f->log_probs};
    (void)err;
    memcpy(out, (const char *)parts[index] + offset, size);
    return DK_OK;
}

static file good_file(void)
{
    file f = {.texts = {{3, 3, 4, 0, 0, -1, 7, 0}, {9, 1, 2, 1, 4, 0, 8, 5}},
              .weights = {1, 2},
              .names = "one\0two",
              .text_count = 2,
              .token_count = 10,
              .weight_count = 2,
              .name_size = 8,
              .fields = FIELDS,
              .tensors = 4};
    for (int i = 0; i < TEXTS * LONGEST; i++) f.ids[i] = i % VOCAB;
    return f;
}

static void check_file(file *f, int log_probs, int32_t code, const char *part)
{
    di_trainer *t = open_trainer(log_probs);
    di_replay back = {.host = NULL};
    const char *folder = folder_of(t, "file");
    char path[700];
    dk_error err;
    const dk_tensor_spec specs[] = {{"texts", DK_I64, 2, {f->text_count, f->fields}},
                                    {"ids", DK_I32, 1, {f->token_count}},
                                    {"weights", DK_F32, 1, {f->weight_count}},
                                    {"names", DK_U8, 1, {f->name_size}},
                                    {"log_probs", DK_F32, 1, {f->token_count}}};
    const dk_safetensors_args args = {specs, f->tensors, fill, f, 0};
    snprintf(path, sizeof path, "%s/replay", folder);
    CHECK_OK(dk_dir_create(t->host, path, &err));
    CHECK_OK(dk_safetensors_write(t->host, path, &args, NULL, &err));
    CHECK_INT(di_replay_load(t, folder, 20, &back, &err), code);
    if (code) CHECK_HAS(err.message, part);
    else CHECK_INT(back.count, 2);
    di_replay_free(&back);
    close_trainer(t);
}

TEST(damaged)
{
    static const struct {
        int text, field;
        int64_t value;
        const char *part;
    } cases[] = {{0, 0, 21, "text 0 has step 21"},
                 {1, 0, -1, "text 1 has step -1"},
                 {0, 1, 0, "a prompt of so many tokens: 0"},
                 {0, 1, 11, "a prompt of so many tokens: 11"},
                 {0, 1, INT64_MAX, "a prompt of so many tokens:"},
                 {0, 2, 0, "so many written tokens: 0"},
                 {1, 2, 3, "text 1 has so many written tokens: 3"},
                 {0, 4, -1, "source -1"},
                 {0, 4, 8, "source 8"},
                 {1, 5, -2, "tag -2"},
                 {1, 5, 8, "tag 8"}};
    file f = good_file();
    check_file(&f, 0, DK_OK, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f = good_file();
        f.texts[cases[i].text][cases[i].field] = cases[i].value;
        check_file(&f, 0, DK_E_FORMAT, cases[i].part);
    }
    f = good_file(), f.ids[8] = VOCAB;
    check_file(&f, 0, DK_E_FORMAT, "text 1 has id 20");
    f = good_file(), f.ids[0] = -1;
    check_file(&f, 0, DK_E_FORMAT, "text 0 has id -1");
    f = good_file(), f.weights[1] = -1;
    check_file(&f, 0, DK_E_FORMAT, "no weight");
    f = good_file(), f.names[7] = 'x';
    check_file(&f, 0, DK_E_FORMAT, "names are not closed");
    f = good_file(), f.weight_count = 1;
    check_file(&f, 0, DK_E_FORMAT, "texts and weights do not fit each other");
    f = good_file(), f.fields = 4;
    check_file(&f, 0, DK_E_FORMAT, "texts and weights do not fit each other");
    f = good_file(), f.tensors = 3;
    check_file(&f, 0, DK_E_FORMAT, "has no names");
    f = good_file(), f.token_count = 30, f.texts[0][2] = 8;
    check_file(&f, 0, DK_E_MISMATCH, "text 0 has 11 tokens, and one has 10 at most now");
    f = good_file();
    check_file(&f, 1, DK_E_MISMATCH, "made without train.on_policy.replay.importance");
    f = good_file(), f.tensors = 5, f.log_probs[4] = 0.5f;
    check_file(&f, 1, DK_E_FORMAT, "text 0 has no log-probability at token 4");
    f = good_file(), f.tensors = 5;
    check_file(&f, 1, DK_OK, NULL);
}

TEST_MAIN(TEST_CASE(round_trip) TEST_CASE(nothing_is_kept) TEST_CASE(damaged))
