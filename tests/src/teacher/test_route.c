/* Routes: each sample by one of several teachers. What is refused, who is asked how often, and that every row is what
 * its teacher says of that sample alone. */
#include <math.h>

#include "model_fixture.h"

enum { SAMPLES = 5, ROWS = 19, TOP = 4 };

static int32_t route_ids[24] = {1, 5, 9, 3, 28, 0, 7, 1, 2, 4, 6, 1, 11, 13, 17, 1, 8, 8, 3, 20, 1, 9, 2, 4};
static int64_t route_offsets[SAMPLES + 1] = {0, 7, 11, 15, 20, 24};
static const char *const sources[SAMPLES] = {"pt", "en", "pt", "fr", "en"};
static const char *const tags[SAMPLES] = {"en", "", "pt", NULL, "pt"};

static distill_batch routed_batch(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = route_ids;
    batch.offsets = route_offsets;
    batch.sequences = SAMPLES;
    batch.sources = sources;
    batch.tags = tags;
    return batch;
}

static distill_batch one_sample(int64_t sample, int64_t offsets[2])
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    offsets[0] = 0;
    offsets[1] = route_offsets[sample + 1] - route_offsets[sample];
    batch.ids = route_ids + route_offsets[sample];
    batch.offsets = offsets;
    batch.sequences = 1;
    return batch;
}

/* ---- teachers that count how often they are asked ---- */

typedef struct voice {
    float slope;
    int64_t kind; /* DENSE or TOPK */
    int64_t passes, calls, sequences, rows;
    const char *source; /* of the first sequence that it was asked about */
} voice;

static int64_t place_of(const distill_batch *batch, int64_t row)
{
    int64_t places[64];
    if (batch->rows) return batch->rows[row];
    di_batch_row_places(batch, places);
    return places[row];
}

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    voice *v = user;
    const int64_t width = v->kind == DISTILL_TOPK ? TOP : TINY_VOCAB;
    const int64_t stride = out->values->strides ? out->values->strides[0] : width;
    v->calls++;
    v->rows += count;
    if (!first) {
        v->passes++;
        v->sequences += batch->sequences;
        v->source = batch->sources ? batch->sources[0] : NULL;
    }
    for (int64_t r = 0; r < count; r++) {
        const int32_t id = batch->ids[place_of(batch, first + r)];
        for (int64_t i = 0; i < width; i++) {
            float *value = &((float *)out->values->data)[r * stride + i];
            *value = v->slope * (float)((id * 7 + i) % TINY_VOCAB);
            if (v->kind != DISTILL_TOPK) continue;
            *value = (float)log(0.2) - v->slope * (float)(i + 1);
            ((int32_t *)out->ids->data)[r * TOP + i] = (int32_t)((id + i) % TINY_VOCAB);
        }
    }
    return DISTILL_CB_OK;
}

static di_teacher *open_voice(fixture *f, voice *v, double temperature)
{
    int64_t shape[1] = {v->kind == DISTILL_TOPK ? TOP : TINY_VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    di_teacher *teacher = NULL;
    if (!v->kind) v->kind = DISTILL_DENSE;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = (int32_t)v->kind;
    form.values = &values;
    form.temperature = temperature;
    form.vocab_valid = TINY_VOCAB;
    table.user = v;
    table.score = speak;
    table.form = &form;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &teacher, NULL)) exit(3);
    return teacher;
}

static int32_t route_two(fixture *f, di_teacher *en, di_teacher *pt, di_route_settings how, di_teacher **out,
                         dk_error *err)
{
    const di_blend_member members[2] = {{en, "en", 0, 0}, {pt, "pt", 0, 0}};
    *out = NULL;
    return di_teacher_route(f->backend, members, 2, &how, out, err);
}

/* Every row of the batch is, bit for bit, what teachers[choice[sample]] says of its sample alone. */
static void check_samples(di_teacher *route, di_teacher *const *teachers, const int *choice)
{
    static float all[ROWS * TINY_VOCAB], own[ROWS * TINY_VOCAB];
    const distill_batch batch = routed_batch();
    const float *at = all;
    dk_error err;
    REQUIRE_OK(score_with(route, &batch, all, &err));
    for (int64_t sample = 0; sample < SAMPLES; sample++) {
        int64_t offsets[2];
        const distill_batch one = one_sample(sample, offsets);
        REQUIRE_OK(score_with(teachers[choice[sample]], &one, own, &err));
        const size_t values = (size_t)(offsets[1] - 1) * TINY_VOCAB;
        CHECK(!memcmp(at, own, values * sizeof *own));
        at += values;
    }
}

