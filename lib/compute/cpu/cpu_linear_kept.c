/* cpu_linear_kept.c - weights that are kept packed for products in BF16. Packing a weight costs about as much as
 * multiplying 300 rows by it on tiles, and it is read from memory in F32 for that; a copy is read at once and has half
 * the bytes. In full precision a copy would have all the bytes of the weight again and save a tenth of the time, so
 * there is none. Copies are rewritten some rows at a time by whoever changes the weight, while these are in
 * the cache. */
#include "compute/cpu/cpu_linear.h"
#include "compute/cpu/product/product.h"

#include <stdatomic.h>

static const uint32_t use_of[2] = {DK_USE_FORWARD, DK_USE_BACKWARD_INPUT};

static int32_t is_kept(const dk_linear *linear, dk_precision precision)
{
    const dk_product_set *products = dk_cpu_linear_of(linear)->products;
    return products && products->native && precision == DK_PRECISION_BF16 && linear->precisions >> precision & 1;
}

/* y = x W^T has lines of outputs and K = in; dx = dy W has lines of inputs and K = out. */
static int64_t lines_of(const dk_linear *linear, int32_t use, int32_t weight)
{
    return use ? linear->in : dk_linear_width(linear, weight);
}

static int64_t k_of(const dk_linear *linear, int32_t use, int32_t weight)
{
    return use ? dk_linear_width(linear, weight) : linear->in;
}

/* Of the copies of weights [0, weights). */
static int64_t bytes_of(const dk_linear *linear, int32_t use, int32_t weights)
{
    const dk_micro *micro = dk_micro_of(linear, DK_PRECISION_BF16);
    int64_t bytes = 0;
    for (int32_t i = 0; i < weights; i++)
        bytes += dk_product_packed_bytes(micro, lines_of(linear, use, i), k_of(linear, use, i));
    return bytes;
}

static dk_buffer *kept_of(const dk_linear *linear, int32_t use)
{
    return atomic_load_explicit(&dk_cpu_linear_of(linear)->kept[use], memory_order_acquire);
}

static void pack_rows(const dk_backend *backend, const dk_linear *linear, int32_t use, int32_t weight, dk_buffer *to,
                      int64_t first, int64_t count)
{
    const dk_cpu *cpu = backend->state;
    const dk_operand b = dk_operand_of(&cpu->kernels, &linear->weights[weight]->value, linear->in_out ? !use : use);
    dk_product_pack_rows(dk_micro_of(linear, DK_PRECISION_BF16), &b, lines_of(linear, use, weight),
                         k_of(linear, use, weight), first, count, to->data + bytes_of(linear, use, weight));
}

/* ---- all rows of a weight, by all threads ---- */
typedef struct copying {
    const dk_backend *backend;
    const dk_parameter *parameter; /* into all its copies, or */
    const dk_linear *linear;       /* into one that is being made */
    int32_t use, weight;
    dk_buffer *to;
} copying;

static void copy_body(void *context, int64_t begin, int64_t end)
{
    const copying *w = context;
    const int64_t rows = w->parameter->value.shape[0];
    for (int64_t first = begin * DK_PACK_ROWS; first < rows && first < end * DK_PACK_ROWS; first += DK_PACK_ROWS) {
        const int64_t count = rows - first < DK_PACK_ROWS ? rows - first : DK_PACK_ROWS;
        if (w->linear) pack_rows(w->backend, w->linear, w->use, w->weight, w->to, first, count);
        else dk_kept_rows(w->backend, w->parameter, first, count);
    }
}

static void copy_all(const copying *work)
{
    const int64_t *shape = work->parameter->value.shape;
    dk_parallel_for(work->backend->host, (shape[0] + DK_PACK_ROWS - 1) / DK_PACK_ROWS,
                    dk_cpu_grain(DK_PACK_ROWS * shape[1]), copy_body, (void *)(uintptr_t)work);
}

int64_t dk_kept_bytes(const dk_backend *backend, const dk_linear *linear, dk_precision precision)
{
    int64_t bytes = 0;
    (void)backend;
    for (int32_t use = 0; is_kept(linear, precision) && use < 2; use++)
        if (linear->uses & use_of[use]) bytes += bytes_of(linear, use, linear->count);
    return bytes;
}

static int32_t make(dk_backend *backend, dk_linear *linear, int32_t use, dk_error *err)
{
    dk_cpu_linear *state = linear->state;
    dk_buffer *buffer = NULL;
    int32_t rc = backend->ops->buffer_create(backend, bytes_of(linear, use, linear->count), &buffer, err);
    if (rc != DK_OK) return rc;
    for (int32_t i = 0; i < linear->count; i++)
        copy_all(&(copying){.backend = backend,
                            .parameter = linear->weights[i],
                            .linear = linear,
                            .use = use,
                            .weight = i,
                            .to = buffer});
    atomic_store_explicit(&state->kept[use], buffer, memory_order_release);
    return DK_OK;
}

int32_t dk_kept_make(dk_backend *backend, dk_linear *linear, dk_precision precision, dk_error *err)
{
    dk_cpu *cpu = backend->state;
    int32_t rc = DK_OK;
    for (int32_t use = 0; is_kept(linear, precision) && use < 2 && rc == DK_OK; use++) {
        if (!(linear->uses & use_of[use]) || kept_of(linear, use)) continue;
        pthread_mutex_lock(&cpu->packing);
        if (!kept_of(linear, use)) rc = make(backend, linear, use, err);
        pthread_mutex_unlock(&cpu->packing);
    }
    return rc;
}

void dk_kept_free(dk_backend *backend, dk_linear *linear)
{
    for (int32_t use = 0; linear->state && use < 2; use++) backend->ops->buffer_free(backend, kept_of(linear, use));
}

/* The copy for a use that one of a parameter's products keeps; NULL = none. *weight = its number there. */
static dk_buffer *copy_of(const dk_packed *packed, int32_t use, int32_t *weight)
{
    *weight = (int32_t)(packed - packed->linear->packed);
    return *weight < packed->linear->count ? kept_of(packed->linear, use) : NULL;
}

int32_t dk_kept_has(const dk_parameter *parameter)
{
    int32_t weight;
    for (const dk_packed *packed = parameter->packed; packed; packed = packed->next)
        if (copy_of(packed, 0, &weight) || copy_of(packed, 1, &weight)) return 1;
    return 0;
}

void dk_kept_rows(const dk_backend *backend, const dk_parameter *parameter, int64_t first, int64_t count)
{
    for (const dk_packed *packed = parameter->packed; packed; packed = packed->next)
        for (int32_t use = 0, weight; use < 2; use++) {
            dk_buffer *to = copy_of(packed, use, &weight);
            if (to) pack_rows(backend, packed->linear, use, weight, to, first, count);
        }
}

void dk_kept_refresh(dk_queue *queue, dk_parameter *parameter)
{
    if (queue->error.code) return;
    if (dk_kept_has(parameter)) copy_all(&(copying){.backend = queue->backend, .parameter = parameter});
    dk_linear_refresh(queue, parameter);
}

const uint8_t *dk_kept_panels(const dk_linear *linear, dk_precision precision, uint32_t use, int32_t weight)
{
    const int32_t index = use == use_of[1];
    const dk_buffer *buffer = precision == DK_PRECISION_BF16 ? kept_of(linear, index) : NULL;
    return buffer ? buffer->data + bytes_of(linear, index, weight) : NULL;
}
