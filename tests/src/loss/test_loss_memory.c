/* The limit of memory is held, counted at the host's allocator: by every loss, with every kind of head, whatever the
 * threads, and with the same results as without a limit. */
#include "loss_fixture.h"
#include "loss_formulas.h"
#include <stdatomic.h>

enum { R = 70, V = 4999, W = 24, K = 40, LIMIT = 2 << 20 };
static float hidden[R * W], other[R * W], head[V * W], bias[V], weights[R];
static int32_t labels[R], ids[R * K];
static float listed[R * K];

typedef struct meter {
    _Atomic int64_t now, most;
} meter;

static void *take(void *user, size_t size, size_t align)
{
    meter *m = user;
    const int64_t now = atomic_fetch_add(&m->now, (int64_t)size) + (int64_t)size;
    int64_t most = atomic_load(&m->most);
    while (now > most && !atomic_compare_exchange_weak(&m->most, &most, now)) continue;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void give(void *user, void *ptr, size_t size, size_t align)
{
    (void)align;
    atomic_fetch_sub(&((meter *)user)->now, (int64_t)size);
    free(ptr);
}

static void open_metered(fixture *f, meter *m, int64_t threads)
{
    const dk_allocator allocator = {.user = m, .alloc = take, .free = give};
    memset(f, 0, sizeof *f);
    if (dk_host_create(&allocator, &f->host, &f->err) ||
        dk_host_set_threads(f->host, threads, NULL, NULL, NULL, &f->err) ||
        dk_backend_cpu(f->host, &f->backend, &f->err) || di_registry_create(f->host, &f->registry, &f->err) ||
        di_options_create(f->host, &f->options, &f->err)) {
        fprintf(stderr, "%s\n", f->err.message);
        exit(3);
    }
}

enum { BIASED = 1, FROZEN = 2, NO_GRADIENT = 4, LISTED = 8, PADDED = 16 }; /* kinds of head and teacher */
typedef struct form {
    const char *name;
    double scale, cap;
    int kind;
    int64_t rows;
} form;

typedef struct call { /* hidden states, and heads on both sides */
    distill_tensor hidden, other, head, bias, labels, weights, ids, values;
    distill_tensor grad_hidden, grad_head, grad_bias;
    distill_target student, teacher;
    distill_loss_args args;
    int64_t shape[2], head_shape[2], ids_shape[2];
} call;

typedef struct result {
    double sum;
    float *hidden, *head, *bias;
} result;

static void set_call(call *c, const form *of, result *out)
{
    memset(c, 0, sizeof *c);
    c->shape[0] = c->ids_shape[0] = of->rows;
    c->shape[1] = c->head_shape[1] = W;
    c->head_shape[0] = V;
    c->ids_shape[1] = K;
    c->hidden = di_tensor_of(hidden, DISTILL_FLOAT, 32, 2, c->shape);
    c->other = di_tensor_of(other, DISTILL_FLOAT, 32, 2, c->shape);
    c->head = di_tensor_of(head, DISTILL_FLOAT, 32, 2, c->head_shape);
    c->bias = di_tensor_of(bias, DISTILL_FLOAT, 32, 1, c->head_shape);
    c->labels = di_tensor_of(labels, DISTILL_INT, 32, 1, c->shape);
    c->weights = di_tensor_of(weights, DISTILL_FLOAT, 32, 1, c->shape);
    c->ids = di_tensor_of(ids, DISTILL_INT, 32, 2, c->ids_shape);
    c->values = di_tensor_of(listed, DISTILL_FLOAT, 32, 2, c->ids_shape);
    c->grad_hidden = di_tensor_of(out->hidden, DISTILL_FLOAT, 32, 2, c->shape);
    c->grad_head = di_tensor_of(out->head, DISTILL_FLOAT, 32, 2, c->head_shape);
    c->grad_bias = di_tensor_of(out->bias, DISTILL_FLOAT, 32, 1, c->head_shape);
    DISTILL_INIT(&c->student);
    DISTILL_INIT(&c->teacher);
    DISTILL_INIT(&c->args);
    c->student.kind = c->teacher.kind = DISTILL_HIDDEN;
    c->student.values = &c->hidden;
    c->teacher.values = &c->other;
    c->student.head = c->teacher.head = &c->head;
    c->student.logit_scale = of->scale;
    c->student.softcap = of->cap;
    if (of->kind & BIASED) c->student.bias = &c->bias;
    if (of->kind & PADDED) c->teacher.vocab_valid = V - 100;
    if (of->kind & LISTED) {
        c->teacher.kind = DISTILL_TOPK;
        c->teacher.temperature = 1.5;
        c->teacher.head = NULL;
        c->teacher.values = &c->values;
        c->teacher.ids = &c->ids;
    }
    c->args.student = &c->student;
    c->args.teacher = &c->teacher;
    c->args.labels = &c->labels;
    c->args.weights = &c->weights;
    if (of->kind & NO_GRADIENT) return;
    c->args.grad_values = &c->grad_hidden;
    if (!(of->kind & FROZEN)) c->args.grad_head = &c->grad_head;
    if (of->kind & BIASED) c->args.grad_bias = &c->grad_bias;
}

static void open_result(result *out)
{
    out->hidden = calloc(R * W, sizeof(float));
    out->head = calloc(V * W, sizeof(float));
    out->bias = calloc(V, sizeof(float));
}

static void close_result(result *out)
{
    free(out->hidden);
    free(out->head);
    free(out->bias);
}

static void fill(void)
{
    randomize(hidden, R * W, 1, 1);
    randomize(other, R * W, 1, 2);
    randomize(head, V * W, 0.3, 3);
    randomize(bias, V, 0.3, 4);
    for (int r = 0; r < R; r++) {
        labels[r] = r % 5 == 3 ? -100 : r * 53 % (V - 100);
        weights[r] = r % 7 == 2 ? 0 : 0.5f + (float)(r % 3);
        for (int k = 0; k < K; k++) ids[r * K + k] = k * 97 + r, listed[r * K + k] = (float)log(0.9 / K);
    }
}

/* Twice, because the scratch of products stays with the backend: what the second call takes is the loss's own. */
static double run(fixture *f, meter *m, const di_loss *loss, const form *of, int64_t memory, result *out, int64_t *most)
{
    call c;
    dk_error err;
    for (int i = 0; i < 2; i++) {
        set_call(&c, of, out);
        c.args.memory = memory;
        const int64_t before = m->now;
        m->most = before;
        if (di_loss_eval(f->backend, loss, &c.args, &err)) FAIL("%s: %s", of->name, err.message);
        *most = m->most - before;
        CHECK_INT(m->now - before == 0 || i == 0, 1);
    }
    return out->sum = c.args.sum;
}

static void expect_near(const char *what, const char *yaml, const float *got, const float *want, int64_t n)
{
    double top = 0, off = 0;
    for (int64_t i = 0; i < n; i++) {
        top = test_worst(top, fabs((double)want[i]));
        off = test_worst(off, fabs((double)got[i] - (double)want[i]));
    }
    if (!(off <= 1e-5 * top)) FAIL("%s, %s: gradient off by %.3g of %.3g", what, yaml, off, top);
}

static void compare(const form *of, const char *yaml, const result *got, const result *want)
{
    if (!(fabs(got->sum - want->sum) <= 1e-10 * fabs(want->sum)))
        FAIL("%s, %s: %.15g, not %.15g", of->name, yaml, got->sum, want->sum);
    expect_near(of->name, yaml, got->hidden, want->hidden, R * W);
    expect_near(of->name, yaml, got->head, want->head, V * W);
    expect_near(of->name, yaml, got->bias, want->bias, V);
}

static const form forms[] = {{"a head", 0, 0, 0, R},
                             {"bias, scale and soft-cap", 0.5, 4, BIASED, R},
                             {"scale alone", 2, 0, 0, R},
                             {"a frozen head", 0, 0, FROZEN, R},
                             {"a frozen head and soft-cap", 0, 4, FROZEN, R},
                             {"values alone", 0, 4, NO_GRADIENT, R},
                             {"one row", 0, 4, BIASED, 1},
                             {"a teacher of fewer ids", 0, 0, PADDED, R},
                             {"a teacher that lists ids", 0, 4, LISTED, R}};

static void check_loss(fixture f[2], meter m[2], const char *yaml, int flags, size_t every)
{
    static size_t turn;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const form *of = &forms[i];
        result out[3];
        int64_t most, unbound;
        if ((of->kind & LISTED && !(flags & ON_TOPK)) || (every > 1 && turn++ % every)) continue;
        for (int k = 0; k < 3; k++) open_result(&out[k]);
        for (int k = 0; k < 2; k++) {
            di_loss *loss = make_loss(&f[k], NULL, yaml);
            run(&f[k], &m[k], loss, of, LIMIT, &out[k], &most);
            if (most > LIMIT) FAIL("%s, %s, %d threads: %lld bytes", of->name, yaml, k ? 5 : 1, (long long)most);
            if (k == 0) run(&f[k], &m[k], loss, of, 64 * (int64_t)LIMIT, &out[2], &unbound);
            di_loss_release(loss);
        }
        if (of->rows > 1 && unbound <= LIMIT) FAIL("%s: %lld bytes are no limit", of->name, (long long)unbound);
        compare(of, yaml, &out[0], &out[2]);
        if (out[0].sum != out[1].sum || memcmp(out[0].hidden, out[1].hidden, R * W * sizeof(float)) ||
            memcmp(out[0].head, out[1].head, V * W * sizeof(float)))
            FAIL("%s, %s: other bits with more threads", of->name, yaml);
        for (int k = 0; k < 3; k++) close_result(&out[k]);
    }
}

