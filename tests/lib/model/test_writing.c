/* Texts that are written side by side: places that become free, shared prompts, samples, and what a text has. */
#include "test_model.h"

enum { TEXTS = 80, MOST_TOKENS = 8, CONTEXT = 200, VOCAB = 61 };
static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":36,\"num_attention_heads\":3,"
                             "\"num_key_value_heads\":1,\"num_hidden_layers\":2,\"intermediate_size\":40,"
                             "\"vocab_size\":61,\"max_position_embeddings\":200}";

typedef struct written {
    int32_t ids[TEXTS][MOST_TOKENS], count[TEXTS], finished[TEXTS];
    double log_probs[TEXTS][MOST_TOKENS];
    int32_t ends_text, ends_at; /* text that its reader ends, and behind how many tokens; 0 = none */
} written;

static int32_t on_token(void *user, int64_t text, int32_t id, double log_prob, int32_t finished)
{
    written *w = user;
    CHECK(text < TEXTS && w->count[text] < MOST_TOKENS && !w->finished[text]);
    w->ids[text][w->count[text]] = id;
    w->log_probs[text][w->count[text]++] = log_prob;
    w->finished[text] = finished;
    return w->ends_at && text == w->ends_text && w->count[text] == w->ends_at ? DK_TEXT_ENDS : 0;
}

static const dk_generate_args plain = {
    .max_tokens = MOST_TOKENS, .temperature = 0.9, .top_p = 1, .seed = 42, .emit = on_token};

typedef struct prompts {
    int32_t ids[TEXTS * CONTEXT];
    int64_t offsets[TEXTS + 1];
    dk_tokens tokens;
} prompts;

/* Prompt s: `shared` tokens as the others have, then its own, 1 + s * 7 % 30 of them. */
static void make_prompts(prompts *p, int64_t count, int64_t shared)
{
    p->offsets[0] = 0;
    for (int64_t s = 0; s < count; s++) {
        int64_t length = shared + 1 + s * 7 % 30, at = p->offsets[s];
        for (int64_t i = 0; i < length; i++)
            p->ids[at + i] =
                (int32_t)(dk_random_u64(i < shared ? 1000 : (uint64_t)s, DK_STREAM_TEST, (uint64_t)i) % VOCAB);
        p->offsets[s + 1] = at + length;
    }
    p->tokens = (dk_tokens){.ids = p->ids, .offsets = p->offsets, .sequences = count};
}

static void write_all(fixture *f, const prompts *p, dk_generate_args args, written *out)
{
    dk_error err = {0};
    args.user = out;
    CHECK_OK(dk_generate(f->model, &p->tokens, &args, &err));
}

static void check_same(const written *a, const written *b, int64_t texts, const char *what)
{
    for (int64_t t = 0; t < texts; t++)
        if (memcmp(a->ids[t], b->ids[t], sizeof a->ids[t]) || a->count[t] != b->count[t] ||
            memcmp(a->log_probs[t], b->log_probs[t], sizeof a->log_probs[t]))
            FAIL("%s: text %d is another one", what, (int)t);
}

/* More texts than places, which end at different lengths, with and without what they share, against one at a time. */
TEST(places)
{
    static const int64_t shared[] = {0, 10, 20, 64, 100}; /* with 20 a page is all that a text needs */
    static prompts p;
    for (int i = 0; i < 5; i++) {
        fixture f;
        static written many, one;
        memset(&many, 0, sizeof many);
        memset(&one, 0, sizeof one);
        if (fixture_make(&f, ON_CPU, config)) {
            const int32_t stops[] = {3, 17, 40};
            dk_generate_args args = plain;
            args.stop = stops;
            args.stop_count = 3;
            int32_t whole = f.backend->invariant_rows == INT64_MAX;
            make_prompts(&p, TEXTS, shared[i]);
            write_all(&f, &p, args, &many);
            f.backend->invariant_rows = 1; /* one place, prompts in pieces from their beginning */
            write_all(&f, &p, args, &one);
            if (whole) check_same(&many, &one, TEXTS, "beside others");
        }
        fixture_end(&f);
    }
}

/* Rotations of longrope hang on how long a text may get: on its own length, not on the longest text of the call. */
TEST(rotations_are_of_each_text)
{
    static const char longrope[] =
        "{\"model_type\":\"phi3\",\"hidden_size\":36,\"num_attention_heads\":3,\"num_key_value_heads\":1,"
        "\"num_hidden_layers\":2,\"intermediate_size\":40,\"vocab_size\":61,\"max_position_embeddings\":200,"
        "\"original_max_position_embeddings\":30,\"sliding_window\":null,\"pad_token_id\":0,\"rope_scaling\":{\"type\":"
        "\"longrope\","
        "\"short_factor\":[1,1,1,1,1,1],\"long_factor\":[3,5,7,9,11,13]}}";
    static const int64_t shared[] = {0, 20};
    static prompts p;
    for (int i = 0; i < 2; i++) {
        fixture f;
        static written many, one;
        memset(&many, 0, sizeof many);
        memset(&one, 0, sizeof one);
        if (fixture_make(&f, ON_CPU, longrope)) {
            make_prompts(&p, 12, shared[i]); /* of 1 to 50 tokens: some texts end before 30 */
            for (int64_t t = 0; t < 12; t++) {
                static written alone;
                prompts single = {.offsets = {0, p.offsets[t + 1] - p.offsets[t]}};
                dk_generate_args args = plain;
                args.temperature = 0;
                memset(&alone, 0, sizeof alone);
                memcpy(single.ids, p.ids + p.offsets[t], (size_t)single.offsets[1] * sizeof *p.ids);
                single.tokens = (dk_tokens){.ids = single.ids, .offsets = single.offsets, .sequences = 1};
                write_all(&f, &single, args, &alone);
                memcpy(one.ids[t], alone.ids[0], sizeof one.ids[t]);
                memcpy(one.log_probs[t], alone.log_probs[0], sizeof one.log_probs[t]);
                one.count[t] = alone.count[0];
            }
            dk_generate_args greedy = plain;
            greedy.temperature = 0;
            memset(&many, 0, sizeof many);
            write_all(&f, &p, greedy, &many);
            if (f.backend->invariant_rows == INT64_MAX) check_same(&many, &one, 12, "beside others");
        }
        fixture_end(&f);
    }
}

