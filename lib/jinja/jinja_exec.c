#include "jinja/jinja_exec.h"

#include "jinja/jinja_eval.h"
#include "jinja/jinja_spell.h"

#include <string.h>

static int32_t push_scope(dk_jinja_run *run, dk_jinja_scope *outer)
{
    dk_jinja_scope *scope;
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, &scope));
    scope->outer = outer;
    run->scope = scope;
out:
    return rc;
}

/* A body in a scope of its own. */
static int32_t exec_inside(dk_jinja_run *run, const dk_jinja_node *body)
{
    dk_jinja_scope *outer = run->scope;
    int32_t rc;
    DK_TRY(push_scope(run, outer));
    rc = dk_jinja_exec(run, body);
    run->scope = outer;
out:
    return rc;
}

/* What a body prints, as a value. */
static int32_t capture(dk_jinja_run *run, const dk_jinja_node *body, dk_jinja_value *out)
{
    dk_jinja_builder builder = {0}, *outer = run->out;
    int32_t rc;
    run->out = &builder;
    rc = dk_jinja_exec(run, body);
    run->out = outer;
    return rc ? rc : dk_jinja_build(run, &builder, out);
}

/* ---- setting ---- */

static int32_t set_in_namespace(dk_jinja_run *run, const dk_jinja_node *target, const dk_jinja_value *value)
{
    const dk_jinja_value *found = dk_jinja_lookup(run, target->name);
    dk_jinja_value key;
    int32_t rc;
    if (!found || !dk_jinja_is(found, DK_JINJA_NAMESPACE))
        return dk_jinja_fail(run, "attributes of a namespace alone can be set, and '%.*s' is none",
                             (int)run->jinja->names[target->name].size, run->jinja->names[target->name].data);
    dk_jinja_map *map = found->as.map;
    DK_TRY(dk_jinja_make_text(run, target->text.data, target->text.size, 0, &key));
    rc = dk_jinja_map_set(run, map, key, *value);
out:
    return rc;
}

static int32_t assign_one(dk_jinja_run *run, const dk_jinja_node *target, const dk_jinja_value *value)
{
    if (target->type == DK_TREE_ATTRIBUTE) return set_in_namespace(run, target, value);
    return dk_jinja_define(run, run->scope, target->name, *value);
}

static int32_t assign(dk_jinja_run *run, const dk_jinja_node *target, const dk_jinja_value *value)
{
    const dk_jinja_list *list;
    size_t count = 0, i = 0;
    int32_t rc;
    if (target->type != DK_TREE_TUPLE_OF) return assign_one(run, target, value);
    for (const dk_jinja_node *at = target->args; at; at = at->next) count++;
    DK_TRY(dk_jinja_iterate(run, value, &list));
    if (list->size != count) {
        rc = dk_jinja_fail(run, "%zu names are set to %zu values", count, list->size);
        goto out;
    }
    for (const dk_jinja_node *at = target->args; at; at = at->next) DK_TRY(assign_one(run, at, &list->items[i++]));
out:
    return rc;
}

static int32_t exec_set(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_value value;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->b, &value));
    run->line = node->line;
    rc = assign(run, node->a, &value);
out:
    return rc;
}

static int32_t exec_set_block(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_scope *outer = run->scope;
    dk_jinja_value value;
    int32_t rc;
    DK_TRY(push_scope(run, outer));
    rc = capture(run, node->body, &run->held);
    run->scope = outer;
    if (run->flow) return rc;
    DK_TRY(rc);
    DK_TRY(dk_jinja_eval(run, node->b, &value));
    rc = assign(run, node->a, &value);
out:
    return rc;
}

static int32_t exec_with(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_scope *outer = run->scope;
    int32_t rc;
    DK_TRY(push_scope(run, outer));
    dk_jinja_scope *inner = run->scope;
    for (const dk_jinja_node *at = node->args; at && !rc; at = at->next) {
        dk_jinja_value value;
        run->scope = outer; /* values do not see each other */
        rc = dk_jinja_eval(run, at->b, &value);
        run->scope = inner;
        if (!rc) rc = assign(run, at->a, &value);
    }
    if (!rc) rc = dk_jinja_exec(run, node->body);
    run->scope = outer;
out:
    return rc;
}

