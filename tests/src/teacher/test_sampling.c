/* Section generate: what a token is drawn from, what ends a text, and how many of them a prompt gets. */
#include "model_fixture.h"
#include "base/utf8.h"

enum { TEXTS = 6, MOST = 24 };

typedef struct heard {
    int32_t ids[TEXTS][MOST], finished[TEXTS];
    int64_t counts[TEXTS];
    double log_probs[TEXTS][MOST];
    char text[TEXTS][256];
    size_t sizes[TEXTS], ends[TEXTS][MOST]; /* ends: of the pieces */
} heard;

static int32_t hear(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    heard *h = user;
    if (!CHECK(sequence < TEXTS && h->counts[sequence] < MOST && !h->finished[sequence])) return DISTILL_CB_CANCEL;
    int64_t n = h->counts[sequence]++;
    h->ids[sequence][n] = id;
    h->log_probs[sequence][n] = log_prob;
    memcpy(h->text[sequence] + h->sizes[sequence], text, size);
    h->ends[sequence][n] = h->sizes[sequence] += size;
    h->finished[sequence] = finished;
    return DISTILL_CB_OK;
}

typedef struct scene {
    fixture f;
    dk_model *model;
    dk_tokenizer *tokenizer;
    di_teacher *teacher;
} scene;

static void open_scene(scene *s, const char *name, int32_t reads)
{
    dk_error err;
    memset(s, 0, sizeof *s);
    open_fixture(&s->f, name);
    s->model = fresh_model(&s->f);
    if (reads && tiny_tokenizer(&s->f, &s->tokenizer, &err)) exit(3);
    if (di_teacher_from_model(s->f.backend, s->model, s->tokenizer, NULL, NULL, NULL, &s->teacher, &err)) exit(3);
}

static void close_scene(scene *s)
{
    di_teacher_release(s->teacher);
    dk_tokenizer_release(s->tokenizer);
    dk_model_free(s->model);
    close_fixture(&s->f);
}

static int32_t write_as(scene *s, const distill_batch *batch, const char *section, heard *out, dk_error *err)
{
    di_options *options = NULL;
    int32_t rc;
    memset(out, 0, sizeof *out);
    DK_TRY(di_options_create(s->f.host, &options, err));
    DK_TRY(di_options_set(options, "generate", section, err));
    DK_TRY(di_options_check(options, 1 << DI_GENERATE, err));
    DK_TRY(di_teacher_generate(s->teacher, batch, options, NULL, hear, out, err));
out:
    di_options_free(options);
    return rc;
}

static void check_refused(scene *s, const char *section, const char *message)
{
    distill_batch batch = tiny_batch();
    dk_error err = {0};
    heard h;
    CHECK(write_as(s, &batch, section, &h, &err) != DK_OK);
    CHECK_HAS(err.message, message);
    CHECK_INT(h.counts[0], 0);
}

/* ---- what ends a text ---- */

static int32_t find(const char *text, size_t size, const char *part, size_t length)
{
    for (size_t i = 0; i + length <= size; i++)
        if (!memcmp(text + i, part, length)) return (int32_t)i;
    return -1;
}

static void check_cut(scene *s, const heard *whole, uint64_t seed, size_t begin, size_t length)
{
    char section[256], stop[32];
    distill_batch batch = tiny_batch();
    dk_error err;
    heard cut;
    memcpy(stop, whole->text[0] + begin, length);
    stop[length] = 0;
    if (strchr(stop, '"') || strchr(stop, '\\')) return;
    snprintf(section, sizeof section, "{max_tokens: 20, seed: %d, stop: [\"never there\", \"%s\"]}", (int)seed, stop);
    CHECK_OK(write_as(s, &batch, section, &cut, &err));
    for (int t = 0; t < 2; t++) {
        int32_t at = find(whole->text[t], whole->sizes[t], stop, length);
        CHECK(memcmp(cut.ids[t], whole->ids[t], (size_t)cut.counts[t] * sizeof **cut.ids) == 0);
        if (at < 0) { /* bytes that were held back come with what shows that they are none */
            CHECK_INT(cut.counts[t], whole->counts[t]);
            CHECK_INT(cut.finished[t], whole->finished[t]);
            at = (int32_t)whole->sizes[t];
        } else {
            CHECK_INT(cut.finished[t], 3);
            CHECK(whole->ends[t][cut.counts[t] - 1] >= (size_t)at + length);
            CHECK(cut.counts[t] < 2 || whole->ends[t][cut.counts[t] - 2] < (size_t)at + length);
        }
        CHECK_INT(cut.sizes[t], at);
        CHECK(memcmp(cut.text[t], whole->text[t], (size_t)at) == 0);
    }
}

