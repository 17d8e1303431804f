/* chat_parts.h - a chat template from inside. Private to lib/chat. */
#ifndef DK_CHAT_CHAT_PARTS_H
#define DK_CHAT_CHAT_PARTS_H

#include "chat/chat.h"

#include <stdatomic.h>

struct dk_chat_template {
    dk_host *host;
    atomic_int references;
    dk_tokenizer *tok; /* NULL = none */
    dk_jinja *jinja;
    char *source;
    int32_t takes_parts;          /* contents may be lists of parts */
    dk_chat_template *with_tools; /* stands in for it where a talk has tools; NULL = nothing does */
};
enum {
    DK_CHAT_TOOLS = 65535,
    DK_CHAT_MESSAGES = 65000
}; /* origins: 1 + the message's index, or of what is no message */

static inline const dk_chat_template *dk_chat_chosen(const dk_chat_template *chat, const dk_chat_talk *talk)
{
    return talk->tools && chat->with_tools ? chat->with_tools : chat;
}
/* whole: what the talk was rendered to. */
int32_t dk_chat_check_keys(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, const dk_chat *whole,
                           dk_error *err);
const char *dk_chat_builtin(const char *name); /* NULL = no such name */
/* Appends a message to the variable `messages`: without nulls, reasoning under the names that templates read, parts as
 * one text where the template knows no parts. tail: what is put behind its content, or NULL. */
int32_t dk_chat_add_message(dk_jinja_context *context, dk_host *host, const dk_node *message, int32_t takes_parts,
                            const char *tail, uint16_t origin, dk_error *err);

#endif
