/* record_raw.c - values of a line as they were written: numbers keep all their digits. The line was parsed before, so
 * what is looked for here is only where a value ends. */
#include <string.h>

#include "augment/record.h"

typedef struct scan {
    const char *at, *end;
} scan;

static void skip_spaces(scan *s)
{
    while (s->at < s->end && memchr(" \t\r\n", *s->at, 4)) s->at++;
}

static int32_t take(scan *s, char what)
{
    skip_spaces(s);
    if (s->at >= s->end || *s->at != what) return 0;
    s->at++;
    return 1;
}

/* A text with its quotes. */
static int32_t skip_text(scan *s)
{
    if (!take(s, '"')) return 0;
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
    return s->at < s->end && *s->at++ == '"';
}

/* One token of a value, which is appended; *depth counts what is open. */
static int32_t take_token(scan *s, int64_t *depth, dk_strbuf *out)
{
    skip_spaces(s);
    const char *begin = s->at;
    if (begin >= s->end) return 0;
    if (*begin == '"') {
        if (!skip_text(s)) return 0;
    } else if (memchr("{}[],:", *begin, 6)) {
        *depth += *begin == '{' || *begin == '[';
        *depth -= *begin == '}' || *begin == ']';
        s->at++;
    } else {
        while (s->at < s->end && !memchr("{}[],:\" \t\r\n", *s->at, 11)) s->at++;
    }
    if (out) dk_strbuf_append(out, begin, (size_t)(s->at - begin));
    return *depth >= 0;
}

static int32_t take_value(scan *s, dk_strbuf *out)
{
    int64_t depth = 0;
    do {
        if (!take_token(s, &depth, out)) return 0;
    } while (depth > 0);
    return 1;
}

int32_t di_raw_member(const char *json, size_t size, size_t index, dk_strbuf *out)
{
    scan s = {json, json + size};
    if (!take(&s, '{')) return 0;
    for (size_t i = 0;; i++) {
        if (!skip_text(&s) || !take(&s, ':') || !take_value(&s, i == index ? out : NULL)) return 0;
        if (i == index) return 1;
        if (!take(&s, ',')) return 0;
    }
}
