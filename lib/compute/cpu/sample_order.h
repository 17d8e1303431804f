/* sample_order.h - ids in falling order of their logits, ties by id, as far as somebody asks.
 *
 * A draw looks at few of many ids. Those within DK_ORDER_NATS of the best are cut into buckets, which become heaps one
 * by one as they are reached; all others are one more heap, which is hardly ever needed. One heap of all ids would
 * cost several times what it takes to go through them. */
#ifndef DK_COMPUTE_SAMPLE_ORDER_H
#define DK_COMPUTE_SAMPLE_ORDER_H

#include <stdint.h>

#define DK_ORDER_BUCKETS 256
#define DK_ORDER_NATS 12 /* at the temperature of the draw: what lies below has e^-12 of the best one's weight */

typedef struct dk_order {
    const float *z;
    int64_t vocab, ready; /* sorted[0, ready) are there */
    int32_t *sorted, *ids;
    float highest, scale;           /* bucket of an id: (highest - z) * scale */
    int32_t *heap;                  /* in ids */
    int64_t count, bucket;          /* of the heap; the one that comes next */
    int32_t ends[DK_ORDER_BUCKETS]; /* of buckets, in ids */
} dk_order;

/* sorted and ids: [vocab] each. highest is the largest of z and finite. */
void dk_order_open(dk_order *order, const float *z, int64_t vocab, float highest, double temperature, int32_t *sorted,
                   int32_t *ids);
void dk_order_more(dk_order *order);

/* Number i < vocab of the order. */
static inline int32_t dk_order_at(dk_order *order, int64_t i)
{
    while (order->ready <= i) dk_order_more(order);
    return order->sorted[i];
}

#endif
