#include "jinja/jinja_lexer.h"

#include "jinja/jinja_text.h"
#include "text/codepoint.h"

#include <string.h>

static int32_t add(dk_jinja_lexer *l, dk_jinja_token_type type, const char *text, size_t size)
{
    return dk_jinja_add_token(l, (dk_jinja_token){.type = type, .text = {text, size}});
}

static void advance(dk_jinja_lexer *l, size_t to)
{
    for (; l->at < to; l->at++) l->line += l->text[l->at] == '\n';
}

static int32_t at_text(const dk_jinja_lexer *l, size_t at, const char *what)
{
    size_t size = strlen(what);
    return at <= l->size && size <= l->size - at && !memcmp(l->text + at, what, size);
}

static size_t skip_space(const dk_jinja_lexer *l, size_t at)
{
    size_t end = l->size;
    dk_jinja_strip(l->text, NULL, DK_JINJA_LEFT, &at, &end);
    return at;
}

/* The text in front of a tag, less what the tag takes away: mark is '-', '+' or another character. */
static int32_t add_data(dk_jinja_lexer *l, size_t end, char mark, int32_t strips_line)
{
    size_t begin = l->at, stop = end, line;
    if (mark == '-') {
        dk_jinja_strip(l->text, NULL, DK_JINJA_RIGHT, &begin, &stop);
    } else if (mark != '+' && strips_line) {
        for (line = end; line > begin && l->text[line - 1] != '\n';) line--;
        size_t bare = skip_space(l, line);
        if (bare >= end && line < end && (line > begin || l->line_starts)) stop = line;
    }
    int32_t rc = stop > begin ? add(l, DK_LEX_DATA, l->text + begin, stop - begin) : DK_OK;
    advance(l, end);
    return rc;
}

/* Behind the end of a tag (at stands on its closing characters): takes away white space as its mark says. */
static int32_t close_tag(dk_jinja_lexer *l, const char *closing, int32_t trims)
{
    char mark = l->text[l->at];
    size_t end = l->at + strlen(closing);
    if (mark == '-' || mark == '+') end++;
    if (mark == '-') end = skip_space(l, end);
    else if (mark != '+' && trims && end < l->size && l->text[end] == '\n') end++;
    advance(l, end);
    l->line_starts = l->text[end - 1] == '\n';
    return DK_OK;
}

static int32_t ends_here(const dk_jinja_lexer *l, const char *closing)
{
    char mark = l->at < l->size ? l->text[l->at] : 0;
    int32_t marked = mark == '-' || (mark == '+' && closing[0] == '%');
    return at_text(l, l->at, closing) || (marked && at_text(l, l->at + 1, closing));
}

static int32_t skip_comment(dk_jinja_lexer *l)
{
    size_t begin = l->at + 2;
    if (begin < l->size && (l->text[begin] == '-' || l->text[begin] == '+')) begin++;
    for (size_t at = begin; at < l->size; at++) {
        if (!at_text(l, at, "#}")) continue;
        char mark = at > begin ? l->text[at - 1] : 0;
        advance(l, mark == '-' || mark == '+' ? at - 1 : at);
        return close_tag(l, "#}", 1);
    }
    return dk_jinja_lex_fail(l, "a comment that {# opens has no #}");
}

/* The end of "{% word %}" at `at`, 0 = it is none. Its marks are the characters behind {% and in front of %}. */
static size_t whole_tag(const dk_jinja_lexer *l, size_t at, const char *word, char *before, char *behind)
{
    if (!at_text(l, at, "{%")) return 0;
    at += 2;
    *before = at < l->size ? l->text[at] : 0;
    at = skip_space(l, at + (*before == '-' || *before == '+'));
    if (!at_text(l, at, word)) return 0;
    at = skip_space(l, at + strlen(word));
    *behind = at < l->size ? l->text[at] : 0;
    if (*behind == '-' || *behind == '+') at++;
    return at_text(l, at, "%}") ? at + 2 : 0;
}

static int32_t lex_raw(dk_jinja_lexer *l, size_t body, char behind)
{
    char before = 0;
    size_t end = 0, at;
    int32_t rc;
    advance(l, behind == '-' ? skip_space(l, body) : body);
    l->line_starts = l->text[l->at - 1] == '\n';
    for (at = l->at; at < l->size && !(end = whole_tag(l, at, "endraw", &before, &behind));) at++;
    if (!end) return dk_jinja_lex_fail(l, "{%% raw %%} has no {%% endraw %%}");
    DK_TRY(add_data(l, at, before, 1));
    advance(l, behind == '-' || behind == '+' ? end - 3 : end - 2);
    rc = close_tag(l, "%}", 1);
out:
    return rc;
}

static int32_t lex_inside(dk_jinja_lexer *l, const char *closing)
{
    char open[64];
    int32_t depth = 0, rc = DK_OK;
    for (;;) {
        advance(l, skip_space(l, l->at));
        if (l->at >= l->size) return dk_jinja_lex_fail(l, "a tag has no %s", closing);
        if (!depth && ends_here(l, closing)) return DK_OK;
        char c = l->text[l->at];
        if (c == '(' || c == '[' || c == '{') {
            if (depth == (int32_t)sizeof open) return dk_jinja_lex_fail(l, "brackets nest deeper than %d", depth);
            open[depth++] = c == '(' ? ')' : (char)(c + 2);
        } else if (c == ')' || c == ']' || c == '}') {
            if (!depth || open[--depth] != c) return dk_jinja_lex_fail(l, "'%c' closes no bracket", c);
        }
        DK_TRY(dk_jinja_lex_token(l));
    }
out:
    return rc;
}

static int32_t lex_tag(dk_jinja_lexer *l, const char *closing, dk_jinja_token_type begin, dk_jinja_token_type end)
{
    int32_t rc;
    size_t inside = l->at + 2;
    if (inside < l->size && (l->text[inside] == '-' || l->text[inside] == '+')) inside++;
    DK_TRY(add(l, begin, l->text + l->at, 2));
    advance(l, inside);
    DK_TRY(lex_inside(l, closing));
    DK_TRY(add(l, end, l->text + l->at, 2));
    rc = close_tag(l, closing, closing[0] == '%');
out:
    return rc;
}

static int32_t lex_next(dk_jinja_lexer *l)
{
    size_t at = l->at;
    char before, behind;
    int32_t rc;
    while (at + 1 < l->size && !(l->text[at] == '{' && memchr("{%#", l->text[at + 1], 3))) at++;
    if (at + 1 >= l->size) return add_data(l, l->size, '+', 0);
    before = at + 2 < l->size ? l->text[at + 2] : 0;
    DK_TRY(add_data(l, at, before, l->text[at + 1] != '{'));
    size_t raw = whole_tag(l, at, "raw", &before, &behind);
    if (raw && behind != '+') rc = lex_raw(l, raw, behind);
    else if (l->text[at + 1] == '#') rc = skip_comment(l);
    else if (l->text[at + 1] == '%') rc = lex_tag(l, "%}", DK_LEX_BLOCK_BEGIN, DK_LEX_BLOCK_END);
    else rc = lex_tag(l, "}}", DK_LEX_PRINT_BEGIN, DK_LEX_PRINT_END);
out:
    return rc;
}

int32_t dk_jinja_lex(dk_jinja_lexer *l)
{
    int32_t rc = DK_OK;
    l->line = 1;
    l->line_starts = 1;
    while (l->at < l->size) DK_TRY(lex_next(l));
    rc = add(l, DK_LEX_END, "", 0);
out:
    return rc;
}
