/* What a template is rendered with, and the rendering. */
#include "jinja/jinja_exec.h"
#include "jinja/jinja_spell.h"
#include "text/codepoint.h"

#include <string.h>

enum { STEPS = 20000000, DEPTH = 400, NODE_DEPTH = 64 };
#define MEMORY ((size_t)1 << 28)
#define OUTPUT ((size_t)1 << 25)

int32_t dk_jinja_context_create(const dk_jinja *jinja, dk_host *host, const dk_jinja_limits *limits,
                                const dk_jinja_date *date, dk_jinja_context **out, dk_error *err)
{
    dk_jinja_context *run;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &run, err));
    run->host = host;
    run->jinja = jinja;
    if (limits) run->limits = *limits;
    if (!run->limits.steps) run->limits.steps = STEPS;
    if (!run->limits.depth) run->limits.depth = DEPTH;
    if (!run->limits.memory) run->limits.memory = MEMORY;
    if (!run->limits.output) run->limits.output = OUTPUT;
    if (date) run->date = *date;
    run->line = 1;
    run->scope = &run->globals;
    run->out = &run->whole;
    run->invoke = dk_jinja_invoke;
    dk_jinja_arena_init(&run->arena, host, run->limits.memory);
    *out = run;
out:
    return rc;
}

void dk_jinja_context_free(dk_jinja_context *run)
{
    if (!run) return;
    dk_jinja_arena_free(&run->arena);
    dk_free(run->host, run);
}

/* ---- variables ---- */

static int32_t set(dk_jinja_run *run, const char *name, dk_jinja_value value)
{
    int32_t number = dk_jinja_find_name(run->jinja, name, strlen(name));
    return number < 0 ? DK_OK : dk_jinja_define(run, &run->globals, number, value); /* nothing would read it */
}

static int32_t text_of(dk_jinja_run *run, dk_slice text, uint16_t origin, dk_jinja_value *out)
{
    if (dk_valid_prefix(text.data ? text.data : "", text.size) != text.size)
        return dk_jinja_fail(run, "a text that the template is given is not UTF-8");
    return dk_jinja_make_text(run, text.data, text.size, origin, out);
}

static int32_t value_of(dk_jinja_run *run, const dk_node *node, uint16_t origin, const char *except, int32_t depth,
                        dk_jinja_value *out);

static int32_t map_of(dk_jinja_run *run, const dk_node *node, uint16_t origin, const char *except, int32_t depth,
                      dk_jinja_value *out)
{
    dk_jinja_map *map;
    int32_t rc;
    DK_TRY(dk_jinja_new_map(run, node->size, &map));
    for (size_t i = 0; i < node->size; i++) {
        const dk_node *item = node->items[i];
        int32_t excepted = except && item->key_size == strlen(except) && !memcmp(item->key, except, item->key_size);
        dk_jinja_value key, value;
        DK_TRY(text_of(run, (dk_slice){item->key, item->key_size}, origin, &key));
        DK_TRY(value_of(run, item, excepted ? 0 : origin, NULL, depth + 1, &value));
        DK_TRY(dk_jinja_map_set(run, map, key, value));
    }
    *out = dk_jinja_of_map(map);
out:
    return rc;
}

static int32_t list_of(dk_jinja_run *run, const dk_node *node, uint16_t origin, const char *except, int32_t depth,
                       dk_jinja_value *out)
{
    dk_jinja_list *list;
    int32_t rc;
    DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, node->size, &list));
    for (size_t i = 0; i < node->size; i++) {
        dk_jinja_value value;
        DK_TRY(value_of(run, node->items[i], origin, except, depth + 1, &value));
        DK_TRY(dk_jinja_push(run, list, value));
    }
    *out = dk_jinja_of_list(list);
out:
    return rc;
}

