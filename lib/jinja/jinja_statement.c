/* Tags and what stands between them. */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_parser.h"
#include "text/codepoint.h"

#include <string.h>

enum { TEXT_LIMIT = 1 << 20, TREE_MEMORY = 1 << 28 };

static int32_t parse_body(dk_jinja_parser *p, const char *const *ends, dk_jinja_node **out);

static int32_t end_tag(dk_jinja_parser *p)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    if (token->type == DK_LEX_BLOCK_END) return p->at++, DK_OK;
    return dk_jinja_parse_fail(p, "'%.*s' stands where a tag must end",
                               (int)(token->text.size < 40 ? token->text.size : 40), token->text.data);
}

/* A body up to one of `ends`, whose word is read; the tag is not ended. */
static int32_t body_until(dk_jinja_parser *p, const char *const *ends, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(end_tag(p));
    DK_TRY(dk_jinja_deeper(p));
    rc = parse_body(p, ends, out);
    p->depth--;
out:
    return rc;
}

static int32_t whole_body(dk_jinja_parser *p, const char *end, dk_jinja_node **out)
{
    const char *const ends[] = {end, NULL};
    int32_t rc;
    DK_TRY(body_until(p, ends, out));
    p->at++;
    rc = end_tag(p);
out:
    return rc;
}

static int32_t parse_if(dk_jinja_parser *p, dk_jinja_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    dk_jinja_node *node;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_IF, out));
    node = *out;
    for (;;) {
        DK_TRY(dk_jinja_parse_expression(p, &node->a));
        DK_TRY(body_until(p, ends, &node->body));
        if (!dk_jinja_take_word(p, "elif")) break;
        DK_TRY(dk_jinja_new_node(p, DK_TREE_IF, &node->other));
        node = node->other;
    }
    if (dk_jinja_take_word(p, "endif")) return end_tag(p);
    p->at++;
    rc = whole_body(p, "endif", &node->other);
out:
    return rc;
}

/* ---- what is set ---- */

static int32_t parse_target_name(dk_jinja_parser *p, int32_t with_namespace, dk_jinja_node **out)
{
    static const char *const taken[] = {"true", "false", "none", "True", "False", "None", "loop"};
    int32_t rc;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (dk_jinja_is_word(p, taken[i])) return dk_jinja_parse_fail(p, "'%s' cannot be set", taken[i]);
    DK_TRY(dk_jinja_new_node(p, DK_TREE_NAME, out));
    DK_TRY(dk_jinja_read_name(p, &(*out)->name));
    if (with_namespace && dk_jinja_take_sign(p, '.')) {
        (*out)->type = DK_TREE_ATTRIBUTE;
        (*out)->text = dk_jinja_token_at(p)->text;
        if (dk_jinja_token_at(p)->type != DK_LEX_NAME) return dk_jinja_parse_fail(p, "a name must stand behind '.'");
        if ((*out)->text.data[0] == '_') return dk_jinja_parse_fail(p, "a name in a namespace cannot begin with _");
        p->at++;
    } else {
        p->bound[(*out)->name] = 1;
    }
out:
    return rc;
}

static int32_t parse_target(dk_jinja_parser *p, int32_t with_namespace, dk_jinja_node **out)
{
    int32_t brackets = dk_jinja_take_sign(p, '('), rc;
    dk_jinja_node *node, *last;
    DK_TRY(parse_target_name(p, with_namespace, out));
    if (dk_jinja_is_sign(p, ',')) {
        DK_TRY(dk_jinja_new_node(p, DK_TREE_TUPLE_OF, &node));
        node->args = last = *out;
        while (dk_jinja_take_sign(p, ',') && dk_jinja_token_at(p)->type == DK_LEX_NAME && !dk_jinja_is_word(p, "in")) {
            DK_TRY(parse_target_name(p, with_namespace, &last->next));
            last = last->next;
        }
        *out = node;
    }
    if (brackets) rc = dk_jinja_expect_sign(p, ')');
out:
    return rc;
}

