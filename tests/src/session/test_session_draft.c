/* Drafts: the same text greedily, the same distribution when it is drawn. */
#include "session_fixture.h"

typedef struct pair {
    scene s;
    dk_model *small; /* the model's first blocks: right now and then */
    di_teacher *draft;
} pair;

static void open_draft(pair *p, int64_t blocks)
{
    const int64_t layers[4] = {0, 1, 2, 3};
    dk_error err = {0};
    CHECK_OK(dk_model_derive(p->s.model, p->s.f.backend, layers, blocks, &p->small, &err));
    CHECK_OK(di_teacher_from_model(p->s.f.backend, p->small, p->s.tokenizer, NULL, NULL, NULL, &p->draft, &err));
}

static void open_pair(pair *p, const char *name)
{
    open_scene(&p->s, name);
    open_draft(p, 4);
}

static void close_pair(pair *p)
{
    di_teacher_release(p->draft);
    dk_model_free(p->small);
    close_scene(&p->s);
}

static di_stream *open_drafted(pair *p, di_teacher *draft, const char *yaml)
{
    di_options *options = options_of(&p->s, yaml);
    di_stream *stream = NULL;
    dk_error err = {0};
    CHECK_OK(di_stream_create(p->s.teacher, draft, options, &stream, &err));
    di_options_free(options);
    if (!stream) exit(3);
    return stream;
}

static const char *const greedy[] = {
    "{generate: {max_tokens: 30, temperature: 0}}",
    "{generate: {max_tokens: 40, temperature: 0, repetition_penalty: 1.4, presence_penalty: 0.3}}",
    "{generate: {max_tokens: 60, temperature: 0, logit_bias: {7: 2}, stop_ids: [11]}, session: {draft_tokens: 7}}",
    "{generate: {max_tokens: 50, temperature: 0, stop: [ab]}, session: {draft_tokens: 2, draft_adaptive: true}}",
    "{generate: {max_tokens: 64, temperature: 0, repetition_penalty: 1.2}, session: {draft_tokens: 1, context: 40}}",
};
enum { GREEDY = sizeof greedy / sizeof *greedy };

static void configure(pair *p, di_stream *stream, const char *yaml)
{
    di_options *options = options_of(&p->s, yaml);
    dk_error err = {0};
    CHECK_OK(di_stream_configure(stream, options, &err));
    di_options_free(options);
}

/* The part that distill_teacher_generate reads; the session's context ends sooner in the last one. */
static heard undrafted(pair *p, int32_t first, int64_t count, const char *yaml)
{
    di_stream *stream = open_drafted(p, NULL, yaml);
    dk_error err = {0};
    CHECK_OK(di_stream_append(stream, tiny_ids + first, count, &err));
    const heard h = answer(stream);
    di_stream_free(stream);
    return h;
}

TEST(greedy_texts_are_the_same)
{
    pair p;
    int64_t accepted = 0, drafted = 0;
    open_pair(&p, "greedy");
    for (int i = 0; i < GREEDY; i++)
        for (int32_t first = 0; first < 6; first++)
            for (int twin = 0; twin < 2; twin++) {
                di_stream *stream = open_drafted(&p, twin ? p.s.teacher : p.draft, greedy[i]);
                dk_error err = {0};
                CHECK_OK(di_stream_append(stream, tiny_ids + first, 5, &err));
                const heard got = answer(stream), want = undrafted(&p, first, 5, greedy[i]);
                same(&got, &want);
                const distill_session_stats stats = stats_of(stream);
                CHECK(stats.accepted <= stats.drafted && stats.accepted < stats.tokens);
                if (twin && i != 2 && i != 3) CHECK_INT(stats.accepted, stats.drafted);
                if (!twin) accepted += stats.accepted, drafted += stats.drafted;
                CHECK_OK(di_stream_truncate(stream, 5, &err)); /* and behind a cut */
                const heard again = answer(stream);
                same(&again, &want);
                di_stream_free(stream);
            }
    CHECK(accepted > 20 && accepted < drafted); /* both ends of the scheme were seen */
    close_pair(&p);
}

