/* jinja_run.h - one rendering: its bounds, variables and output, and how its parts fail. Private to lib/jinja. */
#ifndef DK_JINJA_RUN_H
#define DK_JINJA_RUN_H

#include "jinja/jinja.h"
#include "jinja/jinja_arena.h"
#include "jinja/jinja_value.h"

typedef struct dk_jinja_binding {
    int32_t name;
    dk_jinja_value value;
    struct dk_jinja_binding *next;
} dk_jinja_binding;
typedef struct dk_jinja_scope {
    struct dk_jinja_scope *outer;
    dk_jinja_binding *first;
} dk_jinja_scope;

typedef struct dk_jinja_builder { /* text that grows in the arena */
    char *data;
    uint16_t *origins;
    size_t size, capacity;
} dk_jinja_builder;

typedef struct dk_jinja_macro {
    const struct dk_jinja_node *node;
    dk_jinja_scope *scope; /* where it was defined */
} dk_jinja_macro;

typedef struct dk_jinja_arguments {
    dk_jinja_value *items;
    const dk_slice *names; /* [count]; size 0 = by place, which stand in front */
    size_t count;
} dk_jinja_arguments;

enum { DK_JINJA_GO_ON, DK_JINJA_BREAK, DK_JINJA_CONTINUE };
typedef struct dk_jinja_context dk_jinja_run;
struct dk_jinja_context {
    dk_host *host;
    const dk_jinja *jinja;
    dk_jinja_arena arena;
    dk_jinja_limits limits;
    dk_jinja_date date;
    int64_t steps, depth;
    int32_t line, flow, done;
    dk_jinja_scope globals, *scope;
    dk_jinja_builder *out, whole;
    dk_jinja_value held; /* the text of a block that is set */
    dk_jinja_span *generations;
    size_t generation_count, generation_capacity;
    dk_error *err;
    /* Runs a macro: expressions know statements by this alone. */
    int32_t (*invoke)(dk_jinja_run *run, const dk_jinja_macro *macro, const dk_jinja_arguments *given,
                      dk_jinja_value *out);
};

int32_t dk_jinja_fail(dk_jinja_run *run, const char *format, ...) DK_PRINTF(2, 3);
int32_t dk_jinja_no_memory(dk_jinja_run *run);
int32_t dk_jinja_spend(dk_jinja_run *run, size_t steps);
int32_t dk_jinja_enter(dk_jinja_run *run); /* one deeper; the caller takes it back where this was DK_OK */
/* For DK_TRY(dk_jinja_new(run, count, &array)). */
#define dk_jinja_new(run, count, out) \
    ((*(out) = dk_jinja_take(&(run)->arena, (count) * sizeof **(out))) ? DK_OK : dk_jinja_no_memory(run))

int32_t dk_jinja_new_list(dk_jinja_run *run, dk_jinja_list_kind kind, size_t capacity, dk_jinja_list **out);
int32_t dk_jinja_push(dk_jinja_run *run, dk_jinja_list *list, dk_jinja_value value);
int32_t dk_jinja_new_map(dk_jinja_run *run, size_t capacity, dk_jinja_map **out);
int32_t dk_jinja_map_set(dk_jinja_run *run, dk_jinja_map *map, dk_jinja_value key, dk_jinja_value value);
int32_t dk_jinja_pair(dk_jinja_run *run, dk_jinja_value a, dk_jinja_value b, dk_jinja_value *out); /* a tuple */
/* What a loop walks over. A generator is used up by it. */
int32_t dk_jinja_iterate(dk_jinja_run *run, const dk_jinja_value *value, const dk_jinja_list **out);

const dk_jinja_value *dk_jinja_lookup(const dk_jinja_run *run, int32_t name); /* NULL = not defined */
int32_t dk_jinja_define(dk_jinja_run *run, dk_jinja_scope *scope, int32_t name, dk_jinja_value value);

#endif