static int32_t parse_set(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_SET, out));
    DK_TRY(parse_target(p, 1, &(*out)->a));
    if (dk_jinja_take_sign(p, '=')) {
        DK_TRY(dk_jinja_parse_tuple(p, 1, &(*out)->b));
        rc = end_tag(p);
        goto out;
    }
    (*out)->type = DK_TREE_SET_BLOCK;
    if ((*out)->a->type == DK_TREE_TUPLE_OF) {
        rc = dk_jinja_parse_fail(p, "a block sets one name");
        goto out;
    }
    DK_TRY(dk_jinja_new_node(p, DK_TREE_HELD, &(*out)->b));
    DK_TRY(dk_jinja_parse_filters(p, &(*out)->b));
    rc = whole_body(p, "endset", &(*out)->body);
out:
    return rc;
}

static int32_t parse_with(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node **last;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_WITH, out));
    last = &(*out)->args;
    while (dk_jinja_token_at(p)->type != DK_LEX_BLOCK_END) {
        if (*(&(*out)->args)) DK_TRY(dk_jinja_expect_sign(p, ','));
        DK_TRY(dk_jinja_new_node(p, DK_TREE_SET, last));
        DK_TRY(parse_target(p, 0, &(*last)->a));
        DK_TRY(dk_jinja_expect_sign(p, '='));
        DK_TRY(dk_jinja_parse_expression(p, &(*last)->b));
        last = &(*last)->next;
    }
    rc = whole_body(p, "endwith", &(*out)->body);
out:
    return rc;
}

/* ---- loops and macros ---- */

static int32_t parse_for(dk_jinja_parser *p, dk_jinja_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_FOR, out));
    DK_TRY(parse_target(p, 0, &(*out)->a));
    if (!dk_jinja_take_word(p, "in")) {
        rc = dk_jinja_parse_fail(p, "a loop needs 'in'");
        goto out;
    }
    DK_TRY(dk_jinja_parse_tuple(p, 0, &(*out)->b));
    if (dk_jinja_take_word(p, "if")) DK_TRY(dk_jinja_parse_expression(p, &(*out)->c));
    if (dk_jinja_is_word(p, "recursive")) {
        rc = dk_jinja_parse_fail(p, "recursive loops are not supported");
        goto out;
    }
    p->loops++;
    rc = body_until(p, ends, &(*out)->body);
    p->loops--;
    DK_TRY(rc);
    if (dk_jinja_take_word(p, "endfor")) return end_tag(p);
    p->at++;
    rc = whole_body(p, "endfor", &(*out)->other);
out:
    return rc;
}

static int32_t parse_parameters(dk_jinja_parser *p, dk_jinja_node **last)
{
    int32_t rc;
    dk_jinja_node *name;
    DK_TRY(dk_jinja_expect_sign(p, '('));
    while (!dk_jinja_is_sign(p, ')')) {
        DK_TRY(dk_jinja_new_node(p, DK_TREE_ARGUMENT, last));
        (*last)->text = dk_jinja_token_at(p)->text;
        DK_TRY(parse_target_name(p, 0, &name));
        (*last)->name = name->name;
        if (dk_jinja_take_sign(p, '=')) DK_TRY(dk_jinja_parse_expression(p, &(*last)->a));
        last = &(*last)->next;
        if (!dk_jinja_is_sign(p, ')')) DK_TRY(dk_jinja_expect_sign(p, ','));
    }
    p->at++;
out:
    return rc;
}

static int32_t parse_macro(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc, loops = p->loops;
    dk_jinja_node *name;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_MACRO, out));
    (*out)->text = dk_jinja_token_at(p)->text;
    DK_TRY(parse_target_name(p, 0, &name));
    (*out)->name = name->name;
    DK_TRY(parse_parameters(p, &(*out)->args));
    p->loops = 0;
    p->macros++;
    rc = whole_body(p, "endmacro", &(*out)->body);
    p->macros--;
    p->loops = loops;
out:
    return rc;
}

