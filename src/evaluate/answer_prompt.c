/* answer_prompt.c - the prompt that models are timed with, and an answer to it by what writes without a session. */
#include "evaluate/evaluate.h"

int64_t di_answer_prompt(const di_teacher *model, int64_t written)
{
    const int64_t context = di_teacher_facts(model).context_length;
    return context > 0 && context < DI_ANSWER_PROMPT + written ? context / 2 : DI_ANSWER_PROMPT;
}

void di_answer_ids(const di_teacher *model, int64_t length, int32_t ids[DI_ANSWER_PROMPT])
{
    const int64_t vocab = di_teacher_vocab_valid(model);
    for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)((i * 7919 + 1) % vocab);
}

int32_t di_answer(di_teacher *model, int64_t length, int64_t written, di_answer_fn fn, void *user, dk_error *err)
{
    const int64_t vocab = di_teacher_vocab_valid(model);
    int32_t ids[DI_ANSWER_PROMPT];
    int64_t offsets[2] = {0, length};
    const dk_tokens prompt = {ids, offsets, 1};
    const dk_generate_args args = {.max_tokens = written, .top_p = 1, .vocab_valid = vocab, .emit = fn, .user = user};
    di_answer_ids(model, length, ids);
    return di_teacher_write(model, &prompt, &args, err);
}