TEST(turns_and_forks)
{
    pair p;
    dk_error err = {0};
    int64_t count = 0;
    open_pair(&p, "drafted_turns");
    const char *yaml = "{generate: {max_tokens: 12, temperature: 0}, session: {places: 3}}";
    di_stream *streams[3] = {open_drafted(&p, p.draft, yaml)};
    const distill_token *token = NULL;
    CHECK_OK(di_stream_append(streams[0], tiny_ids, 7, &err));
    for (int i = 0; i < 3; i++) CHECK_OK(di_stream_next(streams[0], &token, &err)); /* proposals wait */
    CHECK_OK(di_stream_fork(streams[0], &streams[1], &err));
    heard rest = answer(streams[0]), other = answer(streams[1]);
    same(&rest, &other);
    CHECK_OK(di_stream_append(streams[0], tiny_ids + 7, 4, &err));
    const int32_t *ids = di_stream_ids(streams[0], &count);
    const heard want = generated(&p.s, ids, count, yaml), got = answer(streams[0]);
    same(&got, &want);
    CHECK_OK(di_stream_fork(streams[0], &streams[2], &err));
    heard all[3];
    const distill_token *tokens[3];
    memset(all, 0, sizeof all);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(di_stream_truncate(streams[i], 0, &err));
        CHECK_OK(di_stream_append(streams[i], tiny_ids + i, 4 + i, &err));
    }
    while (di_stream_next_many(streams, 3, tokens, &err) == DK_OK)
        for (int i = 0; i < 3; i++)
            if (tokens[i]->id >= 0)
                hear_token(&all[i], tokens[i]->id, tokens[i]->log_prob, tokens[i]->text, (size_t)tokens[i]->size,
                           (int32_t)tokens[i]->finished);
    for (int i = 0; i < 3; i++) {
        const heard alone = generated(&p.s, tiny_ids + i, 4 + i, yaml);
        same(&all[i], &alone);
        di_stream_free(streams[i]);
    }
    close_pair(&p);
}

/* ---- distributions ---- */

enum { CELLS = TINY_VOCAB * TINY_VOCAB * TINY_VOCAB };

static int64_t count_texts(pair *p, di_teacher *model, di_teacher *draft, const char *way, int64_t texts,
                           int64_t *cells)
{
    dk_error err = {0};
    di_stream *stream = NULL;
    di_options *options = options_of(&p->s, way);
    CHECK_OK(di_stream_create(model, draft, options, &stream, &err));
    memset(cells, 0, CELLS * sizeof *cells);
    CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
    for (int64_t i = 0; i < texts; i++) {
        const int32_t from = draft ? 100000 : 1; /* other numbers: the samples are independent */
        const distill_token *token = NULL;
        int64_t cell = 0;
        CHECK_OK(di_options_set_i64(options, "generate.seed", from + i, &err));
        CHECK_OK(di_stream_truncate(stream, 7, &err));
        CHECK_OK(di_stream_configure(stream, options, &err));
        for (int k = 0; k < 3; k++) {
            const int32_t rc = di_stream_next(stream, &token, &err);
            cell = cell * TINY_VOCAB + (rc ? 0 : token->id);
        }
        cells[cell]++;
    }
    const int64_t drafted = stats_of(stream).drafted;
    di_options_free(options);
    di_stream_free(stream);
    return drafted;
}

/* Two samples of one distribution: the statistic has mean and variance of chi-square. How many standard deviations it
 * is off; rare texts count as one. */
static double deviation(const int64_t *a, const int64_t *b)
{
    double sum = 0, rare_a = 0, rare_b = 0, cells = -1;
    for (int64_t i = 0; i < CELLS; i++) {
        const double x = (double)a[i], y = (double)b[i];
        if (x + y < 16) {
            rare_a += x, rare_b += y;
            continue;
        }
        sum += (x - y) * (x - y) / (x + y);
        cells++;
    }
    if (rare_a + rare_b > 0) sum += (rare_a - rare_b) * (rare_a - rare_b) / (rare_a + rare_b), cells++;
    return (sum - cells) / sqrt(2 * cells);
}

/* A chi-square 5 standard deviations off would come once in some hundred thousand times, and seeds are fixed; the
 * draft's own texts, taken for the model's, are far off. */
