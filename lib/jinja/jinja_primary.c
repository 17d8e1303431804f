/* Literals, names, brackets, and what stands behind them: attributes, items, calls, filters and tests. */
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_parser.h"

#include <string.h>

static int32_t literal(dk_jinja_parser *p, dk_jinja_value value, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_LITERAL, out));
    (*out)->literal = value;
    p->at++;
out:
    return rc;
}

/* Strings that stand side by side are one. */
static int32_t parse_string(dk_jinja_parser *p, dk_jinja_node **out)
{
    size_t size = 0, used = 0;
    for (size_t at = p->at; p->tokens[at].type == DK_LEX_STRING; at++) size += p->tokens[at].text.size;
    dk_jinja_text *text = dk_jinja_take(&p->jinja->arena, sizeof *text + size + 1);
    if (!text) return dk_fail_nomem(p->err, size);
    char *data = (char *)(text + 1);
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_LITERAL, out));
    for (; dk_jinja_token_at(p)->type == DK_LEX_STRING; p->at++) {
        dk_slice part = dk_jinja_token_at(p)->text;
        memcpy(data + used, part.data, part.size);
        used += part.size;
    }
    *text = (dk_jinja_text){data, size, NULL, 0};
    (*out)->literal = dk_jinja_of_text(text);
out:
    return rc;
}

static int32_t parse_word(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc;
    if (dk_jinja_is_word(p, "true") || dk_jinja_is_word(p, "True")) return literal(p, dk_jinja_bool(1), out);
    if (dk_jinja_is_word(p, "false") || dk_jinja_is_word(p, "False")) return literal(p, dk_jinja_bool(0), out);
    if (dk_jinja_is_word(p, "none") || dk_jinja_is_word(p, "None")) return literal(p, dk_jinja_none(), out);
    if (p->macros && (dk_jinja_is_word(p, "varargs") || dk_jinja_is_word(p, "kwargs")))
        return dk_jinja_parse_fail(p, "varargs and kwargs of a macro are not supported: name its arguments");
    DK_TRY(dk_jinja_new_node(p, DK_TREE_NAME, out));
    (*out)->text = dk_jinja_token_at(p)->text;
    DK_TRY(dk_jinja_read_name(p, &(*out)->name));
out:
    return rc;
}

static int32_t parse_list(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node **last;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_LIST_OF, out));
    last = &(*out)->args;
    p->at++;
    while (!dk_jinja_is_sign(p, ']')) {
        DK_TRY(p->expression(p, last));
        last = &(*last)->next;
        if (!dk_jinja_is_sign(p, ']')) DK_TRY(dk_jinja_expect_sign(p, ','));
    }
    p->at++;
out:
    return rc;
}

static int32_t parse_map(dk_jinja_parser *p, dk_jinja_node **out)
{
    dk_jinja_node **last;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_MAP_OF, out));
    last = &(*out)->args;
    p->at++;
    while (!dk_jinja_is_sign(p, '}')) {
        DK_TRY(dk_jinja_new_node(p, DK_TREE_ARGUMENT, last));
        DK_TRY(p->expression(p, &(*last)->a));
        DK_TRY(dk_jinja_expect_sign(p, ':'));
        DK_TRY(p->expression(p, &(*last)->b));
        last = &(*last)->next;
        if (!dk_jinja_is_sign(p, '}')) DK_TRY(dk_jinja_expect_sign(p, ','));
    }
    p->at++;
out:
    return rc;
}

static int32_t parse_brackets(dk_jinja_parser *p, dk_jinja_node **out)
{
    int32_t rc = DK_OK;
    p->at++;
    if (dk_jinja_is_sign(p, ')')) DK_TRY(dk_jinja_new_node(p, DK_TREE_TUPLE_OF, out));
    else DK_TRY(p->tuple(p, 1, out));
    rc = dk_jinja_expect_sign(p, ')');
out:
    return rc;
}

