#include "base/file.h"
#include "test.h"
#include "text/tokenizer.h"

#include <pthread.h>

static dk_host *host;
static dk_error err;

static dk_host *the_host(void)
{
    if (!host) dk_host_create(NULL, &host, &err);
    return host;
}

static dk_tokenizer *load(const char *name)
{
    dk_document *doc = NULL;
    dk_tokenizer *tok = NULL;
    if (dk_json_open(the_host(), test_path(TEST_DATA "/tokenizers", name), &doc, &err) ||
        dk_tokenizer_from_json(host, doc, NULL, &tok, &err))
        FAIL("%s: %s", name, err.message);
    dk_document_free(doc);
    return tok;
}

/* ---- ids and texts of the reference implementation ---- */
static void check_ids(const dk_tokenizer *tok, const dk_node *entry, const char *key, uint32_t flags, const char *name)
{
    const dk_node *text = dk_node_get(entry, "text"), *want = dk_node_get(entry, key);
    int32_t ids[4096];
    int64_t count = -1;
    CHECK_OK(dk_tokenizer_encode(tok, text->text, text->size, flags, ids, 4096, &count, &err));
    if (count != (int64_t)want->size)
        FAIL("%s: '%.60s' has %lld %s, not %zu", name, text->text, (long long)count, key, want->size);
    for (int64_t i = 0; i < count && i < (int64_t)want->size; i++)
        if (ids[i] != want->items[i]->i64) {
            FAIL("%s: '%.60s' %s[%lld] is %d, not %lld", name, text->text, key, (long long)i, ids[i],
                 (long long)want->items[i]->i64);
            return;
        }
}

static void check_text(const dk_tokenizer *tok, const dk_node *entry, const char *ids_key, const char *key,
                       uint32_t flags, const char *name)
{
    const dk_node *list = dk_node_get(entry, ids_key), *want = dk_node_get(entry, key);
    int32_t ids[4096];
    char text[16384];
    size_t needed = 0;
    for (size_t i = 0; i < list->size; i++) ids[i] = (int32_t)list->items[i]->i64;
    CHECK_OK(dk_tokenizer_decode(tok, ids, (int64_t)list->size, flags, text, sizeof text, &needed, &err));
    if (needed != want->size + 1 || memcmp(text, want->text, want->size) != 0)
        FAIL("%s: %s is '%s', not '%s'", name, key, text, want->text);
}

static void check_vectors(const char *name)
{
    char file[64], vectors[64];
    dk_document *doc;
    snprintf(file, sizeof file, "%s.json", name);
    snprintf(vectors, sizeof vectors, "%s.vectors.json", name);
    dk_tokenizer *tok = load(file);
    REQUIRE(tok);
    REQUIRE_OK(dk_json_open(host, test_path(TEST_DATA "/tokenizers", vectors), &doc, &err));
    const dk_node *list = dk_document_root(doc);
    CHECK(list->size > 40);
    for (size_t i = 0; i < list->size; i++) {
        check_ids(tok, list->items[i], "ids", 0, name);
        check_ids(tok, list->items[i], "with_special", DK_ENCODE_SPECIAL, name);
        check_ids(tok, list->items[i], "plain", DK_ENCODE_PLAIN, name);
        check_text(tok, list->items[i], "ids", "decoded", 0, name);
        check_text(tok, list->items[i], "with_special", "skipped", DK_DECODE_SKIP_SPECIAL, name);
    }
    dk_document_free(doc);
    dk_tokenizer_release(tok);
}

