/* Blends with sparse members as losses see them: TOPK on the ids that all members know and the rest, value and gradient
 * of forward KL against the formula in double; SAMPLED in expectation. */
#include <math.h>

#include "base/random.h"
#include "loss/loss.h"
#include "teacher/teacher.h"
#include "test.h"

enum { ROWS = 9, VOCAB = 37, MOST = 40 };

static int32_t ids[11] = {1, 5, 9, 3, 28, 0, 7, 1, 2, 4, 6};
static int64_t offsets[3] = {0, 7, 11}, identity[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static distill_batch the_batch(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    return batch;
}

/* ---- members: callbacks over logits that are a function of model, row and id ---- */

typedef struct voice {
    int32_t kind;
    int64_t model, k;
    double temperature;
    int32_t no_tail, twice_an_id, apart; /* apart: lists the least likely ids */
    uint64_t seed;                       /* of draws */
    di_teacher *teacher;
} voice;

static double logit(int64_t model, int64_t row, int64_t id)
{
    return 2.5 * dk_random_normal(3, 50 + (uint64_t)model, (uint64_t)(row * VOCAB + id));
}

static void softmax_of(int64_t model, int64_t row, double temperature, double *p)
{
    double top = -INFINITY, sum = 0;
    for (int v = 0; v < VOCAB; v++) top = fmax(top, logit(model, row, v));
    for (int v = 0; v < VOCAB; v++) sum += p[v] = exp((logit(model, row, v) - top) / temperature);
    for (int v = 0; v < VOCAB; v++) p[v] /= sum;
}

/* The k likeliest, or the least likely, descending or ascending. */
static void listed_ids(const voice *m, const double *p, int32_t *out)
{
    int taken[VOCAB] = {0};
    for (int64_t j = 0; j < m->k; j++) {
        int best = -1;
        for (int v = 0; v < VOCAB; v++)
            if (!taken[v] && (best < 0 || (m->apart ? p[v] < p[best] : p[v] > p[best]))) best = v;
        taken[best] = 1;
        out[j] = best;
    }
}

static void list_row(const voice *m, int64_t row, int32_t *out_ids, float *values, float *tail)
{
    double p[VOCAB], rest = 0;
    int listed[VOCAB] = {0};
    softmax_of(m->model, row, m->temperature, p);
    listed_ids(m, p, out_ids);
    for (int64_t j = 0; j < m->k; j++) {
        listed[out_ids[j]] = 1;
        values[j] = (float)log(p[out_ids[j]]);
    }
    for (int v = 0; v < VOCAB; v++) rest += listed[v] ? 0 : p[v];
    if (tail) *tail = (float)log(rest);
    if (m->twice_an_id && row == 4) out_ids[1] = out_ids[0];
}

static void draw_row(const voice *m, int64_t row, int32_t *out_ids, float *counts)
{
    double p[VOCAB];
    int64_t used = 0;
    softmax_of(m->model, row, m->temperature, p);
    for (int64_t j = 0; j < m->k; j++) {
        out_ids[j] = -1;
        counts[j] = 0;
    }
    for (int64_t i = 0; i < m->k; i++) {
        double u = dk_random_uniform(m->seed, 77, (uint64_t)(row * 1000 + i));
        int32_t v = 0;
        while (v < VOCAB - 1 && (u -= p[v]) >= 0) v++;
        int64_t j = 0;
        while (j < used && out_ids[j] != v) j++;
        out_ids[j] = v;
        counts[j] += 1;
        if (j == used) used++;
    }
}

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const voice *m = user;
    float *values = out->values ? out->values->data : NULL;
    int32_t *listed = out->ids ? out->ids->data : NULL;
    (void)batch;
    for (int64_t r = 0; r < count; r++) {
        const int64_t stride = m->kind == DISTILL_DENSE && out->values->strides ? out->values->strides[0] : VOCAB;
        float *tail = out->tail ? (float *)out->tail->data + r : NULL;
        for (int64_t v = 0; m->kind == DISTILL_DENSE && v < VOCAB; v++)
            values[r * stride + v] = (float)logit(m->model, first + r, v);
        if (m->kind == DISTILL_TOPK) list_row(m, first + r, listed + r * m->k, values + r * m->k, tail);
        if (m->kind == DISTILL_SAMPLED) draw_row(m, first + r, listed + r * m->k, values + r * m->k);
    }
    return DISTILL_CB_OK;
}

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    di_registry *registry;
    di_options *options;
    float student[ROWS * VOCAB];
    int64_t step; /* at which losses ask */
} fixture;

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, NULL) || dk_backend_cpu(f->host, &f->backend, NULL) ||
        di_registry_create(f->host, &f->registry, NULL) || di_options_create(f->host, &f->options, NULL))
        exit(3);
    for (int64_t i = 0; i < ROWS * VOCAB; i++) f->student[i] = (float)(2 * dk_random_normal(3, 60, (uint64_t)i));
}

