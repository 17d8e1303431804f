/* Tokenizers as GGUF keeps them: written and read again they give the same ids. */
#include "format/gguf_write.h"
#include "format/open_tokenizer.h"
#include "test_files.h"

static dk_host *host;
static dk_error err;
static dk_strbuf notes;

static void setup(void)
{
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    dk_error_clear(&err);
    dk_strbuf_free(&notes);
    dk_strbuf_init(&notes, host);
}

static int32_t no_fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *error)
{
    (void)user, (void)index, (void)offset, (void)out, (void)size;
    return dk_fail(error, DK_E_INTERNAL, "there are no tensors");
}

static dk_tokenizer *through_gguf(const dk_tokenizer *tok, int64_t rows, int64_t *added)
{
    dk_vocabulary_parts parts;
    dk_gguf_keys keys;
    dk_tokenizer *out = NULL;
    char path[1200];
    const dk_gguf_args args = {.keys = &keys, .fill = no_fill};
    snprintf(path, sizeof path, "%s", path_in(test_folder("gguf_vocabulary_out"), "v.gguf"));
    dk_gguf_keys_init(&keys, host);
    int32_t rc = dk_tokenizer_to_vocabulary(tok, host, rows, &notes, &parts, &err);
    CHECK_OK(rc);
    if (!rc) {
        *added = parts.added;
        dk_gguf_put_vocabulary(&keys, &parts.vocabulary);
        CHECK_OK(dk_gguf_write(host, path, &args, &err));
        CHECK_OK(dk_open_tokenizer(host, path, &out, &err));
    }
    dk_vocabulary_parts_free(&parts);
    dk_gguf_keys_free(&keys);
    return out;
}

static void check_same_ids(const dk_tokenizer *a, const dk_tokenizer *b, const char *text, const char *name)
{
    int32_t *ids[2] = {NULL, NULL};
    int64_t cap[2] = {0, 0}, count[2] = {0, 0};
    CHECK_OK(dk_tokenizer_append(a, host, text, strlen(text), DK_ENCODE_SPECIAL, &ids[0], &cap[0], &count[0], &err));
    CHECK_OK(dk_tokenizer_append(b, host, text, strlen(text), DK_ENCODE_SPECIAL, &ids[1], &cap[1], &count[1], &err));
    if (count[0] != count[1] || memcmp(ids[0], ids[1], (size_t)count[0] * sizeof **ids) != 0)
        FAIL("%s: other ids for: %.60s", name, text);
    dk_free(host, ids[0]);
    dk_free(host, ids[1]);
}

static void check_tokenizer(const char *path, int64_t more_rows, int64_t want_added)
{
    static char line[1 << 14];
    dk_tokenizer *tok = NULL;
    int64_t added = -1;
    uint8_t digests[2][32];
    REQUIRE_OK(dk_open_tokenizer(host, path, &tok, &err));
    dk_tokenizer *again = through_gguf(tok, dk_tokenizer_vocab_size(tok) + more_rows, &added);
    if (!again) {
        FAIL("%s did not come back", path);
        dk_tokenizer_release(tok);
        return;
    }
    CHECK_INT(added, want_added);
    dk_tokenizer_hash(tok, digests[0]);
    dk_tokenizer_hash(again, digests[1]);
    if (!added) CHECK(!memcmp(digests[0], digests[1], 32));
    CHECK_INT(dk_tokenizer_bos(again), dk_tokenizer_bos(tok));
    CHECK_INT(dk_tokenizer_eos(again), dk_tokenizer_eos(tok));
    CHECK_INT(dk_tokenizer_adds_bos(again), dk_tokenizer_adds_bos(tok));
    const char *was = dk_tokenizer_chat_template(tok), *is = dk_tokenizer_chat_template(again);
    CHECK(!was == !is && (!was || !strcmp(was, is)));
    FILE *texts = fopen(test_path(TEST_DATA, "sentences.txt"), "r");
    REQUIRE(texts);
    while (!added && fgets(line, sizeof line, texts)) check_same_ids(tok, again, line, path);
    fclose(texts);
    dk_tokenizer_release(tok);
    dk_tokenizer_release(again);
}

TEST(published_tokenizers_come_back)
{
    static const struct {
        const char *path;
        int64_t added;
    } published[] = {{"tokenizers/gpt2", 0},
                     {"tokenizers/mistral_nemo", 0},
                     {"tokenizers/qwen2_5", 0},
                     {"tokenizers/qwen3", 0},
                     {"tokenizers/gguf_vocab/ggml-vocab-phi-3.gguf", 0},
                     {"tokenizers/gguf_vocab/ggml-vocab-starcoder.gguf", 0},
                     {"tokenizers/gguf_vocab/ggml-vocab-falcon.gguf", 0},
                     {"tokenizers/gguf_vocab/ggml-vocab-deepseek-coder.gguf", 0},
                     {"models/stories260K/stories260K.f32.gguf", 0},
                     {"models/babyllama105/babyllama105.f32.gguf", 0}};
    char path[1200];
    setup();
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        snprintf(path, sizeof path, "%s/%s", test_assets(), published[i].path);
        check_tokenizer(path, i % 2 ? 7 : 0, published[i].added);
    }
}

