/* Backward of whole models against finite differences in double, and what must not change a gradient: checkpointing,
 * frozen neighbours, a second run. */
#include "test_model.h"

/* L = sum(weights * logits) + sum over taps of sum(weights * tap): every output counts, and the gradients that go in
 * are the weights themselves. */
typedef struct probe {
    fixture *f;
    dk_pass *pass;
    dk_arena arena;
    dk_queue queue;
    batch tokens;
    const dk_tap_spec *taps;
    int64_t tap_count;
    dk_view logits, dlogits, dhidden;
} probe;

static double weight_of(int64_t stream, int64_t i)
{
    return dk_random_normal(5, DK_STREAM_TEST, (uint64_t)(stream * 100000 + i));
}

static double weighted(fixture *f, dk_view view, int64_t stream)
{
    double *values = new_read(f, view), sum = 0;
    for (int64_t i = 0; i < dk_view_count(&view); i++) sum += weight_of(stream, i) * values[i];
    free(values);
    return sum;
}

static void write_weights(fixture *f, dk_view view, int64_t stream)
{
    int64_t count = dk_view_count(&view);
    double *values = malloc(sizeof *values * (size_t)(count + 1));
    for (int64_t i = 0; i < count; i++) values[i] = weight_of(stream, i);
    write_view(f, view, values);
    free(values);
}

static int probe_begin(probe *p, fixture *f, int32_t checkpointing, const dk_tap_spec *taps, int64_t tap_count)
{
    const int64_t lengths[] = {4, 1, 0, 6, 1};
    dk_error err = {0};
    dk_pass_spec spec = {.max_rows = 15,
                         .max_sequences = 6,
                         .backward = 1,
                         .checkpointing = checkpointing,
                         .taps = taps,
                         .tap_count = tap_count};
    memset(p, 0, sizeof *p);
    p->f = f;
    p->taps = taps;
    p->tap_count = tap_count;
    p->tokens = make_batch(lengths, 5, f->model->config.vocab_size, 3);
    (void)dk_queue_open(&p->queue, f->backend, NULL);
    dk_arena_init(&p->arena, f->backend);
    for (int measured = 0; measured < 2; measured++) {
        p->logits = dk_arena_2d(&p->arena, f->backend->real, 12, f->model->config.vocab_size);
        p->dlogits = dk_arena_2d(&p->arena, f->backend->real, 12, f->model->config.vocab_size);
        p->dhidden = dk_arena_2d(&p->arena, f->backend->real, 12, f->model->config.hidden_size);
        if (!measured && dk_arena_commit(&p->arena, &err)) break;
    }
    CHECK_OK(dk_pass_create(f->model, &spec, &p->pass, &err));
    return p->pass != NULL;
}

static void probe_end(probe *p)
{
    dk_pass_free(p->pass);
    dk_arena_free(&p->arena);
}

static double loss(probe *p)
{
    dk_error err = {0};
    dk_tokens tokens = tokens_of(&p->tokens);
    CHECK_OK(dk_pass_forward(p->pass, &tokens, &err));
    dk_head_forward(&p->queue, p->f->model, DK_PRECISION_FULL, dk_pass_hidden(p->pass), p->logits);
    CHECK_OK(dk_queue_wait(&p->queue, &err));
    double sum = weighted(p->f, p->logits, 0);
    for (int64_t i = 0; i < p->tap_count; i++) sum += weighted(p->f, dk_pass_tap(p->pass, i), i + 1);
    return sum;
}

static void gradients(probe *p)
{
    dk_error err = {0};
    (void)loss(p);
    write_weights(p->f, p->dlogits, 0);
    for (int64_t i = 0; i < p->tap_count; i++) write_weights(p->f, dk_pass_tap_gradient(p->pass, i), i + 1);
    dk_head_backward(&p->queue, p->f->model, DK_PRECISION_FULL, dk_pass_hidden(p->pass), p->logits, p->dlogits,
                     p->dhidden, 0);
    CHECK_OK(dk_queue_wait(&p->queue, &err));
    CHECK_OK(dk_pass_backward(p->pass, p->dhidden, &err));
}

