/* samples.h - what student and teacher make of the same beginnings of held-out text, always by the likeliest token. */
#ifndef DI_EVALUATE_SAMPLES_H
#define DI_EVALUATE_SAMPLES_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_sample_args {
    dk_host *host;
    di_dataset *data;              /* no stream */
    di_teacher *student, *teacher; /* NULL = none */
    int64_t count, tokens;         /* beginnings; tokens of an answer at most */
} di_sample_args;
/* ,"samples":[{"prompt":...,"text":...,"teacher":...,"student":...},...]; of a model that does not write nothing; where
 * there is no tokenizer ,"samples_problem":"..." */
int32_t di_samples_json(const di_sample_args *args, dk_strbuf *out, dk_error *err);

#endif
