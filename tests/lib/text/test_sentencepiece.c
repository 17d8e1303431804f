/* tokenizer.model against SentencePiece itself, whose ids and texts are stored beside the models. */
#include "base/file.h"
#include "test.h"
#include "text/tokenizer.h"

static dk_host *host;
static dk_error err;
static const char *const names[] = {"sp_unigram", "sp_unigram_bytes", "sp_bpe", "sp_bpe_bytes"};
enum { MODELS = sizeof names / sizeof *names };

static dk_host *the_host(void)
{
    if (!host) dk_host_create(NULL, &host, &err);
    return host;
}

static char *read_model(const char *name, size_t *size)
{
    char file[64], *bytes = NULL;
    snprintf(file, sizeof file, "%s.model", name);
    if (dk_file_read(the_host(), test_path(TEST_DATA "/tokenizers", file), 1 << 20, &bytes, size, &err))
        FAIL("%s: %s", name, err.message);
    return bytes;
}

static dk_tokenizer *load(const char *name)
{
    size_t size = 0;
    dk_tokenizer *tok = NULL;
    char *bytes = read_model(name, &size);
    if (bytes && dk_tokenizer_from_model(host, name, bytes, size, &tok, &err)) FAIL("%s: %s", name, err.message);
    dk_free(host, bytes);
    return tok;
}

static dk_document *vectors(const char *name)
{
    char file[64];
    dk_document *doc = NULL;
    snprintf(file, sizeof file, "%s.vectors.json", name);
    CHECK_OK(dk_json_open(the_host(), test_path(TEST_DATA "/tokenizers", file), &doc, &err));
    return doc;
}

static void check_entry(const dk_tokenizer *tok, const dk_node *entry, const char *name)
{
    const dk_node *text = dk_node_get(entry, "text"), *want = dk_node_get(entry, "ids");
    const dk_node *back = dk_node_get(entry, "decoded");
    int32_t ids[4096];
    int64_t count = -1;
    char decoded[16384];
    size_t needed = 0;
    CHECK_OK(dk_tokenizer_encode(tok, text->text, text->size, DK_ENCODE_PLAIN, ids, 4096, &count, &err));
    if (count != (int64_t)want->size)
        FAIL("%s: '%.60s' has %lld ids, not %zu", name, text->text, (long long)count, want->size);
    for (int64_t i = 0; i < count && i < (int64_t)want->size; i++)
        if (ids[i] != want->items[i]->i64) {
            FAIL("%s: '%.60s': id %lld is %d, not %lld", name, text->text, (long long)i, ids[i],
                 (long long)want->items[i]->i64);
            return;
        }
    CHECK_OK(dk_tokenizer_decode(tok, ids, count, 0, decoded, sizeof decoded, &needed, &err));
    if (needed != back->size + 1 || memcmp(decoded, back->text, back->size) != 0)
        FAIL("%s: '%.60s' comes back as '%s', not '%s'", name, text->text, decoded, back->text);
}

TEST(ids_of_sentencepiece)
{
    for (int i = 0; i < MODELS; i++) {
        dk_tokenizer *tok = load(names[i]);
        dk_document *doc = vectors(names[i]);
        REQUIRE(tok && doc);
        const dk_node *list = dk_document_root(doc);
        CHECK(list->size > 60);
        for (size_t k = 0; k < list->size; k++) check_entry(tok, list->items[k], names[i]);
        dk_document_free(doc);
        dk_tokenizer_release(tok);
    }
}

TEST(bad_bytes)
{
    static const char text[] = "a\xff"
                               "b \xe2\x82";
    for (int i = 0; i < MODELS; i++) {
        dk_tokenizer *tok = load(names[i]);
        int32_t ids[64];
        int64_t count = 0;
        char back[64];
        size_t needed = 0;
        REQUIRE(tok);
        CHECK_OK(dk_tokenizer_encode(tok, text, sizeof text - 1, 0, ids, 64, &count, &err));
        CHECK_OK(dk_tokenizer_decode(tok, ids, count, 0, back, sizeof back, &needed, &err));
        if (strstr(names[i], "bytes")) CHECK_STR(back, text);
        dk_tokenizer_release(tok);
    }
}