/* ---- finite differences ---- */
static double difference(probe *p, dk_parameter *parameter, double *values, int64_t at)
{
    double old = values[at], step = 1e-5, sides[2];
    for (int side = 0; side < 2; side++) {
        values[at] = side ? old + step : old - step;
        write_view(p->f, parameter->value, values);
        refresh(p->f, parameter);
        sides[side] = loss(p);
    }
    values[at] = old;
    write_view(p->f, parameter->value, values);
    refresh(p->f, parameter);
    return (sides[1] - sides[0]) / (2 * step);
}

static void check_parameter(probe *p, const char *config, dk_parameter *parameter)
{
    enum { ENTRIES = 7 };
    double *values = new_read(p->f, parameter->value), *gradient = new_read(p->f, parameter->gradient), largest = 0;
    int64_t count = dk_view_count(&parameter->value);
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(gradient[i]));
    if (largest == 0) FAIL("%s: %s has no gradient at all", config, parameter->name);
    for (int64_t k = 0; k < ENTRIES && k < count; k++) {
        int64_t at = count <= ENTRIES ? k : (int64_t)(dk_random_u64(1, DK_STREAM_TEST, (uint64_t)k) % (uint64_t)count);
        double want = difference(p, parameter, values, at);
        if (!(fabs(want - gradient[at]) <= 2e-7 * (largest + 1)))
            FAIL("%s: %s[%d] has gradient %.10g, not %.10g", config, parameter->name, (int)at, gradient[at], want);
    }
    free(values);
    free(gradient);
}

static void check_model(fixture *f, const char *config, int32_t checkpointing)
{
    const dk_tap_spec taps[] = {{0, DK_TAP_BLOCK}, {0, DK_TAP_FINAL}, {0, DK_TAP_Q}, {1, DK_TAP_K},
                                {1, DK_TAP_V},     {1, DK_TAP_BLOCK}, {0, DK_TAP_Q}};
    probe p;
    if (!probe_begin(&p, f, checkpointing, taps, 7)) return;
    gradients(&p);
    for (int64_t i = 0; i < f->model->parameter_count; i++) check_parameter(&p, config, &f->model->parameters[i]);
    probe_end(&p);
}

TEST(finite_differences)
{
    dk_error err = {0};
    for (int i = 0; i < TINY_CONFIGS; i++) {
        fixture f;
        if (fixture_make(&f, ON_F64, tiny_configs[i])) {
            CHECK_OK(dk_model_add_gradients(f.model, &err));
            check_model(&f, tiny_configs[i], i % 2);
        }
        fixture_end(&f);
    }
}

/* Scalings that description has room for, on one family after the other. */
TEST(finite_differences_scaled)
{
    dk_error err = {0};
    for (int i = 0; i < TINY_CONFIGS; i++) {
        fixture f;
        if (fixture_make(&f, ON_F64, tiny_configs[i])) {
            dk_config *c = &f.model->config;
            c->embedding_scale = 1.7;
            c->residual_scale = 0.6;
            c->logit_scale = 0.8;
            c->logit_softcap = i % 2 ? 3 : 0;
            c->attention_softcap = 2;
            c->norm_offset = 1;
            CHECK_OK(dk_model_add_gradients(f.model, &err));
            check_model(&f, tiny_configs[i], 0);
        }
        fixture_end(&f);
    }
}

/* ---- what must not change anything ---- */
static double **all_gradients(fixture *f)
{
    double **out = calloc((size_t)f->model->parameter_count, sizeof *out);
    for (int64_t i = 0; i < f->model->parameter_count; i++)
        if (dk_view_present(f->model->parameters[i].gradient)) out[i] = new_read(f, f->model->parameters[i].gradient);
    return out;
}

