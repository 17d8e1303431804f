/* shape.h - a student as a part of its teacher, chosen by what text says matters: blocks, heads, channels. Each cut is
 * measured before training. How weights are copied lives in lib/model, how a student is made of them in student/.
 *
 *   shape.c       which cuts, one after the other, what each costs   choice.c  the numbers kept, as they are stored
 *   activity.c    what the parts of a model do on text                     rank.c    which of them matter most
 *   shape_json.c  what is told of it                               vocabulary.c  fewer ids */
#ifndef DI_SHAPE_SHAPE_H
#define DI_SHAPE_SHAPE_H

#include "dataset/dataset.h"
#include "student/student.h"

typedef struct di_shape_args {
    dk_backend *backend;
    di_teacher *teacher;       /* a local model */
    di_dataset *data;          /* to calibrate on; NULL = as data.train says */
    const di_options *options; /* sections student, data, train */
    int32_t given;             /* data was handed over by who has tokenised it */
    int32_t alone;             /* nobody takes another teacher and other data: fewer ids are refused */
    const char *remembered;    /* JSON of an earlier choice, taken if it was made of the same; NULL = none */
} di_shape_args;
typedef struct di_shape {
    dk_strbuf choice; /* {"key":...,"layers":[...],...,"report":{...}}: what is stored; empty = nothing was chosen */
    dk_strbuf report; /* {"vocabulary":{...},"layers":{...},"width":{...}} */
    /* References, where the student has fewer ids: who teaches them, and data.train in them; NULL = as they were. */
    di_teacher *teacher;
    di_dataset *data;
} di_shape;
void di_shape_init(di_shape *shape, dk_host *host);
void di_shape_free(di_shape *shape);
/* Does any option ask for more than a list of blocks, so that text has to be read? */
int32_t di_shape_reads_text(const di_options *options);
/* As section student says, with student.from: teacher. */
int32_t di_shape_derive(const di_shape_args *args, di_student **out, di_shape *shape, dk_error *err);

#endif
