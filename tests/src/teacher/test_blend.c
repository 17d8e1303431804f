/* Blends of teachers: what is refused, what is known of them, draws, and how a recipe names them. Values and gradients
 * of every mode are in tests/src/trainer/test_blend_loss.c. */
#include <math.h>

#include "model_fixture.h"

enum { ROWS = 9 };

typedef struct voice {
    float slope, bad; /* bad: instead of a logit of row 5 */
    int64_t width, kind;
} voice;

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const voice *v = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : v->width;
    (void)batch;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < v->width; i++) ((float *)out->values->data)[r * stride + i] = v->slope * (float)i;
    if (v->bad != 0 && first <= 5 && first + count > 5) ((float *)out->values->data)[(5 - first) * stride + 3] = v->bad;
    return DISTILL_CB_OK;
}

static di_teacher *open_voice(fixture *f, voice *v)
{
    int64_t shape[1] = {v->width};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    di_teacher *teacher = NULL;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = v->kind ? (int32_t)v->kind : DISTILL_DENSE;
    form.values = &values;
    table.user = v;
    table.score = speak;
    table.form = &form;
    if (di_teacher_from_callbacks(f->backend, &table, NULL, &teacher, NULL)) exit(3);
    return teacher;
}

static const di_blend_settings linear = {.mode = DI_BLEND_LINEAR, .softness = 1};

static int32_t blend_two(fixture *f, di_blend_member a, di_blend_member b, di_blend_settings how, di_teacher **out,
                         dk_error *err)
{
    const di_blend_member members[2] = {a, b};
    *out = NULL;
    return di_teacher_blend(f->backend, members, 2, &how, out, err);
}

