/* teachers.h - what each of the teachers that another is made of is worth on held-out data: those of a blend or a route
 * itself, not theirs. */
#ifndef DI_EVALUATE_TEACHERS_H
#define DI_EVALUATE_TEACHERS_H

#include "evaluate/evaluate.h"

typedef struct di_teacher_scores { /* means over tokens */
    int64_t tokens;
    double nats;         /* of the true token, at temperature 1; of a dense one */
    double kl;           /* KL(teacher || student); of a sparse one over its ids and the rest, at its temperature; of
                            SAMPLED without an entropy the soft cross-entropy */
    double agreement;    /* both have the same most likely id */
    double disagreement; /* Jensen-Shannon with each of the other dense ones, the mean of them */
} di_teacher_scores;
typedef struct di_scored_teacher {
    char name[64], problem[200]; /* problem: why it could not say; then there are no numbers */
    int32_t kind, without_entropy;
    double temperature;
    di_teacher_scores whole, *sources; /* [source_count] */
} di_scored_teacher;
typedef struct di_teachers_evaluation {
    dk_host *host;
    di_scored_teacher *teachers; /* [count]; 0 = it is made of no others */
    int64_t count, dense, source_count;
    const char **source_names; /* [source_count], the data's */
} di_teachers_evaluation;
/* Each by a forward of its own; teacher_side is not used. */
int32_t di_evaluate_teachers(const di_evaluate_args *args, di_teachers_evaluation *out, dk_error *err);
void di_teachers_evaluation_free(di_teachers_evaluation *evaluation);
/* ,"teachers":{NAME:{...}},"teacher_disagreement":N; nothing where there are none */
void di_teachers_json(const di_teachers_evaluation *evaluation, dk_strbuf *out);

#endif
