#include "jinja/jinja_eval.h"

#include "jinja/jinja_attribute.h"
#include "jinja/jinja_builtin.h"
#include "jinja/jinja_operator.h"
#include "jinja/jinja_spell.h"

#include <string.h>

static int32_t eval_name(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    const dk_jinja_value *found = dk_jinja_lookup(run, node->name);
    static dk_jinja_map no_blocks;
    const dk_jinja_builtin *function = found ? NULL : dk_jinja_function(node->text.data, node->text.size);
    if (found) *out = *found;
    else if (function) *out = (dk_jinja_value){.type = DK_JINJA_FUNCTION, .as.function = function};
    else if (node->text.size == 4 && !memcmp(node->text.data, "self", 4)) /* the blocks of the template: it has none */
        *out = (dk_jinja_value){.type = DK_JINJA_NAMESPACE, .as.map = &no_blocks};
    else *out = dk_jinja_undefined(&run->jinja->names[node->name]);
    return DK_OK;
}

static int32_t eval_attribute(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value from;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &from));
    rc = dk_jinja_attribute(run, &from, &node->text, out);
out:
    return rc;
}

static int32_t eval_item(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value from, key;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &from));
    DK_TRY(dk_jinja_eval(run, node->b, &key));
    rc = dk_jinja_item(run, &from, &key, out);
out:
    return rc;
}

static int32_t eval_cut(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value from, parts[3] = {{0}, {0}, {0}};
    const dk_jinja_node *const nodes[] = {node->b, node->c, node->d};
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &from));
    for (int32_t i = 0; i < 3; i++)
        if (nodes[i]) DK_TRY(dk_jinja_eval(run, nodes[i], &parts[i]));
    rc = dk_jinja_cut(run, &from, parts, out);
out:
    return rc;
}

static int32_t eval_arguments(dk_jinja_run *run, const dk_jinja_node *first, dk_jinja_arguments *out)
{
    dk_slice *names;
    size_t count = 0;
    int32_t rc = DK_OK;
    *out = (dk_jinja_arguments){0};
    for (const dk_jinja_node *at = first; at; at = at->next) count++;
    if (!count) return DK_OK;
    DK_TRY(dk_jinja_new(run, count, &out->items));
    DK_TRY(dk_jinja_new(run, count, &names));
    out->names = names;
    for (const dk_jinja_node *at = first; at; at = at->next) {
        names[out->count] = at->text;
        DK_TRY(dk_jinja_eval(run, at->a, &out->items[out->count++]));
    }
out:
    return rc;
}

static int32_t eval_call(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value callee;
    dk_jinja_arguments given;
    char unknown[DK_JINJA_UNKNOWN_TEXT];
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &callee));
    DK_TRY(eval_arguments(run, node->args, &given));
    run->line = node->line;
    if (dk_jinja_is(&callee, DK_JINJA_MACRO)) rc = run->invoke(run, callee.as.macro, &given, out);
    else if (dk_jinja_is(&callee, DK_JINJA_FUNCTION)) rc = dk_jinja_apply(run, callee.as.function, NULL, &given, out);
    else if (dk_jinja_is(&callee, DK_JINJA_METHOD))
        rc = dk_jinja_apply(run, callee.as.method->builtin, &callee.as.method->self, &given, out);
    else if (node->a->type == DK_TREE_ATTRIBUTE && !dk_jinja_is_method(node->a->text.data, node->a->text.size))
        rc = dk_jinja_fail(run, "%s", dk_jinja_unknown(node, unknown));
    else if (dk_jinja_is(&callee, DK_JINJA_UNDEFINED) && callee.as.name)
        rc = dk_jinja_fail(run, "'%.*s' is undefined", (int)(callee.as.name->size < 80 ? callee.as.name->size : 80),
                           callee.as.name->data);
    else rc = dk_jinja_fail(run, "%s cannot be called", dk_jinja_type_name(&callee));
out:
    return rc;
}

static int32_t eval_builtin(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value self;
    dk_jinja_arguments given;
    char unknown[DK_JINJA_UNKNOWN_TEXT];
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &self));
    DK_TRY(eval_arguments(run, node->args, &given));
    run->line = node->line;
    if (!node->builtin) DK_TRY(dk_jinja_fail(run, "%s", dk_jinja_unknown(node, unknown)));
    DK_TRY(dk_jinja_apply(run, node->builtin, &self, &given, out));
    if (node->type == DK_TREE_TEST && node->op) *out = dk_jinja_bool(!dk_jinja_truth(out));
out:
    return rc;
}

/* and, or: the value that decides. */
static int32_t eval_either_of(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, out));
    if (dk_jinja_truth(out) == (node->type == DK_TREE_AND)) rc = dk_jinja_eval(run, node->b, out);
