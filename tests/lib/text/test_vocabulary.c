#include "gguf_vocab.h"
#include "test.h"

static dk_host *host;
static dk_error err;

static dk_host *the_host(void)
{
    if (!host) dk_host_create(NULL, &host, &err);
    return host;
}

#define PIECE(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }
#define MARK "\xe2\x96\x81"

/* a and b merge before b and c; ab + c has the same score as bc, so the leftmost wins. */
static const dk_slice pieces[] = {PIECE("<unk>"),  PIECE("<s>"), PIECE("</s>"), PIECE("<0x41>"),  PIECE("<0xC3>"),
                                  PIECE("<0xA9>"), PIECE(MARK),  PIECE("a"),    PIECE("b"),       PIECE("c"),
                                  PIECE("ab"),     PIECE("bc"),  PIECE("aa"),   PIECE(MARK "ab"), PIECE("zq")};
static const float scores[] = {0, 0, 0, 0, 0, 0, -10, -11, -12, -13, -1, -2, -2, -3, -4};
static const int32_t types[] = {2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void spm(dk_vocabulary *v)
{
    dk_vocabulary_init(v);
    v->model = "llama";
    v->tokens = pieces;
    v->scores = scores;
    v->types = types;
    v->count = sizeof pieces / sizeof *pieces;
    v->bos = 1;
    v->eos = 2;
    v->unk = 0;
}

static void check_ids(const dk_tokenizer *tok, const char *text, uint32_t flags, const int32_t *want, int64_t count)
{
    int32_t ids[64];
    int64_t got = 0;
    CHECK_OK(dk_tokenizer_encode(tok, text, strlen(text), flags, ids, 64, &got, &err));
    if (got != count) FAIL("'%s' has %lld ids, not %lld", text, (long long)got, (long long)count);
    for (int64_t i = 0; i < count && i < got; i++)
        if (ids[i] != want[i]) FAIL("'%s': id %lld is %d, not %d", text, (long long)i, ids[i], want[i]);
}
#define CHECK_IDS(tok, text, flags, ...)                                             \
    do {                                                                             \
        const int32_t want_[] = {__VA_ARGS__};                                       \
        check_ids(tok, text, flags, want_, (int64_t)(sizeof want_ / sizeof *want_)); \
    } while (0)

TEST(merging_by_score)
{
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    spm(&v);
    REQUIRE_OK(dk_tokenizer_from_vocabulary(the_host(), &v, &tok, &err));
    CHECK_IDS(tok, "ab", 0, 13); /* MARK + ab */
    CHECK_IDS(tok, "ab", DK_ENCODE_SPECIAL, 1, 13);
    CHECK_IDS(tok, "abc", 0, 13, 9); /* ab beats bc */
    CHECK_IDS(tok, "cbc", 0, 6, 9, 11);
    CHECK_IDS(tok, "caaab", 0, 6, 9, 12, 10);   /* ab first, then aa */
    CHECK_IDS(tok, "A\xc3\xa9", 0, 6, 3, 4, 5); /* bytes */
    CHECK_IDS(tok, "zq", 0, 6, 14);             /* z and q are no tokens, but zq is one */
    CHECK_IDS(tok, "zab", 0, 6, 0, 10);         /* z has no byte token: unknown */
    CHECK_IDS(tok, "<s>ab</s>", 0, 1, 13, 2);
    CHECK_INT(dk_tokenizer_vocab_size(tok), 15);
    CHECK_INT(dk_tokenizer_text_id(tok, "z", 1), -1);
    CHECK_INT(dk_tokenizer_adds_bos(tok), 1);
    dk_tokenizer_release(tok);
    v.add_space_prefix = 0;
    v.add_bos = 0;
    v.add_eos = 1;
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &v, &tok, &err));
    CHECK_IDS(tok, "ab ab", DK_ENCODE_SPECIAL, 10, 13, 2);
    dk_tokenizer_release(tok);
}

