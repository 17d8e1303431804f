/* student_hosted.c - a student that is the host's callbacks, and at work. Scoring goes through a teacher made of the
 * same functions. */
#include <string.h>

#include "student/student_parts.h"
#include "target/host_rows.h"
#include "target/host_taps.h"

typedef struct hosted {
    distill_student_callbacks callbacks;
    di_teacher *scorer; /* scores through forward */
    distill_tap *taps;  /* [callbacks.tap_count] */
} hosted;

static void free_state(di_student *s)
{
    hosted *h = s->state;
    if (h->callbacks.destroy) h->callbacks.destroy(h->callbacks.user);
    di_teacher_release(h->scorer);
    dk_free(s->host, h->taps);
    dk_free(s->host, h);
}

static const distill_student_callbacks *callbacks_of(const di_student *s)
{
    const hosted *h = s->state;
    return &h->callbacks;
}

static void describe(const di_student *s, di_facts *out)
{
    const hosted *h = s->state;
    *out = di_teacher_facts(h->scorer);
}

static int32_t place(const di_student *s, const dk_tap_spec *tap, di_place *out, dk_error *err)
{
    const hosted *h = s->state;
    return di_host_taps_place(h->taps, h->callbacks.tap_count, "the student", tap, NULL, out, err);
}

static int32_t save(const di_student *s, const char *folder, const di_files *files, dk_error *err)
{
    const distill_student_callbacks *table = callbacks_of(s);
    (void)files;
    if (!table->save) return dk_fail(err, DK_E_UNSUPPORTED, "this student cannot be saved: its table has no save");
    const int32_t code = table->save(table->user, folder);
    if (code == DISTILL_CB_OK) return DK_OK;
    dk_fail(err, DK_E_CALLBACK, "the student's save returned %d for %s", (int)code, folder);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const distill_student_callbacks *table = callbacks_of(user);
    return table->forward(table->user, batch, first, count, out);
}

/* destroy NULL: the teacher does not keep the student alive, as inside the student itself. */
static int32_t scorer_of(di_student *s, distill_destroy_fn destroy, di_teacher **out, dk_error *err)
{
    distill_teacher_callbacks table;
    DISTILL_INIT(&table);
    table.user = s;
    table.destroy = destroy;
    table.score = score;
    table.form = callbacks_of(s)->form;
    return di_teacher_from_callbacks(s->backend, &table, NULL, out, err);
}

static void release_student(void *student) { di_student_release(student); }

static int32_t as_teacher(di_student *s, di_teacher **out, dk_error *err)
{
    di_student_retain(s);
    return scorer_of(s, release_student, out, err);
}

static int32_t write(di_student *s, const dk_tokens *prompts, const dk_generate_args *args, const int64_t *most,
                     dk_error *err)
{
    return di_hosted_write(s->host, callbacks_of(s), prompts, args, most, err);
}

static int32_t writes(const di_student *s) { return callbacks_of(s)->generate != NULL; }

/* ---- at work ---- */

typedef struct work {
    di_session *session; /* of the scorer */
    dk_queue queue;
    di_staging copied; /* of gradients, where the host does not see them */
    di_host_taps *taps;
} work;

static di_session *session_of(const di_trainee *t)
{
    const work *w = t->state;
    return w->session;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    di_trainee *t = self;
    const di_source *source = di_session_source(session_of(t));
    return source->rows(source->self, first, count, strip, target, err);
}

static int32_t give_gradient(di_trainee *t, int64_t first, int64_t count, float *data, int64_t width, int64_t stride,
                             dk_error *err)
{
    const distill_student_callbacks *table = callbacks_of(t->student);
    const int64_t shape[2] = {count, width}, strides[2] = {stride, 1};
    distill_tensor gradient = di_tensor_of(data, DISTILL_FLOAT, 32, 2, shape);
    gradient.strides = strides;
    int32_t code = table->backward(table->user, first, count, &gradient);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the student's backward stopped at row %lld", (long long)first);
    dk_fail(err, DK_E_CALLBACK, "the student's backward returned %d for rows %lld to %lld", (int)code, (long long)first,
            (long long)(first + count));
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits, dk_error *err)
{
    di_trainee *t = self;
    const distill_target *form = callbacks_of(t->student)->form;
    float *hidden = NULL;
    int32_t rc;
    if (form->kind == DISTILL_DENSE) {
        work *w = t->state;
        di_host_rows seen;
        rc = di_host_read(&w->queue, &w->copied, dlogits, &seen, err);
        return rc ? rc : give_gradient(t, first, count, (float *)(void *)seen.data, t->source.width, seen.stride, err);
    }
    const int64_t width = form->head->shape[1];
    rc = di_session_gradient(session_of(t), first, count, logits, dlogits, &hidden, err);
    return rc == DK_OK ? give_gradient(t, first, count, hidden, width, width, err) : rc;
}

