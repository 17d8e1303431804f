#include "base/strbuf.h"
#include "fail_alloc.h"
#include "test.h"

#include <locale.h>

TEST(appending)
{
    dk_error err;
    dk_host *host;
    dk_strbuf buf;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_strbuf_init(&buf, host);
    CHECK(!buf.data);
    dk_strbuf_puts(&buf, "ab");
    dk_strbuf_append(&buf, "c\0d", 3);
    dk_strbuf_printf(&buf, "%d", 42);
    CHECK_INT(buf.size, 7);
    CHECK(!memcmp(buf.data, "abc\0d42", 8));
    dk_strbuf_clear(&buf);
    dk_strbuf_printf(&buf, "%0500d", 7);
    CHECK_INT(buf.size, 500);
    CHECK_INT(strlen(buf.data), 500);
    CHECK_INT(buf.data[499], '7');
    CHECK_OK(dk_strbuf_check(&buf, &err));
    dk_strbuf_free(&buf);
    dk_host_release(host);
}

TEST(json_text)
{
    dk_error err;
    dk_host *host;
    dk_strbuf buf;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_strbuf_init(&buf, host);
    dk_strbuf_json(&buf, "a\"b\\c\n\t\x01\x0b\0z", 11);
    CHECK_STR(buf.data, "\"a\\\"b\\\\c\\n\\t\\u0001\\u000b\\u0000z\"");
    dk_strbuf_clear(&buf);
    dk_strbuf_json(&buf, "\xff\xc3\xa9\xed\xa0\x80\xe2\x82", 8); /* bad, good, surrogate, cut */
    CHECK_STR(buf.data, "\"\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    dk_strbuf_clear(&buf);
    dk_strbuf_json(&buf, "", 0);
    CHECK_STR(buf.data, "\"\"");
    dk_strbuf_free(&buf);
    dk_host_release(host);
}

TEST(out_of_memory_is_remembered)
{
    dk_error err;
    dk_host *host;
    dk_strbuf buf;
    fail_alloc memory = {0};
    dk_allocator allocator = fail_allocator(&memory);
    REQUIRE_OK(dk_host_create(&allocator, &host, &err));
    dk_strbuf_init(&buf, host);
    dk_strbuf_puts(&buf, "kept");
    memory.left = 0;
    dk_strbuf_printf(&buf, "%1000d", 1);
    dk_strbuf_puts(&buf, "x");
    CHECK_INT(dk_strbuf_check(&buf, &err), DK_E_NOMEM);
    CHECK_STR(buf.data, "kept");
    memory.left = -1;
    dk_strbuf_free(&buf);
    dk_host_release(host);
    CHECK_INT(memory.blocks, 0);
}

TEST(text_out)
{
    dk_error err;
    char buf[6] = "?????";
    size_t needed = 0;
    CHECK_INT(dk_text_out("hello", 5, buf, 5, &needed, &err), DK_E_BUFFER);
    CHECK_INT(needed, 6);
    CHECK_STR(buf, "?????");
    CHECK_HAS(err.message, "6 are needed");
    CHECK_OK(dk_text_out("hello", 5, buf, 6, &needed, &err));
    CHECK_STR(buf, "hello");
    needed = 0;
    CHECK_OK(dk_text_out("hello", 5, NULL, 0, &needed, &err));
    CHECK_INT(needed, 6);
    CHECK_INT(dk_text_out("hello", 5, NULL, 0, NULL, &err), DK_E_BUFFER);
    CHECK_OK(dk_text_out("hi", 2, buf, 6, NULL, &err));
}

static double parse(const char *text)
{
    double value = -12345;
    return dk_parse_f64(text, strlen(text), &value) ? value : -12345;
}

static void check_numbers(void)
{
    static const char *const bad[] = {"",    "+",    "-",  ".",     "e5",   "1e",  "1e+", "1.2.3", "1 ",    " 1",
                                      "1,5", "0x10", "1f", "infin", "nano", "--1", "+-1", "1_000", "1e999", "-1e999"};
    static const double values[] = {
        0, 1, -1, 0.1, 1.0 / 3, 6.0e-4, 1e22, 123456789012345678.0, 5e-324, 1.7976931348623157e308, -2.5e-7};
    char text[32];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i]) != -12345) FAIL("\"%s\" was taken for a number", bad[i]);
    CHECK(parse("1e-3") == 1e-3 && parse(".5") == 0.5 && parse("5.") == 5 && parse("+2E2") == 200);
    CHECK(isinf(parse("inf")) && parse("-Infinity") < 0 && isnan(parse("NaN")));
    CHECK(parse("1e-999") == 0);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        size_t size = dk_format_f64(values[i], text);
        CHECK_INT(size, strlen(text));
        CHECK(parse(text) == values[i]);
    }
    dk_format_f64(0.1, text);
    CHECK_STR(text, "0.1");
    dk_format_f64(6.0e-4, text);
    CHECK_STR(text, "0.0006");
    dk_format_f64(1e300 * 10, text);
    CHECK_STR(text, "1e+301");
    dk_format_f64(-(double)INFINITY, text);
    CHECK_STR(text, "-inf");
    dk_format_f64((double)NAN, text);
    CHECK_STR(text, "nan");
}

TEST(numbers)
{
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF.UTF-8"};
    check_numbers();
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++)
        if (setlocale(LC_ALL, locales[i])) check_numbers();
    setlocale(LC_ALL, "C");
}

TEST(integers)
{
    int64_t value = 5;
    CHECK(dk_parse_i64("9223372036854775807", 19, &value) && value == INT64_MAX);
    CHECK(dk_parse_i64("-9223372036854775808", 20, &value) && value == INT64_MIN);
    CHECK(dk_parse_i64("+12", 3, &value) && value == 12);
    CHECK(dk_parse_i64("-0", 2, &value) && value == 0);
    value = 5;
    CHECK(!dk_parse_i64("9223372036854775808", 19, &value) && !dk_parse_i64("-9223372036854775809", 20, &value));
    CHECK(!dk_parse_i64("", 0, &value) && !dk_parse_i64("-", 1, &value) && !dk_parse_i64("1.0", 3, &value) &&
          !dk_parse_i64("1 ", 2, &value));
    CHECK_INT(value, 5);
}

TEST_MAIN(TEST_CASE(appending) TEST_CASE(json_text) TEST_CASE(out_of_memory_is_remembered) TEST_CASE(text_out)
              TEST_CASE(numbers) TEST_CASE(integers))
