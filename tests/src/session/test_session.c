/* A session writes what the model writes behind the same ids, whatever stood in it before. */
#include "session_fixture.h"

static const char *const sections[] = {
    "generate: {max_tokens: 20, temperature: 0}",
    "generate: {max_tokens: 40, seed: 5}",
    "generate: {max_tokens: 30, seed: 6, temperature: 0.8, top_k: 9, top_p: 0.9}",
    "generate: {max_tokens: 30, seed: 7, repetition_penalty: 1.3, presence_penalty: 0.4, logit_bias: {5: 1, 9: -2}}",
    "generate: {max_tokens: 30, seed: 8, min_p: 0.05, stop: [ab, \" the\"], stop_ids: [17]}",
    "generate: {max_tokens: 30, seed: 9, quantized: exact}",
};
enum { SECTIONS = sizeof sections / sizeof *sections };

TEST(writes_what_the_model_writes)
{
    scene s;
    open_scene(&s, "same");
    for (int i = 0; i < SECTIONS; i++) {
        di_stream *stream = open_stream(&s, sections[i]);
        dk_error err;
        CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
        const heard got = answer(stream), want = generated(&s, tiny_ids, 7, sections[i]);
        CHECK(want.count > 0);
        same(&got, &want);
        di_stream_free(stream);
    }
    close_scene(&s);
}

/* Behind an answer, behind a cut, behind another prompt: always the text of a fresh one. */
TEST(what_stands_is_kept)
{
    scene s;
    dk_error err;
    open_scene(&s, "kept");
    for (int i = 0; i < SECTIONS; i++) {
        di_stream *stream = open_stream(&s, sections[i]);
        int64_t count = 0, prompts = 0, before = 0;
        for (int turn = 0; turn < 3; turn++) {
            CHECK_OK(di_stream_append(stream, tiny_ids + 7, 4, &err));
            const int32_t *ids = di_stream_ids(stream, &count);
            if (count > 50) break;
            const heard want = generated(&s, ids, count, sections[i]), got = answer(stream);
            same(&got, &want);
            prompts += count;
            const distill_session_stats stats = stats_of(stream);
            CHECK_INT(stats.prompt_tokens, prompts);
            if (turn && rows_are_alike(&s)) /* the last one of an answer is not read yet */
                CHECK(stats.kept_tokens >= before + count - 5);
            before = stats.kept_tokens;
            CHECK_OK(di_stream_truncate(stream, count + 2 < stats.length ? count + 2 : count, &err));
        }
        di_stream_free(stream);
    }
    close_scene(&s);
}

TEST(ends)
{
    scene s;
    dk_error err;
    const distill_token *token = NULL;
    open_scene(&s, "ends");
    di_stream *stream = open_stream(&s, "{generate: {max_tokens: 3, temperature: 0}, session: {context: 12}}");
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_STAGE);
    CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
    heard got = answer(stream);
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_END);
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_END);
    CHECK_OK(di_stream_append(stream, NULL, 0, &err)); /* goes on */
    got = answer(stream);
    CHECK_INT(got.count, 3);
    CHECK_INT(stats_of(stream).length, 13); /* one behind the context */
    CHECK_INT(di_stream_append(stream, tiny_ids, 1, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "room for 12 tokens, of which 13 are taken");
    CHECK_OK(di_stream_truncate(stream, 13, &err));
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "context of 12 tokens is full");
    CHECK_OK(di_stream_truncate(stream, 12, &err));
    got = answer(stream);
    CHECK_INT(got.count, 1);
    CHECK_INT(got.finished, 2);
    CHECK_OK(di_stream_truncate(stream, 0, &err));
    CHECK_INT(stats_of(stream).tokens, 0);
    CHECK_INT(di_stream_append(stream, (int32_t[]){1, TINY_VOCAB}, 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "ids[1] is 29, not in [0, 29)");
    CHECK_INT(stats_of(stream).length, 0);
    CHECK_INT(di_stream_truncate(stream, 1, &err), DK_E_INVALID);
    di_stream_free(stream);
    close_scene(&s);
}

TEST(cancelled)
{
    scene s;
    dk_error err;
    const distill_token *token = NULL;
    open_scene(&s, "cancelled");
    di_stream *stream = open_stream(&s, sections[1]);
    CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
    CHECK_OK(di_stream_next(stream, &token, &err));
    di_stream_cancel(stream, 1);
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_CANCELLED);
    di_stream_cancel(stream, 0);
    CHECK_INT(di_stream_next(stream, &token, &err), DK_E_END);
    CHECK_OK(di_stream_truncate(stream, 7, &err));
    const heard got = answer(stream), want = generated(&s, tiny_ids, 7, sections[1]);
    same(&got, &want);
    di_stream_free(stream);
    close_scene(&s);
}

