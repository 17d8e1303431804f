/* Everything a host can give the library itself: a loss, a teacher, a student, a data set, progress, memory. */
#include <sys/stat.h>

#include "small.h"

/* ---- loss: squared Hellinger distance, 1 - sum sqrt(p q) ---- */

typedef struct hellinger {
    int calls, destroyed, wrong;
    int32_t answer; /* what eval returns instead of computing; 0 = compute */
} hellinger;

static int32_t hellinger_eval(void *user, const distill_loss_rows *rows)
{
    hellinger *h = user;
    h->calls++;
    if (h->answer) return h->answer;
    if (rows->vocab != SMALL_VOCAB || !rows->teacher || rows->rows < 1 || rows->temperature <= 0) h->wrong++;
    for (int64_t r = 0; r < rows->rows; r++) {
        const float *q = rows->student + r * rows->vocab, *p = rows->teacher + r * rows->vocab;
        double affinity = 0;
        for (int64_t i = 0; i < rows->vocab; i++) {
            double root = exp(0.5 * ((double)p[i] + q[i]));
            affinity += root;
            if (rows->gradient) rows->gradient[r * rows->vocab + i] = (float)(-0.5 * root);
        }
        if (rows->value[r] != 0) h->wrong++;
        rows->value[r] = 1 - affinity;
    }
    return DISTILL_CB_OK;
}

static void hellinger_destroy(void *user) { ((hellinger *)user)->destroyed++; }

static distill_loss_callbacks hellinger_table(hellinger *h)
{
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_LOG_PROBS;
    table.user = h;
    table.destroy = hellinger_destroy;
    table.eval = hellinger_eval;
    table.targets = (1 << DISTILL_DENSE) | (1 << DISTILL_HIDDEN);
    return table;
}