/* ---- folders: what is beside the model says what stands around a text ---- */
static dk_tokenizer *in_folder(const char *name, const char *config, int32_t code, const char *message)
{
    size_t size;
    dk_tokenizer *tok = NULL;
    const char *folder = test_folder("text_sentencepiece");
    char *bytes = read_model(name, &size);
    CHECK_OK(dk_file_replace(host, test_path(folder, "tokenizer.model"), bytes, size, &err));
    CHECK_OK(dk_file_replace(host, test_path(folder, "tokenizer_config.json"), config, strlen(config), &err));
    dk_free(host, bytes);
    CHECK_INT(dk_tokenizer_open(host, folder, &tok, &err), code);
    if (message) CHECK_HAS(err.message, message);
    return tok;
}

static int64_t first_id(const dk_tokenizer *tok, int64_t *last)
{
    int32_t ids[64];
    int64_t count = 0;
    CHECK_OK(dk_tokenizer_encode(tok, "the", 3, DK_ENCODE_SPECIAL, ids, 64, &count, &err));
    *last = ids[count - 1];
    return ids[0];
}

TEST(folders)
{
    int64_t last;
    dk_tokenizer *tok = in_folder("sp_bpe", "{\"tokenizer_class\":\"LlamaTokenizer\"}", DK_OK, NULL);
    REQUIRE(tok);
    CHECK_INT(first_id(tok, &last), dk_tokenizer_bos(tok));
    CHECK(last != dk_tokenizer_eos(tok));
    dk_tokenizer_release(tok);
    tok = in_folder("sp_unigram",
                    "{\"tokenizer_class\":\"T5Tokenizer\",\"added_tokens_decoder\":{\"95\":{\"content\":"
                    "\"<extra>\",\"special\":true}}}",
                    DK_OK, NULL);
    REQUIRE(tok);
    CHECK(first_id(tok, &last) != dk_tokenizer_bos(tok));
    CHECK_INT(last, dk_tokenizer_eos(tok));
    CHECK_INT(dk_tokenizer_text_id(tok, "<extra>", 7), 95);
    dk_tokenizer_release(tok);
    tok = in_folder("sp_bpe", "{\"tokenizer_class\":\"LlamaTokenizer\",\"add_bos_token\":false,\"add_eos_token\":true}",
                    DK_OK, NULL);
    REQUIRE(tok);
    CHECK(first_id(tok, &last) != dk_tokenizer_bos(tok));
    CHECK_INT(last, dk_tokenizer_eos(tok));
    dk_tokenizer_release(tok);
    in_folder("sp_unigram", "{\"tokenizer_class\":\"XLMRobertaTokenizer\"}", DK_E_UNSUPPORTED,
              "tokenizer_class XLMRobertaTokenizer has rules of its own");
}

static void check_marks(const dk_tokenizer *tok, const char *text, const char *config, const int32_t want[8])
{
    int32_t ids[64];
    int64_t count = 0, wanted = 0;
    while (wanted < 8 && want[wanted]) wanted++;
    CHECK_OK(dk_tokenizer_encode(tok, text, strlen(text), 0, ids, 64, &count, &err));
    if (count != wanted || memcmp(ids, want, (size_t)count * sizeof *ids) != 0)
        FAIL("%s: '%s' has %lld ids, the first is %d", config, text, (long long)count, ids[0]);
}

