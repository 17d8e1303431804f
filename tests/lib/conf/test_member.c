#include "conf/document.h"
#include "test.h"

static dk_host *host;
static dk_error err;
static dk_document *document;
static const dk_node *map;

static int setup(int32_t (*parse)(dk_host *, const char *, size_t, const char *, dk_document **, dk_error *),
                 const char *text)
{
    if (!host) dk_host_create(NULL, &host, &err);
    dk_document_free(document);
    document = NULL;
    if (parse(host, text, strlen(text), "config.json", &document, &err)) return 0;
    map = dk_document_root(document);
    return 1;
}

TEST(values_and_fallbacks)
{
    int64_t i = 0;
    double f = 0;
    int32_t b = 0;
    const char *text = NULL;
    REQUIRE(setup(dk_json_parse, "{\"size\": 64, \"theta\": 10000, \"eps\": 1e-5, \"tied\": true, \"act\": \"silu\", "
                                 "\"none\": null, \"whole\": 8.0}"));
    CHECK_OK(dk_node_i64(document, map, "size", 1, 100, 5, &i, &err));
    CHECK_INT(i, 64);
    CHECK_OK(dk_node_i64(document, map, "whole", 1, 100, 5, &i, &err));
    CHECK_INT(i, 8);
    CHECK_OK(dk_node_i64(document, map, "none", 1, 100, 5, &i, &err));
    CHECK_INT(i, 5);
    CHECK_OK(dk_node_i64(document, map, "absent", 1, 100, -7, &i, &err)); /* the fallback is the caller's business */
    CHECK_INT(i, -7);
    CHECK_OK(dk_node_f64(document, map, "theta", 1, &f, &err));
    CHECK(f == 10000);
    CHECK_OK(dk_node_f64(document, map, "absent", 0.25, &f, &err));
    CHECK(f == 0.25);
    CHECK_OK(dk_node_bool(document, map, "tied", 0, &b, &err));
    CHECK_INT(b, 1);
    CHECK_OK(dk_node_bool(document, NULL, "tied", 0, &b, &err));
    CHECK_INT(b, 0);
    CHECK_OK(dk_node_text(document, map, "act", NULL, &text, &err));
    CHECK_STR(text, "silu");
    CHECK_OK(dk_node_text(document, map, "absent", NULL, &text, &err));
    CHECK(!text);
}

TEST(wrong_values)
{
    int64_t i = 77;
    double f = 77;
    int32_t b = 77;
    const char *text = "77";
    REQUIRE(
        setup(dk_json_parse, "{\"size\": 101, \"half\": 1.5, \"act\": \"silu\", \"list\": [1, 2], \"huge\": 1e30}"));
    CHECK_INT(dk_node_i64(document, map, "size", 1, 100, 5, &i, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json: size is 101, not an integer in [1, 100]");
    CHECK_INT(dk_node_i64(document, map, "half", 1, 100, 5, &i, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json: half is 1.5, not an integer in [1, 100]");
    CHECK_INT(dk_node_i64(document, map, "huge", 1, INT64_MAX, 5, &i, &err), DK_E_FORMAT);
    CHECK_INT(dk_node_f64(document, map, "act", 1, &f, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json: act is \"silu\", not a number");
    CHECK_INT(dk_node_bool(document, map, "size", 1, &b, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json: size is 101, not true or false");
    CHECK_INT(dk_node_text(document, map, "list", NULL, &text, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json: list is a list of 2, not a text");
    CHECK(i == 77 && f == 77 && b == 77 && !strcmp(text, "77"));
    REQUIRE(setup(dk_yaml_parse, "a: 1\nb: {c: 2}\n"));
    CHECK_INT(dk_node_i64(document, map, "b", 1, 9, 5, &i, &err), DK_E_FORMAT);
    CHECK_STR(err.message, "config.json:2: b is a map of 1, not an integer in [1, 9]");
    CHECK_INT(err.position, 2);
    dk_document_free(document);
    document = NULL;
}

TEST_MAIN(TEST_CASE(values_and_fallbacks) TEST_CASE(wrong_values))
