/* What members had to say: rows that they were asked for and the weights that they really got, against the formulas. */
#include <math.h>

#include "model_fixture.h"

enum { ROWS = 9 };

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const float *slope = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : TINY_VOCAB;
    (void)batch;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < TINY_VOCAB; i++)
            ((float *)out->values->data)[r * stride + i] = *slope * (float)((i * 7 + first + r) % TINY_VOCAB);
    return DISTILL_CB_OK;
}

static void softmax(double slope, int64_t row, double p[TINY_VOCAB])
{
    double sum = 0;
    for (int64_t v = 0; v < TINY_VOCAB; v++) sum += p[v] = exp(slope * (double)((v * 7 + row) % TINY_VOCAB));
    for (int64_t v = 0; v < TINY_VOCAB; v++) p[v] /= sum;
}

static double entropy(const double *p)
{
    double sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) sum -= p[v] * log(p[v]);
    return sum;
}

/* The tallies of one batch that a teacher scores, strip by strip of 4 rows at two temperatures. */
static void tally_of(fixture *f, di_teacher *teacher, di_tally *out, int64_t count)
{
    static const double temperatures[2] = {1, 3};
    di_session *session = NULL;
    dk_buffer *buffer = NULL;
    dk_error err;
    distill_batch batch = tiny_batch();
    batch.sources = (const char *const[]){"pt", "en"};
    memset(out, 0, (size_t)count * sizeof *out);
    REQUIRE_OK(f->backend->ops->buffer_create(f->backend, 2 * 4 * TINY_VOCAB * 4, &buffer, &err));
    REQUIRE_OK(di_session_create(teacher, 11, 2, ROWS, &session, &err));
    REQUIRE_OK(di_session_forward(session, &batch, &err));
    const di_source *source = di_session_source(session);
    for (int64_t first = 0; first < ROWS; first += 4) {
        const int64_t rows = ROWS - first < 4 ? ROWS - first : 4;
        const dk_view strips[2] = {dk_view_2d(buffer, 0, DK_F32, rows, TINY_VOCAB),
                                   dk_view_2d(buffer, 4 * TINY_VOCAB * 4, DK_F32, rows, TINY_VOCAB)};
        CHECK_OK(source->rows_at(source->self, first, rows, 2, temperatures, strips, &err));
    }
    di_session_tally(session, out);
    di_session_drop(session); /* what was asked is forgotten with the batch */
    di_tally after[8] = {{0}};
    di_session_tally(session, after);
    for (int64_t i = 0; i < count; i++) CHECK(after[i].asked == 0 && after[i].rows == 0 && after[i].weight == 0);
    di_session_free(session);
    f->backend->ops->buffer_free(f->backend, buffer);
}

/* Mean weights of two members with these slopes, as the mode says. */
static void weights_by_formula(const di_blend_settings *how, const double given[2], const float slopes[2],
                               const int32_t labels[ROWS], double out[2])
{
    out[0] = out[1] = 0;
    for (int64_t r = 0; r < ROWS; r++) {
        double w[2], score[2], p[TINY_VOCAB];
        for (int i = 0; i < 2; i++) {
            softmax((double)slopes[i], r, p);
            w[i] = given[i];
            if (how->weighting == DI_WEIGH_ENTROPY) w[i] *= exp(-entropy(p) / how->softness);
            if (how->weighting == DI_WEIGH_LABEL) w[i] *= exp(p[labels[r]] / how->softness);
            score[i] = how->mode == DI_BLEND_MIN_ENTROPY ? -entropy(p) : p[labels[r]];
        }
        if (how->mode == DI_BLEND_LINEAR || how->mode == DI_BLEND_LOG_LINEAR)
            for (int i = 0; i < 2; i++) out[i] += w[i] / (w[0] + w[1]) / ROWS;
        else out[score[1] > score[0]] += 1.0 / ROWS;
    }
}

TEST(weights_that_rows_got)
{
    static float slopes[2] = {0.1f, -0.15f};
    static const int32_t labels[ROWS] = {5, 9, 3, 28, 0, 7, 2, 4, 6};
    static const di_blend_settings settings[] = {{DI_BLEND_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0},
                                                 {DI_BLEND_LOG_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0},
                                                 {DI_BLEND_LINEAR, DI_WEIGH_ENTROPY, 0.3, 0, 0, 0, 0, 0},
                                                 {DI_BLEND_LOG_LINEAR, DI_WEIGH_LABEL, 0.05, 0, 0, 0, 0, 0},
                                                 {DI_BLEND_MIN_ENTROPY, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0},
                                                 {DI_BLEND_MIN_CROSS_ENTROPY, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0}};
    fixture f;
    dk_error err;
    open_fixture(&f, "tally");
    di_teacher *voices[2] = {fixture_voice(&f, speak, &slopes[0], 0), fixture_voice(&f, speak, &slopes[1], 0)},
               *blend = NULL;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const int32_t mixture = i < 4;
        const double given[2] = {mixture ? 0.7 : 0.5, mixture ? 0.3 : 0.5};
        const di_blend_member members[2] = {{voices[0], "a", given[0], 0}, {voices[1], "b", given[1], 0}};
        di_tally tallies[2];
        double want[2];
        REQUIRE_OK(di_teacher_blend(f.backend, members, 2, &settings[i], &blend, &err));
        CHECK_INT(di_teacher_member_count(blend), 2);
        tally_of(&f, blend, tallies, 2);
        weights_by_formula(&settings[i], given, slopes, labels, want);
        for (int k = 0; k < 2; k++) {
            CHECK_INT(tallies[k].asked, ROWS);
            CHECK_INT(tallies[k].rows, ROWS);
            CHECK_NEAR(tallies[k].weight / ROWS, want[k], 2e-6);
        }
        di_teacher_release(blend);
    }
    CHECK_INT(di_teacher_member_count(voices[0]), 0);
    CHECK(di_teacher_member(voices[0], 0) == NULL);
    di_teacher_release(voices[0]);
    di_teacher_release(voices[1]);
    close_fixture(&f);
}