/* Where marks stand, with the ids of transformers 5.24: in front of every part, or of the first alone. */
TEST(legacy)
{
    static const char *const texts[] = {"the</s>the", "the <s>the", "<s> the", " the", "</s>the", "a  the"};
    static const struct {
        const char *model, *config;
        int32_t ids[6][8];
    } cases[] = {
        {"sp_bpe",
         "{\"tokenizer_class\":\"LlamaTokenizer\"}",
         {{8, 2, 276, 6}, {8, 274, 1, 276, 6}, {1, 8}, {8}, {2, 276, 6}, {5, 274, 8}}},
        {"sp_bpe",
         "{\"tokenizer_class\":\"LlamaTokenizer\",\"legacy\":true}",
         {{8, 2, 8}, {8, 274, 1, 8}, {1, 8}, {8}, {2, 8}, {5, 274, 8}}},
        {"sp_bpe",
         "{\"tokenizer_class\":\"LlamaTokenizer\",\"add_prefix_space\":false}",
         {{276, 6, 2, 276, 6}, {276, 6, 274, 1, 276, 6}, {1, 8}, {8}, {2, 276, 6}, {277, 274, 8}}},
        {"sp_bpe",
         "{\"tokenizer_class\":\"CodeLlamaTokenizer\",\"legacy\":true}",
         {{8, 2, 276, 6}, {8, 274, 1, 276, 6}, {1, 8}, {8}, {2, 276, 6}, {5, 274, 8}}},
        {"sp_bpe", "{\"legacy\":true}", {{8, 2, 8}, {8, 1, 8}, {1, 8}, {8}, {2, 8}, {5, 8}}},
        {"sp_bpe", "{\"legacy\":false}", {{8, 2, 276, 6}, {8, 1, 276, 6}, {1, 276, 6}, {276, 6}, {2, 276, 6}, {5, 8}}},
        {"sp_bpe_bytes", /* two spaces are a symbol of the user's, which no mark stands behind */
         "{\"tokenizer_class\":\"LlamaTokenizer\",\"legacy\":true}",
         {{270, 2, 270}, {270, 534, 1, 270}, {1, 270}, {270}, {2, 270}, {265, 3, 266}}},
        {"sp_unigram",
         "{\"legacy\":false}",
         {{10, 6, 2, 8, 35, 6}, {10, 6, 1, 8, 35, 6}, {1, 8, 35, 6}, {8, 35, 6}, {2, 8, 35, 6}, {11, 10, 6}}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dk_tokenizer *tok = in_folder(cases[i].model, cases[i].config, DK_OK, NULL), *again = NULL;
        const char *folder = test_folder("text_sentencepiece_legacy");
        REQUIRE(tok);
        REQUIRE_OK(dk_tokenizer_save(tok, folder, &err));
        REQUIRE_OK(dk_tokenizer_open(host, folder, &again, &err));
        for (size_t k = 0; k < 6; k++) check_marks(tok, texts[k], cases[i].config, cases[i].ids[k]);
        for (size_t k = 0; k < 6; k++) /* a symbol of the user's has other rules in a tokenizer.json */
            if (k < 5 || strcmp(cases[i].model, "sp_bpe_bytes") != 0)
                check_marks(again, texts[k], "saved", cases[i].ids[k]);
        dk_tokenizer_release(tok);
        dk_tokenizer_release(again);
    }
    dk_tokenizer *tok = in_folder("sp_unigram", "{\"tokenizer_class\":\"T5Tokenizer\",\"legacy\":false}", DK_OK, NULL);
    REQUIRE(tok);
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "legacy is not used, as its tokenizer_class does not");
    dk_tokenizer_release(tok);
    tok = in_folder("sp_bpe", "{\"tokenizer_class\":\"LlamaTokenizer\"}", DK_OK, NULL);
    REQUIRE(tok);
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "its tokenizer_class does not apply the model's charsmap");
    dk_tokenizer_release(tok);
}

