/* Some ids of a tokenizer: texts of kept tokens have the same ones, all other texts come back byte for byte. */
#include "base/file.h"
#include "test.h"
#include "text/tokenizer.h"

static dk_host *host;
static dk_error err;

static dk_tokenizer *opened(const char *folder)
{
    dk_tokenizer *tok = NULL;
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    if (dk_tokenizer_open(host, folder, &tok, &err)) FAIL("%s", err.message);
    return tok;
}

static int64_t encode(const dk_tokenizer *tok, const char *text, int32_t *ids)
{
    int64_t count = 0;
    CHECK_OK(dk_tokenizer_encode(tok, text, strlen(text), DK_ENCODE_SPECIAL, ids, 4096, &count, &err));
    return count;
}

/* The ids of the first texts, and what they need. */
static int64_t *kept_of(const dk_tokenizer *tok, const char *const *texts, int count, int64_t *kept_count)
{
    static int32_t ids[4096];
    const int64_t size = dk_tokenizer_vocab_size(tok);
    uint8_t *kept = calloc((size_t)size, 1);
    int64_t *out = malloc((size_t)size * sizeof *out);
    for (int i = 0; i < count; i++)
        for (int64_t k = encode(tok, texts[i], ids); k-- > 0;) kept[ids[k]] = 1;
    CHECK_OK(dk_tokenizer_close_over(tok, kept, &err));
    *kept_count = 0;
    for (int64_t id = 0; id < size; id++)
        if (kept[id]) out[(*kept_count)++] = id;
    free(kept);
    return out;
}

static const char *const texts[] = {"the thing that is in the inn, and then the man",
                                    "a small domesticated animal; of or relating to water",
                                    "the quality of being able to move quickly and easily",
                                    "Vasco da Gama, 1498: r\xc3\xa9sum\xc3\xa9 \xe6\xb0\xb4 \xf0\x9f\x90\x9f \t\n  x",
                                    "unrelated extraordinarily zymurgy <|endoftext|> \xff\xfe"};
enum { TEXTS = sizeof texts / sizeof *texts, KNOWN = 3 };

static void check_folder(const char *folder)
{
    static int32_t old[4096], new[4096];
    dk_tokenizer *tok = opened(folder), *trimmed = NULL, *again = NULL;
    int64_t count = 0;
    char copy[1024];
    REQUIRE(tok);
    int64_t *ids = kept_of(tok, texts, KNOWN, &count);
    CHECK(count < dk_tokenizer_vocab_size(tok));
    REQUIRE_OK(dk_tokenizer_trim(tok, ids, count, &trimmed, &err));
    CHECK_INT(dk_tokenizer_vocab_size(trimmed), count);
    for (int i = 0; i < TEXTS; i++) {
        const int64_t was = encode(tok, texts[i], old), is = encode(trimmed, texts[i], new);
        int whole = was == is;
        for (int64_t k = 0; k < was && whole; k++) whole = ids[new[k]] == old[k];
        CHECK(whole || i >= KNOWN);
        char back[2][8192];
        size_t size[2];
        CHECK_OK(dk_tokenizer_decode(tok, old, was, 0, back[0], sizeof back[0], &size[0], &err));
        CHECK_OK(dk_tokenizer_decode(trimmed, new, is, 0, back[1], sizeof back[1], &size[1], &err));
        CHECK(size[0] == size[1] && memcmp(back[0], back[1], size[0]) == 0);
    }
    CHECK(dk_tokenizer_eos(tok) < 0 || ids[dk_tokenizer_eos(trimmed)] == dk_tokenizer_eos(tok));
    snprintf(copy, sizeof copy, "%s", test_folder("trimmed"));
    CHECK_OK(dk_tokenizer_save(trimmed, copy, &err)); /* what is saved is the same tokenizer */
    again = opened(copy);
    REQUIRE(again);
    uint8_t a[32], b[32];
    dk_tokenizer_hash(trimmed, a);
    dk_tokenizer_hash(again, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    dk_tokenizer_release(again);
    dk_tokenizer_release(trimmed);
    dk_tokenizer_release(tok);
    free(ids);
}

TEST(byte_level) { check_folder(TEST_DATA "/../../examples/quickstart/teacher"); }

TEST(of_real_models)
{
    const char *assets = test_assets();
    static const char *const names[] = {"gpt2", "mistral_nemo", "qwen2_5", "qwen3"};
    char folder[1024];
    int found = 0;
    for (size_t i = 0; assets && i < sizeof names / sizeof *names; i++) {
        snprintf(folder, sizeof folder, "%s/tokenizers/%s", assets, names[i]);
        if (dk_path_exists(test_path(folder, "tokenizer.json")) != 1) continue;
        check_folder(folder);
        found++;
    }
    if (!found) SKIP("no tokenizers of real models here");
}

TEST(refusals)
{
    static const int64_t twice[2] = {5, 5};
    dk_tokenizer *tok = opened(TEST_DATA "/../../examples/quickstart/teacher"), *out = NULL;
    REQUIRE(tok);
    CHECK_INT(dk_tokenizer_trim(tok, twice, 2, &out, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "ids: 5 is not behind the one before it");
    CHECK(!out);
    dk_tokenizer_release(tok);
}

TEST_MAIN(TEST_CASE(byte_level) TEST_CASE(of_real_models) TEST_CASE(refusals))
