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

static int32_t generate(dk_model *model, int64_t length, int64_t count, stopwatch *watch, dk_error *err)
{
    int32_t ids[PROMPT];
    int64_t offsets[2] = {0, length};
    dk_tokens prompt = {ids, offsets, 1};
    dk_generate_args args = {.max_tokens = count, .temperature = 0, .top_p = 1, .emit = on_token, .user = watch};
    for (int64_t i = 0; i < length; i++) ids[i] = (int32_t)((i * 7919 + 1) % model->config.vocab_size);
    *watch = (stopwatch){.begin = dk_seconds()};
    return dk_generate(model, &prompt, &args, err);
}

int32_t di_speed(di_teacher *scorer, double *prompt, double *decode, dk_error *err)
{
    dk_model *model = scorer ? di_teacher_model(scorer) : NULL;
    stopwatch watch;
    int32_t rc = DK_OK;
    *prompt = *decode = -1;
    if (!model) return DK_OK;
    int64_t length = model->config.max_positions > 0 && model->config.max_positions < PROMPT + WRITTEN
                         ? model->config.max_positions / 2
                         : PROMPT;
    if (length < 1) return DK_OK;
    int64_t written = length < WRITTEN ? length : WRITTEN;
    DK_TRY(generate(model, length, 1, &watch, err)); /* touches every weight once */
    for (int i = 0; i < TRIES; i++) {                /* the best of a few: a busy neighbour only ever slows down */
        DK_TRY(generate(model, length, written, &watch, err));
        if (watch.first > 0 && (double)length / watch.first > *prompt) *prompt = (double)length / watch.first;
        double each = watch.count > 1 ? (watch.last - watch.first) / (double)(watch.count - 1) : 0;
        if (each > 0 && 1 / each > *decode) *decode = 1 / each;
    }
out:
    return rc;
}
