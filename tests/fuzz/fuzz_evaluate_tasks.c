/* Questions with choices, and questions with answers: any bytes give tasks whose right answer exists, or an error. */
#include <math.h>

#include "base/file.h"
#include "evaluate/task_file.h"
#include "test.h"

static void read_as(dk_host *host, const char *path, di_task_kind kind)
{
    di_task_file file = {0};
    dk_error err;
    if (di_task_file_open(host, path, kind, 0, &file, &err)) return;
    for (int64_t i = 0; i < file.count; i++) {
        const di_task *task = &file.tasks[i];
        if (!task->question.size || !task->answer.size) __builtin_trap();
        if (kind == DI_TASK_CHOICES && (task->count < 2 || task->right < 0 || task->right >= task->count))
            __builtin_trap();
        if (kind == DI_TASK_NUMERIC && isnan(task->value)) __builtin_trap();
    }
    di_task_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host = NULL;
    dk_error err;
    char path[1100];
    if (size > 8192 || dk_host_create(NULL, &host, &err)) return 0;
    snprintf(path, sizeof path, "%s/tasks.jsonl", TEST_TMP);
    for (int kind = DI_TASK_CHOICES; kind <= DI_TASK_EXACT && !dk_file_replace(host, path, data, size, &err); kind++)
        read_as(host, path, (di_task_kind)kind);
    dk_host_release(host);
    return 0;
}