out:
    return rc;
}

static int32_t eval_sign(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value value;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &value));
    if (node->type == DK_TREE_NOT) *out = dk_jinja_bool(!dk_jinja_truth(&value));
    else if (node->type == DK_TREE_NEGATIVE) rc = dk_jinja_negate(run, &value, out);
    else if (!dk_jinja_is_number(&value)) rc = dk_jinja_fail(run, "+ of %s is not defined", dk_jinja_type_name(&value));
    else {
        *out = value;
        if (dk_jinja_is(out, DK_JINJA_BOOL)) out->type = DK_JINJA_INT;
    }
out:
    return rc;
}

static int32_t eval_binary(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value a, b;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &a));
    DK_TRY(dk_jinja_eval(run, node->b, &b));
    run->line = node->line;
    rc = dk_jinja_binary(run, node->op, &a, &b, out);
out:
    return rc;
}

static int32_t eval_joined(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_builder b = {0};
    int32_t rc;
    for (const dk_jinja_node *at = node->args; at; at = at->next) {
        dk_jinja_value part;
        DK_TRY(dk_jinja_eval(run, at, &part));
        DK_TRY(dk_jinja_put_str(run, &b, &part));
    }
    rc = dk_jinja_build(run, &b, out);
out:
    return rc;
}

static int32_t eval_compared(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value left, right;
    int32_t rc, yes = 1;
    DK_TRY(dk_jinja_eval(run, node->a, &left));
    for (const dk_jinja_node *at = node->args; at && yes; at = at->next) {
        DK_TRY(dk_jinja_eval(run, at->a, &right));
        run->line = node->line;
        DK_TRY(dk_jinja_compare(run, at->op, &left, &right, &yes));
        left = right;
    }
    *out = dk_jinja_bool(yes);
out:
    return rc;
}

static int32_t eval_choice(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_value condition;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->b, &condition));
    if (dk_jinja_truth(&condition)) rc = dk_jinja_eval(run, node->a, out);
    else if (node->c) rc = dk_jinja_eval(run, node->c, out);
    else *out = dk_jinja_undefined(NULL);
out:
    return rc;
}

static int32_t eval_list(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_list *list;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, node->type == DK_TREE_LIST_OF ? DK_JINJA_PLAIN : DK_JINJA_TUPLE, 0, &list));
    for (const dk_jinja_node *at = node->args; at; at = at->next) {
        dk_jinja_value item;
        DK_TRY(dk_jinja_eval(run, at, &item));
        DK_TRY(dk_jinja_push(run, list, item));
    }
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t eval_map(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    dk_jinja_map *map;
    int32_t rc;
    DK_TRY(dk_jinja_new_map(run, 0, &map));
    for (const dk_jinja_node *at = node->args; at; at = at->next) {
        dk_jinja_value key, value;
        DK_TRY(dk_jinja_eval(run, at->a, &key));
        DK_TRY(dk_jinja_eval(run, at->b, &value));
        DK_TRY(dk_jinja_map_set(run, map, key, value));
    }
    *out = dk_jinja_of_map(map);
out:
    return rc;
}

static int32_t eval(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    switch (node->type) {
    case DK_TREE_LITERAL:
        return *out = node->literal, DK_OK;
    case DK_TREE_HELD:
        return *out = run->held, DK_OK;
    case DK_TREE_NAME:
        return eval_name(run, node, out);
    case DK_TREE_ATTRIBUTE:
        return eval_attribute(run, node, out);
    case DK_TREE_ITEM:
        return eval_item(run, node, out);
    case DK_TREE_CUT:
        return eval_cut(run, node, out);
    case DK_TREE_CALL:
        return eval_call(run, node, out);
    case DK_TREE_FILTER:
    case DK_TREE_TEST:
        return eval_builtin(run, node, out);
    case DK_TREE_AND:
    case DK_TREE_OR:
        return eval_either_of(run, node, out);
    case DK_TREE_BINARY:
        return eval_binary(run, node, out);
    case DK_TREE_JOINED:
        return eval_joined(run, node, out);
    case DK_TREE_COMPARED:
        return eval_compared(run, node, out);
    case DK_TREE_EITHER:
        return eval_choice(run, node, out);
    case DK_TREE_LIST_OF:
    case DK_TREE_TUPLE_OF:
        return eval_list(run, node, out);
    case DK_TREE_MAP_OF:
        return eval_map(run, node, out);
    default:
        return eval_sign(run, node, out);
    }
}

int32_t dk_jinja_eval(dk_jinja_run *run, const dk_jinja_node *node, dk_jinja_value *out)
{
    int32_t rc;
    DK_TRY(dk_jinja_enter(run));
    run->line = node->line;
    rc = eval(run, node, out);
    run->depth--;
out:
    return rc;
}
