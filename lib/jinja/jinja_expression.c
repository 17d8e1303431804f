/* Operators, by how tightly they bind. */
#include "jinja/jinja_parser.h"

#include <string.h>

static int32_t binary(dk_jinja_parser *p, dk_jinja_node_type type, int32_t op, dk_jinja_node **left,
                      int32_t (*read)(dk_jinja_parser *p, dk_jinja_node **out))
{
    dk_jinja_node *node;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, type, &node));
    node->op = op;
    node->a = *left;
    p->at++;
    DK_TRY(read(p, &node->b));
    *left = node;
out:
    return rc;
}

static int32_t parse_unary(dk_jinja_parser *p, dk_jinja_node **out) { return dk_jinja_parse_unary(p, 1, out); }

static int32_t is_one_of(const dk_jinja_parser *p, const int32_t *ops)
{
    for (; *ops; ops++)
        if (dk_jinja_is_sign(p, *ops)) return *ops;
    return 0;
}

static int32_t parse_chain(dk_jinja_parser *p, const int32_t *ops,
                           int32_t (*read)(dk_jinja_parser *p, dk_jinja_node **out), dk_jinja_node **out)
{
    int32_t op, rc;
    DK_TRY(read(p, out));
    while ((op = is_one_of(p, ops))) DK_TRY(binary(p, DK_TREE_BINARY, op, out, read));
out:
    return rc;
}

static int32_t parse_power(dk_jinja_parser *p, dk_jinja_node **out)
{
    static const int32_t ops[] = {DK_SIGN2('*', '*'), 0};
    return parse_chain(p, ops, parse_unary, out);
}

static int32_t parse_product(dk_jinja_parser *p, dk_jinja_node **out)
{
    static const int32_t ops[] = {'*', '/', DK_SIGN2('/', '/'), '%', 0};
    return parse_chain(p, ops, parse_power, out);
}

static int32_t parse_joined(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node *node, *last;
    int32_t rc;
    DK_TRY(parse_product(p, out));
    if (!dk_jinja_is_sign(p, '~')) goto out;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_JOINED, &node));
    node->args = last = *out;
    while (dk_jinja_take_sign(p, '~')) {
        DK_TRY(parse_product(p, &last->next));
        last = last->next;
    }
    *out = node;
out:
    return rc;
}

static int32_t parse_sum(dk_jinja_parser *p, dk_jinja_node **out)
{
    static const int32_t ops[] = {'+', '-', 0};
    return parse_chain(p, ops, parse_joined, out);
}

static int32_t comparison(dk_jinja_parser *p)
{
    static const int32_t ops[] = {
        DK_SIGN2('=', '='), DK_SIGN2('!', '='), DK_SIGN2('<', '='), DK_SIGN2('>', '='), '<', '>', 0};
    int32_t op = is_one_of(p, ops);
    if (op) return p->at++, op;
    if (dk_jinja_take_word(p, "in")) return 'i';
    if (!dk_jinja_is_word(p, "not")) return 0;
    p->at++;
    if (dk_jinja_take_word(p, "in")) return 'n';
    p->at--;
    return 0;
}

static int32_t parse_compared(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node *node = NULL, **last = NULL;
    int32_t rc, op;
    DK_TRY(parse_sum(p, out));
    while ((op = comparison(p))) {
        if (!node) {
            DK_TRY(dk_jinja_new_node(p, DK_TREE_COMPARED, &node));
            node->a = *out;
            last = &node->args;
            *out = node;
        }
        DK_TRY(dk_jinja_new_node(p, DK_TREE_ARGUMENT, last));
        (*last)->op = op;
        DK_TRY(parse_sum(p, &(*last)->a));
        last = &(*last)->next;
    }
out:
    return rc;
}

static int32_t parse_not(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    if (!dk_jinja_is_word(p, "not")) return parse_compared(p, out);
    DK_TRY(dk_jinja_deeper(p));
    rc = dk_jinja_new_node(p, DK_TREE_NOT, out);
    p->at++;
    if (!rc) rc = parse_not(p, &(*out)->a);
    p->depth--;
out:
    return rc;
}

static int32_t parse_and(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(parse_not(p, out));
    while (dk_jinja_is_word(p, "and")) DK_TRY(binary(p, DK_TREE_AND, 0, out, parse_not));
out:
    return rc;
}

int32_t dk_jinja_parse_or(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_deeper(p));
    rc = parse_and(p, out);
    while (!rc && dk_jinja_is_word(p, "or")) rc = binary(p, DK_TREE_OR, 0, out, parse_and);
    p->depth--;
out:
    return rc;
}

static int32_t parse_either(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node *node, *open = p->open;
    int32_t rc;
    DK_TRY(dk_jinja_parse_or(p, out));
    while (dk_jinja_is_word(p, "if")) {
        DK_TRY(dk_jinja_new_node(p, DK_TREE_EITHER, &node));
        node->a = *out;
        p->at++;
        DK_TRY(dk_jinja_parse_or(p, &node->b));
        if (dk_jinja_take_word(p, "else")) DK_TRY(dk_jinja_parse_expression(p, &node->c));
        *out = node;
        p->open = open; /* not every text comes by */
    }
out:
    return rc;
}

int32_t dk_jinja_parse_expression(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_deeper(p));
    rc = parse_either(p, out);
    p->depth--;
out:
    return rc;
}

static int32_t ends_tuple(const dk_jinja_parser *p)
{
    int32_t type = dk_jinja_token_at(p)->type;
    return type == DK_LEX_BLOCK_END || type == DK_LEX_PRINT_END || dk_jinja_is_sign(p, ')') ||
           dk_jinja_is_word(p, "if");
}

int32_t dk_jinja_parse_tuple(dk_jinja_parser *p, int32_t with_either, dk_jinja_node **out)
{
    int32_t (*const read)(dk_jinja_parser *, dk_jinja_node **) =
        with_either ? dk_jinja_parse_expression : dk_jinja_parse_or;
    dk_jinja_node *node, *last;
    int32_t rc;
    DK_TRY(read(p, out));
    if (!dk_jinja_is_sign(p, ',')) goto out;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_TUPLE_OF, &node));
    node->args = last = *out;
    while (dk_jinja_take_sign(p, ',') && !ends_tuple(p)) {
        DK_TRY(read(p, &last->next));
        last = last->next;
    }
    *out = node;
out:
    return rc;
}
