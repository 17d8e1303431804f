#include "evaluate/task_file.h"

#include <string.h>

#include "augment/curate/answers.h"

typedef struct reading { /* of one line */
    di_task_file *file;
    di_task_kind kind;
    di_line at;
    const dk_node *root;
    di_task *task;
} reading;

static int32_t is_blank(dk_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!strchr(" \t\r\n", text.data[i])) return 0;
    return 1;
}

static int32_t take_question(const reading *r, dk_error *err)
{
    const dk_node *question = di_line_member(r->root, "question"), *prompt = di_line_member(r->root, "prompt");
    if (question && prompt) return di_fail_line(&r->at, err, "both question and prompt are there: which is asked?");
    if (!question) question = prompt;
    if (!question) return di_fail_line(&r->at, err, "neither question nor prompt is there");
    if (question->type != DK_NODE_TEXT) return di_fail_line(&r->at, err, "question is no text");
    r->task->question = (dk_slice){question->text, question->size};
    if (is_blank(r->task->question)) return di_fail_line(&r->at, err, "the question is empty");
    return DK_OK;
}

/* ---- choices ---- */

static int32_t same(dk_slice a, dk_slice b) { return a.size == b.size && !memcmp(a.data, b.data, a.size); }

static int32_t take_choices(const reading *r, dk_error *err)
{
    const dk_node *list = di_line_member(r->root, "choices");
    di_task *task = r->task;
    int32_t rc;
    if (!list || list->type != DK_NODE_LIST) return di_fail_line(&r->at, err, "choices is no list of texts");
    if (list->size < 2)
        return di_fail_line(&r->at, err, "%llu choices: there are at least two to choose from",
                            (unsigned long long)list->size);
    DK_TRY(dk_new(r->file->host, (int64_t)list->size, &task->choices, err));
    for (; task->count < (int64_t)list->size; task->count++) {
        const dk_node *item = list->items[task->count];
        if (item->type != DK_NODE_TEXT)
            return di_fail_line(&r->at, err, "choice %lld is no text", (long long)task->count);
        const dk_slice text = {item->text, item->size};
        if (is_blank(text)) return di_fail_line(&r->at, err, "choice %lld is empty", (long long)task->count);
        for (int64_t i = 0; i < task->count; i++)
            if (same(task->choices[i], text))
                return di_fail_line(&r->at, err, "choices %lld and %lld are the same", (long long)i,
                                    (long long)task->count);
        task->choices[task->count] = text;
    }
out:
    return rc;
}

static int64_t choice_of_text(const di_task *task, const dk_node *answer)
{
    const dk_slice text = {answer->text, answer->size};
    for (int64_t i = 0; i < task->count; i++)
        if (same(task->choices[i], text)) return i;
    if (text.size == 1 && text.data[0] >= 'A' && text.data[0] < 'A' + task->count) return text.data[0] - 'A';
    return -1;
}

static int32_t take_right(const reading *r, dk_error *err)
{
    const dk_node *answer = di_line_member(r->root, "answer");
    di_task *task = r->task;
    if (!answer) return di_fail_line(&r->at, err, "answer is missing: which of the choices is right?");
    if (answer->type == DK_NODE_TEXT) {
        if ((task->right = choice_of_text(task, answer)) < 0)
            return di_fail_line(&r->at, err, "the answer \"%.80s\" is none of the %lld choices", answer->text,
                                (long long)task->count);
    } else if (answer->type != DK_NODE_INT)
        return di_fail_line(&r->at, err, "answer is neither the number of a choice nor its letter nor its text");
    else if (answer->i64 < 0 || answer->i64 >= task->count)
        return di_fail_line(&r->at, err, "answer is %lld, not in [0, %lld), the choices", (long long)answer->i64,
                            (long long)task->count);
    else task->right = answer->i64;
    task->answer = task->choices[task->right];
    return DK_OK;
}

/* ---- answers that are written ---- */