TEST(drawn_texts_have_the_distribution)
{
    static const char *const ways[] = {
        "{generate: {max_tokens: 3}}",
        "{generate: {max_tokens: 3, temperature: 0.7, top_k: 5}}",
        "{generate: {max_tokens: 3, temperature: 1.3, top_p: 0.8, presence_penalty: 0.7}}",
        "{generate: {max_tokens: 3, min_p: 0.1, repetition_penalty: 1.5, logit_bias: {4: 1.5}}}",
    };
    static int64_t without[CELLS], with[CELLS], own[CELLS];
    const int64_t texts = 800;
    pair p;
    open_pair(&p, "distribution");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        (void)count_texts(&p, p.s.teacher, NULL, ways[i], texts, without);
        (void)count_texts(&p, p.s.teacher, p.draft, ways[i], texts, with);
        (void)count_texts(&p, p.draft, NULL, ways[i], texts, own);
        const double off = deviation(without, with), seen = deviation(without, own);
        fprintf(stderr, "way %d: %.2f standard deviations; the draft alone %.1f\n", (int)i, off, seen);
        CHECK(off < 5);
        CHECK(seen > 15);
    }
    close_pair(&p);
}

/* How many are proposed hangs on what was accepted before: texts whose beginning was refused go on without. A draft of
 * one block of five is cheap enough for that. */
TEST(drawn_texts_have_the_distribution_adaptively)
{
    static const char *const way = "{generate: {max_tokens: 8, temperature: 0.9}, session: {draft_adaptive: true}}";
    static int64_t without[CELLS], with[CELLS], own[CELLS];
    const int64_t texts = 800;
    pair p;
    open_scene(&p.s, "adaptive_distribution");
    open_draft(&p, 1);
    /* in fp32 a row more to verify costs more: one for each text that does not end at once */
    const int64_t least = p.s.f.backend->precisions & 1u << DK_PRECISION_BF16 ? texts : texts * 9 / 10;
    (void)count_texts(&p, p.s.teacher, NULL, way, texts, without);
    const int64_t drafted = count_texts(&p, p.s.teacher, p.draft, way, texts, with);
    (void)count_texts(&p, p.draft, NULL, way, texts, own);
    const double off = deviation(without, with), seen = deviation(without, own);
    fprintf(stderr, "%.2f standard deviations, %d proposals; the draft alone %.1f\n", off, (int)drafted, seen);
    CHECK(off < 5);
    CHECK(seen > 15);
    CHECK(drafted > least && drafted < 3 * texts); /* one at first; more where that was accepted */
    close_pair(&p);
}

/* ---- attention that looks back so far only ---- */

/* A window of 9 tokens, in texts of 70: what refused proposals leave behind is neither seen nor missed. */
TEST(windows_that_slide)
{
    static const char *const ways[] = {
        "{generate: {max_tokens: 64, temperature: 0, logit_bias: {2: -30}}, session: {draft_tokens: 6}}",
        "{generate: {max_tokens: 64, temperature: 0, logit_bias: {2: -30}}, session: {draft_tokens: 3, "
        "draft_adaptive: true}}"};
    char text[512];
    pair p;
    memset(&p, 0, sizeof p);
    open_fixture(&p.s.f, "sliding");
    snprintf(
        text, sizeof text,
        "{\"model_type\": \"mistral\", \"vocab_size\": %d, \"hidden_size\": 16, \"num_hidden_layers\": 5, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 24, \"sliding_window\": 9, "
        "\"max_position_embeddings\": 96, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": true, "
        "\"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2}",
        TINY_VOCAB);
    put_text(p.s.f.config, text);
    open_models(&p.s);
    for (int64_t blocks = 1; blocks <= 4; blocks += 3) {
        int64_t accepted = 0, drafted = 0;
        open_draft(&p, blocks);
        for (int32_t first = 0; first < 5; first++)
            for (int i = 0; i < 2; i++) {
                dk_error err = {0};
                di_stream *stream = open_drafted(&p, p.draft, ways[i]);
                CHECK_OK(di_stream_append(stream, tiny_ids + first, 6, &err));
                const heard got = answer(stream), want = undrafted(&p, first, 6, ways[i]);
                same(&got, &want);
                accepted += stats_of(stream).accepted, drafted += stats_of(stream).drafted;
                CHECK_OK(di_stream_truncate(stream, 20, &err)); /* within the answer */
                int64_t count;
                const int32_t *ids = di_stream_ids(stream, &count);
                const heard then = generated(&p.s, ids, count, "{generate: {max_tokens: 40, temperature: 0}}");
                configure(&p, stream, "{generate: {max_tokens: 40, temperature: 0}}");
                const heard rest = answer(stream);
                same(&rest, &then);
                di_stream_free(stream);
            }
        CHECK(accepted > 0 && accepted < drafted);
        di_teacher_release(p.draft);
        dk_model_free(p.small);
    }
    p.draft = NULL, p.small = NULL;
    close_pair(&p);
}

