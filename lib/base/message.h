/* message.h - what another process says, as bytes: nothing of it is believed that does not fit into it. */
#ifndef DK_BASE_MESSAGE_H
#define DK_BASE_MESSAGE_H

#include "base/host.h"

typedef struct dk_message {
    const char *at;
    uint64_t left;
    int32_t broken; /* something was not there: nothing behind it is read */
} dk_message;
void dk_message_open(dk_message *message, const void *data, uint64_t size);
/* The next count items of size bytes, at any alignment; NULL where fewer are left, or count is no count. */
const void *dk_message_next(dk_message *message, int64_t count, uint64_t size);
/* Copied to out; zeros where they are not there. */
void dk_message_take(dk_message *message, void *out, int64_t count, uint64_t size);
/* How many items follow, number counts: none is believed that says more than there are bytes behind them. */
void dk_message_counts(dk_message *message, int64_t *counts, int64_t number);
/* E_FORMAT where something was missing; end: or is left over. what: "answers of rank 2". */
int32_t dk_message_check(const dk_message *message, const char *what, dk_error *err);
int32_t dk_message_end(const dk_message *message, const char *what, dk_error *err);

#endif