static int32_t parse_generation(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc, loops = p->loops;
    if (p->generations || p->macros)
        return dk_jinja_parse_fail(p, "generation stands inside of a %s, where what it marks has no place",
                                   p->macros ? "macro" : "generation");
    DK_TRY(dk_jinja_new_node(p, DK_TREE_GENERATION, out));
    p->jinja->has_generation = p->generations = 1;
    p->loops = 0;
    rc = whole_body(p, "endgeneration", &(*out)->body);
    p->generations = 0;
    p->loops = loops;
out:
    return rc;
}

static int32_t parse_leave(dk_jinja_parser *p, dk_jinja_node_type type, dk_jinja_node **out)
{
    int32_t rc;
    if (!p->loops) return dk_jinja_parse_fail(p, "break and continue stand in loops alone");
    DK_TRY(dk_jinja_new_node(p, type, out));
    rc = end_tag(p);
out:
    return rc;
}

/* What not every text comes by. */
static int32_t parse_skipped(dk_jinja_parser *p, int32_t (*parse)(dk_jinja_parser *p, dk_jinja_node **out),
                             dk_jinja_node *open, dk_jinja_node **out)
{
    int32_t rc = parse(p, out);
    p->open = open;
    return rc;
}

static int32_t parse_tag(dk_jinja_parser *p, dk_jinja_node **out)
{
    const dk_jinja_token *token;
    dk_jinja_node *open = p->open;
    p->at++;
    token = dk_jinja_token_at(p);
    if (dk_jinja_take_word(p, "if")) return parse_skipped(p, parse_if, open, out);
    if (dk_jinja_take_word(p, "for")) return parse_skipped(p, parse_for, open, out);
    if (dk_jinja_take_word(p, "set")) return parse_set(p, out);
    if (dk_jinja_take_word(p, "with")) return parse_with(p, out);
    if (dk_jinja_take_word(p, "macro")) return parse_skipped(p, parse_macro, open, out);
    if (dk_jinja_take_word(p, "generation")) return parse_generation(p, out);
    if (dk_jinja_take_word(p, "break")) return parse_leave(p, DK_TREE_BREAK_LOOP, out);
    if (dk_jinja_take_word(p, "continue")) return parse_leave(p, DK_TREE_CONTINUE_LOOP, out);
    return dk_jinja_parse_fail(p, "tag '%.*s' is not known here", (int)(token->text.size < 60 ? token->text.size : 60),
                               token->text.data);
}

static int32_t parse_data(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_text *text = dk_jinja_take(&p->jinja->arena, sizeof *text);
    int32_t rc;
    if (!text) return dk_fail_nomem(p->err, sizeof *text);
    *text = (dk_jinja_text){dk_jinja_token_at(p)->text.data, dk_jinja_token_at(p)->text.size, NULL, 0};
    DK_TRY(dk_jinja_new_node(p, DK_TREE_DATA, out));
    (*out)->literal = dk_jinja_of_text(text);
    p->at++;
out:
    return rc;
}

static int32_t parse_print(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    p->at++;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_PRINT, out));
    DK_TRY(dk_jinja_parse_tuple(p, 1, &(*out)->a));
    if (dk_jinja_token_at(p)->type == DK_LEX_PRINT_END) return p->at++, DK_OK;
    rc = dk_jinja_parse_fail(p, "'%.*s' stands where }} must",
                             (int)(dk_jinja_token_at(p)->text.size < 40 ? dk_jinja_token_at(p)->text.size : 40),
                             dk_jinja_token_at(p)->text.data);
out:
    return rc;
}

static int32_t is_end(const dk_jinja_parser *p, const char *const *ends)
{
    dk_jinja_parser ahead = {.tokens = p->tokens, .at = p->at + 1};
    for (; *ends; ends++)
        if (dk_jinja_is_word(&ahead, *ends)) return 1;
    return 0;
}

static int32_t parse_body(dk_jinja_parser *p, const char *const *ends, dk_jinja_node **out)
{
    int32_t rc = DK_OK;
    for (;; out = &(*out)->next) {
        int32_t type = dk_jinja_token_at(p)->type;
        if (type == DK_LEX_END) {
            if (!*ends) return DK_OK;
            return dk_jinja_parse_fail(p, "the template ends where '%s' must stand", *ends);
        }
        if (type == DK_LEX_DATA) DK_TRY(parse_data(p, out));
        else if (type == DK_LEX_PRINT_BEGIN) DK_TRY(parse_print(p, out));
        else if (is_end(p, ends)) return p->at++, DK_OK;
        else DK_TRY(parse_tag(p, out));
    }
out:
    return rc;
}

