/* blend_sparse_session.c - members asked strip by strip: sparse ones for all of it, dense ones some rows at a time. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "teacher/blend_sparse.h"
#include "teacher/score.h"

enum { HEIGHT = 256, ENTRY_BYTES = 1 << 26 }; /* rows at once; of all their entries */

static const di_blend *blend_of(const di_session *s) { return s->teacher->state; }

static const di_sparse_steps *steps_of(const di_session *s)
{
    return blend_of(s)->kind == DISTILL_TOPK ? &di_partition_steps : &di_draw_steps;
}

int di_entries_ascending(const void *a, const void *b)
{
    const di_entry *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->member > y->member) - (x->member < y->member);
}

void di_sparse_session_free(di_session *s)
{
    di_sparse_work *w = s->state;
    dk_host *host = s->teacher->host;
    for (int64_t i = 0; w->members && i < blend_of(s)->count; i++) di_session_free(w->members[i]);
    if (w->buffer) s->teacher->backend->ops->buffer_free(s->teacher->backend, w->buffer);
    di_staging_free(host, &w->read);
    di_sparse_check_free(w->check);
    void *blocks[] = {w->members, w->weights, w->asked, w->given,  w->entries, w->used,
                      w->sums,    w->rest,    w->ids,   w->values, w->tail};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(host, blocks[i]);
    dk_queue_close(&w->queue);
    dk_free(host, w);
    s->state = NULL;
}

/* ---- rows under work ---- */

typedef struct task {
    di_session *session;
    void (*step)(const di_session *session, int64_t r);
} task;

static void step_rows(void *context, int64_t begin, int64_t end)
{
    const task *t = context;
    for (int64_t r = begin; r < end; r++) t->step(t->session, r);
}

static int32_t each_row(di_session *s, void (*step)(const di_session *session, int64_t r), int64_t count, dk_error *err)
{
    task t = {s, step};
    dk_parallel_for(s->teacher->host, count, 16, step_rows, &t);
    return dk_parallel_check(s->teacher->host, err);
}

static void join_row(const di_session *s, int64_t r)
{
    di_sparse_work *w = s->state;
    float *log_p = (float *)(void *)(w->dense.data + r * w->dense.step);
    if (isnan(log_p[0])) atomic_store(&w->broken, (int)r + 1); /* one NaN in a row makes all of its softmax NaN */
    else steps_of(s)->join(s, r, log_p);
}

static int32_t join_dense(di_session *s, int64_t count, dk_error *err)
{
    di_sparse_work *w = s->state;
    const di_blended *member = &blend_of(s)->members[w->index];
    const di_source *source = di_session_source(w->members[w->index]);
    const dk_view strip = dk_view_rows(dk_view_2d(w->buffer, 0, DK_F32, w->height, source->width), 0, count);
    const double temperature = blend_of(s)->temperature * member->temperature;
    const distill_target *none = NULL;
    char what[96];
    int32_t rc;
    if (source->rows_at) DK_TRY(source->rows_at(source->self, w->first, count, 1, &temperature, &strip, err));
    else DK_TRY(source->rows(source->self, w->first, count, strip, &none, err));
    w->queue.backend->ops->log_softmax(&w->queue, strip, source->vocab_valid,
                                       source->rows_at ? 1 : temperature / source->temperature, strip);
    DK_TRY(di_host_read(&w->queue, &w->read, strip, &w->dense, err));
    w->dense_width = source->vocab_valid;
    atomic_store(&w->broken, 0);
    DK_TRY(each_row(s, join_row, count, err));
    const int64_t broken = atomic_load(&w->broken);
    if (!broken) goto out;
    snprintf(what, sizeof what, "a logit of teacher %.60s", member->name);
    rc = di_fail_row(&s->batch, w->first + broken - 1, s->places[w->first + broken - 1], what, NAN, err);
out:
    return rc;
}

