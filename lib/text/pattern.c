/* Oniguruma's regular expressions in PCRE2's spelling. What differs between the two:
 *   \s \w      PCRE2 counts U+180E as space and knows no marks in words: both are written out as ranges;
 *   \h \v      hexadecimal digit and U+000B there, kinds of space here;
 *   ^ $        always match at lines there;
 *   [[a]b]     sets nest there;
 *   {1,3}+     repeats there, is possessive here: refused, as is all that is not in the lists below;
 *   \b         of the \w that is written out;
 *   \p{Han}    a script means its own characters there, in PCRE2 those that it shares with others too;
 *   \p{L} ...  characters of newer versions of Unicode than PCRE2 may know are added (newer.h). */
#include "text/codepoint.h"
#include "text/newer.h"
#include "text/regex.h"

#include <string.h>

#define SPACES \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACES                                                                                                     \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* Alphabetic symbols: letters in circles and squares. Oniguruma counts the small numbers of Latin-1 as well. */
#define LETTER_SYMBOLS                                                                                                 \
    "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{" \
    "1f189}"

typedef struct translation {
    const char *pattern;
    size_t size, at;
    dk_strbuf *out;
    int32_t depth;     /* of open sets */
    int32_t outer_not; /* the outermost set is negated */
    int32_t interval;  /* the last thing was {n,m} */
} translation;

static int32_t refuse(const translation *t, size_t size, const char *why, dk_error *err)
{
    size_t left = t->size - t->at;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "regular expression uses '%.*s' (%s), which is not supported; supported are "
                   "sets, groups, look-around, repeats and \\p \\P \\s \\S \\w \\W \\b \\B \\d \\D \\h \\x \\u",
                   (int)(size < left ? size : left), t->pattern + t->at, why);
}

static void add_newer(const translation *t, const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof newer_characters / sizeof *newer_characters; i++) {
        const struct newer_range *range = &newer_characters[i];
        if (range->category[0] != name[0] || (size == 2 && range->category[1] != name[1])) continue;
        dk_strbuf_printf(t->out, "\\x{%x}-\\x{%x}", (unsigned)range->first, (unsigned)range->last);
    }
}

/* Names that are no scripts. */
static int32_t is_script(const char *name, size_t size)
{
    static const char *const others[] = {"Any",       "Alphabetic", "Lowercase",   "Uppercase", "White_Space",
                                         "Math",      "Emoji",      "ASCII",       "ID_Start",  "ID_Continue",
                                         "XID_Start", "Dash",       "Ideographic", "Hex_Digit", "Diacritic"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strlen(others[i]) == size && !memcmp(others[i], name, size)) return 0;
    return size > 2;
}

/* Planes 2 and 3 hold nothing but ideographs. */
static void add_newer_han(const translation *t)
{
    for (size_t i = 0; i < sizeof newer_characters / sizeof *newer_characters; i++)
        if (newer_characters[i].first >= 0x20000)
            dk_strbuf_printf(t->out, "\\x{%x}-\\x{%x}", (unsigned)newer_characters[i].first,
                             (unsigned)newer_characters[i].last);
}

static int32_t script(const translation *t, const char *name, size_t size, int32_t negated)
{
    const int32_t han = size == 3 && !memcmp(name, "Han", 3);
    if (!t->depth) dk_strbuf_puts(t->out, negated ? "[^" : "[");
    dk_strbuf_printf(t->out, "\\%c{sc:%.*s}", negated && t->depth ? 'P' : 'p', (int)size, name);
    if (han && !(negated && t->depth)) add_newer_han(t);
    if (!t->depth) dk_strbuf_puts(t->out, "]");
    return DK_OK;
}

/* \p{..} or \P{..}; t->at is behind the p. */
static int32_t property(translation *t, int32_t negated, dk_error *err)
{
    const char *name = t->pattern + t->at;
    size_t left = t->size - t->at, size = 1;
    const char *close = left && *name == '{' ? memchr(name, '}', left) : NULL;
    if (close) {
        name++;
        size = (size_t)(close - name);
        t->at += size + 2;
    } else {
        t->at += size;
    }
    if (size && *name == '^') negated = !negated, name++, size--;
    if (!left || !size || size > 40 || *name == '{') return refuse(t, 4, "a property without a name", err);
    for (size_t i = 0; i < size; i++)
        if (!((name[i] | 32) >= 'a' && (name[i] | 32) <= 'z') && name[i] != '_')
            return refuse(t, 4, "a property with an odd name", err);
    if (is_script(name, size)) return script(t, name, size, negated);
    if (size > 2 || (negated && t->depth)) {
        dk_strbuf_printf(t->out, "\\%c{%.*s}", negated ? 'P' : 'p', (int)size, name);
        return DK_OK;
    }
    if (!t->depth) dk_strbuf_puts(t->out, negated ? "[^" : "[");
    dk_strbuf_printf(t->out, "\\p{%.*s}", (int)size, name);
    add_newer(t, name, size);
    if (!t->depth) dk_strbuf_puts(t->out, "]");
    return DK_OK;
}

