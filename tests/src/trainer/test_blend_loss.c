/* Blends of teachers as losses see them: value and gradient of forward KL against the formula in double, through dense
 * students and through fused heads, at several temperatures. */
#include <math.h>

#include "base/random.h"
#include "loss/loss.h"
#include "teacher/teacher.h"
#include "test.h"

enum { ROWS = 9, VOCAB = 37, WIDTH = 6, MEMBERS = 3 };

static int32_t ids[11] = {1, 5, 9, 3, 28, 0, 7, 1, 2, 4, 6};
static int64_t offsets[3] = {0, 7, 11}, places[ROWS] = {0, 1, 2, 3, 4, 5, 7, 8, 9}, identity[ROWS];

static distill_batch the_batch(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    return batch;
}

/* Logits of member i: a function of row and id alone. */
static float logit(int64_t member, int64_t row, int64_t id)
{
    return (float)(2.5 * dk_random_normal(3, 50 + (uint64_t)member, (uint64_t)(row * VOCAB + id)));
}

typedef struct voice {
    int64_t member, next, calls;
    int32_t twice; /* it is a member twice: two batches go by side by side */
} voice;

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    voice *v = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : VOCAB;
    (void)batch;
    if (!v->twice) CHECK_INT(first, first ? v->next : 0); /* in order, each once */
    v->next = first + count;
    v->calls++;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < VOCAB; i++)
            ((float *)out->values->data)[r * stride + i] = logit(v->member, first + r, i);
    return DISTILL_CB_OK;
}

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_options *options;
    di_teacher *teachers[MEMBERS];
    voice voices[MEMBERS];
    float student[ROWS * VOCAB], hidden[ROWS * WIDTH], head[VOCAB * WIDTH];
} fixture;

static void open_voice(fixture *f, int64_t i)
{
    int64_t shape[1] = {VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    f->voices[i].member = i;
    table.user = &f->voices[i];
    table.score = speak;
    table.form = &form;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &f->teachers[i], NULL)) exit(3);
}

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, NULL) || dk_backend_cpu(f->host, &f->backend, NULL) ||
        di_registry_create(f->host, &f->registry, NULL) || di_options_create(f->host, &f->options, NULL))
        exit(3);
    for (int64_t i = 0; i < MEMBERS; i++) open_voice(f, i);
    for (int64_t i = 0; i < ROWS; i++) identity[i] = i;
    for (uint64_t i = 0; i < ROWS * WIDTH; i++) f->hidden[i] = (float)dk_random_normal(3, 60, i);
    for (uint64_t i = 0; i < VOCAB * WIDTH; i++) f->head[i] = (float)dk_random_normal(3, 61, i);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t v = 0; v < VOCAB; v++) {
            double z = 0;
            for (int64_t w = 0; w < WIDTH; w++) z += (double)f->hidden[r * WIDTH + w] * (double)f->head[v * WIDTH + w];
            f->student[r * VOCAB + v] = (float)z;
        }
}