TEST(vectors)
{
    static const char *const names[] = {"spm_legacy",   "spm_metaspace", "added_flags", "byte_level",
                                        "digits",       "normalisers",   "affixes",     "unigram_t5",
                                        "unigram_xlmr", "unigram_bytes", "bert_steps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_vectors(names[i]);
}

/* ---- bytes that are not UTF-8 ---- */
static void check_round_trip(const dk_tokenizer *tok, const char *text, size_t size)
{
    int32_t ids[512];
    int64_t count = 0;
    char back[1024];
    size_t needed = 0;
    REQUIRE_OK(dk_tokenizer_encode(tok, text, size, 0, ids, 512, &count, &err));
    REQUIRE_OK(dk_tokenizer_decode(tok, ids, count, 0, back, sizeof back, &needed, &err));
    if (needed != size + 1 || memcmp(back, text, size) != 0) FAIL("'%.*s' comes back as '%s'", (int)size, text, back);
}

TEST(bad_bytes_are_tokens)
{
    static const struct {
        const char *text;
        int64_t bad;
    } cases[] = {{"\xff", 1},
                 {"a\xff\xfe"
                  "b",
                  2},
                 {"\xe2\x82", 2},
                 {"\xed\xb2\x80", 3},
                 {"\xf4\x90\x80\x80", 4},
                 {"\xc0\xaf", 2},
                 {"x \x80 y", 1},
                 {"\xc3\xa9\xc3", 1}};
    dk_tokenizer *bytes = load("byte_level.json"), *legacy = load("spm_legacy.json"),
                 *metaspace = load("spm_metaspace.json");
    REQUIRE(bytes && legacy && metaspace);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[64];
        int64_t count = 0, single = 0;
        check_round_trip(bytes, cases[i].text, strlen(cases[i].text));
        check_round_trip(legacy, cases[i].text, strlen(cases[i].text));
        check_round_trip(metaspace, cases[i].text, strlen(cases[i].text));
        CHECK_OK(dk_tokenizer_encode(legacy, cases[i].text, strlen(cases[i].text), 0, ids, 64, &count, &err));
        for (int64_t k = 0; k < count; k++) {
            unsigned value;
            const char *text = dk_tokenizer_id_text(legacy, ids[k], NULL);
            single += sscanf(text, "<0x%02X>", &value) == 1 && value >= 0x80;
        }
        if (i + 1 < sizeof cases / sizeof *cases) CHECK_INT(single, cases[i].bad);
    }
    dk_tokenizer_release(bytes);
    dk_tokenizer_release(legacy);
    dk_tokenizer_release(metaspace);
}

TEST(bad_bytes_without_byte_tokens)
{
    dk_tokenizer *tok = load("affixes.json");
    int32_t bad[8], good[8];
    int64_t bad_count = 0, good_count = 0;
    REQUIRE(tok);
    CHECK_OK(dk_tokenizer_encode(tok,
                                 "a\xff"
                                 "b",
                                 3, 0, bad, 8, &bad_count, &err));
    CHECK_OK(dk_tokenizer_encode(tok,
                                 "a\xef\xbf\xbd"
                                 "b",
                                 5, 0, good, 8, &good_count, &err));
    CHECK_INT(bad_count, good_count);
    CHECK(!memcmp(bad, good, (size_t)good_count * sizeof *good));
    dk_tokenizer_release(tok);
}

