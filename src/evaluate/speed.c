/* speed.c - how fast a model answers: prompt tokens per second, and tokens per second while it writes. */
#include "evaluate/evaluate.h"

enum { PROMPT = 128, WRITTEN = 32, TRIES = 3 };

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

static int32_t generate(di_teacher *model, int64_t length, int64_t count, stopwatch *watch, dk_error *err)
{
    const int64_t vocab = di_teacher_vocab_valid(model);
    int32_t ids[PROMPT];
    int64_t offsets[2] = {0, length};
    dk_tokens prompt = {ids, offsets, 1};
    dk_generate_args args = {
        .max_tokens = count, .temperature = 0, .top_p = 1, .vocab_valid = vocab, .emit = on_token, .user = watch};
    for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)((i * 7919 + 1) % vocab);
    *watch = (stopwatch){.begin = dk_seconds()};
    return di_teacher_write(model, &prompt, &args, err);
}

int32_t di_speed(di_teacher *model, double *prompt, double *decode, dk_error *err)
{
    const int64_t context = model ? di_teacher_facts(model).context_length : -1;
    const int64_t length = context > 0 && context < PROMPT + WRITTEN ? context / 2 : PROMPT;
    const int64_t written = length < WRITTEN ? length : WRITTEN;
    stopwatch watch;
    int32_t rc = DK_OK;
    *prompt = *decode = -1;
    if (!model || length < 1) return DK_OK;
    rc = generate(model, length, 1, &watch, err); /* touches every weight once */
    if (rc == DK_E_UNSUPPORTED) {
        dk_error_clear(err);
        return DK_OK;
    }
    for (int i = 0; rc == DK_OK && i < TRIES; i++) { /* the best of a few: a busy neighbour only ever slows down */
        DK_TRY(generate(model, length, written, &watch, err));
        if (watch.first > 0 && (double)length / watch.first > *prompt) *prompt = (double)length / watch.first;
        double each = watch.count > 1 ? (watch.last - watch.first) / (double)(watch.count - 1) : 0;
        if (each > 0 && 1 / each > *decode) *decode = 1 / each;
    }
out:
    return rc;
}
