/* bench_session: what sessions cost, in turns with distill_teacher_generate, which writes the same text with nothing
 * around it: a token, the first token of a prompt, a token of several texts in one pass, and the first token of a
 * second turn beside reading all of it. Medians of rounds, and ratios. Not a test: prints and always succeeds.
 *   bench_session MODEL [ROUNDS [THREADS [PART]]]     MODEL: a folder or a GGUF file; PART: tokens, batches, turns */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "distill.h"

enum { SHORT = 64, PROMPT = 512, TURN = 32, WRITTEN = 128, BATCH = 8, MOST = 99 };

typedef struct bench {
    distill_env *env;
    distill_teacher *model;
    distill_options *options;
    distill_error err;
    int32_t ids[BATCH * PROMPT];
    int64_t rounds;
} bench;

typedef struct times { /* of an answer, or of several side by side */
    double begin, first, last;
    double side; /* the last one of them begins to write */
    int64_t sequences, started, tokens, behind;
} times;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(const bench *b, int32_t rc)
{
    if (!rc) return;
    fprintf(stderr, "bench_session: %s\n", b->err.message);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

/* ---- a token came ---- */

static void hear(times *t, int64_t sequence)
{
    t->last = now();
    if (!t->tokens++) t->first = t->last;
    if (sequence >= t->started) {
        t->started = sequence + 1;
        if (t->started == t->sequences) t->side = t->last, t->behind = 0;
    } else if (t->started == t->sequences) t->behind++;
}

static double each_of(const times *t) { return (t->last - t->side) / (double)t->behind; }

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    (void)id, (void)log_prob, (void)text, (void)size, (void)finished;
    hear(user, sequence);
    return DISTILL_CB_OK;
}

static times bare(bench *b, int64_t sequences, int64_t keys, int64_t written)
{
    times t = {.sequences = sequences};
    int64_t offsets[BATCH + 1];
    distill_batch batch;
    DISTILL_INIT(&batch);
    for (int64_t i = 0; i <= sequences; i++) offsets[i] = i * keys;
    batch.ids = b->ids;
    batch.offsets = offsets;
    batch.sequences = sequences;
    check(b, distill_options_set_i64(b->options, "generate.max_tokens", written, &b->err));
    t.begin = now();
    check(b, distill_teacher_generate(b->model, &batch, b->options, on_token, &t, &b->err));
    return t;
}

/* ---- sessions ---- */

static void open_sessions(bench *b, distill_session **sessions, int64_t count)
{
    check(b, distill_options_set_i64(b->options, "session.places", count, &b->err));
    check(b, distill_options_set_i64(b->options, "session.context", PROMPT + 2 * WRITTEN + TURN, &b->err));
    check(b, distill_session_create(b->model, NULL, b->options, &sessions[0], &b->err));
    for (int64_t i = 1; i < count; i++) check(b, distill_session_fork(sessions[0], &sessions[i], &b->err));
}

static void configure(bench *b, distill_session *session, int64_t written)
{
    check(b, distill_options_set_i64(b->options, "generate.max_tokens", written, &b->err));
    check(b, distill_session_configure(session, b->options, &b->err));
}

/* An answer behind what was appended. */
static times answer(bench *b, distill_session *session)
{
    times t = {.begin = now(), .sequences = 1};
    distill_token token;
    int32_t rc;
    DISTILL_INIT(&token);
    while (!(rc = distill_session_next(session, &token, &b->err))) hear(&t, 0);
    if (rc != DISTILL_E_END) check(b, rc);
    return t;
}

static times alone(bench *b, distill_session *session, int64_t keys, int64_t written)
{
    configure(b, session, written);
    check(b, distill_session_truncate(session, 0, &b->err));
    check(b, distill_session_append(session, b->ids, keys, &b->err));
    return answer(b, session);
}

static times together(bench *b, distill_session **sessions, int64_t count, int64_t keys, int64_t written)
{
    times t = {.sequences = count};
    distill_token outs[BATCH];
    int32_t rc;
    for (int64_t i = 0; i < count; i++) {
        DISTILL_INIT(&outs[i]);
        configure(b, sessions[i], written);
        check(b, distill_session_truncate(sessions[i], 0, &b->err));
        check(b, distill_session_append(sessions[i], b->ids + i * keys, keys, &b->err));
    }
    t.begin = now();
    while (!(rc = distill_session_next_many(sessions, count, outs, &b->err)))
        for (int64_t i = 0; i < count; i++)
            if (outs[i].id >= 0) hear(&t, i);
    if (rc != DISTILL_E_END) check(b, rc);
    return t;
}

/* ---- tables ---- */

static void show(const char *what, double *ours, double *theirs, int64_t count)
{
    double ratios[MOST];
    for (int64_t i = 0; i < count; i++) ratios[i] = ours[i] / theirs[i];
    const double a = median(ours, count), b = median(theirs, count), ratio = median(ratios, count);
    printf("%-52s %9.3f %9.3f   %6.3f (%.3f to %.3f)\n", what, 1e3 * a, 1e3 * b, ratio, ratios[0], ratios[count - 1]);
    fflush(stdout);
}

