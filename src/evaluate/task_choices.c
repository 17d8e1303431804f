/* task_choices.c - multiple choice by likelihood: the sum of the log-probabilities of a choice's tokens behind the
 * question, and the same per token and per byte, since a long choice is less likely whatever it says. */
#include <math.h>
#include <string.h>

#include "dataset/prompt_ids.h"
#include "evaluate/tasks.h"
#include "teacher/choices.h"

typedef struct choosing {
    di_task_run *run;
    const di_task_file *file;
    di_choices *choices;
    dk_strbuf texts;   /* the choices, each with what parts it from the question */
    dk_slice *slices;  /* [capacity] of them */
    double *log_probs; /* [capacity] */
    int64_t capacity;
    int32_t *ids; /* [ids_capacity] of the question */
    int64_t ids_capacity;
} choosing;

static int32_t make_room(choosing *c, int64_t count, dk_error *err)
{
    dk_host *host = c->run->args->host;
    int32_t rc;
    if (count <= c->capacity) return DK_OK;
    dk_free(host, c->slices);
    dk_free(host, c->log_probs);
    c->slices = NULL;
    c->log_probs = NULL;
    c->capacity = 0;
    DK_TRY(dk_new(host, count, &c->slices, err));
    DK_TRY(dk_new(host, count, &c->log_probs, err));
    c->capacity = count;
out:
    return rc;
}

static int32_t is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

/* A choice goes on behind the question: a space parts them where neither has one; a chat has its own way. */
static int32_t lay_out(choosing *c, const di_task *task, dk_error *err)
{
    size_t at = 0;
    dk_strbuf_clear(&c->texts);
    for (int64_t i = 0; i < task->count; i++) {
        const dk_slice choice = task->choices[i];
        const int32_t apart =
            !c->run->chat && !is_space(task->question.data[task->question.size - 1]) && !is_space(choice.data[0]);
        if (apart) dk_strbuf_puts(&c->texts, " ");
        dk_strbuf_append(&c->texts, choice.data, choice.size);
        c->slices[i].size = choice.size + (size_t)apart;
    }
    const int32_t rc = dk_strbuf_check(&c->texts, err);
    for (int64_t i = 0; rc == DK_OK && i < task->count; at += c->slices[i++].size)
        c->slices[i].data = c->texts.data + at;
    return rc;
}

/* Of equal ones the first. sizes NULL = the sums as they are. */
static int64_t likeliest(const double *log_probs, const int64_t *lengths, const dk_slice *texts, int64_t count)
{
    double best = -INFINITY;
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        const double by = lengths ? (double)lengths[i] : texts ? (double)texts[i].size : 1;
        if (log_probs[i] / by <= best) continue;
        best = log_probs[i] / by;
        found = i;
    }
    return found;
}

static void count(choosing *c, const di_task *task, di_task_choices *out)
{
    const int64_t chosen = likeliest(c->log_probs, NULL, NULL, task->count);
    out->asked++;
    out->chance += 1 / (double)task->count;
    out->right += chosen == task->right;
    out->right_per_token += likeliest(c->log_probs, di_choices_lengths(c->choices), NULL, task->count) == task->right;
    out->right_per_byte += likeliest(c->log_probs, NULL, task->choices, task->count) == task->right;
    if (chosen != task->right)
        di_task_aside(c->run, c->file, task, "wrong", task->choices[chosen].data, task->choices[chosen].size);
}

static int32_t ask(choosing *c, const di_task *task, di_task_choices *out, dk_error *err)
{
    const di_tasks_args *args = c->run->args;
    int64_t ids = 0, longest = 0;
    int32_t rc;
    DK_TRY(make_room(c, task->count, err));
    DK_TRY(lay_out(c, task, err));
    DK_TRY(di_choices_take(c->choices, c->slices, task->count, err));
    DK_TRY(di_prompt_ids(args->host, di_teacher_tokenizer(args->model), task->question.data, task->question.size,
                         c->run->chat, &c->ids, &c->ids_capacity, &ids, err));
    for (int64_t i = 0; i < task->count; i++)
        if (di_choices_lengths(c->choices)[i] > longest) longest = di_choices_lengths(c->choices)[i];
    if (c->run->context && ids + longest > c->run->context) {
        out->too_long++;
        di_task_aside(c->run, c->file, task, "too_long", "", 0);
        return DK_OK;
    }
    DK_TRY(di_choices_score(c->choices, c->ids, ids, c->log_probs, err));
    count(c, task, out);
out:
    return rc;
}

int32_t di_task_choices_run(di_task_run *run, const di_task_file *file, di_task_choices *out, dk_error *err)
{
    choosing c = {.run = run, .file = file};
    dk_host *host = run->args->host;
    int32_t rc;
    dk_strbuf_init(&c.texts, host);
    DK_TRY(di_choices_open(run->args->model, 1, &c.choices, err));
    if (di_options_is(run->args->options, "generate.precision", "bf16"))
        di_choices_set_precision(c.choices, DK_PRECISION_BF16);
    for (int64_t i = 0; i < file->count; i++) {
        const di_line at = {&file->source, i};
        dk_error problem;
        if ((rc = ask(&c, &file->tasks[i], out, &problem)) != DK_OK) {
            if (rc == DK_E_INVALID) DK_TRY(di_fail_line(&at, err, "%.300s", problem.message));
            if (err) *err = problem;
            goto out;
        }
        run->done++;
        DK_TRY(di_task_tell(run, err));
    }
out:
    di_choices_free(c.choices);
    dk_strbuf_free(&c.texts);
    dk_free(host, c.slices);
    dk_free(host, c.log_probs);
    dk_free(host, c.ids);
    return rc;
}