static const dk_slice letters[] = {PIECE("h"),          PIECE("e"),       PIECE("\xc4\xa0"), PIECE("he"),
                                   PIECE("\xc4\xa0he"), PIECE("<|end|>"), PIECE("1")};
static const dk_slice merges[] = {PIECE("h e"), PIECE("\xc4\xa0 he")};
static const int32_t letter_types[] = {1, 1, 1, 1, 1, 3, 1};

static void bpe(dk_vocabulary *v)
{
    dk_vocabulary_init(v);
    v->model = "gpt2";
    v->pre = "gpt-2";
    v->tokens = letters;
    v->types = letter_types;
    v->count = 7;
    v->merges = merges;
    v->merge_count = 2;
    v->bos = 5;
}

TEST(byte_level)
{
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    bpe(&v);
    REQUIRE_OK(dk_tokenizer_from_vocabulary(the_host(), &v, &tok, &err));
    CHECK_IDS(tok, "he he<|end|>h", DK_ENCODE_SPECIAL, 3, 4, 5, 0);
    CHECK_INT(dk_tokenizer_adds_bos(tok), 0);
    dk_tokenizer_release(tok);
    v.pre = "llama-bpe"; /* its convention: BOS, and words that are tokens are not merged */
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &v, &tok, &err));
    CHECK_IDS(tok, " he", DK_ENCODE_SPECIAL, 5, 4);
    dk_tokenizer_release(tok);
}

TEST(errors)
{
    dk_vocabulary v;
    dk_tokenizer *tok = NULL;
    float bad_scores[15];
    static const dk_slice twice[] = {PIECE("a"), PIECE("a")}, bytes[] = {PIECE("\xff")}, odd[] = {PIECE("hello")};
    bpe(&v);
    v.model = "bert";
    CHECK_INT(dk_tokenizer_from_vocabulary(the_host(), &v, &tok, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "tokenizer model 'bert' (WordPiece, whose words do not keep their spaces");
    CHECK_HAS(err.message, "supported: gpt2, llama, t5, gemma4");
    bpe(&v);
    v.eos = 7;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "eos id 7 is outside the vocabulary of 7 tokens");
    bpe(&v);
    v.merges = odd;
    v.merge_count = 1;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "merge 0");
    bpe(&v);
    v.add_eos = 1;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "no eos token");
    bpe(&v);
    v.tokens = twice;
    v.types = NULL;
    v.count = 2;
    v.bos = -1;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "'a' is listed twice");
    v.tokens = bytes;
    v.count = 1;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "not UTF-8");
    v.struct_size = 0;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_INVALID);
    spm(&v);
    v.scores = NULL;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "needs scores");
    spm(&v);
    memcpy(bad_scores, scores, sizeof scores);
    bad_scores[8] = NAN;
    v.scores = bad_scores;
    CHECK_INT(dk_tokenizer_from_vocabulary(host, &v, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "score of token 8");
    CHECK(!tok);
}

/* What is written reads back as the same tokenizer. */
static dk_tokenizer *rewritten(const dk_tokenizer *tok)
{
    const char *folder = test_folder("text_vocabulary");
    dk_tokenizer *again = NULL;
    CHECK_OK(dk_tokenizer_save(tok, folder, &err));
    CHECK_OK(dk_tokenizer_open(host, folder, &again, &err));
    return again;
}

static void check_same(const dk_tokenizer *tok, const dk_tokenizer *again, const char *text, size_t size)
{
    int32_t one[4096], two[4096];
    int64_t one_count = 0, two_count = 0;
    for (uint32_t flags = 0; flags < 4; flags++) {
        CHECK_OK(dk_tokenizer_encode(tok, text, size, flags, one, 4096, &one_count, &err));
        CHECK_OK(dk_tokenizer_encode(again, text, size, flags, two, 4096, &two_count, &err));
        if (one_count != two_count || memcmp(one, two, (size_t)one_count * sizeof *one) != 0)
            FAIL("'%.*s' differs when saved", (int)size, text);
    }
}

