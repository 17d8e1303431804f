#include "../base/fail_alloc.h"
#include "base/file.h"
#include "conf/document.h"
#include "test.h"

#include <locale.h>

static dk_host *host;
static dk_error err;

static const char *fresh(const char *name)
{
    static char path[512];
    return snprintf(path, sizeof path, "%s", test_folder(name)) < (int)sizeof path ? path : NULL;
}

static dk_document *parse(const char *text)
{
    dk_document *document = NULL;
    dk_error_clear(&err);
    if (!host) dk_host_create(NULL, &host, &err);
    dk_json_parse(host, text, strlen(text), "x.json", &document, &err);
    return document;
}

static void check_error(const char *text, const char *part, int64_t position)
{
    dk_document *document = parse(text);
    if (document) FAIL("accepted: %.60s", text);
    CHECK_INT(err.code, DK_E_FORMAT);
    CHECK_HAS(err.message, part);
    if (position >= 0) CHECK_INT(err.position, position);
    dk_document_free(document);
}

/* What is read and written again. */
static void check_round(const char *text, const char *want)
{
    dk_strbuf out;
    dk_document *document = parse(text);
    if (!document) FAIL("%s: %s", text, err.message);
    dk_strbuf_init(&out, host);
    if (document) dk_node_write_json(dk_document_root(document), &out);
    CHECK_STR(out.data, want);
    dk_strbuf_free(&out);
    dk_document_free(document);
}

TEST(values)
{
    dk_document *document = parse("{\"a\": [1, -2.5, true, null, \"x\\u0000y\"], \"b\": {\"c\": \"\\u00e9\"}}");
    REQUIRE(document != NULL);
    const dk_node *root = dk_document_root(document), *list = dk_node_get(root, "a");
    CHECK_STR(dk_document_name(document), "x.json");
    CHECK(root->type == DK_NODE_MAP && root->size == 2 && !root->key);
    CHECK(list && list->type == DK_NODE_LIST && list->size == 5);
    CHECK_STR(list->key, "a");
    CHECK(dk_node_at(list, 0)->type == DK_NODE_INT && dk_node_at(list, 0)->i64 == 1 && dk_node_at(list, 0)->f64 == 1);
    CHECK(dk_node_at(list, 1)->type == DK_NODE_FLOAT && dk_node_at(list, 1)->f64 == -2.5);
    CHECK(dk_node_at(list, 2)->type == DK_NODE_BOOL && dk_node_at(list, 2)->i64 == 1);
    CHECK(dk_node_at(list, 3)->type == DK_NODE_NULL);
    CHECK(dk_node_at(list, 4)->size == 3 && !memcmp(dk_node_at(list, 4)->text, "x\0y", 4));
    CHECK(!dk_node_at(list, 5) && !dk_node_at(NULL, 0) && !dk_node_get(list, "a") && !dk_node_get(NULL, "a") &&
          !dk_node_get(root, "z"));
    CHECK(dk_node_is_text(dk_node_get(dk_node_get(root, "b"), "c"), "\xc3\xa9"));
    CHECK(!dk_node_is_text(dk_node_at(list, 4), "x") && !dk_node_is_text(NULL, "x"));
    dk_document_free(document);
    dk_document_free(NULL);
}

TEST(written_again)
{
    check_round("{ \"z\" : 1 , \"a\" : [ ] , \"m\" : { } }", "{\"z\":1,\"a\":[],\"m\":{}}"); /* order of the file */
    check_round("[1.0, 1e100, -0.0, 0.1, 9223372036854775807]", "[1.0,1e+100,-0.0,0.1,9223372036854775807]");
    check_round("\"a\\n\\u0000\\\"\"", "\"a\\n\\u0000\\\"\"");
    check_round(" null ", "null");
}

/* Beside an integer that int64 cannot hold all is read through jansson: what stands before it must be the same. */
static void check_both(const char *text)
{
    dk_strbuf careful, plain;
    char beside[512];
    snprintf(beside, sizeof beside, "[%s,12345678901234567890]", text);
    dk_document *whole = parse(beside), *alone = parse(text);
    dk_strbuf_init(&careful, host);
    dk_strbuf_init(&plain, host);
    CHECK((whole != NULL) == (alone != NULL));
    if (whole && alone) {
        dk_node_write_json(dk_node_at(dk_document_root(whole), 0), &careful);
        dk_node_write_json(dk_document_root(alone), &plain);
        CHECK_STR(plain.data, careful.data);
    }
    if (alone && dk_document_root(alone)->type == DK_NODE_FLOAT)
        CHECK(dk_document_root(alone)->f64 == dk_node_at(dk_document_root(whole), 0)->f64);
    dk_strbuf_free(&careful);
    dk_strbuf_free(&plain);
    dk_document_free(whole);
    dk_document_free(alone);
}

