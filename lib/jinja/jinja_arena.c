#include "jinja/jinja_arena.h"

#include <string.h>

enum { CHUNK = 1 << 14, ALIGN = 16 };
typedef struct dk_jinja_chunk {
    struct dk_jinja_chunk *before;
    size_t used, size;
    uint64_t padding; /* what follows is aligned to 16 */
} dk_jinja_chunk;

void dk_jinja_arena_init(dk_jinja_arena *arena, dk_host *host, size_t limit)
{
    *arena = (dk_jinja_arena){.host = host, .limit = limit};
}

void dk_jinja_arena_free(dk_jinja_arena *arena)
{
    while (arena->last) {
        dk_jinja_chunk *chunk = arena->last;
        arena->last = chunk->before;
        dk_free(arena->host, chunk);
    }
    arena->taken = 0;
}

static dk_jinja_chunk *new_chunk(dk_jinja_arena *arena, size_t size)
{
    dk_jinja_chunk *chunk = dk_alloc(arena->host, 1, sizeof *chunk + size);
    if (!chunk) return NULL;
    *chunk = (dk_jinja_chunk){arena->last, 0, size, 0};
    return arena->last = chunk;
}

void *dk_jinja_take(dk_jinja_arena *arena, size_t size)
{
    dk_jinja_chunk *chunk = arena->last;
    if (size > arena->limit - arena->taken || size > SIZE_MAX - 2 * CHUNK) return arena->full = 1, NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (!chunk || chunk->size - chunk->used < size) chunk = new_chunk(arena, size > CHUNK ? size : CHUNK);
    if (!chunk) return NULL;
    char *at = (char *)(chunk + 1) + chunk->used;
    chunk->used += size;
    arena->taken += size < arena->limit - arena->taken ? size : arena->limit - arena->taken;
    return memset(at, 0, size);
}
