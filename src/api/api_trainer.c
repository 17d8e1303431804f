#include "api/handles.h"

#include <string.h>

/* One call at a time: a callback that calls back into its trainer gets E_REENTRANT, and so does a second thread. */
static atomic_int *guard_of(di_trainer *trainer) { return di_trainer_guard(trainer); }

static int32_t enter(const distill_trainer *trainer, dk_error *err)
{
    dk_error_clear(err);
    int32_t rc = di_check_pointer(trainer, "trainer", err);
    if (rc != DK_OK) return rc;
    if (atomic_exchange(guard_of(trainer->trainer), 1))
        return dk_fail(err, DK_E_REENTRANT, "the trainer is inside another call: only cancel goes then");
    ((distill_trainer *)(uintptr_t)trainer)->environment = dk_fp_enter();
    return DK_OK;
}

static int32_t leave(const distill_trainer *trainer, int32_t rc)
{
    dk_fp_leave(trainer->environment);
    atomic_store(guard_of(trainer->trainer), 0);
    return rc;
}

int32_t distill_trainer_create(const distill_env *env, const distill_teacher *teacher, distill_student *student,
                               const distill_dataset *train, const distill_dataset *eval,
                               const distill_options *options, distill_trainer **out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_trainer *handle = NULL;
    di_run *run = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    di_parts parts = {.backend = env->backend,
                      .registry = env->registry,
                      .teacher = teacher ? teacher->teacher : NULL,
                      .student = student ? student->student : NULL,
                      .train = train ? train->dataset : NULL,
                      .eval = eval ? eval->dataset : NULL};
    DI_OPEN(env, di_tree(options), di_run_open(&parts, di_tree(options), &run, err));
    if (!(handle = di_computing_handle_create(env, sizeof *handle, err))) {
        di_run_free(run);
        return DK_E_NOMEM;
    }
    handle->run = run;
    handle->trainer = di_run_trainer(run);
    *out = handle;
out:
    return rc;
}

void distill_trainer_free(distill_trainer *trainer)
{
    if (!trainer) return;
    di_run_free(trainer->run);
    di_handle_free(trainer);
}

int32_t distill_trainer_configure(distill_trainer *trainer, const distill_options *options, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = di_check_pointer(options, "options", di_err(error))) == DK_OK)
        rc = di_run_configure(trainer->run, options->tree, di_err(error));
    return leave(trainer, rc);
}

int32_t distill_trainer_on_progress(distill_trainer *trainer, distill_progress_fn fn, void *user,
                                    distill_destroy_fn destroy, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) {
        if (destroy) destroy(user);
        return rc;
    }
    di_trainer_on_progress(trainer->trainer, fn, user, destroy);
    return leave(trainer, DK_OK);
}

int32_t distill_trainer_run(distill_trainer *trainer, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    return rc == DK_OK ? leave(trainer, di_run_loop(trainer->run, di_err(error))) : rc;
}

int32_t distill_trainer_resume(distill_trainer *trainer, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    return rc == DK_OK ? leave(trainer, di_run_resume(trainer->run, di_err(error))) : rc;
}

static int32_t check_progress(const distill_progress *out, dk_error *err)
{
    return out ? di_check_struct(out, "out", sizeof out->struct_size, err) : DK_OK;
}

int32_t distill_trainer_step(distill_trainer *trainer, distill_progress *out, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = check_progress(out, di_err(error))) == DK_OK) rc = di_trainer_step(trainer->trainer, out, di_err(error));
    return leave(trainer, rc);
}

int32_t distill_trainer_forward(distill_trainer *trainer, int32_t flags, distill_forward *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc = enter(trainer, err);
    if (rc != DK_OK) return rc;
    if (flags & ~DISTILL_FORWARD_NO_TEACHER)
        rc = dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags);
    else if ((rc = di_check_struct(out, "out", offsetof(distill_forward, sequences), err)) == DK_OK)
        rc = di_trainer_forward(trainer->trainer, flags, out, err);
    return leave(trainer, rc);
}

int32_t distill_trainer_next_rows(distill_trainer *trainer, distill_strip *strip, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = di_check_struct(strip, "strip", sizeof *strip, di_err(error))) == DK_OK)
        rc = di_trainer_next_rows(trainer->trainer, strip, di_err(error));
    return leave(trainer, rc);
}

int32_t distill_trainer_backward(distill_trainer *trainer, const distill_tensor *gradient, double loss,
                                 distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    return rc == DK_OK ? leave(trainer, di_trainer_backward(trainer->trainer, gradient, loss, di_err(error))) : rc;
}

int32_t distill_trainer_apply(distill_trainer *trainer, distill_progress *out, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = check_progress(out, di_err(error))) == DK_OK) rc = di_trainer_apply(trainer->trainer, out, di_err(error));
    return leave(trainer, rc);
}

int32_t distill_trainer_save(const distill_trainer *trainer, const char *path, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = di_check_pointer(path, "path", di_err(error))) == DK_OK)
        rc = di_checkpoint_save(trainer->run, path, di_err(error));
    return leave(trainer, rc);
}

int32_t distill_trainer_load(distill_trainer *trainer, const char *path, distill_error *error)
{
    int32_t rc = enter(trainer, di_err(error));
    if (rc != DK_OK) return rc;
    if ((rc = di_check_pointer(path, "path", di_err(error))) == DK_OK)
        rc = di_checkpoint_load(trainer->run, path, di_err(error));
    return leave(trainer, rc);
}

void distill_trainer_cancel(const distill_trainer *trainer, int32_t on)
{
    if (trainer) di_trainer_cancel(trainer->trainer, on);
}

int32_t distill_trainer_student(const distill_trainer *trainer, distill_student **out, distill_error *error)
{
    dk_error *err = di_err(error);
    distill_student *handle;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(trainer, "trainer", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (!(handle = di_handle_create(trainer->env, sizeof *handle, err))) return DK_E_NOMEM;
    handle->student = di_student_retain(di_trainer_student(trainer->trainer));
    *out = handle;
out:
    return rc;
}

int32_t distill_trainer_report(const distill_trainer *trainer, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc = enter(trainer, err);
    if (rc != DK_OK) return rc;
    dk_strbuf_init(&json, trainer->env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_run_report(trainer->run, &json, err));
    DK_TRY(di_report_handle(trainer->env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return leave(trainer, rc);
}

int32_t distill_run(const distill_env *env, const distill_options *options, int32_t flags, distill_progress_fn fn,
                    void *user, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(env, "env", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, env->host);
    DK_TRY(di_check_pointer(options, "options", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (flags & ~(DISTILL_RUN_RESUME | DISTILL_RUN_AGAIN))
        DK_TRY(dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags));
    const di_chain_args args = {.backend = env->backend,
                                .registry = env->registry,
                                .resume = flags & DISTILL_RUN_RESUME,
                                .again = flags & DISTILL_RUN_AGAIN,
                                .fn = fn,
                                .user = user};
    atomic_store(&((distill_env *)(uintptr_t)env)->computing, 1);
    DI_OPEN(env, options->tree, di_chain_run(&args, options->tree, &json, err));
    DK_TRY(di_report_handle(env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}
