/* Weights that change over the steps: what is refused, what they are at a step against the formulas, who is asked, and
 * one teacher after another. */
#include <math.h>

#include "model_fixture.h"

enum { ROWS = 9, ROOM = ROWS * TINY_VOCAB };

typedef struct voice {
    double slope;
    int64_t calls;
    di_teacher *teacher;
} voice;

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    voice *v = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : TINY_VOCAB;
    (void)batch;
    v->calls++;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < TINY_VOCAB; i++)
            ((float *)out->values->data)[r * stride + i] =
                (float)(v->slope * (double)((i * 7 + first + r) % TINY_VOCAB));
    return DISTILL_CB_OK;
}

static voice open_voice(fixture *f, double slope, voice *at)
{
    int64_t shape[1] = {TINY_VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    *at = (voice){slope, 0, NULL};
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = at;
    table.score = speak;
    table.form = &form;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &at->teacher, NULL)) exit(3);
    return *at;
}

static void log_softmax(double slope, int64_t row, double temperature, double out[TINY_VOCAB])
{
    double sum = 0;
    for (int64_t v = 0; v < TINY_VOCAB; v++) {
        out[v] = (double)(float)(slope * (double)((v * 7 + row) % TINY_VOCAB)) / temperature;
        sum += exp(out[v]);
    }
    for (int64_t v = 0; v < TINY_VOCAB; v++) out[v] -= log(sum);
}

/* Options as a recipe has them for three members called a, b and c. */
static int32_t blend_of(fixture *f, voice voices[3], int64_t count, const char *yaml, di_teacher **out, dk_error *err)
{
    static const char *const names[3] = {"a", "b", "c"};
    di_blend_member members[3];
    di_ramp ramps[3 * DI_RAMPS];
    di_blend_settings settings;
    di_blend_plan plan;
    di_options *options = NULL;
    int32_t rc;
    *out = NULL;
    for (int64_t i = 0; i < count; i++) members[i] = (di_blend_member){voices[i].teacher, names[i], 0, 0};
    DK_TRY(di_options_create(f->host, &options, err));
    DK_TRY(di_options_parse(options, yaml, strlen(yaml), "recipe.yaml", NULL, err));
    DK_TRY(di_blend_plan_read(options, NULL, count, members, ramps, &plan, err));
    di_blend_settings_read(options, NULL, &settings);
    DK_TRY(di_teacher_blend_planned(f->backend, members, count, &settings, &plan, out, err));
out:
    di_options_free(options);
    return rc;
}

/* What the source gives of a batch at a step: log p at a temperature, or the logits of a teacher that is alone. */
static int32_t rows_of(fixture *f, di_teacher *teacher, int64_t step, double temperature, float out[ROOM],
                       di_tally *tallies)
{
    const distill_target *none = NULL;
    distill_batch batch = tiny_batch();
    di_session *session = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    dk_error err;
    int32_t rc;
    DK_TRY(dk_queue_open(&queue, f->backend, &err));
    DK_TRY(f->backend->ops->buffer_create(f->backend, ROOM * sizeof *out, &buffer, &err));
    DK_TRY(di_session_create(teacher, 11, 2, ROWS, &session, &err));
    dk_view strip = dk_view_2d(buffer, 0, DK_F32, ROWS, TINY_VOCAB);
    di_session_set_step(session, step);
    DK_TRY(di_session_forward(session, &batch, &err));
    const di_source *source = di_session_source(session);
    const int32_t alone = source->rows_at == NULL;
    if (alone) DK_TRY(source->rows(source->self, 0, ROWS, strip, &none, &err));
    else DK_TRY(source->rows_at(source->self, 0, ROWS, 1, &temperature, &strip, &err));
    f->backend->ops->copy_out(&queue, strip, out);
    DK_TRY(dk_queue_wait(&queue, &err));
    if (tallies) di_session_tally(session, tallies);
    di_session_free(session);
    f->backend->ops->buffer_free(f->backend, buffer);
    dk_queue_close(&queue);
    return alone;
out:
    FAIL("%s", err.message);
    return -1;
}

