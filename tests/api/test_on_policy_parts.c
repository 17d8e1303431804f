/* Windows that the student writes beside everything else that a run may have: teachers that are told early, routes,
 * losses on features, room for texts longer than the data's, streams, threads; and training on the teacher's own text
 * beside other data, with what it said of it kept in a file. */
#include "small.h"

enum { BATCH = 4, NEW = 8, PROMPT = 5, STEPS = 12 };

#define OWN "train.on_policy: {lambda: 0.6, max_new_tokens: 8, prompt_tokens: 5}\ntrain.steps: 12\n"

/* ---- teachers ---- */

typedef struct host {
    const char *name; /* of the source that it teaches; NULL = of all */
    int told, ended, scored, wrong;
    const distill_batch *flying[4];
    int64_t sums[4];
} host;

static int64_t sum_of(const distill_batch *batch)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < batch->offsets[batch->sequences]; i++) sum += (i + 1) * batch->ids[i];
    return sum;
}

static int32_t begin(void *user, const distill_batch *batch)
{
    host *h = user;
    int i = 0;
    while (i < 4 && h->flying[i]) i++;
    h->wrong += i == 4;
    h->told++;
    h->flying[i % 4] = batch;
    h->sums[i % 4] = sum_of(batch);
    return DISTILL_CB_OK;
}

/* A batch stands still from begin to end. */
static void end(void *user, const distill_batch *batch)
{
    host *h = user;
    int i = 0;
    while (i < 4 && h->flying[i] != batch) i++;
    h->wrong += i == 4 || h->sums[i % 4] != sum_of(batch);
    h->flying[i % 4] = NULL;
    h->ended++;
}

static int32_t score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    host *h = user;
    int64_t s = 0;
    for (int64_t r = 0; r < count; r++) {
        const int64_t place = batch->rows[first + r];
        float *z = (float *)out->values->data + r * SMALL_VOCAB;
        while (batch->offsets[s + 1] <= place) s++;
        if (h->name && (!batch->sources || strcmp(batch->sources[s], h->name))) h->wrong++;
        for (int v = 0; v < SMALL_VOCAB; v++)
            z[v] = v == (batch->ids[place] * 5 + 3) % SMALL_VOCAB ? 4.0f : (float)(v % 3);
    }
    h->scored++;
    return DISTILL_CB_OK;
}

static int32_t host_teacher(small *s, host *h, int early, distill_teacher **out, distill_error *err)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = {NULL, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.temperature = 1;
    form.vocab_valid = SMALL_VOCAB;
    form.values = &values;
    table.user = h;
    table.score = score;
    table.begin = early ? begin : NULL;
    table.end = early ? end : NULL;
    table.form = &form;
    return distill_teacher_from_callbacks(s->env, &table, s->options, out, err);
}

static int32_t open_trainer(small *s, distill_error *err)
{
    return distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
}

static int64_t make_steps(small *s)
{
    distill_error err;
    distill_progress now;
    DISTILL_INIT(&now);
    for (int i = 0; i < STEPS; i++) CHECK_OK(distill_trainer_step(s->trainer, &now, &err));
    return now.generated;
}

/* Nobody can be told early of a text that is not written yet; of all else, and the numbers are the same. */
TEST(told_early)
{
    small s[2];
    host h[2];
    distill_error err;
    REQUIRE(small_models("on_policy_parts"));
    memset(h, 0, sizeof h);
    for (int early = 0; early < 2; early++) {
        REQUIRE_OK(small_parts(&s[early], NULL, OWN, &err));
        distill_teacher_free(s[early].teacher);
        s[early].teacher = NULL;
        REQUIRE_OK(host_teacher(&s[early], &h[early], early, &s[early].teacher, &err));
        REQUIRE_OK(open_trainer(&s[early], &err));
        CHECK(make_steps(&s[early]) > 0);
    }
    CHECK(small_same_bits(s[0].student, s[1].student));
    for (int early = 0; early < 2; early++) small_close(&s[early]);
    CHECK_INT(h[1].wrong, 0);
    CHECK_INT(h[1].told, h[1].ended);
    CHECK(h[1].told >= 2 * STEPS && h[1].told <= 2 * STEPS + 1);
}