TEST(every_loss_and_head)
{
    static const char *const sums[] = {
        "{type: jsd, temperature: 1.5, hard_label_weight: 0.5}",
        "[{type: logit_mse, weight: 0.1}, {type: jsd, temperature: 3}, {type: cross_entropy}]"};
    fixture f[2];
    meter m[2] = {{0}};
    fill();
    for (int k = 0; k < 2; k++) open_metered(&f[k], &m[k], k ? 5 : 1);
    for (int k = 0; k < LOSS_CASES; k++) {
        char text[256];
        snprintf(text, sizeof text, "{type: %s%s}", loss_cases[k].yaml,
                 is_at_one(loss_cases[k].yaml) ? "" : ", temperature: 1.5");
        check_loss(f, m, text, loss_cases[k].flags, 3);
    }
    for (int k = 0; k < 2; k++) check_loss(f, m, sums[k], k ? 0 : ON_TOPK, 1);
    for (int k = 0; k < 2; k++) close_fixture(&f[k]);
}

/* A loss of the host's that is not to be called from several threads sees a strip at once, in copies that count. */
static int32_t half_square(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows * rows->vocab; i++) {
        const double d = (double)rows->student[i] - (double)rows->teacher[i];
        rows->value[i / rows->vocab] += d * d / 2;
        if (rows->gradient) rows->gradient[i] = (float)d;
    }
    return DISTILL_CB_OK;
}

