/* shares.c - a parameter cut into equal parts, one for each rank. */
#include "optim/optim.h"

int64_t dk_share_each(int64_t elements, int64_t size) { return elements / size + (elements % size > 0); }

dk_view dk_share_view(dk_view view, int64_t size, int64_t rank, int64_t first, int64_t count)
{
    const int64_t all = dk_view_count(&view), each = dk_share_each(all, size);
    const int64_t begin = rank * each + first;
    int64_t end = (first + count < each ? first + count : each) + rank * each;
    if (end > all) end = all;
    if (begin >= end) return dk_view_none();
    return dk_view_rows(dk_view_reshape(view, 1, &all), begin, end - begin);
}