/* A text is of the source that its prompt is of, also when it is drawn once more, also after a resume. */
TEST(sources)
{
    static const char *const names[2] = {"one", "two"};
    int32_t ids[SMALL_SEQUENCES * SMALL_LENGTH];
    int64_t offsets[SMALL_SEQUENCES + 1];
    const char *sources[SMALL_SEQUENCES];
    char path[600];
    distill_batch batch;
    REQUIRE(small_models("on_policy_parts"));
    snprintf(path, sizeof path, "%s/sources", small_folder);
    for (int64_t i = 0; i <= SMALL_SEQUENCES; i++) offsets[i] = i * SMALL_LENGTH;
    for (uint32_t i = 0; i < SMALL_SEQUENCES; i++) {
        small_ids(ids + offsets[i], SMALL_LENGTH, i);
        sources[i] = names[i % 2];
    }
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = SMALL_SEQUENCES;
    batch.sources = sources;
    for (int again = 0; again < 2; again++) {
        small s;
        host hosts[2] = {{.name = "one"}, {.name = "two"}};
        distill_member members[2];
        distill_error err;
        REQUIRE_OK(
            small_parts(&s, NULL,
                        "train.on_policy: {lambda: 0.9, max_new_tokens: 8, prompt_tokens: 5, replay: {share: 0.5}}\n"
                        "train.steps: 40\n",
                        &err));
        distill_teacher_free(s.teacher);
        distill_dataset_free(s.train);
        s.teacher = NULL;
        s.train = NULL;
        REQUIRE_OK(distill_dataset_from_tokens(s.env, &batch, s.options, &s.train, &err));
        for (int i = 0; i < 2; i++) {
            DISTILL_INIT(&members[i]);
            members[i].name = names[i];
            REQUIRE_OK(host_teacher(&s, &hosts[i], 0, (distill_teacher **)(uintptr_t)&members[i].teacher, &err));
        }
        REQUIRE_OK(distill_teacher_route(s.env, members, 2, NULL, NULL, NULL, s.options, &s.teacher, &err));
        for (int i = 0; i < 2; i++) distill_teacher_free((distill_teacher *)(uintptr_t)members[i].teacher);
        distill_dataset_free(s.eval);
        s.eval = NULL;
        REQUIRE_OK(open_trainer(&s, &err));
        if (again) CHECK_OK(distill_trainer_load(s.trainer, path, &err));
        make_steps(&s);
        if (!again) CHECK_OK(distill_trainer_save(s.trainer, path, &err));
        small_close(&s);
        for (int i = 0; i < 2; i++) CHECK(hosts[i].scored > STEPS / 2 && !hosts[i].wrong);
    }
}

/* ---- room ---- */

/* Prompts of 16 and 8 tokens more: longer than any sequence of the data, in what is planned, for losses on features,
 * too. */
TEST(longer_than_the_data)
{
    static const char *const losses[] = {
        "loss: forward_kl\n",
        "loss: [{type: jsd}, {type: hidden_mse, weight: 0.5}, {type: attention_mse, weight: 0.1}]\n",
        "loss: [{type: reverse_kl}, {type: relation, on: student}]\n"};
    int32_t ids[8 * SMALL_LENGTH];
    int64_t offsets[9], rows[8];
    distill_batch batch;
    REQUIRE(small_models("on_policy_parts"));
    for (int64_t i = 0; i <= 8; i++) offsets[i] = i * SMALL_LENGTH;
    for (int64_t i = 0; i < 8; i++) rows[i] = offsets[i + 1] - 2;
    for (uint32_t i = 0; i < 8; i++) small_ids(ids + offsets[i], SMALL_LENGTH, i);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 8;
    batch.rows = rows;
    batch.row_count = 8;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        small s;
        distill_error err;
        REQUIRE_OK(small_parts(&s, NULL, small_text("%s" OWN, losses[i]), &err));
        REQUIRE_OK(distill_options_set(s.options, "data.sequence_length", "40", &err));
        distill_dataset_free(s.train);
        s.train = NULL;
        REQUIRE_OK(distill_dataset_from_tokens(s.env, &batch, s.options, &s.train, &err));
        REQUIRE_OK(open_trainer(&s, &err));
        CHECK(make_steps(&s) >= 3 * BATCH);
        small_close(&s);
    }
}