static void free_gradients(fixture *f, double **gradients_of)
{
    for (int64_t i = 0; i < f->model->parameter_count; i++) free(gradients_of[i]);
    free(gradients_of);
}

static double **run_once(fixture *f, int32_t checkpointing)
{
    const dk_tap_spec taps[] = {{1, DK_TAP_K}, {0, DK_TAP_BLOCK}};
    probe p;
    zero_gradients(f);
    if (probe_begin(&p, f, checkpointing, taps, 2)) gradients(&p);
    probe_end(&p);
    return all_gradients(f);
}

static void check_same(fixture *f, const char *what, double **a, double **b)
{
    for (int64_t i = 0; i < f->model->parameter_count; i++) {
        size_t bytes = sizeof **a * (size_t)dk_view_count(&f->model->parameters[i].value);
        if (a[i] && b[i] && memcmp(a[i], b[i], bytes) != 0) FAIL("%s: %s differs", what, f->model->parameters[i].name);
    }
}

TEST(checkpointing_is_exact)
{
    dk_error err = {0};
    for (int kind = ON_CPU; kind <= ON_F64; kind++) {
        for (int i = 0; i < TINY_CONFIGS; i++) {
            fixture f;
            if (fixture_make(&f, (backend_kind)kind, tiny_configs[i])) {
                CHECK_OK(dk_model_add_gradients(f.model, &err));
                double **kept = run_once(&f, 0), **recomputed = run_once(&f, 1);
                check_same(&f, backend_names[kind], kept, recomputed);
                free_gradients(&f, kept);
                free_gradients(&f, recomputed);
            }
            fixture_end(&f);
        }
    }
}

/* What is not frozen has the gradient that it has when nothing is; what is frozen has none. */
static void check_frozen(const char *config, double **whole, const char *const *patterns, int64_t count,
                         int32_t checkpointing)
{
    dk_error err = {0};
    fixture f;
    if (fixture_make(&f, ON_CPU, config)) {
        CHECK_OK(dk_model_freeze(f.model, patterns, count, NULL, &err));
        CHECK_OK(dk_model_add_gradients(f.model, &err));
        double **part = run_once(&f, checkpointing);
        for (int64_t i = 0; i < f.model->parameter_count; i++)
            CHECK((part[i] == NULL) == (f.model->parameters[i].frozen != 0));
        check_same(&f, config, whole, part);
        free_gradients(&f, part);
    }
    fixture_end(&f);
}

TEST(frozen)
{
    static const char *const embeddings[] = {"*embed_[ti]*", "*wte*", "*wpe*"},
                             *const below[] = {"*embed_[ti]*", "*layers.0.*"},
                             *const gpt2_below[] = {"*wte*", "*wpe*", "*h.0.*"},
                             *const all_but_norm[] = {"*embed*", "*layers*", "lm_head*"}, *const norms[] = {"*norm*"};
    dk_error err = {0};
    for (int i = 0; i < TINY_CONFIGS; i++) {
        fixture f;
        const char *config = tiny_configs[i];
        int gpt2 = strstr(config, "gpt2") != NULL, tied = strstr(config, "\"tie_word_embeddings\":true") != NULL;
        if (!fixture_make(&f, ON_CPU, config)) continue;
        CHECK_OK(dk_model_add_gradients(f.model, &err));
        double **whole = run_once(&f, 0);
        if (gpt2) {
            check_frozen(config, whole, embeddings + 1, 2, 0);
            check_frozen(config, whole, gpt2_below, 3, i % 2);
        } else {
            check_frozen(config, whole, embeddings, 1, i % 2);
            check_frozen(config, whole, below, 2, 0);
            check_frozen(config, whole, below, 2, 1);
            check_frozen(config, whole, norms, 1, 0);
            check_frozen(config, whole, all_but_norm, tied || strstr(config, "gpt_neox") ? 2 : 3, 0);
        }
        free_gradients(&f, whole);
        fixture_end(&f);
    }
}

