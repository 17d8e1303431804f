/* talk_answer.c - the model's turn: its text as it comes, and what is said about it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "talk.h"

typedef struct answer {
    char *text;
    size_t size, cap;
    int64_t tokens, finished;
    int problem;        /* errno of what stdout could not take */
    double first, last; /* seconds */
} answer;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static void take(const talk *t, answer *a, const distill_token *token)
{
    const size_t size = (size_t)token->size;
    a->last = now();
    if (!a->tokens++) a->first = a->last;
    a->finished = token->finished;
    if (!size) return;
    if (a->size + size > a->cap) a->text = cli_memory(a->text, a->cap = 2 * (a->size + size));
    memcpy(a->text + a->size, token->text, size);
    a->size += size;
    if (t->shows) talk_show(stdout, token->text, size);
    else fwrite(token->text, 1, size, stdout);
    if (fflush(stdout)) a->problem = errno;
}

/* Until the end, Ctrl-C, or nobody reads it any more. */
static int32_t write_answer(talk *t, answer *a, distill_error *err)
{
    distill_token token;
    DISTILL_INIT(&token);
    int32_t rc;
    while (!(rc = distill_session_next(t->session, &token, err)) && !a->problem) take(t, a, &token);
    return rc == DISTILL_E_END ? DISTILL_OK : rc;
}

static void end_line(const talk *t, const answer *a)
{
    if (!t->shows || (a->size && a->text[a->size - 1] != '\n')) putchar('\n');
    fflush(stdout);
}

static distill_session_stats stats_of(const talk *t)
{
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    distill_session_get_stats(t->session, &stats, NULL);
    return stats;
}

/* Whoever asked for a limit knows of it; what a conversation was too long for the library logs. */
static void say_limits(const talk *t, const answer *a)
{
    const distill_session_stats stats = stats_of(t);
    if (a->finished != DISTILL_FINISHED_LENGTH) return;
    if (stats.length >= stats.context)
        cli_message("the answer is cut: the context of %lld tokens is full (--context, /reset)",
                    (long long)stats.context);
    else if (!t->limited) cli_message("the answer is cut after %lld tokens (--max-tokens)", (long long)a->tokens);
    else talk_remark(t, "cut after %lld tokens", (long long)a->tokens);
}

static int32_t begin(talk *t, distill_error *err)
{
    char *written = json_dumps(t->chat, JSON_COMPACT);
    if (!written) return cli_message("the conversation could not be written as JSON"), DISTILL_E_INTERNAL;
    int32_t rc = distill_session_chat(t->session, written, DISTILL_CHAT_ANSWER, err);
    free(written);
    return rc;
}

/* What stands last and has no answer is not asked again. */
static void take_back(talk *t)
{
    json_t *messages = talk_messages(t);
    const size_t count = json_array_size(messages);
    if (count && !strcmp(talk_role(json_array_get(messages, count - 1)), "user"))
        json_array_remove(messages, count - 1);
}

static void keep(talk *t, const answer *a)
{
    t->tokens = a->tokens;
    t->seconds = a->last - a->first;
    talk_add(t, "assistant", cli_json_text(a->text, a->size));
}

int talk_answer(talk *t)
{
    distill_error *err = &t->program->err;
    answer a = {NULL, 0, 0, 0, 0, 0, 0, 0};
    int code = -1;
    int32_t rc = begin(t, err);
    if (rc) {
        take_back(t);
        return talk_failed(t, cli_fail(err));
    }
    if (t->asks) talk_hush(1);
    rc = write_answer(t, &a, err);
    if (t->asks) talk_hush(0);
    end_line(t, &a);
    if (a.problem) code = cli_message("stdout: %s", strerror(a.problem));
    else if (rc == DISTILL_E_CANCELLED && t->asks && !cli_is_interrupted()) talk_remark(t, "stopped");
    else if (rc) code = talk_failed(t, cli_fail(err));
    else if (!a.size) talk_remark(t, "the answer is empty");
    if (!rc) say_limits(t, &a);
    if (a.size) keep(t, &a);
    else take_back(t);
    free(a.text);
    cli_take_interrupt();
    return code;
}
