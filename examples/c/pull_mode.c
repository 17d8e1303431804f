/* pull_mode.c - the host owns the loop, the loss and the optimiser: SGD with momentum in plain C. The loss goes one of
 * two ways:
 *   strips  strips of logits come out, the host writes their gradient over them (no [tokens, vocab] tensor anywhere)
 *   fused   hidden states come out, distill_loss_eval makes loss and gradients of them, head included, and the host
 *           sends back the hidden states' gradient
 * Usage: pull_mode TEACHER TEXT [STEPS] [strips|fused] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <distill.h>

static double log_sum_exp(const float *z, int64_t n)
{
    double top = (double)z[0], sum = 0;
    for (int64_t v = 1; v < n; v++)
        if ((double)z[v] > top) top = (double)z[v];
    for (int64_t v = 0; v < n; v++) sum += exp((double)z[v] - top);
    return top + log(sum);
}

/* KL(p || q) of a strip; its gradient q - p is written over the student's logits. */
static double forward_kl(distill_strip *s)
{
    double total = 0;
    for (int64_t r = 0; r < s->rows; r++) {
        float *z = s->student + r * s->student_stride;
        const float *t = s->teacher + r * s->teacher_stride;
        double zq = log_sum_exp(z, s->vocab), zp = log_sum_exp(t, s->vocab), weight = (double)s->weights[r];
        for (int64_t v = 0; v < s->vocab; v++) {
            double log_q = (double)z[v] - zq, log_p = (double)t[v] - zp, p = exp(log_p);
            total += weight * p * (log_p - log_q);
            z[v] = (float)(weight * (exp(log_q) - p));
        }
    }
    return total;
}

typedef struct sgd {
    distill_student *student;
    float **velocity; /* per parameter */
    int64_t count;
} sgd;

static int64_t elements(const distill_tensor *t)
{
    int64_t n = 1;
    for (int32_t d = 0; d < t->ndim; d++) n *= t->shape[d];
    return n;
}

static int32_t update(sgd *o, float rate, distill_error *err)
{
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(o->student, i)); i++) {
        distill_tensor w, g;
        int32_t rc = distill_student_parameter(o->student, name, DISTILL_WEIGHT, &w, err);
        if (!rc) rc = distill_student_parameter(o->student, name, DISTILL_GRADIENT, &g, err);
        if (rc) return rc;
        int64_t n = elements(&w);
        float *weight = w.data, *gradient = g.data, *velocity = o->velocity[i];
        if (!velocity && !(velocity = o->velocity[i] = calloc((size_t)n, sizeof *velocity))) return DISTILL_E_NOMEM;
        for (int64_t k = 0; k < n; k++) {
            velocity[k] = 0.9f * velocity[k] + gradient[k];
            weight[k] -= rate * velocity[k];
        }
    }
    return distill_student_weights_changed(o->student, err);
}

static int32_t backward_strips(distill_trainer *trainer, distill_error *err)
{
    distill_strip strip;
    int32_t rc;
    DISTILL_INIT(&strip);
    while ((rc = distill_trainer_next_rows(trainer, &strip, err)) == 0) strip.loss = forward_kl(&strip);
    return rc == DISTILL_E_END ? distill_trainer_backward(trainer, NULL, 0, err) : rc;
}

/* The gradient of the head's weight belongs to the parameter that the head is: of its own, or the embedding's. */
static int32_t find_head(distill_student *student, const distill_tensor *head, distill_tensor *out, distill_error *err)
{
    const char *name, *found = NULL;
    for (int64_t i = 0; (name = distill_student_parameter_name(student, i)); i++) {
        if (strstr(name, "lm_head") || (!found && (strstr(name, "embed_tokens") || strstr(name, "wte")))) found = name;
    }
    int32_t rc = found ? distill_student_parameter(student, found, DISTILL_GRADIENT, out, err) : DISTILL_E_NOT_FOUND;
    return !rc && (out->shape[0] != head->shape[0] || out->shape[1] != head->shape[1]) ? DISTILL_E_MISMATCH : rc;
}