/* ---- the whole ---- */

/* What nobody knows is said at once where a text always comes by; behind conditions, and in loops and macros, only
 * when one does: templates are written for other programs, too. */
static int32_t check_open(dk_jinja_parser *p)
{
    char text[DK_JINJA_UNKNOWN_TEXT];
    const dk_jinja_node *wrong = NULL; /* the first: later ones come first */
    for (const dk_jinja_node *at = p->open; at; at = at->other) {
        const dk_jinja_node *callee = at->type == DK_TREE_CALL ? at->a : NULL;
        if (callee && callee->type == DK_TREE_NAME &&
            (p->bound[callee->name] || dk_jinja_function(callee->text.data, callee->text.size)))
            continue;
        wrong = at;
    }
    if (!wrong) return DK_OK;
    return dk_fail_at(p->err, DK_E_FORMAT, wrong->line, "%.80s line %d: %s", p->jinja->name, (int)wrong->line,
                      dk_jinja_unknown(wrong, text));
}

/* Lines end with \n, and the last one's end is no part of the template. */
static int32_t copy_text(dk_jinja *jinja, const char *text, size_t size, dk_jinja_lexer *out, dk_error *err)
{
    char *copy = dk_jinja_take(&jinja->arena, size + 1);
    size_t used = 0, bad = dk_valid_prefix(text, size);
    if (!copy) return dk_fail_nomem(err, size);
    if (bad != size)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)bad, "%.80s: byte %zu is not UTF-8", jinja->name, bad);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\r' && i + 1 < size && text[i + 1] == '\n') continue;
        copy[used++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (used && copy[used - 1] == '\n') used--;
    out->text = copy;
    out->size = used;
    return DK_OK;
}

static int32_t parse(dk_jinja *jinja, const char *text, size_t size, dk_error *err)
{
    static const char *const no_end[] = {NULL};
    dk_jinja_lexer lexer = {.jinja = jinja, .err = err};
    dk_jinja_parser *p = dk_calloc(jinja->host, 1, sizeof *p);
    int32_t rc;
    if (!p) return dk_fail_nomem(err, sizeof *p);
    DK_TRY(copy_text(jinja, text, size, &lexer, err));
    DK_TRY(dk_jinja_lex(&lexer));
    *p = (dk_jinja_parser){.jinja = jinja, .tokens = lexer.tokens, .err = err};
    p->expression = dk_jinja_parse_expression;
    p->tuple = dk_jinja_parse_tuple;
    if ((jinja->loop = dk_jinja_name(jinja, "loop", 4)) < 0) {
        rc = dk_fail_nomem(err, size);
        goto out;
    }
    DK_TRY(parse_body(p, no_end, &jinja->body));
    rc = check_open(p);
out:
    dk_free(jinja->host, p);
    return rc;
}

int32_t dk_jinja_parse(dk_host *host, const char *name, const char *text, size_t size, dk_jinja **out, dk_error *err)
{
    dk_jinja *jinja = NULL;
    int32_t rc;
    if (size > TEXT_LIMIT)
        return dk_fail(err, DK_E_UNSUPPORTED, "%.80s has %zu bytes, at most %d are read", name, size, TEXT_LIMIT);
    DK_TRY(dk_new(host, 1, &jinja, err));
    jinja->host = host;
    dk_jinja_arena_init(&jinja->arena, host, TREE_MEMORY);
    char *own = dk_jinja_take(&jinja->arena, strlen(name) + 1);
    if (!own) {
        rc = dk_fail_nomem(err, strlen(name));
        goto out;
    }
    jinja->name = memcpy(own, name, strlen(name));
    DK_TRY(parse(jinja, text, size, err));
    *out = jinja;
    return DK_OK;
out:
    dk_jinja_free(jinja);
    return rc;
}