TEST(as_jansson_reads_it)
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "00",
                                        "-",
                                        "-1",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1.e5",
                                        "1e5",
                                        "1E+05",
                                        "1e-400",
                                        "-0.0",
                                        "4.9e-324",
                                        "1e",
                                        "0x1",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "0.1e1",
                                        "2.2250738585072011e-308",
                                        "1.7976931348623159e308",
                                        "true",
                                        "tru",
                                        "truefalse",
                                        "false",
                                        "null",
                                        "nul",
                                        "True",
                                        "\"\"",
                                        "\"\t\"",
                                        "\"\x7f\"",
                                        "\"\x1f\"",
                                        "\"\\\"",
                                        "\"\\\"\"",
                                        "\"a\\/\\b\\f\\n\\r\\t\\\\\"",
                                        "\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"",
                                        "\"\\ud83d\"",
                                        "\"\\ude00\"",
                                        "\"\\ud83d\\u0041\"",
                                        "\"\\ud83dx\"",
                                        "\"\\u00g0\"",
                                        "\"\\u12\"",
                                        "\"\\x\"",
                                        "\"\\u0000\"",
                                        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                        "\"\xc0\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xe2\x82\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "[]",
                                        "[ ]",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "[[],[[]]]",
                                        "{}",
                                        "{ }",
                                        "{\"a\":1,}",
                                        "{\"a\" 1}",
                                        "{a:1}",
                                        "{\"\":{}}",
                                        "{\"a\":1,\"b\":[{\"c\":null}]}",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":1,\"\\u0061\":2}",
                                        "{\"\\u0000\":1}",
                                        "{\"\\u00e9\":1}",
                                        "\n\t\r [ 1 ,\n2 ] ",
                                        "\f1",
                                        "[1}",
                                        "{\"a\":1]",
                                        "\"",
                                        "[",
                                        "{\"a\"",
                                        "{\"a\":"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_both(texts[i]);
    check_round("\"\\ud83d\\ude00\\u00e9\"", "\"\xf0\x9f\x98\x80\xc3\xa9\"");
}

/* transformers writes model_max_length as 1e30 in digits. */
TEST(large_integers_are_floats)
{
    check_round("{\"n\": 1000000000000000019884624838656, \"m\": [-99999999999999999999,5]}",
                "{\"n\":1e+30,\"m\":[-1e+20,5]}");
    check_round("[\"12345678901234567890123\", 12345678901234567890]",
                "[\"12345678901234567890123\",1.2345678901234567e+19]");
    check_error("[12345678901234567890, 12345678901234567890, x]", "x.json:1:", 46);
    check_error("[1e999]", "overflow", -1);
}

TEST(refused)
{
    check_error("", "x.json:", -1);
    check_error("{\"a\": 1,\n\"a\": 2}", "x.json:2: duplicate object key", -1);
    check_error("[1, 2", "x.json:1:", 5);
    check_error("[1] 2", "end of file expected", -1);
    check_error("{\"a\": }", "x.json:1: unexpected token near '}' (byte 7)", 7);
    check_error("[\"\xff\"]", "unable to decode byte 0xff", -1);
    check_error("[NaN]", "x.json:1:", -1);
    check_error("[01]", "x.json:1:", -1);
    check_error("[1,]", "x.json:1:", -1);
    check_error("\"a", "x.json:1:", -1);
}

TEST(depth)
{
    char text[400];
    for (int depth = 63; depth < 67; depth++) {
        memset(text, '[', 200);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = 0;
        dk_document *document = parse(text);
        CHECK((document != NULL) == (depth <= 64));
        dk_document_free(document);
    }
    CHECK_STR(err.message, "x.json:1: nested deeper than 64 levels (byte 64)");
    check_round("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"",
                "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"");
    char *huge = malloc(3000001);
    memset(huge, '[', 3000000);
    huge[3000000] = 0;
    check_error(huge, "nested deeper", 64);
    free(huge);
}

TEST(large_maps_are_found_by_hash)
{
    enum { N = 150000 };
    dk_strbuf text;
    dk_document *document = NULL;
    char key[32];
    if (!host) dk_host_create(NULL, &host, &err);
    dk_strbuf_init(&text, host);
    dk_strbuf_puts(&text, "{\"merges\": [");
    for (int i = 0; i < N; i++) dk_strbuf_printf(&text, "%s\"left%d right%d\"", i ? "," : "", i, i * 7);
    dk_strbuf_puts(&text, "], \"vocab\": {");
    for (int i = 0; i < N; i++) dk_strbuf_printf(&text, "%s\"some long token %x\": %d", i ? "," : "", i * 7919, i);
    dk_strbuf_puts(&text, "}}");
    double begin = dk_seconds();
    REQUIRE_OK(dk_json_parse(host, text.data, text.size, "big", &document, &err));
    double parsed = dk_seconds();
    const dk_node *vocab = dk_node_get(dk_document_root(document), "vocab");
    REQUIRE(vocab && vocab->size == N);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "some long token %x", i * 7919);
        const dk_node *node = dk_node_get(vocab, key);
        if (!node || node->i64 != i) FAIL("%s is not found", key);
    }
    CHECK(!dk_node_get(vocab, "some long token zz"));
    double found = dk_seconds();
    fprintf(stderr, "%zu bytes: parsed in %.3f s, %d keys found in %.3f s\n", text.size, parsed - begin, N,
            found - parsed);
    CHECK(found - parsed < 5); /* a linear search would take minutes */
    dk_document_free(document);
    dk_strbuf_free(&text);
}