static distill_tensor matrix(float *data, const int64_t *shape)
{
    distill_tensor t = {data, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    return t;
}

/* The value against its formula, the gradient against differences of the value. */
TEST(loss_values)
{
    enum { ROWS = 3 };
    small s = {0};
    distill_error err;
    hellinger h = {0};
    distill_loss *loss = NULL;
    float z[ROWS * SMALL_VOCAB], y[ROWS * SMALL_VOCAB], g[ROWS * SMALL_VOCAB];
    int64_t shape[2] = {ROWS, SMALL_VOCAB};
    uint32_t state = 5;
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    distill_loss_callbacks table = hellinger_table(&h);
    REQUIRE_OK(distill_env_add_loss(s.env, "hellinger", &table, &err));
    REQUIRE_OK(distill_loss_create(s.env, "hellinger", s.options, &loss, &err));
    for (int i = 0; i < ROWS * SMALL_VOCAB; i++) {
        z[i] = (float)(small_random(&state) % 4000) / 1000 - 2;
        y[i] = (float)(small_random(&state) % 4000) / 1000 - 2;
    }
    distill_tensor student_values = matrix(z, shape), teacher_values = matrix(y, shape), gradient = matrix(g, shape);
    distill_target student, teacher;
    distill_loss_args args;
    DISTILL_INIT(&student);
    DISTILL_INIT(&teacher);
    DISTILL_INIT(&args);
    student.kind = teacher.kind = DISTILL_DENSE;
    student.values = &student_values;
    teacher.values = &teacher_values;
    args.student = &student;
    args.teacher = &teacher;
    args.grad_values = &gradient;
    REQUIRE_OK(distill_loss_eval(loss, &args, &err));
    double want = 0;
    for (int r = 0; r < ROWS; r++) {
        double zs = 0, ys = 0, affinity = 0;
        for (int i = 0; i < SMALL_VOCAB; i++) {
            zs += exp(z[r * SMALL_VOCAB + i]);
            ys += exp(y[r * SMALL_VOCAB + i]);
        }
        for (int i = 0; i < SMALL_VOCAB; i++)
            affinity += sqrt(exp(z[r * SMALL_VOCAB + i]) / zs * exp(y[r * SMALL_VOCAB + i]) / ys);
        want += 1 - affinity;
    }
    CHECK_NEAR(args.sum, want, 1e-6);
    CHECK_INT(args.count, ROWS);
    args.grad_values = NULL;
    for (int i = 7; i < ROWS * SMALL_VOCAB; i += 23) {
        float kept = z[i];
        z[i] = kept + 0.01f;
        CHECK_OK(distill_loss_eval(loss, &args, &err));
        double up = args.sum;
        z[i] = kept - 0.01f;
        CHECK_OK(distill_loss_eval(loss, &args, &err));
        z[i] = kept;
        CHECK_NEAR(g[i], (up - args.sum) / 0.02, 1e-5);
    }
    CHECK_INT(h.wrong, 0);
    distill_env_free(s.env); /* the loss keeps what it needs */
    s.env = NULL;
    CHECK_OK(distill_loss_eval(loss, &args, &err));
    CHECK_INT(h.destroyed, 0);
    distill_loss_free(loss);
    distill_options_free(s.options);
    s.options = NULL;
    CHECK_INT(h.destroyed, 1);
}

static int32_t open_with_loss(small *s, hellinger *h, const char *fallback, const char *yaml, distill_error *err)
{
    int32_t rc = small_parts(s, NULL, yaml, err);
    distill_loss_callbacks table = hellinger_table(h);
    table.fallback = fallback;
    if (!rc) rc = distill_env_add_loss(s->env, "hellinger", &table, err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

TEST(loss_trains)
{
    small s;
    distill_error err;
    hellinger h = {0};
    distill_progress p;
    double first = 0;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(open_with_loss(&s, &h, NULL, "loss: hellinger\ntrain: {steps: 100, learning_rate: 0.02}\n", &err));
    DISTILL_INIT(&p);
    for (int i = 0; i < 100; i++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        if (!i) first = p.loss;
    }
    CHECK(p.loss < 0.85 * first);
    CHECK(h.calls >= 200);
    CHECK_INT(h.wrong, 0);
    CHECK_INT(h.destroyed, 0);
    small_close(&s);
    CHECK_INT(h.destroyed, 1);
}

TEST(loss_answers)
{
    small s, plain;
    distill_error err;
    REQUIRE(small_models("callbacks"));
    hellinger h = {0};
    REQUIRE_OK(open_with_loss(&s, &h, "forward_kl", "loss: hellinger\n", &err));
    REQUIRE_OK(small_open(&plain, NULL, &err));
    REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err)); /* one of its own ... */
    CHECK(!small_same_bits(s.student, plain.student));
    small_close(&s);
    CHECK_INT(h.destroyed, 1);
    h = (hellinger){.answer = DISTILL_CB_DEFAULT};
    REQUIRE_OK(open_with_loss(&s, &h, "forward_kl", "loss: hellinger\n", &err));
    for (int i = 0; i < 3; i++) { /* ... and the fallback, which is what forward_kl is */
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(distill_trainer_step(s.trainer, &a, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 1e-6);
    }
    CHECK(small_distance(s.student, plain.student) <= 1e-5);
    small_close(&plain);
    static const struct {
        int32_t answer, code;
    } answers[] = {{DISTILL_CB_CANCEL, DISTILL_E_CANCELLED},
                   {DISTILL_CB_END, DISTILL_E_CALLBACK},
                   {77, DISTILL_E_CALLBACK},
                   {-5, DISTILL_E_CALLBACK}};
    REQUIRE_OK(small_parts(&plain, NULL, NULL, &err));
    small_close(&s);
    h = (hellinger){0};
    REQUIRE_OK(open_with_loss(&s, &h, NULL, "loss: hellinger\n", &err));
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        h.answer = answers[i].answer;
        CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), answers[i].code);
        CHECK_HAS(err.message, "hellinger");
        if (answers[i].code == DISTILL_E_CALLBACK) CHECK_INT(err.user_code, answers[i].answer);
        CHECK(small_same_bits(s.student, plain.student)); /* a step that fails changes nothing */
    }
    h.answer = DISTILL_CB_DEFAULT;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CALLBACK);
    CHECK_HAS(err.message, "fallback");
    h.answer = 0;
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    small_close(&s);
    small_close(&plain);
    CHECK_INT(h.destroyed, 1);
}

