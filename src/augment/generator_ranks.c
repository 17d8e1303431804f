/* generator_ranks.c - a batch of prompts by several ranks: the question is the batch with its draws, a part of the
 * answer what some of the prompts became. */
#include <string.h>

#include "augment/generator_parts.h"
#include "augment/rank_messages.h"
#include "base/ranks.h"

/* ---- the question ---- */

static void put(dk_strbuf *to, const void *items, int64_t count, size_t size)
{
    if (count) dk_strbuf_append(to, items, (size_t)count * size);
}

static void put_question(const di_generator *g, dk_strbuf *question)
{
    const int64_t counts[3] = {g->samples, g->count, g->ids.count};
    put(question, counts, 3, sizeof *counts);
    put(question, g->offsets, g->count + 1, sizeof *g->offsets);
    put(question, g->draws, g->count * g->samples, sizeof *g->draws);
    put(question, g->ids.ids, g->ids.count, sizeof *g->ids.ids);
}

static void copy(void *to, const void *items, int64_t count, size_t size)
{
    if (count) memcpy(to, items, (size_t)count * size);
}

static int32_t take_question(di_generator *g, const dk_strbuf *question, dk_error *err)
{
    di_prompts_question asked;
    int32_t rc;
    DK_TRY(di_prompts_question_read(question, &asked, err));
    if (g->samples != asked.samples) g->capacity = 0; /* draws are of another width */
    g->samples = asked.samples;
    g->count = g->ids.count = 0;
    DK_TRY(di_generator_room(g, asked.count, asked.ids_count, err));
    g->count = asked.count;
    g->ids.count = asked.ids_count;
    copy(g->offsets, asked.offsets, g->count + 1, sizeof *g->offsets);
    copy(g->draws, asked.draws, g->count * g->samples, sizeof *g->draws);
    copy(g->ids.ids, asked.ids, g->ids.count, sizeof *g->ids.ids);
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

static int32_t take_answer(di_generator *g, di_answer *a, dk_message *from, dk_error *err)
{
    di_prompts_answer told;
    int32_t rc;
    DK_TRY(di_prompts_answer_read(from, g->keep, &told, err));
    dk_strbuf_clear(&a->text);
    if (told.text_size) dk_strbuf_append(&a->text, told.text, (size_t)told.text_size);
    if (told.count > a->capacity && di_generator_widen(g, a, told.count))
        DK_TRY(dk_fail_nomem(err, (uint64_t)told.count));
    a->count = told.count;
    a->finished = (int32_t)told.finished;
    copy(a->ids, told.ids, a->count, sizeof *a->ids);
    copy(a->top_ids, told.top_ids, a->count * g->keep, sizeof *a->top_ids);
    copy(a->top, told.top, a->count * g->keep, sizeof *a->top);
    g->tokens += a->count;
out:
    return rc;
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
    dk_message at;
    int32_t rc;
    dk_strbuf_init(&question, g->step->host);
    dk_strbuf_init(&answers, g->step->host);
    put_question(g, &question);
    DK_TRY(di_rank_call(g->step->calls, g->number, &question, &answers, err));
    g->tokens = 0; /* those of this rank stand among the answers, too */
    dk_message_open(&at, answers.data, answers.size);
    for (int64_t i = 0; i < g->count * g->samples; i++) DK_TRY(take_answer(g, &g->answers[i], &at, err));
    rc = dk_message_end(&at, "texts that ranks wrote", err);
out:
    dk_strbuf_free(&question);
    dk_strbuf_free(&answers);
    return rc;
}