static int32_t get_sample(void *user, int64_t index, distill_sample *out)
{
    static int32_t ids[SMALL_LENGTH];
    (void)user;
    small_ids(ids, SMALL_LENGTH, (uint32_t)index);
    out->ids = ids;
    out->kind = DISTILL_SAMPLE_TOKENS;
    out->count = SMALL_LENGTH - index % 3;
    return DISTILL_CB_OK;
}

TEST(stream)
{
    small s;
    distill_error err;
    distill_dataset_callbacks table;
    REQUIRE(small_models("on_policy_parts"));
    for (int pack = 0; pack < 2; pack++) {
        REQUIRE_OK(small_parts(&s, NULL, small_text("data.pack: %s\n" OWN, pack ? "true" : "false"), &err));
        DISTILL_INIT(&table);
        table.get = get_sample;
        table.count = -1;
        distill_dataset_free(s.train);
        s.train = NULL;
        REQUIRE_OK(distill_dataset_from_callbacks(s.env, &table, NULL, s.options, &s.train, &err));
        REQUIRE_OK(open_trainer(&s, &err));
        CHECK(make_steps(&s) > 0);
        small_close(&s);
    }
}

/* The same text by any number of threads, also in bf16. */
TEST(threads)
{
    static const char *const precisions[] = {"fp32", "bf16"};
    distill_error err;
    if (!small_own_products()) SKIP("this build forms products by cblas alone");
    REQUIRE(small_models("on_policy_parts"));
    for (int p = 0; p < 2; p++) {
        small s[2];
        int64_t generated[2];
        for (int i = 0; i < 2; i++) {
            memset(&s[i], 0, sizeof s[i]);
            REQUIRE_OK(small_env(&s[i], NULL, small_text("train.precision: %s\n" OWN, precisions[p]), &err));
            REQUIRE_OK(distill_env_set_threads(s[i].env, i ? 3 : 1, NULL, NULL, NULL, &err));
            if (p) REQUIRE_OK(distill_env_set_products(s[i].env, "portable", &err));
            REQUIRE_OK(small_handles(&s[i], &err));
            REQUIRE_OK(open_trainer(&s[i], &err));
            generated[i] = make_steps(&s[i]);
        }
        CHECK_INT(generated[0], generated[1]);
        CHECK(small_same_bits(s[0].student, s[1].student));
        for (int i = 0; i < 2; i++) small_close(&s[i]);
    }
}

/* ---- the teacher's own text beside other data (seq-KD), with soft targets from a file ---- */

/* 64 characters, a token each. */
static int write_tokenizer(void)
{
    char text[2000] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":"
                      "{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    int id = 0;
    for (char c = '!'; id < SMALL_VOCAB; c++)
        if (c != '"' && c != '\\') snprintf(text + strlen(text), 16, "%s\"%c\":%d", id ? "," : "", c, id), id++;
    strcat(text, "}}}\n");
    return small_write(test_path(small_folder, "teacher/tokenizer.json"), text) &&
           small_write(test_path(small_folder, "tokenizer.json"), text); /* a fresh student's */
}

enum { LINES = 30, LINE = 12 };

typedef struct lines {
    char text[LINES][64];
} lines;

static int32_t add_text(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    lines *l = user;
    (void)id, (void)log_prob, (void)finished;
    strncat(l->text[sequence], text, size);
    return DISTILL_CB_OK;
}

static int write_lines(const char *name, const lines *l)
{
    static char text[LINES * 100];
    *text = '\0';
    for (int i = 0; i < LINES; i++) snprintf(text + strlen(text), 100, "{\"text\": \"%s\"}\n", l->text[i]);
    return small_write(test_path(small_folder, name), text);
}