TEST(files)
{
    dk_document *document = NULL;
    const char *path = test_path(fresh("json"), "config.json");
    if (!host) dk_host_create(NULL, &host, &err);
    CHECK_INT(dk_json_open(host, "/no/such.json", &document, &err), DK_E_NOT_FOUND);
    CHECK(!document);
    CHECK_OK(dk_file_replace(host, path, "{\"a\":", 5, &err));
    CHECK_INT(dk_json_open(host, path, &document, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "config.json:1: ");
    CHECK_OK(dk_file_replace(host, path, "[7]", 3, &err));
    CHECK_OK(dk_json_open(host, path, &document, &err));
    CHECK_STR(dk_document_name(document), path);
    dk_document_free(document);
}

TEST(locale_does_not_matter)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) SKIP("no locale with a decimal comma");
    check_round("[0.5, 1e-3]", "[0.5,0.001]");
    setlocale(LC_ALL, "C");
}

static void check_bytes(const char *bytes, size_t size, const char *part)
{
    dk_document *document = NULL;
    dk_error_clear(&err);
    CHECK_INT(dk_json_parse(host, bytes, size, "x.json", &document, &err), DK_E_FORMAT);
    CHECK(!document);
    CHECK_HAS(err.message, part);
}

TEST(encodings)
{
    check_round("\xef\xbb\xbf{\"a\": 1}", "{\"a\":1}");
    check_error("\xef\xbb\xbf{\"a\": x}", "(byte 10)", 10);
    check_error("\xef\xbb\xbf\xef\xbb\xbf{}", "x.json:1:", -1); /* one mark is a mark, two are text */
    check_bytes("\xff\xfe{\0}\0", 6, "x.json: is UTF-16; save it as UTF-8");
    check_bytes("\xfe\xff\0{\0}", 6, "is UTF-16; save it as UTF-8");
    check_bytes("\xff\xfe\0\0{\0\0\0", 8, "is UTF-32; save it as UTF-8");
    check_bytes("{\0}\0", 4, "is UTF-16 or UTF-32; save it as UTF-8");
    check_bytes("\0{\0}", 4, "is UTF-16 or UTF-32; save it as UTF-8");
    check_bytes("\x1f\x8b\x08", 3, "is compressed by gzip; unpack it");
    check_error("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer", 0);
}

static int32_t parse_once(void *context, dk_host *from, dk_error *error)
{
    const char *text = context;
    dk_document *document = NULL;
    dk_strbuf out;
    int32_t rc = dk_json_parse(from, text, strlen(text), "x", &document, error);
    if (rc) return document ? DK_E_INTERNAL : rc;
    dk_strbuf_init(&out, from);
    dk_node_write_json(dk_document_root(document), &out);
    rc = dk_strbuf_check(&out, error);
    dk_strbuf_free(&out);
    dk_document_free(document);
    return rc;
}

TEST(every_allocation_may_fail)
{
    char text[] = "{\"a\":[1,2,{\"b\":\"te\\nxt\"}],\"c\":12345678901234567890,\"d\":1,\"e\":2,\"f\":3,\"g\":4,\"h\":5,"
                  "\"i\":6,\"j\":7}";
    CHECK(fail_every_alloc(parse_once, text) > 4);
    memset(strstr(text, "12345678901234567890"), ' ', 19); /* which leaves plain JSON */
    CHECK(fail_every_alloc(parse_once, text) > 3);
}

TEST_MAIN(TEST_CASE(values) TEST_CASE(written_again) TEST_CASE(as_jansson_reads_it) TEST_CASE(large_integers_are_floats)
              TEST_CASE(refused) TEST_CASE(depth) TEST_CASE(large_maps_are_found_by_hash) TEST_CASE(files)
                  TEST_CASE(locale_does_not_matter) TEST_CASE(encodings) TEST_CASE(every_allocation_may_fail))