/* A class that is written out: inside a set as it stands, outside as a set of its own. */
static int32_t class_of(translation *t, const char *inside, int32_t negated)
{
    if (!t->depth) dk_strbuf_puts(t->out, negated ? "[^" : "[");
    dk_strbuf_puts(t->out, inside);
    if (!t->depth) dk_strbuf_puts(t->out, "]");
    return DK_OK;
}

static int32_t word_class(translation *t, int32_t negated, dk_error *err)
{
    if (negated && t->depth) return refuse(t, 1, "\\W inside a set", err);
    if (!t->depth) dk_strbuf_puts(t->out, negated ? "[^" : "[");
    dk_strbuf_puts(t->out, "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}" LETTER_SYMBOLS);
    add_newer(t, "L", 1);
    add_newer(t, "M", 1);
    add_newer(t, "Nd", 2);
    if (!t->depth) dk_strbuf_puts(t->out, "]");
    return DK_OK;
}

/* \b is an edge of a word, \B is none: behind and ahead differ, or do not. */
static int32_t word_edge(translation *t, int32_t negated, dk_error *err)
{
    static const char *const parts[2][5] = {{"(?:(?<=", ")(?!", ")|(?<!", ")(?=", "))"},
                                            {"(?:(?<=", ")(?=", ")|(?<!", ")(?!", "))"}};
    int32_t rc = DK_OK;
    if (t->depth) return t->at -= 2, refuse(t, 2, "\\b inside a set", err);
    for (int32_t i = 0; i < 4 && !rc; i++) {
        dk_strbuf_puts(t->out, parts[negated][i]);
        rc = word_class(t, 0, err);
    }
    return dk_strbuf_puts(t->out, parts[negated][4]), rc;
}

/* \xHH, \x{H..} and \uHHHH; t->at is behind the letter. */
static int32_t number(translation *t, int32_t digits, dk_error *err)
{
    uint32_t value = 0;
    int32_t braces = digits == 2 && t->at < t->size && t->pattern[t->at] == '{', count = 0;
    if (braces) t->at++, digits = 6;
    for (; count < digits && t->at < t->size; count++, t->at++) {
        char c = t->pattern[t->at];
        int32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) break;
        value = value * 16 + (uint32_t)digit;
    }
    if (!count || (braces && (t->at >= t->size || t->pattern[t->at] != '}')) || value > 0x10ffff ||
        (value >= 0xd800 && value < 0xe000) || (!braces && value >= 0x80 && digits == 2))
        return refuse(t, 1, "a character number", err);
    t->at += (size_t)braces;
    dk_strbuf_printf(t->out, "\\x{%x}", (unsigned)value);
    return DK_OK;
}