/* ---- how many ---- */

static distill_session_stats adaptive(pair *p, di_teacher *draft, int64_t tokens, int64_t seed, heard *out)
{
    char yaml[200];
    dk_error err = {0};
    snprintf(yaml, sizeof yaml,
             "{generate: {max_tokens: 48, temperature: %s}, session: {draft_tokens: %d, draft_adaptive: true}}",
             seed ? "1.0" : "0", (int)tokens);
    di_stream *stream = open_drafted(p, draft, yaml);
    CHECK_OK(di_stream_append(stream, tiny_ids, 5, &err));
    *out = answer(stream);
    for (int again = 0; again < 2; again++) { /* what was learnt before changes nothing */
        CHECK_OK(di_stream_truncate(stream, again ? 0 : 5, &err));
        if (again) CHECK_OK(di_stream_append(stream, tiny_ids, 5, &err));
        const heard h = answer(stream);
        same(&h, out);
    }
    const distill_session_stats stats = stats_of(stream); /* of the last text: truncate(0) */
    di_stream_free(stream);
    return stats;
}

/* One as large as the model never pays, however right it is; another one changes no greedy text. */
TEST(as_many_as_pay)
{
    pair p;
    heard got;
    open_pair(&p, "as_many_as_pay");
    const heard want = undrafted(&p, 0, 5, "{generate: {max_tokens: 48, temperature: 0}}");
    for (int64_t tokens = 1; tokens < 9; tokens *= 2) {
        CHECK_INT(adaptive(&p, p.s.teacher, tokens, 0, &got).drafted, 0);
        same(&got, &want);
        const distill_session_stats stats = adaptive(&p, p.draft, tokens, 0, &got);
        same(&got, &want);
        CHECK(stats.accepted <= stats.drafted);
        (void)adaptive(&p, p.draft, tokens, 1, &got);
    }
    close_pair(&p);
}

/* ---- what is refused ---- */

TEST(refused)
{
    pair p;
    dk_error err = {0};
    di_stream *stream = NULL;
    fixture f;
    open_pair(&p, "refused_draft");
    open_fixture(&f, "other_env");
    dk_model *model = fresh_model(&f);
    di_teacher *other = NULL;
    CHECK_OK(di_teacher_from_model(f.backend, model, NULL, NULL, NULL, NULL, &other, &err));
    CHECK_INT(di_stream_create(p.s.teacher, other, NULL, &stream, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "another env");
    CHECK(!stream);
    di_teacher_release(other);
    dk_tokenizer *words = NULL; /* as many ids, one of which is another text */
    CHECK_OK(tiny_tokenizer_ending(&p.s.f, "q", &words, &err));
    CHECK_OK(di_teacher_from_model(p.s.f.backend, p.small, words, NULL, NULL, NULL, &other, &err));
    CHECK_INT(di_stream_create(p.s.teacher, other, NULL, &stream, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "the draft");
    CHECK_HAS(err.message, "28");
    CHECK(!stream);
    di_teacher_release(other);
    dk_tokenizer_release(words);
    dk_model_free(model);
    close_fixture(&f);
    close_pair(&p);
}

TEST_MAIN(TEST_CASE(greedy_texts_are_the_same) TEST_CASE(turns_and_forks) TEST_CASE(drawn_texts_have_the_distribution)
              TEST_CASE(drawn_texts_have_the_distribution_adaptively) TEST_CASE(windows_that_slide)
                  TEST_CASE(as_many_as_pay) TEST_CASE(refused))