/* destroy runs once when the table is refused or dropped. */
TEST(loss_destroy)
{
    small s = {0};
    distill_error err;
    hellinger h = {0}, second = {0}, refused[6] = {{0}};
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    distill_loss_callbacks table = hellinger_table(&refused[0]);
    CHECK_INT(distill_env_add_loss(s.env, "forward_kl", &table, &err), DISTILL_E_INVALID);
    table = hellinger_table(&refused[1]);
    table.eval = NULL;
    CHECK_INT(distill_env_add_loss(s.env, "x", &table, &err), DISTILL_E_INVALID);
    table = hellinger_table(&refused[2]);
    table.flags = 1u << 30;
    CHECK_INT(distill_env_add_loss(s.env, "x", &table, &err), DISTILL_E_INVALID);
    table = hellinger_table(&refused[3]);
    table.fallback = "nothing";
    CHECK_INT(distill_env_add_loss(s.env, "x", &table, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "nothing");
    table = hellinger_table(&refused[4]);
    CHECK_INT(distill_env_add_loss(s.env, NULL, &table, &err), DISTILL_E_INVALID);
    table = hellinger_table(&refused[5]);
    CHECK_INT(distill_env_add_loss(NULL, "x", &table, &err), DISTILL_E_INVALID);
    for (int i = 0; i < 6; i++)
        if (refused[i].destroyed != 1) FAIL("refused table %d: destroyed %d times", i, refused[i].destroyed);
    table = hellinger_table(&h);
    CHECK_OK(distill_env_add_loss(s.env, "hellinger", &table, &err));
    table = hellinger_table(&second);
    CHECK_INT(distill_env_add_loss(s.env, "hellinger", &table, &err), DISTILL_E_INVALID); /* a name is given once */
    CHECK_HAS(err.message, "loss hellinger is registered already");
    CHECK_INT(h.destroyed, 0);
    CHECK_INT(second.destroyed, 1);
    small_close(&s);
    CHECK_INT(h.destroyed, 1);
}

/* ---- teacher ---- */

typedef struct guest {
    const distill_teacher *real;
    float *logits; /* of the whole batch */
    int64_t calls, next_row, batch_rows;
    int destroyed, wrong;
    int32_t answer;
} guest;

static int32_t guest_score(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count,
                           distill_target *out)
{
    guest *g = user;
    g->calls++;
    if (g->answer) return g->answer;
    if (first_row == 0) {
        int64_t shape[2] = {batch->row_count, SMALL_VOCAB};
        free(g->logits);
        g->logits = malloc(sizeof(float) * (size_t)(shape[0] * shape[1]));
        distill_tensor values = matrix(g->logits, shape);
        distill_target target;
        DISTILL_INIT(&target);
        target.kind = DISTILL_DENSE;
        target.values = &values;
        if (!g->logits || distill_teacher_score(g->real, batch, &target, NULL)) return 9;
        g->next_row = 0;
        g->batch_rows = batch->row_count;
    }
    if (first_row != g->next_row || first_row + row_count > g->batch_rows) g->wrong++;
    if (out->kind != DISTILL_DENSE || !out->values || out->values->shape[0] != row_count ||
        out->values->shape[1] != SMALL_VOCAB) {
        g->wrong++;
        return 8;
    }
    int64_t stride = out->values->strides ? out->values->strides[0] : SMALL_VOCAB;
    for (int64_t r = 0; r < row_count; r++)
        memcpy((float *)out->values->data + r * stride, g->logits + (first_row + r) * SMALL_VOCAB,
               sizeof(float) * SMALL_VOCAB);
    g->next_row = first_row + row_count;
    return DISTILL_CB_OK;
}

static void guest_destroy(void *user)
{
    guest *g = user;
    free(g->logits);
    g->logits = NULL;
    g->destroyed++;
}

static int32_t guest_open(small *s, guest *g, distill_teacher **out, distill_error *err)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = matrix(NULL, shape);
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = g;
    table.destroy = guest_destroy;
    table.score = guest_score;
    table.form = &form;
    return distill_teacher_from_callbacks(s->env, &table, s->options, out, err);
}