/* A saved one keeps the model and gains a tokenizer.json with the same ids. */
TEST(saved)
{
    for (int i = 0; i < MODELS; i++) {
        const char *folder = test_folder("text_sentencepiece_saved");
        dk_tokenizer *tok = load(names[i]), *again = NULL;
        dk_document *doc = vectors(names[i]);
        int different = 0;
        REQUIRE(tok && doc);
        CHECK_OK(dk_tokenizer_save(tok, folder, &err));
        CHECK_INT(dk_path_exists(test_path(folder, "tokenizer.model")), 1);
        REQUIRE_OK(dk_tokenizer_open(host, folder, &again, &err));
        const dk_node *list = dk_document_root(doc);
        for (size_t k = 0; k < list->size; k++) {
            const dk_node *text = dk_node_get(list->items[k], "text");
            int32_t one[4096], two[4096];
            int64_t counts[2] = {0, 0};
            if (strstr(text->text, "\xe2\x96\x81") || strchr(text->text, '<'))
                continue; /* marks, symbols: other rules */
            CHECK_OK(dk_tokenizer_encode(tok, text->text, text->size, 0, one, 4096, &counts[0], &err));
            CHECK_OK(dk_tokenizer_encode(again, text->text, text->size, 0, two, 4096, &counts[1], &err));
            different += counts[0] != counts[1] || memcmp(one, two, (size_t)counts[0] * sizeof *one) != 0;
            if (counts[0] != counts[1] || memcmp(one, two, (size_t)counts[0] * sizeof *one) != 0)
                printf("%s: '%s' differs when saved\n", names[i], text->text);
        }
        CHECK_INT(different, 0);
        dk_document_free(doc);
        dk_tokenizer_release(tok);
        dk_tokenizer_release(again);
    }
}

/* ---- files that are wrong ---- */
TEST(errors)
{
    static const struct {
        const char *bytes;
        size_t size;
        int32_t code;
        const char *message;
    } cases[] = {
        {"", 0, DK_E_FORMAT, "has no pieces"},
        {"x", 1, DK_E_FORMAT, "a number that is cut off in the model"},
        {"\x0a\x05\x0a", 3, DK_E_FORMAT, "byte 2: a field that is longer than what is left in the model"},
        {"\x0b", 1, DK_E_FORMAT, "a field of a kind that is not known"},
        {"\x00\x00", 2, DK_E_FORMAT, "a field without a number"},
        {"\x08\x01", 2, DK_E_FORMAT, "field 1 of the model has wire type 0, must be 2"},
        {"\x0a\x02\x18\x09", 4, DK_E_FORMAT, "a type that is not 1 to 6 in a piece"},
        {"\x0a\x03\x0a\x01\x61", 5, DK_E_FORMAT, "has no piece of type UNKNOWN"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x0a\x05\x0a\x01\x62\x18\x02", 14, DK_E_FORMAT,
         "pieces 0 and 1 are both of type UNKNOWN"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x12\x02\x18\x03", 11, DK_E_UNSUPPORTED, "model_type WORD is not supported"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x12\x03\xc0\x01\x01", 12, DK_E_UNSUPPORTED, "treat_whitespace_as_suffix"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x12\x03\x98\x02\x01", 12, DK_E_FORMAT, "lacks some of the 256 byte tokens"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x1a\x02\x28\x00", 11, DK_E_UNSUPPORTED, "escape_whitespaces false"},
        {"\x0a\x05\x0a\x01\x61\x18\x02\x1a\x03\x12\x01\x00", 12, DK_E_FORMAT, "charsmap of 1 bytes"},
        {"\x0a\x0a\x0a\x01\x61\x15\x00\x00\xc0\x7f\x18\x02", 12, DK_E_FORMAT, "score of token 0 is not a finite"},
        {"\x0a\x05\x0a\x01\xff\x18\x02", 7, DK_E_FORMAT, "token 0 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dk_tokenizer *tok = NULL;
        int32_t rc = dk_tokenizer_from_model(the_host(), "m", cases[i].bytes, cases[i].size, &tok, &err);
        if (rc != cases[i].code) FAIL("case %zu gives %d (%s), not %d", i, rc, err.message, cases[i].code);
        CHECK_HAS(err.message, cases[i].message);
        CHECK(!tok);
    }
}

/* Every prefix of a file is refused or read, never more. */
TEST(truncated)
{
    size_t size;
    char *bytes = read_model("sp_bpe", &size);
    REQUIRE(bytes);
    for (size_t n = 0; n < size; n += n < 64 ? 1 : 97) {
        dk_tokenizer *tok = NULL;
        char *part = dk_alloc(host, n + 1, 1);
        memcpy(part, bytes, n);
        if (!dk_tokenizer_from_model(host, "m", part, n, &tok, &err)) dk_tokenizer_release(tok);
        dk_free(host, part);
    }
    dk_free(host, bytes);
}

TEST(unknown_fields_are_named)
{
    dk_tokenizer *tok = NULL;
    static const char bytes[] = "\x0a\x05\x0a\x01\x61\x18\x02\x1a\x03\xa0\x06\x01\x30\x01";
    REQUIRE_OK(dk_tokenizer_from_model(the_host(), "m", bytes, sizeof bytes - 1, &tok, &err));
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "m: not used: field 100 of normalizer_spec, field 6 of the model");
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "nothing beside it says what stands around a text");
    dk_tokenizer_release(tok);
}

