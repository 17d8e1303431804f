#include "base/threads.h"
#include "compute/cpu/product/product_parts.h"

/* Panels of B that are kept from one product to the next. */
typedef struct kept {
    const dk_micro *micro;
    const dk_operand *b;
    int64_t count, k;
    uint8_t *to;
} kept;

static void kept_body(void *context, int64_t begin, int64_t end)
{
    const kept *w = context;
    const dk_micro *micro = w->micro;
    int64_t bytes = dk_panel_bytes(micro, micro->columns, w->k), most = w->b->across ? DK_ACROSS_K : w->k;
    for (int64_t at = 0; at < w->k; at += most) {
        for (int64_t i = begin; i < end; i++) {
            int64_t line = i * micro->columns;
            micro->pack_b(w->b, line, dk_least(w->count - line, micro->columns), micro->columns, at,
                          dk_least(w->k - at, most), w->to + i * bytes + at * micro->columns * micro->k_bytes);
        }
    }
}

int64_t dk_product_packed_bytes(const dk_micro *micro, int64_t count, int64_t k)
{
    return dk_whole(
        (count + micro->columns - 1) / micro->columns * dk_panel_bytes(micro, micro->columns, k) + DK_PACK_SLACK, 64);
}

void dk_product_pack(dk_host *host, const dk_micro *micro, const dk_operand *b, int64_t count, int64_t k, uint8_t *to)
{
    kept work = {.micro = micro, .b = b, .count = count, .k = k, .to = to};
    dk_parallel_for(host, (count + micro->columns - 1) / micro->columns, DK_PACK_GRAIN, kept_body, &work);
}
