#include "base/message.h"

#include <string.h>

void dk_message_open(dk_message *message, const void *data, uint64_t size)
{
    *message = (dk_message){.at = data, .left = data ? size : 0};
}

const void *dk_message_next(dk_message *m, int64_t count, uint64_t size)
{
    const char *at = m->at;
    if (m->broken || count < 0 || (size && (uint64_t)count > m->left / size)) {
        m->broken = 1;
        return NULL;
    }
    if (!count || !size) return at ? at : "";
    m->at += (uint64_t)count * size;
    m->left -= (uint64_t)count * size;
    return at;
}

void dk_message_take(dk_message *m, void *out, int64_t count, uint64_t size)
{
    const void *items = dk_message_next(m, count, size);
    if (count <= 0 || !size) return;
    if (items) memcpy(out, items, (size_t)((uint64_t)count * size));
    else memset(out, 0, (size_t)((uint64_t)count * size));
}

void dk_message_counts(dk_message *m, int64_t *counts, int64_t number)
{
    dk_message_take(m, counts, number, sizeof *counts);
    for (int64_t i = 0; i < number; i++)
        if (counts[i] < 0 || (uint64_t)counts[i] > m->left) m->broken = 1;
}

int32_t dk_message_check(const dk_message *m, const char *what, dk_error *err)
{
    if (!m->broken) return DK_OK;
    return dk_fail(
        err, DK_E_FORMAT,
        "%s: what ranks tell each other ends early, or says what cannot be: do all run the same program, and "
        "does the communicator carry whole messages?",
        what);
}

int32_t dk_message_end(const dk_message *m, const char *what, dk_error *err)
{
    if (m->broken || !m->left) return dk_message_check(m, what, err);
    return dk_fail(err, DK_E_FORMAT,
                   "%s: what ranks tell each other has %llu bytes too many: do all run the same program?", what,
                   (unsigned long long)m->left);
}
