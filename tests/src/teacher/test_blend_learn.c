/* Learned weights: the gradient against finite differences of the formula in double, and the step. */
#include <math.h>

#include "model_fixture.h"

enum { ROWS = 9, MEMBERS = 3 };

static int32_t labels[ROWS] = {5, 9, 3, 28, 0, 7, 2, 4, 6};

typedef struct voice {
    int64_t member;
    float bad; /* instead of a logit */
} voice;

static double logit(int64_t member, int64_t row, int64_t id)
{
    return (double)(float)(1.5 * sin((double)(3 * member + 2) * (double)id + (double)(row * row)));
}

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const voice *v = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : TINY_VOCAB;
    (void)batch;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < TINY_VOCAB; i++)
            ((float *)out->values->data)[r * stride + i] =
                i == 11 && v->bad != 0 ? v->bad : (float)logit(v->member, first + r, i);
    return DISTILL_CB_OK;
}

static const double temperatures[MEMBERS] = {1, 1.5, 0.8};

static void log_p(int64_t member, int64_t row, double out[TINY_VOCAB])
{
    double sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) sum += exp(out[v] = logit(member, row, v) / temperatures[member]);
    for (int v = 0; v < TINY_VOCAB; v++) out[v] -= log(sum);
}

/* Nats of the labels under the blend with these weights, whatever their sum is. */
static double nats(di_blend_mode mode, const double weights[MEMBERS])
{
    double total = 0;
    for (int64_t r = 0; r < ROWS; r++) {
        double p[MEMBERS][TINY_VOCAB], sum = 0, own = 0, normaliser = 0;
        for (int i = 0; i < MEMBERS; i++) log_p(i, r, p[i]);
        for (int i = 0; i < MEMBERS; i++) {
            sum += weights[i] * exp(p[i][labels[r]]);
            own += weights[i] * p[i][labels[r]];
        }
        for (int v = 0; v < TINY_VOCAB; v++) {
            double s = 0;
            for (int i = 0; i < MEMBERS; i++) s += weights[i] * p[i][v];
            normaliser += exp(s);
        }
        total -= mode == DI_BLEND_LINEAR ? log(sum) : own - log(normaliser);
    }
    return total;
}

static di_teacher *blend_of(fixture *f, voice voices[MEMBERS], di_blend_mode mode, di_learning how, dk_error *err)
{
    static const char *const names[MEMBERS] = {"a", "b", "c"};
    const di_blend_settings settings = {.mode = mode, .weighting = DI_WEIGH_LEARNED, .softness = 1};
    const di_blend_plan plan = {.learning = how};
    di_blend_member members[MEMBERS];
    di_teacher *blend = NULL;
    for (int i = 0; i < MEMBERS; i++) {
        voices[i].member = i;
        members[i] = (di_blend_member){fixture_voice(f, speak, &voices[i], 0), names[i], 0, temperatures[i]};
    }
    di_teacher_blend_planned(f->backend, members, MEMBERS, &settings, &plan, &blend, err);
    for (int i = 0; i < MEMBERS; i++) di_teacher_release(members[i].teacher);
    return blend;
}