static int32_t begin(di_trainee *t, int64_t max_sequences, int32_t checkpointing, dk_error *err)
{
    const hosted *h = t->student->state;
    work *w = NULL;
    int32_t rc;
    (void)checkpointing; /* what a host keeps is the host's own */
    DK_TRY(dk_new(t->host, 1, &w, err));
    t->state = w;
    DK_TRY(dk_queue_open(&w->queue, t->backend, err));
    DK_TRY(di_session_create_trained(h->scorer, t->max_tokens, max_sequences, t->max_rows, &w->session, err));
    t->source = *di_session_source(w->session);
    t->source.self = t;
    t->source.rows = rows;
    t->source.gradient = gradient;
    const di_host_taps_spec spec = {.backend = t->backend,
                                    .taps = h->taps,
                                    .tap_count = h->callbacks.tap_count,
                                    .asked = &t->asked,
                                    .max_tokens = t->max_tokens,
                                    .owner = "the student",
                                    .user = h->callbacks.user,
                                    .read = h->callbacks.read_tap,
                                    .gradient = h->callbacks.tap_gradient};
    DK_TRY(di_host_taps_create(&spec, &w->taps, err));
    t->taps = *di_host_taps_of(w->taps);
out:
    return rc;
}

static void end(di_trainee *t)
{
    work *w = t->state;
    di_session_free(w->session);
    di_host_taps_free(w->taps);
    di_staging_free(t->host, &w->copied);
    dk_queue_close(&w->queue);
    dk_free(t->host, w);
}

static int32_t forward(di_trainee *t, dk_error *err)
{
    const work *w = t->state;
    int32_t rc = di_session_forward(session_of(t), &t->batch, err);
    di_host_taps_begin(w->taps, di_session_batch(session_of(t)));
    return rc;
}

static int32_t backward(di_trainee *t, const distill_tensor *dhidden, dk_error *err)
{
    (void)t;
    if (dhidden)
        return dk_fail(err, DK_E_UNSUPPORTED, "a student of callbacks takes gradients of its rows, through next_rows");
    return DK_OK;
}

static const di_student_kind hosted_kind = {.free = free_state,
                                            .describe = describe,
                                            .place = place,
                                            .callbacks = callbacks_of,
                                            .save = save,
                                            .as_teacher = as_teacher,
                                            .write = write,
                                            .writes = writes,
                                            .begin = begin,
                                            .end = end,
                                            .forward = forward,
                                            .backward = backward};

/* ---- how one comes to be ---- */

static int32_t check_table(const distill_student_callbacks *table, dk_error *err)
{
    const char *missing = !table->forward    ? "forward"
                          : !table->backward ? "backward"
                          : !table->apply    ? "apply"
                          : !table->form     ? "form"
                                             : NULL;
    if (missing) return dk_fail(err, DK_E_INVALID, "table->%s is NULL", missing);
    if (table->form->kind != DISTILL_DENSE && table->form->kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_INVALID, "table->form->kind is %s: a student gives DENSE or HIDDEN",
                       di_kind_name(table->form->kind));
    if (table->tap_count > 0 && (!table->read_tap || !table->tap_gradient))
        return dk_fail(err, DK_E_INVALID, "table->%s is NULL, and there are taps",
                       table->read_tap ? "tap_gradient" : "read_tap");
    return DK_OK;
}

static int32_t create(dk_backend *backend, const distill_student_callbacks *table, di_student **out, dk_error *err)
{
    di_student *s = NULL;
    hosted *h = NULL;
    int32_t rc;
    DK_TRY(di_student_make(backend, &hosted_kind, &s, err));
    DK_TRY(dk_new(s->host, 1, &h, err));
    memcpy(&h->callbacks, table, /* an older caller's struct is shorter */
           table->struct_size < sizeof *table ? table->struct_size : sizeof *table);
    s->state = h;
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}

int32_t di_student_from_callbacks(dk_backend *backend, const distill_student_callbacks *table,
                                  const di_options *options, di_student **out, dk_error *err)
{
    di_student *s = NULL;
    int32_t rc = di_student_refuse(options, 0, 0, 0, err);
    if (rc == DK_OK)
        rc =
            di_options_refuse(options, "student.freeze", "names parameters, which a student of callbacks has not", err);
    if (rc == DK_OK) rc = create(backend, table, &s, err);
    if (rc != DK_OK) {
        if (table->destroy) table->destroy(table->user);
        return rc;
    }
    hosted *h = s->state;
    DK_TRY(check_table(&h->callbacks, err));
    DK_TRY(di_host_taps_copy(s->host, h->callbacks.taps, h->callbacks.tap_count, &h->taps, err));
    DK_TRY(scorer_of(s, NULL, &h->scorer, err));
    h->callbacks.form = di_teacher_form(h->scorer); /* the copy: the caller's may be gone */
    *out = s;
    return DK_OK;
out:
    di_student_release(s);
    return rc;
}
