/* Bounds and variables of a rendering. */
#include "jinja/jinja_run.h"

#include "jinja/jinja_message.h"
#include "jinja/jinja_tree.h"

#include <string.h>

int32_t dk_jinja_fail(dk_jinja_run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int32_t rc = dk_jinja_fail_at(run->err, DK_E_INVALID, run->jinja->name, run->line, format, args);
    va_end(args);
    return rc;
}

int32_t dk_jinja_no_memory(dk_jinja_run *run)
{
    if (!run->arena.full) return dk_fail_nomem(run->err, run->arena.taken);
    return dk_jinja_fail(run, "the template takes more than %zu bytes of memory, the most that it may",
                         run->limits.memory);
}

int32_t dk_jinja_spend(dk_jinja_run *run, size_t steps)
{
    if ((uint64_t)steps <= (uint64_t)(run->limits.steps - run->steps)) return run->steps += (int64_t)steps, DK_OK;
    return dk_jinja_fail(run, "the template takes more than %lld steps, the most that it may",
                         (long long)run->limits.steps);
}

int32_t dk_jinja_enter(dk_jinja_run *run)
{
    if (run->depth >= run->limits.depth)
        return dk_jinja_fail(run, "the template nests deeper than %lld, the most that it may",
                             (long long)run->limits.depth);
    run->depth++;
    return dk_jinja_spend(run, 1) ? (run->depth--, DK_E_INVALID) : DK_OK;
}

/* ---- variables ---- */

static dk_jinja_binding *find(const dk_jinja_scope *scope, int32_t name)
{
    for (dk_jinja_binding *at = scope->first; at; at = at->next)
        if (at->name == name) return at;
    return NULL;
}

const dk_jinja_value *dk_jinja_lookup(const dk_jinja_run *run, int32_t name)
{
    for (const dk_jinja_scope *scope = run->scope; scope; scope = scope->outer) {
        const dk_jinja_binding *found = find(scope, name);
        if (found) return &found->value;
    }
    return NULL;
}

int32_t dk_jinja_define(dk_jinja_run *run, dk_jinja_scope *scope, int32_t name, dk_jinja_value value)
{
    dk_jinja_binding *binding = find(scope, name);
    int32_t rc = DK_OK;
    if (!binding) {
        DK_TRY(dk_jinja_new(run, 1, &binding));
        *binding = (dk_jinja_binding){name, {0}, scope->first};
        scope->first = binding;
    }
    binding->value = value;
out:
    return rc;
}