TEST(teacher)
{
    small s, plain;
    distill_error err;
    guest g = {0};
    distill_teacher *wrapped = NULL;
    int64_t number = 0;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_open(&plain, NULL, &err));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    g.real = s.teacher;
    REQUIRE_OK(guest_open(&s, &g, &wrapped, &err));
    CHECK_OK(distill_teacher_get_i64(wrapped, "vocab_size", &number, &err));
    CHECK_INT(number, SMALL_VOCAB);
    REQUIRE_OK(distill_trainer_create(s.env, wrapped, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    distill_teacher_free(wrapped); /* the trainer holds it */
    for (int i = 0; i < 6; i++) {
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(distill_trainer_step(s.trainer, &a, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 1e-6);
    }
    CHECK(small_distance(s.student, plain.student) <= 1e-5);
    CHECK_INT(g.wrong, 0);
    CHECK(g.calls >= 12);
    CHECK_INT(g.destroyed, 0);
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    CHECK_INT(g.destroyed, 1);
    small_close(&s);
    small_close(&plain);
}

TEST(teacher_answers)
{
    small s, plain;
    distill_error err;
    guest g = {0};
    distill_teacher *wrapped = NULL;
    distill_teacher_callbacks empty;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_parts(&plain, NULL, NULL, &err));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    g.real = s.teacher;
    REQUIRE_OK(guest_open(&s, &g, &wrapped, &err));
    REQUIRE_OK(distill_trainer_create(s.env, wrapped, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    g.answer = DISTILL_CB_CANCEL;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CANCELLED);
    g.answer = 42;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, 42);
    CHECK(small_same_bits(s.student, plain.student));
    g.answer = 0;
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    distill_teacher_free(wrapped);
    small_close(&s);
    CHECK_INT(g.destroyed, 1);
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    g = (guest){0};
    DISTILL_INIT(&empty);
    empty.user = &g;
    empty.destroy = guest_destroy;
    CHECK_INT(distill_teacher_from_callbacks(s.env, &empty, s.options, &wrapped, &err), DISTILL_E_INVALID);
    CHECK_INT(g.destroyed, 1);
    small_close(&s);
    small_close(&plain);
}

/* ---- student: a bigram model, z = W[id] + b, plain gradient descent ---- */

typedef struct bigram {
    float table[SMALL_VOCAB][SMALL_VOCAB], gradient[SMALL_VOCAB][SMALL_VOCAB];
    int32_t previous[4096]; /* id of each row of the last batch */
    int64_t batch_rows;
    int forwards, backwards, applies, discards, saves, loads, destroyed, wrong;
    int64_t last_first, last_count, last_step;
    int32_t apply_answer;
} bigram;

static int32_t bigram_forward(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count,
                              distill_target *out)
{
    bigram *b = user;
    b->forwards++;
    if (first_row == 0) {
        b->batch_rows = batch->row_count;
        for (int64_t r = 0; r < batch->row_count; r++) b->previous[r] = batch->ids[batch->rows[r]];
    }
    if (first_row + row_count > b->batch_rows || out->kind != DISTILL_DENSE) b->wrong++;
    b->last_first = first_row;
    b->last_count = row_count;
    int64_t stride = out->values->strides ? out->values->strides[0] : SMALL_VOCAB;
    for (int64_t r = 0; r < row_count; r++)
        memcpy((float *)out->values->data + r * stride, b->table[b->previous[first_row + r]], sizeof b->table[0]);
    return DISTILL_CB_OK;
}

static int32_t bigram_backward(void *user, int64_t first_row, int64_t row_count, const distill_tensor *gradient)
{
    bigram *b = user;
    b->backwards++;
    if (first_row != b->last_first || row_count != b->last_count || gradient->shape[0] != row_count ||
        gradient->shape[1] != SMALL_VOCAB)
        b->wrong++;
    int64_t stride = gradient->strides ? gradient->strides[0] : SMALL_VOCAB;
    for (int64_t r = 0; r < row_count; r++)
        for (int i = 0; i < SMALL_VOCAB; i++)
            b->gradient[b->previous[first_row + r]][i] += ((const float *)gradient->data)[r * stride + i];
    return DISTILL_CB_OK;
}

static int32_t bigram_discard(void *user)
{
    bigram *b = user;
    b->discards++;
    memset(b->gradient, 0, sizeof b->gradient);
    return DISTILL_CB_OK;
}

static int32_t bigram_apply(void *user, int64_t step, double learning_rate, double scale)
{
    bigram *b = user;
    if (b->apply_answer) return b->apply_answer;
    b->applies++;
    b->last_step = step;
    if (!(scale > 0) || !(learning_rate >= 0)) b->wrong++;
    for (int k = 0; k < SMALL_VOCAB; k++)
        for (int i = 0; i < SMALL_VOCAB; i++) b->table[k][i] -= (float)(learning_rate * scale * 60) * b->gradient[k][i];
    memset(b->gradient, 0, sizeof b->gradient);
    return DISTILL_CB_OK;
}

static int32_t bigram_file(const bigram *b, const char *folder, int writes)
{
    bigram *out = (bigram *)(uintptr_t)b;
    char path[1200];
    snprintf(path, sizeof path, "%s/bigram.bin", folder);
    if (writes) mkdir(folder, 0777);
    FILE *file = fopen(path, writes ? "wb" : "rb");
    if (!file) return 21;
    size_t done = writes ? fwrite(b->table, sizeof b->table, 1, file) : fread(out->table, sizeof out->table, 1, file);
    return fclose(file) == 0 && done == 1 ? DISTILL_CB_OK : 22;
}

static int32_t bigram_save(void *user, const char *folder)
{
    bigram *b = user;
    b->saves++;
    return bigram_file(b, folder, 1);
}

static int32_t bigram_load(void *user, const char *folder)
{
    bigram *b = user;
    b->loads++;
    return bigram_file(b, folder, 0);
}

static void bigram_destroy(void *user) { ((bigram *)user)->destroyed++; }

static int32_t bigram_open(small *s, bigram *b, const char *yaml, distill_error *err)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = matrix(NULL, shape);
    distill_target form;
    distill_student_callbacks table;
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (rc) return rc;
    distill_student_free(s->student);
    s->student = NULL;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = b;
    table.destroy = bigram_destroy;
    table.forward = bigram_forward;
    table.backward = bigram_backward;
    table.apply = bigram_apply;
    table.discard = bigram_discard;
    table.save = bigram_save;
    table.load = bigram_load;
    table.form = &form;
    rc = distill_student_from_callbacks(s->env, &table, s->options, &s->student, err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

TEST(student)
{
    static bigram b, c;
    small s;
    distill_error err;
    distill_progress p;
    double first = 0;
    char path[600];
    REQUIRE(small_models("callbacks"));
    memset(&b, 0, sizeof b);
    const char *yaml = "loss: cross_entropy\ntrain: {steps: 60, learning_rate: 1, schedule: constant}\n";
    REQUIRE_OK(bigram_open(&s, &b, yaml, &err));
    DISTILL_INIT(&p);
    for (int i = 0; i < 40; i++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        if (!i) first = p.loss;
        CHECK_INT(b.last_step, i);
    }
    CHECK_NEAR(first, log(SMALL_VOCAB), 1e-5);
    CHECK(p.loss < 0.7 * first);
    CHECK_INT(b.applies, 40);
    CHECK_INT(b.forwards, b.backwards);
    CHECK(b.forwards >= 80);
    CHECK_INT(b.discards, 0);
    CHECK_INT(b.wrong, 0);
    b.apply_answer = 31;
    c = b;
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, 31);
    CHECK_INT(b.discards, 1);
    CHECK(!memcmp(b.table, c.table, sizeof b.table));
    b.apply_answer = 0;
    snprintf(path, sizeof path, "%s/bigram", small_folder);
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    CHECK_INT(b.saves, 1);
    for (int i = 0; i < 5; i++) CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    c = b;
    CHECK_OK(distill_trainer_load(s.trainer, path, &err));
    CHECK_INT(b.loads, 1);
    CHECK(memcmp(b.table, c.table, sizeof b.table) != 0);
    for (int i = 0; i < 5; i++) CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    CHECK(!memcmp(b.table, c.table, sizeof b.table));
    CHECK_INT(b.last_step, 44);
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    CHECK_INT(b.destroyed, 0);
    small_close(&s);
    CHECK_INT(b.destroyed, 1);
}

/* A window that is given up is discarded, once; the whole run leaves its files. */
TEST(student_run)
{
    static bigram b;
    small s;
    distill_error err;
    distill_forward forward;
    distill_report *report = NULL;
    double value = 0;
    REQUIRE(small_models("callbacks"));
    memset(&b, 0, sizeof b);
    REQUIRE_OK(bigram_open(
        &s, &b,
        small_text("train: {steps: 5, learning_rate: 1}\noutput: {path: '%s/bigram_out', overwrite: true}\n",
                   small_folder),
        &err));
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_INT(forward.micro_batches, 2);
    REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    distill_trainer_cancel(s.trainer, 1);
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_CANCELLED);
    CHECK_INT(b.discards, 1);
    distill_trainer_cancel(s.trainer, 0);
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK_INT(b.applies, 5);
    CHECK_INT(b.wrong, 0);
    CHECK(small_exists(test_path(small_folder, "bigram_out/bigram.bin")));
    CHECK(small_exists(test_path(small_folder, "bigram_out/result.json")));
    REQUIRE_OK(distill_trainer_report(s.trainer, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "student.perplexity", &value, &err));
    CHECK(value > 1 && value < 200);
    distill_report_free(report);
    small_close(&s);
    CHECK_INT(b.destroyed, 1);
}

