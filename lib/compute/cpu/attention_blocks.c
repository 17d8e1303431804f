/* attention_blocks.c - small products of operands that are packed whole: a panel of B stays in L1 while the panels of A
 * pass by it, and all of K is one pass, since it is a head's width or a block of keys. */
#include "compute/cpu/attention_blocks.h"

#include <string.h>

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void dk_block_pack_a(const dk_micro *micro, const dk_operand *from, int64_t k, uint8_t *to)
{
    for (int64_t line = 0; line < from->lines; line += micro->rows) {
        int64_t own = least(from->lines - line, micro->rows), height = micro->height(own);
        micro->pack_a(from, line, own, height, 0, k, to);
        to += height * dk_block_up(k, micro->group) * micro->k_bytes;
    }
}

void dk_block_pack_b(const dk_micro *micro, const dk_operand *from, int64_t lines, int64_t k, uint8_t *to)
{
    for (int64_t line = 0; line < lines; line += micro->columns) {
        int64_t own = line < from->lines ? least(from->lines - line, micro->columns) : 0;
        if (own) micro->pack_b(from, line, own, micro->columns, 0, k, to);
        else memset(to, 0, (size_t)dk_block_panel_bytes(micro, k));
        to += dk_block_panel_bytes(micro, k);
    }
}

void dk_block_multiply(const dk_block_product *p)
{
    const dk_micro *micro = p->micro;
    int64_t k = dk_block_up(p->k, micro->group);
    for (int64_t j = 0; j < p->panels; j++) {
        const uint8_t *a = p->a;
        float *c = p->c + j * micro->columns;
        for (int64_t i = 0; i < p->m; i += micro->rows, c += micro->rows * p->c_step) {
            int64_t height = micro->height(least(p->m - i, micro->rows));
            micro->tile(height, k, a, p->b + j * p->b_step, c, p->c_step, p->add);
            a += height * k * micro->k_bytes;
        }
    }
}
