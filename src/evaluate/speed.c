/* speed.c - how fast a model answers: prompt tokens per second, and tokens per second while it writes. */
#include "evaluate/evaluate.h"

enum { WRITTEN = 32, TRIES = 3 };

typedef struct stopwatch {
    double begin, first, last;
    int64_t count;
} stopwatch;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    stopwatch *watch = user;
    (void)sequence, (void)id, (void)log_prob, (void)finished;
    watch->last = dk_seconds() - watch->begin;
    if (watch->count++ == 0) watch->first = watch->last;
    return 0;
}

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

static int32_t time_answer(di_teacher *model, int64_t length, int64_t written, stopwatch *watch, dk_error *err)
{
    *watch = (stopwatch){.begin = dk_seconds()};
    return di_answer(model, length, written, on_token, watch, err);
}

int32_t di_speed(di_teacher *model, double *prompt, double *decode, dk_error *err)
{
    const int64_t length = model ? di_answer_prompt(model, WRITTEN) : 0;
    const int64_t written = length < WRITTEN ? length : WRITTEN;
    stopwatch watch;
    int32_t rc = DK_OK;
    *prompt = *decode = -1;
    if (length < 1) return DK_OK;
    rc = time_answer(model, length, 1, &watch, err); /* touches every weight once */
    if (rc == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        return DK_OK;
    }
    for (int i = 0; rc == DK_OK && i < TRIES; i++) { /* the best of a few: a busy neighbour only ever slows down */
        DK_TRY(time_answer(model, length, written, &watch, err));
        if (watch.first > 0 && (double)length / watch.first > *prompt) *prompt = (double)length / watch.first;
        double each = watch.count > 1 ? (watch.last - watch.first) / (double)(watch.count - 1) : 0;
        if (each > 0 && 1 / each > *decode) *decode = 1 / each;
    }
out:
    return rc;
}