/* ---- data set ---- */

typedef struct source {
    int32_t ids[SMALL_LENGTH];
    int64_t count, calls, expected; /* expected: the next index of a stream */
    int destroyed, out_of_order;
    int64_t fails_at;
    int32_t answer;
} source;

static int32_t source_get(void *user, int64_t index, distill_sample *out)
{
    source *s = user;
    s->calls++;
    if (index != s->expected) s->out_of_order++;
    if (s->answer && index == s->fails_at) return s->answer;
    if (index >= s->count) return DISTILL_CB_END;
    s->expected = index + 1;
    small_ids(s->ids, SMALL_LENGTH, 100 + (uint32_t)index);
    out->kind = DISTILL_SAMPLE_TOKENS;
    out->ids = s->ids;
    out->count = SMALL_LENGTH;
    return DISTILL_CB_OK;
}

static void source_destroy(void *user) { ((source *)user)->destroyed++; }

static int32_t source_open(small *s, source *from, int64_t count, distill_dataset **out, distill_error *err)
{
    distill_dataset_callbacks table;
    DISTILL_INIT(&table);
    table.user = from;
    table.destroy = source_destroy;
    table.get = source_get;
    table.count = count;
    return distill_dataset_from_callbacks(s->env, &table, NULL, s->options, out, err);
}

