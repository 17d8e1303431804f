/* prompts.h - what a teacher is asked, as ids: a text that goes on, or messages through the chat template. Tokens are
 * those that training sees of the same sample (dataset/sample.h). */
#ifndef DI_AUGMENT_PROMPTS_H
#define DI_AUGMENT_PROMPTS_H

#include "augment/operator.h"

typedef struct di_ids { /* appended to; kept and reused */
    int32_t *ids;
    int64_t count, capacity;
    char refused[512]; /* why this sample cannot be said, as its template or tokenizer has it; "" = it can */
} di_ids;
/* An error that is about one sample: it is kept aside, and the others go on. */
int32_t di_is_of_sample(int32_t rc);
/* A text, with the BOS that the tokenizer begins texts with. */
int32_t di_prompt_text(const di_step *step, const char *text, size_t size, di_ids *out, dk_error *err);
/* A list of messages as JSON, and the beginning of an answer behind them. */
int32_t di_prompt_messages(const di_step *step, const char *json, size_t size, di_ids *out, dk_error *err);
/* One text as the message of a user. */
int32_t di_prompt_user(const di_step *step, const char *text, size_t size, di_ids *out, dk_error *err);
/* All that the template writes up to where a user's words begin. */
int32_t di_prompt_bare_user(const di_step *step, di_ids *out, dk_error *err);
/* [{"role": "user", "content": TEXT}], appended. */
void di_messages_of_user(const char *text, size_t size, dk_strbuf *out);

#endif