static void close_fixture(fixture *f)
{
    di_options_free(f->options);
    di_registry_free(f->registry);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static di_teacher *open_voice(fixture *f, voice *m)
{
    int64_t shape[1] = {m->kind == DISTILL_DENSE ? VOCAB : m->k};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = m->kind;
    form.values = &values;
    form.tail = m->kind == DISTILL_TOPK && !m->no_tail ? &values : NULL;
    form.temperature = m->kind == DISTILL_DENSE ? 0 : m->temperature;
    form.vocab_valid = m->kind == DISTILL_DENSE ? 0 : VOCAB;
    table.user = m;
    table.score = speak;
    table.form = &form;
    if (m->temperature <= 0) m->temperature = 1;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &m->teacher, NULL)) exit(3);
    return m->teacher;
}

static const di_blend_settings linear = {.softness = 1};
static const char *const names[3] = {"a", "b", "c"};

static int32_t blend_of(fixture *f, voice *voices, const double *weights, const double *softened, int64_t count,
                        di_blend_settings how, di_teacher **out, dk_error *err)
{
    di_blend_member members[3];
    *out = NULL;
    for (int64_t i = 0; i < count; i++)
        members[i] = (di_blend_member){open_voice(f, &voices[i]), names[i], weights ? weights[i] : 0,
                                       softened ? softened[i] : 0};
    const int32_t rc = di_teacher_blend(f->backend, members, count, &how, out, err);
    for (int64_t i = 0; i < count; i++) di_teacher_release(voices[i].teacher);
    return rc;
}

typedef struct measured {
    double value[ROWS];
    float gradient[ROWS * VOCAB];
    di_common common;
    di_tally tallies[4];
} measured;