TEST(saved_as_json)
{
    dk_vocabulary v;
    uint8_t one[32], two[32];
    for (int kind = 0; kind < 2; kind++) {
        dk_tokenizer *tok = NULL;
        if (kind) bpe(&v);
        else spm(&v);
        v.chat_template = "{{ \"x\" }}";
        REQUIRE_OK(dk_tokenizer_from_vocabulary(the_host(), &v, &tok, &err));
        dk_tokenizer *again = rewritten(tok);
        REQUIRE(again);
        static const char text[] = "he ab<s>abc <|end|> cba\xc3\xa9 A";
        check_same(tok, again, text, sizeof text - 1);
        dk_tokenizer_hash(tok, one);
        dk_tokenizer_hash(again, two);
        CHECK(!memcmp(one, two, 32));
        CHECK_INT(dk_tokenizer_bos(again), v.bos);
        CHECK_INT(dk_tokenizer_eos(again), v.eos);
        CHECK_STR(dk_tokenizer_chat_template(again), v.chat_template);
        dk_tokenizer_release(tok);
        dk_tokenizer_release(again);
    }
}

/* llama.cpp's vectors: texts between separators, a line of ids for each. */
static void check_vectors(const dk_tokenizer *tok, const dk_tokenizer *again, const char *texts, const char *lines,
                          const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int count = 0;
    for (const char *text = texts; text; count++) {
        const char *end = strstr(text, separator), *line_end = strchr(lines, '\n');
        size_t size = end ? (size_t)(end - text) : strlen(text);
        int32_t ids[1024];
        int64_t got = 0, want = 0;
        CHECK_OK(dk_tokenizer_encode(tok, text, size, 0, ids, 1024, &got, &err));
        for (char *next; lines && *lines && *lines != '\n'; want++, lines = next) {
            long id = strtol(lines, &next, 10);
            if (next == lines) break;
            if (want < got && ids[want] != id) {
                FAIL("%s: '%.*s': id %lld is %d, not %ld", name, (int)size, text, (long long)want, ids[want], id);
                break;
            }
        }
        CHECK_INT(got, want);
        check_same(tok, again, text, size);
        lines = line_end ? line_end + 1 : "";
        text = end ? end + sizeof separator - 1 : NULL;
    }
    CHECK(count > 20);
}

static void check_file(const char *assets, const char *name)
{
    char path[512];
    gguf_vocab g;
    dk_tokenizer *tok = NULL;
    char *texts = NULL, *lines = NULL;
    size_t size;
    snprintf(path, sizeof path, "%s/tokenizers/gguf_vocab/ggml-vocab-%s.gguf", assets, name);
    if (!dk_path_exists(path)) return;
    REQUIRE_OK(gguf_open(the_host(), path, &g, &err));
    REQUIRE_OK(dk_tokenizer_from_vocabulary(host, &g.vocabulary, &tok, &err));
    REQUIRE_OK(dk_file_read(host, strcat(path, ".inp"), 1 << 20, &texts, &size, &err));
    memcpy(path + strlen(path) - 3, "out", 3);
    REQUIRE_OK(dk_file_read(host, path, 1 << 20, &lines, &size, &err));
    dk_tokenizer *again = rewritten(tok);
    REQUIRE(again);
    check_vectors(tok, again, texts, lines, name);
    dk_free(host, texts);
    dk_free(host, lines);
    dk_tokenizer_release(tok);
    dk_tokenizer_release(again);
    gguf_close(host, &g);
}

TEST(llama_cpp_vectors)
{
    static const char *const names[] = {"gpt-2", "qwen2", "starcoder", "deepseek-coder", "falcon", "phi-3"};
    const char *assets = test_assets();
    if (!assets) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_file(assets, names[i]);
}

TEST_MAIN(TEST_CASE(merging_by_score) TEST_CASE(byte_level) TEST_CASE(errors) TEST_CASE(saved_as_json)
              TEST_CASE(llama_cpp_vectors))