/* Every part of a text that begins and ends with characters, over borders of tokens or not. */
TEST(stop_texts)
{
    scene s;
    int cuts = 0;
    open_scene(&s, "stop_texts", 1);
    for (uint64_t seed = 1; seed < 5; seed++) {
        char section[64];
        distill_batch batch = tiny_batch();
        dk_error err;
        heard whole;
        snprintf(section, sizeof section, "{max_tokens: 20, seed: %d}", (int)seed);
        CHECK_OK(write_as(&s, &batch, section, &whole, &err));
        for (size_t begin = 0; begin < whole.sizes[0]; begin++)
            for (size_t length = 1; length < 7 && begin + length <= whole.sizes[0]; length++) {
                const unsigned char *text = (const unsigned char *)whole.text[0] + begin;
                int32_t characters = 1;
                for (size_t i = 0, n; characters && i < length; i += n)
                    if (!(n = dk_utf8_length(text + i, length - i))) characters = 0, n = 1;
                if (characters) check_cut(&s, &whole, seed, begin, length), cuts++;
            }
    }
    CHECK(cuts > 100);
    close_scene(&s);
}

TEST(stop_ids)
{
    scene s;
    distill_batch batch = tiny_batch();
    dk_error err;
    heard whole, cut;
    char section[64];
    open_scene(&s, "stop_ids", 0);
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 20}", &whole, &err));
    for (int64_t n = 0; n < whole.counts[0]; n++) {
        int32_t id = whole.ids[0][n];
        snprintf(section, sizeof section, "{max_tokens: 20, stop_ids: [28, %d]}", id);
        CHECK_OK(write_as(&s, &batch, section, &cut, &err));
        for (int t = 0; t < 2; t++) {
            int64_t first = 0;
            while (first < whole.counts[t] - 1 && whole.ids[t][first] != id && whole.ids[t][first] != 28) first++;
            CHECK_INT(cut.counts[t], first + 1);
            int32_t last = cut.ids[t][first];
            CHECK_INT(cut.finished[t], last == id || last == 28 || last == 2 ? 1 : 2);
        }
    }
    close_scene(&s);
}

/* ---- how many ---- */

TEST(samples)
{
    static int32_t ids[3 * 7 + 3 * 4];
    int64_t offsets[TEXTS + 1] = {0};
    scene s;
    distill_batch batch = tiny_batch(), each = tiny_batch();
    dk_error err;
    heard a, b, again;
    open_scene(&s, "samples", 1);
    for (int t = 0; t < TEXTS; t++) {
        int64_t first = tiny_offsets[t / 3], length = tiny_offsets[t / 3 + 1] - first;
        memcpy(ids + offsets[t], tiny_ids + first, (size_t)length * sizeof *ids);
        offsets[t + 1] = offsets[t] + length;
    }
    each.ids = ids;
    each.offsets = offsets;
    each.sequences = TEXTS;
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 16, samples: 3, seed: 5}", &a, &err));
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 16, samples: 3, seed: 5}", &again, &err));
    CHECK_OK(write_as(&s, &each, "{max_tokens: 16, seed: 5}", &b, &err));
    CHECK(memcmp(a.ids, again.ids, sizeof a.ids) == 0);
    for (int t = 0; t < TEXTS; t++) {
        CHECK(a.finished[t] && a.counts[t] == b.counts[t]);
        CHECK(memcmp(a.ids[t], b.ids[t], sizeof a.ids[t]) == 0);
        CHECK(a.sizes[t] == b.sizes[t] && memcmp(a.text[t], b.text[t], a.sizes[t]) == 0);
        if (t % 3) CHECK(memcmp(a.ids[t], a.ids[t - 1], sizeof a.ids[t]) != 0);
    }
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 16, samples: 3, seed: 6}", &b, &err));
    CHECK(memcmp(a.ids, b.ids, sizeof a.ids) != 0);
    close_scene(&s);
}

