/* generator_ranks.c - a batch of prompts by several ranks: the question is the batch with its draws, a part of the
 * answer what some of the prompts became. */
#include <string.h>

#include "augment/generator_parts.h"
#include "base/ranks.h"

/* ---- the question ---- */

static void put(dk_strbuf *to, const void *items, int64_t count, size_t size)
{
    if (count) dk_strbuf_append(to, items, (size_t)count * size);
}

static void get(const char **from, void *items, int64_t count, size_t size)
{
    if (count) memcpy(items, *from, (size_t)count * size);
    *from += (size_t)count * size;
}

static void put_question(const di_generator *g, dk_strbuf *question)
{
    const int64_t counts[3] = {g->samples, g->count, g->ids.count};
    put(question, counts, 3, sizeof *counts);
    put(question, g->offsets, g->count + 1, sizeof *g->offsets);
    put(question, g->draws, g->count * g->samples, sizeof *g->draws);
    put(question, g->ids.ids, g->ids.count, sizeof *g->ids.ids);
}

static int32_t take_question(di_generator *g, const dk_strbuf *question, dk_error *err)
{
    const char *at = question->data;
    int64_t counts[3];
    int32_t rc;
    get(&at, counts, 3, sizeof *counts);
    if (g->samples != counts[0]) g->capacity = 0; /* draws are of another width */
    g->samples = counts[0];
    g->count = g->ids.count = 0;
    DK_TRY(di_generator_room(g, counts[1], counts[2], err));
    g->count = counts[1];
    g->ids.count = counts[2];
    get(&at, g->offsets, g->count + 1, sizeof *g->offsets);
    get(&at, g->draws, g->count * g->samples, sizeof *g->draws);
    get(&at, g->ids.ids, g->ids.count, sizeof *g->ids.ids);
    rc = di_generator_open_answers(g, err);
out:
    return rc;
}

/* ---- the answers ---- */

static int32_t put_answer(const di_generator *g, const di_answer *a, dk_strbuf *to, dk_error *err)
{
    const int64_t counts[3] = {a->count, a->finished, (int64_t)a->text.size};
    int32_t rc;
    DK_TRY(dk_strbuf_check(&a->text, err));
    put(to, counts, 3, sizeof *counts);
    put(to, a->text.data, counts[2], 1);
    put(to, a->ids, a->count, sizeof *a->ids);
    put(to, a->top_ids, a->count * g->keep, sizeof *a->top_ids);
    put(to, a->top, a->count * g->keep, sizeof *a->top);
out:
    return rc;
}

static int32_t take_answer(di_generator *g, di_answer *a, const char **from, dk_error *err)
{
    int64_t counts[3];
    get(from, counts, 3, sizeof *counts);
    dk_strbuf_clear(&a->text);
    if (counts[2]) dk_strbuf_append(&a->text, *from, (size_t)counts[2]);
    *from += counts[2];
    if (counts[0] > a->capacity && di_generator_widen(g, a, counts[0])) return dk_fail_nomem(err, (uint64_t)counts[0]);
    a->count = counts[0];
    a->finished = (int32_t)counts[1];
    get(from, a->ids, a->count, sizeof *a->ids);
    get(from, a->top_ids, a->count * g->keep, sizeof *a->top_ids);
    get(from, a->top, a->count * g->keep, sizeof *a->top);
    g->tokens += a->count;
    return DK_OK;
}

int32_t di_generator_answer_part(void *self, const dk_strbuf *question, dk_strbuf *answer, dk_error *err)
{
    di_generator *g = self;
    dk_host *host = g->step->host;
    int32_t rc = DK_OK;
    if (dk_rank(host)) DK_TRY(take_question(g, question, err));
    const int64_t first = di_rank_share(host, g->count, 0), last = di_rank_share(host, g->count, 1);
    DK_TRY(di_generator_ask(g, first, last, err));
    for (int64_t i = first * g->samples; i < last * g->samples; i++) DK_TRY(put_answer(g, &g->answers[i], answer, err));
    rc = dk_strbuf_check(answer, err);
out:
    return rc;
}

int32_t di_generator_ask_ranks(di_generator *g, dk_error *err)
{
    dk_strbuf question, answers;
    int32_t rc;
    dk_strbuf_init(&question, g->step->host);
    dk_strbuf_init(&answers, g->step->host);
    put_question(g, &question);
    DK_TRY(di_rank_call(g->step->calls, g->number, &question, &answers, err));
    g->tokens = 0; /* those of this rank stand among the answers, too */
    const char *at = answers.data;
    for (int64_t i = 0; i < g->count * g->samples; i++) DK_TRY(take_answer(g, &g->answers[i], &at, err));
out:
    dk_strbuf_free(&question);
    dk_strbuf_free(&answers);
    return rc;
}
