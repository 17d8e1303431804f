/* task_answers.c - a model writes its answer, and the number or the words of it are compared with the right one. */
#include <string.h>

#include "augment/curate/answers.h"
#include "dataset/prompt_ids.h"
#include "evaluate/tasks.h"

enum { AT_ONCE = 32 }; /* questions that a model in this process answers side by side */

typedef struct answering {
    di_task_run *run;
    const di_task_file *file;
    di_task_kind kind;
    double tolerance;
    /* the batch under work */
    int32_t *ids;
    int64_t ids_capacity, offsets[AT_ONCE + 1], members[AT_ONCE], count;
    dk_strbuf said[AT_ONCE];
    int32_t finished[AT_ONCE];
    int64_t tokens;
} answering;

static int32_t on_token(void *user, int64_t sequence, const distill_token *token)
{
    answering *a = user;
    if (token->size) dk_strbuf_append(&a->said[sequence], token->text, (size_t)token->size);
    a->finished[sequence] = (int32_t)token->finished;
    a->tokens++;
    return DISTILL_CB_OK;
}

static int32_t add_question(answering *a, int64_t index, di_task_answers *out, dk_error *err)
{
    const di_tasks_args *args = a->run->args;
    const di_task *task = &a->file->tasks[index];
    int64_t end = a->offsets[a->count];
    int32_t rc;
    DK_TRY(di_prompt_ids(args->host, di_teacher_tokenizer(args->model), task->question.data, task->question.size,
                         a->run->chat, &a->ids, &a->ids_capacity, &end, err));
    if (a->run->context && end - a->offsets[a->count] >= a->run->context) {
        out->too_long++;
        di_task_aside(a->run, a->file, task, "too_long", "", 0);
        return DK_OK;
    }
    a->members[a->count] = index;
    a->finished[a->count] = 0;
    dk_strbuf_clear(&a->said[a->count]);
    a->offsets[++a->count] = end;
out:
    return rc;
}

static int32_t write_answers(answering *a, dk_error *err)
{
    const di_tasks_args *args = a->run->args;
    const distill_writer_callbacks table = {.struct_size = sizeof table, .user = a, .token = on_token};
    const di_reader reader = {.table = &table};
    distill_batch batch;
    int32_t rc;
    DISTILL_INIT(&batch);
    batch.ids = a->ids;
    batch.offsets = a->offsets;
    batch.sequences = a->count;
    DK_TRY(di_teacher_generate_to(args->model, &batch, args->writing, args->user_options, &reader, err));
    for (int64_t i = 0; i < a->count; i++) DK_TRY(dk_strbuf_check(&a->said[i], err));
out:
    return rc;
}

/* NULL = it is right. */
static const char *compare(const answering *a, const di_task *task, const dk_strbuf *said)
{
    const char *text = said->size ? said->data : "";
    double number;
    if (a->kind == DI_TASK_EXACT)
        return di_same_answer(text, said->size, task->answer.data, task->answer.size) ? NULL : "wrong";
    if (!di_find_number(text, said->size, &number)) return "unparsed";
    return di_same_number(number, task->value, a->tolerance) ? NULL : "wrong";
}

static void count(answering *a, di_task_answers *out)
{
    for (int64_t i = 0; i < a->count; i++) {
        const di_task *task = &a->file->tasks[a->members[i]];
        const char *why = compare(a, task, &a->said[i]);
        out->asked++;
        out->cut += a->finished[i] == 2;
        out->right += !why;
        out->wrong += why && !strcmp(why, "wrong");
        out->unparsed += why && !strcmp(why, "unparsed");
        if (why) di_task_aside(a->run, a->file, task, why, a->said[i].size ? a->said[i].data : "", a->said[i].size);
    }
}

static int32_t answer_some(answering *a, int64_t *next, int64_t at_once, di_task_answers *out, dk_error *err)
{
    const int64_t first = *next;
    int32_t rc = DK_OK;
    a->count = 0;
    while (*next < a->file->count && a->count < at_once) DK_TRY(add_question(a, (*next)++, out, err));
    if (a->count) DK_TRY(write_answers(a, err));
    count(a, out);
    a->run->done += *next - first;
    DK_TRY(di_task_tell(a->run, err));
out:
    return rc;
}

int32_t di_task_answers_run(di_task_run *run, const di_task_file *file, di_task_kind kind, di_task_answers *out,
                            dk_error *err)
{
    answering a = {
        .run = run, .file = file, .kind = kind, .tolerance = di_options_f64(run->args->options, "tasks.tolerance")};
    const int64_t at_once = di_teacher_model(run->args->model) ? AT_ONCE : 1;
    int32_t rc = DK_OK;
    for (int i = 0; i < AT_ONCE; i++) dk_strbuf_init(&a.said[i], run->args->host);
    for (int64_t next = 0; next < file->count;) DK_TRY(answer_some(&a, &next, at_once, out, err));
out:
    out->tokens = a.tokens;
    for (int i = 0; i < AT_ONCE; i++) dk_strbuf_free(&a.said[i]);
    dk_free(run->args->host, a.ids);
    return rc;
}