static int32_t escape(translation *t, dk_error *err)
{
    if (t->at + 1 >= t->size) return refuse(t, 1, "a backslash at the end", err);
    char c = t->pattern[t->at + 1];
    t->at += 2;
    switch (c) {
    case 's':
        return class_of(t, SPACES, 0);
    case 'S':
        return t->depth ? class_of(t, NOT_SPACES, 0) : class_of(t, SPACES, 1);
    case 'w':
        return word_class(t, 0, err);
    case 'W':
        return word_class(t, 1, err);
    case 'b':
        return word_edge(t, 0, err);
    case 'B':
        return word_edge(t, 1, err);
    case 'h':
        return class_of(t, "0-9a-fA-F", 0);
    case 'v':
        return dk_strbuf_puts(t->out, "\\x{b}"), DK_OK;
    case 'p':
        return property(t, 0, err);
    case 'P':
        return property(t, 1, err);
    case 'x':
        return number(t, 2, err);
    case 'u':
        return number(t, 4, err);
    case 'd':
    case 'D':
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e':
        return dk_strbuf_append(t->out, t->pattern + t->at - 2, 2), DK_OK;
    case 'A':
    case 'z':
        if (!t->depth) return dk_strbuf_append(t->out, t->pattern + t->at - 2, 2), DK_OK;
        break;
    default:
        if ((unsigned char)c < 0x80 && !((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9'))
            return dk_strbuf_append(t->out, t->pattern + t->at - 2, 2), DK_OK;
        if ((unsigned char)c >= 0x80) return t->at--, DK_OK; /* an escaped letter of another alphabet is itself */
    }
    t->at -= 2;
    return refuse(t, 2, "an escape", err);
}

static int32_t group(translation *t, dk_error *err)
{
    static const char *const openings[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:", "(?i)"};
    if (t->at + 1 >= t->size || t->pattern[t->at + 1] != '?') {
        t->at++;
        return dk_strbuf_puts(t->out, "("), DK_OK;
    }
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        size_t size = strlen(openings[i]);
        if (size > t->size - t->at || memcmp(t->pattern + t->at, openings[i], size) != 0) continue;
        t->at += size;
        return dk_strbuf_puts(t->out, openings[i]), DK_OK;
    }
    return refuse(t, 4, "a kind of group", err);
}

static int32_t in_set(translation *t, dk_error *err)
{
    const char *p = t->pattern + t->at;
    size_t left = t->size - t->at;
    if (*p == '[') {
        if (left > 1 && (p[1] == '^' || p[1] == ':'))
            return refuse(t, 2, "a negated set or POSIX class inside a set", err);
        t->depth++; /* a set inside a set is part of the union */
    } else if (*p == ']') {
        if (!--t->depth) dk_strbuf_puts(t->out, "]");
    } else if (*p == '&' && left > 1 && p[1] == '&') {
        return refuse(t, 2, "an intersection of sets", err);
    } else {
        size_t size = dk_codepoint_size(p);
        dk_strbuf_append(t->out, p, size);
        t->at += size - 1;
    }
    t->at++;
    return DK_OK;
}

static int32_t open_set(translation *t, dk_error *err)
{
    t->depth = 1;
    t->at++;
    dk_strbuf_puts(t->out, "[");
    if (t->at < t->size && t->pattern[t->at] == '^') {
        t->at++;
        dk_strbuf_puts(t->out, "^");
    }
    if (t->at < t->size && t->pattern[t->at] == ']') return refuse(t, 1, "an empty set", err);
    return DK_OK;
}

static int32_t interval(translation *t, dk_error *err)
{
    const char *p = t->pattern + t->at, *close = memchr(p, '}', t->size - t->at);
    size_t size = close ? (size_t)(close - p) + 1 : 0;
    if (size < 3 || p[1] == ',') return refuse(t, 4, "a brace that is not {n}, {n,} or {n,m}", err);
    for (size_t i = 1; i + 1 < size; i++)
        if (!(p[i] >= '0' && p[i] <= '9') && p[i] != ',')
            return refuse(t, size, "a brace that is not {n}, {n,} or {n,m}", err);
    if (t->at + size < t->size && p[size] == '+') return refuse(t, size + 1, "a repeated repeat", err);
    if (t->at + size < t->size && p[size] == '?' && !memchr(p, ',', size))
        return refuse(t, size + 1, "a lazy {n}", err);
    dk_strbuf_append(t->out, p, size);
    t->at += size;
    return DK_OK;
}

static int32_t step(translation *t, dk_error *err)
{
    char c = t->pattern[t->at];
    if (c == '\\') return escape(t, err);
    if (t->depth) return in_set(t, err);
    if (c == '[') return open_set(t, err);
    if (c == '(') return group(t, err);
    if (c == '{') return interval(t, err);
    size_t size = dk_codepoint_size(t->pattern + t->at);
    if (c == '^') dk_strbuf_puts(t->out, "(?m:^)");
    else if (c == '$') dk_strbuf_puts(t->out, "(?m:$)");
    else dk_strbuf_append(t->out, t->pattern + t->at, size);
    t->at += size;
    return DK_OK;
}

int32_t dk_pattern_translate(const char *pattern, size_t size, dk_strbuf *out, dk_error *err)
{
    translation t = {.pattern = pattern, .size = size, .out = out};
    if (dk_valid_prefix(pattern, size) != size) return dk_fail(err, DK_E_FORMAT, "regular expression is not UTF-8");
    while (t.at < t.size) {
        int32_t rc = step(&t, err);
        if (rc) return rc;
    }
    if (t.depth) return dk_fail(err, DK_E_FORMAT, "regular expression '%.40s' has a set that is not closed", pattern);
    return dk_strbuf_check(out, err);
}
