/* task_file.h - questions with a known answer: lines of JSON.
 *
 *     {"question": "...", "choices": ["a", "b"], "answer": 1}      or its letter ("B"), or its text
 *     {"question": "...", "answer": "... #### 72"}                 that the model is to write; a number is one too
 *
 * "prompt" says the same as "question". Other keys say where a question came from: they are counted by name. */
#ifndef DI_EVALUATE_TASK_FILE_H
#define DI_EVALUATE_TASK_FILE_H

#include "base/slice.h"
#include "dataset/text_lines.h"

typedef enum { DI_TASK_CHOICES, DI_TASK_NUMERIC, DI_TASK_EXACT } di_task_kind;
typedef struct di_task {
    dk_document *line; /* that texts lie in */
    int64_t number;    /* of its line */
    dk_slice question, answer;
    dk_slice *choices; /* [count]; answer is one of them */
    int64_t count, right;
    double value;  /* of a numeric answer */
    char text[32]; /* of an answer that is a number of JSON */
} di_task;
enum { DI_TASK_UNUSED = 16 };
typedef struct di_task_file {
    dk_host *host;
    di_source_text source;
    di_task *tasks; /* [count] */
    int64_t count;
    char *unused[DI_TASK_UNUSED]; /* keys; what comes behind so many is not told apart */
    int64_t unused_counts[DI_TASK_UNUSED], unused_count;
} di_task_file;
/* limit: of the first questions, 0 = all. Every line that is read is checked before the first one is asked. */
int32_t di_task_file_open(dk_host *host, const char *path, di_task_kind kind, int64_t limit, di_task_file *out,
                          dk_error *err);
void di_task_file_close(di_task_file *file); /* zeroed is fine */

#endif
