/* row_code.h - widths of the fields of a sparse row, in bits. Private to src/cache.
 *
 *   entropy               16, sampled where the file's header says so: round(2048 * nats)
 *   count of ids          as many as the file's width needs
 *   tail                  16, top_k alone: round(512 * log(tail / rest)) + 32768; 0 = no tail
 *   kind of the ids' code  1, parameter 5; then the ids, ascending: id - (id before, or -1) - 1
 *   largest value         12, top_k alone
 *   parameter              4; then Rice codes: top_k, largest value - value; sampled, count - 1 */
#ifndef DI_CACHE_ROW_CODE_H
#define DI_CACHE_ROW_CODE_H

#include <stdint.h>

enum {
    DI_ROW_ENTROPY_BITS = 16,
    DI_ROW_ENTROPY_STEP = 2048,
    DI_ROW_TAIL_BITS = 16,
    DI_ROW_TAIL_STEP = 512,
    DI_ROW_TAIL_ZERO = 32768,
    DI_ROW_LARGEST_BITS = 12
};
enum { DI_ROW_ID_PARAMETERS = 32, DI_ROW_VALUE_PARAMETERS = 16, DI_ROW_LARGEST = (1 << DI_ROW_LARGEST_BITS) - 1 };

static inline int di_row_count_bits(uint32_t width)
{
    int bits = 1;
    while (width >> bits) bits++;
    return bits;
}

#endif
