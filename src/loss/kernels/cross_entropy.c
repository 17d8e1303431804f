/* Cross-entropy with the labels, -log q[label]: h = -1 at the label (h = dL/dlog q). */
#include "compute/simd.h"
#include "loss/builtin.h"

int32_t DK_VARIANT(di_cross_entropy)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_cross_entropy)(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t r = 0; r < rows->rows; r++) {
        const int64_t at = r * rows->vocab + rows->labels[r];
        rows->value[r] = -(double)rows->student[at];
        if (rows->gradient) rows->gradient[at] = -1;
    }
    return DISTILL_CB_OK;
}
