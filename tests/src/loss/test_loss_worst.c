/* Every built-in loss, of whatever kind its teacher is, on the worst of rows: logits of +-1e4, temperatures from 0.05
 * to 100, two ids to 262,144, 16-bit floats with strides, a teacher that excludes ids, masked rows full of NaN. Always
 * finite, never negative where it must not be, 0 where both sides say the same, and a row that cannot be is named. */
#include "compute/half.h"
#include "loss/builtin.h"
#include "loss_fixture.h"
#include "loss_formulas.h"

enum { WIDEST = 262144, MOST = 64, ROWS = 2 }; /* row 1 is masked */
static float z[WIDEST], p[WIDEST], g[ROWS * WIDEST];
static double log_p[WIDEST];
static float listed[ROWS * MOST], beside[ROWS];
static int32_t ids[ROWS * MOST], labels[ROWS] = {0, -1}, first_ids[ROWS];
static union {
    float f32[ROWS * WIDEST];
    uint16_t f16[2 * ROWS * WIDEST];
} stored[2];

static const di_builtin *builtin_of(const char *yaml)
{
    const size_t size = strcspn(yaml, ",");
    for (int64_t i = 0; di_builtin_at(i); i++)
        if (strlen(di_builtin_at(i)->name) == size && !strncmp(di_builtin_at(i)->name, yaml, size))
            return di_builtin_at(i);
    return NULL;
}

/* What is added to the registry is added here, and so tried on all of this. */
TEST(every_loss_of_the_registry_is_tried)
{
    for (int64_t i = 0; di_builtin_at(i); i++) {
        const di_builtin *builtin = di_builtin_at(i);
        int found = builtin->feature || builtin->tool || builtin->pairs; /* test_loss_pairs.c */
        for (int k = 0; k < LOSS_CASES; k++) found |= builtin_of(loss_cases[k].yaml) == builtin;
        if (!found) FAIL("%s has no row in loss_formulas.h", builtin->name);
    }
    for (int k = 0; k < LOSS_CASES; k++)
        if (!builtin_of(loss_cases[k].yaml)) FAIL("%s is not in the registry", loss_cases[k].yaml);
}

/* ---- rows ---- */

enum { FAR_APART, OPPOSITE, EXCLUDED, ONE_LEFT, EVEN, SAME, SURE, SHAPES };

static double within(double x) { return fmax(-1e4, fmin(1e4, x)); }

static void fill(int shape, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double noise = dk_random_normal(11, (uint64_t)shape, (uint64_t)i),
                     other = dk_random_normal(12, 1, (uint64_t)i);
        z[i] = (float)(shape == EVEN ? 0 : within((shape == EXCLUDED || shape == SAME ? 3 : 5e3) * noise));
        p[i] = (float)within(5e3 * other);
        if (shape == OPPOSITE) p[i] = -z[i];
        if (shape == EVEN || shape == SAME) p[i] = z[i];
        if (shape == SURE) z[i] = i == n - 1 ? 1e4f : -1e4f, p[i] = (float)other;
        if ((shape == EXCLUDED && i % 2) || (shape == ONE_LEFT && i != n / 2)) p[i] = -INFINITY;
    }
}

static float through(float x, int32_t code, int32_t bits)
{
    if (bits == 32) return x;
    return code == DISTILL_BFLOAT ? dk_widen_bf16(dk_narrow_bf16(x)) : dk_widen_f16(dk_narrow_f16(x));
}

/* [ROWS, n] of which the second is NaN; narrow ones lie every other. */
static distill_tensor lay(const float *values, int which, int64_t n, int32_t code, int32_t bits, int64_t shape[2],
                          int64_t strides[2])
{
    shape[0] = ROWS;
    shape[1] = n;
    for (int64_t i = 0; i < ROWS * n; i++) {
        const float x = i < n ? values[i] : NAN;
        if (bits == 32) stored[which].f32[i] = x;
        else stored[which].f16[2 * i] = code == DISTILL_BFLOAT ? dk_narrow_bf16(x) : dk_narrow_f16(x);
        if (bits != 32) stored[which].f16[2 * i + 1] = 0x7fff; /* NaN */
    }
    distill_tensor made = di_tensor_of(&stored[which], code, bits, 2, shape);
    strides[0] = 2 * n;
    strides[1] = 2;
    if (bits != 32) made.strides = strides;
    return made;
}

