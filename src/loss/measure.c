#include "loss/measure.h"

#include <math.h>
#include <string.h>

#include "loss/builtin.h"

static int64_t argmax(const float *row, int64_t n)
{
    int64_t best = 0;
    for (int64_t v = 1; v < n; v++)
        if (row[v] > row[best]) best = v;
    return best;
}

/* The id that the teacher holds most likely; -1 where it does not say. */
static int64_t favourite(const distill_target *row)
{
    const int64_t k = row->ids->ndim == 2 ? row->ids->shape[1] : 1;
    const int32_t *ids = row->ids->data;
    const float *log_p = row->values ? row->values->data : NULL;
    int64_t best = -1;
    if (row->kind == DISTILL_ONE_HOT) return ids[0];
    for (int64_t j = 0; row->kind == DISTILL_TOPK && j < k; j++)
        if (ids[j] >= 0 && (best < 0 || log_p[j] > log_p[best])) best = j;
    return best < 0 ? -1 : ids[best];
}

typedef struct one_row {
    distill_target target;
    distill_tensor values, ids, beside;
    int64_t shape[2];
} one_row;

static void cut(const distill_target *from, int64_t row, one_row *to)
{
    const int64_t k = from->ids->ndim == 2 ? from->ids->shape[1] : 1;
    to->target = *from;
    to->shape[0] = 1;
    to->shape[1] = k;
    to->ids = di_tensor_of((int32_t *)from->ids->data + row * k, DISTILL_INT, 32, from->ids->ndim, to->shape);
    to->target.ids = &to->ids;
    if (from->values) {
        to->values = di_tensor_of((float *)from->values->data + row * k, DISTILL_FLOAT, 32, 2, to->shape);
        to->target.values = &to->values;
    }
    if (di_target_beside(from)) {
        to->beside = di_tensor_of((float *)di_target_beside(from)->data + row, DISTILL_FLOAT, 32, 1, to->shape);
        di_target_set_beside(&to->target, &to->beside);
    }
}

static double value_of(const char *name, const di_measure *m, di_builtin_call *call, const distill_target *target)
{
    distill_loss_rows rows;
    double value = 0;
    int64_t index = 0;
    while (strcmp(di_builtin_at(index)->name, name) != 0) index++;
    DISTILL_INIT(&rows);
    rows.rows = 1;
    rows.vocab = m->vocab;
    rows.target = target;
    rows.value = &value;
    di_builtin_at(index)->eval[m->isa](call, &rows);
    return value;
}

static double nats_at(const di_logits *logits, int64_t id)
{
    return logits->log_sum - ((double)logits->z[id] - (double)logits->top) * logits->factor;
}

static double confidence_of(const di_logits *logits, int32_t label, int32_t *right)
{
    *right = logits->z[label] >= logits->top;
    return exp(-logits->log_sum);
}

static void measure_sparse(const di_measure *m, int64_t row, const di_logits *student, di_measured *out)
{
    one_row target;
    di_logits tempered = {0};
    di_builtin_call call = {.student = &tempered, .student_floor = -100, .teacher_floor = -100};
    cut(m->target, row, &target);
    di_rows_for(m->isa)->log_sum_double(student->z, m->vocab, m->temperature, &tempered);
    out->kl = value_of("forward_kl", m, &call, &target.target);
    out->floored = call.floored;
    if (target.target.kind != DISTILL_SAMPLED) out->accepted = 1 - value_of("tvd", m, &call, &target.target);
    const int64_t best = favourite(&target.target);
    out->agree = best < 0 ? -1 : argmax(student->z, m->vocab) == best;
}

void di_measure_row(const di_measure *m, int64_t row, di_measured *out)
{
    const di_rows *kernels = di_rows_for(m->isa);
    distill_target dense;
    di_logits student = {0}, teacher = {0};
    double apart = NAN;
    di_builtin_call call = {
        .student = &student, .teacher = &teacher, .student_floor = -100, .teacher_floor = -100, .apart = &apart};
    memset(out, 0, sizeof *out);
    kernels->log_sum(m->student + row * m->student_stride, m->vocab, 1, &student);
    out->nats = nats_at(&student, m->labels[row]);
    out->confidence = confidence_of(&student, m->labels[row], &out->right);
    if (m->target) measure_sparse(m, row, &student, out);
    if (!m->teacher) return;
    kernels->log_sum(m->teacher + row * m->teacher_stride, m->vocab, 1 / m->temperature, &teacher);
    DISTILL_INIT(&dense);
    dense.kind = DISTILL_DENSE;
    out->teacher_nats = nats_at(&teacher, m->labels[row]);
    out->teacher_confidence = confidence_of(&teacher, m->labels[row], &out->teacher_right);
    out->kl = value_of("forward_kl", m, &call, &dense);
    out->floored = call.floored;
    out->accepted = 1 - (isnan(apart) ? value_of("tvd", m, &call, &dense) : apart);
    out->agree = argmax(student.z, m->vocab) == argmax(teacher.z, m->vocab);
}