static int32_t parse_primary(dk_jinja_parser *p, dk_jinja_node **out)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    if (token->type == DK_LEX_NAME) return parse_word(p, out);
    if (token->type == DK_LEX_STRING) return parse_string(p, out);
    if (token->type == DK_LEX_INT) return literal(p, dk_jinja_int(token->i64), out);
    if (token->type == DK_LEX_FLOAT) return literal(p, dk_jinja_float(token->f64), out);
    if (dk_jinja_is_sign(p, '(')) return parse_brackets(p, out);
    if (dk_jinja_is_sign(p, '[')) return parse_list(p, out);
    if (dk_jinja_is_sign(p, '{')) return parse_map(p, out);
    return dk_jinja_parse_fail(p, "'%.*s' stands where a value must",
                               (int)(token->text.size < 40 ? token->text.size : 40), token->text.data);
}

/* ---- behind it ---- */

static int32_t parse_arguments(dk_jinja_parser *p, dk_jinja_node **last)
{
    int32_t rc, named = 0;
    DK_TRY(dk_jinja_expect_sign(p, '('));
    while (!dk_jinja_is_sign(p, ')')) {
        const dk_jinja_token *token = dk_jinja_token_at(p);
        if (dk_jinja_is_sign(p, '*') || dk_jinja_is_sign(p, DK_SIGN2('*', '*'))) {
            rc = dk_jinja_parse_fail(p, "arguments with * are not supported");
            goto out;
        }
        DK_TRY(dk_jinja_new_node(p, DK_TREE_ARGUMENT, last));
        if (token->type == DK_LEX_NAME && token[1].type == DK_LEX_SIGN && token[1].op == '=') {
            (*last)->text = token->text;
            named = 1;
            p->at += 2;
        } else if (named) {
            rc = dk_jinja_parse_fail(p, "an argument without a name stands behind one with a name");
            goto out;
        }
        DK_TRY(p->expression(p, &(*last)->a));
        last = &(*last)->next;
        if (!dk_jinja_is_sign(p, ')')) DK_TRY(dk_jinja_expect_sign(p, ','));
    }
    p->at++;
out:
    return rc;
}

/* What is built in must take the arguments that are given. */
static int32_t check_arguments(dk_jinja_parser *p, const char *kind, const dk_jinja_node *node)
{
    dk_slice names[DK_JINJA_ARGUMENTS];
    int32_t places[DK_JINJA_ARGUMENTS];
    size_t count = 0;
    for (const dk_jinja_node *at = node->args; at; at = at->next) {
        if (count == DK_JINJA_ARGUMENTS) return dk_jinja_parse_fail(p, "more than %d arguments", DK_JINJA_ARGUMENTS);
        names[count++] = at->text;
    }
    if (!node->builtin) return DK_OK;
    const char *wrong = dk_jinja_bind(node->builtin, names, count, places);
    return wrong ? dk_jinja_parse_fail(p, "%s '%s' %s", kind, node->builtin->name, wrong) : DK_OK;
}

static void leave_open(dk_jinja_parser *p, dk_jinja_node *node)
{
    node->other = p->open;
    p->open = node;
}

/* map('upper'), select('defined'): names of filters and tests in strings. */
static void check_inner(dk_jinja_parser *p, dk_jinja_node *node)
{
    const char *filter = node->builtin->name;
    int32_t maps = !strcmp(filter, "map"), skips = strstr(filter, "attr") != NULL;
    const dk_jinja_node *first = node->args;
    if (!maps && strncmp(filter, "select", 6) != 0 && strncmp(filter, "reject", 6) != 0) return;
    if (skips && first) first = first->next;
    if (!first || first->text.size || first->a->type != DK_TREE_LITERAL || first->a->literal.type != DK_JINJA_TEXT)
        return;
    const dk_jinja_text *name = first->a->literal.as.text;
    if (maps ? dk_jinja_filter(name->data, name->size) : dk_jinja_test(name->data, name->size)) return;
    node->text = (dk_slice){name->data, name->size};
    leave_open(p, node);
}