/* The same samples through callbacks train bitwise as through from_tokens. */
TEST(dataset)
{
    small s, plain;
    distill_error err;
    source from = {.count = SMALL_SEQUENCES};
    int64_t number = 0;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_open(&plain, NULL, &err));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(source_open(&s, &from, SMALL_SEQUENCES, &s.train, &err));
    CHECK_OK(distill_dataset_get_i64(s.train, "samples", &number, &err));
    CHECK_INT(number, SMALL_SEQUENCES);
    CHECK_OK(distill_dataset_get_i64(s.train, "tokens", &number, &err));
    CHECK_INT(number, SMALL_SEQUENCES * SMALL_LENGTH);
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    for (int i = 0; i < 6; i++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, NULL, &err));
    }
    CHECK(small_same_bits(s.student, plain.student));
    small_close(&s);
    small_close(&plain);
    CHECK_INT(from.destroyed, 1);
}

static void check_ended_early(const distill_trainer *trainer)
{
    distill_report *report = NULL;
    distill_error err;
    double value = 1;
    char text[32768];
    REQUIRE_OK(distill_trainer_report(trainer, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "finished", &value, &err));
    CHECK_NEAR(value, 0, 0);
    CHECK_OK(distill_report_json(report, text, sizeof text, NULL, &err));
    CHECK_HAS(text, "the data ended after 2 of 6 steps");
    distill_report_free(report);
}

TEST(dataset_stream)
{
    small s;
    distill_error err;
    source from = {.count = 10};
    int64_t number = 0;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(source_open(&s, &from, -1, &s.train, &err));
    CHECK_OK(distill_dataset_get_i64(s.train, "tokens", &number, &err));
    CHECK_INT(number, -1);
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    int32_t rc = distill_trainer_step(s.trainer, NULL, &err); /* two samples are left */
    if (rc == DISTILL_OK) rc = distill_trainer_step(s.trainer, NULL, &err);
    CHECK_INT(rc, DISTILL_E_END);
    CHECK_INT(from.out_of_order, 0);
    small_close(&s);
    CHECK_INT(from.destroyed, 1);
    from = (source){.count = 8};
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(source_open(&s, &from, -1, &s.train, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err)); /* a run ends with its stream */
    check_ended_early(s.trainer);
    small_close(&s);
    from = (source){.count = 8};
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    distill_dataset_free(s.eval);
    s.eval = NULL;
    REQUIRE_OK(source_open(&s, &from, -1, &s.eval, &err));
    rc = distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err);
    CHECK_INT(rc, DISTILL_E_UNSUPPORTED); /* not after the last step */
    CHECK_HAS(err.message, "stream");
    small_close(&s);
}

TEST(dataset_answers)
{
    static const struct {
        int32_t answer, code;
    } answers[] = {{DISTILL_CB_CANCEL, DISTILL_E_CANCELLED}, {55, DISTILL_E_CALLBACK}, {DISTILL_CB_END, 0}};
    small s;
    distill_error err;
    REQUIRE(small_models("callbacks"));
    for (int stream = 0; stream < 2; stream++) {
        for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
            source from = {.count = SMALL_SEQUENCES, .fails_at = 3, .answer = answers[i].answer};
            REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
            distill_dataset_free(s.train);
            s.train = NULL;
            int32_t rc = source_open(&s, &from, stream ? -1 : SMALL_SEQUENCES, &s.train, &err);
            if (!rc)
                rc = distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err);
            if (!rc) rc = distill_trainer_step(s.trainer, NULL, &err);
            if (answers[i].code && rc != answers[i].code)
                FAIL("stream %d, answer %d: %d %s", stream, answers[i].answer, rc, err.message);
            if (answers[i].code == DISTILL_E_CALLBACK) CHECK_INT(err.user_code, 55);
            small_close(&s);
            CHECK_INT(from.destroyed, 1);
        }
    }
    source from = {.count = 1};
    distill_dataset *none = NULL;
    distill_dataset_callbacks table;
    REQUIRE_OK(small_env(&s, NULL, NULL, &err));
    DISTILL_INIT(&table);
    table.user = &from;
    table.destroy = source_destroy;
    CHECK_INT(distill_dataset_from_callbacks(s.env, &table, NULL, s.options, &none, &err), DISTILL_E_INVALID);
    CHECK_INT(from.destroyed, 1);
    CHECK(!none);
    small_close(&s);
}

/* ---- progress ---- */

typedef struct inside {
    small *s;
    int calls, wrong, destroyed;
} inside;