TEST(by_source)
{
    static const int choice[SAMPLES] = {1, 0, 1, 0, 0};
    const di_route_name fr = {"fr", "en"};
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.3f}};
    static float logits[ROWS * TINY_VOCAB];
    di_route_settings how = {.by = DI_ROUTE_SOURCE};
    di_teacher *route = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_source");
    distill_batch batch = routed_batch();
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    for (int mapped = 0; mapped < 2; mapped++) {
        how.map = mapped ? (di_route_name *)(uintptr_t)&fr : NULL;
        how.map_count = mapped;
        how.other = mapped ? NULL : "en";
        REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
        check_samples(route, teachers, choice);
        voices[0].passes = voices[1].passes = voices[0].calls = voices[1].calls = 0;
        voices[0].sequences = voices[1].sequences = voices[0].rows = voices[1].rows = 0;
        CHECK_OK(score_with(route, &batch, logits, &err));
        for (int i = 0; i < 2; i++) { /* one pass for each teacher, with its samples alone */
            CHECK_INT(voices[i].passes, 1);
            CHECK_INT(voices[i].calls, 1);
            CHECK_INT(voices[i].sequences, i ? 2 : 3);
            CHECK_INT(voices[i].rows, i ? 9 : 10);
            CHECK_HAS(voices[i].source, i ? "pt" : "en");
        }
        di_teacher_release(route);
    }
    how = (di_route_settings){.by = DI_ROUTE_SOURCE}; /* neither map nor default: fr is nobody's */
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "sequence 3 (source fr) has no teacher in the route (en, pt)");
    CHECK_HAS(err.message, "default");
    batch.sequences = 1; /* one source alone: the other teacher is not asked */
    voices[0].calls = 0;
    CHECK_OK(score_with(route, &batch, logits, &err));
    CHECK_INT(voices[0].calls, 0);
    batch.sources = NULL;
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "says no source");
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

TEST(by_tag)
{
    static const int choice[SAMPLES] = {0, 0, 1, 0, 1};
    static const int turned[SAMPLES] = {1, 1, 0, 1, 0};
    di_route_name map[2] = {{"pt", "en"}, {"en", "pt"}};
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.3f}};
    di_route_settings how = {.by = DI_ROUTE_TAG, .other = "en"};
    di_teacher *route = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_tag");
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    for (int by = DI_ROUTE_TAG; by <= DI_ROUTE_TEACHER; by++) {
        how.by = (di_route_by)by;
        REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
        check_samples(route, teachers, choice);
        di_teacher_release(route);
    }
    how = (di_route_settings){.by = DI_ROUTE_TAG, .other = "pt", .map = map, .map_count = 2};
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    check_samples(route, teachers, turned);
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

typedef struct chooser {
    int destroyed, asked, code;
    di_teacher *again; /* asked from inside */
    int64_t gives;     /* -2 = by the length of the sequence */
} chooser;

static int32_t choose(void *user, const distill_batch *batch, int64_t sequence, const char *source, const char *tag,
                      int64_t *member)
{
    chooser *c = user;
    c->asked++;
    if (c->again) {
        static float logits[ROWS * TINY_VOCAB];
        dk_error err;
        CHECK_INT(score_with(c->again, batch, logits, &err), DK_E_BUSY);
        CHECK_HAS(err.message, "the route's function runs");
    }
    if (strcmp(source, sources[sequence]) || strcmp(tag, tags[sequence] ? tags[sequence] : "")) return 77;
    *member = c->gives == -2 ? (batch->offsets[sequence + 1] - batch->offsets[sequence]) % 2 : c->gives;
    return c->code;
}

static void choose_destroy(void *user) { ((chooser *)user)->destroyed++; }

