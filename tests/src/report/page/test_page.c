/* The page of a run: what comes from data stays text, numbers are those of the result, what is missing is said. */
#include <math.h>
#include <string.h>

#include "report/page/sheet.h"
#include "test.h"

typedef struct desk {
    dk_host *host;
    dk_strbuf out;
    di_sheet sheet;
} desk;

static void open_desk(desk *d)
{
    dk_error err;
    memset(d, 0, sizeof *d);
    REQUIRE_OK(dk_host_create(NULL, &d->host, &err));
    dk_strbuf_init(&d->out, d->host);
    d->sheet.host = d->host;
    d->sheet.out = &d->out;
}

static void close_desk(desk *d)
{
    dk_strbuf_free(&d->out);
    dk_host_release(d->host);
}

TEST(hostile_text)
{
    static const char text[] =
        "<script>\"x\" & 'y'</script>\xff\xc3\x28\x00\x1b\x7f\xe2\x80\xae\xe2\x80\xa8\xc2\x85\xef\xbf\xbe\n";
    desk d;
    open_desk(&d);
    di_html_text(&d.out, text, sizeof text - 1);
    CHECK_STR(
        d.out.data,
        "&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;\xef\xbf\xbd\xef\xbf\xbd(&#9216;&#9243;&#9249;"
        "[U+202E][U+2028][U+0085][U+FFFE]\n");
    dk_strbuf_clear(&d.out);
    di_html_token(&d.out, " a\n", 3, 10);
    CHECK_STR(d.out.data, "\xe2\x90\xa3"
                          "a\xe2\x86\xb5");
    dk_strbuf_clear(&d.out);
    di_html_cut(&d.out, "\xc3\xa1\xc3\xa9\xc3\xad", 6, 2);
    CHECK_STR(d.out.data, "\xc3\xa1\xc3\xa9\xe2\x80\xa6");
    CHECK_INT(di_html_width("\xc3\xa1\xff"
                            "b",
                            4),
              3);
    close_desk(&d);
}

static void check_number(const di_sheet *s, double value, int32_t decimals, const char *want)
{
    char text[DI_FIGURE];
    di_number_text(s, value, decimals, text);
    CHECK_STR(text, want);
}

TEST(numbers)
{
    char text[DI_FIGURE];
    desk d;
    open_desk(&d);
    check_number(&d.sheet, 1234567.891, 2, "1,234,567.89");
    check_number(&d.sheet, 0.9999, 2, "1.00");
    check_number(&d.sheet, -0.25, 1,
                 "\xe2\x88\x92"
                 "0.3");
    check_number(&d.sheet, -0.001, 1, "0.0");
    check_number(&d.sheet, NAN, 1, "not a number");
    di_bytes_text(&d.sheet, 2410368, text);
    CHECK_STR(text, "2.41\xc2\xa0MB");
    di_large_number(&d.sheet, 999999, text);
    CHECK_STR(text, "1.000\xc2\xa0M");
    di_seconds_text(&d.sheet, 3725, text);
    CHECK_STR(text, "62\xc2\xa0min 05\xc2\xa0s");
    d.sheet.portuguese = 1;
    check_number(&d.sheet, 1234.5, 1, "1.234,5");
    close_desk(&d);
}

/* Ten blocks: y - m n is -+1 by turns, so the variance is 10 * 10 / 9 over 1000^2; t of 9 degrees is 2.262157. */
TEST(paired)
{
    static const char json[] =
        "{\"a\":{\"tokens\":[100,100,100,100,100,100,100,100,100,100],\"nats\":[201,199,201,199,201,199,201,"
        "199,201,199]},\"b\":{\"tokens\":[100,100,100,100,100,100,100,100,100,100],\"nats\":[1,1,1,1,1,1,1,1,"
        "1,1]},\"few\":{\"tokens\":[1,1],\"nats\":[1,1]},\"other\":{\"tokens\":[100,100,100,100,100,100,100,"
        "100,100,99],\"nats\":[1,1,1,1,1,1,1,1,1,1]}}";
    dk_document *doc = NULL;
    di_interval got;
    dk_error err;
    desk d;
    open_desk(&d);
    REQUIRE_OK(dk_json_parse(d.host, json, sizeof json - 1, "json", &doc, &err));
    const dk_node *root = dk_document_root(doc), *a = dk_node_get(root, "a");
    CHECK(di_paired(a, "nats", NULL, NULL, &got));
    CHECK_NEAR(got.mean, 2, 1e-12);
    CHECK_NEAR(got.half, 2.262157 * sqrt(100.0 / 9) / 1000, 1e-5);
    CHECK_INT(got.blocks, 10);
    CHECK(di_paired(a, "nats", dk_node_get(root, "b"), "nats", &got));
    CHECK_NEAR(got.mean, 1.99, 1e-12);
    CHECK(!di_paired(dk_node_get(root, "few"), "nats", NULL, NULL, &got));
    CHECK(!di_paired(a, "nats", dk_node_get(root, "other"), "nats", &got)); /* other text */
    CHECK(!di_paired(a, "forward_kl", NULL, NULL, &got));
    dk_document_free(doc);
    close_desk(&d);
}

