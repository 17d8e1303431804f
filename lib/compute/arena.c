#include "compute/compute.h"

#define ALIGN 64
#define TOO_LARGE (INT64_MAX / 2)

void dk_arena_init(dk_arena *arena, dk_backend *backend) { *arena = (dk_arena){.backend = backend}; }

static int64_t bytes_of(dk_dtype dtype, int32_t rank, const int64_t *shape)
{
    int64_t bytes = dk_dtype_bytes(dtype, shape[rank - 1]);
    if (bytes < 0) return TOO_LARGE;
    for (int32_t d = 0; d < rank - 1; d++) {
        if (shape[d] < 0) return TOO_LARGE;
        if (shape[d] > 0 && bytes > TOO_LARGE / shape[d]) return TOO_LARGE;
        bytes *= shape[d];
    }
    return bytes;
}

dk_view dk_arena_take(dk_arena *arena, dk_dtype dtype, int32_t rank, const int64_t *shape)
{
    int64_t bytes = bytes_of(dtype, rank, shape), at = arena->used;
    if (bytes >= TOO_LARGE - at - ALIGN) {
        arena->used = TOO_LARGE;
        return dk_view_none();
    }
    arena->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (arena->buffer && arena->used > arena->size) return dk_view_none();
    return dk_view_make(arena->buffer, at, dtype, rank, shape);
}

dk_view dk_arena_2d(dk_arena *arena, dk_dtype dtype, int64_t rows, int64_t columns)
{
    int64_t shape[2] = {rows, columns};
    return dk_arena_take(arena, dtype, 2, shape);
}

int32_t dk_arena_commit(dk_arena *arena, dk_error *err)
{
    if (arena->used >= TOO_LARGE)
        return dk_fail(err, DK_E_NOMEM, "the planned arrays together exceed the address space");
    int32_t rc = arena->backend->ops->buffer_create(arena->backend, arena->used, &arena->buffer, err);
    if (rc) return rc;
    arena->size = arena->used;
    arena->used = 0;
    return DK_OK;
}

void dk_arena_free(dk_arena *arena)
{
    if (arena->buffer) arena->backend->ops->buffer_free(arena->backend, arena->buffer);
    *arena = (dk_arena){.backend = arena->backend};
}