TEST(refused)
{
    static const struct {
        int64_t count;
        const char *yaml, *part;
    } cases[] = {
        {2, "teacher: {blend: {weights: [{schedule: linear, from: 1, to: 0, steps: 100}, 0.5]}}",
         "1.5 together at step 0"},
        {2,
         "teacher: {blend: {weights: [{schedule: linear, from: 1, to: 0, steps: 100}, {schedule: linear, from: 0, to: "
         "1, steps: 90}]}}",
         "together at step"},
        {2,
         "teacher: {blend: {weights: [{schedule: linear, from: 1, to: 0, steps: 100}, {schedule: cosine, from: 0, to: "
         "1, steps: 100}]}}",
         "together at step"},
        {2, "teacher: {blend: {weights: [{schedule: linear, from: 0.5, to: 0, steps: 100}, 0.5]}}",
         "0.995 together at step 1,"},
        {2, "teacher: {blend: {weights: [{schedule: linear, from: 0.5, to: 1.5, steps: 100}, 0.5]}}",
         "teacher.blend.weights.to 1.5 is not in [0, 1"},
        {2, "teacher: {blend: {weights: [{schedule: linear, from: 0.5, to: 1}, 0.5]}}", "the schedule lacks steps"},
        {2, "teacher: {blend: {weights: [1]}}", "1 weights for 2 teachers"},
        {2,
         "teacher: {blend: {mode: min_entropy, weights: [{schedule: step, from: 1, to: 0, steps: 5}, {schedule: step, "
         "from: 0, to: 1, steps: 5}]}}",
         "weights that differ have no use"},
        {2, "teacher: {schedule: [{until: 5}, {until: 9}]}", "the last teacher stays"},
        {2, "teacher: {schedule: [{fade: 5, until: 3}, {fade: 2}]}", "follows nobody"},
        {2, "teacher: {schedule: [{}, {fade: 2}]}", "has no until"},
        {3, "teacher: {schedule: [{until: 5}, {fade: 4, until: 9}, {fade: 2}]}", "comes in up to step 9: raise it"},
        {3, "teacher: {schedule: [{until: 5}, {fade: 4}]}", "2 items for 3 teachers"},
        {2, "teacher: {schedule: [{until: 0}, {fade: 2}]}", "is not in [1, "},
    };
    voice voices[3];
    di_teacher *none = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "weights_refused");
    for (int i = 0; i < 3; i++) open_voice(&f, 0.1 * i, &voices[i]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(blend_of(&f, voices, cases[i].count, cases[i].yaml, &none, &err), DK_E_OPTION);
        CHECK_HAS(err.message, cases[i].part);
        CHECK(none == NULL);
    }
    REQUIRE_OK(blend_of(&f, voices, 2, "teacher: {schedule: [{until: 5}, {}]}", &none, &err));
    CHECK(di_teacher_changes(none));
    di_teacher *kept = NULL;
    CHECK_INT(di_teacher_cached(f.backend, test_path(f.folder, "kept.dtc"), none, NULL, &kept, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "change over the steps");
    di_teacher_release(none);
    for (int i = 0; i < 3; i++) di_teacher_release(voices[i].teacher);
    close_fixture(&f);
}

static double course(const char *kind, double from, double to, double steps, double step)
{
    const double done = step >= steps ? 1 : step / steps;
    const double share = *kind == 'l' ? done : *kind == 'c' ? (1 - cos(acos(-1.0) * done)) / 2 : done >= 1;
    return from + share * (to - from);
}

/* p at each step from the weights of that step; who has weight 0 is not asked, and the one that is left is itself. */
TEST(scheduled)
{
    static const char *const kinds[] = {"linear", "cosine", "step"}, *const modes[] = {"linear", "log_linear"};
    static const int64_t steps[] = {0, 1, 7, 19, 20, 1000};
    static float got[ROOM], alone[ROOM];
    voice voices[3];
    char yaml[400];
    fixture f;
    dk_error err;
    open_fixture(&f, "weights_scheduled");
    for (int i = 0; i < 3; i++) open_voice(&f, 0.1 * i - 0.12, &voices[i]);
    for (int k = 0; k < 6; k++) {
        const char *kind = kinds[k % 3];
        di_teacher *blend = NULL;
        snprintf(yaml, sizeof yaml,
                 "teacher: {blend: {mode: %s, weights: [{schedule: %s, from: 0.6, to: 0, steps: 20}, {schedule: %s, "
                 "from: 0.4, to: 0, steps: 20}, {schedule: %s, from: 0, to: 1, steps: 20}]}}",
                 modes[k / 3], kind, kind, kind);
        REQUIRE_OK(blend_of(&f, voices, 3, yaml, &blend, &err));
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            const double at = (double)steps[s], temperature = 2,
                         weights[3] = {course(kind, 0.6, 0, 20, at), course(kind, 0.4, 0, 20, at),
                                       course(kind, 0, 1, 20, at)};
            di_tally tallies[3] = {{0}};
            for (int i = 0; i < 3; i++) voices[i].calls = 0;
            const int32_t raw = rows_of(&f, blend, steps[s], temperature, got, tallies);
            CHECK_INT(raw, weights[2] >= 1);
            for (int i = 0; i < 3; i++) {
                CHECK_INT(voices[i].calls > 0, weights[i] > 0);
                CHECK_INT(tallies[i].asked, weights[i] > 0 ? ROWS : 0);
                CHECK_INT(tallies[i].rows, ROWS);
                CHECK_NEAR(tallies[i].weight, ROWS * weights[i], 1e-9);
            }
            if (raw) {
                rows_of(&f, voices[2].teacher, 0, temperature, alone, NULL);
                CHECK(!memcmp(alone, got, sizeof got));
                continue;
            }
            for (int64_t r = 0; r < ROWS; r++) {
                double p[3][TINY_VOCAB], want[TINY_VOCAB], sum = 0;
                for (int i = 0; i < 3; i++) log_softmax(voices[i].slope, r, temperature, p[i]);
                for (int v = 0; v < TINY_VOCAB; v++) {
                    want[v] = 0;
                    for (int i = 0; i < 3; i++) want[v] += weights[i] * (k < 3 ? exp(p[i][v]) : p[i][v]);
                    if (k < 3) want[v] = log(want[v]);
                    sum += exp(want[v]);
                }
                for (int v = 0; v < TINY_VOCAB; v++)
                    CHECK_NEAR((double)got[r * TINY_VOCAB + v], want[v] - log(sum), 4e-6);
            }
        }
        di_teacher_release(blend);
    }
    for (int i = 0; i < 3; i++) di_teacher_release(voices[i].teacher);
    close_fixture(&f);
}