static int32_t call_back(void *user, const distill_progress *p)
{
    inside *in = user;
    distill_trainer *t = in->s->trainer;
    distill_error err;
    distill_forward forward;
    const char *name = distill_student_parameter_name(in->s->student, 0);
    in->calls++;
    if (p->phase != DISTILL_PHASE_TRAINING) return DISTILL_CB_OK;
    DISTILL_INIT(&forward);
    if (distill_trainer_step(t, NULL, &err) != DISTILL_E_REENTRANT || !strstr(err.message, "cancel")) in->wrong++;
    if (distill_trainer_run(t, &err) != DISTILL_E_REENTRANT) in->wrong++;
    if (distill_trainer_forward(t, 0, &forward, &err) != DISTILL_E_REENTRANT) in->wrong++;
    if (distill_trainer_save(t, small_folder, &err) != DISTILL_E_REENTRANT) in->wrong++;
    if (distill_trainer_load(t, small_folder, &err) != DISTILL_E_REENTRANT) in->wrong++;
    if (distill_trainer_configure(t, in->s->options, &err) != DISTILL_E_REENTRANT) in->wrong++;
    if (!name) in->wrong++;
    distill_trainer_cancel(t, 0);
    return p->step == 3 ? 66 : DISTILL_CB_OK;
}

static void inside_destroy(void *user) { ((inside *)user)->destroyed++; }

TEST(reentrant)
{
    small s;
    distill_error err;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_open(&s, NULL, &err));
    inside in = {&s, 0, 0, 0}, other = {&s, 0, 0, 0};
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, call_back, &in, inside_destroy, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CALLBACK);
    CHECK_INT(err.user_code, 66);
    CHECK_INT(in.calls, 3);
    CHECK_INT(in.wrong, 0);
    CHECK_INT(in.destroyed, 0);
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, NULL, &other, inside_destroy, &err));
    CHECK_INT(in.destroyed, 1);
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
    CHECK_INT(other.destroyed, 1);
    CHECK_INT(distill_trainer_on_progress(NULL, call_back, &other, inside_destroy, &err), DISTILL_E_INVALID);
    CHECK_INT(other.destroyed, 2);
}

TEST(busy)
{
    small s;
    distill_error err;
    distill_trainer *second = NULL;
    REQUIRE(small_models("callbacks"));
    REQUIRE_OK(small_open(&s, NULL, &err));
    CHECK_INT(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &second, &err),
              DISTILL_E_BUSY);
    CHECK(!second);
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err)); /* the first one still holds it */
    CHECK_INT(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &second, &err),
              DISTILL_E_BUSY);
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    CHECK_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &second, &err));
    distill_trainer_free(second);
    small_close(&s);
}

/* ---- memory ---- */

typedef struct pool {
    /* fails_at: number of the allocation that fails, and all after it; 0 = none */
    int64_t blocks, bytes, count, fails_at;
    int destroyed;
} pool;

static void *pool_alloc(void *user, size_t size, size_t align)
{
    pool *p = user;
    void *out = NULL;
    if (++p->count >= p->fails_at && p->fails_at) return NULL;
    if (posix_memalign(&out, align < sizeof(void *) ? sizeof(void *) : align, size ? size : 1)) return NULL;
    memset(out, 0xa5, size);
    p->blocks++;
    p->bytes += (int64_t)size;
    return out;
}

static void pool_free(void *user, void *ptr, size_t size, size_t align)
{
    pool *p = user;
    (void)align;
    if (!ptr) return;
    p->blocks--;
    p->bytes -= (int64_t)size;
    memset(ptr, 0x5a, size);
    free(ptr);
}

static void pool_destroy(void *user) { ((pool *)user)->destroyed++; }

/* One thread throughout, so that the counters need no lock. */
static int32_t sequence(pool *p, int32_t reload, distill_error *err)
{
    small s;
    distill_allocator allocator;
    distill_report *report = NULL;
    DISTILL_INIT(&allocator);
    allocator.user = p;
    allocator.alloc = pool_alloc;
    allocator.free = pool_free;
    allocator.destroy = pool_destroy;
    int32_t rc = small_parts(&s, &allocator, "loss: {type: forward_kl, hard_label_weight: 0.25}\n", err);
    if (!rc) rc = distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, err);
    if (!rc) rc = distill_trainer_step(s.trainer, NULL, err);
    if (!rc) rc = distill_trainer_save(s.trainer, test_path(small_folder, "memory"), err);
    if (!rc && reload) rc = distill_trainer_load(s.trainer, test_path(small_folder, "memory"), err);
    if (!rc) rc = distill_trainer_report(s.trainer, &report, err);
    distill_report_free(report);
    small_close(&s);
    return rc;
}

