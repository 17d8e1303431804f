/* choices.h - how likely a teacher finds each of some answers behind a prompt: labels by constrained scoring. What the
 * prompt asks is the business of whoever writes it. */
#ifndef DI_TEACHER_CHOICES_H
#define DI_TEACHER_CHOICES_H

#include "base/slice.h"
#include "teacher/teacher.h"

typedef struct di_choices di_choices;
/* Choices as text, copied; encoded as text that goes on behind the prompt, so "art", or " art" where the prompt ends in
 * a word. Every choice has tokens of its own: two that are the same, or one that another begins with, is E_INVALID,
 * since the shorter one would always be the likelier. E_UNSUPPORTED: a teacher without a tokenizer, or of targets
 * without logits. */
int32_t di_choices_create(di_teacher *teacher, const dk_slice *choices, int64_t count, di_choices **out, dk_error *err);
/* The same in two steps, for many questions: take puts other choices in the place of those before. beginnings 1 = a
 * choice may be one that another begins with, for whoever looks at more than the sum. */
int32_t di_choices_open(di_teacher *teacher, int32_t beginnings, di_choices **out, dk_error *err);
int32_t di_choices_take(di_choices *choices, const dk_slice *texts, int64_t count, dk_error *err);
void di_choices_free(di_choices *choices);                                  /* NULL is fine */
void di_choices_set_precision(di_choices *choices, dk_precision precision); /* of products; full at first */
/* Behind prompt [prompt_count]: log_probs [count], the sum over the tokens of each choice, in nats. */
int32_t di_choices_score(di_choices *choices, const int32_t *prompt, int64_t prompt_count, double *log_probs,
                         dk_error *err);
const int64_t *di_choices_lengths(const di_choices *choices); /* [count] tokens of each, as last scored */
/* softmax over the choices of their log-probabilities, or of the mean over their tokens where lengths is not NULL. */
void di_choices_share(const double *log_probs, const int64_t *lengths, int64_t count, double *probabilities);

#endif
