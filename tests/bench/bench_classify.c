/* What a classifier costs: microseconds of an answer by length of the text, and of a training step by size of the
 * table, beside AdamW over all of that table.
 *   bench_classify        prints both tables */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "bench_time.h"
#include "classifier/classifier_parts.h"

enum { CLASSES = 8, ANSWERS = 4000, BATCH = 32, STEPS = 300, TEXTS = 4096 };

/* Words of 2 to 9 letters, the frequent ones short and often the same. */
static void write_text(uint64_t seed, size_t size, char *out)
{
    uint64_t n = 0;
    size_t at = 0;
    while (at < size) {
        const uint64_t word = (uint64_t)(1000 * pow(dk_random_uniform(seed, DK_STREAM_TEST, n++), 3));
        const size_t length = 2 + word % 8;
        for (size_t i = 0; i < length && at < size; i++)
            out[at++] = (char)('a' + (word * 7 + i * i * 5 + word / 8) % 26);
        if (at < size) out[at++] = ' ';
    }
    out[size] = 0;
}

static di_classifier *make(dk_backend *backend, int32_t bits, int64_t hidden)
{
    static const char *const names[CLASSES] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    const di_classifier_spec spec = {
        .ngrams = {2, 3, 5, bits, 1, DI_COUNT_LOG_TF}, .hidden = hidden, .classes = CLASSES, .names = names, .seed = 1};
    di_classifier *c = NULL;
    dk_error err;
    if (di_classifier_create(backend, &spec, &c, &err)) give_up(&err);
    for (int64_t i = 0; i < c->inputs * c->width; i++)
        c->table[i] = (float)dk_random_normal(2, DK_STREAM_TEST, (uint64_t)i);
    return c;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void answer(const di_classifier *c, size_t size, int32_t bits)
{
    static double seconds[ANSWERS];
    float shares[CLASSES];
    di_verdict verdict;
    dk_error err;
    char *text = malloc(size + 1);
    for (int i = 0; i < ANSWERS; i++) {
        write_text((uint64_t)i, size, text);
        const double begun = dk_seconds();
        if (di_classifier_predict(c, text, size, shares, &verdict, &err)) give_up(&err);
        seconds[i] = dk_seconds() - begun;
    }
    qsort(seconds, ANSWERS, sizeof *seconds, by_value);
    printf("%10d %8lld %8zu %10.1f %10.1f\n", 1 << bits, (long long)c->hidden, size, 1e6 * seconds[ANSWERS / 2],
           1e6 * seconds[ANSWERS * 99 / 100]);
    free(text);
}

static void read_texts(dk_host *host, const di_class_names *names, di_labelled *out)
{
    static char lines[TEXTS][400];
    static dk_slice slices[TEXTS];
    dk_error err;
    for (int i = 0; i < TEXTS; i++) {
        char text[201];
        write_text((uint64_t)i + 100000, 200, text);
        slices[i] = (dk_slice){lines[i], (size_t)snprintf(lines[i], sizeof lines[i],
                                                          "{\"text\": \"%s\", \"label\": %d}", text, i % CLASSES)};
    }
    const di_source_text source = {.name = "bench", .lines = slices, .count = TEXTS};
    di_labelled_init(out, host, names);
    if (di_labelled_add(out, &source, &err)) give_up(&err);
}

/* AdamW over a whole table with its gradient, as an optimiser of dense weights has it. */
static double whole_table(di_fit *f, const dk_adamw_args *args)
{
    const di_classifier *c = f->classifier;
    const dk_ops *ops = f->backend->ops;
    dk_buffer *buffer = NULL;
    dk_error err;
    if (ops->buffer_create(f->backend, c->inputs * c->width * 4, &buffer, &err)) give_up(&err);
    const dk_view gradient = dk_view_2d(buffer, 0, DK_F32, c->inputs, c->width);
    const double begun = dk_seconds();
    for (int i = 0; i < 10; i++) {
        ops->fill(&f->queue, gradient, 0);
        ops->adamw(&f->queue, args, dk_view_none(), f->table.value, gradient, f->table.first, f->table.second);
    }
    if (dk_queue_wait(&f->queue, &err)) give_up(&err);
    const double seconds = (dk_seconds() - begun) / 10;
    ops->buffer_free(f->backend, buffer);
    return seconds;
}

static void step(dk_backend *backend, const di_labelled *texts, di_registry *registry, int32_t bits)
{
    static int64_t indices[BATCH];
    const dk_adamw_args args = {0, 0.9, 0.95, 1e-8, 0, 1};
    di_classifier *c = make(backend, bits, 0);
    di_options *options = NULL;
    di_loss *loss = NULL;
    di_fit *fit = NULL;
    dk_error err;
    if (di_options_create(backend->host, &options, &err) || di_options_set(options, "train.batch_size", "32", &err) ||
        di_options_set(options, "loss.type", "forward_kl", &err) ||
        di_loss_create(registry, NULL, options, &loss, &err) || di_fit_create(c, texts, loss, options, &fit, &err))
        give_up(&err);
    double begun = 0;
    for (int s = -20; s < STEPS; s++) {
        if (s == 0) begun = dk_seconds();
        for (int64_t i = 0; i < BATCH; i++) indices[i] = ((s + 20) * BATCH + i) % TEXTS;
        if (di_fit_step(fit, indices, BATCH, &err)) give_up(&err);
    }
    const double seconds = (dk_seconds() - begun) / STEPS;
    printf("%10d %10lld %10.0f %14.0f\n", 1 << bits, (long long)fit->touched_count, 1e6 * seconds,
           1e6 * whole_table(fit, &args));
    di_fit_free(fit);
    di_loss_release(loss);
    di_options_free(options);
    di_classifier_free(c);
}

int main(void)
{
    static const char *const names[CLASSES] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    static const size_t sizes[] = {60, 300, 1500};
    dk_host *host = NULL;
    dk_backend *backend = NULL;
    di_registry *registry = NULL;
    di_class_names classes;
    di_labelled texts;
    dk_error err;
    if (dk_host_create(NULL, &host, &err) || dk_backend_cpu(host, &backend, &err) ||
        di_registry_create(host, &registry, &err) || di_class_names_take(host, names, CLASSES, &classes, &err))
        give_up(&err);
    printf("answers of %d classes\n    inputs   hidden    bytes     p50 us     p99 us\n", CLASSES);
    for (int k = 0; k < 3; k++)
        for (int s = 0; s < 3; s++) {
            di_classifier *c = make(backend, k < 2 ? 16 : 18, k == 1 ? 64 : 0);
            answer(c, sizes[s], k < 2 ? 16 : 18);
            di_classifier_free(c);
        }
    read_texts(host, &classes, &texts);
    printf("\nsteps of %d texts of 200 bytes\n    inputs    touched    step us   whole table us\n", BATCH);
    for (int32_t bits = 14; bits <= 22; bits += 2) step(backend, &texts, registry, bits);
    di_labelled_free(&texts);
    di_class_names_free(&classes);
    di_registry_free(registry);
    dk_backend_free(backend);
    dk_host_release(host);
    return 0;
}
