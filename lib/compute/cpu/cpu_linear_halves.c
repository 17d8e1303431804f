/* cpu_linear_halves.c - which products in full precision go by the kernel for weights in BF16, where the processor has
 * one: those whose weights are all BF16 and none of them a denormal, which its instructions take for zero. That is
 * looked for once for each version of the weights, by whoever multiplies by them first. */
#include "compute/cpu/cpu_linear.h"

static int32_t line_fits(const uint16_t *x, int64_t n)
{
    int32_t denormals = 0;
    for (int64_t i = 0; i < n; i++) denormals |= ((x[i] & 0x7f80) == 0) & ((x[i] & 0x7f) != 0);
    return !denormals;
}

typedef struct looking {
    const dk_view *weight;
    _Atomic int32_t fits;
} looking;

static void look(void *context, int64_t begin, int64_t end)
{
    looking *l = context;
    const uint16_t *x = dk_buffer_map(*l->weight);
    for (int64_t r = begin; r < end; r++)
        if (!line_fits(x + r * l->weight->stride[0], l->weight->shape[1])) l->fits = 0;
}

static int64_t look_at_all(const dk_linear *linear, int64_t version)
{
    int32_t fits = 1;
    for (int32_t i = 0; i < linear->count && fits; i++) {
        const dk_view *weight = &linear->weights[i]->value;
        looking l = {.weight = weight, .fits = weight->dtype == DK_BF16};
        if (l.fits)
            dk_parallel_for(weight->buffer->host, weight->shape[0], dk_cpu_grain(weight->shape[1] / 8 + 1), look, &l);
        fits = l.fits;
    }
    return 2 * (version + 1) + fits;
}

const dk_micro *dk_micro_by_weights(const dk_linear *linear, dk_precision precision)
{
    dk_cpu_linear *state = linear->state;
    int64_t version = 0, found = atomic_load_explicit(&state->found, memory_order_acquire);
    if (!state->halves || precision == DK_PRECISION_BF16) return dk_micro_of(linear, precision);
    for (int32_t i = 0; i < linear->count; i++) version += linear->weights[i]->version;
    if (found / 2 != version + 1) {
        found = look_at_all(linear, version);
        atomic_store_explicit(&state->found, found, memory_order_release);
    }
    return found & 1 ? state->halves : dk_micro_of(linear, precision);
}