/* Text of the data, and what the teacher writes behind its beginnings. */
static void write_sources(void)
{
    static lines data, own;
    static int32_t ids[LINES * 4];
    int64_t offsets[LINES + 1];
    small s;
    distill_error err;
    distill_batch prompts;
    distill_tokenizer *tokenizer = NULL;
    uint32_t seed = 3;
    memset(&data, 0, sizeof data);
    memset(&own, 0, sizeof own);
    memset(&s, 0, sizeof s);
    for (int i = 0; i < LINES; i++)
        for (int k = 0; k < LINE; k++) data.text[i][k] = (char)('A' + small_random(&seed) % 20);
    for (int i = 0; i <= LINES; i++) offsets[i] = (int64_t)i * 4;
    REQUIRE(write_lines("data.jsonl", &data));
    REQUIRE_OK(small_env(&s, NULL, "generate: {max_tokens: 8, temperature: 0.8}\n", &err));
    REQUIRE_OK(distill_teacher_open(s.env, test_path(small_folder, "teacher"), s.options, &s.teacher, &err));
    REQUIRE_OK(distill_tokenizer_open(s.env, test_path(small_folder, "teacher"), &tokenizer, &err));
    for (int i = 0; i < LINES; i++) {
        int64_t needed = 0;
        REQUIRE_OK(distill_tokenizer_encode(tokenizer, data.text[i], 4, 0, ids + offsets[i], 4, &needed, &err));
        memcpy(own.text[i], data.text[i], 4);
    }
    DISTILL_INIT(&prompts);
    prompts.ids = ids;
    prompts.offsets = offsets;
    prompts.sequences = LINES;
    CHECK_OK(distill_teacher_generate(s.teacher, &prompts, s.options, add_text, &own, &err));
    CHECK(write_lines("own.jsonl", &own));
    distill_tokenizer_free(tokenizer);
    small_close(&s);
}

static int32_t run_mixed(const char *cache, const char *out, small *s, distill_error *err)
{
    char command[1300], yaml[3000];
    snprintf(command, sizeof command, "rm -rf '%s/%s'", small_folder, out);
    if (system(command)) return DISTILL_E_IO;
    snprintf(yaml, sizeof yaml,
             "teacher: {%s}\nstudent: {config: '%s/student.json'}\n"
             "data:\n  train: [{path: '%s/data.jsonl', source: data}, {path: '%s/own.jsonl', source: teacher}]\n"
             "  mix: {data: 1, teacher: 3}\n"
             "loss: [{type: forward_kl}, {type: cross_entropy, weight: 0.2}]\ntrain.steps: 24\noutput: '%s/%s'\n",
             cache, small_folder, small_folder, small_folder, small_folder, out);
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, yaml, err);
    if (!rc) rc = distill_trainer_create(s->env, NULL, NULL, NULL, NULL, s->options, &s->trainer, err);
    return rc ? rc : distill_trainer_run(s->trainer, err);
}

TEST(sequence_level)
{
    small a, b;
    distill_error err;
    char cache[1300];
    REQUIRE(small_models("on_policy_parts"));
    REQUIRE(write_tokenizer());
    write_sources();
    snprintf(cache, sizeof cache, "rm -rf '%s/targets'", small_folder);
    REQUIRE(!system(cache));
    snprintf(cache, sizeof cache, "path: '%s/teacher', cache: {path: '%s/targets', tier: top_k, k: 40}", small_folder,
             small_folder);
    REQUIRE_OK(run_mixed(cache, "filled", &a, &err));
    small_close(&a);
    snprintf(cache, sizeof cache, "cache: {path: '%s/targets'}", small_folder); /* nobody else is there */
    REQUIRE_OK(run_mixed(cache, "kept", &b, &err));
    size_t size_x = 0, size_y = 0;
    char *x = small_read(test_path(small_folder, "filled/model.safetensors"), &size_x), *result;
    char *y = small_read(test_path(small_folder, "kept/model.safetensors"), &size_y);
    CHECK(x && y && size_x == size_y && !memcmp(x, y, size_x));
    REQUIRE((result = small_read(test_path(small_folder, "kept/result.json"), NULL)));
    const char *of_teacher = strstr(result, "\"teacher\":{\"path\""),
               *share = of_teacher ? strstr(of_teacher, "\"share\":") : NULL;
    if (CHECK(share)) CHECK_NEAR(strtod(share + 8, NULL), 0.75, 1e-9);
    free(result);
    free(x);
    free(y);
    small_close(&b);
}

TEST_MAIN(TEST_CASE(told_early) TEST_CASE(sources) TEST_CASE(longer_than_the_data) TEST_CASE(stream) TEST_CASE(threads)
              TEST_CASE(sequence_level))
