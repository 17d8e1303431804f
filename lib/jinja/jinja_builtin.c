#include "jinja/jinja_builtin.h"

#include "jinja/jinja_text.h"

#include <stdio.h>
#include <string.h>

const dk_jinja_builtin *dk_jinja_in_table(const dk_jinja_builtin *table, const char *name, size_t size)
{
    for (; table->name; table++)
        if (strlen(table->name) == size && !memcmp(table->name, name, size)) return table;
    return NULL;
}

const dk_jinja_builtin *dk_jinja_filter(const char *name, size_t size)
{
    const dk_jinja_builtin *found = dk_jinja_in_table(dk_jinja_text_filters, name, size);
    return found ? found : dk_jinja_in_table(dk_jinja_list_filters, name, size);
}

const dk_jinja_builtin *dk_jinja_test(const char *name, size_t size)
{
    return dk_jinja_in_table(dk_jinja_tests, name, size);
}

const dk_jinja_builtin *dk_jinja_function(const char *name, size_t size)
{
    return dk_jinja_in_table(dk_jinja_functions, name, size);
}

static const dk_jinja_builtin *const method_tables[] = {dk_jinja_text_methods, dk_jinja_map_methods,
                                                        dk_jinja_list_methods, dk_jinja_loop_methods};

int32_t dk_jinja_is_method(const char *name, size_t size)
{
    for (int32_t i = 0; i < 4; i++)
        if (dk_jinja_in_table(method_tables[i], name, size)) return 1;
    return 0;
}

const dk_jinja_builtin *dk_jinja_method_of(const dk_jinja_value *value, const char *name, size_t size)
{
    switch (value->type) {
    case DK_JINJA_TEXT:
        return dk_jinja_in_table(dk_jinja_text_methods, name, size);
    case DK_JINJA_MAP:
        return dk_jinja_in_table(dk_jinja_map_methods, name, size);
    case DK_JINJA_LIST:
        return value->as.list->kind <= DK_JINJA_RANGE ? dk_jinja_in_table(dk_jinja_list_methods, name, size) : NULL;
    case DK_JINJA_LOOP:
        return dk_jinja_in_table(dk_jinja_loop_methods, name, size);
    default:
        return NULL;
    }
}

/* ---- binding ---- */

typedef struct parameters {
    dk_slice names[DK_JINJA_PARAMETERS];
    int32_t optional[DK_JINJA_PARAMETERS];
    int32_t count, by_place, rest, named_rest;
} parameters;

static void read_parameters(const char *text, parameters *out)
{
    memset(out, 0, sizeof *out);
    out->by_place = -1;
    while (*text) {
        size_t size = strcspn(text, " ");
        if (size == 1 && *text == '*') out->rest = 1, out->by_place = out->count;
        else if (*text == '*') out->named_rest = 1;
        else {
            int32_t optional = *text == '?';
            out->names[out->count] = (dk_slice){text + optional, size - (size_t)optional};
            out->optional[out->count++] = optional;
        }
        text += size + (text[size] == ' ');
    }
    if (out->by_place < 0) out->by_place = out->count;
}

static int32_t named(const parameters *p, dk_slice name)
{
    for (int32_t i = 0; i < p->count; i++)
        if (p->names[i].size == name.size && !memcmp(p->names[i].data, name.data, name.size)) return i;
    return -1;
}

const char *dk_jinja_bind(const dk_jinja_builtin *builtin, const dk_slice *names, size_t count, int32_t *places)
{
    parameters p;
    int32_t given[DK_JINJA_PARAMETERS] = {0}, next = 0;
    read_parameters(builtin->parameters, &p);
    for (size_t i = 0; i < count; i++) {
        int32_t place = names[i].size ? named(&p, names[i]) : next < p.by_place ? next++ : -1;
        if (place < 0 && names[i].size && !p.named_rest) return "has no argument of that name";
        if (place < 0 && !names[i].size && !p.rest) return "takes fewer arguments";
        if (place >= 0 && given[place]++) return "is given an argument twice";
        places[i] = place < 0 ? -1 : place + 1;
    }
    for (int32_t i = 0; i < p.count; i++)
        if (!given[i] && !p.optional[i]) return "needs more arguments";
    return NULL;
}