TEST(samples) /* n texts of a prompt are what n equal prompts write */
{
    static prompts few, all;
    static written a, b;
    fixture f;
    if (!fixture_make(&f, ON_CPU, config)) return;
    dk_generate_args args = plain;
    make_prompts(&few, 5, 30);
    all.offsets[0] = 0;
    for (int64_t t = 0; t < 20; t++) {
        int64_t first = few.offsets[t / 4], length = few.offsets[t / 4 + 1] - first;
        memcpy(all.ids + all.offsets[t], few.ids + first, (size_t)length * sizeof *all.ids);
        all.offsets[t + 1] = all.offsets[t] + length;
    }
    all.tokens = (dk_tokens){.ids = all.ids, .offsets = all.offsets, .sequences = 20};
    write_all(&f, &all, args, &a);
    args.samples = 4;
    write_all(&f, &few, args, &b);
    check_same(&a, &b, 20, "a sample");
    int32_t differ = 0;
    for (int64_t t = 1; t < 4; t++) differ += memcmp(b.ids[0], b.ids[t], sizeof b.ids[0]) != 0;
    CHECK(differ >= 2);
    fixture_end(&f);
}

TEST(reader_ends_a_text) /* the others do not notice */
{
    static prompts p;
    static written whole, cut;
    fixture f;
    if (!fixture_make(&f, ON_CPU, config)) return;
    make_prompts(&p, 40, 5);
    write_all(&f, &p, plain, &whole);
    cut.ends_text = 7;
    cut.ends_at = 3;
    write_all(&f, &p, plain, &cut);
    CHECK_INT(cut.count[7], 3);
    CHECK(memcmp(cut.ids[7], whole.ids[7], 3 * sizeof(int32_t)) == 0);
    memcpy(cut.ids[7], whole.ids[7], sizeof cut.ids[7]);
    memcpy(cut.log_probs[7], whole.log_probs[7], sizeof cut.log_probs[7]);
    cut.count[7] = whole.count[7];
    check_same(&whole, &cut, 40, "beside one that ends early");
    fixture_end(&f);
}

static int32_t has(const int32_t *ids, int64_t count, int32_t id)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] == id) return 1;
    return 0;
}

TEST(what_a_text_has)
{
    static prompts p;
    static const int32_t liked[] = {5, 9};
    static const double bias[] = {900, 700};
    fixture f;
    if (!fixture_make(&f, ON_CPU, config)) return;
    make_prompts(&p, 6, 2);
    dk_generate_args args = plain;
    written out = {.ends_at = 0}, presence = {.ends_at = 0}, repetition = {.ends_at = 0}, both = {.ends_at = 0};
    args.bias_ids = liked;
    args.bias = bias;
    args.bias_count = 2;
    write_all(&f, &p, args, &out);
    args.presence_penalty = 500; /* once for each id, however often */
    write_all(&f, &p, args, &both);
    args.bias_count = 0;
    args.presence_penalty = 1e4;
    write_all(&f, &p, args, &presence);
    args.presence_penalty = 0;
    args.repetition_penalty = 1e9;
    args.temperature = 0;
    write_all(&f, &p, args, &repetition);
    for (int64_t s = 0; s < 6; s++) {
        const int32_t *prompt = p.ids + p.offsets[s];
        for (int64_t i = 0; i < MOST_TOKENS; i++) {
            CHECK_INT(out.ids[s][i], 5);
            CHECK_INT(both.ids[s][i], i == 0 ? 5 : i == 1 ? 9 : 5); /* 900, then 700 v. 400, then 400 v. 200 */
            CHECK(!has(presence.ids[s], i, presence.ids[s][i]));
            CHECK(!has(repetition.ids[s], i, repetition.ids[s][i]));
            CHECK(!has(prompt, p.offsets[s + 1] - p.offsets[s], repetition.ids[s][i]));
        }
        CHECK(out.log_probs[s][0] < -1); /* the model's own */
    }
    fixture_end(&f);
}

TEST(wrong_arguments)
{
    static prompts p;
    static const int32_t ids[] = {61};
    static const double bias[] = {1};
    dk_error err = {0};
    fixture f;
    if (!fixture_make(&f, ON_CPU, config)) return;
    make_prompts(&p, 1, 2);
    dk_generate_args args = plain;
    args.min_p = 1.5;
    CHECK_INT(dk_generate(f.model, &p.tokens, &args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "min_p is 1.5, not in [0, 1]");
    args = plain;
    args.repetition_penalty = -1;
    CHECK_INT(dk_generate(f.model, &p.tokens, &args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "repetition_penalty is -1");
    args = plain;
    args.bias_ids = ids;
    args.bias = bias;
    args.bias_count = 1;
    CHECK_INT(dk_generate(f.model, &p.tokens, &args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "a bias of id 61, which is not in [0, 61)");
    fixture_end(&f);
}

TEST_MAIN(TEST_CASE(places) TEST_CASE(rotations_are_of_each_text) TEST_CASE(samples) TEST_CASE(reader_ends_a_text)
              TEST_CASE(what_a_text_has) TEST_CASE(wrong_arguments))