static int32_t run_loss(fixture *f, di_teacher *teacher, double temperature, measured *out, dk_error *err)
{
    int64_t shape[2] = {ROWS, VOCAB};
    distill_tensor values = di_tensor_of(f->student, DISTILL_FLOAT, 32, 2, shape),
                   gradient = di_tensor_of(out->gradient, DISTILL_FLOAT, 32, 2, shape);
    distill_batch batch = the_batch();
    distill_target target;
    di_wrapped *student = NULL;
    di_workspace *workspace = NULL;
    di_session *session = NULL;
    di_loss *loss = NULL;
    di_loss_sums sums = {0};
    char yaml[96];
    int32_t rc;
    DISTILL_INIT(&target);
    target.kind = DISTILL_DENSE;
    target.values = &values;
    di_wrapped_spec spec = {.target = &target,
                            .name = "student",
                            .places = identity,
                            .rows = ROWS,
                            .max_count = ROWS,
                            .grad_values = &gradient};
    memset(out, 0, sizeof *out);
    snprintf(yaml, sizeof yaml, "{type: forward_kl, temperature: %.17g}", temperature);
    DK_TRY(di_options_set(f->options, "loss", yaml, err));
    DK_TRY(di_loss_create(f->registry, NULL, f->options, &loss, err));
    DK_TRY(di_wrapped_create(f->backend, &spec, &student, err));
    DK_TRY(di_session_create(teacher, 11, 2, ROWS, &session, err));
    const di_workspace_spec plan = {.memory = 1 << 16,
                                    .limit = "memory",
                                    .student_width = VOCAB,
                                    .teacher_width = di_session_source(session)->width,
                                    .max_rows = 3 /* of a strip */};
    DK_TRY(di_workspace_create(f->backend, loss, &plan, &workspace, err));
    di_session_set_step(session, f->step);
    DK_TRY(di_session_forward(session, &batch, err));
    di_loss_batch rows = {.student = di_wrapped_source(student),
                          .teacher = di_session_source(session),
                          .rows = ROWS,
                          .want_gradient = 1,
                          .grad_scale = 1,
                          .row_values = out->value};
    DK_TRY(di_loss_run(loss, workspace, &rows, NULL, &sums, err));
    di_session_common(session, &out->common);
    if (di_teacher_member_count(teacher) <= 4) di_session_tally(session, out->tallies);
out:
    di_workspace_free(workspace);
    di_session_free(session);
    di_wrapped_free(student);
    di_loss_release(loss);
    return rc;
}

/* ---- the formula ---- */

static void common_ids(const voice *voices, int64_t count, int64_t row, int *common)
{
    for (int v = 0; v < VOCAB; v++) common[v] = 1;
    for (int64_t i = 0; i < count; i++) {
        double p[VOCAB];
        int32_t listed[VOCAB];
        int known[VOCAB] = {0};
        if (voices[i].kind == DISTILL_DENSE) continue;
        softmax_of(voices[i].model, row, voices[i].temperature, p);
        listed_ids(&voices[i], p, listed);
        for (int64_t j = 0; j < voices[i].k; j++) known[listed[j]] = 1;
        for (int v = 0; v < VOCAB; v++) common[v] &= known[v];
    }
}

static double row_loss(const fixture *f, const voice *voices, const double *weights, const double *softened,
                       int64_t count, int64_t row, double temperature, double *gradient, double *mass)
{
    int common[VOCAB];
    double p[VOCAB] = {0}, q[VOCAB], top = -INFINITY, total = 0, rest_p = 0, rest_q = 0, sum = 0;
    common_ids(voices, count, row, common);
    for (int64_t i = 0; i < count; i++) {
        double own[VOCAB];
        softmax_of(voices[i].model, row, temperature * (softened && softened[i] > 0 ? softened[i] : 1), own);
        for (int v = 0; v < VOCAB; v++) p[v] += weights[i] * own[v];
    }
    for (int v = 0; v < VOCAB; v++) top = fmax(top, (double)f->student[row * VOCAB + v]);
    for (int v = 0; v < VOCAB; v++) total += q[v] = exp(((double)f->student[row * VOCAB + v] - top) / temperature);
    for (int v = 0; v < VOCAB; v++) q[v] /= total;
    for (int v = 0; v < VOCAB; v++) {
        if (common[v]) sum += p[v] * log(p[v] / q[v]);
        else rest_p += p[v], rest_q += q[v];
    }
    if (rest_q > 0) sum += rest_p * log(rest_p / rest_q);
    for (int v = 0; v < VOCAB; v++) gradient[v] = temperature * (q[v] - (common[v] ? p[v] : rest_p * q[v] / rest_q));
    *mass = 1 - rest_p;
    return temperature * temperature * sum;
}

