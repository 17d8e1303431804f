/* teacher_side.h - what a local teacher makes of held-out windows, its hidden states before the head, kept between
 * evaluations. What does not fit is scored again, and all of it once its weights have changed (the teacher may be a
 * student); either way the numbers are the same, bit by bit. */
#ifndef DI_EVALUATE_TEACHER_SIDE_H
#define DI_EVALUATE_TEACHER_SIDE_H

#include "teacher/teacher.h"

typedef struct di_teacher_side di_teacher_side;
/* memory 0 = 64 MiB of them. */
int32_t di_teacher_side_create(dk_host *host, int64_t memory, di_teacher_side **out, dk_error *err);
void di_teacher_side_free(di_teacher_side *side);
/* The window that begins at `first`, as kept: 1 = the session has it again, as after a forward of `rows` rows. Asked
 * before each keep. */
int32_t di_teacher_side_recall(di_teacher_side *side, const di_teacher *teacher, di_session *session, int64_t first,
                               int64_t rows);
/* Keeps what the session's forward gave, if there is room for it. */
void di_teacher_side_keep(di_teacher_side *side, di_session *session, int64_t first, int64_t rows);
int64_t di_teacher_side_bytes(const di_teacher_side *side);
int64_t di_teacher_side_limit(const di_teacher_side *side);

#endif