/* ---- calling it ---- */
TEST(buffers)
{
    dk_tokenizer *tok = load("byte_level.json");
    int32_t ids[4] = {-7, -7, -7, -7};
    int64_t needed = 0, cap = 0, count = 0;
    int32_t *list = NULL;
    char text[4] = "zzz";
    size_t size = 0;
    REQUIRE(tok);
    CHECK_INT(dk_tokenizer_encode(tok, "hello there, you", 16, 0, ids, 2, &needed, &err), DK_E_BUFFER);
    CHECK(needed > 2);
    CHECK_INT(ids[0], -7);
    CHECK_HAS(err.message, "the buffer holds 2");
    CHECK_INT(dk_tokenizer_encode(tok, "hello", 5, 0, NULL, 0, &needed, &err), DK_E_BUFFER);
    CHECK_OK(dk_tokenizer_encode(tok, "", 0, 0, NULL, 0, &needed, &err));
    CHECK_INT(needed, 0);
    CHECK_INT(dk_tokenizer_encode(tok, "x", 1, 64, ids, 4, &needed, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "flags");
    for (int i = 0; i < 3; i++) CHECK_OK(dk_tokenizer_append(tok, host, "hello", 5, 0, &list, &cap, &count, &err));
    CHECK_INT(count % 3, 0);
    CHECK_INT(list[0], list[count / 3]);
    CHECK_INT(dk_tokenizer_decode(tok, list, count, 0, text, sizeof text, &size, &err), DK_E_BUFFER);
    CHECK_INT(size, 16);
    dk_free(host, list);
    ids[0] = 99999;
    CHECK_INT(dk_tokenizer_decode(tok, ids, 1, 0, text, sizeof text, &size, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "99999");
    ids[0] = -1;
    CHECK_INT(dk_tokenizer_decode(tok, ids, 1, 0, text, sizeof text, &size, &err), DK_E_INVALID);
    dk_tokenizer_release(tok);
}

static dk_tokenizer *from_text(const char *json, const char *config, int32_t *rc)
{
    dk_document *doc = NULL, *config_doc = NULL;
    dk_tokenizer *tok = NULL;
    *rc = dk_json_parse(the_host(), json, strlen(json), "tokenizer.json", &doc, &err);
    if (!*rc && config) *rc = dk_json_parse(host, config, strlen(config), "tokenizer_config.json", &config_doc, &err);
    if (!*rc) *rc = dk_tokenizer_from_json(host, doc, config_doc, &tok, &err);
    dk_document_free(doc);
    dk_document_free(config_doc);
    return tok;
}

#define SMALL_MODEL \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<s>\":3,\"</s>\":4},\"merges\":[\"a b\"]}"
#define SMALL_ADDED                                                                                                  \
    "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},{\"id\":5,\"content\":\"<new>\",\"special\":" \
    "false,\"normalized\":false}]"
#define SMALL_POST                                                                                                     \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}" \
    "},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"                                                                  \
    "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[3],\"tokens\":[\"<s>\"]}}}"

TEST(lookups)
{
    int32_t rc;
    size_t size = 0;
    uint8_t one[32], other[32];
    dk_tokenizer *tok =
        from_text("{" SMALL_MODEL "," SMALL_ADDED "," SMALL_POST "}",
                  "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\",\"pad_token\":null,\"unk_token\":null,"
                  "\"chat_template\":[{\"name\":\"default\",\"template\":\"T\"}]}",
                  &rc);
    dk_tokenizer *plain = from_text("{" SMALL_MODEL "}", NULL, &rc);
    REQUIRE(tok && plain);
    CHECK_INT(dk_tokenizer_vocab_size(tok), 6);
    CHECK_INT(dk_tokenizer_vocab_size(plain), 5);
    CHECK_STR(dk_tokenizer_id_text(tok, 2, &size), "ab");
    CHECK_INT(size, 2);
    CHECK(!dk_tokenizer_id_text(tok, 6, &size));
    CHECK(!dk_tokenizer_id_text(tok, -1, NULL));
    CHECK_INT(dk_tokenizer_text_id(tok, "<new>", 5), 5);
    CHECK_INT(dk_tokenizer_text_id(tok, "c", 1), -1);
    CHECK_INT(dk_tokenizer_text_id(tok, "", 0), -1);
    CHECK_INT(dk_tokenizer_is_special(tok, 3), 1);
    CHECK_INT(dk_tokenizer_is_special(tok, 5), 0);
    CHECK_INT(dk_tokenizer_bos(tok), 3);
    CHECK_INT(dk_tokenizer_eos(tok), 4);
    CHECK_INT(dk_tokenizer_pad(tok), -1);
    CHECK_INT(dk_tokenizer_unk(tok), -1);
    CHECK_INT(dk_tokenizer_adds_bos(tok), 1);
    CHECK_INT(dk_tokenizer_adds_bos(plain), 0);
    CHECK_STR(dk_tokenizer_chat_template(tok), "T");
    dk_tokenizer_hash(tok, one);
    dk_tokenizer_hash(plain, other);
    CHECK(memcmp(one, other, 32) != 0);
    dk_tokenizer *again = from_text("{" SMALL_MODEL "," SMALL_ADDED "}", "{\"eos_token\":\"</s>\"}", &rc);
    REQUIRE(again);
    dk_tokenizer_hash(again, other); /* the post-processor is not part of what ids mean */
    CHECK(!memcmp(one, other, 32));
    dk_tokenizer_release(again);
    dk_tokenizer_release(plain);
    dk_tokenizer_release(dk_tokenizer_retain(tok));
    CHECK_INT(dk_tokenizer_bos(tok), 3);
    dk_tokenizer_release(tok);
    dk_tokenizer_release(NULL);
}

TEST(texts_in_parts)
{
    static const char *const names[] = {"spm_legacy.json", "spm_metaspace.json", "byte_level.json"};
    for (size_t n = 0; n < 3; n++) {
        dk_tokenizer *tok = load(names[n]);
        int32_t whole[64], *parts = NULL;
        int64_t whole_count = 0, cap = 0, count = 0;
        REQUIRE(tok);
        CHECK_OK(dk_tokenizer_encode(tok, "the king said to him", 20, 0, whole, 64, &whole_count, &err));
        CHECK_INT(dk_tokenizer_continue_flags(tok, parts, 0), 0);
        CHECK_OK(dk_tokenizer_append(tok, host, "the king", 8, 0, &parts, &cap, &count, &err));
        CHECK_INT(dk_tokenizer_continue_flags(tok, parts, count), DK_ENCODE_CONTINUES);
        CHECK_OK(dk_tokenizer_append(tok, host, " said to him", 12, dk_tokenizer_continue_flags(tok, parts, count),
                                     &parts, &cap, &count, &err));
        CHECK_INT(count, whole_count);
        CHECK(count == whole_count && !memcmp(parts, whole, (size_t)count * sizeof *whole));
        int32_t special = (int32_t)dk_tokenizer_text_id(tok, n == 2 ? "<|eot|>" : "<s>", n == 2 ? 7 : 3);
        CHECK(special >= 0);
        CHECK_INT(dk_tokenizer_continue_flags(tok, &special, 1), 0);
        dk_free(host, parts);
        dk_tokenizer_release(tok);
    }
}

/* ---- what a file may get wrong ---- */
#define MODEL(rest) "{\"model\":{\"type\":\"BPE\"," rest "}}"
#define WITH(part) "{" SMALL_MODEL "," part "}"
#define UNIGRAM(vocab) "{\"model\":{\"type\":\"Unigram\",\"vocab\":" vocab "}}"
#define CHARSMAP(base64) WITH("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" base64 "\"}")
TEST(errors)
{
    static const struct {
        const char *json, *message;
        int32_t code;
    } cases[] = {
        {"[]", "must be a JSON object", DK_E_FORMAT},
        {"{}", "is this a tokenizer.json?", DK_E_FORMAT},
        {"{\"model\":{\"type\":\"Other\",\"vocab\":{}}}", "model 'Other' is not supported; supported: BPE, Unigram",
         DK_E_UNSUPPORTED},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}",
         "model 'WordPiece' is not supported: its words do not keep their spaces", DK_E_UNSUPPORTED},
        {UNIGRAM("[]"), "vocab must be a list of 1 to 16777216", DK_E_FORMAT},
        {UNIGRAM("[[\"a\"]]"), "an entry of vocab must be [\"token\", score]", DK_E_FORMAT},
        {UNIGRAM("[[\"a\",\"x\"]]"), "an entry of vocab must be", DK_E_FORMAT},
        {UNIGRAM("[[\"a\",0],[\"a\",1]]"), "token 'a' is listed twice", DK_E_FORMAT},
        {UNIGRAM("[[\"a\",0]],\"unk_id\":1"), "unk_id", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":\"x\"},\"merges\":[]"), "an id in vocab must be an integer", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":-1},\"merges\":[]"), "ids are 0 to", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":2000000000},\"merges\":[]"), "has id 2000000000", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), "share id 0", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a b\"]"), "merge 0, 'a' + 'b'", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), "a merge must be", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]"), "a merge must be", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":7"), "merges must be a list", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\""), "unk_token 'u'", DK_E_FORMAT},
        {MODEL("\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1"), "dropout", DK_E_UNSUPPORTED},
        {WITH("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}"),
         "pre-tokenizer 'UnicodeScripts' is not supported; supported: Sequence, Split", DK_E_UNSUPPORTED},
        {WITH("\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}"), "length", DK_E_FORMAT},
        {WITH("\"normalizer\":{\"type\":\"Other\"}"), "normalizer 'Other'", DK_E_UNSUPPORTED},
        {WITH("\"normalizer\":{\"type\":\"Precompiled\"}"), "precompiled_charsmap of Precompiled must be text",
         DK_E_FORMAT},
        {CHARSMAP("AAA"), "precompiled_charsmap of 3 characters is not base64", DK_E_FORMAT},
        {CHARSMAP("A?AA"), "is not base64", DK_E_FORMAT},
        {CHARSMAP("AAAA"), "charsmap of 3 bytes", DK_E_FORMAT},
        {CHARSMAP("CAAAAAAAAAA="), "says that its trie has 8", DK_E_FORMAT},
        {CHARSMAP("BAAAAAAAAAD/"), "byte 0 of its texts is not UTF-8", DK_E_FORMAT},
        {CHARSMAP("BAAAAAAFAABhAA=="), "unit 0 of its trie points to unit 1 of 1, no value", DK_E_FORMAT},
        {CHARSMAP("CAAAAAAFAAACAACAYQA="), "says byte 2 of 2, where no text begins", DK_E_FORMAT},
        {WITH("\"decoder\":{\"type\":\"CTC\"}"), "decoder 'CTC'", DK_E_UNSUPPORTED},
        {WITH("\"post_processor\":{\"type\":\"Other\"}"), "post-processor 'Other'", DK_E_UNSUPPORTED},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}"), "empty pattern",
         DK_E_FORMAT},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}"),
         "is not a regular expression", DK_E_FORMAT},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\Gx\"},\"behavior\":"
              "\"Isolated\"}"),
         "'\\G' (an escape), which is not supported", DK_E_UNSUPPORTED},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":\"Sideways\"}"),
         "behavior 'Sideways'", DK_E_UNSUPPORTED},
        {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}"), "one character", DK_E_FORMAT},
        {WITH("\"added_tokens\":[{\"id\":9,\"content\":\"<x>\"}]"), "has id 9, but the vocabulary gives it 5",
         DK_E_FORMAT},
        {WITH("\"added_tokens\":{}"), "added_tokens must be a list", DK_E_FORMAT},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), "around one Sequence A",
         DK_E_FORMAT},
        {WITH("\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"x\",77],\"sep\":[\"x\",1]}"), "adds id 77",
         DK_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t rc;
        dk_tokenizer *tok = from_text(cases[i].json, NULL, &rc);
        if (rc != cases[i].code)
            FAIL("%s gives %d (%s), not %d", cases[i].json, rc, rc ? err.message : "no error", cases[i].code);
        CHECK_HAS(err.message, cases[i].message);
        CHECK_HAS(rc == DK_E_UNSUPPORTED && strstr(err.message, "regular") ? "tokenizer.json" : err.message,
                  "tokenizer.json");
        CHECK(!tok);
    }
}