static int32_t take_answer(const reading *r, dk_error *err)
{
    const dk_node *answer = di_line_member(r->root, "answer");
    di_task *task = r->task;
    if (!answer) return di_fail_line(&r->at, err, "answer is missing");
    if (answer->type == DK_NODE_INT || answer->type == DK_NODE_FLOAT)
        task->answer = (dk_slice){task->text, dk_format_f64(answer->f64, task->text)};
    else if (answer->type == DK_NODE_TEXT) task->answer = (dk_slice){answer->text, answer->size};
    else return di_fail_line(&r->at, err, "answer is neither a text nor a number");
    if (is_blank(task->answer)) return di_fail_line(&r->at, err, "the answer is empty");
    if (r->kind != DI_TASK_NUMERIC) return DK_OK;
    if (answer->type != DK_NODE_TEXT) task->value = answer->f64;
    else if (!di_find_number(answer->text, answer->size, &task->value))
        return di_fail_line(&r->at, err, "the answer \"%.80s\" has no plain number; tasks.verify exact compares words",
                            answer->text);
    return DK_OK;
}

/* ---- lines ---- */

static int32_t is_read(const char *key)
{
    return !strcmp(key, "question") || !strcmp(key, "prompt") || !strcmp(key, "choices") || !strcmp(key, "answer");
}

static int32_t count_unused(di_task_file *file, const char *key, dk_error *err)
{
    int64_t at = 0;
    while (at < file->unused_count && strcmp(file->unused[at], key) != 0) at++;
    if (at == DI_TASK_UNUSED) return DK_OK;
    if (at == file->unused_count) {
        if (!(file->unused[at] = dk_strdup(file->host, key))) return dk_fail_nomem(err, strlen(key) + 1);
        file->unused_count++;
    }
    file->unused_counts[at]++;
    return DK_OK;
}

static int32_t read_line(di_task_file *file, di_task_kind kind, int64_t index, dk_error *err)
{
    reading r = {.file = file, .kind = kind, .at = {&file->source, index}, .task = &file->tasks[index]};
    int32_t rc;
    file->count = index + 1;
    r.task->number = file->source.numbers[index];
    DK_TRY(di_line_parse(file->host, &r.at, &r.task->line, err));
    r.root = dk_document_root(r.task->line);
    DK_TRY(take_question(&r, err));
    if (kind == DI_TASK_CHOICES) {
        DK_TRY(take_choices(&r, err));
        DK_TRY(take_right(&r, err));
    } else DK_TRY(take_answer(&r, err));
    for (size_t i = 0; i < r.root->size; i++)
        if (!is_read(r.root->items[i]->key)) DK_TRY(count_unused(file, r.root->items[i]->key, err));
    if (kind != DI_TASK_CHOICES && di_line_member(r.root, "choices")) DK_TRY(count_unused(file, "choices", err));
out:
    return rc;
}

int32_t di_task_file_open(dk_host *host, const char *path, di_task_kind kind, int64_t limit, di_task_file *out,
                          dk_error *err)
{
    di_task_file file = {.host = host};
    int32_t rc;
    DK_TRY(di_source_open(host, path, &file.source, err));
    const int64_t lines = limit > 0 && limit < file.source.count ? limit : file.source.count;
    DK_TRY(dk_new(host, lines, &file.tasks, err));
    for (int64_t i = 0; i < lines; i++) DK_TRY(read_line(&file, kind, i, err));
    *out = file;
out:
    if (rc) di_task_file_close(&file);
    return rc;
}

void di_task_file_close(di_task_file *file)
{
    if (!file->host) return;
    for (int64_t i = 0; file->tasks && i < file->count; i++) {
        dk_document_free(file->tasks[i].line);
        dk_free(file->host, file->tasks[i].choices);
    }
    for (int64_t i = 0; i < file->unused_count; i++) dk_free(file->host, file->unused[i]);
    dk_free(file->host, file->tasks);
    di_source_free(file->host, &file->source);
    memset(file, 0, sizeof *file);
}
