/* jinja_arena.h - memory that is taken piece by piece and given back at once, up to a limit. Private to lib/jinja. */
#ifndef DK_JINJA_ARENA_H
#define DK_JINJA_ARENA_H

#include "base/memory.h"

typedef struct dk_jinja_arena {
    dk_host *host;
    struct dk_jinja_chunk *last;
    size_t taken, limit;
    int32_t full; /* the limit was met, not the end of memory */
} dk_jinja_arena;
void dk_jinja_arena_init(dk_jinja_arena *arena, dk_host *host, size_t limit);
void dk_jinja_arena_free(dk_jinja_arena *arena);
/* Zeroed, aligned for any type; NULL = no memory, or the limit is met. */
void *dk_jinja_take(dk_jinja_arena *arena, size_t size);

#endif
