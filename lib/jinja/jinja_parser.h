/* jinja_parser.h - tokens become a tree. Private to lib/jinja. */
#ifndef DK_JINJA_PARSER_H
#define DK_JINJA_PARSER_H

#include "jinja/jinja_lexer.h"

typedef struct dk_jinja_parser dk_jinja_parser;
struct dk_jinja_parser {
    dk_jinja *jinja;
    const dk_jinja_token *tokens; /* ends with DK_LEX_END */
    size_t at;
    int32_t depth;
    int32_t loops;               /* that a break would leave */
    int32_t macros, generations; /* around here */
    dk_jinja_node *open;         /* calls, and filters and tests that nobody knows, linked by other: see check_open */
    uint8_t bound[4096];         /* by name: something sets it */
    dk_error *err;
    /* What stands in brackets: jinja_primary.c knows whole expressions by these alone. */
    int32_t (*expression)(dk_jinja_parser *parser, dk_jinja_node **out);
    int32_t (*tuple)(dk_jinja_parser *parser, int32_t with_either, dk_jinja_node **out);
};

int32_t dk_jinja_parse_fail(dk_jinja_parser *parser, const char *format, ...) DK_PRINTF(2, 3);
static inline const dk_jinja_token *dk_jinja_token_at(const dk_jinja_parser *parser)
{
    return &parser->tokens[parser->at];
}
int32_t dk_jinja_is_sign(const dk_jinja_parser *parser, int32_t op);
int32_t dk_jinja_is_word(const dk_jinja_parser *parser, const char *word);
int32_t dk_jinja_take_sign(dk_jinja_parser *parser, int32_t op); /* 1 = it was there, and is read */
int32_t dk_jinja_take_word(dk_jinja_parser *parser, const char *word);
int32_t dk_jinja_expect_sign(dk_jinja_parser *parser, int32_t op);
int32_t dk_jinja_new_node(dk_jinja_parser *parser, dk_jinja_node_type type, dk_jinja_node **out);
int32_t dk_jinja_read_name(dk_jinja_parser *parser, int32_t *name);
int32_t dk_jinja_deeper(dk_jinja_parser *parser); /* the caller takes parser->depth back where this was DK_OK */

/* ---- jinja_expression.c ---- */
int32_t dk_jinja_parse_expression(dk_jinja_parser *parser, dk_jinja_node **out);
int32_t dk_jinja_parse_or(dk_jinja_parser *parser, dk_jinja_node **out); /* without "if ... else" */
int32_t dk_jinja_parse_tuple(dk_jinja_parser *parser, int32_t with_either,
                             dk_jinja_node **out); /* a, b without brackets */
/* ---- jinja_primary.c: what operators join, and what stands behind it ---- */
int32_t dk_jinja_parse_unary(dk_jinja_parser *parser, int32_t with_filters, dk_jinja_node **out);
int32_t dk_jinja_parse_filters(dk_jinja_parser *parser, dk_jinja_node **node);

#endif
