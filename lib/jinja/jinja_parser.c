/* What all parts of the parser share. */
#include "jinja/jinja_parser.h"

#include "jinja/jinja_message.h"

#include <string.h>

enum { PARSE_DEPTH = 100 };

int32_t dk_jinja_parse_fail(dk_jinja_parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int32_t rc = dk_jinja_fail_at(p->err, DK_E_FORMAT, p->jinja->name, dk_jinja_token_at(p)->line, format, args);
    va_end(args);
    return rc;
}

int32_t dk_jinja_is_sign(const dk_jinja_parser *p, int32_t op)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    return token->type == DK_LEX_SIGN && token->op == op;
}

int32_t dk_jinja_is_word(const dk_jinja_parser *p, const char *word)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    return token->type == DK_LEX_NAME && token->text.size == strlen(word) &&
           !memcmp(token->text.data, word, token->text.size);
}

int32_t dk_jinja_take_sign(dk_jinja_parser *p, int32_t op)
{
    int32_t there = dk_jinja_is_sign(p, op);
    p->at += (size_t)there;
    return there;
}

int32_t dk_jinja_take_word(dk_jinja_parser *p, const char *word)
{
    int32_t there = dk_jinja_is_word(p, word);
    p->at += (size_t)there;
    return there;
}

int32_t dk_jinja_expect_sign(dk_jinja_parser *p, int32_t op)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    if (dk_jinja_take_sign(p, op)) return DK_OK;
    if (token->type == DK_LEX_END) return dk_jinja_parse_fail(p, "the template ends where '%c' must stand", op);
    return dk_jinja_parse_fail(p, "'%.*s' stands where '%c' must", (int)(token->text.size < 40 ? token->text.size : 40),
                               token->text.data, op);
}

int32_t dk_jinja_new_node(dk_jinja_parser *p, dk_jinja_node_type type, dk_jinja_node **out)
{
    if (!(*out = dk_jinja_take(&p->jinja->arena, sizeof **out))) return dk_fail_nomem(p->err, sizeof **out);
    (*out)->type = type;
    (*out)->line = dk_jinja_token_at(p)->line;
    return DK_OK;
}

int32_t dk_jinja_read_name(dk_jinja_parser *p, int32_t *name)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    if (token->type != DK_LEX_NAME) return dk_jinja_parse_fail(p, "a name must stand here");
    *name = dk_jinja_name(p->jinja, token->text.data, token->text.size);
    if (*name < 0) return dk_jinja_parse_fail(p, "more names than are taken");
    p->at++;
    return DK_OK;
}

int32_t dk_jinja_deeper(dk_jinja_parser *p)
{
    if (p->depth >= PARSE_DEPTH) return dk_jinja_parse_fail(p, "it nests deeper than %d", PARSE_DEPTH);
    p->depth++;
    return DK_OK;
}