/* ---- loops ---- */

/* Items for which the condition of the loop holds. */
static int32_t chosen(dk_jinja_run *run, const dk_jinja_node *node, const dk_jinja_list *all, dk_jinja_scope *outer,
                      const dk_jinja_list **out)
{
    dk_jinja_list *list;
    int32_t rc;
    if (!node->c) return *out = all, DK_OK;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
    for (size_t i = 0; i < all->size; i++) {
        dk_jinja_value yes;
        DK_TRY(push_scope(run, outer));
        DK_TRY(assign(run, node->a, &all->items[i]));
        DK_TRY(dk_jinja_eval(run, node->c, &yes));
        if (dk_jinja_truth(&yes)) DK_TRY(dk_jinja_push(run, list, all->items[i]));
    }
    *out = list;
out:
    return rc;
}

static int32_t walk(dk_jinja_run *run, const dk_jinja_node *node, const dk_jinja_list *list, dk_jinja_scope *outer)
{
    dk_jinja_loop *loop;
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, &loop));
    loop->list = list;
    for (; loop->index < list->size && run->flow != DK_JINJA_BREAK; loop->index++) {
        DK_TRY(dk_jinja_spend(run, 1));
        DK_TRY(push_scope(run, outer));
        DK_TRY(dk_jinja_define(run, run->scope, run->jinja->loop,
                               (dk_jinja_value){.type = DK_JINJA_LOOP, .as.loop = loop}));
        DK_TRY(assign(run, node->a, &list->items[loop->index]));
        DK_TRY(dk_jinja_exec(run, node->body));
        if (run->flow == DK_JINJA_CONTINUE) run->flow = DK_JINJA_GO_ON;
    }
    run->flow = DK_JINJA_GO_ON;
out:
    return rc;
}

static int32_t exec_for(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_scope *outer = run->scope;
    const dk_jinja_list *list;
    dk_jinja_value value;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->b, &value));
    run->line = node->line;
    DK_TRY(dk_jinja_iterate(run, &value, &list));
    DK_TRY(chosen(run, node, list, outer, &list));
    if (list->size) rc = walk(run, node, list, outer);
    else {
        run->scope = outer;
        rc = node->other ? exec_inside(run, node->other) : DK_OK;
    }
out:
    run->scope = outer;
    return rc;
}

/* ---- macros ---- */

static int32_t exec_macro(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_macro *macro;
    int32_t rc;
    DK_TRY(dk_jinja_new(run, 1, &macro));
    *macro = (dk_jinja_macro){node, run->scope};
    rc = dk_jinja_define(run, run->scope, node->name, (dk_jinja_value){.type = DK_JINJA_MACRO, .as.macro = macro});
out:
    return rc;
}

/* The argument that the parameter number `place` is given, NULL = none. */
static const dk_jinja_value *given_to(const dk_jinja_node *parameter, size_t place, const dk_jinja_arguments *given,
                                      size_t *used)
{
    for (size_t i = 0; i < given->count; i++) {
        int32_t named = given->names[i].size == parameter->text.size && parameter->text.size &&
                        !memcmp(given->names[i].data, parameter->text.data, parameter->text.size);
        if (named || (!given->names[i].size && i == place)) return ++*used, &given->items[i];
    }
    return NULL;
}

