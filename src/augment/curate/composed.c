#include "augment/curate/composed.h"

#include "base/utf8.h"
#include "text/steps.h"

/* Below U+0300, whose first byte is CC, NFC changes nothing. */
static int32_t may_change(const char *text, size_t size)
{
    size_t at = 0, most = 0;
    for (size_t length; at < size; at += length) {
        length = dk_utf8_length((const unsigned char *)text + at, size - at);
        if (!length) return 0;
        if ((unsigned char)text[at] >= 0xcc) most = 1;
    }
    return most != 0;
}

int32_t di_compose(dk_strbuf *buffer, const char **text, size_t *size, dk_error *err)
{
    int32_t rc;
    if (!may_change(*text, *size)) return DK_OK;
    dk_strbuf_clear(buffer);
    DK_TRY(dk_normal_form(DK_STEP_NFC, *text, *size, buffer, err));
    DK_TRY(dk_strbuf_check(buffer, err));
    *text = buffer->size ? buffer->data : "";
    *size = buffer->size;
out:
    return rc;
}