static int32_t count_rows(void *user, const distill_loss_rows *rows, double *out)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows; i++) out[i * 9] = 1;
    return DISTILL_CB_OK;
}

TEST(losses_of_the_host)
{
    fixture f[2];
    meter m[2] = {{0}};
    dk_error err;
    fill();
    for (int k = 0; k < 2; k++) {
        distill_loss_callbacks table;
        DISTILL_INIT(&table);
        table.eval = half_square;
        table.targets = 1 << DISTILL_DENSE;
        open_metered(&f[k], &m[k], k ? 5 : 1);
        CHECK_OK(di_registry_add(f[k].registry, "serial", &table, &err));
        table.flags = DISTILL_LOSS_MT;
        CHECK_OK(di_registry_add(f[k].registry, "parallel", &table, &err));
        table.measure = count_rows;
        table.sums = 9;
        CHECK_OK(di_registry_add(f[k].registry, "measuring", &table, &err));
    }
    check_loss(f, m, "serial", 0, 1);
    check_loss(f, m, "parallel", 0, 1);
    check_loss(f, m, "[{type: measuring}, {type: jsd}, {type: measuring, temperature: 2}]", 0, 1);
    check_loss(f, m, "[{type: serial}, {type: forward_kl, temperature: 2}]", 0, 1);
    for (int k = 0; k < 2; k++) close_fixture(&f[k]);
}