/* Of those members who are asked. */
static void check_rows(fixture *f, di_teacher *blend, const voice *voices, const double *weights,
                       const double *softened, int64_t count, double temperature, measured *got)
{
    double mass = 0;
    dk_error err;
    REQUIRE_OK(run_loss(f, blend, temperature, got, &err));
    for (int64_t r = 0; r < ROWS; r++) {
        double gradient[VOCAB], own,
            want = row_loss(f, voices, weights, softened, count, r, temperature, gradient, &own);
        mass += own;
        CHECK_NEAR(got->value[r], want, 2e-6 * (1 + want));
        for (int v = 0; v < VOCAB; v++)
            CHECK_NEAR((double)got->gradient[r * VOCAB + v], gradient[v], 1e-6 * (1 + temperature));
    }
    CHECK_INT(got->common.rows, ROWS);
    CHECK_NEAR(got->common.mass, mass, 2e-6 * ROWS);
}

static void check_blend(fixture *f, voice *voices, const double *weights, const double *softened, int64_t count,
                        double temperature)
{
    static measured got;
    di_teacher *blend = NULL;
    dk_error err;
    REQUIRE_OK(blend_of(f, voices, weights, softened, count, linear, &blend, &err));
    CHECK_INT(di_teacher_form(blend)->kind, DISTILL_TOPK);
    CHECK_NEAR(di_teacher_form(blend)->temperature, temperature, 1e-12);
    check_rows(f, blend, voices, weights, softened, count, temperature, &got);
    for (int64_t i = 0; i < count; i++) {
        CHECK_INT(got.tallies[i].asked, ROWS);
        CHECK_NEAR(got.tallies[i].weight, weights[i] * ROWS, 1e-9);
    }
    di_teacher_release(blend);
}

static voice top(int64_t model, int64_t k, double temperature)
{
    return (voice){.kind = DISTILL_TOPK, .model = model, .k = k, .temperature = temperature};
}

static voice dense(int64_t model) { return (voice){.kind = DISTILL_DENSE, .model = model}; }

static voice draws(int64_t model, int64_t k, uint64_t seed)
{
    return (voice){.kind = DISTILL_SAMPLED, .model = model, .k = k, .temperature = 1, .seed = seed};
}

TEST(partitions)
{
    static const double halves[] = {0.7, 0.3}, thirds[] = {0.2, 0.5, 0.3}, soft[] = {0, 1.5, 0.8};
    fixture f;
    open_fixture(&f);
    for (int t = 0; t < 3; t++) {
        const double temperature = t == 0 ? 1 : t == 1 ? 2.5 : 0.5;
        voice both[] = {top(0, 20, temperature), top(1, 25, temperature)};
        check_blend(&f, both, halves, NULL, 2, temperature);
        voice one[] = {top(0, 12, temperature), dense(1)};
        check_blend(&f, one, halves, NULL, 2, temperature);
        voice all[] = {dense(2), top(0, 30, temperature * 1.5), dense(1)};
        check_blend(&f, all, thirds, soft, 3, temperature);
        voice silent[] = {top(0, 20, temperature), dense(1)};
        silent[0].no_tail = 1;
        check_blend(&f, silent, halves, NULL, 2, temperature);
        voice whole[] = {top(0, VOCAB, temperature), top(1, VOCAB, temperature), dense(2)};
        check_blend(&f, whole, thirds, NULL, 3, temperature);
        voice apart[] = {top(0, 3, temperature), top(0, 3, temperature)}; /* no id in common */
        apart[1].apart = 1;
        check_blend(&f, apart, halves, NULL, 2, temperature);
    }
    close_fixture(&f);
}

/* The first member's weight goes from 1 to 0 in ten steps, the second one's from 0 to 1. */
static di_teacher *fading(fixture *f, voice voices[2])
{
    const di_ramp ramps[2 * DI_RAMPS] = {{0, {10, 0, DI_LINEAR}}, {0}, {0, {10, 1, DI_LINEAR}}, {0}};
    const di_blend_plan plan = {.ramps = ramps};
    di_blend_member members[2];
    di_teacher *blend = NULL;
    dk_error err;
    for (int64_t i = 0; i < 2; i++)
        members[i] = (di_blend_member){open_voice(f, &voices[i]), names[i], i == 0 ? 1 : 0, 0};
    CHECK_OK(di_teacher_blend_planned(f->backend, members, 2, &linear, &plan, &blend, &err));
    for (int64_t i = 0; i < 2; i++) di_teacher_release(voices[i].teacher);
    if (!blend) exit(3);
    return blend;
}

