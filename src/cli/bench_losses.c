/* bench_losses.c - distill bench loss. */
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bench.h"

enum { TIMES = 11, PAGE = 1 << 21 };

typedef struct loss_bench {
    bench b;
    const char *type; /* NULL = every one that compares rows */
    int64_t shape[2]; /* rows, vocab */
    void *block;      /* where memory lies */
    float *memory;    /* student, teacher, gradient */
    int32_t *labels;
    json_t *table, *losses; /* what there is; the results by name */
} loss_bench;

static int64_t logits_of(const loss_bench *l) { return l->shape[0] * l->shape[1]; }

/* ---- tensors ---- */

static distill_tensor matrix(loss_bench *l, int64_t index)
{
    return (distill_tensor){.data = l->memory + index * logits_of(l),
                            .device_type = DISTILL_CPU,
                            .ndim = 2,
                            .dtype_code = DISTILL_FLOAT,
                            .dtype_bits = 32,
                            .dtype_lanes = 1,
                            .shape = l->shape};
}

/* Logits as models have them: a bell of a few nats. */
static void fill_logits(float *out, int64_t count, uint64_t state)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            sum += (double)(state >> 40) / 16777216.0 - 0.5;
        }
        out[i] = (float)(4 * sum);
    }
}

/* In large pages, as the memory is that the limit is measured on. */
static void make_tensors(loss_bench *l)
{
    const size_t bytes = (size_t)logits_of(l) * 3 * sizeof *l->memory;
    uint8_t *block = cli_memory(NULL, bytes + PAGE);
    l->block = block;
    l->memory = (float *)(void *)(block + (PAGE - (uintptr_t)block % PAGE) % PAGE);
#ifdef MADV_HUGEPAGE
    (void)madvise(l->memory, bytes, MADV_HUGEPAGE);
#endif
    l->labels = cli_memory(NULL, (size_t)l->shape[0] * sizeof *l->labels);
    bench_fill_ids(l->labels, l->shape[0], l->shape[1]);
    fill_logits(l->memory, logits_of(l), 1);
    fill_logits(l->memory + logits_of(l), logits_of(l), 2);
    memset(l->memory + 2 * logits_of(l), 0, bytes / 3);
}

/* ---- one loss ---- */

static int time_loss(loss_bench *l, const char *type, double *median)
{
    cli_session *s = &l->b.session;
    distill_loss *loss = NULL;
    double seconds[TIMES];
    distill_tensor student = matrix(l, 0), teacher = matrix(l, 1), gradient = matrix(l, 2), ids = student;
    distill_target q, p;
    distill_loss_args args;
    DISTILL_INIT(&q);
    DISTILL_INIT(&p);
    DISTILL_INIT(&args);
    q.kind = p.kind = DISTILL_DENSE;
    q.values = &student;
    p.values = &teacher;
    args.student = &q;
    args.teacher = &p;
    args.labels = &ids;
    args.grad_values = &gradient;
    ids.data = l->labels;
    ids.ndim = 1;
    ids.dtype_code = DISTILL_INT;
    int32_t rc = distill_loss_create(s->env, type, s->options, &loss, &s->err);
    for (int i = 0; !rc && i < TIMES; i++) {
        double begin = bench_seconds();
        rc = distill_loss_eval(loss, &args, &s->err);
        seconds[i] = bench_seconds() - begin;
    }
    distill_loss_free(loss);
    *median = bench_median(seconds, rc ? 0 : TIMES);
    return rc ? cli_fail(&s->err) : -1;
}

/* What must pass through memory: logits of both sides, where it reads both, and the gradient. */
static double bytes_of(const loss_bench *l, const char *type)
{
    const char *targets = json_string_value(json_object_get(json_object_get(l->table, type), "targets"));
    return (double)logits_of(l) * (targets && !*targets ? 8 : 12);
}

static int add_loss(loss_bench *l, const char *type)
{
    double seconds = 0;
    int code = time_loss(l, type, &seconds);
    if (code >= 0) return code;
    json_object_set_new(l->losses, type,
                        json_pack("{s:f, s:f, s:f, s:f}", "seconds", seconds, "rows_per_second",
                                  (double)l->shape[0] / seconds, "ns_per_logit", 1e9 * seconds / (double)logits_of(l),
                                  "bytes_per_second", bytes_of(l, type) / seconds));
    return -1;
}

/* ---- all ---- */

static int read_table(loss_bench *l)
{
    json_t *library = NULL;
    int code = bench_describe_library(&l->b, &library);
    if (code < 0) l->table = json_incref(json_object_get(library, "loss_table"));
    json_decref(library);
    return code;
}

static int add_losses(loss_bench *l)
{
    const char *name;
    json_t *entry;
    int64_t done = 0;
    int code = -1;
    l->losses = json_object();
    if (l->type) return add_loss(l, l->type);
    json_object_foreach(l->table, name, entry)
    {
        if (code < 0) code = add_loss(l, name);
        cli_progress_share(&l->b.progress, "losses", ++done, (int64_t)json_object_size(l->table));
    }
    return code;
}

/* Measured behind the losses, and so put in behind them. */
static json_t *result_of(loss_bench *l)
{
    const double stream = bench_limit(&l->b, "stream", "bytes_per_second");
    const char *name;
    json_t *entry, *result = json_pack("{s:I, s:I}", "rows", (json_int_t)l->shape[0], "vocab", (json_int_t)l->shape[1]);
    json_object_foreach(l->losses, name, entry) json_object_set_new(
        entry, "of_streaming", bench_share(json_number_value(json_object_get(entry, "bytes_per_second")), stream));
    json_object_set(result, "losses", l->losses);
    json_object_set(result, "limits", l->b.limits);
    return result;
}

int bench_loss(const cli_command *command, int argc, char **argv)
{
    static const char *const own[] = {"loss.type", "--type", NULL};
    loss_bench l = {.shape = {256, 32000}};
    cli_settings settings = {.reads = " loss compute ", .own = own};
    json_t *result = NULL;
    const cli_option options[] = {{"--type", CLI_TEXT, &l.type, NULL},
                                  {"--rows", CLI_INT, &l.shape[0], NULL},
                                  {"--vocab", CLI_INT, &l.shape[1], NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &l.b.as_json, NULL}};
    int code = cli_parse(command, options, 5, argc, argv, NULL, 0);
    if (code >= 0) return code;
    if (l.shape[0] < 1 || l.shape[1] < 2 || l.shape[0] > 1 << 20 || l.shape[1] > 1 << 24 || logits_of(&l) > 1 << 29)
        return cli_usage(command, "--rows is 1 to 1048576, --vocab 2 to 16777216, together at most 536870912 logits");
    code = bench_open(&l.b, command, &settings);
    if (code < 0) code = read_table(&l);
    if (code < 0) make_tensors(&l);
    if (code < 0) code = add_losses(&l);
    free(l.block);
    free(l.labels);
    if (code < 0) code = bench_measure_limits(&l.b);
    if (code < 0) result = result_of(&l);
    json_decref(l.table);
    json_decref(l.losses);
    return bench_close(&l.b, code, result);
}