/* ---- what is drawn from ---- */

/* The most probable token of logits that are adjusted as the options say, the plain way. */
static int32_t best(const float *logits, const int32_t *ids, int64_t prompt, int64_t count)
{
    double z[TINY_VOCAB];
    int32_t top = 0;
    for (int v = 0; v < TINY_VOCAB; v++) {
        int32_t read = 0, own = 0;
        for (int64_t i = 0; i < count; i++) read |= ids[i] == v, own |= i >= prompt && ids[i] == v;
        z[v] = (double)logits[v] + (v == 11 ? 1.25 : v == 4 ? -2 : 0);
        if (read) z[v] = z[v] > 0 ? z[v] / 1.3 : z[v] * 1.3;
        if (own) z[v] -= 0.4;
        if (z[v] > z[top]) top = v;
    }
    return top;
}

TEST(penalties_and_biases)
{
    float logits[TINY_VOCAB];
    int32_t ids[64];
    scene s;
    distill_batch batch = tiny_batch();
    dk_error err;
    heard h, plain;
    int32_t differ = 0;
    open_scene(&s, "penalties", 0);
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 20, temperature: 0}", &plain, &err));
    CHECK_OK(write_as(&s, &batch,
                      "{max_tokens: 20, temperature: 0, repetition_penalty: 1.3, presence_penalty: 0.4, "
                      "logit_bias: {11: 1.25, 4: -2}}",
                      &h, &err));
    for (int t = 0; t < 2; t++) {
        int64_t prompt = tiny_offsets[t + 1] - tiny_offsets[t], offsets[2] = {0, prompt};
        memcpy(ids, tiny_ids + tiny_offsets[t], (size_t)prompt * sizeof *ids);
        for (int64_t n = 0; n < h.counts[t]; n++) {
            distill_batch one = tiny_batch();
            int64_t last = offsets[1] - 1;
            one.rows = &last;
            one.row_count = 1;
            one.ids = ids;
            one.offsets = offsets;
            one.sequences = 1;
            CHECK_OK(score_with(s.teacher, &one, logits, &err));
            CHECK_INT(h.ids[t][n], best(logits, ids, prompt, offsets[1]));
            ids[offsets[1]++] = h.ids[t][n];
        }
        differ |= memcmp(h.ids[t], plain.ids[t], sizeof h.ids[t]) != 0;
    }
    CHECK(differ);
    CHECK_OK(write_as(&s, &batch, "{max_tokens: 20, min_p: 1}", &h, &err)); /* the most probable ones alone */
    CHECK(memcmp(h.ids, plain.ids, sizeof h.ids) == 0);
    close_scene(&s);
}

/* ---- a host's own ---- */

typedef struct host {
    heard told;
    int32_t top[TEXTS][MOST][3];
    double top_log_probs[TEXTS][MOST][3];
    int64_t asked;
    int32_t banned, answer, leaves; /* leaves: 1 = NaN, 2 = nothing */
} host;

