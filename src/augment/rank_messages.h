/* rank_messages.h - what ranks of one augmentation ask and answer, read out of bytes. Pointers are into the message, at
 * any alignment, and what they point to is checked: offsets ascend and end where the ids do. Private to src/augment. */
#ifndef DI_AUGMENT_RANK_MESSAGES_H
#define DI_AUGMENT_RANK_MESSAGES_H

#include "base/message.h"
#include "base/strbuf.h"

typedef struct di_prompts_question { /* a batch of prompts with their draws */
    int64_t samples, count, ids_count;
    const void *offsets; /* int64 [count + 1] */
    const void *draws;   /* uint64 [count, samples] */
    const void *ids;     /* int32 [ids_count] */
} di_prompts_question;
int32_t di_prompts_question_read(const dk_strbuf *bytes, di_prompts_question *out, dk_error *err);

typedef struct di_prompts_answer { /* what one prompt became */
    int64_t count, finished, text_size;
    const char *text;
    const void *ids, *top_ids; /* int32 [count], [count, keep] */
    const void *top;           /* float [count, keep] */
} di_prompts_answer;
int32_t di_prompts_answer_read(dk_message *message, int64_t keep, di_prompts_answer *out, dk_error *err);

typedef struct di_rows_question { /* sequences, and rows of them whose next token is asked about */
    int64_t sequences, count, row_count;
    const void *offsets; /* int64 [sequences + 1] */
    const void *rows;    /* int64 [row_count], ascending places in ids */
    const void *ids;     /* int32 [count] */
} di_rows_question;
int32_t di_rows_question_read(const dk_strbuf *bytes, di_rows_question *out, dk_error *err);

#endif
