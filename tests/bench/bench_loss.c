/* bench_loss: processor nanoseconds per logit of the built-in losses, value and gradient, on tensors in memory.
 * Not a test: prints numbers and always succeeds. argv[1] = threads (default: 1). */
#include <stdio.h>
#include <stdlib.h>

#include "bench_time.h"
#include "loss/builtin.h"
#include "loss/loss.h"

enum { ROWS = 128, K = 64 };

typedef struct bench {
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_options *options;
    int64_t shape[2], sparse_shape[2];
    float *student, *teacher, *gradient;
    float values[ROWS * K];
    int32_t ids[ROWS * K], labels[ROWS];
} bench;

static float *numbers(int64_t count, int64_t step)
{
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; x && i < count; i++) x[i] = (float)(i * step % 9973) * 1e-3f - 5.0f;
    return x;
}

static double best_of(bench *b, const di_loss *loss, distill_loss_args *args)
{
    double best = 1e9, until = dk_seconds() + 0.5;
    dk_error err;
    do {
        double start = cpu_seconds();
        if (di_loss_eval(b->backend, loss, args, &err)) give_up(&err);
        double took = cpu_seconds() - start;
        if (took < best) best = took;
    } while (dk_seconds() < until);
    return 1e9 * best / (double)(b->shape[0] * b->shape[1]);
}

static void measure(bench *b, const di_builtin *builtin, int32_t kind)
{
    const char *name = builtin->name;
    const double temperature = 1;
    if (!builtin->targets) kind = 0;
    distill_target student, teacher;
    distill_loss_args args;
    di_loss *loss;
    dk_error err;
    distill_tensor z = di_tensor_of(b->student, DISTILL_FLOAT, 32, 2, b->shape),
                   p = di_tensor_of(b->teacher, DISTILL_FLOAT, 32, 2, b->shape),
                   g = di_tensor_of(b->gradient, DISTILL_FLOAT, 32, 2, b->shape),
                   v = di_tensor_of(b->values, DISTILL_FLOAT, 32, 2, b->sparse_shape),
                   ids = di_tensor_of(b->ids, DISTILL_INT, 32, 2, b->sparse_shape),
                   labels = di_tensor_of(b->labels, DISTILL_INT, 32, 1, b->shape);
    DISTILL_INIT(&student);
    DISTILL_INIT(&teacher);
    DISTILL_INIT(&args);
    student.kind = DISTILL_DENSE;
    student.values = &z;
    teacher.kind = kind;
    teacher.temperature = temperature;
    teacher.values = kind == DISTILL_DENSE ? &p : &v;
    teacher.ids = kind == DISTILL_TOPK ? &ids : NULL;
    args.student = &student;
    args.teacher = kind ? &teacher : NULL;
    args.labels = &labels;
    if (di_options_set_f64(b->options, "loss.temperature", temperature, &err) ||
        di_loss_create(b->registry, name, b->options, &loss, &err))
        give_up(&err);
    double value = best_of(b, loss, &args);
    args.grad_values = &g;
    double gradient = best_of(b, loss, &args);
    printf("%-14s %-6s T=%-4g vocab %6lld   value %6.3f ns/logit   with gradient %6.3f ns/logit\n", name,
           kind ? di_kind_name(kind) : "-", temperature, (long long)b->shape[1], value, gradient);
    di_loss_release(loss);
}

int main(int argc, char **argv)
{
    static const int64_t vocabs[] = {512, 32000, 151936};
    static bench b;
    dk_error err;
    if (dk_host_create(NULL, &b.host, &err) ||
        dk_host_set_threads(b.host, argc > 1 ? atoi(argv[1]) : 1, NULL, NULL, NULL, &err) ||
        dk_backend_cpu(b.host, &b.backend, &err) || di_registry_create(b.host, &b.registry, &err) ||
        di_options_create(b.host, &b.options, &err))
        give_up(&err);
    for (int i = 0; i < ROWS * K; i++) {
        b.ids[i] = i % K * 7;
        b.values[i] = -5.0f;
    }
    for (int i = 0; i < ROWS; i++) b.labels[i] = i;
    b.sparse_shape[0] = ROWS;
    b.sparse_shape[1] = K;
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        b.shape[0] = ROWS;
        b.shape[1] = vocabs[i];
        b.student = numbers(ROWS * vocabs[i], 7919);
        b.teacher = numbers(ROWS * vocabs[i], 6007);
        b.gradient = numbers(ROWS * vocabs[i], 1);
        for (int64_t k = 0; di_builtin_at(k); k++)
            if (!di_builtin_at(k)->feature && !di_builtin_at(k)->tool) measure(&b, di_builtin_at(k), DISTILL_DENSE);
        for (int64_t k = 0; di_builtin_at(k); k++)
            if (di_builtin_at(k)->targets >> DISTILL_TOPK & 1 && !di_builtin_at(k)->tool)
                measure(&b, di_builtin_at(k), DISTILL_TOPK);
        free(b.student);
        free(b.teacher);
        free(b.gradient);
    }
    di_options_free(b.options);
    di_registry_free(b.registry);
    dk_backend_free(b.backend);
    dk_host_release(b.host);
    return 0;
}