TEST(gradients_add)
{
    dk_error err = {0};
    fixture f;
    probe p;
    if (!fixture_make(&f, ON_F64, tiny_configs[2])) return;
    CHECK_OK(dk_model_add_gradients(f.model, &err));
    double **once = run_once(&f, 0);
    zero_gradients(&f);
    const dk_tap_spec taps[] = {{1, DK_TAP_K}, {0, DK_TAP_BLOCK}};
    if (probe_begin(&p, &f, 0, taps, 2)) {
        gradients(&p);
        gradients(&p);
        double **twice = all_gradients(&f);
        for (int64_t i = 0; i < f.model->parameter_count; i++)
            for (int64_t k = 0; k < dk_view_count(&f.model->parameters[i].value); k++)
                CHECK_NEAR(twice[i][k], 2 * once[i][k], 1e-10);
        free_gradients(&f, twice);
    }
    probe_end(&p);
    free_gradients(&f, once);
    fixture_end(&f);
}

TEST(warm_pass_allocates_nothing)
{
    dk_error err = {0};
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        fixture f;
        probe p;
        if (!fixture_make(&f, ON_CPU, tiny_configs[7])) continue;
        CHECK_OK(dk_model_add_gradients(f.model, &err));
        if (probe_begin(&p, &f, checkpointing, NULL, 0)) {
            gradients(&p);
            int64_t before = dk_host_allocations(f.host);
            gradients(&p);
            CHECK_INT(dk_host_allocations(f.host) - before, 0);
        }
        probe_end(&p);
        fixture_end(&f);
    }
}

TEST(planned_bytes)
{
    static const char *const below[] = {"*embed_[ti]*", "*layers.0.*", "*layers.1.*"};
    dk_error err = {0};
    fixture f;
    dk_pass_spec spec = {.max_rows = 64, .max_sequences = 4, .backward = 1},
                 forward = {.max_rows = 64, .max_sequences = 4};
    if (!fixture_make(&f, ON_F64, tiny_configs[4])) return;
    dk_pass_spec light = spec, wide = spec;
    light.checkpointing = 1;
    wide.max_rows = 128;
    int64_t whole = dk_pass_bytes(&spec, f.model), recomputed = dk_pass_bytes(&light, f.model);
    CHECK(dk_pass_bytes(&forward, f.model) < recomputed);
    CHECK(recomputed < whole);
    CHECK_NEAR((double)dk_pass_bytes(&wide, f.model), 2.0 * (double)whole, 0.02 * (double)whole);
    CHECK_OK(dk_model_freeze(f.model, below, 3, NULL, &err));
    CHECK(dk_pass_bytes(&spec, f.model) < whole);
    fixture_end(&f);
}

/* ---- features that no stored figures have ---- */
static double *hidden_of(fixture *f)
{
    probe p;
    double *out = NULL;
    if (probe_begin(&p, f, 0, NULL, 0)) {
        (void)loss(&p);
        out = new_read(f, dk_pass_hidden(p.pass));
    }
    probe_end(&p);
    return out;
}

/* Halving q in the second layer is what dividing its scores by layer + 1 does. */
TEST(scale_by_layer)
{
    dk_error err = {0};
    fixture f;
    if (!fixture_make(&f, ON_F64, tiny_configs[1])) return;
    CHECK_OK(dk_model_add_gradients(f.model, &err));
    CHECK_INT(f.model->config.scale_by_layer, 1);
    double *scaled = hidden_of(&f);
    dk_parameter *parts[] = {f.model->layers[1].qkv[0], f.model->layers[1].qkv_bias[0]};
    f.model->config.scale_by_layer = 0;
    for (int i = 0; i < 2; i++) {
        double *values = new_read(&f, parts[i]->value);
        for (int64_t k = 0; k < dk_view_count(&parts[i]->value); k++)
            if (k % 24 < 8) values[k] /= 2;
        write_view(&f, parts[i]->value, values);
        free(values);
    }
    double *halved = hidden_of(&f);
    for (int64_t i = 0; i < 12 * 8; i++) CHECK_NEAR(scaled[i], halved[i], 1e-12);
    free(scaled);
    free(halved);
    fixture_end(&f);
}