/* ---- what the teacher says of the row ---- */

typedef struct trial {
    const char *yaml;
    int flags, kind, shape;
    int64_t n, k;
    double temperature;
    int32_t code, bits;
    dense_call c;
    distill_tensor values, ids, beside;
    int64_t listed_shape[2], shapes[2][2], strides[2][2];
} trial;

static int64_t next_best(int64_t n, int64_t before)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        const int later = before < 0 || log_p[i] < log_p[before] || (log_p[i] == log_p[before] && i > before);
        if (later && (best < 0 || log_p[i] > log_p[best])) best = i;
    }
    return best;
}

/* log of the mass outside of the k ids */
static double log_rest(const trial *t)
{
    static uint8_t is_listed[WIDEST];
    double top = -INFINITY, sum = 0;
    memset(is_listed, 0, (size_t)t->n);
    for (int64_t j = 0; j < t->k; j++) is_listed[ids[j]] = 1;
    for (int64_t i = 0; i < t->n; i++)
        if (!is_listed[i]) top = fmax(top, log_p[i]);
    for (int64_t i = 0; i < t->n && top > -INFINITY; i++)
        if (!is_listed[i]) sum += exp(log_p[i] - top);
    return fmin(top + log(sum), 0);
}

static void list_best(trial *t)
{
    int64_t at = -1;
    for (int64_t j = 0; j < t->k; j++) {
        at = next_best(t->n, at);
        ids[j] = (int32_t)at;
        listed[j] = t->kind == DISTILL_SAMPLED ? (float)(j + 1) : (float)log_p[at];
        ids[t->k + j] = 0;
        listed[t->k + j] = NAN;
    }
    beside[0] = (float)log_rest(t);
    beside[1] = NAN;
}

static void set_teacher(trial *t)
{
    memcpy(t->listed_shape, (int64_t[2]){ROWS, t->k}, sizeof t->listed_shape);
    t->c.teacher.kind = t->kind;
    if (t->kind == DISTILL_DENSE) return;
    t->c.teacher.temperature = t->temperature;
    t->c.teacher.values = NULL;
    if (t->kind == DISTILL_ONE_HOT) {
        t->ids = di_tensor_of(first_ids, DISTILL_INT, 32, 1, t->listed_shape);
        t->c.teacher.ids = &t->ids;
        return;
    }
    t->values = di_tensor_of(listed, DISTILL_FLOAT, 32, 2, t->listed_shape);
    t->ids = di_tensor_of(ids, DISTILL_INT, 32, 2, t->listed_shape);
    t->beside = di_tensor_of(beside, DISTILL_FLOAT, 32, 1, t->listed_shape);
    t->c.teacher.values = &t->values;
    t->c.teacher.ids = &t->ids;
    if (t->kind == DISTILL_TOPK) t->c.teacher.tail = &t->beside;
}

static void set_trial(trial *t)
{
    set_dense(&t->c, z, ROWS, t->n, p, t->n);
    t->c.student_values = lay(z, 0, t->n, t->code, t->bits, t->shapes[0], t->strides[0]);
    t->c.teacher_values = lay(p, 1, t->n, t->code, t->bits, t->shapes[1], t->strides[1]);
    with_labels(&t->c, labels);
    with_gradient(&t->c, g);
    set_teacher(t);
}

/* ---- what must hold ---- */

static void complain(const trial *t, const char *what, double value)
{
    FAIL("%s, kind %s, %d ids listed, shape %d, n %lld, T %g, %d bits of kind %d: %s %g", t->yaml,
         di_kind_name(t->kind), (int)t->k, t->shape, (long long)t->n, t->temperature, t->bits, t->code, what, value);
}

static int is_same(const trial *t)
{
    if (!(t->flags & SAME_IS_ZERO) || (t->shape != EVEN && t->shape != SAME)) return 0;
    return t->kind == DISTILL_DENSE || t->kind == DISTILL_TOPK;
}

