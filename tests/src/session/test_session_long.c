/* Prompts of several pieces, keys and values in bf16, and rotations that hang on the length of the text. */
#include "session_fixture.h"

enum { LONG = 600, CONTEXT = 1000, ORIGINAL = 300 };

static int32_t ids[LONG];

static void open_long(scene *s, const char *name, const char *more)
{
    char text[1024];
    memset(s, 0, sizeof *s);
    open_fixture(&s->f, name);
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"vocab_size\": %d, \"hidden_size\": 16, \"num_hidden_layers\": 3, "
             "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 24, "
             "\"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, %s "
             "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2}",
             TINY_VOCAB, CONTEXT, more);
    put_text(s->f.config, text);
    open_models(s);
    for (int64_t i = 0; i < LONG; i++) ids[i] = (int32_t)(3 + (i * 7919 + i * i % 13) % (TINY_VOCAB - 3));
}

static void append(di_stream *stream, int64_t first, int64_t count)
{
    dk_error err = {0};
    CHECK_OK(di_stream_append(stream, ids + first, count, &err));
}

static const char *const ways[] = {"generate: {max_tokens: 30, temperature: 0}", "generate: {max_tokens: 30, seed: 5}"};

/* Pieces of 256: whole ones, one more and one less, and turns that begin inside of one. */
TEST(prompts_of_several_pieces)
{
    static const int64_t lengths[] = {255, 256, 257, 512, 600};
    scene s;
    dk_error err;
    open_long(&s, "pieces", "");
    for (int i = 0; i < 10; i++) {
        di_stream *stream = open_stream(&s, ways[i % 2]);
        const int64_t length = lengths[i / 2];
        append(stream, 0, length);
        const heard got = answer(stream), want = generated(&s, ids, length, ways[i % 2]);
        same(&got, &want);
        CHECK_OK(di_stream_truncate(stream, length - 100, &err));
        append(stream, 0, 100);
        int64_t count;
        const int32_t *stands = di_stream_ids(stream, &count);
        const heard then = generated(&s, stands, count, ways[i % 2]), second = answer(stream);
        same(&second, &then);
        if (s.f.backend->invariant_rows == INT64_MAX) CHECK_INT(stats_of(stream).kept_tokens, length - 100);
        di_stream_free(stream);
    }
    close_scene(&s);
}

/* A short text that grows over its first range is read anew with other rotations; one that does not is kept. */
TEST(longrope)
{
    char more[256];
    scene s;
    dk_error err;
    snprintf(more, sizeof more,
             "\"original_max_position_embeddings\": %d, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": "
             "[1.0, 1.5], \"long_factor\": [1.2, 4.0]},",
             ORIGINAL);
    open_long(&s, "longrope", more);
    for (int i = 0; i < 2; i++) {
        di_stream *stream = open_stream(&s, ways[i]), *fork = NULL;
        int64_t count, before = 0;
        CHECK_OK(di_stream_truncate(stream, 0, &err));
        for (int64_t at = 0; at < LONG; at += 150) {
            append(stream, at, 150);
            const int32_t *stands = di_stream_ids(stream, &count);
            const heard want = generated(&s, stands, count, ways[i]), got = answer(stream);
            same(&got, &want);
            const int64_t kept = stats_of(stream).kept_tokens - before;
            before += kept;
            if (s.f.backend->invariant_rows < INT64_MAX) continue;
            if (at == 150) CHECK_INT(kept, 0); /* 150 and 30 are within the first range, 330 are not */
            if (at > 150) CHECK(kept >= count - 151);
        }
        di_stream_free(stream);
        stream = open_stream(&s, "{generate: {max_tokens: 30, temperature: 0}, session: {places: 2}}");
        append(stream, 0, 400);
        (void)answer(stream);
        CHECK_OK(di_stream_fork(stream, &fork, &err));
        CHECK_OK(di_stream_truncate(fork, 100, &err)); /* of a long text, and short now */
        const heard got = answer(fork), want = generated(&s, ids, 100, ways[0]);
        same(&got, &want);
        di_stream_free(fork);
        di_stream_free(stream);
    }
    close_scene(&s);
}

/* Rounded keys and values: the text does not hang on pieces, turns and forks there, either. */
TEST(keys_and_values_in_bf16)
{
    static const char *const way = "{generate: {max_tokens: 30, temperature: 0}, session: {cache_type: bf16}}";
    scene s;
    dk_error err;
    open_long(&s, "bf16", "");
    for (int64_t length = 200; length <= LONG; length += 200) {
        di_stream *whole = open_stream(&s, way), *parts = open_stream(&s, way);
        append(whole, 0, length);
        const heard want = answer(whole), exact = generated(&s, ids, length, ways[0]);
        append(parts, 0, length / 2);
        (void)answer(parts);
        CHECK_OK(di_stream_truncate(parts, length / 2, &err));
        append(parts, length / 2, length - length / 2);
        const heard got = answer(parts);
        same(&got, &want);
        CHECK_NEAR(want.log_probs[0], exact.log_probs[0], 0.1);
        di_stream_free(whole);
        di_stream_free(parts);
    }
    close_scene(&s);
}

TEST_MAIN(TEST_CASE(prompts_of_several_pieces) TEST_CASE(longrope) TEST_CASE(keys_and_values_in_bf16))
