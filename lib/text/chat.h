/* chat.h - chat templates by name: how a list of messages becomes text, and which part of that text is an answer.
 *
 * Four formats are known; a Jinja template is not executed but recognised as one of them by its markers. A rendered
 * conversation is a list of segments: loss lies on every assistant message including its end-of-turn token, and on
 * nothing else. Segments are to be tokenized one after the other with special tokens recognised, that is, with the
 * flags that dk_tokenizer_continue_flags gives for the ids so far. */
#ifndef DK_TEXT_CHAT_H
#define DK_TEXT_CHAT_H

#include "text/tokenizer.h"

typedef enum { DK_CHAT_CHATML = 1, DK_CHAT_LLAMA2 = 2, DK_CHAT_LLAMA3 = 3, DK_CHAT_MISTRAL = 4 } dk_chat_id;

enum {                    /* how a template differs from the plain form of its name */
       DK_CHAT_TRIM = 1,  /* contents are stripped of space */
       DK_CHAT_BOS = 2,   /* chatml: BOS in front */
       DK_CHAT_THINK = 4, /* chatml: a last answer gets a <think> block, earlier ones lose theirs (Qwen3) */
       DK_CHAT_DATES = 8, /* llama3: the system block begins with two dates; today's is the template's 26 Jul 2024 */
       DK_CHAT_BEFORE_OPEN = 16,    /* mistral: " [INST]" */
       DK_CHAT_AFTER_OPEN = 32,     /* mistral: "[INST] " */
       DK_CHAT_BEFORE_CLOSE = 64,   /* mistral: " [/INST]" */
       DK_CHAT_BEFORE_ANSWER = 128, /* mistral: a space in front of the answer */
       DK_CHAT_AFTER_EOS = 256,     /* mistral: "</s> " */
       DK_CHAT_SYSTEM_LAST =
           512, /* mistral: the system text stands in the last message if that is a user's, else nowhere */
       DK_CHAT_NO_SYSTEM = 1024 /* mistral: system messages are refused */
};
typedef struct dk_chat_template {
    dk_chat_id id;
    int32_t variant;          /* DK_CHAT_* bits */
    char default_system[256]; /* put in front when no system message is given; "" = nothing */
    char bos[64], eos[64];    /* spelled out where the format needs them ("<s>", "</s>") */
} dk_chat_template;

typedef struct dk_chat_message {
    dk_slice role, content; /* roles: system, user, assistant */
} dk_chat_message;
typedef struct dk_chat_segment {
    const char *text;
    size_t size;
    int32_t has_loss;
    int64_t message; /* number of the answer that the loss lies on; -1 = no loss */
} dk_chat_segment;
typedef struct dk_chat_content { /* bytes [begin, end) of the text are what a message says, not the template */
    size_t begin, end;
} dk_chat_content;
typedef struct dk_chat { /* owned by the caller; dk_chat_free */
    dk_chat_segment *segments;
    int64_t count;
    /* 1 = the text spells out its own BOS (llama2, llama3, mistral): do not ask the tokenizer for another one, that is,
     * encode without DK_ENCODE_SPECIAL. 0 (chatml) = the format has none. Never encode segments with
     * DK_ENCODE_SPECIAL. */
    int32_t spells_bos;
    dk_strbuf text;            /* all segments, one after the other */
    dk_chat_content *contents; /* ascending */
    int64_t content_count;
} dk_chat;

const char *dk_chat_names(void); /* "chatml, llama2, llama3, mistral" for messages */
/* A template by name. tok (NULL is fine) gives the spelling of BOS and EOS and, where its own template is of that name,
 * the variant; else it is the plain form. */
int32_t dk_chat_by_name(const char *name, const dk_tokenizer *tok, dk_chat_template *out, dk_error *err);
/* The Jinja text of a tokenizer_config; DK_E_UNSUPPORTED with the list of names when it is none of the four. */
int32_t dk_chat_recognise(const char *jinja, const dk_tokenizer *tok, dk_chat_template *out, dk_error *err);
/* The tokenizer's own template; DK_E_NOT_FOUND when it has none. */
int32_t dk_chat_of_tokenizer(const dk_tokenizer *tok, dk_chat_template *out, dk_error *err);
const char *dk_chat_name(const dk_chat_template *chat);

/* Roles in an order that the format forbids are DK_E_INVALID naming the message. */
int32_t dk_chat_render(dk_host *host, const dk_chat_template *chat, const dk_chat_message *messages, int64_t count,
                       dk_chat *out, dk_error *err);
/* The same with the beginning of an assistant turn behind it: the prompt to generate from. No segment has loss. */
int32_t dk_chat_prompt(dk_host *host, const dk_chat_template *chat, const dk_chat_message *messages, int64_t count,
                       dk_chat *out, dk_error *err);
void dk_chat_free(dk_chat *chat); /* zeroed struct is fine */

#endif
