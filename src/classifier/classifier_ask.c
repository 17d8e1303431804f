#include "classifier/classifier_ask.h"

#include <string.h>

#include "dataset/prompt_ids.h"
#include "teacher/choices.h"

int32_t di_choose(dk_host *host, di_teacher *teacher, const di_choice_question *q, double *probabilities, dk_error *err)
{
    dk_tokenizer *tokenizer = di_teacher_tokenizer(teacher);
    di_choices *choices = NULL;
    dk_slice *texts = NULL;
    int64_t count = 0, cap = 0;
    int32_t *ids = NULL, rc;
    DK_TRY(dk_new(host, q->count + 1, &texts, err));
    for (int64_t i = 0; i < q->count; i++) texts[i] = (dk_slice){q->choices[i], strlen(q->choices[i])};
    DK_TRY(di_choices_create(teacher, texts, q->count, &choices, err));
    di_choices_set_precision(choices, q->precision);
    DK_TRY(di_prompt_ids(host, tokenizer, q->prompt, q->size, q->chat, &ids, &cap, &count, err));
    DK_TRY(di_choices_score(choices, ids, count, probabilities, err));
    di_choices_share(probabilities, q->per_token ? di_choices_lengths(choices) : NULL, q->count, probabilities);
out:
    di_choices_free(choices);
    dk_free(host, texts);
    dk_free(host, ids);
    return rc;
}

int32_t di_classifier_ask(const di_classifier *c, di_teacher *teacher, const char *text, size_t size,
                          dk_precision precision, double *probabilities, dk_error *err)
{
    static const char mark[] = "{text}";
    di_choice_question q = {.chat = c->question.chat,
                            .per_token = c->question.per_token,
                            .choices = (const char *const *)c->names,
                            .count = c->classes,
                            .precision = precision};
    dk_strbuf prompt;
    int32_t rc;
    if (!c->question.text)
        return dk_fail(err, DK_E_STAGE,
                       "the classifier has no question for a teacher: train it with classifier.question");
    dk_strbuf_init(&prompt, c->host);
    for (const char *at = c->question.text, *next; at; at = next ? next + sizeof mark - 1 : NULL) {
        next = strstr(at, mark);
        dk_strbuf_append(&prompt, at, next ? (size_t)(next - at) : strlen(at));
        if (next) dk_strbuf_append(&prompt, text, size);
    }
    DK_TRY(dk_strbuf_check(&prompt, err));
    q.prompt = prompt.data;
    q.size = prompt.size;
    DK_TRY(di_choose(c->host, teacher, &q, probabilities, err));
out:
    dk_strbuf_free(&prompt);
    return rc;
}
