/* chat.h - chat templates: how a list of messages becomes text, and which part of that text is an answer.
 *
 * A template is Jinja (lib/jinja) and is rendered as it is: a model's own, one from a file, or one of four that have a
 * name here. Text equals that of transformers 5 (apply_chat_template); ids are those of the whole text, encoded with
 * flags 0, since a template spells out its own BOS.
 *
 *   chat_template.c  opening                chat_builtin.c  the four with a name
 *   chat_render.c    messages -> text       chat_learnt.c   which bytes are answers
 *   chat_message.c   what a template is given of a message
 *   chat_keys.c      keys of messages that it does not read
 *   chat_json.c      a chat as the chat APIs have it */
#ifndef DK_CHAT_CHAT_H
#define DK_CHAT_CHAT_H

#include "jinja/jinja.h"
#include "text/tokenizer.h"

typedef struct dk_chat_template dk_chat_template; /* does not change once opened: many threads render with it */

const char *dk_chat_names(void); /* "chatml, llama2, llama3, mistral" for messages */
int32_t dk_chat_is_name(const char *name);
/* name: in messages. tok is kept: its special tokens are what templates see as bos_token and so on. */
int32_t dk_chat_open(dk_host *host, const char *name, const char *jinja, size_t size, const dk_tokenizer *tok,
                     dk_chat_template **out, dk_error *err);
int32_t dk_chat_open_file(dk_host *host, const char *path, const dk_tokenizer *tok, dk_chat_template **out,
                          dk_error *err);
int32_t dk_chat_by_name(dk_host *host, const char *name, const dk_tokenizer *tok, dk_chat_template **out,
                        dk_error *err);
/* The tokenizer's own template; DK_E_NOT_FOUND when it has none. */
int32_t dk_chat_of_tokenizer(dk_host *host, const dk_tokenizer *tok, dk_chat_template **out, dk_error *err);
dk_chat_template *dk_chat_template_retain(const dk_chat_template *chat); /* NULL is fine */
void dk_chat_template_release(dk_chat_template *chat);                   /* NULL is fine */
const char *dk_chat_source(const dk_chat_template *chat);                /* Jinja text */
/* Whether the template's text has the word: a key of messages or a variable that is not in it changes nothing. */
int32_t dk_chat_reads(const dk_chat_template *chat, const char *word);
/* The same of a key of messages: reasoning goes by any of its names. */
int32_t dk_chat_reads_key(const dk_chat_template *chat, const char *key);

typedef struct dk_chat_talk {
    const dk_node *const *messages; /* [count] maps as the chat APIs have them */
    int64_t count;
    const dk_node *tools;      /* a list, or NULL */
    const dk_node *variables;  /* a map of more that the template sees (enable_thinking, documents), or NULL */
    int32_t prompt;            /* the beginning of an answer behind them: add_generation_prompt */
    int32_t open_last;         /* the last message does not end: continue_final_message */
    const dk_jinja_date *date; /* of strftime_now; NULL = not known */
} dk_chat_talk;

typedef struct dk_chat { /* owned by the caller; dk_chat_free */
    dk_host *host;
    char *text; /* NUL-terminated UTF-8 */
    size_t size;
    dk_text_span *contents; /* [content_count] ascending: what messages and tools say, not the template */
    int64_t content_count;
    int64_t absent;       /* number of the first message of which nothing is in the text, 0 = none */
    int64_t absent_count; /* of such messages that are no answers */
    dk_jinja_output output;
} dk_chat;
int32_t dk_chat_render(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, dk_chat *out,
                       dk_error *err);
void dk_chat_free(dk_chat *chat); /* zeroed struct is fine */

/* json: a list of messages, or {"messages", "tools", "chat_template": a name or Jinja text, "chat_template_kwargs"}.
 * The template is the tokenizer's own unless one is given. strftime_now gives today, UTC. Keys that the template does
 * not read are errors, a message of which nothing is in the text is a warning. */
int32_t dk_chat_of_json(dk_host *host, const dk_tokenizer *tok, const char *json, int32_t prompt, int32_t open_last,
                        dk_chat *out, dk_error *err);
/* The same without its oldest turns: *left is how many messages these are. What it begins with, as the system says it,
 * and the last turn stay: E_END where there are not so many others. */
int32_t dk_chat_of_later(dk_host *host, const dk_tokenizer *tok, const char *json, int64_t turns, int32_t prompt,
                         int32_t open_last, dk_chat *out, int64_t *left, dk_error *err);
void dk_chat_today(dk_jinja_date *out);

typedef struct dk_chat_answer {
    dk_text_span span; /* of the whole text */
    int64_t message;   /* index */
} dk_chat_answer;
/* Where the answers of the talk that was rendered lie: what {% generation %} marks; else from where the text of the
 * messages in front, with the beginning of an answer, ends, up to the special tokens that stand right behind the answer
 * in a talk that ends with it. Refused, with the message's number, where those texts are not parts of the whole. Only
 * messages with wanted[i] (NULL = all) are looked for. *answers is dk_free'd by the caller. */
int32_t dk_chat_learnt(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, const dk_chat *whole,
                       const uint8_t *wanted, dk_chat_answer **answers, int64_t *count, dk_error *err);

#endif