TEST(by_function)
{
    static const int choice[SAMPLES] = {1, 0, 0, 1, 0};
    static float logits[ROWS * TINY_VOCAB];
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.3f}};
    chooser c = {.gives = -2};
    di_route_settings how = {.by = DI_ROUTE_CALLBACK, .fn = choose, .user = &c, .destroy = choose_destroy};
    di_teacher *route = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_function");
    const distill_batch batch = routed_batch();
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    check_samples(route, teachers, choice);
    CHECK_INT(c.asked, SAMPLES);
    c.again = route;
    CHECK_OK(score_with(route, &batch, logits, &err));
    c.again = NULL;
    c.gives = 2;
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_CALLBACK);
    CHECK_HAS(err.message, "gave teacher 2 of 2 for sequence 0 (source pt)");
    c.gives = -1;
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_NOT_FOUND);
    c.gives = 0;
    c.code = 5;
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_CALLBACK);
    CHECK_INT(err.user_code, 5);
    c.code = DISTILL_CB_CANCEL;
    CHECK_INT(score_with(route, &batch, logits, &err), DK_E_CANCELLED);
    CHECK_INT(c.destroyed, 0);
    di_teacher_release(route);
    CHECK_INT(c.destroyed, 1);
    how.other = "xx";
    CHECK_INT(route_two(&f, teachers[0], teachers[1], how, &route, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "the default is xx, which is none of its teachers (en, pt)");
    CHECK_INT(c.destroyed, 2);
    how.other = "pt";
    c = (chooser){.gives = -1};
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    check_samples(route, teachers, (const int[SAMPLES]){1, 1, 1, 1, 1});
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

/* ---- the likeliest prompt ---- */

static double log_p(const voice *v, int32_t id, int32_t next)
{
    double sum = 0;
    for (int i = 0; i < TINY_VOCAB; i++) sum += exp((double)v->slope * ((id * 7 + i) % TINY_VOCAB));
    return (double)v->slope * ((id * 7 + next) % TINY_VOCAB) - log(sum);
}

TEST(by_prompt)
{
    static float all[ROWS * TINY_VOCAB], own[ROWS * TINY_VOCAB];
    static const int64_t firsts[SAMPLES] = {5, 9, 13, 17, 22}; /* the first row of each sample */
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.1f}};
    di_route_settings how = {.by = DI_ROUTE_PROMPT_PERPLEXITY};
    di_teacher *route = NULL;
    int64_t rows[ROWS], count = 0, offsets[2], of_each[2] = {0, 0};
    dk_error err;
    fixture f;
    open_fixture(&f, "route_prompt");
    distill_batch batch = routed_batch();
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t at = firsts[s]; at + 1 < route_offsets[s + 1]; at++) rows[count++] = at;
    batch.rows = rows;
    batch.row_count = count;
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    REQUIRE_OK(score_with(route, &batch, all, &err));
    CHECK_INT(voices[0].passes + voices[1].passes, 4); /* prompts, then samples: one pass each */
    const float *at = all;
    for (int64_t s = 0; s < SAMPLES; s++) {
        double nats[2] = {0, 0};
        for (int m = 0; m < 2; m++)
            for (int64_t i = route_offsets[s]; i < firsts[s]; i++)
                nats[m] -= log_p(&voices[m], route_ids[i], route_ids[i + 1]);
        const int best = nats[1] < nats[0];
        distill_batch one = one_sample(s, offsets);
        int64_t own_rows[8], own_count = 0;
        for (int64_t r = firsts[s]; r + 1 < route_offsets[s + 1]; r++) own_rows[own_count++] = r - route_offsets[s];
        one.rows = own_rows;
        one.row_count = own_count;
        REQUIRE_OK(score_with(teachers[best], &one, own, &err));
        CHECK(!memcmp(at, own, (size_t)own_count * TINY_VOCAB * sizeof *own));
        at += own_count * TINY_VOCAB;
        of_each[best]++;
    }
    CHECK(of_each[0] > 0 && of_each[1] > 0);
    voices[1].slope = NAN;
    batch.rows = rows + 1; /* nothing is asked of the first sample */
    batch.row_count = count - 1;
    CHECK_INT(score_with(route, &batch, all, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "the prompt of sequence 1 (source ");
    CHECK_HAS(err.message, "teacher pt: row 0 (sequence 0, token 0): a logit is nan");
    CHECK_INT(err.position, 1);
    voices[1].slope = -0.1f;
    batch.rows = NULL; /* all is learnt: there are no prompts */
    CHECK_INT(score_with(route, &batch, all, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "sequence 0 (source pt)");
    CHECK_HAS(err.message, "no prompt");
    di_teacher_release(route);
    how.other = "pt";
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    check_samples(route, teachers, (const int[SAMPLES]){1, 1, 1, 1, 1});
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

/* Prompts are scored as members are at the step of the batch, not at that of an earlier one. */
TEST(by_prompt_at_a_step)
{
    enum { TURN = 3 };
    const di_ramp ramps[2 * DI_RAMPS] = {{0, {TURN, 0, DI_STEP}}, {0}, {0, {TURN, 1, DI_STEP}}, {0}};
    const di_blend_settings linear = {.softness = 1};
    const di_blend_plan turns = {.ramps = ramps};
    const di_route_settings how = {.by = DI_ROUTE_PROMPT_PERPLEXITY};
    static const int64_t firsts[SAMPLES] = {5, 9, 13, 17, 22};
    voice voices[3] = {{.slope = 0.1f}, {.slope = -0.1f}, {.slope = 0}};
    int64_t rows[ROWS], count = 0, of_even[2];
    di_teacher *of[3], *turned = NULL, *route = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_prompt_step");
    distill_batch batch = routed_batch();
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t at = firsts[s]; at + 1 < route_offsets[s + 1]; at++) rows[count++] = at;
    batch.rows = rows;
    batch.row_count = count;
    for (int i = 0; i < 3; i++) of[i] = open_voice(&f, &voices[i], 0);
    const di_blend_member two[2] = {{of[0], "x", 1, 0}, {of[1], "y", 0, 0}};
    REQUIRE_OK(di_teacher_blend_planned(f.backend, two, 2, &linear, &turns, &turned, &err));
    const di_blend_member members[2] = {{turned, "a", 0, 0}, {of[2], "b", 0, 0}};
    REQUIRE_OK(di_teacher_route(f.backend, members, 2, &how, &route, &err));
    for (int behind = 0; behind < 2; behind++) {
        di_session *session = NULL;
        REQUIRE_OK(di_session_create(route, 24, SAMPLES, count, &session, &err));
        di_session_set_step(session, behind ? TURN : TURN - 1);
        voices[2].sequences = 0;
        REQUIRE_OK(di_session_forward(session, &batch, &err)); /* its prompts, of all samples */
        of_even[behind] = 0;
        for (int64_t s = 0; s < SAMPLES; s++) {
            double nats = 0;
            for (int64_t i = route_offsets[s]; i < firsts[s]; i++)
                nats -= log_p(&voices[behind], route_ids[i], route_ids[i + 1]) + log(TINY_VOCAB);
            of_even[behind] += nats >= 0;
        }
        dk_buffer *buffer = NULL;
        const distill_target *none = NULL;
        const double one = 1;
        REQUIRE_OK(f.backend->ops->buffer_create(f.backend, ROWS * TINY_VOCAB * 4, &buffer, &err));
        const dk_view strip = dk_view_2d(buffer, 0, DK_F32, count, TINY_VOCAB);
        const di_source *source = di_session_source(session);
        CHECK_OK(source->rows_at ? source->rows_at(source->self, 0, count, 1, &one, &strip, &err)
                                 : source->rows(source->self, 0, count, strip, &none, &err));
        CHECK_INT(voices[2].sequences - SAMPLES, of_even[behind]);
        f.backend->ops->buffer_free(f.backend, buffer);
        di_session_free(session);
    }
    CHECK(of_even[0] != of_even[1]);
    di_teacher_release(route);
    di_teacher_release(turned);
    for (int i = 0; i < 3; i++) di_teacher_release(of[i]);
    close_fixture(&f);
}

/* ---- what fits together ---- */

static void check_refused(fixture *f, di_blend_member a, di_blend_member b, di_route_settings how, int32_t code,
                          const char *part)
{
    const di_blend_member members[2] = {a, b};
    di_teacher *none = NULL;
    dk_error err;
    CHECK_INT(di_teacher_route(f->backend, members, 2, &how, &none, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!strchr(err.message, '\n'));
    CHECK(none == NULL);
}

TEST(refused)
{
    di_route_name map[1] = {{"fr", "de"}};
    voice plain = {.slope = 0.1f}, top = {.slope = 0.1f, .kind = DISTILL_TOPK};
    di_route_settings how = {.by = DI_ROUTE_SOURCE};
    di_teacher *route = NULL;
    int64_t unused;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_refused");
    const distill_batch batch = routed_batch();
    di_teacher *a = open_voice(&f, &plain, 0), *b = open_voice(&f, &plain, 0), *sparse = open_voice(&f, &top, 0),
               *warm = open_voice(&f, &top, 2);
    check_refused(&f, (di_blend_member){a, "a", 0.5, 0}, (di_blend_member){b, "b", 0.5, 0}, how, DK_E_OPTION,
                  "teacher a has weight 0.5");
    check_refused(&f, (di_blend_member){a, "x", 0, 0}, (di_blend_member){b, "x", 0, 0}, how, DK_E_OPTION,
                  "two teachers are called x (members 0 and 1): rename one");
    check_refused(&f, (di_blend_member){a, "a", 0, -2}, (di_blend_member){b, "b", 0, 0}, how, DK_E_OPTION,
                  "the temperature of teacher a is -2");
    check_refused(&f, (di_blend_member){a, "a", 0, 0}, (di_blend_member){sparse, "b", 0, 0}, how, DK_E_UNSUPPORTED,
                  "teacher a gives DENSE targets and b TOPK ones");
    check_refused(&f, (di_blend_member){sparse, "a", 0, 0}, (di_blend_member){warm, "b", 0, 0}, how, DK_E_UNSUPPORTED,
                  "at temperature 1, those of b at 2");
    how.map = map;
    how.map_count = 1;
    check_refused(&f, (di_blend_member){a, "a", 0, 0}, (di_blend_member){b, "b", 0, 0}, how, DK_E_OPTION,
                  "the teacher of fr is de, which is none of its teachers (a, b)");
    how.by = DI_ROUTE_PROMPT_PERPLEXITY;
    check_refused(&f, (di_blend_member){a, "a", 0, 0}, (di_blend_member){b, "b", 0, 0}, how, DK_E_OPTION,
                  "a map goes with");
    how.map_count = 0;
    check_refused(&f, (di_blend_member){sparse, "a", 0, 0}, (di_blend_member){sparse, "b", 0, 0}, how, DK_E_UNSUPPORTED,
                  "needs logits");
    CHECK_INT(di_teacher_route(f.backend, NULL, 0, &how, &route, &err), DK_E_OPTION);

    how.by = DI_ROUTE_SOURCE;
    REQUIRE_OK(route_two(&f, a, b, how, &route, &err));
    CHECK_INT(di_teacher_generate(route, &batch, NULL, NULL, NULL, NULL, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "without a default only scores");
    CHECK_INT(di_teacher_get_i64(route, "layers", &unused, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "a route of teachers has no layers");
    CHECK_INT(di_teacher_vocab(route), TINY_VOCAB);
    di_teacher_release(route);
    how.other = "en"; /* whose table has no generate: the default is asked */
    REQUIRE_OK(route_two(&f, a, b, how, &route, &err));
    CHECK_INT(di_teacher_generate(route, &batch, NULL, NULL, NULL, NULL, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "its table has no generate");
    di_teacher_release(route);
    di_teacher_release(a);
    di_teacher_release(b);
    di_teacher_release(sparse);
    di_teacher_release(warm);
    close_fixture(&f);
}

/* ---- sparse targets ---- */

TEST(sparse)
{
    voice voices[2] = {{.slope = 0.1f, .kind = DISTILL_TOPK}, {.slope = 0.3f, .kind = DISTILL_TOPK}};
    const distill_target *target = NULL;
    di_session *session = NULL;
    di_teacher *route = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_sparse");
    const distill_batch batch = routed_batch();
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    di_route_settings how = {.by = DI_ROUTE_SOURCE, .other = "en"};
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    CHECK_INT(di_teacher_form(route)->kind, DISTILL_TOPK);
    REQUIRE_OK(di_session_create(route, 24, SAMPLES, ROWS, &session, &err));
    REQUIRE_OK(di_session_forward(session, &batch, &err));
    const di_source *source = di_session_source(session);
    int64_t places[ROWS];
    di_batch_row_places(&batch, places);
    for (int64_t first = 0; first < ROWS; first += 8) {
        const int64_t count = ROWS - first < 8 ? ROWS - first : 8;
        REQUIRE_OK(source->rows(source->self, first, count, dk_view_none(), &target, &err));
        REQUIRE_OK(di_check_target(target, "target", count, &err));
        for (int64_t r = 0; r < count; r++) {
            const int64_t place = places[first + r];
            const voice *v = &voices[place < 7 || (place >= 11 && place < 15)];
            for (int i = 0; i < TOP; i++) {
                const float want = (float)log(0.2) - v->slope * (float)(i + 1);
                CHECK_INT(((int32_t *)target->ids->data)[r * TOP + i], (route_ids[place] + i) % TINY_VOCAB);
                CHECK(((float *)target->values->data)[r * TOP + i] == want);
            }
        }
    }
    CHECK_INT(voices[0].passes, 1);
    CHECK_INT(voices[1].passes, 1);
    di_session_free(session);
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

/* ---- compositions, against what the members say ---- */

static void log_softmax(const float *z, double temperature, double *out)
{
    double top = -INFINITY, sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) top = (double)z[v] > top ? (double)z[v] : top;
    for (int v = 0; v < TINY_VOCAB; v++) sum += exp(((double)z[v] - top) / temperature);
    for (int v = 0; v < TINY_VOCAB; v++) out[v] = ((double)z[v] - top) / temperature - log(sum);
}

static int32_t open_recipe(fixture *f, const char *recipe, di_teacher **out, dk_error *err)
{
    di_options *options = NULL;
    int32_t rc;
    *out = NULL;
    if (di_options_create(f->host, &options, NULL)) exit(3);
    rc = di_options_parse(options, recipe, strlen(recipe), "recipe.yaml", f->folder, err);
    if (!rc) rc = di_teacher_from_options(f->backend, options, NULL, out, err);
    di_options_free(options);
    return rc;
}

static void save_model(fixture *f, const char *name, uint64_t seed)
{
    dk_document *config = NULL;
    dk_model *model = NULL;
    dk_error err;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    if (dk_json_open(f->host, f->config, &config, &err) ||
        dk_model_create(f->backend, config, 0.4, seed, &model, &err) || dk_dir_create(f->host, path, &err) ||
        dk_model_save(model, path, DK_F32, &err))
        exit(3);
    dk_document_free(config);
    dk_model_free(model);
}

TEST(recipes)
{
    static const char teachers[] = "teachers:\n  en: {path: ./one}\n  pt: {path: ./two, temperature: 1.5}\n";
    static const char *const tails[] = {
        "teacher: {route: {by: source, default: en}}\n",
        "teacher: {route: {of: [en, pt], map: {fr: pt, pt: en, en: pt}}}\n",
        "teacher: {route: {by: tag, default: pt}}\n",
        "teacher: {blend: {of: [r, en], weights: [0.7, 0.3]}}\n",
        "teacher: {route: {of: [both, en], map: {pt: both}, default: en}}\n",
    };
    static float one[ROWS * TINY_VOCAB], two[ROWS * TINY_VOCAB], got[ROWS * TINY_VOCAB];
    static const int choices[5][SAMPLES] = {
        {1, 0, 1, 0, 0}, {0, 1, 0, 1, 1}, {0, 1, 1, 1, 1}, {1, 0, 1, 0, 0}, {2, 0, 2, 0, 0}};
    char recipe[600];
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_recipes");
    const distill_batch batch = routed_batch();
    save_model(&f, "one", 3);
    save_model(&f, "two", 4);
    REQUIRE_OK(open_recipe(&f, "teacher: ./one", &teacher, &err));
    REQUIRE_OK(score_with(teacher, &batch, one, &err));
    di_teacher_release(teacher);
    REQUIRE_OK(open_recipe(&f, "teacher: ./two", &teacher, &err));
    REQUIRE_OK(score_with(teacher, &batch, two, &err));
    di_teacher_release(teacher);
    for (int which = 0; which < 5; which++) {
        snprintf(recipe, sizeof recipe, "%s%s%s", teachers,
                 which == 3   ? "  r: {route: {of: [pt, en], default: en}}\n"
                 : which == 4 ? "  both: {blend: {of: [en, pt]}}\n"
                              : "",
                 tails[which]);
        REQUIRE_OK(open_recipe(&f, recipe, &teacher, &err));
        REQUIRE_OK(score_with(teacher, &batch, got, &err));
        for (int64_t sample = 0, row = 0; sample < SAMPLES; sample++)
            for (int64_t i = route_offsets[sample] + 1; i < route_offsets[sample + 1]; i++, row++) {
                double a[TINY_VOCAB], b[TINY_VOCAB], c[TINY_VOCAB];
                log_softmax(one + row * TINY_VOCAB, 1, a);
                log_softmax(two + row * TINY_VOCAB, 1.5, b);
                log_softmax(got + row * TINY_VOCAB, 1, c);
                for (int v = 0; v < TINY_VOCAB; v++) {
                    const int choice = choices[which][sample];
                    double want = choice == 2 ? log((exp(a[v]) + exp(b[v])) / 2) : choice == 1 ? b[v] : a[v];
                    if (which == 3) want = log(0.7 * exp(want) + 0.3 * exp(a[v]));
                    CHECK_NEAR(c[v], want, 2e-5);
                }
            }
        di_teacher_release(teacher);
    }
    close_fixture(&f);
}

TEST(recipes_that_are_refused)
{
    static const char *const cases[][2] = {
        {"teachers: {one: ./one, a: {route: {of: [b, one]}}, b: {blend: {of: [a]}}}\nteacher: a", "a -> b -> a"},
        {"teachers: {one: ./one}\nteacher: {route: {of: [one, tow]}}", "\"tow\", which is not one of teachers"},
        {"teachers: {one: ./one}\nteacher: {route: {default: tow}}", "the default is tow, which is none"},
        {"teachers: {one: ./one}\nteacher: {route: {map: {x: tow}}}",
         "recipe.yaml:2: route: the teacher of x is tow, which is none"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {route: {of: [one], default: two}}",
         "the default is two, which is none of its teachers (one)"},
        {"teacher: {route: {by: source}}", "there are no teachers"},
        {"teachers: {one: ./one, r: {route: {by: source}}}\nteacher: r", "teachers.r.route.of is not given"},
        {"teachers: {one: ./one}\nteacher: {path: ./one, route: {of: [one]}}", "both given"},
        {"teachers: {one: ./one}\nteacher: {blend: {of: [one]}, route: {of: [one]}}", "both given"},
        {"teachers: {one: ./one}\nteacher: {route: {by: prompt_perplexity, map: {x: one}}}", "by=source|tag only"},
        {"teachers: {one: ./one}\nteacher: {route: {of: [one, one]}}",
         "recipe.yaml:2: teacher.route.of.1 is one, and so is teacher.route.of.0"},
        {"teachers: {one: ./one}\nteacher: {route: {by: moon}}", "none of source"},
    };
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_recipes_refused");
    save_model(&f, "one", 3);
    save_model(&f, "two", 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(open_recipe(&f, cases[i][0], &teacher, &err), DK_E_OPTION);
        CHECK_HAS(err.message, cases[i][1]);
        CHECK(teacher == NULL);
    }
    close_fixture(&f);
}

/* The same ids from two sources are two things that teachers said, in a cache of a route, too; a file that holds them
 * needs no route to find them. */
TEST(kept_in_a_file)
{
    static const char *const both[2] = {"pt", "en"};
    static float kept[12 * TINY_VOCAB], own[6 * TINY_VOCAB];
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.3f}};
    di_route_settings how = {.by = DI_ROUTE_SOURCE};
    di_teacher *route = NULL, *cached = NULL;
    int32_t ids[14];
    const int64_t offsets[3] = {0, 7, 14};
    char path[600];
    dk_error err;
    distill_batch batch;
    fixture f;
    open_fixture(&f, "route_kept");
    snprintf(path, sizeof path, "%s/kept.dtc", f.folder);
    REQUIRE_OK(di_options_set(f.options, "teacher.cache.tier", "full", &err));
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    memcpy(ids, route_ids, 7 * sizeof *ids);
    memcpy(ids + 7, route_ids, 7 * sizeof *ids);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 2;
    batch.sources = both;
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    for (int from_file = 0; from_file < 2; from_file++) {
        REQUIRE_OK(di_teacher_cached(f.backend, path, from_file ? NULL : route, f.options, &cached, &err));
        voices[0].calls = voices[1].calls = 0;
        REQUIRE_OK(score_with(cached, &batch, kept, &err));
        CHECK_INT(voices[0].calls, !from_file);
        CHECK_INT(voices[1].calls, !from_file);
        for (int64_t sample = 0; sample < 2; sample++) {
            int64_t one_offsets[2];
            const distill_batch one = one_sample(0, one_offsets);
            REQUIRE_OK(score_with(teachers[!sample], &one, own, &err));
            for (int64_t r = 0; r < 6; r++) {
                double want[TINY_VOCAB], got[TINY_VOCAB];
                log_softmax(own + r * TINY_VOCAB, 1, want);
                log_softmax(kept + (sample * 6 + r) * TINY_VOCAB, 1, got);
                for (int v = 0; v < TINY_VOCAB; v++) CHECK_NEAR(got[v], want[v], 0.01);
            }
        }
        batch.sources = NULL;
        CHECK_INT(score_with(cached, &batch, kept, &err), DK_E_NOT_FOUND);
        batch.sources = both;
        di_teacher_release(cached);
    }
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

/* A cache of a route by prompts finds rows by the prompt, too; what it lacks is asked with the row that ends it. */
TEST(prompts_kept_in_a_file)
{
    static float kept[ROWS * TINY_VOCAB], live[ROWS * TINY_VOCAB];
    voice voices[2] = {{.slope = 0.1f}, {.slope = -0.1f}};
    di_route_settings how = {.by = DI_ROUTE_PROMPT_PERPLEXITY};
    di_teacher *route = NULL, *cached = NULL;
    char path[600];
    dk_error err;
    fixture f;
    open_fixture(&f, "route_prompts_kept");
    snprintf(path, sizeof path, "%s/kept.dtc", f.folder);
    REQUIRE_OK(di_options_set(f.options, "teacher.cache.tier", "full", &err));
    di_teacher *teachers[2] = {open_voice(&f, &voices[0], 0), open_voice(&f, &voices[1], 0)};
    REQUIRE_OK(route_two(&f, teachers[0], teachers[1], how, &route, &err));
    REQUIRE_OK(di_teacher_cached(f.backend, path, route, f.options, &cached, &err));
    distill_batch batch = routed_batch();
    batch.sequences = 1; /* prompts of 3 and of 6 tokens of one sequence: other teachers */
    for (int64_t first = 2; first < 6; first += 3) {
        int64_t rows[4], count = 0;
        for (int pass = 0; pass < 2; pass++) { /* some of its rows, then all */
            count = 0;
            for (int64_t at = first; at < (pass ? 6 : first + 1); at++) rows[count++] = at;
            batch.rows = rows;
            batch.row_count = count;
            REQUIRE_OK(score_with(cached, &batch, kept, &err));
            REQUIRE_OK(score_with(route, &batch, live, &err));
            for (int64_t r = 0; r < count; r++) {
                double want[TINY_VOCAB], got[TINY_VOCAB];
                log_softmax(live + r * TINY_VOCAB, 1, want);
                log_softmax(kept + r * TINY_VOCAB, 1, got);
                for (int v = 0; v < TINY_VOCAB; v++) CHECK_NEAR(got[v], want[v], 0.01);
            }
        }
    }
    di_teacher_release(cached);
    di_teacher_release(route);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    close_fixture(&f);
}

/* Members, map and default are a route's identity; a function is known by its members. */
TEST(identity)
{
    static const char *const recipes[] = {
        "teacher: {route: {of: [en, pt], default: en}}",          "teacher: {route: {of: [pt, en], default: en}}",
        "teacher: {route: {of: [en, pt], default: pt}}",          "teacher: {route: {of: [en, pt]}}",
        "teacher: {route: {of: [en, pt], by: tag, default: en}}", "teacher: {route: {of: [en, pt], map: {x: en}}}",
        "teacher: {route: {of: [en, other], default: en}}",
    };
    char hashes[7][65], recipe[400];
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "route_identity");
    save_model(&f, "one", 3);
    save_model(&f, "two", 4);
    for (int i = 0; i < 7; i++) {
        snprintf(recipe, sizeof recipe, "teachers: {en: ./one, pt: ./two, other: ./two}\n%s", recipes[i]);
        REQUIRE_OK(open_recipe(&f, recipe, &teacher, &err));
        CHECK_OK(di_teacher_hash(teacher, hashes[i], &err));
        di_teacher_release(teacher);
        for (int j = 0; j < i; j++) CHECK_INT(!strcmp(hashes[i], hashes[j]), i == 1 && j == 0);
    }
    dk_strbuf json;
    dk_strbuf_init(&json, f.host);
    REQUIRE_OK(open_recipe(&f, "teachers: {en: ./one, pt: ./two}\nteacher: {route: {map: {x: en}, default: pt}}",
                           &teacher, &err));
    REQUIRE_OK(di_teacher_manifest(teacher, &json, &err));
    CHECK_HAS(json.data, "\"by\":\"source\",\"default\":\"pt\",\"map\":{\"x\":\"en\"},\"members\":[{");
    dk_strbuf_free(&json);
    di_teacher_release(teacher);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(by_source) TEST_CASE(by_tag) TEST_CASE(by_function) TEST_CASE(by_prompt)
              TEST_CASE(by_prompt_at_a_step) TEST_CASE(refused) TEST_CASE(sparse) TEST_CASE(recipes)
                  TEST_CASE(recipes_that_are_refused) TEST_CASE(kept_in_a_file) TEST_CASE(prompts_kept_in_a_file)
                      TEST_CASE(identity))
