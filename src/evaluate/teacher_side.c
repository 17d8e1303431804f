#include "evaluate/teacher_side.h"

#include <string.h>

#define KEPT_BYTES ((int64_t)64 << 20)

typedef struct side_window {
    int64_t first, rows;
    size_t size;
    void *values; /* [rows, width] of the session's real */
} side_window;
struct di_teacher_side {
    dk_host *host;
    int64_t memory, used, count, capacity;
    int64_t version; /* of the teacher's weights that the windows are of */
    side_window *windows;
};

int32_t di_teacher_side_create(dk_host *host, int64_t memory, di_teacher_side **out, dk_error *err)
{
    di_teacher_side *side = NULL;
    int32_t rc = dk_new(host, 1, &side, err);
    if (rc) return rc;
    side->host = host;
    side->memory = memory ? memory : KEPT_BYTES;
    *out = side;
    return DK_OK;
}

static void forget(di_teacher_side *side)
{
    for (int64_t i = 0; i < side->count; i++) dk_free(side->host, side->windows[i].values);
    side->count = side->used = 0;
}

void di_teacher_side_free(di_teacher_side *side)
{
    if (!side) return;
    forget(side);
    dk_free(side->host, side->windows);
    dk_free(side->host, side);
}

int64_t di_teacher_side_bytes(const di_teacher_side *side) { return side->used; }
int64_t di_teacher_side_limit(const di_teacher_side *side) { return side->memory; }

static const side_window *find(const di_teacher_side *side, int64_t first, int64_t rows)
{
    for (int64_t i = 0; i < side->count; i++)
        if (side->windows[i].first == first && side->windows[i].rows == rows) return &side->windows[i];
    return NULL;
}

int32_t di_teacher_side_recall(di_teacher_side *side, const di_teacher *teacher, di_session *session, int64_t first,
                               int64_t rows)
{
    if (side && side->version != di_teacher_version(teacher)) {
        forget(side);
        side->version = di_teacher_version(teacher);
    }
    const side_window *window = side ? find(side, first, rows) : NULL;
    return window && di_session_recall(session, rows, window->values, window->size);
}

static int32_t grow(di_teacher_side *side)
{
    const int64_t capacity = side->capacity ? 2 * side->capacity : 64;
    side_window *windows;
    if (side->count < side->capacity) return 1;
    windows = dk_realloc(side->host, side->windows, (uint64_t)capacity, sizeof *windows);
    if (!windows) return 0;
    side->windows = windows;
    side->capacity = capacity;
    return 1;
}

/* No memory for it is no failure: the window is scored again. */
void di_teacher_side_keep(di_teacher_side *side, di_session *session, int64_t first, int64_t rows)
{
    const distill_target *hidden = side ? di_session_hidden(session) : NULL;
    side_window window = {first, rows, 0, NULL};
    if (!hidden || hidden->kind != DISTILL_HIDDEN || find(side, first, rows)) return;
    window.size = (size_t)rows * (size_t)hidden->values->shape[1] * (hidden->values->dtype_bits / 8);
    if (!rows || (int64_t)window.size > side->memory - side->used || !grow(side)) return;
    if (!(window.values = dk_alloc(side->host, 1, window.size))) return;
    memcpy(window.values, hidden->values->data, window.size);
    side->windows[side->count++] = window;
    side->used += (int64_t)window.size;
}