static void add_piece(dk_strbuf *model, const char *text, float score, char type)
{
    const size_t size = strlen(text);
    const char head[4] = {10, (char)(size + 9), 10, (char)size}, tail[2] = {24, type}, number = 21;
    dk_strbuf_append(model, head, 4);
    dk_strbuf_append(model, text, size);
    dk_strbuf_append(model, &number, 1);
    dk_strbuf_append(model, (const char *)&score, 4);
    dk_strbuf_append(model, tail, 2);
}

/* What SentencePiece 0.2.3 does, whatever the highest score is: 0.1 for each byte behind the first. */
TEST(symbols_of_users)
{
    static const struct {
        const char *symbol, *piece;
        float score, each; /* of the piece, which is longer, or of each character of the symbol */
        const char *text;
        int64_t tokens;
    } cases[] = {
        {"a", "ab", -0.01F, 0, "ab", 2},    {"a", "ab", 0.01F, 0, "ab", 1},     {"aa", "aab", 0.09F, 0, "aab", 2},
        {"aa", "aab", 0.11F, 0, "aab", 1},  {"aaaa", "x", 0, 0.07F, "aaaa", 1}, {"aaaa", "x", 0, 0.08F, "aaaa", 4},
        {"aaaa", "x", 5, 0.07F, "aaaa", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dk_tokenizer *tok = NULL;
        dk_strbuf model;
        int32_t ids[8];
        int64_t count = 0;
        dk_strbuf_init(&model, the_host());
        add_piece(&model, "?", 0, 2);
        add_piece(&model, cases[i].symbol, 0, 4);
        add_piece(&model, cases[i].piece, cases[i].score, 1);
        if (strlen(cases[i].symbol) > 1) add_piece(&model, "a", cases[i].each, 1);
        add_piece(&model, "b", 0, 1);
        dk_strbuf_append(&model, "\x12\x02\x18\x01\x1a\x04\x18\x00\x20\x00", 10); /* Unigram; texts as they are */
        REQUIRE_OK(dk_tokenizer_from_model(host, "m", model.data, model.size, &tok, &err));
        CHECK_OK(dk_tokenizer_encode(tok, cases[i].text, strlen(cases[i].text), 0, ids, 8, &count, &err));
        if (count != cases[i].tokens) FAIL("case %zu: %d tokens", i, (int)count);
        dk_tokenizer_release(tok);
        dk_strbuf_free(&model);
    }
}

TEST_MAIN(TEST_CASE(ids_of_sentencepiece) TEST_CASE(bad_bytes) TEST_CASE(folders) TEST_CASE(legacy) TEST_CASE(saved)
              TEST_CASE(errors) TEST_CASE(truncated) TEST_CASE(unknown_fields_are_named) TEST_CASE(symbols_of_users))