static void tokens(bench *b)
{
    double first[2][MOST], each[2][MOST];
    distill_session *s;
    open_sessions(b, &s, 1);
    for (int64_t i = -1; i < b->rounds; i++) { /* the first round touches memory */
        const times with = alone(b, s, SHORT, WRITTEN), without = bare(b, 1, SHORT, WRITTEN);
        if (i >= 0) each[0][i] = each_of(&with), each[1][i] = each_of(&without);
    }
    show("a token, behind 64", each[0], each[1], b->rounds);
    for (int64_t i = -1; i < b->rounds; i++) {
        const times with = alone(b, s, PROMPT, 1), without = bare(b, 1, PROMPT, 1);
        if (i >= 0) first[0][i] = with.first - with.begin, first[1][i] = without.first - without.begin;
    }
    show("the first token behind 512", first[0], first[1], b->rounds);
    distill_session_free(s);
}

static void batches(bench *b)
{
    double each[2][MOST];
    distill_session *s[BATCH];
    open_sessions(b, s, BATCH);
    for (int64_t i = -1; i < b->rounds; i++) {
        const times with = together(b, s, BATCH, SHORT, WRITTEN), without = bare(b, BATCH, SHORT, WRITTEN);
        if (i >= 0) each[0][i] = each_of(&with), each[1][i] = each_of(&without);
    }
    show("a token of 8 texts in one pass", each[0], each[1], b->rounds);
    for (int i = 0; i < BATCH; i++) distill_session_free(s[i]);
}

/* 512 tokens and an answer of 128 stand, and 32 more come: beside the same 672 tokens in a session that is empty, and
 * beside 32 in one. */
static void turns(bench *b)
{
    double first[3][MOST];
    distill_session *s;
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    open_sessions(b, &s, 1);
    for (int64_t i = -1; i < b->rounds; i++) {
        int32_t ids[PROMPT + WRITTEN + TURN];
        int64_t count;
        (void)alone(b, s, PROMPT, WRITTEN);
        configure(b, s, 1);
        check(b, distill_session_append(s, b->ids, TURN, &b->err));
        check(b, distill_session_ids(s, ids, PROMPT + WRITTEN + TURN, &count, &b->err));
        const times second = answer(b, s);
        check(b, distill_session_get_stats(s, &stats, &b->err));
        check(b, distill_session_truncate(s, 0, &b->err));
        check(b, distill_session_append(s, ids, count, &b->err));
        const times all = answer(b, s), few = alone(b, s, TURN, 1);
        if (i < 0) continue;
        first[0][i] = second.first - second.begin;
        first[1][i] = all.first - all.begin;
        first[2][i] = few.first - few.begin;
    }
    printf("second turn: of %lld tokens that stood before answers %lld were found and not read\n",
           (long long)stats.prompt_tokens, (long long)stats.kept_tokens);
    double second[MOST];
    memcpy(second, first[0], sizeof second);
    show("its first token : all 672 read anew", first[0], first[1], b->rounds);
    show("its first token : 32 alone in an empty session", second, first[2], b->rounds);
    distill_session_free(s);
}

int main(int argc, char **argv)
{
    static bench b;
    int64_t vocab = 0;
    uint64_t state = 1;
    b.rounds = argc > 2 ? atoi(argv[2]) : 9;
    if (argc < 2 || b.rounds < 1 || b.rounds > MOST)
        return fprintf(stderr, "usage: bench_session MODEL [ROUNDS [THREADS [tokens|batches|turns]]]\n"), 2;
    check(&b, distill_env_create(NULL, &b.env, &b.err));
    if (argc > 3) check(&b, distill_env_set_threads(b.env, atoi(argv[3]), NULL, NULL, NULL, &b.err));
    check(&b, distill_options_create(b.env, &b.options, &b.err));
    check(&b, distill_options_set_f64(b.options, "generate.temperature", 0, &b.err)); /* else texts end apart */
    check(&b, distill_teacher_open(b.env, argv[1], NULL, &b.model, &b.err));
    check(&b, distill_teacher_get_i64(b.model, "vocab_valid", &vocab, &b.err));
    for (int64_t i = 0; i < BATCH * PROMPT; i++) { /* Knuth's MMIX generator */
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        b.ids[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
    printf("%-52s %9s %9s   %6s\n", "ms, medians of rounds in turns", "session", "bare", "ratio");
    if (argc < 5 || !strcmp(argv[4], "tokens")) tokens(&b);
    if (argc < 5 || !strcmp(argv[4], "batches")) batches(&b);
    if (argc < 5 || !strcmp(argv[4], "turns")) turns(&b);
    distill_options_free(b.options);
    distill_teacher_free(b.model);
    distill_env_free(b.env);
    return 0;
}
