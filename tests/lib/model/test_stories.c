/* A published model from its GGUF file, tokenizer included, writes the text that its authors show. */
#include "format/checkpoint.h"
#include "format/open_tokenizer.h"
#include "test_model.h"

typedef struct story {
    int32_t ids[300];
    int64_t count;
} story;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    story *s = user;
    (void)sequence, (void)log_prob, (void)finished;
    s->ids[s->count++] = id;
    return 0;
}

static const char expected[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
    "big, red ball. "
    "She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, \"I want to "
    "play with your ball, "
    "but I can't find it.\"\n"
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\n"
    "Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, "
    "\"Don't worry, Lily. We can help you.";

static void check_story(backend_kind kind, const char *path)
{
    fixture f;
    dk_error err = {0};
    dk_tokenizer *tok = NULL;
    dk_strbuf text;
    if (!fixture_open(&f, kind, path)) return;
    REQUIRE_OK(dk_open_tokenizer(f.host, path, &tok, &err));
    const int32_t bos[] = {(int32_t)dk_tokenizer_bos(tok)};
    const int64_t offsets[] = {0, 1};
    dk_tokens prompt = {.ids = bos, .offsets = offsets, .sequences = 1};
    story s = {.count = 0};
    dk_generate_args args = {
        .max_tokens = kind == ON_CPU ? 256 : 64, .temperature = 0, .top_p = 1, .emit = on_token, .user = &s};
    CHECK_OK(dk_generate(f.model, &prompt, &args, &err));
    dk_strbuf_init(&text, f.host);
    CHECK_OK(dk_tokenizer_decode_to(tok, s.ids, s.count, DK_DECODE_SKIP_SPECIAL, &text, &err));
    dk_strbuf_puts(&text, "");
    const char *got = text.data + (text.data[0] == ' ');
    size_t length = strlen(got) < strlen(expected) ? strlen(got) : strlen(expected);
    CHECK(length > 150);
    if (strncmp(got, expected, length) != 0) FAIL("%s wrote: %s", backend_names[kind], got);
    dk_strbuf_free(&text);
    dk_tokenizer_release(tok);
    fixture_end(&f);
}

TEST(stories260K)
{
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    const char *path = test_path(test_assets(), "models/stories260K/stories260K.f32.gguf");
    check_story(ON_CPU, path);
    check_story(ON_F64, path);
}

TEST_MAIN(TEST_CASE(stories260K))