/* A mark stands in front of whatever came of the text's first character, and of nothing where that was dropped: ids
 * of the reference. */
TEST(first_mark_behind_normalizers)
{
    static const struct {
        const char *normalizer, *split, *text;
        int32_t ids[8];
    } cases[] = {
        {"{\"type\":\"NFKD\"}", "{\"type\":\"Digits\",\"individual_digits\":true}", "\xc2\xbd", {1, 2, 1, 3, 1, 4}},
        {"{\"type\":\"NFKD\"}", "{\"type\":\"Digits\",\"individual_digits\":true}", "a\xc2\xbd", {1, 5, 2, 3, 4}},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"\"}", NULL, "a2b", {4, 6}},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"\"}", NULL, "2ab", {1, 4, 6}},
        {"{\"type\":\"Prepend\",\"prepend\":\"ab\"}",
         "{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"Isolated\"}",
         "12",
         {1, 5, 1, 6, 1, 2, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[1024];
        int32_t rc, ids[16];
        int64_t count = 0, wanted = 0;
        snprintf(json, sizeof json,
                 "{\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[%s%s{\"type\":"
                 "\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":true}]},"
                 "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"\xe2\x96\x81\":1,"
                 "\"1\":2,\"\xe2\x81\x84\":3,\"2\":4,\"a\":5,\"b\":6},\"merges\":[]}}",
                 cases[i].normalizer, cases[i].split ? cases[i].split : "", cases[i].split ? "," : "");
        dk_tokenizer *tok = from_text(json, NULL, &rc);
        REQUIRE(tok);
        while (wanted < 8 && cases[i].ids[wanted]) wanted++;
        CHECK_OK(dk_tokenizer_encode(tok, cases[i].text, strlen(cases[i].text), 0, ids, 16, &count, &err));
        if (count != wanted || memcmp(ids, cases[i].ids, (size_t)count * sizeof *ids) != 0)
            FAIL("case %zu has %lld ids, not %lld", i, (long long)count, (long long)wanted);
        dk_tokenizer_release(tok);
    }
}