static void check_refused(fixture *f, di_blend_member a, di_blend_member b, di_blend_settings how, int32_t code,
                          const char *part)
{
    di_teacher *none = NULL;
    dk_error err;
    CHECK_INT(blend_two(f, a, b, how, &none, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!strchr(err.message, '\n'));
    CHECK(none == NULL);
}

TEST(refused)
{
    voice plain = {0.1f, 0, TINY_VOCAB, 0}, top = {0.1f, 0, 4, DISTILL_TOPK};
    di_blend_settings how = linear;
    di_teacher *blend = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "blend_refused");
    di_teacher *a = open_voice(&f, &plain), *b = open_voice(&f, &plain), *sparse = open_voice(&f, &top);
    check_refused(&f, (di_blend_member){a, "a", 0.5, 0}, (di_blend_member){b, "b", 0.4, 0}, how, DK_E_OPTION,
                  "0.9 together, not 1");
    check_refused(&f, (di_blend_member){a, "a", 1.5, 0}, (di_blend_member){b, "b", -0.5, 0}, how, DK_E_OPTION,
                  "the weight of teacher b is -0.5");
    check_refused(&f, (di_blend_member){a, "a", NAN, 0}, (di_blend_member){b, "b", 1, 0}, how, DK_E_OPTION,
                  "teacher a is nan");
    check_refused(&f, (di_blend_member){a, "x", 0, 0}, (di_blend_member){b, "x", 0, 0}, how, DK_E_OPTION,
                  "two teachers are called x (members 0 and 1): rename one");
    check_refused(&f, (di_blend_member){a, "1", 0, 0}, (di_blend_member){b, NULL, 0, 0}, how, DK_E_OPTION,
                  "two teachers are called 1");
    check_refused(&f, (di_blend_member){a, "a", 0, -2}, (di_blend_member){b, "b", 0, 0}, how, DK_E_OPTION,
                  "the temperature of teacher a is -2");
    how.mode = DI_BLEND_MIN_ENTROPY;
    check_refused(&f, (di_blend_member){a, "a", 0, 0}, (di_blend_member){sparse, "b", 0, 0}, how, DK_E_UNSUPPORTED,
                  "teacher b gives TOPK targets");
    check_refused(&f, (di_blend_member){a, "a", 0.7, 0}, (di_blend_member){b, "b", 0.3, 0}, how, DK_E_OPTION,
                  "no weights");
    CHECK_INT(di_teacher_blend(f.backend, NULL, 0, &how, &blend, &err), DK_E_OPTION);

    REQUIRE_OK(blend_two(&f, (di_blend_member){a, "a", 0, 0}, (di_blend_member){b, "b", 0, 0}, linear, &blend, &err));
    distill_batch batch = tiny_batch();
    int64_t unused = 0;
    CHECK_INT(di_teacher_generate(blend, &batch, f.options, NULL, NULL, NULL, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "teacher a is a teacher of callbacks");
    CHECK_INT(di_teacher_get_i64(blend, "layers", &unused, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "a blend of teachers has no layers");
    CHECK_INT(di_teacher_vocab(blend), TINY_VOCAB);
    di_teacher_release(blend);
    di_teacher_release(a);
    di_teacher_release(b);
    di_teacher_release(sparse);
    close_fixture(&f);
}

static dk_tokenizer *tokenizer_of(fixture *f, const char *third, int64_t count)
{
    const dk_slice tokens[4] = {{"a", 1}, {"b", 1}, {third, strlen(third)}, {"d", 1}};
    dk_vocabulary vocabulary;
    dk_tokenizer *tokenizer = NULL;
    dk_error err;
    dk_vocabulary_init(&vocabulary);
    vocabulary.kind = DK_VOCABULARY_BPE;
    vocabulary.tokens = tokens;
    vocabulary.count = count;
    if (dk_tokenizer_from_vocabulary(f->host, &vocabulary, &tokenizer, &err)) {
        FAIL("%s", err.message);
        exit(3);
    }
    return tokenizer;
}

TEST(tokenizers_that_differ)
{
    dk_error err;
    fixture f;
    open_fixture(&f, "blend_tokenizers");
    dk_tokenizer *abcd = tokenizer_of(&f, "c", 4), *same = tokenizer_of(&f, "c", 4), *other = tokenizer_of(&f, "x", 4),
                 *shorter = tokenizer_of(&f, "c", 3);
    CHECK_OK(di_check_same_tokens("pt", abcd, "en", same, &err));
    CHECK_OK(di_check_same_tokens("pt", abcd, "en", NULL, &err));
    CHECK_INT(di_check_same_tokens("pt", abcd, "en", other, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "token 2 is \"c\" in pt and \"x\" in en");
    CHECK_INT(di_check_same_tokens("pt", abcd, "en", shorter, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "token 3 is \"d\" in pt and no token in en");
    const di_route_settings how = {.by = DI_ROUTE_SOURCE};
    dk_tokenizer *const tokenizers[2] = {abcd, other};
    di_teacher *teachers[2] = {NULL, NULL}, *none = NULL;
    dk_document *config = NULL;
    dk_model *model = NULL;
    REQUIRE_OK(dk_json_open(f.host, f.config, &config, &err));
    REQUIRE_OK(dk_model_create(f.backend, config, 0.4, 3, &model, &err));
    for (int i = 0; i < 2; i++)
        REQUIRE_OK(di_teacher_from_model(f.backend, model, tokenizers[i], NULL, NULL, NULL, &teachers[i], &err));
    const di_blend_member members[2] = {{teachers[0], "pt", 0, 0}, {teachers[1], "en", 0, 2}};
    CHECK_INT(di_teacher_blend(f.backend, members, 2, &linear, &none, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "token 2 is \"x\" in en and \"c\" in pt");
    CHECK_INT(di_teacher_route(f.backend, members, 2, &how, &none, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "token 2 is \"x\" in en and \"c\" in pt");
    CHECK(none == NULL);
    for (int i = 0; i < 2; i++) di_teacher_release(teachers[i]);
    dk_model_free(model);
    dk_document_free(config);
    dk_tokenizer_release(abcd);
    dk_tokenizer_release(same);
    dk_tokenizer_release(other);
    dk_tokenizer_release(shorter);
    close_fixture(&f);
}

/* A hard choice would never take the member whose row is NaN: it is an error, not a silent absence. */
TEST(nan_of_a_member)
{
    static float logits[ROWS * TINY_VOCAB];
    static const di_blend_mode modes[] = {DI_BLEND_LINEAR, DI_BLEND_LOG_LINEAR, DI_BLEND_MAX_CONFIDENCE,
                                          DI_BLEND_MIN_ENTROPY};
    voice good = {0.1f, 0, TINY_VOCAB, 0}, broken = {0.1f, NAN, TINY_VOCAB, 0};
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_nan");
    di_teacher *a = open_voice(&f, &good), *b = open_voice(&f, &broken), *blend = NULL;
    distill_batch batch = tiny_batch();
    for (int i = 0; i < 8; i++) {
        di_blend_settings how = linear;
        how.mode = modes[i % 4];
        broken.bad = i < 4 ? NAN : INFINITY;
        REQUIRE_OK(
            blend_two(&f, (di_blend_member){a, "good", 0, 0}, (di_blend_member){b, "broken", 0, 0}, how, &blend, &err));
        CHECK_INT(score_with(blend, &batch, logits, &err), DK_E_NUMERIC);
        CHECK_HAS(err.message, "row 5");
        CHECK_HAS(err.message, "teacher broken");
        di_teacher_release(blend);
    }
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

/* Which of two members, told apart by their slope, stands in each row. */
static void draws_of(di_teacher *blend, const distill_batch *batch, int64_t step, int *out, dk_backend *backend)
{
    static float values[ROWS * TINY_VOCAB];
    const distill_target *none = NULL;
    di_session *session = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    dk_error err;
    const int64_t rows = di_batch_rows(batch);
    REQUIRE_OK(dk_queue_open(&queue, backend, &err));
    REQUIRE_OK(backend->ops->buffer_create(backend, sizeof values, &buffer, &err));
    REQUIRE_OK(di_session_create(blend, 11, 2, ROWS, &session, &err));
    dk_view strip = dk_view_2d(buffer, 0, DK_F32, rows, TINY_VOCAB);
    di_session_set_step(session, step);
    CHECK_OK(di_session_forward(session, batch, &err));
    const di_source *source = di_session_source(session);
    CHECK_OK(source->rows(source->self, 0, rows, strip, &none, &err));
    backend->ops->copy_out(&queue, strip, values);
    CHECK_OK(dk_queue_wait(&queue, &err));
    for (int64_t r = 0; r < rows; r++) out[r] = values[r * TINY_VOCAB + 1] < values[r * TINY_VOCAB];
    di_session_free(session);
    backend->ops->buffer_free(backend, buffer);
    dk_queue_close(&queue);
}

/* A draw is a function of (seed, step, text): the same wherever the sequence stands in a batch, and after a resume. */
TEST(draws)
{
    voice up = {1, 0, TINY_VOCAB, 0}, down = {-1, 0, TINY_VOCAB, 0};
    int one[ROWS], other[ROWS], turned[ROWS], counted = 0, mixed = 0, differ = 0;
    int64_t turned_offsets[3] = {0, 4, 11};
    int32_t turned_ids[11];
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_draws");
    di_teacher *a = open_voice(&f, &up), *b = open_voice(&f, &down), *blend = NULL;
    distill_batch batch = tiny_batch(), swapped = batch;
    memcpy(turned_ids, tiny_ids + 7, 4 * sizeof *turned_ids);
    memcpy(turned_ids + 4, tiny_ids, 7 * sizeof *turned_ids);
    swapped.ids = turned_ids;
    swapped.offsets = turned_offsets;
    for (int per_sequence = 0; per_sequence < 2; per_sequence++) {
        const di_blend_settings how = {
            .mode = DI_BLEND_STOCHASTIC, .softness = 1, .per_sequence = per_sequence, .seed = 7};
        counted = mixed = differ = 0;
        REQUIRE_OK(
            blend_two(&f, (di_blend_member){a, "a", 0.75, 0}, (di_blend_member){b, "b", 0.25, 0}, how, &blend, &err));
        for (int64_t step = 0; step < 400; step++) {
            draws_of(blend, &batch, step, one, f.backend);
            if (step < 20) {
                draws_of(blend, &batch, step, other, f.backend);
                draws_of(blend, &swapped, step, turned, f.backend);
                CHECK(!memcmp(one, other, sizeof one));
                CHECK(!memcmp(one, turned + 3, 6 * sizeof *one) && !memcmp(one + 6, turned, 3 * sizeof *one));
                draws_of(blend, &batch, step + 1, other, f.backend);
                differ += memcmp(one, other, sizeof one) != 0;
            }
            for (int r = 0; r < ROWS; r++) counted += one[r];
            for (int r = 1; r < 6; r++) mixed += one[r] != one[0];
        }
        CHECK(differ > 2);
        CHECK_NEAR((double)counted / (400 * ROWS), 0.25, per_sequence ? 0.06 : 0.03);
        CHECK(per_sequence ? mixed == 0 : mixed > 100);
        di_teacher_release(blend);
    }
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

/* ---- recipes ---- */

static void save_model(fixture *f, const char *name, uint64_t seed, char path[600])
{
    dk_document *config = NULL;
    dk_model *model = NULL;
    dk_error err;
    snprintf(path, 600, "%s/%s", f->folder, name);
    if (dk_json_open(f->host, f->config, &config, &err) ||
        dk_model_create(f->backend, config, 0.4, seed, &model, &err) || dk_dir_create(f->host, path, &err) ||
        dk_model_save(model, path, DK_F32, &err))
        exit(3);
    dk_document_free(config);
    dk_model_free(model);
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

static void log_softmax(const float *z, double temperature, double *out)
{
    double top = -INFINITY, sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) top = (double)z[v] > top ? (double)z[v] : top;
    for (int v = 0; v < TINY_VOCAB; v++) sum += exp(((double)z[v] - top) / temperature);
    for (int v = 0; v < TINY_VOCAB; v++) out[v] = ((double)z[v] - top) / temperature - log(sum);
}

TEST(recipes)
{
    static const char teachers[] = "teachers:\n  one: {path: ./one}\n  two: {path: ./two, temperature: 1.5}\n"
                                   "  both: {blend: {mode: log_linear, of: [one, two]}}\n";
    static float one[ROWS * TINY_VOCAB], two[ROWS * TINY_VOCAB], got[ROWS * TINY_VOCAB];
    char path[600], recipe[600];
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "blend_recipes");
    distill_batch batch = tiny_batch();
    save_model(&f, "one", 3, path);
    save_model(&f, "two", 4, path);
    REQUIRE_OK(open_recipe(&f, "teacher: one", &teacher, &err));
    REQUIRE_OK(score_with(teacher, &batch, one, &err));
    di_teacher_release(teacher);
    REQUIRE_OK(open_recipe(&f, "teachers: {x: two}\nteacher: x", &teacher, &err));
    REQUIRE_OK(score_with(teacher, &batch, two, &err));
    CHECK(di_teacher_model(teacher) != NULL); /* a name alone changes nothing */
    di_teacher_release(teacher);
    for (int which = 0; which < 3; which++) {
        static const char *const tails[] = {"teacher: {blend: {of: [one, two], weights: [0.7, 0.3]}}\n",
                                            "teacher: {blend: {of: [both, one], weights: [0.4, 0.6]}}\n",
                                            "teacher: {path: two, temperature: 2}\n"};
        snprintf(recipe, sizeof recipe, "%s%s", teachers, tails[which]);
        REQUIRE_OK(open_recipe(&f, recipe, &teacher, &err));
        REQUIRE_OK(score_with(teacher, &batch, got, &err));
        for (int64_t r = 0; r < ROWS; r++) {
            double a[TINY_VOCAB], b[TINY_VOCAB], c[TINY_VOCAB], product[TINY_VOCAB];
            float sum[TINY_VOCAB];
            log_softmax(one + r * TINY_VOCAB, 1, a);
            log_softmax(two + r * TINY_VOCAB, 1.5, b);
            log_softmax(two + r * TINY_VOCAB, 3, c);
            for (int v = 0; v < TINY_VOCAB; v++) sum[v] = (float)(0.5 * a[v] + 0.5 * b[v]);
            log_softmax(sum, 1, product);
            for (int v = 0; v < TINY_VOCAB; v++) {
                const double want = which == 0   ? log(0.7 * exp(a[v]) + 0.3 * exp(b[v]))
                                    : which == 1 ? log(0.4 * exp(product[v]) + 0.6 * exp(a[v]))
                                                 : c[v];
                CHECK_NEAR((double)got[r * TINY_VOCAB + v], want, 4e-6);
            }
        }
        di_teacher_release(teacher);
    }
    close_fixture(&f);
}

/* More entries in use than there may be: by blends in a blend, and of a route that takes all. */
TEST(too_many)
{
    char recipe[6000] = "teachers:\n  base: ./one\n", path[600];
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "blend_too_many");
    save_model(&f, "one", 3, path);
    for (int i = 0; i < 64; i++) snprintf(recipe + strlen(recipe), 64, "  m%d: {path: base}\n", i);
    for (int half = 0; half < 2; half++) {
        snprintf(recipe + strlen(recipe), 64, "  half%d:\n    blend:\n      of: [base", half);
        for (int i = 32 * half; i < 32 + 32 * half; i++) snprintf(recipe + strlen(recipe), 64, ", m%d", i);
        snprintf(recipe + strlen(recipe), 64, "]\n");
    }
    const size_t end = strlen(recipe);
    snprintf(recipe + end, 200, "teacher: {blend: {of: [half0, half1]}}\n");
    CHECK_INT(open_recipe(&f, recipe, &teacher, &err), DK_E_OPTION);
    CHECK_HAS(err.message,
              "recipe.yaml:72: teachers.m61 is one more than the 64 entries that may be in use together: name fewer");
    snprintf(recipe + end, 200, "teacher: {route: {by: source}}\n");
    CHECK_INT(open_recipe(&f, recipe, &teacher, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "recipe.yaml:73: teachers has 67 teachers, 64 are the most: name fewer");
    CHECK(teacher == NULL);
    close_fixture(&f);
}

TEST(recipes_that_are_refused)
{
    static const char *const cases[][2] = {
        {"teachers: {one: ./one, a: {blend: {of: [b, one]}}, b: {blend: {of: [a]}}}\nteacher: a", "a -> b -> a"},
        {"teachers: {a: a}\nteacher: a", "a -> a"},
        {"teachers: {one: ./one}\nteacher: {blend: {of: [one, tow]}}", "\"tow\", which is not one of teachers"},
        {"teacher: {blend: {mode: linear}}", "teacher.blend.of is not given"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {blend: {of: [one, two], weights: [1]}}",
         "1 weights for 2 teachers"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {blend: {of: [one, two], weights: [0.5, 0.6]}}",
         "recipe.yaml:2: blend: the weights of the 2 teachers are 1.1 together, not 1"},
        {"teachers:\n  one: ./one\n  in: {blend: {of: [one], weights: [0.5]}}\n  out: {blend: {of: [in]}}\nteacher: "
         "out",
         "recipe.yaml:3: blend: the weights of the 1 teachers are 0.5 together, not 1"},
        {"teachers: {one: ./one}\nteacher: {path: ./one, blend: {of: [one]}}", "both given"},
        {"teachers: {one: ./one}\nteacher: {blend: {of: [one], mode: linear, seed: 4}}",
         "teacher.blend.seed has no use"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {blend: {of: [one, two], min_common_mass: 0.5}}",
         "min_common_mass has no use"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {blend: {of: [one, two], mode: log_linear, min_common_mass: "
         "0.5}}",
         "mode=linear only"},
        {"teachers: {one: ./one}\nteacher: {path: ./one, parallel: true}", "teacher.parallel is of a blend or a route"},
        {"teachers: {one: {temperature: 2}}\nteacher: {blend: {of: [one]}}",
         "neither path, self, blend, schedule, route nor cache"},
        {"teachers: {one: ./one}\nteacher: {blend: {of: [one, one]}}",
         "recipe.yaml:2: teacher.blend.of.1 is one, and so is teacher.blend.of.0: name it once, or give it a second "
         "name "
         "(teachers.one_2: {path: one})"},
        {"teachers: {one: ./one, two: ./two}\nteacher:\n  schedule: [{teacher: one, until: 4}, {teacher: two, until: "
         "8}, "
         "{teacher: one}]",
         "recipe.yaml:3: teacher.schedule.2 is one, and so is teacher.schedule.0"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {schedule: [{until: 4}, two]}", "teacher.schedule.0 names no"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {schedule: [one, two]}", "teacher.schedule.0 has no until"},
        {"teachers: {one: ./one}\nteacher: {schedule: [{teacher: one, until: 4}, tow]}",
         "\"tow\", which is not one of"},
        {"teachers: {one: ./one}\nteacher: {path: ./one, schedule: [one]}", "both given"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {schedule: [one], blend: {of: [one, two]}}", "both given"},
        {"teachers: {one: ./one, two: ./two}\nteacher: {blend: {of: [one, two], weights: [0.5, {schedule: linear, "
         "from: "
         "0.5, to: 0, steps: 9}]}}",
         "together at step 1"},
    };
    char path[600];
    di_teacher *teacher = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, "blend_recipes_refused");
    save_model(&f, "one", 3, path);
    save_model(&f, "two", 4, path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(open_recipe(&f, cases[i][0], &teacher, &err), DK_E_OPTION);
        CHECK_HAS(err.message, cases[i][1]);
        CHECK(teacher == NULL);
    }
    REQUIRE_OK(open_recipe(&f, "teachers: {one: ./one}", &teacher, &err)); /* named, but nobody's teacher */
    CHECK(teacher == NULL);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(refused) TEST_CASE(tokenizers_that_differ) TEST_CASE(nan_of_a_member) TEST_CASE(draws)
              TEST_CASE(recipes) TEST_CASE(recipes_that_are_refused) TEST_CASE(too_many))