/* Who has no weight at a step is not asked then, and what he lists does not matter; but where only members with logits
 * have weight, the ids are those that the others list. */
TEST(weights_over_steps)
{
    static const double parts[] = {0.6, 0.4}, one[] = {1}, none[] = {0, 1};
    static measured got;
    fixture f;
    open_fixture(&f);
    voice lists[2] = {top(0, 20, 2), top(1, 25, 2)}, mixed[2] = {top(0, 12, 2), dense(1)};
    di_teacher *blend = fading(&f, lists), *with_logits = fading(&f, mixed);
    check_rows(&f, blend, lists, one, NULL, 1, 2, &got);
    CHECK_INT(got.tallies[1].asked, 0);
    check_rows(&f, with_logits, mixed, one, NULL, 1, 2, &got);
    f.step = 4;
    check_rows(&f, blend, lists, parts, NULL, 2, 2, &got);
    CHECK_NEAR(got.tallies[0].weight, 0.6 * ROWS, 1e-9);
    CHECK_NEAR(got.tallies[1].weight, 0.4 * ROWS, 1e-9);
    check_rows(&f, with_logits, mixed, parts, NULL, 2, 2, &got);
    f.step = 10;
    check_rows(&f, blend, lists + 1, one, NULL, 1, 2, &got);
    CHECK_INT(got.tallies[0].asked, 0);
    CHECK_INT(got.tallies[1].asked, ROWS);
    check_rows(&f, with_logits, mixed, none, NULL, 2, 2, &got);
    CHECK_INT(got.tallies[0].asked, ROWS);
    CHECK_NEAR(got.tallies[0].weight, 0, 0);
    di_teacher_release(with_logits);
    di_teacher_release(blend);
    close_fixture(&f);
}

/* Handles of one model are that model: what is blended is its own partition. */
TEST(equal_members)
{
    static const double halves[] = {0.7, 0.3}, thirds[] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
    static measured alone, got;
    fixture f;
    dk_error err;
    open_fixture(&f);
    voice one = top(0, 12, 2);
    di_teacher *teacher = open_voice(&f, &one), *blend = NULL;
    REQUIRE_OK(run_loss(&f, teacher, 2, &alone, &err));
    for (int i = 0; i < 4; i++) {
        voice voices[3] = {top(0, 12, 2), top(0, i % 2 ? 12 : 20, 2), dense(0)};
        const int64_t count = i < 2 ? 2 : 3;
        REQUIRE_OK(blend_of(&f, voices, i < 2 ? halves : thirds, NULL, count, linear, &blend, &err));
        REQUIRE_OK(run_loss(&f, blend, 2, &got, &err));
        for (int r = 0; r < ROWS; r++) CHECK_NEAR(got.value[r], alone.value[r], 1e-6 * (1 + alone.value[r]));
        for (int v = 0; v < ROWS * VOCAB; v++) CHECK_NEAR((double)got.gradient[v], (double)alone.gradient[v], 1e-6);
        di_teacher_release(blend);
    }
    di_teacher_release(teacher);
    close_fixture(&f);
}

