/* teacher_head.h - a teacher's likeliest outcomes that have no more than so much mass together, found without
 * sorting. */
#ifndef DI_LOSS_KERNELS_TEACHER_HEAD_H
#define DI_LOSS_KERNELS_TEACHER_HEAD_H

#include "loss/kernels/divergence.h"

typedef struct di_head {
    uint32_t above, tie; /* those whose key is above, and */
    int64_t last_id;     /* of those whose key is tie, the ids up to this one */
} di_head;

/* Orders as the floats do; 0 and -0 are one. */
static inline uint32_t di_key(float x)
{
    const float plain = x + 0.0f;
    uint32_t bits;
    memcpy(&bits, &plain, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* By the teacher's logits, or by the log p that a target lists. */
static inline uint32_t di_key_at(const di_pair *pair, int64_t i)
{
    return di_key(pair->p ? pair->p->z[i] : pair->values[i]);
}

static inline int64_t di_id_at(const di_pair *pair, int64_t i) { return pair->p ? i : pair->ids[i]; }

static inline int32_t di_in_head(const di_pair *pair, const di_head *head, int64_t i)
{
    const uint32_t key = di_key_at(pair, i);
    const int64_t id = di_id_at(pair, i);
    return id >= 0 && (key > head->above || (key == head->tie && id <= head->last_id));
}

di_head DK_VARIANT(di_find_head)(const di_pair *pair, double mass);

#endif