/* ---- errors ---- */
static int32_t forward_of(dk_pass *pass, const int32_t *ids, const int64_t *offsets, int64_t sequences, dk_error *err)
{
    dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = sequences};
    return dk_pass_forward(pass, &tokens, err);
}

static void check_bad_batches(dk_pass *pass)
{
    const int32_t good[30] = {1, 2, 3}, bad[5] = {1, 2, 3, 13, 4}, negative[2] = {1, -1};
    const int64_t two[] = {0, 2, 5}, one[] = {0, 2}, long_one[] = {0, 25}, many[] = {0, 1, 2, 3}, wide[] = {0, 20, 31},
                  falling[] = {0, 4, 2}, late[] = {1, 2};
    dk_error err = {0};
    CHECK_INT(forward_of(pass, bad, two, 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "position 1 of sequence 1 holds id 13, not in [0, 13)");
    CHECK_INT(forward_of(pass, negative, one, 1, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "holds id -1");
    CHECK_INT(forward_of(pass, good, long_one, 1, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "25 tokens, but the model's context ends at 24");
    CHECK_INT(forward_of(pass, good, many, 3, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "3 sequences; the pass was made for 2");
    CHECK_INT(forward_of(pass, good, wide, 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "31 rows; the pass was made for 30");
    CHECK_INT(forward_of(pass, good, falling, 2, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "offsets fall from 4 to 2");
    CHECK_INT(forward_of(pass, good, late, 1, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "the first offset is 1");
    CHECK_OK(forward_of(pass, good, one, 1, &err));
}

TEST(errors)
{
    dk_error err = {0};
    fixture f;
    dk_pass *pass = NULL;
    dk_tap_spec tap = {.layer = 2, .kind = DK_TAP_Q};
    dk_pass_spec spec = {.max_rows = 30, .max_sequences = 2},
                 backward = {.max_rows = 30, .max_sequences = 2, .backward = 1},
                 empty = {.max_rows = 0, .max_sequences = 2},
                 tapped = {.max_rows = 30, .max_sequences = 2, .taps = &tap, .tap_count = 1};
    if (!fixture_make(&f, ON_CPU, tiny_configs[2])) return;
    CHECK_INT(dk_pass_create(f.model, &empty, &pass, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "0 rows");
    CHECK_INT(dk_pass_create(f.model, &tapped, &pass, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "tap 0: layer 2 is not in [0, 2)");
    CHECK_INT(dk_pass_create(f.model, &backward, &pass, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "add gradients to the model first");
    CHECK(pass == NULL);
    REQUIRE_OK(dk_pass_create(f.model, &spec, &pass, &err));
    check_bad_batches(pass);
    CHECK_INT(dk_pass_backward(pass, dk_pass_hidden(pass), &err), DK_E_STAGE);
    CHECK_HAS(err.message, "made for forward only");
    dk_pass_free(pass);
    CHECK_OK(dk_model_add_gradients(f.model, &err));
    REQUIRE_OK(dk_pass_create(f.model, &backward, &pass, &err));
    CHECK_INT(dk_pass_backward(pass, dk_pass_hidden(pass), &err), DK_E_STAGE);
    CHECK_HAS(err.message, "no forward to go back through");
    dk_pass_free(pass);
    fixture_end(&f);
}

TEST_MAIN(TEST_CASE(finite_differences) TEST_CASE(finite_differences_scaled) TEST_CASE(checkpointing_is_exact)
              TEST_CASE(frozen) TEST_CASE(gradients_add) TEST_CASE(warm_pass_allocates_nothing) TEST_CASE(planned_bytes)
                  TEST_CASE(scale_by_layer) TEST_CASE(errors))