static int32_t value_of(dk_jinja_run *run, const dk_node *node, uint16_t origin, const char *except, int32_t depth,
                        dk_jinja_value *out)
{
    if (depth > NODE_DEPTH)
        return dk_jinja_fail(run, "a value that the template is given nests deeper than %d", NODE_DEPTH);
    *out = dk_jinja_none();
    if (node->type == DK_NODE_TEXT) return text_of(run, (dk_slice){node->text, node->size}, origin, out);
    if (node->type == DK_NODE_LIST) return list_of(run, node, origin, except, depth, out);
    if (node->type == DK_NODE_MAP) return map_of(run, node, origin, except, depth, out);
    if (node->type == DK_NODE_BOOL) *out = dk_jinja_bool((int32_t)node->i64);
    if (node->type == DK_NODE_INT) *out = dk_jinja_int(node->i64);
    if (node->type == DK_NODE_FLOAT) *out = dk_jinja_float(node->f64);
    out->origin = origin;
    return DK_OK;
}

int32_t dk_jinja_set_node(dk_jinja_context *run, const char *name, const dk_node *node, uint16_t origin,
                          const char *except, dk_error *err)
{
    dk_jinja_value value;
    int32_t rc;
    run->err = err;
    DK_TRY(value_of(run, node, origin, except, 0, &value));
    rc = set(run, name, value);
out:
    return rc;
}

int32_t dk_jinja_set_text(dk_jinja_context *run, const char *name, dk_slice text, uint16_t origin, dk_error *err)
{
    dk_jinja_value value;
    int32_t rc;
    run->err = err;
    DK_TRY(text_of(run, text, origin, &value));
    rc = set(run, name, value);
out:
    return rc;
}

int32_t dk_jinja_set_bool(dk_jinja_context *run, const char *name, int32_t yes, dk_error *err)
{
    run->err = err;
    return set(run, name, dk_jinja_bool(yes));
}

int32_t dk_jinja_set_none(dk_jinja_context *run, const char *name, dk_error *err)
{
    run->err = err;
    return set(run, name, dk_jinja_none());
}

int32_t dk_jinja_append_node(dk_jinja_context *run, const char *name, const dk_node *node, uint16_t origin,
                             const char *except, dk_error *err)
{
    int32_t number = dk_jinja_find_name(run->jinja, name, strlen(name)), rc;
    const dk_jinja_value *found = number < 0 ? NULL : dk_jinja_lookup(run, number);
    dk_jinja_value value;
    dk_jinja_list *list;
    run->err = err;
    if (number < 0) return DK_OK;
    if (found && dk_jinja_is(found, DK_JINJA_LIST)) list = found->as.list;
    else {
        DK_TRY(dk_jinja_new_list(run, DK_JINJA_PLAIN, 0, &list));
        DK_TRY(set(run, name, dk_jinja_of_list(list)));
    }
    DK_TRY(value_of(run, node, origin, except, 0, &value));
    rc = dk_jinja_push(run, list, value);
out:
    return rc;
}

/* ---- rendering ---- */

static int32_t copy_out(dk_jinja_run *run, dk_jinja_output *out)
{
    const size_t size = run->whole.size, count = run->generation_count;
    int32_t rc;
    *out = (dk_jinja_output){.host = run->host, .size = size, .generation_count = (int64_t)count};
    DK_TRY(dk_new(run->host, size + 1, &out->text, run->err));
    DK_TRY(dk_new(run->host, size + 1, &out->origins, run->err));
    DK_TRY(dk_new(run->host, count + 1, &out->generations, run->err));
    if (size) {
        memcpy(out->text, run->whole.data, size);
        memcpy(out->origins, run->whole.origins, size * sizeof *out->origins);
    }
    if (count) memcpy(out->generations, run->generations, count * sizeof *out->generations);
    return DK_OK;
out:
    dk_jinja_output_free(out);
    return rc;
}

int32_t dk_jinja_render(dk_jinja_context *run, dk_jinja_output *out, dk_error *err)
{
    int32_t rc;
    run->err = err;
    if (run->done) return dk_fail(err, DK_E_STAGE, "%.80s: a context renders once", run->jinja->name);
    run->done = 1;
    DK_TRY(dk_jinja_exec(run, run->jinja->body));
    rc = copy_out(run, out);
out:
    return rc;
}

void dk_jinja_output_free(dk_jinja_output *out)
{
    if (!out->host) return;
    dk_free(out->host, out->text);
    dk_free(out->host, out->origins);
    dk_free(out->host, out->generations);
    memset(out, 0, sizeof *out);
}