static void check_trial(fixture *f, trial *t, const di_loss *loss)
{
    double steepest = 0;
    dk_error err;
    set_trial(t);
    const int32_t rc = di_loss_eval(f->backend, loss, &t->c.args, &err);
    if (rc == DK_E_NUMERIC && t->flags & OVERFLOWS) { /* powers of p/q: larger than a float, and said so */
        CHECK_HAS(err.message, "row 0");
        return;
    }
    if (rc) {
        complain(t, err.message, rc);
        return;
    }
    const double least = builtin_of(t->yaml)->tool ? -1e-8 * fmax(1, t->temperature * t->temperature)
                                                   : 0; /* DistillKit's bounds of 1 - sum are not the other's */
    if (!isfinite(t->c.args.sum) || t->c.args.sum < least) complain(t, "value", t->c.args.sum);
    if (t->c.args.count != 1) complain(t, "rows", (double)t->c.args.count);
    for (int64_t i = 0; i < ROWS * t->n; i++) {
        if (!isfinite(g[i]) || (i >= t->n && g[i] != 0)) {
            complain(t, "gradient", (double)g[i]);
            return;
        }
        steepest = fmax(steepest, fabs((double)g[i]));
    }
    /* a float log p near -10 is known to 5e-7, and on which side of a corner it lies, not at all */
    const double slack = t->kind == DISTILL_DENSE ? 1e-7 : 1e-5;
    if (is_same(t) && !(t->c.args.sum <= slack)) complain(t, "both say the same, and the value is", t->c.args.sum);
    if (is_same(t) && !(t->flags & KINKED && t->kind == DISTILL_TOPK) && !(steepest <= slack / t->temperature))
        complain(t, "both say the same, and a slope is", steepest);
}

static int may_be(const trial *t, const di_builtin *builtin)
{
    if (t->kind == DISTILL_DENSE) return !builtin->tool || builtin->targets >> DISTILL_DENSE & 1;
    return (builtin->targets >> t->kind & 1) != 0;
}

static const char *const presets[] = {"trl-gkd",
                                      "distillkit",
                                      "distillkit, distillkit.symmetric_uniform: true",
                                      "msswift-topk",
                                      "msswift-topk, msswift_topk.beta: 1",
                                      "verl-trunc"};
enum { PRESETS = sizeof presets / sizeof *presets };

static di_loss *loss_at(fixture *f, const char *yaml, double temperature)
{
    char text[160];
    if (!builtin_of(yaml)->tool) return loss_of(f, yaml, temperature);
    if (builtin_of(yaml)->plain) snprintf(text, sizeof text, "{type: %s}", yaml);
    else snprintf(text, sizeof text, "{type: %s, temperature: %.17g}", yaml, temperature);
    return make_loss(f, NULL, text);
}

/* What was made stays for the rows that follow at the same temperature: reading options takes longer than a row. */
static di_loss *kept[LOSS_CASES + PRESETS];

static void let_go(void)
{
    for (int k = 0; k < LOSS_CASES + PRESETS; k++) {
        di_loss_release(kept[k]);
        kept[k] = NULL;
    }
}

/* All losses that know a temperature, or those that do not, which are at 1. */
static void try_losses(fixture *f, const trial *like, int plain)
{
    for (int k = 0; k < LOSS_CASES + PRESETS; k++) {
        trial t = *like;
        t.yaml = k < LOSS_CASES ? loss_cases[k].yaml : presets[k - LOSS_CASES];
        t.flags = k < LOSS_CASES ? loss_cases[k].flags : 0;
        if ((builtin_of(t.yaml)->plain != 0) != plain || !may_be(&t, builtin_of(t.yaml))) continue;
        if (!kept[k]) kept[k] = loss_at(f, t.yaml, t.temperature);
        check_trial(f, &t, kept[k]);
    }
}