TEST(patterns_that_explode_give_up)
{
    int32_t rc, ids[4];
    int64_t needed = 0;
    char text[64];
    dk_tokenizer *tok = from_text("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a+)+$\"},"
                                  "\"behavior\":\"Isolated\"}," SMALL_MODEL "}",
                                  NULL, &rc);
    REQUIRE(tok);
    memset(text, 'a', sizeof text);
    text[63] = '!';
    CHECK_INT(dk_tokenizer_encode(tok, text, sizeof text, 0, ids, 4, &needed, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "gave up at byte 0 of a text of 64");
    dk_tokenizer_release(tok);
}

TEST(texts_that_explode_are_refused)
{
    int32_t rc;
    int64_t needed;
    char json[4096];
    size_t used = (size_t)snprintf(json, sizeof json, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 20; i++)
        used += (size_t)snprintf(json + used, sizeof json - used,
                                 "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaa\"}",
                                 i ? "," : "");
    snprintf(json + used, sizeof json - used, "]}," SMALL_MODEL "}");
    dk_tokenizer *tok = from_text(json, NULL, &rc);
    REQUIRE(tok);
    CHECK_INT(dk_tokenizer_encode(tok, "a", 1, 0, NULL, 0, &needed, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "more than 64 times its length of a text of 1 bytes");
    dk_tokenizer_release(tok);
}

TEST(unigram_without_unknown)
{
    int32_t rc, ids[8];
    int64_t needed = 0;
    dk_tokenizer *tok = from_text(UNIGRAM("[[\"a\",-1],[\"b\",-1],[\"ab\",-2],[\"\",-3]]"), NULL, &rc);
    REQUIRE(tok);
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "has no unknown token");
    CHECK_OK(dk_tokenizer_encode(tok, "aab", 3, 0, ids, 8, &needed, &err));
    CHECK_INT(needed, 2); /* of equal scores the token that begins first */
    CHECK_INT(ids[1], 2);
    CHECK_INT(dk_tokenizer_encode(tok, "a\xc3\xa9", 3, 0, ids, 8, &needed, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "no token for U+00E9 and no unknown token");
    dk_tokenizer_release(tok);
}

/* A warm encode takes no memory, however many words there are. */
TEST(unigram_long_text)
{
    int32_t rc, *ids = NULL;
    int64_t cap = 0, count = 0, cells = 1 << 16;
    dk_tokenizer *tok =
        from_text(UNIGRAM("[[\"<unk>\",0],[\"a\",-1],[\"aa\",-1.5],[\"b\",-1]],\"unk_id\":0"), NULL, &rc);
    char *text = dk_alloc(the_host(), (uint64_t)cells, 4);
    REQUIRE(tok && text);
    for (int64_t i = 0; i < cells; i++) memcpy(text + 4 * i, i % 2 ? "aaab" : "\xf0\x9f\x98\x80", 4);
    CHECK_OK(dk_tokenizer_append(tok, host, text, (size_t)cells * 4, 0, &ids, &cap, &count, &err));
    const int64_t before = dk_host_allocations(host);
    count = 0;
    CHECK_OK(dk_tokenizer_append(tok, host, text, (size_t)cells * 4, 0, &ids, &cap, &count, &err));
    CHECK_INT(dk_host_allocations(host), before);
    CHECK_INT(count, cells / 2 * 4);
    for (int64_t i = 0; i + 3 < count; i += 4)
        if (ids[i] || ids[i + 1] + ids[i + 2] != 3 || ids[i + 3] != 3) {
            FAIL("ids at %lld are wrong", (long long)i);
            break;
        }
    dk_free(host, ids);
    dk_free(host, text);
    dk_tokenizer_release(tok);
}

TEST(folders)
{
    const char *folder = test_folder("text_folder");
    dk_tokenizer *tok = NULL, *again = NULL;
    dk_strbuf one, two;
    REQUIRE(folder);
    CHECK_INT(dk_tokenizer_open(the_host(), folder, &tok, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "tokenizer.json");
    static const char json[] = "{\n " SMALL_MODEL ", " SMALL_ADDED " }\n";
    static const char config[] = "{ \"bos_token\": \"<s>\" }\n";
    REQUIRE_OK(dk_file_replace(host, test_path(folder, "tokenizer.json"), json, sizeof json - 1, &err));
    REQUIRE_OK(dk_file_replace(host, test_path(folder, "tokenizer_config.json"), config, sizeof config - 1, &err));
    REQUIRE_OK(dk_file_replace(host, test_path(folder, "chat_template.jinja"), "{{x}}", 5, &err));
    REQUIRE_OK(dk_tokenizer_open(host, folder, &tok, &err));
    CHECK_STR(dk_tokenizer_chat_template(tok), "{{x}}");
    CHECK_INT(dk_tokenizer_bos(tok), 3);
    folder = test_folder("text_saved");
    REQUIRE_OK(dk_tokenizer_save(tok, folder, &err));
    REQUIRE_OK(dk_tokenizer_open(host, folder, &again, &err));
    dk_strbuf_init(&one, host);
    dk_strbuf_init(&two, host);
    CHECK_OK(dk_tokenizer_write_json(again, &one, &err));
    CHECK_STR(one.data, json); /* byte for byte */
    CHECK_OK(dk_tokenizer_write_config(again, &two, &err));
    CHECK_STR(two.data, config);
    CHECK_STR(dk_tokenizer_chat_template(again), "{{x}}");
    dk_strbuf_free(&one);
    dk_strbuf_free(&two);
    dk_tokenizer_release(tok);
    dk_tokenizer_release(again);
}

/* ---- every allocation fails once ---- */
typedef struct failing {
    long left;
} failing;
static void *failing_alloc(void *user, size_t size, size_t align)
{
    failing *f = user;
    return f->left-- <= 0 ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
}
static void failing_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    free(ptr);
}

static int32_t whole_life(dk_host *h, const char *json)
{
    static const char text[] = "ab \xff <s>abababababababababababababababababababababababababab";
    dk_document *doc = NULL;
    dk_tokenizer *tok = NULL;
    int32_t rc, *ids = NULL;
    int64_t cap = 0, count = 0;
    dk_strbuf out;
    dk_strbuf_init(&out, h);
    DK_TRY(dk_json_parse(h, json, strlen(json), "tokenizer.json", &doc, &err));
    DK_TRY(dk_tokenizer_from_json(h, doc, doc, &tok, &err));
    DK_TRY(dk_tokenizer_append(tok, h, text, sizeof text - 1, 1, &ids, &cap, &count, &err));
    DK_TRY(dk_tokenizer_decode_to(tok, ids, count, 0, &out, &err));
    DK_TRY(dk_tokenizer_write_json(tok, &out, &err));
out:
    dk_strbuf_free(&out);
    dk_free(h, ids);
    dk_tokenizer_release(tok);
    dk_document_free(doc);
    return rc;
}

TEST(out_of_memory)
{
    static const char json[] =
        "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
        "\"decoder\":{\"type\":\"ByteLevel\"}," SMALL_MODEL "," SMALL_ADDED "," SMALL_POST "}";
    int32_t rc = DK_E_NOMEM;
    long n = 0;
    for (; rc && n < 2000; n++) {
        failing f = {n};
        dk_allocator allocator = {&f, failing_alloc, failing_free, NULL};
        dk_host *h;
        rc = dk_host_create(&allocator, &h, &err);
        if (rc) continue;
        rc = whole_life(h, json);
        if (rc && rc != DK_E_NOMEM && !strstr(err.message, "memory")) FAIL("allocation %ld: %d %s", n, rc, err.message);
        dk_host_release(h);
    }
    CHECK(n > 40 && n < 2000);
}

/* ---- many threads, one tokenizer ---- */
typedef struct job {
    const dk_tokenizer *tok;
    const char *text;
    size_t size;
    int32_t ids[4096];
    int64_t count;
    int32_t failed;
} job;

static void *work(void *user)
{
    job *j = user;
    for (int i = 0; i < 20; i++)
        j->failed |= dk_tokenizer_encode(j->tok, j->text, j->size, 0, j->ids, 4096, &j->count, NULL) != 0;
    return NULL;
}

TEST(threads)
{
    static job jobs[6];
    pthread_t threads[6];
    static char text[3000];
    dk_tokenizer *tok = load("byte_level.json");
    REQUIRE(tok);
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the king, and queen; said that "[i * 7 % 31];
    for (int i = 0; i < 6; i++) {
        jobs[i] = (job){.tok = tok, .text = text, .size = sizeof text};
        REQUIRE(!pthread_create(&threads[i], NULL, work, &jobs[i]));
    }
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 6; i++) {
        CHECK_INT(jobs[i].failed, 0);
        CHECK_INT(jobs[i].count, jobs[0].count);
        CHECK(!memcmp(jobs[i].ids, jobs[0].ids, (size_t)jobs[0].count * sizeof(int32_t)));
    }
    dk_tokenizer_release(tok);
}

TEST(long_words)
{
    size_t size = 1000000;
    static const char *const names[] = {"spm_legacy.json", "byte_level.json", "normalisers.json"};
    char *text = malloc(size);
    REQUIRE(text);
    for (int n = 0; n < 3; n++) {
        dk_tokenizer *tok = load(names[n]);
        int64_t needed = 0;
        REQUIRE(tok);
        for (int kind = 0; kind < 3; kind++) {
            for (size_t i = 0; i < size; i++) text[i] = kind == 0 ? 'a' : kind == 1 ? ' ' : "\xcc\x81\xcc\x96"[i % 4];
            double start = dk_seconds();
            CHECK_INT(dk_tokenizer_encode(tok, text, size, 0, NULL, 0, &needed, &err), DK_E_BUFFER);
            if (dk_seconds() - start > 30) FAIL("%s, kind %d: %g s", names[n], kind, dk_seconds() - start);
        }
        dk_tokenizer_release(tok);
    }
    free(text);
}

/* ---- real tokenizers ---- */
TEST(real_files)
{
    static const struct {
        const char *folder;
        int32_t ids[4];
    } known[] = {{"tokenizers/gpt2", {15496, 11, 995, 0}},
                 {"tokenizers/qwen2_5", {9707, 11, 1879, 0}},
                 {"tokenizers/qwen3", {9707, 11, 1879, 0}}};
    const char *assets = test_assets();
    if (!assets) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        dk_tokenizer *tok = NULL;
        int32_t ids[8];
        int64_t count = 0;
        REQUIRE_OK(dk_tokenizer_open(the_host(), test_path(assets, known[i].folder), &tok, &err));
        CHECK_OK(dk_tokenizer_encode(tok, "Hello, world!", 13, 0, ids, 8, &count, &err));
        CHECK_INT(count, 4);
        CHECK(!memcmp(ids, known[i].ids, sizeof known[i].ids));
        dk_tokenizer_release(tok);
    }
}

TEST_MAIN(TEST_CASE(vectors) TEST_CASE(bad_bytes_are_tokens) TEST_CASE(bad_bytes_without_byte_tokens) TEST_CASE(buffers)
              TEST_CASE(lookups) TEST_CASE(texts_in_parts) TEST_CASE(errors) TEST_CASE(first_mark_behind_normalizers)
                  TEST_CASE(patterns_that_explode_give_up) TEST_CASE(texts_that_explode_are_refused)
                      TEST_CASE(unigram_without_unknown) TEST_CASE(unigram_long_text) TEST_CASE(folders)
                          TEST_CASE(out_of_memory) TEST_CASE(threads) TEST_CASE(long_words) TEST_CASE(real_files))