static int32_t on_written(void *user, int64_t sequence, const distill_token *token)
{
    host *h = user;
    int64_t n = h->told.counts[sequence];
    for (int64_t i = 0; i < token->top_count && i < 3; i++) {
        h->top[sequence][n][i] = token->top_ids[i];
        h->top_log_probs[sequence][n][i] = (double)token->top_log_probs[i];
    }
    CHECK_INT(token->top_count, 3);
    return hear(&h->told, sequence, token->id, token->log_prob, token->text, (size_t)token->size,
                (int32_t)token->finished);
}

/* Bans one id, and all that a text has. */
static int32_t on_logits(void *user, int64_t sequence, const int32_t *ids, int64_t count, float *logits, int64_t vocab)
{
    host *h = user;
    const int64_t prompt = tiny_offsets[sequence + 1] - tiny_offsets[sequence];
    CHECK_INT(vocab, TINY_VOCAB);
    CHECK_INT(count, prompt + h->told.counts[sequence]);
    CHECK(!memcmp(ids, tiny_ids + tiny_offsets[sequence], (size_t)prompt * sizeof *ids));
    for (int64_t i = prompt; i < count; i++) logits[ids[i]] = -INFINITY;
    logits[h->banned] = -INFINITY;
    h->asked++;
    if (h->leaves == 1) logits[4] = NAN;
    for (int64_t i = 0; h->leaves == 2 && i < vocab; i++) logits[i] = -INFINITY;
    return h->answer;
}

static int32_t write_to(scene *s, host *h, const char *section, dk_error *err)
{
    distill_batch batch = tiny_batch();
    distill_writer_callbacks table;
    di_options *options = NULL;
    int32_t rc;
    DISTILL_INIT(&table);
    table.user = h;
    table.token = on_written;
    table.logits = on_logits;
    const di_reader reader = {.table = &table};
    DK_TRY(di_options_create(s->f.host, &options, err));
    DK_TRY(di_options_set(options, "generate", section, err));
    DK_TRY(di_teacher_generate_to(s->teacher, &batch, options, NULL, &reader, err));
out:
    di_options_free(options);
    return rc;
}

TEST(logits_of_the_host)
{
    float logits[TINY_VOCAB];
    int32_t ids[64];
    scene s;
    dk_error err;
    host h = {.banned = 9};
    open_scene(&s, "host_logits", 1);
    CHECK_OK(write_to(&s, &h, "{max_tokens: 16, temperature: 0, top_logprobs: 3}", &err));
    CHECK_INT(h.asked, h.told.counts[0] + h.told.counts[1]);
    for (int t = 0; t < 2; t++) {
        int64_t prompt = tiny_offsets[t + 1] - tiny_offsets[t], offsets[2] = {0, prompt};
        memcpy(ids, tiny_ids + tiny_offsets[t], (size_t)prompt * sizeof *ids);
        for (int64_t n = 0; n < h.told.counts[t]; n++) {
            distill_batch one = tiny_batch();
            int64_t last = offsets[1] - 1;
            double sum = 0;
            int32_t likeliest = 0, best_left = -1;
            one.rows = &last;
            one.row_count = 1;
            one.ids = ids;
            one.offsets = offsets;
            one.sequences = 1;
            CHECK_OK(score_with(s.teacher, &one, logits, &err));
            for (int v = 0; v < TINY_VOCAB; v++) {
                int32_t used = v == h.banned;
                for (int64_t i = prompt; i < offsets[1]; i++) used |= ids[i] == v;
                sum += exp((double)logits[v]);
                if (logits[v] > logits[likeliest]) likeliest = v;
                if (!used && (best_left < 0 || logits[v] > logits[best_left])) best_left = v;
            }
            CHECK_INT(h.told.ids[t][n], best_left);
            CHECK_INT(h.top[t][n][0], likeliest); /* the model's own, banned or not */
            CHECK_NEAR(h.told.log_probs[t][n], (double)logits[best_left] - log(sum), 1e-4);
            for (int i = 0; i < 3; i++) {
                CHECK_NEAR(h.top_log_probs[t][n][i], (double)logits[h.top[t][n][i]] - log(sum), 1e-4);
                CHECK(i == 0 || h.top_log_probs[t][n][i] <= h.top_log_probs[t][n][i - 1]);
            }
            ids[offsets[1]++] = h.told.ids[t][n];
        }
    }
    close_scene(&s);
}