int32_t dk_jinja_apply(dk_jinja_run *run, const dk_jinja_builtin *builtin, const dk_jinja_value *self,
                       const dk_jinja_arguments *given, dk_jinja_value *out)
{
    dk_jinja_call call = {.builtin = builtin};
    dk_jinja_value rest[DK_JINJA_ARGUMENTS];
    dk_slice names[DK_JINJA_ARGUMENTS];
    int32_t places[DK_JINJA_ARGUMENTS];
    if (given->count > DK_JINJA_ARGUMENTS)
        return dk_jinja_fail(run, "%zu arguments, at most %d are taken", given->count, DK_JINJA_ARGUMENTS);
    const char *wrong = dk_jinja_bind(builtin, given->names, given->count, places);
    if (wrong) return dk_jinja_fail(run, "%s %s", builtin->name, wrong);
    call.rest = (dk_jinja_arguments){rest, names, 0};
    for (size_t i = 0; i < given->count; i++) {
        if (places[i] > 0) {
            call.in[places[i]] = given->items[i];
            continue;
        }
        rest[call.rest.count] = given->items[i];
        names[call.rest.count++] = given->names[i];
    }
    if (self) call.in[0] = *self;
    return builtin->fn(run, &call, out);
}

/* ---- parameters ---- */

int32_t dk_jinja_text_in(dk_jinja_run *run, const dk_jinja_call *call, int32_t place, const dk_jinja_text **out)
{
    static const dk_jinja_text none = {"", 0, NULL, 0};
    const dk_jinja_value *value = &call->in[place];
    if (dk_jinja_is(value, DK_JINJA_TEXT)) return *out = value->as.text, DK_OK;
    if (!place && dk_jinja_is(value, DK_JINJA_UNDEFINED)) return *out = &none, DK_OK;
    return dk_jinja_fail(run, "%s %s a text, not %s", call->builtin->name,
                         place ? "takes as an argument" : "is asked of", dk_jinja_type_name(value));
}

int32_t dk_jinja_int_in(dk_jinja_run *run, const dk_jinja_call *call, int32_t place, int64_t fallback, int64_t *out)
{
    const dk_jinja_value *value = &call->in[place];
    if (!dk_jinja_given(value)) return *out = fallback, DK_OK;
    if (dk_jinja_is_integer(value)) return *out = value->as.i64, DK_OK;
    return dk_jinja_fail(run, "%s takes an integer, not %s", call->builtin->name, dk_jinja_type_name(value));
}

int32_t dk_jinja_refuse(dk_jinja_run *run, const dk_jinja_call *call, const char *expected)
{
    if (dk_jinja_is(&call->in[0], DK_JINJA_UNDEFINED) && call->in[0].as.name)
        return dk_jinja_fail(run, "%s needs %s, but '%.*s' is undefined", call->builtin->name, expected,
                             (int)(call->in[0].as.name->size < 60 ? call->in[0].as.name->size : 60),
                             call->in[0].as.name->data);
    return dk_jinja_fail(run, "%s needs %s, not %s", call->builtin->name, expected, dk_jinja_type_name(&call->in[0]));
}

/* A filter that is known was given the name of another one, or of a test. */
const char *dk_jinja_unknown(const dk_jinja_node *node, char out[DK_JINJA_UNKNOWN_TEXT])
{
    const dk_slice name = node->type == DK_TREE_CALL ? node->a->text : node->text;
    const char *kind = node->type == DK_TREE_TEST ? "test" : "filter";
    if (node->type == DK_TREE_CALL) kind = node->a->type == DK_TREE_NAME ? "function" : "method";
    else if (node->builtin && strcmp(node->builtin->name, "map") != 0) kind = "test";
    snprintf(out, DK_JINJA_UNKNOWN_TEXT, "%s '%.*s' is not known here", kind, (int)(name.size < 60 ? name.size : 60),
             name.data);
    return out;
}