static int32_t blend_rows(di_session *s, int64_t first, int64_t at, int64_t count, dk_error *err)
{
    di_sparse_work *w = s->state;
    int32_t rc;
    w->first = first;
    w->at = at;
    DK_TRY(each_row(s, steps_of(s)->begin, count, err));
    for (w->index = 0; w->index < blend_of(s)->count; w->index++)
        if (w->asked[w->index] && !w->given[w->index]) DK_TRY(join_dense(s, count, err));
    DK_TRY(each_row(s, steps_of(s)->finish, count, err));
    w->done += count;
    for (int64_t r = 0; r < count && blend_of(s)->kind == DISTILL_TOPK; r++) {
        w->common.rows++;
        w->common.mass += 1 - w->rest[r];
        w->common.least += blend_of(s)->settings.min_common_mass;
    }
out:
    return rc;
}

/* ---- the strip ---- */

static int32_t ask_sparse(di_session *s, int64_t index, int64_t first, int64_t count, dk_error *err)
{
    di_sparse_work *w = s->state;
    const di_source *source = di_session_source(w->members[index]);
    const di_sparse_rules rules = {source->vocab_valid > 0 ? source->vocab_valid : INT32_MAX, first, NULL,
                                   source->rounding};
    int32_t rc;
    w->given[index] = NULL;
    if (!w->asked[index] || source->kind == DISTILL_DENSE) return DK_OK;
    DK_TRY(source->rows(source->self, first, count, dk_view_none(), &w->given[index], err));
    for (int64_t r = 0; r < count && rc == DK_OK; r++)
        rc = di_sparse_check_row(w->check, w->given[index], r, &rules, err);
    if (rc) dk_error_context(err, "member %s of a blend", blend_of(s)->members[index].name);
out:
    return rc;
}

static int32_t rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                    dk_error *err)
{
    di_session *s = self;
    di_sparse_work *w = s->state;
    int32_t rc = DK_OK;
    (void)strip;
    if (first == 0) { /* perhaps for the second time */
        memset(&w->common, 0, sizeof w->common);
        w->done = 0;
    }
    for (int64_t i = 0; i < blend_of(s)->count; i++) DK_TRY(ask_sparse(s, i, first, count, err));
    for (int64_t at = 0; at < count; at += w->height)
        DK_TRY(blend_rows(s, first + at, at, count - at < w->height ? count - at : w->height, err));
    w->shape[0] = count;
    w->shape[1] = w->width;
    w->value_tensor = di_tensor_of(w->values, DISTILL_FLOAT, 32, 2, w->shape);
    w->id_tensor = di_tensor_of(w->ids, DISTILL_INT, 32, 2, w->shape);
    w->tail_tensor = di_tensor_of(w->tail, DISTILL_FLOAT, 32, 1, w->shape);
    if (target) *target = &w->out;
out:
    return rc;
}

/* ---- batches ---- */

/* Where only members with logits have weight, the ids are still those that the others list. */
static void choose_asked(const di_session *s)
{
    di_sparse_work *w = s->state;
    int32_t listed = blend_of(s)->kind == DISTILL_SAMPLED;
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        w->weights[i] = di_blended_weight(&blend_of(s)->members[i], s->step);
        listed |= w->weights[i] > 0 && di_session_source(w->members[i])->kind != DISTILL_DENSE;
    }
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        const int32_t lists = di_session_source(w->members[i])->kind != DISTILL_DENSE;
        w->asked[i] = w->weights[i] > 0 || (lists && !listed) ? w->members[i] : NULL;
    }
}

int32_t di_sparse_begin(di_session *s, dk_error *err)
{
    di_sparse_work *w = s->state;
    int32_t rc = DK_OK;
    choose_asked(s);
    for (int64_t i = 0; rc == DK_OK && i < blend_of(s)->count; i++) {
        if (!w->asked[i]) continue;
        di_session_follow(w->members[i], s);
        rc = di_session_begin(w->members[i], &s->batch, err);
    }
    if (rc != DK_OK) di_sparse_end(s);
    return rc;
}

void di_sparse_end(di_session *s)
{
    di_sparse_work *w = s->state;
    for (int64_t i = 0; i < blend_of(s)->count; i++) di_session_drop(w->members[i]);
    memset(&w->common, 0, sizeof w->common);
    w->done = 0;
}