static void try_row(fixture *f, int shape, int64_t n, double temperature, int32_t code, int32_t bits)
{
    static const struct {
        int kind;
        int64_t k;
    } said[] = {{DISTILL_DENSE, 0},   {DISTILL_TOPK, 1},    {DISTILL_TOPK, 2},   {DISTILL_TOPK, 8},
                {DISTILL_SAMPLED, 1}, {DISTILL_SAMPLED, 8}, {DISTILL_ONE_HOT, 1}};
    static double wide[WIDEST];
    fill(shape, n);
    for (int64_t i = 0; i < n; i++) z[i] = through(z[i], code, bits), p[i] = through(p[i], code, bits);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)p[i];
    for (int plain = 0; plain < 2; plain++) {
        softmax64(wide, n, plain ? 1 : temperature, log_p);
        for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
            trial t = {.shape = shape, .n = n, .k = said[i].k, .kind = said[i].kind, .code = code, .bits = bits};
            t.temperature = plain ? 1 : temperature;
            if (t.k > n) continue;
            if (t.kind == DISTILL_TOPK || t.kind == DISTILL_SAMPLED) list_best(&t);
            try_losses(f, &t, plain);
        }
    }
}

TEST(finite_and_never_negative)
{
    static const struct {
        int32_t code, bits;
    } types[] = {{DISTILL_FLOAT, 32}, {DISTILL_BFLOAT, 16}, {DISTILL_FLOAT, 16}};
    static const double temperatures[] = {0.05, 1, 100};
    static const int64_t widths[] = {2, 3, 17, 300};
    fixture f;
    open_fixture(&f);
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (int shape = 0; shape < SHAPES; shape++)
                for (size_t type = 0; type < (t == 1 ? sizeof types / sizeof *types : 1); type++)
                    try_row(&f, shape, widths[w], temperatures[t], types[type].code, types[type].bits);
        let_go();
    }
    close_fixture(&f);
}

/* The largest vocabularies: a few rows. */
TEST(wide_rows)
{
    fixture f;
    open_fixture(&f);
    try_row(&f, OPPOSITE, WIDEST, 0.05, DISTILL_BFLOAT, 16);
    let_go();
    try_row(&f, EXCLUDED, WIDEST, 100, DISTILL_FLOAT, 32);
    let_go();
    try_row(&f, SURE, 151936, 1, DISTILL_FLOAT, 16);
    let_go();
    close_fixture(&f);
}

/* What the target holds possible and the student does not: an error that names the row, whatever says it. */
TEST(a_student_that_excludes_is_named)
{
    enum { N = 17 };
    static const int kinds[] = {DISTILL_TOPK, DISTILL_SAMPLED, DISTILL_ONE_HOT};
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++)
        for (int kind = 0; kind < 3; kind++)
            for (int of_rest = 0; of_rest < 2; of_rest++) {
                trial t = {.yaml = loss_cases[k].yaml,
                           .shape = EVEN,
                           .n = N,
                           .k = kinds[kind] == DISTILL_ONE_HOT ? 1 : 3,
                           .kind = kinds[kind],
                           .temperature = 1,
                           .code = DISTILL_FLOAT,
                           .bits = 32};
                if (!(builtin_of(t.yaml)->targets >> t.kind & 1) || (of_rest && t.kind != DISTILL_TOPK)) continue;
                fill(SAME, N);
                for (int i = 0; i < N; i++) p[i] = (float)dk_random_normal(5, 5, (uint64_t)i);
                double doubles[N];
                for (int i = 0; i < N; i++) doubles[i] = (double)p[i];
                softmax64(doubles, N, 1, log_p);
                if (t.kind != DISTILL_ONE_HOT) list_best(&t);
                for (int i = 0; i < N; i++) {
                    int is_listed = t.kind == DISTILL_ONE_HOT ? i == first_ids[0] : 0;
                    for (int64_t j = 0; t.kind != DISTILL_ONE_HOT && j < t.k; j++) is_listed |= ids[j] == i;
                    if (of_rest ? !is_listed : is_listed) z[i] = -INFINITY;
                }
                di_loss *loss = loss_of(&f, t.yaml, 1);
                set_trial(&t);
                const int32_t rc = di_loss_eval(f.backend, loss, &t.c.args, &err);
                if (rc != DK_E_NUMERIC || !strstr(err.message, "row 0")) complain(&t, rc ? err.message : "taken", rc);
                di_loss_release(loss);
            }
    close_fixture(&f);
}

/* ---- what fp32 does not hold ---- */

static int64_t refused_rows, finite_rows;

