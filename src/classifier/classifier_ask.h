/* classifier_ask.h - a teacher asked for one of some answers: behind a prompt as it stands, or what a user says in a
 * chat. */
#ifndef DI_CLASSIFIER_CLASSIFIER_ASK_H
#define DI_CLASSIFIER_CLASSIFIER_ASK_H

#include "classifier/classifier.h"
#include "teacher/teacher.h"

typedef struct di_choice_question {
    const char *prompt;
    size_t size;
    int32_t chat;               /* the prompt is what a user says, in the teacher's own chat template */
    int32_t per_token;          /* answers are compared by the mean over their tokens, not by the sum */
    const char *const *choices; /* [count] */
    int64_t count;
    dk_precision precision;
} di_choice_question;
/* probabilities [count]: of the choices alone, together 1. */
int32_t di_choose(dk_host *host, di_teacher *teacher, const di_choice_question *question, double *probabilities,
                  dk_error *err);
/* The classifier's own question of a text: E_STAGE where it has none. */
int32_t di_classifier_ask(const di_classifier *classifier, di_teacher *teacher, const char *text, size_t size,
                          dk_precision precision, double *probabilities, dk_error *err);

#endif
