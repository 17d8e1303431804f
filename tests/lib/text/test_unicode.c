#include "test.h"
#include "text/codepoint.h"
#include "text/steps.h"

static dk_host *host;
static dk_error err;

static const char *normal(dk_step_kind form, const char *text)
{
    static dk_strbuf out;
    if (!host) {
        dk_host_create(NULL, &host, &err);
        dk_strbuf_init(&out, host);
    }
    dk_strbuf_clear(&out);
    CHECK_OK(dk_normal_form(form, text, strlen(text), &out, &err));
    return out.data;
}

TEST(normal_forms)
{
    CHECK_STR(normal(DK_STEP_NFC, "e\xcc\x81"), "\xc3\xa9");
    CHECK_STR(normal(DK_STEP_NFD, "\xc3\xa9"), "e\xcc\x81");
    CHECK_STR(normal(DK_STEP_NFC, "plain"), "plain");
    CHECK_STR(normal(DK_STEP_NFC, "a\xcc\x96\xcc\x81"), "\xc3\xa1\xcc\x96"); /* marks are put in order, then joined */
    CHECK_STR(normal(DK_STEP_NFD, "x\xcc\x81\xcc\x96\xcc\x81"), "x\xcc\x96\xcc\x81\xcc\x81");
    CHECK_STR(normal(DK_STEP_NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "\xed\x95\x9c"); /* Hangul */
    CHECK_STR(normal(DK_STEP_NFC, "\xea\xb0\x80\xe1\x86\xa7"), "\xea\xb0\x80\xe1\x86\xa7"); /* U+11A7 joins nothing */
    CHECK_STR(normal(DK_STEP_NFKC, "\xef\xac\x81 \xc2\xbd"), "fi 1\xe2\x81\x84"
                                                             "2");
    CHECK_STR(normal(DK_STEP_NFC, "\xef\xac\x81"), "\xef\xac\x81");
    CHECK_STR(normal(DK_STEP_NFKD, "\xe2\x84\xab"), "A\xcc\x8a");
    CHECK_STR(normal(DK_STEP_NFD, "\xcc\x81\xe0\xb0\xbc"),
              "\xcc\x81\xe0\xb0\xbc"); /* U+0C3C is younger than the reference's tables */
    CHECK_STR(normal(DK_STEP_NFC, "\xed\xb3\xbf"
                                  "e\xcc\x81"),
              "\xed\xb3\xbf\xc3\xa9"); /* an escaped byte passes */
}

TEST(classes)
{
    CHECK(dk_is_space(' ') && dk_is_space(0x85) && dk_is_space(0x3000) && !dk_is_space(0x180e) && !dk_is_space(0x200b));
    CHECK(dk_is_word('_') && dk_is_word(0x301) && dk_is_word(0x24b6) && dk_is_word(0x200d) && !dk_is_word('-') &&
          !dk_is_word(0xb2));
    CHECK(dk_is_number(0xb2) && dk_is_number(0x2160) && dk_is_number(0x10d40) && !dk_is_number('a'));
    CHECK(dk_is_mark(0x301) && dk_is_mark(0x903) && dk_is_mark(0x1cf2) && !dk_is_mark(0xd81) && !dk_is_mark(0x11f00));
    CHECK(dk_is_nonspacing(0x301) && dk_is_nonspacing(0x1734) && !dk_is_nonspacing(0x903) && !dk_is_nonspacing(0x1885));
    CHECK_INT(dk_lowercase(0xc9), 0xe9);
    CHECK_INT(dk_lowercase(0x10d65), 0x10d85);
    CHECK_INT(dk_lowercase(0xa7dc), 0x19b);
    CHECK(dk_is_punctuation('$') && dk_is_punctuation(0xbf) && !dk_is_punctuation(0xa76) && !dk_is_punctuation('a'));
    for (uint32_t b = 0; b < 256; b++) CHECK_INT(dk_letter_byte(dk_byte_letter((uint8_t)b)), b);
    CHECK_INT(dk_byte_letter(' '), 0x120);
    CHECK_INT(dk_byte_letter(0xad), 0x143);
    CHECK_INT(dk_letter_byte(0xad), -1);
    CHECK_INT(dk_letter_byte(0x144), -1);
}

TEST(bad_bytes)
{
    CHECK_INT(dk_valid_prefix("abc\xff", 4), 3);
    CHECK_INT(dk_valid_prefix("12345678\xe2\x82", 10), 8);
    CHECK_INT(dk_valid_prefix("\xe2\x82\xac", 3), 3);
    CHECK_INT(dk_unescaped_prefix("\xed\x95\x9cx\xed\xb3\xbf", 7), 4);
    CHECK_INT(dk_escaped_byte("\xed\xb3\xbf", 3), 0xff);
    CHECK_INT(dk_escaped_byte("\xed\x9f\xbf", 3), -1);
}

/* ---- patterns ---- */
static int32_t first_match(const char *pattern, const char *text, size_t *begin, size_t *end)
{
    dk_regex *regex = NULL;
    dk_regex_state *state = NULL;
    normal(DK_STEP_NFC, "x");
    int32_t rc = dk_regex_compile(host, pattern, strlen(pattern), &regex, &err);
    if (rc) return rc;
    CHECK_OK(dk_regex_state_create(host, &state, &err));
    rc = dk_regex_find(regex, state, text, strlen(text), 0, begin, end, &err);
    dk_regex_state_free(state);
    dk_regex_free(regex);
    return rc;
}

TEST(patterns_mean_what_oniguruma_means)
{
    static const struct {
        const char *pattern, *text;
        size_t begin, end;
    } cases[] = {
        {"\\s+", "a\xe1\xa0\x8e b", 4, 5}, /* U+180E is no space */
        {"\\S+", " \xe1\xa0\x8e ", 1, 4},
        {"[^\\s]+", "  \xe2\x80\x8b", 2, 5},
        {"[\\S]", "\t\xe3\x80\x80x", 4, 5},
        {"\\w+", "-e\xcc\x81_9-", 1, 6}, /* marks are part of words */
        {"\\W", "e\xcc\x81.", 3, 4},
        {"\\h+", "xyz12aFg", 3, 7}, /* hexadecimal digits */
        {"\\v", "\n\x0b", 1, 2},
        {"^b", "a\nb", 2, 3}, /* at lines */
        {"a$", "a\nb", 0, 1},
        {"[a[bc]]+", "xabcx", 1, 4}, /* sets nest */
        {"\\x41\\x{e9}\\u00e9", "A\xc3\xa9\xc3\xa9", 0, 5},
        {"(?i:'S)", "it'\xc5\xbf", 2, 5}, /* long s */
        {"\\p{L}+",
         "1\xf0\x90\x97\x80"
         "a",
         1, 6}, /* U+105C0, a letter since Unicode 16 */
        {"[^\\p{L}]+", "\xf0\x90\x97\x80!", 4, 5},
        {"\\P{L}", "\xf0\x90\x97\x80!", 4, 5},
        {"\\p{^Lu}", "Aa", 1, 2},
        {"\\s+(?!\\S)", "a   b", 1, 3},
        {"a{2,3}?", "aaaa", 0, 2},
        {".", "\nx", 1, 2},
        {"\\\xc3\xa9", "\xc3\xa9", 0, 2},
        {"\\d+\\b", "12x 34\xcc\x81 56", 9, 11}, /* of the same \w: a mark is no edge */
        {"1\\b.", "1\xc2\xb9 1!", 4, 6},         /* small numbers of Latin-1 are part of words, in \w too */
        {"\\w+", "!\xc2\xb9\xc2\xbe", 1, 5},
        {"a\\B.", "a-ab", 2, 4},
        {"\\p{Han}+", "\xe3\x80\x81\xe4\xb8\xad\xe3\x80\x82", 3, 6}, /* not what it shares with other scripts */
        {"[^\\p{Han}]", "\xe4\xb8\xad\xe3\x80\x81", 3, 6},
        {"\\P{Han}", "\xf0\xae\xaf\xb0!", 4, 5}, /* U+2EBF0, since Unicode 15.1 */
        {"\\p{Alphabetic}+", "1ab", 1, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t begin = 99, end = 99;
        if (first_match(cases[i].pattern, cases[i].text, &begin, &end)) FAIL("%s: %s", cases[i].pattern, err.message);
        else if (begin != cases[i].begin || end != cases[i].end)
            FAIL("%s matches %zu..%zu, not %zu..%zu", cases[i].pattern, begin, end, cases[i].begin, cases[i].end);
    }
}

TEST(patterns_that_are_refused)
{
    static const struct {
        const char *pattern, *message;
        int32_t code;
    } cases[] = {
        {"a{1,3}+", "a repeated repeat", DK_E_UNSUPPORTED},
        {"a{,3}", "a brace", DK_E_UNSUPPORTED},
        {"[a&&b]", "an intersection", DK_E_UNSUPPORTED},
        {"[[:alpha:]]", "POSIX class", DK_E_UNSUPPORTED},
        {"[a[^b]]", "negated set", DK_E_UNSUPPORTED},
        {"\\Gx", "an escape", DK_E_UNSUPPORTED},
        {"[\\b]", "\\b inside a set", DK_E_UNSUPPORTED},
        {"(?<n>a)", "a kind of group", DK_E_UNSUPPORTED},
        {"(a)\\1", "an escape", DK_E_UNSUPPORTED},
        {"\\p{}", "without a name", DK_E_UNSUPPORTED},
        {"\\p{L", "without a name", DK_E_UNSUPPORTED},
        {"\\xzz", "a character number", DK_E_UNSUPPORTED},
        {"\\x{110000}", "a character number", DK_E_UNSUPPORTED},
        {"\\xe9", "a character number", DK_E_UNSUPPORTED},
        {"a\\", "backslash at the end", DK_E_UNSUPPORTED},
        {"[a", "not closed", DK_E_FORMAT},
        {"(a", "not a regular expression", DK_E_FORMAT},
        {"\\p{Nonsense}", "not a regular expression", DK_E_FORMAT},
        {"\xff", "not UTF-8", DK_E_FORMAT},
        {"", "must be 1 to", DK_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t begin, end;
        CHECK_INT(first_match(cases[i].pattern, "x", &begin, &end), cases[i].code);
        CHECK_HAS(err.message, cases[i].message);
    }
}

TEST_MAIN(TEST_CASE(normal_forms) TEST_CASE(classes) TEST_CASE(bad_bytes) TEST_CASE(patterns_mean_what_oniguruma_means)
              TEST_CASE(patterns_that_are_refused))