/* Members of members have their path for a name, and their weights in the blend that they stand in. */
TEST(blends_in_blends)
{
    static float slopes[2] = {0.1f, -0.15f};
    static const char *const names[4] = {"alone", "both", "both/x", "both/y"};
    static const double shares[4] = {0.25, 0.75, 0.6, 0.4};
    const di_blend_settings linear = {DI_BLEND_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0};
    fixture f;
    dk_error err;
    dk_strbuf text;
    di_tally tallies[4];
    open_fixture(&f, "tally_nested");
    dk_strbuf_init(&text, f.host);
    di_teacher *a = fixture_voice(&f, speak, &slopes[0], 0), *b = fixture_voice(&f, speak, &slopes[1], 0),
               *inner = NULL, *outer = NULL;
    const di_blend_member of_inner[2] = {{a, "x", 0.6, 0}, {b, "y", 0.4, 0}};
    REQUIRE_OK(di_teacher_blend(f.backend, of_inner, 2, &linear, &inner, &err));
    const di_blend_member of_outer[2] = {{inner, "both", 0.75, 0}, {a, "alone", 0.25, 0}};
    REQUIRE_OK(di_teacher_blend(f.backend, of_outer, 2, &linear, &outer, &err));
    REQUIRE(di_teacher_member_count(outer) == 4);
    tally_of(&f, outer, tallies, 4);
    for (int i = 0; i < 4; i++) {
        dk_strbuf_clear(&text);
        di_teacher_member_name(outer, i, &text);
        CHECK_STR(text.data, names[i]);
        CHECK_INT(tallies[i].asked, ROWS);
        CHECK_NEAR(tallies[i].weight, ROWS * shares[i], 1e-12);
    }
    CHECK(di_teacher_member(outer, 1) == inner && di_teacher_member(outer, 3) == b);
    dk_strbuf_clear(&text);
    tallies[1] = (di_tally){8, 16, 4};
    di_tally_json(outer, tallies, &text);
    CHECK_HAS(text.data, "\"both\":{\"tokens\":8,\"weight\":0.25}");
    dk_strbuf_free(&text);
    di_teacher_release(outer);
    di_teacher_release(inner);
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

/* Rows of a route are its members' by sample: all of a sample's teacher, none of the others. A member's own temperature
 * makes no member of it. */
TEST(routes)
{
    static float slopes[2] = {0.1f, -0.15f};
    static const struct {
        const char *name;
        int64_t asked, rows;
        double weight;
    } want[4] = {{"en", 3, ROWS, 3}, {"en/x", 3, 3, 1.8}, {"en/y", 3, 3, 1.2}, {"pt", 6, ROWS, 6}};
    const di_blend_settings linear = {DI_BLEND_LINEAR, DI_WEIGH_STATIC, 1, 0, 0, 0, 0, 0};
    const di_route_settings how = {.by = DI_ROUTE_SOURCE};
    fixture f;
    dk_error err;
    dk_strbuf text;
    di_tally tallies[4];
    open_fixture(&f, "tally_route");
    dk_strbuf_init(&text, f.host);
    di_teacher *a = fixture_voice(&f, speak, &slopes[0], 0), *b = fixture_voice(&f, speak, &slopes[1], 0), *both = NULL,
               *route = NULL;
    const di_blend_member of_both[2] = {{a, "x", 0.6, 0}, {b, "y", 0.4, 0}};
    REQUIRE_OK(di_teacher_blend(f.backend, of_both, 2, &linear, &both, &err));
    const di_blend_member of_route[2] = {{both, "en", 0, 0}, {a, "pt", 0, 1.5}};
    REQUIRE_OK(di_teacher_route(f.backend, of_route, 2, &how, &route, &err));
    REQUIRE(di_teacher_member_count(route) == 4);
    tally_of(&f, route, tallies, 4);
    for (int i = 0; i < 4; i++) {
        dk_strbuf_clear(&text);
        di_teacher_member_name(route, i, &text);
        CHECK_STR(text.data, want[i].name);
        CHECK_INT(tallies[i].asked, want[i].asked);
        CHECK_INT(tallies[i].rows, want[i].rows);
        CHECK_NEAR(tallies[i].weight, want[i].weight, 1e-12);
    }
    CHECK(di_teacher_member(route, 3) == a);
    dk_strbuf_clear(&text);
    di_tally_json(route, tallies, &text);
    CHECK_HAS(text.data, "\"pt\":{\"tokens\":6,\"weight\":0.6666666666666666}");
    dk_strbuf_clear(&text);
    REQUIRE_OK(di_teacher_manifest(route, &text, &err));
    CHECK_HAS(text.data, "{\"name\":\"pt\",\"temperature\":1.5,\"kind\":\"callbacks\",");
    dk_strbuf_free(&text);
    di_teacher_release(route);
    di_teacher_release(both);
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(weights_that_rows_got) TEST_CASE(blends_in_blends) TEST_CASE(routes))
