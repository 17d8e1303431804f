/* questions.h - what operators that make new prompts share: the question of a sample, and putting another one there. */
#ifndef DI_AUGMENT_QUESTIONS_H
#define DI_AUGMENT_QUESTIONS_H

#include "augment/generator.h"

/* The text, the prompt, or the first thing that a user says; appended. Nothing where there is none. */
int32_t di_question_of(const di_record *record, dk_strbuf *out, dk_error *err);
/* Takes the place of it, and what answered the old one goes: completion, chosen, rejected, all messages. A sample
 * without a field becomes messages. */
int32_t di_question_set(di_record *record, const char *text, size_t size, dk_error *err);
/* What an answer says, without blanks around it and without quotes around the whole of it; inside the answer. */
dk_slice di_answer_words(const di_answer *answer);

#endif
