/* generated.h - texts that a model writes behind prompts: prompts out of a batch of data, what is written, and the
 * batch that both make. Which windows are written, by whom and at which odds is on_policy.c's business. */
#ifndef DI_TRAINER_GENERATED_H
#define DI_TRAINER_GENERATED_H

#include "dataset/dataset.h"

typedef struct di_text {                  /* a sequence */
    int64_t first, prompt, room, written; /* its place in ids; tokens of the prompt, most to write, written */
    float weight;                         /* of each token that is written */
    int32_t ended;                        /* by a token that ends texts */
    di_origin origin;                     /* of its prompt */
} di_text;
typedef struct di_texts {
    dk_host *host;
    int64_t count, capacity;        /* texts */
    int64_t tokens, token_capacity; /* of all, with the room that they have */
    di_text *items;                 /* [capacity] */
    int32_t *ids;                   /* [token_capacity] each text's prompt, what is written, and room */
    float *log_probs;               /* [token_capacity] of what is written, by who wrote it; 0 in prompts */
    int32_t *prompts;               /* [token_capacity] prompts alone, */
    int64_t *offsets;               /* [capacity + 1] as generators take them */
    int64_t *most;                  /* [capacity] the room of each */
} di_texts;
typedef struct di_prompt_rules {
    int64_t plain;   /* tokens of a sequence that are its prompt, where all of it is learnt */
    int64_t longest; /* prompt and text together */
    int64_t most;    /* tokens to write */
} di_prompt_rules;
/* A prompt for each sequence of the batch: what stands before its first label. *full: those that leave no room, which
 * are left out. Memory grows where a batch asks for more than any before it. */
int32_t di_texts_take_prompts(di_texts *texts, const di_batch *data, const di_prompt_rules *rules, int64_t *full,
                              dk_error *err);
/* One more, which has been written; ids and log_probs (NULL = not known) of prompt and text. */
int32_t di_texts_add(di_texts *texts, const di_text *like, const int32_t *ids, const float *log_probs, dk_error *err);
void di_texts_clear(di_texts *texts);
void di_texts_free(di_texts *texts);
/* As a batch, in order: windows of as many as have no more than so many tokens and sequences. *out is made, or made
 * anew where it has too little room. */
int32_t di_texts_batch(const di_texts *texts, int64_t window_tokens, int64_t window_sequences, di_batch **out,
                       dk_error *err);

#endif