/* Unigram is GGUF's t5, with its charsmap; SentencePiece's own models go there too. */
TEST(sentencepiece_comes_back)
{
    char path[1200], *json = NULL;
    size_t size;
    static const char config[] = "{\"eos_token\":\"</s>\",\"pad_token\":\"<pad>\",\"unk_token\":\"<unk>\"}";
    setup();
    REQUIRE_OK(dk_file_read(host, TEST_DATA "/tokenizers/unigram_t5.json", 1 << 20, &json, &size, &err));
    snprintf(path, sizeof path, "%s", test_folder("gguf_vocabulary_in"));
    CHECK_OK(dk_file_replace(host, test_path(path, "tokenizer.json"), json, size, &err));
    CHECK_OK(dk_file_replace(host, test_path(path, "tokenizer_config.json"), config, sizeof config - 1, &err));
    dk_free(host, json);
    check_tokenizer(path, 3, 0);
    check_tokenizer(TEST_DATA "/tokenizers/sp_unigram.model", 0, 0);
    check_tokenizer(TEST_DATA "/tokenizers/sp_bpe_bytes.model", 0, 0);
}

/* A SentencePiece vocabulary of words alone gets the 256 byte tokens. */
TEST(byte_tokens_are_added)
{
    dk_tokenizer *tok = NULL;
    int64_t added = 0;
    const dk_slice tokens[] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}, {"\xe2\x96\x81", 3},
                               {"a", 1},     {"b", 1},   {"ab", 2}};
    const float scores[] = {0, 0, 0, 0, -1, -2, -3};
    const int32_t types[] = {2, 3, 3, 1, 1, 1, 1};
    dk_vocabulary vocabulary;
    setup();
    dk_vocabulary_init(&vocabulary);
    vocabulary.kind = DK_VOCABULARY_SPM;
    vocabulary.tokens = tokens;
    vocabulary.scores = scores;
    vocabulary.types = types;
    vocabulary.count = 7;
    vocabulary.unk = 0, vocabulary.bos = 1, vocabulary.eos = 2;
    vocabulary.chat_template = "{{ messages }}";
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &vocabulary, &tok, &err));
    dk_tokenizer *again = through_gguf(tok, 9, &added);
    REQUIRE(again);
    CHECK_INT(added, 256);
    CHECK_INT(dk_tokenizer_vocab_size(again), 9 + 256);
    CHECK_INT(dk_tokenizer_text_id(again, "<0x00>", 6), 9);
    CHECK_INT(dk_tokenizer_text_id(again, "<0xFF>", 6), 9 + 255);
    check_same_ids(tok, again, "a b ab aab", "words");
    CHECK_STR(dk_tokenizer_chat_template(again), "{{ messages }}");
    dk_tokenizer_release(tok);
    dk_tokenizer_release(again);
}

TEST(what_gguf_cannot_say_is_named)
{
    static const char *const pre[][2] = {
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a-z]+\"},\"behavior\":\"Isolated\",\"invert\":false}",
         "pre-tokenizer (its patterns are none that has a name there)"},
        {"null", "pre-tokenizer (no Metaspace)"}};
    char json[1024];
    setup();
    for (size_t i = 0; i < sizeof pre / sizeof *pre; i++) {
        dk_document *doc = NULL;
        dk_tokenizer *tok = NULL;
        dk_vocabulary_parts parts;
        snprintf(
            json, sizeof json,
            "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":%s%s%s,\"post_processor\":null,\"decoder\":"
            "null,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}",
            i ? "" : "{\"type\":\"Sequence\",\"pretokenizers\":[", pre[i][0],
            i ? "" : ",{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}");
        REQUIRE_OK(dk_json_parse(host, json, strlen(json), "tokenizer.json", &doc, &err));
        REQUIRE_OK(dk_tokenizer_from_json(host, doc, NULL, &tok, &err));
        CHECK_INT(dk_tokenizer_to_vocabulary(tok, host, 3, &notes, &parts, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, pre[i][1]);
        CHECK_HAS(err.message, "cannot be said in GGUF");
        CHECK_INT(dk_tokenizer_to_vocabulary(tok, host, 2, &notes, &parts, &err), DK_E_MISMATCH);
        dk_tokenizer_release(tok);
        dk_document_free(doc);
    }
}

TEST_MAIN(TEST_CASE(published_tokenizers_come_back) TEST_CASE(sentencepiece_comes_back) TEST_CASE(byte_tokens_are_added)
              TEST_CASE(what_gguf_cannot_say_is_named))