/* What is too little for one row is said with what would do, and that does. */
TEST(too_little)
{
    fixture f;
    meter m = {0};
    call c;
    dk_error err;
    result out;
    fill();
    open_metered(&f, &m, 3);
    open_result(&out);
    di_loss *loss = make_loss(&f, NULL, "{type: jsd, hard_label_weight: 0.5}");
    set_call(&c, &forms[1], &out);
    c.args.memory = -1;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "args.memory is -1");
    c.args.memory = 1000;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_OPTION);
    CHECK_HAS(err.message,
              "args.memory of 1000 bytes does not hold one row of logits with what belongs to it; give it at "
              "least ");
    const char *number = strstr(err.message, "at least ");
    c.args.memory = number ? atoll(number + strlen("at least ")) : 0;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    const int64_t before = m.now;
    m.most = before;
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    if (m.most - before > c.args.memory)
        FAIL("%lld bytes, not %lld", (long long)(m.most - before), (long long)c.args.memory);
    CHECK(m.most - before > 3 * V * 4);
    c.args.memory--;
    CHECK_INT(di_loss_eval(f.backend, loss, &c.args, &err), DK_E_OPTION);
    c.args.memory = 1000;
    c.args.struct_size = offsetof(distill_loss_args, memory); /* an older caller's: it has no limit */
    CHECK_OK(di_loss_eval(f.backend, loss, &c.args, &err));
    close_result(&out);
    di_loss_release(loss);
    close_fixture(&f);
}

/* 152,064 ids at width 256 within 64 MiB, where both heads' logits of the rows would be 117 MB; all that is allocated
 * from the first call on. */
TEST(real_size)
{
    enum { ROWS = 96, IDS = 152064, WIDTH = 256 };
    static const double caps[] = {0, 30};
    const int64_t shape[2] = {ROWS, WIDTH}, head_shape[2] = {IDS, WIDTH};
    float *numbers = malloc(sizeof *numbers * IDS * WIDTH), *gradient = malloc(sizeof *gradient * IDS * WIDTH);
    float *x = malloc(sizeof *x * ROWS * WIDTH), *y = malloc(sizeof *y * ROWS * WIDTH),
          *dx = malloc(sizeof *dx * ROWS * WIDTH);
    REQUIRE(numbers && gradient && x && y && dx);
    for (int64_t i = 0; i < IDS * WIDTH; i++) numbers[i] = (float)(i * 7919 % 4007) / 16000 - 0.125f;
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        x[i] = (float)(i * 31 % 2003) / 1000 - 1, y[i] = (float)(i * 37 % 2003) / 1000 - 1;
    for (int k = 0; k < 2; k++) {
        fixture f;
        meter m = {0};
        dk_error err;
        distill_target student, teacher;
        distill_loss_args args;
        const distill_tensor values = di_tensor_of(x, DISTILL_FLOAT, 32, 2, shape),
                             given = di_tensor_of(y, DISTILL_FLOAT, 32, 2, shape),
                             heads = di_tensor_of(numbers, DISTILL_FLOAT, 32, 2, head_shape),
                             grad_values = di_tensor_of(dx, DISTILL_FLOAT, 32, 2, shape),
                             grad_head = di_tensor_of(gradient, DISTILL_FLOAT, 32, 2, head_shape);
        DISTILL_INIT(&student);
        DISTILL_INIT(&teacher);
        DISTILL_INIT(&args);
        student.kind = teacher.kind = DISTILL_HIDDEN;
        student.values = &values;
        teacher.values = &given;
        student.head = teacher.head = &heads;
        student.softcap = caps[k];
        args.student = &student;
        args.teacher = &teacher;
        args.grad_values = &grad_values;
        args.grad_head = &grad_head;
        args.memory = 64 << 20;
        open_metered(&f, &m, 2);
        di_loss *loss = make_loss(&f, NULL, "{type: jsd}");
        const int64_t before = m.now;
        m.most = before;
        CHECK_OK(di_loss_eval(f.backend, loss, &args, &err));
        if (m.most - before > args.memory) FAIL("soft-cap %g: %lld bytes", caps[k], (long long)(m.most - before));
        CHECK(args.sum > 0);
        di_loss_release(loss);
        close_fixture(&f);
    }
    free(numbers);
    free(gradient);
    free(x);
    free(y);
    free(dx);
}

TEST_MAIN(TEST_CASE(every_loss_and_head) TEST_CASE(losses_of_the_host) TEST_CASE(too_little) TEST_CASE(real_size))
