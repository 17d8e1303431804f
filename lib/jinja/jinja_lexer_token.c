/* Tokens inside of tags: names, numbers, strings and signs. */
#include "base/strbuf.h"
#include "jinja/jinja_lexer.h"
#include "jinja/jinja_message.h"
#include "text/codepoint.h"

#include <stdio.h>
#include <string.h>

int32_t dk_jinja_lex_fail(dk_jinja_lexer *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int32_t rc = dk_jinja_fail_at(l->err, DK_E_FORMAT, l->jinja->name, l->line, format, args);
    va_end(args);
    return rc;
}

int32_t dk_jinja_add_token(dk_jinja_lexer *l, dk_jinja_token token)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 256;
        dk_jinja_token *tokens = dk_jinja_take(&l->jinja->arena, capacity * sizeof *tokens);
        if (!tokens) return dk_fail_nomem(l->err, capacity * sizeof *tokens);
        if (l->count) memcpy(tokens, l->tokens, l->count * sizeof *tokens);
        l->tokens = tokens;
        l->capacity = capacity;
    }
    token.line = l->line;
    l->tokens[l->count++] = token;
    return DK_OK;
}

static int32_t is_digit(char c) { return c >= '0' && c <= '9'; }
static int32_t is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static char peek(const dk_jinja_lexer *l, size_t ahead) { return l->at + ahead < l->size ? l->text[l->at + ahead] : 0; }

static size_t digits(const dk_jinja_lexer *l, size_t ahead)
{
    while (is_digit(peek(l, ahead)) || (peek(l, ahead) == '_' && is_digit(peek(l, ahead + 1)))) ahead++;
    return ahead;
}

static int32_t lex_number(dk_jinja_lexer *l)
{
    char bare[64];
    size_t end = digits(l, 0), used = 0, sign;
    dk_jinja_token token = {.type = DK_LEX_INT, .text = {l->text + l->at, 0}};
    if (peek(l, end) == '.' && is_digit(peek(l, end + 1))) token.type = DK_LEX_FLOAT, end = digits(l, end + 1);
    sign = (peek(l, end) | 32) == 'e' ? 1 + (peek(l, end + 1) == '-' || peek(l, end + 1) == '+') : 0;
    if (sign && is_digit(peek(l, end + sign))) token.type = DK_LEX_FLOAT, end = digits(l, end + sign);
    for (size_t i = 0; i < end && used < sizeof bare; i++)
        if (peek(l, i) != '_') bare[used++] = peek(l, i);
    token.text.size = end;
    if (is_letter(peek(l, end)) || end > sizeof bare ||
        (token.type == DK_LEX_INT && ((used > 1 && bare[0] == '0') || !dk_parse_i64(bare, used, &token.i64))) ||
        (token.type == DK_LEX_FLOAT && !dk_parse_f64(bare, used, &token.f64)))
        return dk_jinja_lex_fail(l, "'%.*s' is no number that is known here", (int)(end < 40 ? end + 1 : 40),
                                 token.text.data);
    l->at += end;
    return dk_jinja_add_token(l, token);
}

static int32_t lex_name(dk_jinja_lexer *l)
{
    size_t end = 0;
    while (is_letter(peek(l, end)) || is_digit(peek(l, end))) end++;
    int32_t rc = dk_jinja_add_token(l, (dk_jinja_token){.type = DK_LEX_NAME, .text = {l->text + l->at, end}});
    l->at += end;
    return rc;
}

static int32_t hex(const dk_jinja_lexer *l, size_t at, int32_t count, uint32_t *out)
{
    *out = 0;
    for (int32_t i = 0; i < count; i++) {
        char c = at + (size_t)i < l->size ? l->text[at + (size_t)i] : 0;
        char lower = (char)(c | 32);
        if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) return 0;
        *out = *out << 4 | (uint32_t)(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return *out <= 0x10ffff && (*out < 0xd800 || *out > 0xdfff);
}

static size_t octal(const dk_jinja_lexer *l, size_t at, uint32_t *out)
{
    size_t count = 0;
    for (*out = 0; count < 3 && at + count < l->size && l->text[at + count] >= '0' && l->text[at + count] <= '7';
         count++)
        *out = *out << 3 | (uint32_t)(l->text[at + count] - '0');
    return count;
}

/* The escape whose letter stands at `at`: appends what it means to out. Returns the bytes behind the backslash; 0 = it
 * is not known. */
static size_t unescape(const dk_jinja_lexer *l, size_t at, char *out, size_t *used)
{
    static const char letters[] = "ntrabfv\\'\"", meanings[] = "\n\t\r\a\b\f\v\\'\"";
    char c = l->text[at];
    const char *known = memchr(letters, c, sizeof letters - 1);
    int32_t count = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t point;
    size_t size;
    if (known) return out[(*used)++] = meanings[known - letters], 1;
    if (c == '\n') return 1;
    if (c == 'N') return 0;
    if (count) {
        if (!hex(l, at + 1, count, &point)) return 0;
        return *used += dk_codepoint_write(point, out + *used), (size_t)count + 1;
    }
    if ((size = octal(l, at, &point))) return *used += dk_codepoint_write(point, out + *used), size;
    out[(*used)++] = '\\'; /* Python keeps what it does not know */
    out[(*used)++] = c;
    return 1;
}

static int32_t lex_string(dk_jinja_lexer *l)
{
    const char quote = l->text[l->at];
    size_t end = l->at + 1, used = 0;
    while (end < l->size && l->text[end] != quote) end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->size) return dk_jinja_lex_fail(l, "a string has no closing %c", quote);
    char *out = dk_jinja_take(&l->jinja->arena, end - l->at);
    if (!out) return dk_fail_nomem(l->err, end - l->at);
    for (size_t at = l->at + 1; at < end; at++) {
        if (l->text[at] != '\\') {
            out[used++] = l->text[at];
            continue;
        }
        size_t size = unescape(l, at + 1, out, &used);
        if (!size) return dk_jinja_lex_fail(l, "the escape '\\%c' of a string is not known", l->text[at + 1]);
        at += size;
    }
    if (dk_valid_prefix(out, used) != used) return dk_jinja_lex_fail(l, "a string is cut inside of a character");
    int32_t rc = dk_jinja_add_token(l, (dk_jinja_token){.type = DK_LEX_STRING, .text = {out, used}});
    for (; l->at <= end; l->at++) l->line += l->text[l->at] == '\n';
    return rc;
}

static int32_t lex_sign(dk_jinja_lexer *l)
{
    static const char *const two[] = {"==", "!=", ">=", "<=", "//", "**"};
    char c = peek(l, 0);
    dk_jinja_token token = {.type = DK_LEX_SIGN, .op = c, .text = {l->text + l->at, 1}};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (c == two[i][0] && peek(l, 1) == two[i][1]) token.op = DK_SIGN2(c, two[i][1]), token.text.size = 2;
    if (token.text.size == 1 && (!c || !strchr("+-/*%~[](){}<>=.:|,;", c))) {
        size_t size = dk_codepoint_size(l->text + l->at);
        return dk_jinja_lex_fail(l, "the character '%.*s' is not known here", (int)size, l->text + l->at);
    }
    l->at += token.text.size;
    return dk_jinja_add_token(l, token);
}

int32_t dk_jinja_lex_token(dk_jinja_lexer *l)
{
    char c = peek(l, 0);
    if (is_letter(c)) return lex_name(l);
    if (is_digit(c)) return lex_number(l);
    if (c == '\'' || c == '"') return lex_string(l);
    return lex_sign(l);
}
