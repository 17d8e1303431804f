/* loss_fixture.h - an env's worth of things for tests of losses, and forward KL written down plainly in double. */
#ifndef TESTS_LOSS_FIXTURE_H
#define TESTS_LOSS_FIXTURE_H

#include "base/random.h"
#include "hidden_memory.h"
#include "loss/loss.h"
#include "test.h"

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_options *options;
    dk_error err;
} fixture;

static inline void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, &f->err) || dk_backend_cpu(f->host, &f->backend, &f->err) ||
        di_registry_create(f->host, &f->registry, &f->err) || di_options_create(f->host, &f->options, &f->err)) {
        fprintf(stderr, "%s\n", f->err.message);
        exit(3);
    }
    if (getenv("TEST_HIDDEN_MEMORY")) hide_memory(f->backend);
}

static inline void close_fixture(fixture *f)
{
    di_options_free(f->options);
    di_registry_free(f->registry);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static inline di_loss *make_loss(fixture *f, const char *name, const char *yaml)
{
    di_loss *loss = NULL;
    if (di_options_set(f->options, "loss", NULL, &f->err) ||
        (yaml && di_options_set(f->options, "loss", yaml, &f->err)) ||
        di_loss_create(f->registry, name, f->options, &loss, &f->err)) {
        FAIL("%s", f->err.message);
        exit(3);
    }
    return loss;
}

static inline int is_at_one(const char *yaml) /* the loss has no temperature */
{
    return !strncmp(yaml, "cross_entropy", 13) || !strncmp(yaml, "logit_cosine", 12);
}

/* yaml as in loss_cases, behind "type: ". */
static inline di_loss *loss_of(fixture *f, const char *yaml, double temperature)
{
    char text[256];
    if (is_at_one(yaml)) snprintf(text, sizeof text, "{type: %s}", yaml);
    else snprintf(text, sizeof text, "{type: %s, temperature: %.17g, t_squared: off}", yaml, temperature);
    return make_loss(f, NULL, text);
}

static inline void randomize(float *x, int64_t n, double size, uint64_t stream)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(size * dk_random_normal(7, stream, (uint64_t)i));
}

/* One call with dense tensors; the caller fills in what else it wants before eval_dense. */
typedef struct dense_call {
    int64_t shape[2], teacher_shape[2];
    distill_tensor student_values, teacher_values, labels, weights, gradient, row_values;
    distill_target student, teacher;
    distill_loss_args args;
} dense_call;

static inline void set_dense(dense_call *c, float *student, int64_t rows, int64_t vocab, float *teacher,
                             int64_t teacher_vocab)
{
    memset(c, 0, sizeof *c);
    c->shape[0] = c->teacher_shape[0] = rows;
    c->shape[1] = vocab;
    c->teacher_shape[1] = teacher_vocab;
    DISTILL_INIT(&c->student);
    DISTILL_INIT(&c->teacher);
    DISTILL_INIT(&c->args);
    c->student_values = di_tensor_of(student, DISTILL_FLOAT, 32, 2, c->shape);
    c->teacher_values = di_tensor_of(teacher, DISTILL_FLOAT, 32, 2, c->teacher_shape);
    c->student.kind = c->teacher.kind = DISTILL_DENSE;
    c->student.values = &c->student_values;
    c->teacher.values = &c->teacher_values;
    c->args.student = &c->student;
    if (teacher) c->args.teacher = &c->teacher;
}

static inline void with_labels(dense_call *c, int32_t *labels)
{
    c->labels = di_tensor_of(labels, DISTILL_INT, 32, 1, c->shape);
    c->args.labels = &c->labels;
}

static inline void with_weights(dense_call *c, float *weights)
{
    c->weights = di_tensor_of(weights, DISTILL_FLOAT, 32, 1, c->shape);
    c->args.weights = &c->weights;
}

static inline void with_gradient(dense_call *c, float *gradient)
{
    c->gradient = di_tensor_of(gradient, DISTILL_FLOAT, 32, 2, c->shape);
    c->args.grad_values = &c->gradient;
}

static inline void with_rows(dense_call *c, float *values)
{
    c->row_values = di_tensor_of(values, DISTILL_FLOAT, 32, 1, c->shape);
    c->args.row_values = &c->row_values;
}

static inline void softmax64(const double *z, int64_t n, double temperature, double *log_p)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = z[i] > top ? z[i] : top;
    for (int64_t i = 0; i < n; i++) sum += exp((z[i] - top) / temperature);
    for (int64_t i = 0; i < n; i++) log_p[i] = (z[i] - top) / temperature - log(sum);
}

static inline double forward_kl64(const double *q_logits, const double *p_logits, int64_t n, double temperature)
{
    double *log_q = malloc(sizeof *log_q * (size_t)n), *log_p = malloc(sizeof *log_p * (size_t)n), sum = 0;
    softmax64(q_logits, n, temperature, log_q);
    softmax64(p_logits, n, temperature, log_p);
    for (int64_t i = 0; i < n; i++)
        if (log_p[i] > -INFINITY) sum += exp(log_p[i]) * (log_p[i] - log_q[i]);
    free(log_q);
    free(log_p);
    return sum;
}

#endif