/* Another way to write, from the next answer on. */
TEST(configured)
{
    scene s;
    dk_error err;
    open_scene(&s, "configured");
    di_stream *stream = open_stream(&s, sections[0]);
    for (int i = 0; i < SECTIONS; i++) {
        di_options *options = options_of(&s, sections[i]);
        CHECK_OK(di_stream_truncate(stream, 0, &err));
        const int32_t rc = di_stream_configure(stream, options, &err);
        if (i == 5 && rows_are_alike(&s)) { /* keys and values are of another precision */
            CHECK_INT(rc, DK_E_OPTION);
        } else {
            CHECK_OK(rc);
            CHECK_OK(di_stream_append(stream, tiny_ids, 7, &err));
            const heard got = answer(stream), want = generated(&s, tiny_ids, 7, sections[i]);
            same(&got, &want);
        }
        di_options_free(options);
    }
    di_options *options = options_of(&s, "generate: {cache_type: bf16}"); /* which is for answers without a session */
    CHECK_INT(di_stream_configure(stream, options, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "session.cache_type says what a session keeps its keys and values in");
    di_options_free(options);
    di_stream_free(stream);
    close_scene(&s);
}

/* ---- conversations ---- */

static const char *const template_text =
    "\"chat_template\": \"{% for m in messages %}{{ '<s>' + m.role[0] + m.content + '</s>' }}{% endfor %}{% if "
    "add_generation_prompt %}{{ '<s>a' }}{% endif %}\"";

static int32_t talk(di_stream *stream, const char *messages, dk_error *err)
{
    char json[4096];
    snprintf(json, sizeof json, "{\"messages\": [%s], %s}", messages, template_text);
    return di_stream_chat(stream, json, 1, 0, err);
}

TEST(conversations)
{
    scene s;
    dk_error err;
    int64_t count = 0, second = 0;
    const char *section = "generate: {max_tokens: 6, seed: 3, stop_ids: [2]}";
    open_scene(&s, "conversations");
    di_stream *stream = open_stream(&s, section), *fresh = open_stream(&s, section);
    CHECK_OK(talk(stream, "{\"role\": \"user\", \"content\": \"abc\"}", &err));
    di_stream_ids(stream, &count);
    heard got = answer(stream);
    CHECK(got.count > 0);
    const char *two = "{\"role\": \"user\", \"content\": \"abc\"}, {\"role\": \"assistant\", \"content\": \"b\"}, "
                      "{\"role\": \"user\", \"content\": \"the\"}";
    CHECK_OK(talk(stream, two, &err));
    CHECK_OK(talk(fresh, two, &err));
    const heard a = answer(stream), b = answer(fresh);
    same(&a, &b);
    di_stream_ids(fresh, &second);
    if (rows_are_alike(&s)) CHECK(stats_of(stream).kept_tokens >= count - 1);
    CHECK_INT(stats_of(fresh).kept_tokens, 0);
    CHECK(talk(stream, "{\"role\": \"user\"}", &err) != DK_OK);
    CHECK(di_stream_chat(stream, "[{]", 1, 0, &err) != DK_OK);
    CHECK_INT(stats_of(stream).length, second); /* as it was */
    di_stream_free(stream);
    di_stream_free(fresh);
    close_scene(&s);
}

static const char *const long_talk = "{\"role\": \"system\", \"content\": \"h\"}, {\"role\": \"user\", \"content\": "
                                     "\"abc\"}, {\"role\": \"assistant\", \"content\": \"defg\"}, {\"role\": "
                                     "\"user\", \"content\": \"efg\"}, {\"role\": \"assistant\", \"content\": "
                                     "\"hijk\"}, {\"role\": \"user\", \"content\": \"lmn\"}";

TEST(too_long_conversations)
{
    scene s;
    dk_error err;
    open_scene(&s, "too_long");
    di_stream *strict = open_stream(&s, "{generate: {max_tokens: 4}, session: {context: 24}}"),
              *lenient = open_stream(&s, "{generate: {max_tokens: 4}, session: {context: 24, overflow: oldest}}"),
              *whole = open_stream(&s, "{generate: {max_tokens: 4}, session: {context: 64, overflow: oldest}}");
    CHECK_INT(talk(strict, long_talk, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "let session.overflow be oldest");
    CHECK_INT(stats_of(strict).length, 0);
    CHECK_OK(talk(lenient, long_talk, &err));
    CHECK_INT(stats_of(lenient).dropped_messages, 4);
    CHECK_OK(
        talk(strict, "{\"role\": \"system\", \"content\": \"h\"}, {\"role\": \"user\", \"content\": \"lmn\"}", &err));
    const heard a = answer(lenient), b = answer(strict);
    same(&a, &b);
    CHECK_OK(talk(whole, long_talk, &err));
    CHECK_INT(stats_of(whole).dropped_messages, 0);
    CHECK_OK(talk(lenient, "{\"role\": \"user\", \"content\": \"abc\"}", &err));
    CHECK_INT(stats_of(lenient).dropped_messages, 0);
    CHECK_INT(talk(lenient, "{\"role\": \"user\", \"content\": \"abcdefghijklmnopabcdefghijklmnop\"}", &err),
              DK_E_INVALID);
    CHECK_HAS(err.message, "the last turn of the conversation has");
    di_stream_free(strict);
    di_stream_free(lenient);
    di_stream_free(whole);
    close_scene(&s);
}

/* Messages [first, count) behind what the system says: user and assistant in turns, all as long. */
static void messages_of(char *out, size_t size, int64_t first, int64_t count)
{
    size_t n = (size_t)snprintf(out, size, "{\"role\": \"system\", \"content\": \"h\"}");
    for (int64_t i = first; i < count; i++)
        n += (size_t)snprintf(out + n, size - n, ", {\"role\": \"%s\", \"content\": \"%c%c\"}",
                              i % 2 ? "assistant" : "user", (char)('a' + i % 16), (char)('a' + i / 2 % 16));
}

/* A conversation that grows is full again and again. Each time more is left out, and it goes on as one that begins
 * with what is left; in between the same is left out, and what stands is not read again. */
TEST(conversations_that_grow)
{
    static const char *const section = "{generate: {max_tokens: 4, seed: 9}, session: {context: 44, overflow: oldest}}";
    scene s;
    dk_error err;
    int64_t before = 0, changes = 0, kept = 0;
    char messages[2000];
    open_scene(&s, "growing");
    di_stream *stream = open_stream(&s, section);
    for (int64_t count = 1; count < 30; count += 2) {
        messages_of(messages, sizeof messages, 0, count);
        CHECK_OK(talk(stream, messages, &err));
        const int64_t dropped = stats_of(stream).dropped_messages;
        CHECK(dropped >= before && dropped % 2 == 0 && dropped < count);
        di_stream *fresh = open_stream(&s, section);
        messages_of(messages, sizeof messages, dropped, count);
        CHECK_OK(talk(fresh, messages, &err));
        CHECK_INT(stats_of(fresh).dropped_messages, 0);
        const heard a = answer(stream), b = answer(fresh);
        same(&a, &b);
        if (count > 1 && dropped == before && rows_are_alike(&s)) CHECK(stats_of(stream).kept_tokens > kept + 5);
        kept = stats_of(stream).kept_tokens;
        changes += dropped > before;
        before = dropped;
        di_stream_free(fresh);
    }
    CHECK(changes >= 2);
    di_stream_free(stream);
    close_scene(&s);
}

/* ---- what is refused ---- */

static void check_refused(scene *s, const char *yaml, const char *message)
{
    di_options *options = options_of(s, yaml);
    di_stream *stream = NULL;
    dk_error err = {0};
    CHECK(di_stream_create(s->teacher, NULL, options, &stream, &err) != DK_OK);
    CHECK_HAS(err.message, message);
    CHECK(!stream);
    di_options_free(options);
}

static int32_t say_nothing(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    (void)user, (void)batch, (void)first, (void)count, (void)out;
    return DISTILL_CB_OK;
}

TEST(refused)
{
    scene s;
    dk_error err;
    di_stream *stream = NULL;
    open_scene(&s, "refused");
    check_refused(&s, "generate: {samples: 2}", "fork it");
    check_refused(&s, "session: {context: 65}", "the model's context ends at 64");
    check_refused(&s, "generate: {stop: [\"\"]}", "an empty text would end every answer");
    check_refused(&s, "generate: {top_logprobs: 30}", "30 of a model that draws from 29 ids");
    di_teacher *voice = fixture_voice(&s.f, say_nothing, NULL, 0);
    CHECK_INT(di_stream_create(voice, NULL, NULL, &stream, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "a teacher of callbacks");
    di_teacher_release(voice);
    close_scene(&s);
}

TEST_MAIN(TEST_CASE(writes_what_the_model_writes) TEST_CASE(what_stands_is_kept) TEST_CASE(ends) TEST_CASE(cancelled)
              TEST_CASE(configured) TEST_CASE(conversations) TEST_CASE(too_long_conversations)
                  TEST_CASE(conversations_that_grow) TEST_CASE(refused))
