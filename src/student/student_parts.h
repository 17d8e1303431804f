/* student_parts.h - what a student is; for the files of this folder only. */
#ifndef DI_STUDENT_STUDENT_PARTS_H
#define DI_STUDENT_STUDENT_PARTS_H

#include <stdatomic.h>

#include "student/student.h"

struct di_student {
    atomic_int references, held;
    dk_host *host;
    dk_backend *backend;
    dk_model *model; /* NULL for callbacks */
    dk_tokenizer *tokenizer;
    distill_student_callbacks callbacks;
    int32_t is_callbacks;
    dk_dtype storage; /* of saved weights where nothing else is said */
    di_teacher *form; /* callbacks: a teacher that scores through forward */
};

#endif