/* All that comes back is finite in fp32, or the row is named. */
static void check_held(fixture *f, const trial *t, const di_loss *loss, dense_call *c)
{
    float held[ROWS];
    dk_error err;
    with_rows(c, held);
    const int32_t rc = di_loss_eval(f->backend, loss, &c->args, &err);
    if (rc) {
        refused_rows++;
        if (rc != DK_E_NUMERIC || !strstr(err.message, "row 0")) complain(t, err.message, rc);
        return;
    }
    finite_rows++;
    if (!isfinite(c->args.sum)) complain(t, "value", c->args.sum);
    for (int r = 0; r < ROWS; r++)
        if (!isfinite(held[r])) complain(t, "value of a row", (double)held[r]);
    for (int64_t i = 0; i < ROWS * t->n; i++)
        if (!isfinite(g[i])) {
            complain(t, "gradient", (double)g[i]);
            return;
        }
}

static void fill_large(int64_t n, double size)
{
    for (int64_t i = 0; i < n; i++) {
        z[i] = (float)(size * dk_random_uniform(21, 1, (uint64_t)i) * (i % 2 ? -1 : 1));
        p[i] = (float)(size * dk_random_uniform(22, 1, (uint64_t)i) * (i % 3 ? -1 : 1));
    }
}

/* Logits up to the largest float, and factors that are as large, whatever the loss. */
TEST(every_loss_names_a_row_that_fp32_does_not_hold)
{
    static const double sizes[] = {10, 1e4, 1e20, 3e38}, scales[] = {0, 1e30, 1e38, 1e300};
    static const int64_t widths[] = {3, 300};
    fixture f;
    open_fixture(&f);
    for (int k = 0; k < LOSS_CASES; k++) {
        di_loss *loss = loss_of(&f, loss_cases[k].yaml, 1);
        for (int at = 0; at < 2 * 4 * 4 * 2; at++) {
            float weights[ROWS] = {at / 32 ? 3e38f : 1, 1};
            trial t = {.yaml = loss_cases[k].yaml, .kind = DISTILL_DENSE, .n = widths[at % 2], .temperature = 1};
            t.code = DISTILL_FLOAT;
            t.bits = 32;
            if (!may_be(&t, builtin_of(t.yaml))) t.kind = DISTILL_ONE_HOT;
            fill_large(t.n, sizes[at / 8 % 4]);
            set_trial(&t);
            with_weights(&t.c, weights);
            t.c.args.grad_scale = scales[at / 2 % 4];
            check_held(&f, &t, loss, &t.c);
        }
        di_loss_release(loss);
    }
    CHECK(refused_rows > 50);
    CHECK(finite_rows > 50);
    close_fixture(&f);
}

/* Powers of p/q below 0 are the largest. */
TEST(negative_powers_are_finite_or_name_their_row)
{
    static const double powers[] = {-2, -1, -0.5, -0.1, 0.3, 1, 2}, sizes[] = {20, 40, 60, 80, 85, 90, 100, 400, 800};
    fixture f;
    open_fixture(&f);
    refused_rows = finite_rows = 0;
    for (int a = 0; a < 7; a++)
        for (int b = 0; b < 7; b++) {
            char yaml[96];
            snprintf(yaml, sizeof yaml, "alpha_beta, alpha_beta: {alpha: %g, beta: %g}", powers[a], powers[b]);
            di_loss *loss = loss_of(&f, yaml, 1);
            for (int at = 0; at < 9 * 3; at++) {
                const int64_t n = (int64_t[]){2, 17, 300}[at % 3];
                trial t = {.yaml = yaml, .kind = DISTILL_DENSE, .n = n, .temperature = 1};
                t.code = DISTILL_FLOAT;
                t.bits = 32;
                fill_large(n, sizes[at / 3]);
                set_trial(&t);
                check_held(&f, &t, loss, &t.c);
            }
            di_loss_release(loss);
        }
    CHECK(refused_rows > 50);
    CHECK(finite_rows > 50);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(every_loss_of_the_registry_is_tried) TEST_CASE(finite_and_never_negative) TEST_CASE(wide_rows)
              TEST_CASE(a_student_that_excludes_is_named) TEST_CASE(every_loss_names_a_row_that_fp32_does_not_hold)
                  TEST_CASE(negative_powers_are_finite_or_name_their_row))