static int32_t bind_parameters(dk_jinja_run *run, const dk_jinja_node *macro, const dk_jinja_arguments *given)
{
    size_t place = 0, used = 0;
    int32_t rc = DK_OK;
    for (const dk_jinja_node *at = macro->args; at; at = at->next, place++) {
        const dk_jinja_value *found = given_to(at, place, given, &used);
        dk_jinja_value value = dk_jinja_undefined(&at->text);
        if (found) value = *found;
        else if (at->a) DK_TRY(dk_jinja_eval(run, at->a, &value));
        DK_TRY(dk_jinja_define(run, run->scope, at->name, value));
    }
    if (used != given->count)
        rc = dk_jinja_fail(run, "macro '%.*s' is given arguments that it does not name, or one twice",
                           (int)(macro->text.size < 60 ? macro->text.size : 60), macro->text.data);
out:
    return rc;
}

int32_t dk_jinja_invoke(dk_jinja_run *run, const dk_jinja_macro *macro, const dk_jinja_arguments *given,
                        dk_jinja_value *out)
{
    dk_jinja_scope *caller = run->scope;
    int32_t rc;
    DK_TRY(push_scope(run, macro->scope));
    rc = bind_parameters(run, macro->node, given);
    if (!rc) rc = capture(run, macro->node->body, out);
    run->scope = caller;
out:
    return rc;
}

/* ---- the others ---- */

static int32_t exec_print(dk_jinja_run *run, const dk_jinja_node *node)
{
    dk_jinja_value value;
    int32_t rc;
    DK_TRY(dk_jinja_eval(run, node->a, &value));
    run->line = node->line;
    rc = dk_jinja_put_str(run, run->out, &value);
out:
    return rc;
}

static int32_t exec_if(dk_jinja_run *run, const dk_jinja_node *node)
{
    int32_t rc;
    for (;;) {
        dk_jinja_value value;
        DK_TRY(dk_jinja_eval(run, node->a, &value));
        if (dk_jinja_truth(&value)) return dk_jinja_exec(run, node->body);
        const dk_jinja_node *other = node->other;
        if (!other || other->type != DK_TREE_IF || other->next) return dk_jinja_exec(run, other);
        node = other;
    }
out:
    return rc;
}

static int32_t exec_generation(dk_jinja_run *run, const dk_jinja_node *node)
{
    size_t begin = run->out->size;
    int32_t rc;
    if (run->out != &run->whole) return dk_jinja_fail(run, "generation stands inside of a block that is set");
    DK_TRY(exec_inside(run, node->body));
    if (run->generation_count == run->generation_capacity) {
        size_t capacity = run->generation_capacity ? 2 * run->generation_capacity : 8;
        dk_jinja_span *spans;
        DK_TRY(dk_jinja_new(run, capacity, &spans));
        if (run->generation_count) memcpy(spans, run->generations, run->generation_count * sizeof *spans);
        run->generations = spans;
        run->generation_capacity = capacity;
    }
    run->generations[run->generation_count++] = (dk_jinja_span){begin, run->out->size};
out:
    return rc;
}

static int32_t exec_one(dk_jinja_run *run, const dk_jinja_node *node)
{
    switch (node->type) {
    case DK_TREE_DATA:
        return dk_jinja_put_text(run, run->out, node->literal.as.text);
    case DK_TREE_PRINT:
        return exec_print(run, node);
    case DK_TREE_IF:
        return exec_if(run, node);
    case DK_TREE_FOR:
        return exec_for(run, node);
    case DK_TREE_SET:
        return exec_set(run, node);
    case DK_TREE_SET_BLOCK:
        return exec_set_block(run, node);
    case DK_TREE_MACRO:
        return exec_macro(run, node);
    case DK_TREE_WITH:
        return exec_with(run, node);
    case DK_TREE_GENERATION:
        return exec_generation(run, node);
    default:
        run->flow = node->type == DK_TREE_BREAK_LOOP ? DK_JINJA_BREAK : DK_JINJA_CONTINUE;
        return DK_OK;
    }
}

int32_t dk_jinja_exec(dk_jinja_run *run, const dk_jinja_node *node)
{
    int32_t rc = DK_OK;
    for (; node && !rc && !run->flow; node = node->next) {
        DK_TRY(dk_jinja_enter(run));
        run->line = node->line;
        rc = exec_one(run, node);
        run->depth--;
    }
out:
    return rc;
}