/* The name of a filter or test; one that nobody knows fails where it is asked for. */
static int32_t read_builtin(dk_jinja_parser *p, const char *kind,
                            const dk_jinja_builtin *(*find)(const char *name, size_t size), dk_jinja_node *node)
{
    const dk_jinja_token *token = dk_jinja_token_at(p);
    if (token->type != DK_LEX_NAME) return dk_jinja_parse_fail(p, "the name of a %s is missing", kind);
    node->text = token->text;
    node->builtin = find(token->text.data, token->text.size);
    if (!node->builtin) leave_open(p, node);
    p->at++;
    return DK_OK;
}

static int32_t parse_filter(dk_jinja_parser *p, dk_jinja_node **node)
{
    dk_jinja_node *filter;
    int32_t rc;
    p->at++;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_FILTER, &filter));
    filter->a = *node;
    DK_TRY(read_builtin(p, "filter", dk_jinja_filter, filter));
    if (dk_jinja_is_sign(p, '(')) DK_TRY(parse_arguments(p, &filter->args));
    DK_TRY(check_arguments(p, "filter", filter));
    if (filter->builtin) check_inner(p, filter);
    *node = filter;
out:
    return rc;
}

static int32_t begins_argument(const dk_jinja_parser *p)
{
    int32_t type = dk_jinja_token_at(p)->type;
    if (type == DK_LEX_NAME)
        return !dk_jinja_is_word(p, "else") && !dk_jinja_is_word(p, "or") && !dk_jinja_is_word(p, "and") &&
               !dk_jinja_is_word(p, "is");
    return type == DK_LEX_STRING || type == DK_LEX_INT || type == DK_LEX_FLOAT || dk_jinja_is_sign(p, '[') ||
           dk_jinja_is_sign(p, '{');
}

static int32_t parse_postfix(dk_jinja_parser *p, dk_jinja_node **node);

static int32_t parse_test(dk_jinja_parser *p, dk_jinja_node **node)
{
    dk_jinja_node *test;
    int32_t rc;
    p->at++;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_TEST, &test));
    test->op = dk_jinja_take_word(p, "not");
    test->a = *node;
    DK_TRY(read_builtin(p, "test", dk_jinja_test, test));
    if (dk_jinja_is_sign(p, '(')) DK_TRY(parse_arguments(p, &test->args));
    else if (begins_argument(p)) {
        DK_TRY(dk_jinja_new_node(p, DK_TREE_ARGUMENT, &test->args));
        DK_TRY(parse_primary(p, &test->args->a));
        DK_TRY(parse_postfix(p, &test->args->a));
    }
    DK_TRY(check_arguments(p, "test", test));
    if (dk_jinja_is_word(p, "is")) rc = dk_jinja_parse_fail(p, "tests cannot be chained with is");
    *node = test;
out:
    return rc;
}

static int32_t parse_attribute(dk_jinja_parser *p, dk_jinja_node **node)
{
    dk_jinja_node *out;
    int32_t rc;
    p->at++;
    const dk_jinja_token *token = dk_jinja_token_at(p);
    DK_TRY(dk_jinja_new_node(p, DK_TREE_ATTRIBUTE, &out));
    out->a = *node;
    out->text = token->text;
    if (token->type == DK_LEX_INT) {
        out->type = DK_TREE_ITEM;
        DK_TRY(dk_jinja_new_node(p, DK_TREE_LITERAL, &out->b));
        out->b->literal = dk_jinja_int(token->i64);
    } else if (token->type != DK_LEX_NAME) {
        rc = dk_jinja_parse_fail(p, "a name must stand behind '.'");
        goto out;
    }
    p->at++;
    *node = out;
out:
    return rc;
}

