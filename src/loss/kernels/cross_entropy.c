/* Cross-entropy with the labels, -log q[label]: h = -1 at the label (h = dL/dlog q). */
#include "loss/kernels/loss_rows.h"

int32_t DK_VARIANT(di_cross_entropy)(void *user, const distill_loss_rows *rows);

int32_t DK_VARIANT(di_cross_entropy)(void *user, const distill_loss_rows *rows)
{
    di_builtin_call *call = user;
    for (int64_t r = 0; r < rows->rows; r++)
        rows->value[r] = DK_VARIANT(di_label_row)(&call->student[r], rows->vocab, rows->labels[r],
                                                  rows->gradient ? rows->gradient + r * rows->vocab : NULL, call);
    return DISTILL_CB_OK;
}