static void close_fixture(fixture *f)
{
    for (int64_t i = 0; i < MEMBERS; i++) di_teacher_release(f->teachers[i]);
    di_options_free(f->options);
    di_registry_free(f->registry);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

/* ---- the formulas ---- */

typedef struct setting {
    di_blend_settings how;
    double weights[MEMBERS], temperatures[MEMBERS];
} setting;

static void softmax(const double *z, double temperature, double *p)
{
    double top = -INFINITY, sum = 0;
    for (int v = 0; v < VOCAB; v++) top = z[v] > top ? z[v] : top;
    for (int v = 0; v < VOCAB; v++) sum += p[v] = exp((z[v] - top) / temperature);
    for (int v = 0; v < VOCAB; v++) p[v] /= sum;
}

static double entropy(const double *p)
{
    double sum = 0;
    for (int v = 0; v < VOCAB; v++) sum -= p[v] > 0 ? p[v] * log(p[v]) : 0;
    return sum;
}

static double highest(const double *p)
{
    double top = 0;
    for (int v = 0; v < VOCAB; v++) top = p[v] > top ? p[v] : top;
    return top;
}

static int best_of(const double score[MEMBERS], const double weights[MEMBERS])
{
    int best = -1;
    for (int i = 0; i < MEMBERS; i++)
        if (weights[i] > 0 && (best < 0 || score[i] > score[best])) best = i;
    return best;
}

static void blend_row(const setting *s, int64_t row, double temperature, double *out)
{
    double p[MEMBERS][VOCAB], z[VOCAB], weights[MEMBERS], score[MEMBERS], total = 0;
    const int32_t label = ids[places[row] + 1];
    for (int i = 0; i < MEMBERS; i++) {
        for (int v = 0; v < VOCAB; v++) z[v] = (double)logit(i, row, v);
        softmax(z, temperature * (s->temperatures[i] != 0 ? s->temperatures[i] : 1), p[i]);
        weights[i] = s->weights[i];
        if (s->how.weighting == DI_WEIGH_ENTROPY) weights[i] *= exp(-entropy(p[i]) / s->how.softness);
        if (s->how.weighting == DI_WEIGH_LABEL) weights[i] *= exp(p[i][label] / s->how.softness);
        total += weights[i];
        score[i] = s->how.mode == DI_BLEND_MAX_CONFIDENCE ? highest(p[i])
                   : s->how.mode == DI_BLEND_MIN_ENTROPY  ? -entropy(p[i])
                                                          : p[i][label];
    }
    for (int v = 0; v < VOCAB; v++) {
        double linear = 0, product = 0;
        for (int i = 0; i < MEMBERS; i++) {
            linear += weights[i] / total * p[i][v];
            product += weights[i] / total * log(p[i][v]);
        }
        out[v] = s->how.mode == DI_BLEND_LINEAR       ? linear
                 : s->how.mode == DI_BLEND_LOG_LINEAR ? product
                                                      : p[best_of(score, s->weights)][v];
    }
    if (s->how.mode == DI_BLEND_LOG_LINEAR) {
        memcpy(z, out, sizeof z);
        softmax(z, 1, out);
    }
}

/* T^2 KL(p || q) of a row, and its gradient with respect to the student's logits. */
static double row_loss(const fixture *f, const setting *s, int64_t row, double temperature, double *gradient)
{
    double p[VOCAB], q[VOCAB], z[VOCAB], sum = 0;
    blend_row(s, row, temperature, p);
    for (int v = 0; v < VOCAB; v++) z[v] = (double)f->student[row * VOCAB + v];
    softmax(z, temperature, q);
    for (int v = 0; v < VOCAB; v++) {
        if (p[v] > 0) sum += p[v] * (log(p[v]) - log(q[v]));
        gradient[v] = temperature * (q[v] - p[v]);
    }
    return temperature * temperature * sum;
}

/* ---- the library ---- */

typedef struct measured {
    double value[ROWS];
    float gradient[ROWS * VOCAB]; /* of the logits; of a hidden student [ROWS, WIDTH] */
} measured;

static di_teacher *blend_of(fixture *f, const setting *s)
{
    static const char *const names[MEMBERS] = {"a", "b", "c"};
    di_blend_member members[MEMBERS];
    di_teacher *blend = NULL;
    dk_error err;
    for (int i = 0; i < MEMBERS; i++)
        members[i] = (di_blend_member){f->teachers[i], names[i], s->weights[i], s->temperatures[i]};
    CHECK_OK(di_teacher_blend(f->backend, members, MEMBERS, &s->how, &blend, &err));
    return blend;
}

static void run_loss(fixture *f, di_teacher *teacher, const char *yaml, int32_t hidden, measured *out)
{
    int64_t shape[2] = {ROWS, hidden ? WIDTH : VOCAB}, head_shape[2] = {VOCAB, WIDTH};
    distill_tensor values = di_tensor_of(hidden ? f->hidden : f->student, DISTILL_FLOAT, 32, 2, shape),
                   head = di_tensor_of(f->head, DISTILL_FLOAT, 32, 2, head_shape),
                   gradient = di_tensor_of(out->gradient, DISTILL_FLOAT, 32, 2, shape);
    distill_batch batch = the_batch();
    distill_target target;
    di_wrapped *student = NULL;
    di_workspace *workspace = NULL;
    di_session *session = NULL;
    di_loss *loss = NULL;
    di_loss_sums sums = {0};
    dk_error err;
    DISTILL_INIT(&target);
    target.kind = hidden ? DISTILL_HIDDEN : DISTILL_DENSE;
    target.values = &values;
    target.head = hidden ? &head : NULL;
    di_wrapped_spec spec = {.target = &target,
                            .name = "student",
                            .places = identity,
                            .rows = ROWS,
                            .max_count = ROWS,
                            .grad_values = &gradient};
    REQUIRE_OK(di_options_set(f->options, "loss", yaml, &err));
    REQUIRE_OK(di_loss_create(f->registry, NULL, f->options, &loss, &err));
    REQUIRE_OK(di_wrapped_create(f->backend, &spec, &student, &err));
    REQUIRE_OK(di_session_create(teacher, 11, 2, ROWS, &session, &err));
    const di_workspace_spec plan = {.memory = 1 << 16,
                                    .limit = "memory",
                                    .student_width = VOCAB,
                                    .teacher_width = VOCAB,
                                    .levels = di_loss_levels(loss),
                                    .keeps_logits = di_wrapped_source(student)->needs_logits,
                                    .max_rows = 3 /* of a strip */};
    REQUIRE_OK(di_workspace_create(f->backend, loss, &plan, &workspace, &err));
    REQUIRE_OK(di_session_forward(session, &batch, &err));
    di_loss_batch rows = {.student = di_wrapped_source(student),
                          .teacher = di_session_source(session),
                          .rows = ROWS,
                          .want_gradient = 1,
                          .grad_scale = 1,
                          .row_values = out->value};
    CHECK_OK(di_loss_run(loss, workspace, &rows, NULL, &sums, &err));
    di_workspace_free(workspace);
    di_session_free(session);
    di_wrapped_free(student);
    di_loss_release(loss);
}

static void check_setting(fixture *f, const setting *s, double temperature)
{
    static measured dense, fused;
    char yaml[96];
    di_teacher *blend = blend_of(f, s);
    REQUIRE(blend);
    snprintf(yaml, sizeof yaml, "{type: forward_kl, temperature: %g}", temperature);
    run_loss(f, blend, yaml, 0, &dense);
    run_loss(f, blend, yaml, 1, &fused);
    for (int64_t r = 0; r < ROWS; r++) {
        double gradient[VOCAB], want = row_loss(f, s, r, temperature, gradient);
        CHECK_NEAR(dense.value[r], want, 2e-6 * (1 + want));
        CHECK_NEAR(fused.value[r], want, 4e-6 * (1 + want));
        for (int v = 0; v < VOCAB; v++)
            CHECK_NEAR((double)dense.gradient[r * VOCAB + v], gradient[v], 1e-6 * temperature);
        for (int w = 0; w < WIDTH; w++) {
            double sum = 0;
            for (int v = 0; v < VOCAB; v++) sum += gradient[v] * (double)f->head[v * WIDTH + w];
            CHECK_NEAR((double)fused.gradient[r * WIDTH + w], sum, 4e-6 * temperature);
        }
    }
    di_teacher_release(blend);
}

TEST(modes)
{
    static const di_blend_mode modes[] = {DI_BLEND_LINEAR, DI_BLEND_LOG_LINEAR, DI_BLEND_MAX_CONFIDENCE,
                                          DI_BLEND_MIN_ENTROPY, DI_BLEND_MIN_CROSS_ENTROPY};
    static const double temperatures[] = {1, 2.5, 0.5};
    fixture f;
    open_fixture(&f);
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (size_t t = 0; t < 3; t++) {
            setting s = {{modes[m], DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0}, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {0, 1.5, 0.8}};
            check_setting(&f, &s, temperatures[t]);
            if (m > 1) continue;
            s = (setting){{modes[m], DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0}, {0.7, 0, 0.3}, {2, 0, 0}};
            check_setting(&f, &s, temperatures[t]);
            s = (setting){{modes[m], DI_WEIGH_ENTROPY, 0.3, 0, 0, 0, 0, 0}, {0.5, 0.2, 0.3}, {0, 0, 1.5}};
            check_setting(&f, &s, temperatures[t]);
            s = (setting){{modes[m], DI_WEIGH_LABEL, 0.05, 0, 0, 0, 0, 0}, {0.5, 0.2, 0.3}, {0, 0, 1.5}};
            check_setting(&f, &s, temperatures[t]);
            s = (setting){
                {modes[m], DI_WEIGH_LABEL, 1e-3, 0, 0, 0, 0, 0}, {0.5, 0, 0.5}, {0, 0, 0}}; /* all but a choice */
            check_setting(&f, &s, temperatures[t]);
        }
    close_fixture(&f);
}

/* A blend is formed at the temperature of each term, its members are asked once for all of them. */
TEST(several_temperatures)
{
    static measured got;
    const setting s = {{DI_BLEND_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0}, {0.5, 0.2, 0.3}, {0, 1.5, 0}};
    fixture f;
    open_fixture(&f);
    di_teacher *blend = blend_of(&f, &s), *outer = NULL;
    di_blend_member members[2] = {{blend, "inner", 0.25, 2}, {f.teachers[0], "alone", 0.75, 0}};
    dk_error err;
    run_loss(&f, blend,
             "[{type: forward_kl, weight: 0.5}, {type: forward_kl, temperature: 3, weight: 0.25}, "
             "{type: forward_kl, temperature: 1, weight: 0.25}]",
             0, &got);
    for (int64_t r = 0; r < ROWS; r++) {
        double at_1[VOCAB], at_3[VOCAB];
        const double want = 0.75 * row_loss(&f, &s, r, 1, at_1) + 0.25 * row_loss(&f, &s, r, 3, at_3);
        CHECK_NEAR(got.value[r], want, 4e-6 * (1 + want));
        for (int v = 0; v < VOCAB; v++)
            CHECK_NEAR((double)got.gradient[r * VOCAB + v], 0.75 * at_1[v] + 0.25 * at_3[v], 3e-6);
    }
    CHECK_INT(f.voices[0].calls, 3); /* strips */
    f.voices[0].twice = 1;

    /* A blend in a blend: its member's temperature is on top of the loss's, and its own members' on top of that. */
    REQUIRE_OK(di_teacher_blend(f.backend, members, 2, &s.how, &outer, &err));
    run_loss(&f, outer, "[{type: forward_kl, weight: 0.5}, {type: forward_kl, temperature: 3, weight: 0.5}]", 0, &got);
    for (int64_t r = 0; r < ROWS; r++) {
        double gradient[VOCAB] = {0};
        for (int t = 1; t <= 3; t += 2) {
            double inner[VOCAB], z[VOCAB], p[VOCAB], q[VOCAB];
            blend_row(&s, r, 2 * t, inner);
            for (int v = 0; v < VOCAB; v++) z[v] = (double)logit(0, r, v);
            softmax(z, t, p);
            for (int v = 0; v < VOCAB; v++) z[v] = (double)f.student[r * VOCAB + v];
            softmax(z, t, q);
            for (int v = 0; v < VOCAB; v++) gradient[v] += 0.5 * t * (q[v] - (0.25 * inner[v] + 0.75 * p[v]));
        }
        for (int v = 0; v < VOCAB; v++) CHECK_NEAR((double)got.gradient[r * VOCAB + v], gradient[v], 3e-6);
    }
    di_teacher_release(outer);
    di_teacher_release(blend);
    close_fixture(&f);
}

/* Equal members are that teacher, with no short cut; one that has weight 0 is not asked, so [1, 0] is bit for bit the
 * other; the order in which members are given changes nothing. */
TEST(identities)
{
    static measured alone, got;
    fixture f;
    dk_error err;
    open_fixture(&f);
    f.voices[1].twice = 1;
    di_teacher *blend = NULL;
    const di_blend_settings how = {DI_BLEND_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0};
    const di_blend_member pairs[][3] = {
        {{f.teachers[1], "x", 0.7, 0}, {f.teachers[1], "y", 0.3, 0}},
        {{f.teachers[1], "x", 0, 0}, {f.teachers[1], "y", 0, 0}, {f.teachers[1], "z", 0, 0}},
    };
    run_loss(&f, f.teachers[1], "{type: forward_kl, temperature: 2}", 1, &alone);
    for (int i = 0; i < 4; i++) {
        di_blend_settings mode = how;
        mode.mode = i % 2 ? DI_BLEND_LOG_LINEAR : DI_BLEND_LINEAR;
        REQUIRE_OK(di_teacher_blend(f.backend, pairs[i / 2], 2 + i / 2, &mode, &blend, &err));
        CHECK(blend != f.teachers[1]);
        run_loss(&f, blend, "{type: forward_kl, temperature: 2}", 1, &got);
        for (int r = 0; r < ROWS; r++) CHECK_NEAR(got.value[r], alone.value[r], 1e-6 * (1 + alone.value[r]));
        for (int w = 0; w < ROWS * WIDTH; w++)
            CHECK_NEAR((double)got.gradient[w], (double)alone.gradient[w],
                       1e-6 * (1 + fabs((double)alone.gradient[w])));
        di_teacher_release(blend);
    }
    const int64_t calls = f.voices[0].calls;
    const di_blend_member one[2] = {{f.teachers[1], "x", 1, 0}, {f.teachers[0], "a", 0, 0}};
    REQUIRE_OK(di_teacher_blend(f.backend, one, 2, &how, &blend, &err));
    run_loss(&f, blend, "{type: forward_kl, temperature: 2}", 1, &got);
    CHECK(!memcmp(&got, &alone, sizeof got.value) &&
          !memcmp(got.gradient, alone.gradient, ROWS * WIDTH * sizeof(float)));
    CHECK_INT(f.voices[0].calls, calls);
    di_teacher_release(blend);

    char first[65], second[65];
    const di_blend_member order[2][3] = {
        {{f.teachers[0], "a", 0.5, 0}, {f.teachers[1], "b", 0.3, 2}, {f.teachers[2], "c", 0.2, 0}},
        {{f.teachers[2], "c", 0.2, 0}, {f.teachers[0], "a", 0.5, 0}, {f.teachers[1], "b", 0.3, 2}}};
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(di_teacher_blend(f.backend, order[i], 3, &how, &blend, &err));
        run_loss(&f, blend, "{type: forward_kl}", 0, i ? &got : &alone);
        CHECK_OK(di_teacher_hash(blend, i ? second : first, &err));
        di_teacher_release(blend);
    }
    CHECK(!memcmp(&got, &alone, sizeof got));
    CHECK_STR(first, second);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(modes) TEST_CASE(several_temperatures) TEST_CASE(identities))