static int32_t parse_item(dk_jinja_parser *p, dk_jinja_node **node)
{
    dk_jinja_node *out, **parts[3];
    int32_t rc, part = 0;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_ITEM, &out));
    parts[0] = &out->b, parts[1] = &out->c, parts[2] = &out->d;
    out->a = *node;
    p->at++;
    while (!dk_jinja_is_sign(p, ']')) {
        if (dk_jinja_take_sign(p, ':')) {
            out->type = DK_TREE_CUT;
            if (++part < 3) continue;
            rc = dk_jinja_parse_fail(p, "a slice has at most three parts");
            goto out;
        }
        if (*parts[part]) DK_TRY(dk_jinja_expect_sign(p, ']'));
        DK_TRY(p->expression(p, parts[part]));
    }
    if (out->type == DK_TREE_ITEM && !out->b) rc = dk_jinja_parse_fail(p, "a subscript is empty");
    p->at++;
    *node = out;
out:
    return rc;
}

/* What is called must be a method that is known, or a variable that something sets (seen when all is read). */
static int32_t check_callee(dk_jinja_parser *p, dk_jinja_node *call)
{
    dk_jinja_node *callee = call->a;
    if (callee->type == DK_TREE_ATTRIBUTE && !dk_jinja_is_method(callee->text.data, callee->text.size))
        leave_open(p, call);
    if (callee->type == DK_TREE_NAME) {
        leave_open(p, call);
        if (dk_jinja_function(callee->text.data, callee->text.size) && !p->bound[callee->name])
            call->builtin = dk_jinja_function(callee->text.data, callee->text.size);
    }
    return check_arguments(p, "function", call);
}

static int32_t parse_call(dk_jinja_parser *p, dk_jinja_node **node)
{
    dk_jinja_node *call;
    int32_t rc;
    DK_TRY(dk_jinja_new_node(p, DK_TREE_CALL, &call));
    call->a = *node;
    DK_TRY(parse_arguments(p, &call->args));
    DK_TRY(check_callee(p, call));
    *node = call;
out:
    return rc;
}

static int32_t parse_postfix(dk_jinja_parser *p, dk_jinja_node **node)
{
    int32_t rc = DK_OK;
    for (;;) {
        if (dk_jinja_is_sign(p, '.')) DK_TRY(parse_attribute(p, node));
        else if (dk_jinja_is_sign(p, '[')) DK_TRY(parse_item(p, node));
        else if (dk_jinja_is_sign(p, '(')) DK_TRY(parse_call(p, node));
        else return DK_OK;
    }
out:
    return rc;
}

int32_t dk_jinja_parse_filters(dk_jinja_parser *p, dk_jinja_node **node)
{
    int32_t rc = DK_OK;
    for (;;) {
        if (dk_jinja_is_sign(p, '|')) DK_TRY(parse_filter(p, node));
        else if (dk_jinja_is_word(p, "is")) DK_TRY(parse_test(p, node));
        else if (dk_jinja_is_sign(p, '(')) DK_TRY(parse_call(p, node));
        else return DK_OK;
    }
out:
    return rc;
}

int32_t dk_jinja_parse_unary(dk_jinja_parser *p, int32_t with_filters, dk_jinja_node **out)
{
    int32_t rc;
    DK_TRY(dk_jinja_deeper(p));
    if (dk_jinja_is_sign(p, '-') || dk_jinja_is_sign(p, '+')) {
        rc = dk_jinja_new_node(p, dk_jinja_is_sign(p, '-') ? DK_TREE_NEGATIVE : DK_TREE_POSITIVE, out);
        p->at++;
        if (!rc) rc = dk_jinja_parse_unary(p, 0, &(*out)->a);
    } else {
        rc = parse_primary(p, out);
    }
    p->depth--;
    DK_TRY(rc);
    DK_TRY(parse_postfix(p, out));
    if (with_filters) DK_TRY(dk_jinja_parse_filters(p, out));
out:
    return rc;
}