static int32_t backward_fused(distill_trainer *trainer, const distill_loss *loss, distill_student *student,
                              const distill_forward *forward, distill_error *err)
{
    const int64_t shape[2] = {forward->rows, forward->student->values->shape[1]};
    distill_tensor head, hidden = {NULL, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    distill_loss_args args;
    DISTILL_INIT(&args);
    int32_t rc = find_head(student, forward->student->head, &head, err);
    if (!rc && !(hidden.data = malloc((size_t)(shape[0] * shape[1]) * sizeof(float)))) rc = DISTILL_E_NOMEM;
    args.student = forward->student;
    args.teacher = forward->teacher;
    args.labels = forward->labels;
    args.weights = forward->weights;
    args.grad_values = &hidden;
    args.grad_head = &head;
    args.flags = DISTILL_ADD_HEAD;
    if (!rc) rc = distill_loss_eval(loss, &args, err);
    if (!rc) rc = distill_trainer_backward(trainer, &hidden, args.sum, err);
    free(hidden.data);
    return rc;
}

/* One window: every micro-batch forward, its loss, backward; then the division, and our own update. loss NULL =
 * strips. */
static int32_t window(distill_trainer *trainer, const distill_loss *loss, distill_student *student,
                      distill_progress *progress, distill_error *err)
{
    distill_forward forward;
    int32_t rc;
    do {
        DISTILL_INIT(&forward);
        if ((rc = distill_trainer_forward(trainer, 0, &forward, err))) return rc;
        rc = loss ? backward_fused(trainer, loss, student, &forward, err) : backward_strips(trainer, err);
        if (rc) return rc;
    } while (forward.micro_batch + 1 < forward.micro_batches);
    DISTILL_INIT(progress);
    return distill_trainer_apply(trainer, progress, err);
}

static int32_t train(distill_trainer *trainer, const distill_loss *loss, distill_error *err)
{
    sgd o = {NULL, NULL, 0};
    distill_progress progress;
    int32_t rc = distill_trainer_student(trainer, &o.student, err);
    while (!rc && distill_student_parameter_name(o.student, o.count)) o.count++;
    if (!rc && !(o.velocity = calloc((size_t)o.count + 1, sizeof *o.velocity))) rc = DISTILL_E_NOMEM;
    while (!rc && (rc = window(trainer, loss, o.student, &progress, err)) == 0) {
        rc = update(&o, 0.05f, err);
        if (progress.step % 5 == 0) printf("step %lld: KL %.5f\n", (long long)progress.step, progress.loss);
    }
    for (int64_t i = 0; o.velocity && i < o.count; i++) free(o.velocity[i]);
    free(o.velocity);
    distill_student_free(o.student);
    return rc == DISTILL_E_END ? 0 : rc;
}

int main(int argc, char **argv)
{
    static const char recipe[] = "student: {from: teacher}\n"
                                 "data: {sequence_length: 64}\n"
                                 "train: {batch_size: 4, optimizer: none}\n";
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_trainer *trainer = NULL;
    distill_loss *loss = NULL;
    int fused = argc > 4 && strcmp(argv[4], "fused") == 0;
    if (argc < 3 || (argc > 4 && !fused && strcmp(argv[4], "strips") != 0))
        return fprintf(stderr, "usage: pull_mode TEACHER TEXT [STEPS] [strips|fused]\n"), 2;
    int32_t rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_options_create(env, &options, &err);
    if (!rc) rc = distill_options_parse(options, recipe, sizeof recipe - 1, "pull_mode", &err);
    if (!rc) rc = distill_options_set_str(options, "teacher.path", argv[1], &err);
    if (!rc) rc = distill_options_set_str(options, "data.train", argv[2], &err);
    if (!rc) rc = distill_options_set_i64(options, "train.steps", argc > 3 ? atol(argv[3]) : 20, &err);
    if (!rc) rc = distill_trainer_create(env, NULL, NULL, NULL, NULL, options, &trainer, &err);
    if (!rc && fused) rc = distill_loss_create(env, "forward_kl", options, &loss, &err);
    if (!rc) rc = train(trainer, loss, &err);
    if (rc) fprintf(stderr, "%s: %s\n", distill_strerror(rc), err.message);
    distill_loss_free(loss);
    distill_trainer_free(trainer);
    distill_options_free(options);
    distill_env_free(env);
    return rc != 0;
}