TEST(host_ends_or_spoils)
{
    static const struct {
        int32_t answer, leaves, status;
        const char *message;
    } cases[] = {{DISTILL_CB_CANCEL, 0, DK_E_CANCELLED, "stopped by its callback"},
                 {7, 0, DK_E_CALLBACK, "the callback returned 7"},
                 {0, 1, DK_E_NUMERIC, "sequence 0, token 0: the callback for logits left nan"},
                 {0, 2, DK_E_NUMERIC, "or nothing above -infinity"}};
    scene s;
    dk_error err;
    heard h;
    distill_batch batch = tiny_batch();
    open_scene(&s, "host_spoils", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        host spoiler = {.answer = cases[i].answer, .leaves = cases[i].leaves};
        CHECK_INT(write_to(&s, &spoiler, "{top_logprobs: 3}", &err), cases[i].status);
        CHECK_HAS(err.message, cases[i].message);
        CHECK_INT(spoiler.asked, 1);
    }
    host many = {0};
    CHECK(write_to(&s, &many, "{top_logprobs: 30}", &err) != DK_OK);
    CHECK_HAS(err.message, "generate.top_logprobs: 30 of a model that draws from 29 ids");
    CHECK(write_as(&s, &batch, "{top_logprobs: 3}", &h, &err) != DK_OK);
    CHECK_HAS(err.message, "distill_token_fn has no room for them");
    close_scene(&s);
}

TEST(wrong_values)
{
    scene s;
    open_scene(&s, "wrong_values", 1);
    check_refused(&s, "{stop: [a, \"\"]}", "generate.stop: an empty text would end every answer");
    check_refused(&s, "{stop_ids: [3, 29]}", "generate.stop_ids: 29 is no id of this model, whose ids are below 29");
    check_refused(&s, "{stop_ids: [-1]}", "-1");
    check_refused(&s, "{logit_bias: {29: 1}}", "generate.logit_bias: 29 is no id of this model");
    check_refused(&s, "{logit_bias: {the: 1}}", "generate.logit_bias: \"the\" is no number of an entry");
    check_refused(&s, "{logit_bias: {-1: 1}}", "generate.logit_bias: \"-1\" is no number of an entry");
    check_refused(&s, "{logit_bias: {03: 1}}", "\"03\" is no number of an entry");
    check_refused(&s, "{logit_bias: {9999999999: 1}}", "9999999999 is no id of this model");
    check_refused(&s, "{logit_bias: {99999999999999999999: 1}}", "is no number of an entry");
    check_refused(&s, "{logit_bias: {3: .nan}}", "generate.logit_bias.3");
    check_refused(&s, "{min_p: 1.5}", "generate.min_p");
    check_refused(&s, "{repetition_penalty: 0}", "generate.repetition_penalty");
    check_refused(&s, "{samples: 0}", "generate.samples");
    check_refused(&s, "{samples: 2, temperature: 0}", "generate.samples goes with temperature only");
    check_refused(&s, "{seed: 2, temperature: 0}", "generate.seed goes with temperature only");
    check_refused(&s, "{min_p: 0.5, temperature: 0}", "generate.min_p goes with temperature only");
    close_scene(&s);
    open_scene(&s, "no_text", 0);
    check_refused(&s, "{stop: [a]}", "generate.stop: this model has no tokenizer");
    close_scene(&s);
}

TEST_MAIN(TEST_CASE(stop_texts) TEST_CASE(stop_ids) TEST_CASE(samples) TEST_CASE(penalties_and_biases)
              TEST_CASE(logits_of_the_host) TEST_CASE(host_ends_or_spoils) TEST_CASE(wrong_values))