/* a up to step 10, then 4 steps of both, then b; from 20 on c at once. */
TEST(one_after_another)
{
    static const double weights[][4] = {{0, 1, 0, 0},      {9, 1, 0, 0},      {10, 0.8, 0.2, 0}, {11, 0.6, 0.4, 0},
                                        {12, 0.4, 0.6, 0}, {13, 0.2, 0.8, 0}, {14, 0, 1, 0},     {19, 0, 1, 0},
                                        {20, 0, 0, 1},     {1000000, 0, 0, 1}};
    static float got[ROOM], alone[ROOM];
    voice voices[3];
    di_teacher *blend = NULL;
    fixture f;
    dk_error err;
    open_fixture(&f, "weights_in_turn");
    for (int i = 0; i < 3; i++) open_voice(&f, 0.1 * i - 0.12, &voices[i]);
    REQUIRE_OK(blend_of(&f, voices, 3, "teacher: {schedule: [{until: 10}, {fade: 4, until: 20}, {}]}", &blend, &err));
    for (size_t k = 0; k < sizeof weights / sizeof *weights; k++) {
        di_tally tallies[3] = {{0}};
        const double *want = weights[k] + 1;
        for (int i = 0; i < 3; i++) voices[i].calls = 0;
        const int32_t raw = rows_of(&f, blend, (int64_t)weights[k][0], 1, got, tallies);
        for (int i = 0; i < 3; i++) {
            CHECK_NEAR(tallies[i].weight / ROWS, want[i], 1e-12);
            CHECK_INT(voices[i].calls > 0, want[i] > 0);
            if (want[i] < 1) continue;
            CHECK(raw);
            rows_of(&f, voices[i].teacher, 0, 1, alone, NULL);
            CHECK(!memcmp(alone, got, sizeof got));
        }
        for (int64_t r = 0; !raw && r < ROWS; r++) {
            double a[TINY_VOCAB], b[TINY_VOCAB];
            log_softmax(voices[0].slope, r, 1, a);
            log_softmax(voices[1].slope, r, 1, b);
            for (int v = 0; v < TINY_VOCAB; v++)
                CHECK_NEAR((double)got[r * TINY_VOCAB + v], log(want[0] * exp(a[v]) + want[1] * exp(b[v])), 4e-6);
        }
    }
    di_teacher_release(blend);
    for (int i = 0; i < 3; i++) di_teacher_release(voices[i].teacher);
    close_fixture(&f);
}

/* Another schedule is another teacher. */
TEST(hashes)
{
    static const char *const recipes[] = {
        "teacher: {blend: {weights: [0.5, 0.5]}}",
        "teacher: {blend: {weights: [{schedule: linear, from: 0.5, to: 0, steps: 9}, {schedule: linear, from: 0.5, to: "
        "1, steps: 9}]}}",
        "teacher: {blend: {weights: [{schedule: linear, from: 0.5, to: 0, steps: 8}, {schedule: linear, from: 0.5, to: "
        "1, steps: 8}]}}",
        "teacher: {blend: {weights: [{schedule: cosine, from: 0.5, to: 0, steps: 9}, {schedule: cosine, from: 0.5, to: "
        "1, steps: 9}]}}",
        "teacher: {schedule: [{until: 8}, {}]}",
        "teacher: {schedule: [{until: 8}, {fade: 3}]}",
        "teacher: {schedule: [{until: 9}, {fade: 3}]}",
    };
    enum { COUNT = sizeof recipes / sizeof *recipes };
    char hex[COUNT][65];
    voice voices[3];
    fixture f;
    dk_error err;
    open_fixture(&f, "weights_hashes");
    for (int i = 0; i < 3; i++) open_voice(&f, 0.1 * i, &voices[i]);
    for (int i = 0; i < COUNT; i++) {
        di_teacher *blend = NULL;
        REQUIRE_OK(blend_of(&f, voices, 2, recipes[i], &blend, &err));
        CHECK_OK(di_teacher_hash(blend, hex[i], &err));
        for (int k = 0; k < i; k++) CHECK(strcmp(hex[i], hex[k]));
        di_teacher_release(blend);
    }
    for (int i = 0; i < 3; i++) di_teacher_release(voices[i].teacher);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(refused) TEST_CASE(scheduled) TEST_CASE(one_after_another) TEST_CASE(hashes))
