#include "compute/buffer.h"

#include <string.h>
#include <sys/mman.h>

#include "base/threads.h"
#include "compute/check.h"

#define HUGE_PAGE ((int64_t)2 << 20)
#define PAGE 4096

static void use_huge_pages(uint8_t *data, int64_t bytes)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(data, (size_t)(bytes / HUGE_PAGE * HUGE_PAGE), MADV_HUGEPAGE); /* only advice */
#else
    (void)data;
    (void)bytes;
#endif
}

typedef struct zeros {
    uint8_t *data;
    int64_t bytes;
    int32_t fresh;
} zeros;

static void zero_body(void *context, int64_t begin, int64_t end)
{
    const zeros *z = context;
    int64_t first = begin * HUGE_PAGE, last = end * HUGE_PAGE < z->bytes ? end * HUGE_PAGE : z->bytes;
    if (!z->fresh) memset(z->data + first, 0, (size_t)(last - first));
    for (; z->fresh && first < last; first += PAGE) *(volatile uint8_t *)(z->data + first) = 0;
}

/* By all threads: the system clears each page at its first touch, which takes longer than anything else at create. */
static void fill_zeros(dk_host *host, uint8_t *data, int64_t bytes, int32_t fresh)
{
    zeros z = {data, bytes, fresh};
    dk_parallel_for(host, (bytes + HUGE_PAGE - 1) / HUGE_PAGE, 4, zero_body, &z);
}

int64_t dk_buffer_bytes(int64_t bytes) { return bytes >= HUGE_PAGE ? bytes + HUGE_PAGE : bytes > 0 ? bytes : 1; }

static int32_t op_buffer_create(dk_backend *backend, int64_t bytes, dk_buffer **out, dk_error *err)
{
    dk_buffer *buffer = NULL;
    int32_t rc;
    if (bytes < 0 || bytes > INT64_MAX - HUGE_PAGE)
        return dk_fail(err, DK_E_INVALID, "a buffer of %lld bytes", (long long)bytes);
    DK_TRY(dk_new(backend->host, 1, &buffer, err));
    const int64_t room = dk_buffer_bytes(bytes);
    buffer->block = dk_alloc(backend->host, 1, (uint64_t)room);
    if (!buffer->block) {
        rc = dk_fail_nomem(err, (uint64_t)room);
        goto out;
    }
    buffer->host = backend->host;
    buffer->bytes = bytes;
    buffer->data = buffer->block;
    if (bytes >= HUGE_PAGE) {
        buffer->data += (HUGE_PAGE - (int64_t)((uintptr_t)buffer->data % (uintptr_t)HUGE_PAGE)) % HUGE_PAGE;
        use_huge_pages(buffer->data, bytes);
    }
    /* touched here, not in the first step */
    fill_zeros(backend->host, buffer->data, bytes, dk_is_fresh(backend->host, buffer->block));
    DK_TRY(dk_parallel_check(backend->host, err));
    *out = buffer;
    return DK_OK;
out:
    if (buffer) dk_free(backend->host, buffer->block);
    dk_free(backend->host, buffer);
    return rc;
}

static int32_t op_buffer_wrap(dk_backend *backend, void *data, int64_t bytes, dk_buffer **out, dk_error *err)
{
    dk_buffer *buffer = NULL;
    int32_t rc;
    if (bytes < 0 || (!data && bytes > 0))
        return dk_fail(err, DK_E_INVALID, "no memory to wrap: %lld bytes", (long long)bytes);
    DK_TRY(dk_new(backend->host, 1, &buffer, err));
    buffer->host = backend->host;
    buffer->data = data;
    buffer->bytes = bytes;
    *out = buffer;
out:
    return rc;
}

static void op_buffer_free(dk_backend *backend, dk_buffer *buffer)
{
    if (!buffer) return;
    dk_free(backend->host, buffer->block);
    dk_free(backend->host, buffer);
}

static void *op_map(dk_view view) { return dk_buffer_map(view); }

dk_rows dk_rows_of(const dk_view *view)
{
    dk_rows rows = {.data = dk_buffer_map(*view), .rows = 1, .inner = 1, .width = view->shape[view->rank - 1]};
    if (view->rank > 1) {
        rows.rows = view->shape[0];
        rows.outer_step = dk_dtype_bytes(view->dtype, view->stride[0]);
    }
    if (view->rank > 2) {
        rows.rows *= view->shape[1];
        rows.inner = view->shape[1] > 0 ? view->shape[1] : 1;
        rows.inner_step = dk_dtype_bytes(view->dtype, view->stride[1]);
    }
    return rows;
}

static void copy_strided(dk_view view, uint8_t *host, int32_t in)
{
    dk_rows rows = dk_rows_of(&view);
    size_t size = dk_dtype_size(view.dtype);
    int64_t step = view.stride[view.rank - 1];
    for (int64_t r = 0; r < rows.rows; r++) {
        uint8_t *row = dk_row(&rows, r);
        int64_t pieces = step == 1 ? 1 : rows.width;
        size_t bytes = step == 1 ? (size_t)dk_dtype_bytes(view.dtype, rows.width) : size;
        for (int64_t i = 0; i < pieces; i++, host += bytes) {
            uint8_t *element = row + i * step * (int64_t)size;
            if (in) {
                memcpy(element, host, bytes);
            } else {
                memcpy(host, element, bytes);
            }
        }
    }
}

static void op_copy_in(dk_queue *queue, dk_view to, const void *from)
{
    dk_check check = dk_check_begin(queue, "copy_in");
    dk_check_view(&check, "to", &to, DK_TYPES_ANY | DK_STRIDED, 1, 3);
    if (check.ok && dk_view_count(&to) > 0) copy_strided(to, (uint8_t *)(uintptr_t)from, 1);
}

static void op_copy_out(dk_queue *queue, dk_view from, void *to)
{
    dk_check check = dk_check_begin(queue, "copy_out");
    dk_check_view(&check, "from", &from, DK_TYPES_ANY | DK_STRIDED, 1, 3);
    if (check.ok && dk_view_count(&from) > 0) copy_strided(from, to, 0);
}

void dk_buffer_fill_ops(dk_ops *ops)
{
    ops->buffer_create = op_buffer_create;
    ops->buffer_wrap = op_buffer_wrap;
    ops->buffer_free = op_buffer_free;
    ops->copy_in = op_copy_in;
    ops->copy_out = op_copy_out;
    ops->map = op_map;
}
