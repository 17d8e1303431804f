/* generator.h - prompts of a chunk answered in one batch, each by draws of its own: a text hangs on the weights, its
 * prompt and its number, not on its neighbours. Models in this process write side by side; other teachers are asked for
 * one prompt at a time, by generate.seed. */
#ifndef DI_AUGMENT_GENERATOR_H
#define DI_AUGMENT_GENERATOR_H

#include "augment/prompts.h"

typedef struct di_answer {
    int32_t *ids; /* [count] with the token that ended it, if one did */
    int64_t count, capacity;
    dk_strbuf text;   /* without special tokens and stop texts */
    int32_t finished; /* as distill_token_fn: 1 by a token, 2 cut, 3 by a text */
    int32_t *top_ids; /* [count, k] where log-probabilities are kept */
    float *top;
} di_answer;
typedef struct di_generator di_generator;
/* Reads samples, max_new_tokens, temperature, top_p, top_k, stop of the step: what it leaves open is as section
 * generate has it. keep: ids whose log-probabilities go with each token, 0 = none. */
int32_t di_generator_create(const di_step *step, int64_t keep, di_generator **out, dk_error *err);
void di_generator_free(di_generator *generator);                         /* NULL is fine */
void di_generator_set_samples(di_generator *generator, int64_t samples); /* before the first prompt */
int64_t di_generator_samples(const di_generator *generator);
int64_t di_generator_most(const di_generator *generator); /* tokens of an answer */
/* A prompt of the batch; the answers' draws hang on record. E_END: it leaves no room in the model's context. */
int32_t di_generator_add(di_generator *generator, const di_record *record, const di_ids *prompt, dk_error *err);
/* Answers all that were added; tokens are counted in flow. */
int32_t di_generator_run(di_generator *generator, di_flow *flow, dk_error *err);
/* Of the batch that was run, until the next prompt is added behind it. */
const di_answer *di_generator_answer(const di_generator *generator, int64_t prompt, int64_t sample);
/* "empty", "endless_repetition", or NULL: it did not end, and its last tokens are one piece again and again. */
const char *di_answer_problem(const di_answer *answer);

#endif