TEST(gradient)
{
    static const di_blend_mode modes[] = {DI_BLEND_LINEAR, DI_BLEND_LOG_LINEAR};
    static const di_learning how = {.every = 1, .rate = 0.5, .floor = 0.02};
    static const double weights[MEMBERS] = {0.5, 0.2, 0.3};
    voice voices[MEMBERS] = {{0}};
    distill_batch batch = tiny_batch();
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_learn");
    for (int m = 0; m < 2; m++) {
        di_teacher *blend = blend_of(&f, voices, modes[m], how, &err);
        di_learner *learner = NULL;
        double moved[MEMBERS], want[MEMBERS], sum = 0, first[MEMBERS];
        REQUIRE(blend);
        REQUIRE(di_teacher_learning(blend) && di_teacher_learning(blend)->count == MEMBERS);
        di_teacher_first_weights(blend, first);
        CHECK_NEAR(first[1], 1.0 / 3, 1e-15);
        REQUIRE_OK(di_learner_create(blend, 0, 11, 2, &learner, &err));
        REQUIRE_OK(di_learner_add(learner, &batch, labels, weights, &err));
        const di_learned_sums *sums = di_learner_sums(learner);
        CHECK_INT(sums->tokens, ROWS);
        CHECK_NEAR(sums->nats, nats(modes[m], weights), 1e-5);
        for (int i = 0; i < MEMBERS; i++) {
            const double step = 1e-5;
            double up[MEMBERS], down[MEMBERS];
            memcpy(up, weights, sizeof up);
            memcpy(down, weights, sizeof down);
            up[i] += step;
            down[i] -= step;
            CHECK_NEAR(sums->gradient[i], (nats(modes[m], up) - nats(modes[m], down)) / (2 * step), 2e-5);
        }
        memcpy(moved, weights, sizeof moved);
        di_learn_step(&how, sums, MEMBERS, moved);
        for (int i = 0; i < MEMBERS; i++) sum += want[i] = weights[i] * exp(-0.5 * sums->gradient[i] / ROWS);
        for (int i = 0; i < MEMBERS; i++) CHECK_NEAR(moved[i], 0.02 + 0.94 * want[i] / sum, 1e-12);
        CHECK(nats(modes[m], moved) < nats(modes[m], weights));
        for (int k = 0; k < 200; k++) { /* the floor keeps every member alive */
            di_learn_step(&how, sums, MEMBERS, moved);
            for (int i = 0; i < MEMBERS; i++) CHECK(moved[i] >= 0.02);
            CHECK_NEAR(moved[0] + moved[1] + moved[2], 1, 1e-12);
        }
        di_learner_free(learner);
        voices[1].bad = NAN;
        REQUIRE_OK(di_learner_create(blend, 0, 11, 2, &learner, &err));
        CHECK_INT(di_learner_add(learner, &batch, labels, weights, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "teacher b");
        voices[1].bad = -INFINITY; /* an id that never comes */
        CHECK_OK(di_learner_add(learner, &batch, labels, weights, &err));
        for (int i = 0; i < MEMBERS; i++) CHECK(isfinite(di_learner_sums(learner)->gradient[i]));
        voices[1].bad = 0;
        di_learner_free(learner);
        di_teacher_release(blend);
    }
    close_fixture(&f);
}

/* The session takes the weights that it is told; outside of a training the first ones. */
/* A member that is itself a schedule is learned of as it is at that step. */
TEST(of_a_schedule)
{
    enum { TURN = 3 };
    static const di_learning how = {.every = 1, .rate = 0.5};
    static const double weights[2] = {0.4, 0.6};
    const di_ramp ramps[2 * DI_RAMPS] = {{0, {TURN, 0, DI_STEP}}, {0}, {0, {TURN, 1, DI_STEP}}, {0}};
    const di_blend_settings linear = {.softness = 1}, learned = {.weighting = DI_WEIGH_LEARNED, .softness = 1};
    const di_blend_plan turns = {.ramps = ramps}, learns = {.learning = how};
    voice voices[3] = {{0, 0}, {1, 0}, {2, 0}};
    di_teacher *of[3], *turned = NULL;
    double found[3];
    distill_batch batch = tiny_batch();
    dk_error err;
    fixture f;
    open_fixture(&f, "learn_schedule");
    for (int i = 0; i < 3; i++) of[i] = fixture_voice(&f, speak, &voices[i], 0);
    const di_blend_member two[2] = {{of[0], "x", 1, 0}, {of[1], "y", 0, 0}};
    REQUIRE_OK(di_teacher_blend_planned(f.backend, two, 2, &linear, &turns, &turned, &err));
    for (int i = 0; i < 3; i++) { /* before the turn, behind it, and of who is left there */
        const di_blend_member members[2] = {{i < 2 ? turned : of[1], "a", 0, 0}, {of[2], "b", 0, 0}};
        di_teacher *blend = NULL;
        di_learner *learner = NULL;
        REQUIRE_OK(di_teacher_blend_planned(f.backend, members, 2, &learned, &learns, &blend, &err));
        REQUIRE_OK(di_learner_create(blend, i ? TURN : TURN - 1, 11, 2, &learner, &err));
        CHECK_OK(di_learner_add(learner, &batch, labels, weights, &err));
        found[i] = di_learner_sums(learner)->nats;
        di_learner_free(learner);
        di_teacher_release(blend);
    }
    CHECK(found[1] == found[2] && fabs(found[0] - found[1]) > 1e-3);
    di_teacher_release(turned);
    for (int i = 0; i < 3; i++) di_teacher_release(of[i]);
    close_fixture(&f);
}

TEST(refused_and_hashed)
{
    static const di_learning hows[] = {{.every = 10, .rate = 0.5, .floor = 0.01},
                                       {.every = 11, .rate = 0.5, .floor = 0.01},
                                       {.every = 10, .rate = 0.6, .floor = 0.01},
                                       {.every = 10, .rate = 0.5, .floor = 0.02},
                                       {.every = 10, .rate = 0.5, .floor = 0.01, .tokens = 5}};
    char hex[5][65];
    voice voices[MEMBERS] = {{0}};
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_learn_refused");
    CHECK(!blend_of(&f, voices, DI_BLEND_LINEAR, (di_learning){.every = 0}, &err));
    CHECK_HAS(err.message, "learn.every");
    CHECK(!blend_of(&f, voices, DI_BLEND_LINEAR, (di_learning){.every = 3, .floor = 0.4}, &err));
    CHECK_HAS(err.message, "floor 0.4 for 3 teachers");
    for (int i = 0; i < 5; i++) {
        di_teacher *blend = blend_of(&f, voices, DI_BLEND_LINEAR, hows[i], &err);
        REQUIRE(blend);
        CHECK_OK(di_teacher_hash(blend, hex[i], &err));
        for (int k = 0; k < i; k++) CHECK(strcmp(hex[i], hex[k]));
        CHECK(di_teacher_changes(blend));
        di_teacher_release(blend);
    }
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(gradient) TEST_CASE(of_a_schedule) TEST_CASE(refused_and_hashed))
