#include "../base/fail_alloc.h"
#include "conf/document.h"
#include "test.h"

static dk_host *host;
static dk_error err;

static dk_document *parse_bytes(const char *text, size_t size)
{
    dk_document *document = NULL;
    dk_error_clear(&err);
    if (!host) dk_host_create(NULL, &host, &err);
    dk_yaml_parse(host, text, size, "r.yaml", &document, &err);
    return document;
}

static dk_document *parse(const char *text) { return parse_bytes(text, strlen(text)); }

static void check_error(const char *text, const char *message, int64_t line)
{
    dk_document *document = parse(text);
    if (document) FAIL("accepted: %.60s", text);
    CHECK_INT(err.code, DK_E_FORMAT);
    CHECK_HAS(err.message, message);
    CHECK_INT(err.position, line);
    dk_document_free(document);
}

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

TEST(scalars)
{
    check_round("[null, ~, Null, NULL, {a: }]", "[null,null,null,null,{\"a\":null}]");
    check_round("[true, True, FALSE, yes, on, off, no]", "[true,true,false,\"yes\",\"on\",\"off\",\"no\"]");
    check_round("[1, -5, +7, 007, 0x10, 0o7, 1_000, 12e, '12', \"3\"]",
                "[1,-5,7,7,\"0x10\",\"0o7\",\"1_000\",\"12e\",\"12\",\"3\"]");
    check_round("[6.0e-4, 1e-3, .5, 5., -2.5E+2, 1e400]", "[0.0006,0.001,0.5,5.0,-250.0,\"1e400\"]");
    check_round("[.inf, -.INF, .nan, inf, nan, infinity]", "[null,null,null,\"inf\",\"nan\",\"infinity\"]");
    check_round("99999999999999999999", "1e+20");
    check_round("[\"a\\0b\", 'it''s', \"\\u00e9\"]", "[\"a\\u0000b\",\"it's\",\"\xc3\xa9\"]");
    check_round("a: |\n  two\n  lines\nb: >\n  one\n  line\n", "{\"a\":\"two\\nlines\\n\",\"b\":\"one line\\n\"}");
}

TEST(structure)
{
    dk_document *document = parse("# a recipe\ntrain:\n  steps: 6e2\n  list: [1, {a: b}]\noutput: out/\n");
    REQUIRE(document != NULL);
    const dk_node *root = dk_document_root(document), *train = dk_node_get(root, "train");
    CHECK_INT(root->size, 2);
    CHECK_INT(root->line, 2);
    CHECK_INT(dk_node_get(train, "steps")->line, 3);
    CHECK_STR(dk_node_get(train, "steps")->text, "6e2");
    CHECK(dk_node_get(train, "steps")->f64 == 600);
    CHECK_INT(dk_node_get(root, "output")->line, 5);
    CHECK(dk_node_is_text(dk_node_get(dk_node_at(dk_node_get(train, "list"), 1), "a"), "b"));
    dk_document_free(document);
    check_round("", "null");
    check_round("# nothing\n", "null");
    check_round("---\na: 1\n...\n", "{\"a\":1}");
    check_round("{}", "{}");
}

TEST(refused)
{
    check_error("a: 1\nb: &x 2\n", "r.yaml:2: anchors are not supported", 2);
    check_error("a: 1\nb: *x\n", "r.yaml:2: aliases are not supported", 2);
    check_error("a: !python/object x\n", "r.yaml:1: tag !python/object", 1);
    check_error("a: !!int abc\n", "does not fit", 1);
    check_error("a: !!map [1]\n", "does not fit", 1);
    check_error("a: 1\nc: 3\na: 2\n", "r.yaml:3: key \"a\" occurs twice", 3);
    check_error("a: 1\n---\nb: 2\n", "r.yaml:2: a second document", 2);
    check_error("a: [1, 2\nb: 3\n", "r.yaml:", 2);
    check_error("a: b: c\n", "r.yaml:1: mapping values are not allowed", 1);
    check_error("? [a, b]\n: 1\n", "r.yaml:1: a key must be a plain name", 1);
    check_error("a:\n\t- b\n", "r.yaml:2:", 2);
    check_error("a: \"\xff\"\n", "r.yaml: invalid leading UTF-8 octet (byte 4)", 4);
    check_error("a: \x01", "r.yaml: control characters are not allowed", 3);
}

TEST(core_tags)
{
    check_round("[!!str 12, ! 12, !!int 12, !!float 1.5, !!bool true, !!null ~, !!seq [], !!map {}]",
                "[\"12\",\"12\",12,1.5,true,null,[],{}]");
}

TEST(many_keys_and_repeats)
{
    char text[4000] = "", line[40];
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof line, "key%d: %d\n", i, i);
        strcat(text, line);
    }
    dk_document *document = parse(text);
    REQUIRE(document != NULL);
    CHECK_INT(dk_node_get(dk_document_root(document), "key99")->i64, 99);
    dk_document_free(document);
    strcat(text, "key50: again\n");
    check_error(text, "r.yaml:101: key \"key50\" occurs twice", 101);
}

TEST(limits)
{
    char text[300];
    for (int depth = 63; depth < 67; depth++) {
        memset(text, '[', 200);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = 0;
        dk_document *document = parse(text);
        CHECK((document != NULL) == (depth <= 64));
        dk_document_free(document);
    }
    CHECK_HAS(err.message, "nested too deep");
    char *huge = calloc(1, (1 << 20) + 2);
    memset(huge, '#', (1 << 20) + 1);
    CHECK(!parse(huge));
    CHECK_HAS(err.message, "1048577 bytes of YAML are more than the limit of 1048576");
    free(huge);
}

TEST(encodings)
{
    dk_document *document = parse("\xef\xbb\xbf# marked\na: 1\n");
    if (CHECK(document != NULL)) CHECK(dk_node_get(dk_document_root(document), "a")->i64 == 1);
    dk_document_free(document);
    document = NULL;
    CHECK_INT(dk_yaml_parse(host,
                            "\xff\xfe"
                            "a\0:\0 \0",
                            8, "x.yaml", &document, &err),
              DK_E_FORMAT);
    CHECK_STR(err.message, "x.yaml: is UTF-16; save it as UTF-8");
    CHECK_INT(dk_yaml_parse(host, "a\0:\0 \0", 6, "x.yaml", &document, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "is UTF-16 or UTF-32; save it as UTF-8");
}

static int32_t parse_once(void *context, dk_host *from, dk_error *error)
{
    const char *text = context;
    dk_document *document = NULL;
    int32_t rc = dk_yaml_parse(from, text, strlen(text), "x", &document, error);
    dk_document_free(document);
    return rc;
}

TEST(every_allocation_may_fail)
{
    char text[1024] = "a: [1, 2, {b: text}]\nc: 2.5\nd: [";
    for (int i = 0; i < 50; i++) strcat(text, "x, ");
    strcat(text, "]\n");
    CHECK(fail_every_alloc(parse_once, text) > 4);
}

TEST_MAIN(TEST_CASE(scalars) TEST_CASE(structure) TEST_CASE(refused) TEST_CASE(core_tags)
              TEST_CASE(many_keys_and_repeats) TEST_CASE(limits) TEST_CASE(encodings)
                  TEST_CASE(every_allocation_may_fail))
