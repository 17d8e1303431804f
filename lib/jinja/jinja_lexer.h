/* jinja_lexer.h - the text of a template as tokens. White space is controlled here: what a tag takes away in front of
 * it and behind it is not in the tokens. Private to lib/jinja. */
#ifndef DK_JINJA_LEXER_H
#define DK_JINJA_LEXER_H

#include "jinja/jinja_tree.h"

typedef enum {
    DK_LEX_DATA,
    DK_LEX_PRINT_BEGIN,
    DK_LEX_PRINT_END,
    DK_LEX_BLOCK_BEGIN,
    DK_LEX_BLOCK_END,
    DK_LEX_NAME,
    DK_LEX_INT,
    DK_LEX_FLOAT,
    DK_LEX_STRING,
    DK_LEX_SIGN, /* op */
    DK_LEX_END
} dk_jinja_token_type;

/* Signs by what they are spelled with: one character, or two as first | second << 8. */
#define DK_SIGN2(first, second) ((first) | (second) << 8)

typedef struct dk_jinja_token {
    int32_t type, line, op;
    dk_slice text; /* DATA and STRING: what they say; else the spelling */
    int64_t i64;
    double f64;
} dk_jinja_token;
typedef struct dk_jinja_lexer {
    dk_jinja *jinja; /* tokens live in its arena */
    const char *text;
    size_t size, at;
    int32_t line;
    int32_t line_starts; /* what the last tag took away ends with a new line, or there was none yet */
    dk_jinja_token *tokens;
    size_t count, capacity;
    dk_error *err;
} dk_jinja_lexer;
/* text is valid UTF-8 whose lines end with \n. */
int32_t dk_jinja_lex(dk_jinja_lexer *lexer);

/* ---- shared by its two files ---- */
int32_t dk_jinja_lex_fail(dk_jinja_lexer *lexer, const char *format, ...) DK_PRINTF(2, 3);
int32_t dk_jinja_add_token(dk_jinja_lexer *lexer, dk_jinja_token token);
/* One token of an expression at lexer->at, which is no white space. */
int32_t dk_jinja_lex_token(dk_jinja_lexer *lexer);

#endif
