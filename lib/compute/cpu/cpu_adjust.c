#include <string.h>

#include "compute/cpu/cpu.h"

/* A text is short beside the vocabulary: its ids are visited, each once, by a map of bits of those that were. */
enum { BYTE = 8 };

static int32_t is_first(uint8_t *seen, int32_t id)
{
    uint8_t bit = (uint8_t)(1u << id % BYTE);
    int32_t first = !(seen[id / BYTE] & bit);
    seen[id / BYTE] |= bit;
    return first;
}

static void repeat(const dk_adjust_args *args, int64_t r, float *z, int64_t vocab, uint8_t *seen)
{
    const float by = (float)args->repetition;
    memset(seen, 0, (size_t)(vocab / BYTE + 1));
    for (int64_t i = 0; i < args->count[r]; i++) {
        int32_t id = args->ids[r][i];
        if (id < vocab && is_first(seen, id)) z[id] = z[id] > 0 ? z[id] / by : z[id] * by;
    }
}

static void take_off(const dk_adjust_args *args, int64_t r, float *z, int64_t vocab, uint8_t *seen)
{
    memset(seen, 0, (size_t)(vocab / BYTE + 1));
    for (int64_t i = args->own[r]; i < args->count[r]; i++) {
        int32_t id = args->ids[r][i];
        if (id < vocab && is_first(seen, id)) z[id] -= (float)args->presence;
    }
}

static void op_adjust(dk_queue *queue, const dk_adjust_args *args, dk_view logits, int64_t vocab)
{
    if (!dk_check_adjust(queue, args, &logits, vocab)) return;
    dk_rows rows = dk_rows_of(&logits);
    dk_scratch *callers = &dk_cpu_of(queue)->callers;
    uint8_t *seen = dk_scratch_take(callers, vocab / BYTE + 1);
    if (!seen) {
        dk_cpu_no_memory(queue, "adjust", vocab / BYTE + 1);
        return;
    }
    for (int64_t r = 0; r < rows.rows; r++) {
        float *z = dk_row(&rows, r);
        for (int64_t i = 0; i < args->bias_count; i++)
            if (args->bias_ids[i] < vocab) z[args->bias_ids[i]] += (float)args->bias[i];
        if (args->ids && args->repetition != 1) repeat(args, r, z, vocab, seen);
        if (args->ids && args->presence != 0) take_off(args, r, z, vocab, seen);
    }
    dk_scratch_give(callers, seen);
}

void dk_cpu_fill_adjust(dk_ops *ops) { ops->adjust = op_adjust; }