TEST(damaged_lines)
{
    static const char text[] =
        "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":}\n[1]\n{\"loss\":1}\n{\"step\":-1}\n"
        "{\"step\":3,\"loss\":\"x\"}\n{\"step\":4,\"eval\":7}\n{\"step\":5,\"loss\":null}\n{\"step\":6,\"lo";
    dk_document *doc = NULL;
    dk_error err;
    double value;
    desk d;
    open_desk(&d);
    dk_strbuf_puts(&d.out, "{\"x\":0");
    REQUIRE_OK(di_page_history(d.host, text, sizeof text - 1, &d.out, &err));
    dk_strbuf_puts(&d.out, "}");
    REQUIRE_OK(dk_json_parse(d.host, d.out.data, d.out.size, "history", &doc, &err));
    const dk_node *root = dk_document_root(doc);
    CHECK_INT(dk_node_get(root, "metrics")->size, 2);
    CHECK(di_value(root, "damaged_lines", &value) && value == 6);
    CHECK(di_value(dk_node_at(dk_node_get(root, "damaged"), 0), "line", &value) && value == 2);
    dk_document_free(doc);
    close_desk(&d);
}

static void make(desk *d, const char *json, int32_t portuguese)
{
    const di_page_settings settings = {portuguese, 0};
    dk_document *doc = NULL;
    dk_error err;
    dk_strbuf_clear(&d->out);
    REQUIRE_OK(dk_json_parse(d->host, json, strlen(json), "json", &doc, &err));
    const dk_node *root = dk_document_root(doc);
    CHECK_OK(di_page_make(d->host, &root, 1, &settings, &d->out, &err));
    CHECK_HAS(d->out.data, "</html>");
    dk_document_free(doc);
}

/* What a run lacks is said; types that are none of ours are nothing. */
TEST(odd_results)
{
    static const char *const odd[] = {
        "{}",
        "[]",
        "null",
        "7",
        "{\"training\":[]}",
        "{\"student\":7,\"teacher\":[],\"eval\":\"x\",\"training\":null}",
        "{\"stages\":{}}",
        "{\"stages\":{\"a\":{},\"b\":7}}",
        "{\"folder\":\"x\",\"result\":null,\"metrics\":[7,{\"step\":\"x\"}]}",
        "{\"training\":{},\"eval\":{\"by_position\":[7],\"disagreements\":[7,{}],\"blocks\":[]},\"options\":[1]}",
        "{\"classifier\":{\"measured\":{\"agreement\":0.5}},\"training\":{}}",
        "{\"training\":{},\"samples\":[{}],\"eval\":{\"pairs\":{\"count\":10,\"accuracy\":0.8}},\"student\":{}}",
        "{\"training\":{},\"student\":{\"perplexity\":null}}"};
    desk d;
    open_desk(&d);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) make(&d, odd[i], (int32_t)(i & 1));
    CHECK_HAS(d.out.data, "is not a number");
    make(&d, "{\"training\":{}}", 0);
    CHECK_HAS(d.out.data, "nobody measured");
    make(&d, "{\"training\":{},\"student\":{\"perplexity\":12.5,\"path\":\"/a/<b>\"}}", 0);
    CHECK_HAS(d.out.data, "&lt;b&gt;");
    CHECK(!strstr(d.out.data, "<b>/"));
    CHECK_HAS(d.out.data, "<b>12.5</b>");
    make(&d, "{\"training\":{},\"student\":{\"perplexity\":12.5}}", 1);
    CHECK_HAS(d.out.data, "perplexidade <b>12,5</b>");
    close_desk(&d);
}

TEST_MAIN(TEST_CASE(hostile_text) TEST_CASE(numbers) TEST_CASE(paired) TEST_CASE(damaged_lines) TEST_CASE(odd_results))