/* Over all rows, not for one: the mean is what the bound is for. */
TEST(common_mass)
{
    static const double halves[] = {0.5, 0.5};
    static measured got;
    di_blend_settings how = linear;
    di_teacher *blend = NULL, *outer = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f);
    how.min_common_mass = 0.9;
    voice voices[2] = {top(0, 3, 1), top(1, 3, 1)};
    REQUIRE_OK(blend_of(&f, voices, halves, NULL, 2, how, &blend, &err));
    REQUIRE_OK(run_loss(&f, blend, 1, &got, &err));
    CHECK(got.common.mass < 0.9 * ROWS);
    CHECK_INT(di_common_check(&got.common, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "below teacher.blend.min_common_mass 0.9");
    got.common.mass = 0.91 * ROWS;
    CHECK_OK(di_common_check(&got.common, &err));

    /* A blend in a blend: the higher bound is the one that holds. */
    voice beside = dense(2);
    const di_blend_member members[2] = {{blend, "inner", 0.5, 0}, {open_voice(&f, &beside), "beside", 0.5, 0}};
    how.min_common_mass = 0.1;
    REQUIRE_OK(di_teacher_blend(f.backend, members, 2, &how, &outer, &err));
    REQUIRE_OK(run_loss(&f, outer, 1, &got, &err));
    CHECK_INT(got.common.rows, ROWS);
    CHECK_NEAR(got.common.least, 0.9 * ROWS, 1e-9);
    di_teacher_release(outer);
    di_teacher_release(blend);
    di_teacher_release(beside.teacher);
    close_fixture(&f);
}

/* What a route has of two sparse blends is counted for both, and no batch twice. */
TEST(routed_blends)
{
    static const char *const both[2] = {"x", "y"}, *const one[2] = {"y", "y"};
    const di_route_settings by_source = {.by = DI_ROUTE_SOURCE};
    voice voices[2][2];
    di_blend_settings how = linear;
    di_teacher *blends[2], *route = NULL;
    di_session *session = NULL;
    const distill_target *target = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f);
    for (int i = 0; i < 2; i++) {
        voices[i][0] = top(0, 3 + i, 1);
        voices[i][1] = top(1, 3, 1);
        how.min_common_mass = i ? 0.5 : 0.25;
        REQUIRE_OK(blend_of(&f, voices[i], NULL, NULL, 2, how, &blends[i], &err));
    }
    const di_blend_member members[2] = {{blends[0], "x", 0, 0}, {blends[1], "y", 0, 0}};
    REQUIRE_OK(di_teacher_route(f.backend, members, 2, &by_source, &route, &err));
    CHECK_NEAR(di_teacher_least_common(route), 0.5, 1e-12);
    REQUIRE_OK(di_session_create(route, 11, 2, ROWS, &session, &err));
    for (int i = 0; i < 2; i++) {
        distill_batch batch = the_batch();
        di_common common = {0};
        batch.sources = i ? one : both;
        REQUIRE_OK(di_session_forward(session, &batch, &err));
        const di_source *source = di_session_source(session);
        REQUIRE_OK(source->rows(source->self, 0, ROWS, dk_view_none(), &target, &err));
        di_session_common(session, &common);
        CHECK_INT(common.rows, ROWS);
        CHECK_NEAR(common.least, i ? 0.5 * ROWS : 0.25 * 6 + 0.5 * 3, 1e-9);
        di_session_drop(session);
    }
    di_session_free(session);
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(blends[i]);
    close_fixture(&f);
}

