/* product_kept.c - packs rows of a weight into panels that are kept, whole or a part of K: all that a micro-kernel
 * reads of B then lies in the order in which it reads. */
#include "compute/cpu/product/product_parts.h"

int64_t dk_product_packed_bytes(const dk_micro *micro, int64_t count, int64_t k)
{
    return dk_whole((count + micro->columns - 1) / micro->columns * dk_b_bytes(micro, k) + DK_PACK_SLACK, 64);
}

/* Rows of memory are lines, whole panels of them, or some k of all panels. */
void dk_product_pack_rows(const dk_micro *micro, const dk_operand *b, int64_t count, int64_t k, int64_t first,
                          int64_t rows, uint8_t *to)
{
    const int64_t bytes = dk_b_bytes(micro, k), columns = micro->columns, begin = b->across ? 0 : first,
                  end = b->across ? count : first + rows;
    for (int64_t line = begin; line < end; line += columns)
        micro->pack_b(b, line, dk_least(count - line, columns), columns, b->across ? first : 0, b->across ? rows : k,
                      to + line / columns * bytes + (b->across ? first * columns * dk_b_number(micro) : 0));
}