int32_t di_sparse_forward(di_session *s, dk_error *err)
{
    di_sparse_work *w = s->state;
    int64_t failed;
    return di_members_collect(s, w->asked, blend_of(s)->count, &failed, err);
}

void di_sparse_tally(di_session *s, int64_t index, di_member_view *out)
{
    const di_sparse_work *w = s->state;
    out->session = w->members[index];
    const int64_t asked = w->asked[index] ? w->done : 0;
    out->tally = (di_tally){asked, asked, (double)asked * w->weights[index]};
}

void di_sparse_common(const di_session *s, di_common *into)
{
    const di_sparse_work *w = s->state;
    di_common_add(into, &w->common);
}

/* ---- a session ---- */

static int32_t open_members(di_session *s, di_sparse_work *w, int64_t *widest, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, blend_of(s)->count, &w->members, err));
    DK_TRY(dk_new(s->teacher->host, blend_of(s)->count, &w->weights, err));
    DK_TRY(dk_new(s->teacher->host, blend_of(s)->count, &w->asked, err));
    DK_TRY(dk_new(s->teacher->host, blend_of(s)->count, &w->given, err));
    for (int64_t i = 0; i < blend_of(s)->count; i++) {
        DK_TRY(di_session_create(blend_of(s)->members[i].teacher, s->max_tokens, s->max_sequences, s->max_rows,
                                 &w->members[i], err));
        const di_source *source = di_session_source(w->members[i]);
        if (source->kind == DISTILL_DENSE && source->width > *widest) *widest = source->width;
        if (source->rounding > s->source.rounding) s->source.rounding = source->rounding;
    }
out:
    return rc;
}

static int32_t plan_rows(di_session *s, di_sparse_work *w, int64_t widest, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    dk_backend *backend = s->teacher->backend;
    dk_host *host = s->teacher->host;
    int32_t rc;
    w->width = blend->sparse_width;
    w->capacity = blend->kind == DISTILL_TOPK ? 2 * blend->sparse_most : blend->sparse_width;
    w->height = ENTRY_BYTES / (w->capacity * (int64_t)(sizeof *w->entries + sizeof *w->sums)) + 1;
    if (w->height > HEIGHT) w->height = HEIGHT;
    if (w->height > s->max_rows) w->height = s->max_rows;
    if (widest)
        DK_TRY(backend->ops->buffer_create(backend, w->height * widest * (int64_t)sizeof(float), &w->buffer, err));
    DK_TRY(dk_new(host, w->height * w->capacity, &w->entries, err));
    DK_TRY(dk_new(host, w->height * w->capacity, &w->sums, err));
    DK_TRY(dk_new(host, w->height, &w->used, err));
    DK_TRY(dk_new(host, w->height, &w->rest, err));
    DK_TRY(dk_new(host, s->max_rows * w->width, &w->ids, err));
    DK_TRY(dk_new(host, s->max_rows * w->width, &w->values, err));
    DK_TRY(dk_new(host, s->max_rows, &w->tail, err));
out:
    return rc;
}

int32_t di_sparse_session(di_session *s, dk_error *err)
{
    const di_blend *blend = blend_of(s);
    di_sparse_work *w = NULL;
    int64_t widest = 0;
    int32_t rc;
    DK_TRY(dk_new(s->teacher->host, 1, &w, err));
    s->state = w;
    s->source = (di_source){
        .self = s, .kind = blend->kind, .vocab_valid = blend->width, .temperature = blend->temperature, .rows = rows};
    DK_TRY(dk_queue_open(&w->queue, s->teacher->backend, err));
    DK_TRY(di_sparse_check_create(s->teacher->host, INT32_MAX, &w->check, err));
    DK_TRY(open_members(s, w, &widest, err));
    DK_TRY(plan_rows(s, w, widest, err));
    w->out = blend->form;
    w->out.values = &w->value_tensor;
    w->out.ids = &w->id_tensor;
    w->out.tail = blend->kind == DISTILL_TOPK ? &w->tail_tensor : NULL;
out:
    return rc;
}