static void check_refused(fixture *f, voice a, voice b, di_blend_settings how, const double *softened, int32_t code,
                          const char *part)
{
    voice voices[2] = {a, b};
    di_teacher *none = NULL;
    dk_error err;
    CHECK_INT(blend_of(f, voices, NULL, softened, 2, how, &none, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(none == NULL && !strchr(err.message, '\n'));
}

TEST(refused)
{
    static const double soft[] = {2, 1};
    static measured got;
    di_blend_settings how = linear;
    di_teacher *blend = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f);
    check_refused(&f, top(0, 4, 1), top(1, 4, 2), how, NULL, DK_E_MISMATCH,
                  "teacher a are for temperature 1 and those of teacher b for 2");
    check_refused(&f, top(0, 4, 2), top(1, 4, 2), how, soft, DK_E_MISMATCH, "for temperature 1 and");
    check_refused(&f, top(0, 4, 1), draws(1, 4, 1), how, NULL, DK_E_UNSUPPORTED,
                  "teacher a gives TOPK targets and teacher b SAMPLED ones");
    voice hot = {.kind = DISTILL_ONE_HOT, .k = 1};
    check_refused(&f, hot, dense(0), how, NULL, DK_E_UNSUPPORTED, "teacher a gives ONE_HOT targets");
    for (int mode = DI_BLEND_LOG_LINEAR; mode <= DI_BLEND_STOCHASTIC; mode++) {
        how.mode = (di_blend_mode)mode;
        check_refused(&f, dense(0), top(1, 4, 1), how, NULL, DK_E_UNSUPPORTED,
                      "other modes and weightings need logits");
        check_refused(&f, draws(0, 4, 1), dense(1), how, NULL, DK_E_UNSUPPORTED, "teacher a gives SAMPLED targets");
    }
    how = linear;
    how.weighting = DI_WEIGH_ENTROPY;
    check_refused(&f, dense(0), top(1, 4, 1), how, NULL, DK_E_UNSUPPORTED, "need logits");
    how = linear;
    how.given = DI_GIVEN_SEED;
    check_refused(&f, top(0, 4, 1), dense(1), how, NULL, DK_E_OPTION, "seed has no use");
    how.given = DI_GIVEN_COMMON_MASS;
    check_refused(&f, draws(0, 4, 1), dense(1), how, NULL, DK_E_OPTION, "min_common_mass has no use");

    voice voices[2] = {top(0, 4, 2), top(1, 4, 2)};
    voices[1].twice_an_id = 1;
    REQUIRE_OK(blend_of(&f, voices, NULL, NULL, 2, linear, &blend, &err));
    CHECK_INT(run_loss(&f, blend, 2, &got, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "member b of a blend: teacher: row 4 has id");
    CHECK_INT(run_loss(&f, blend, 1, &got, &err), DK_E_MISMATCH); /* as of any target that is at another */
    CHECK_HAS(err.message, "temperature");
    di_teacher_release(blend);
    close_fixture(&f);
}

/* ---- draws ---- */

/* Adds the blend's share of each id in each row. */
static void add_shares(di_teacher *blend, double *sums)
{
    const distill_target *target = NULL;
    distill_batch batch = the_batch();
    di_session *session = NULL;
    dk_error err;
    REQUIRE_OK(di_session_create(blend, 11, 2, ROWS, &session, &err));
    REQUIRE_OK(di_session_forward(session, &batch, &err));
    const di_source *source = di_session_source(session);
    CHECK_INT(source->kind, DISTILL_SAMPLED);
    REQUIRE_OK(source->rows(source->self, 0, ROWS, dk_view_none(), &target, &err));
    const int64_t k = target->values->shape[1];
    for (int64_t r = 0; r < ROWS; r++) {
        const float *counts = (const float *)target->values->data + r * k;
        const int32_t *listed = (const int32_t *)target->ids->data + r * k;
        double total = 0;
        for (int64_t j = 0; j < k; j++) total += (double)counts[j];
        for (int64_t j = 0; j < k; j++) {
            CHECK(j == 0 || listed[j] < 0 || listed[j] > listed[j - 1]); /* each id once */
            if (listed[j] >= 0) sums[r * VOCAB + listed[j]] += (double)counts[j] / total;
        }
    }
    di_session_free(session);
}

static void check_expectation(fixture *f, const double *weights, int with_dense)
{
    enum { SEEDS = 3000, DRAWS = 8 };
    static double sums[ROWS * VOCAB];
    dk_error err;
    memset(sums, 0, sizeof sums);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        voice voices[2] = {draws(0, DRAWS, seed), with_dense ? dense(1) : draws(1, 5, 7000 + seed)};
        di_blend_settings how = linear;
        di_teacher *blend = NULL;
        how.seed = seed;
        REQUIRE_OK(blend_of(f, voices, weights, NULL, 2, how, &blend, &err));
        add_shares(blend, sums);
        di_teacher_release(blend);
    }
    for (int64_t r = 0; r < ROWS; r++) {
        double a[VOCAB], b[VOCAB];
        softmax_of(0, r, 1, a);
        softmax_of(1, r, 1, b);
        for (int v = 0; v < VOCAB; v++) {
            const double variance = weights[0] * weights[0] * a[v] * (1 - a[v]) / DRAWS +
                                    weights[1] * weights[1] * b[v] * (1 - b[v]) / (with_dense ? DRAWS : 5);
            CHECK_NEAR(sums[r * VOCAB + v] / SEEDS, weights[0] * a[v] + weights[1] * b[v],
                       5 * sqrt(variance / SEEDS) + 2e-5);
        }
    }
}

TEST(draws_are_unbiased)
{
    static const double halves[] = {0.7, 0.3};
    fixture f;
    open_fixture(&f);
    check_expectation(&f, halves, 0);
    check_expectation(&f, halves, 1);
    close_fixture(&f);
}

/* Of a dense member: the same for the same seed and ids, whatever else stands in the batch. */
/* The loss of a blend whose weight lies on one member is that member's own. */
TEST(draws_over_steps)
{
    static measured got, want;
    fixture f;
    dk_error err;
    open_fixture(&f);
    voice voices[2] = {draws(0, 12, 1), draws(1, 9, 2)};
    di_teacher *blend = fading(&f, voices);
    for (int i = 0; i < 2; i++) {
        voice alone = voices[i];
        di_teacher *own = open_voice(&f, &alone);
        f.step = i ? 10 : 0;
        REQUIRE_OK(run_loss(&f, blend, 1, &got, &err));
        REQUIRE_OK(run_loss(&f, own, 1, &want, &err));
        for (int r = 0; r < ROWS; r++) CHECK_NEAR(got.value[r], want.value[r], 1e-6 * (1 + fabs(want.value[r])));
        for (int k = 0; k < ROWS * VOCAB; k++) CHECK_NEAR((double)got.gradient[k], (double)want.gradient[k], 1e-6);
        CHECK_INT(got.tallies[i].asked, ROWS);
        CHECK_INT(got.tallies[1 - i].asked, 0);
        di_teacher_release(own);
    }
    di_teacher_release(blend);
    close_fixture(&f);
}

TEST(draws_hang_on_seed_and_ids)
{
    static double one[ROWS * VOCAB], same[ROWS * VOCAB], other[ROWS * VOCAB];
    static measured got;
    fixture f;
    dk_error err;
    open_fixture(&f);
    for (int i = 0; i < 3; i++) {
        voice voices[2] = {draws(0, 8, 1), dense(1)};
        di_blend_settings how = linear;
        di_teacher *blend = NULL;
        how.seed = i == 2 ? 6 : 5;
        REQUIRE_OK(blend_of(&f, voices, NULL, NULL, 2, how, &blend, &err));
        add_shares(blend, i == 0 ? one : i == 1 ? same : other);
        CHECK_OK(run_loss(&f, blend, 1, &got, &err));
        for (int r = 0; r < ROWS; r++) CHECK(isfinite(got.value[r]));
        di_teacher_release(blend);
    }
    CHECK(!memcmp(one, same, sizeof one));
    CHECK(memcmp(one, other, sizeof one) != 0);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(partitions) TEST_CASE(weights_over_steps) TEST_CASE(equal_members) TEST_CASE(common_mass)
              TEST_CASE(routed_blends) TEST_CASE(refused) TEST_CASE(draws_are_unbiased) TEST_CASE(draws_over_steps)
                  TEST_CASE(draws_hang_on_seed_and_ids))
