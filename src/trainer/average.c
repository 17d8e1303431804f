/* average.c - teachers that are the student itself: the moving average of its weights (Tarvainen & Valpola 2017, arXiv
 * 1703.01780), which is one more copy of them in fp32, and its weights as they stand, which read a prefix.
 *
 *     average = decay * average + (1 - decay) * student    behind each step
 *
 * The average begins as the student does. Frozen weights are the student's own for good. */
#include <string.h>

#include "trainer/trainer_state.h"

static void release_model(void *model) { dk_model_free(model); }

/* A copy, without gradients. */
static int32_t open_average(di_trainer *t, double decay, di_teacher **out, dk_error *err)
{
    static const dk_keep all = {.layers = NULL};
    di_average *a = &t->average;
    dk_model *copy = NULL;
    int32_t rc;
    if (a->teacher)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "two teachers are averages of the student's weights, and one is kept: name it once under "
                       "teachers, and that name twice");
    if (!t->update.own_optimizer)
        return dk_fail(err, DK_E_OPTION,
                       "self: average beside train.optimizer none: the host's optimiser makes the steps, and when they "
                       "are done is not known here");
    DK_TRY(dk_model_prune(di_student_model(t->student), t->backend, &all, &copy, err));
    rc = di_teacher_from_model(t->backend, copy, di_student_tokenizer(t->student), copy, NULL, release_model, out, err);
    if (rc) {
        dk_model_free(copy);
        return rc;
    }
    DK_TRY(di_teacher_live(*out, "average", decay, err));
    *a = (di_average){.decay = decay, .teacher = di_teacher_retain(*out), .model = copy};
    dk_log(t->host, DK_LOG_INFO, "trainer", "the average of the student's weights takes %.1f MiB beside them",
           (double)dk_model_elements(copy) * (double)dk_dtype_size(t->backend->real) / 0x1p20);
out:
    return rc;
}

static int32_t open_own(void *user, const char *which, double decay, di_teacher **out, dk_error *err)
{
    di_trainer *t = user;
    int32_t rc;
    if (!di_student_model(t->student))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "self: %s of a student of callbacks: its weights are its host's; give a teacher of callbacks",
                       which);
    if (!strcmp(which, "average")) return open_average(t, decay, out, err);
    DK_TRY(di_student_as_teacher(t->student, out, err));
    DK_TRY(di_teacher_live(*out, "student", -1, err));
out:
    return rc;
}

int32_t di_average_open_teacher(di_trainer *t, dk_error *err)
{
    const di_self self = {open_own, t};
    return di_teacher_of_training(t->backend, t->options, &self, &t->teacher, err);
}

/* Both models have the same parameters in the same order: one is a copy of the other. */
void di_average_update(di_trainer *t)
{
    const dk_ops *ops = t->backend->ops;
    const dk_model *student = di_student_model(t->student);
    if (!t->average.teacher) return;
    for (int64_t i = 0; i < student->parameter_count; i++) {
        dk_parameter *to = &t->average.model->parameters[i];
        if (student->parameters[i].frozen) continue;
        ops->scale(&t->queue, to->value, t->average.decay);
        ops->axpy(&t->queue, 1 - t->average.decay, student->parameters[i].value, to->value);
        ops->refresh(&t->queue, to);
    }
}

void di_average_free(di_trainer *t) { di_teacher_release(t->average.teacher); }