TEST(memory)
{
    pool p = {0};
    distill_error err;
    REQUIRE(small_models("callbacks"));
    CHECK_OK(sequence(&p, 1, &err));
    CHECK(p.count > 100);
    CHECK_INT(p.blocks, 0);
    CHECK_INT(p.bytes, 0);
    CHECK_INT(p.destroyed, 1);
    p = (pool){0};
    CHECK_OK(sequence(&p, 1, &err));
    int64_t total = p.count, stride = 1;
    for (int64_t n = 1; n <= total; n += stride) {
        p = (pool){.fails_at = n};
        int32_t rc = sequence(&p, 1, &err);
        if (rc != DISTILL_E_NOMEM)
            FAIL("allocation %lld of %lld failed: %d %s", (long long)n, (long long)total, rc, err.message);
        if (p.blocks || p.bytes || p.destroyed != 1)
            FAIL("allocation %lld of %lld failed: %lld blocks of %lld bytes are left, destroyed %d", (long long)n,
                 (long long)total, (long long)p.blocks, (long long)p.bytes, p.destroyed);
        if (n >= 60) stride = 1 + total / 240;
    }
}

/* A step allocates nothing. */
TEST(steady)
{
    pool p = {0};
    small s;
    distill_error err;
    distill_allocator allocator;
    REQUIRE(small_models("callbacks"));
    DISTILL_INIT(&allocator);
    allocator.user = &p;
    allocator.alloc = pool_alloc;
    allocator.free = pool_free;
    REQUIRE_OK(small_parts(&s, &allocator, NULL, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    int64_t count = p.count;
    for (int i = 0; i < 3; i++) CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    CHECK_INT(p.count, count);
    small_close(&s);
    CHECK_INT(p.blocks, 0);
}

/* Draws of two ids, without the entropy of what they were drawn from. */
static int32_t draws_score(void *user, const distill_batch *batch, int64_t first_row, int64_t row_count,
                           distill_target *out)
{
    (void)user, (void)batch;
    for (int64_t r = 0; r < row_count; r++)
        for (int64_t j = 0; j < 2; j++) {
            ((float *)out->values->data)[2 * r + j] = (float)(1 + j);
            ((int32_t *)out->ids->data)[2 * r + j] = (int32_t)((first_row + r) * 2 + j) % SMALL_VOCAB;
        }
    return DISTILL_CB_OK;
}

/* A run is never told that it had a KL where there was none: what is best, too, is so by its cross-entropy. */
TEST(draws_without_entropy_have_no_kl)
{
    const int64_t shape[2] = {1, 2};
    distill_tensor values = {NULL, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0},
                   ids = {NULL, DISTILL_CPU, 0, 2, DISTILL_INT, 32, 1, shape, NULL, 0};
    distill_teacher_callbacks table;
    distill_target form;
    distill_teacher *teacher = NULL;
    distill_error err;
    char folder[600];
    small s;
    REQUIRE(small_models("callbacks"));
    snprintf(folder, sizeof folder, "%s/draws", small_folder);
    REQUIRE_OK(small_parts(
        &s, NULL,
        small_text("output: {path: '%s', overwrite: true}\ntrain: {eval_every: 2, keep_best: true}\n", folder), &err));
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_SAMPLED;
    form.vocab_valid = SMALL_VOCAB;
    form.values = &values;
    form.ids = &ids;
    table.score = draws_score;
    table.form = &form;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, s.options, &teacher, &err));
    REQUIRE_OK(distill_trainer_create(s.env, teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    char *result = small_read(small_text("%s/result.json", folder), NULL),
         *metrics = small_read(small_text("%s/metrics.jsonl", folder), NULL);
    CHECK_HAS(result, "\"best_by\":\"soft_cross_entropy\"");
    CHECK_HAS(metrics, "\"loss\":\"soft_cross_entropy\"");
    CHECK(result && !strstr(result, "forward_kl\":") && metrics && !strstr(metrics, "forward_kl"));
    free(result);
    free(metrics);
    small_close(&s);
    distill_teacher_free(teacher);
}

TEST_MAIN(TEST_CASE(draws_without_entropy_have_no_kl) TEST_CASE(loss_values) TEST_CASE(loss_trains)
              TEST_CASE(loss_answers) TEST_CASE(loss_destroy) TEST_CASE(teacher) TEST_CASE(teacher_answers)
                  TEST_CASE(student) TEST_CASE(student_run) TEST_CASE(dataset) TEST_CASE(dataset_stream)
                      TEST_CASE(dataset_answers) TEST_CASE(reentrant) TEST_CASE(busy) TEST_CASE(memory)
                          TEST_CASE(steady))
