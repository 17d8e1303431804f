/* Forward, backward and greedy text of every family against stored figures of transformers. */
#include "base/file.h"
#include "npz.h"
#include "test_model.h"

#define LOGIT_TOLERANCE 5e-5
#define GRADIENT_TOLERANCE 2e-5 /* of the largest entry of a tensor */
#define GRADIENT_NOISE 1e-7     /* what is left of a gradient that is 0: that of keys' biases without rope */

static const struct {
    const char *name, *figures; /* variants of the files share the figures of what they were made from */
} families[] = {{"gpt2", "gpt2"},
                {"gpt2_fp16", "gpt2_fp16"},
                {"llama", "llama"},
                {"llama_bf16", "llama_bf16"},
                {"llama_sharded", "llama"},
                {"llama_rope_linear", "llama_rope_linear"},
                {"llama_rope_yarn", "llama_rope_yarn"},
                {"llama3_rope_tied", "llama3_rope_tied"},
                {"mistral", "mistral"},
                {"mistral_sliding", "mistral_sliding"},
                {"qwen2", "qwen2"},
                {"qwen3", "qwen3"},
                {"smollm", "smollm"},
                {"granite", "granite"},
                {"smollm3", "smollm3"},
                {"olmo2", "olmo2"},
                {"phi3", "phi3"},
                {"gemma", "gemma"},
                {"gemma2", "gemma2"},
                {"gemma3_text", "gemma3_text"},
                {"gpt_neox", "gpt_neox"},
                {"stablelm", "stablelm"}};
/* Made by tests/families/make_families.py, where it is said what each is there for. */
static const char *const ours[] = {"gpt_neox_sequential", "phi",          "stablelm_parallel", "llama_rope_dynamic",
                                   "ministral3",          "phi4_mini",    "phi4_mini_short",   "smollm3_sliding",
                                   "phi_qk_layernorm",    "gemma2_plain", "gemma3_plain",      "stablelm_qk_layernorm"};
/* The same, of models that are run alone. */
static const char *const run_alone[] = {"mixtral", "mixtral_fused", "mixtral_sliding", "qwen3_moe", "qwen3_moe_mixed"};
enum {
    FAMILIES = sizeof families / sizeof *families,
    OURS = sizeof ours / sizeof *ours,
    RUN_ALONE = sizeof run_alone / sizeof *run_alone,
    MOST_LAYERS = 8
};

typedef struct figures {
    fixture f;
    npz_file file;
    const char *name;
} figures;

typedef struct run {                              /* one of the three cases that are stored for a family */
    const char *gradients, *logits, *loss, *mask; /* names in the file; logits and mask may be NULL */
    int32_t ids[64], labels[64];
    int64_t offsets[3], rows;
} run;

/* Padding is dropped: what is left is ragged. labels[i] is what row i predicts, -100 = nothing. */
static void load_run(figures *x, run *r, const char *ids, const char *labels)
{
    npz_array a = npz_get(&x->file, ids), l = npz_get(&x->file, labels),
              m = r->mask ? npz_get(&x->file, r->mask) : (npz_array){0};
    int64_t width = a.shape[1];
    r->rows = r->offsets[0] = 0;
    for (int64_t s = 0; s < a.shape[0]; s++) {
        for (int64_t t = 0; t < width; t++) {
            if (m.values && m.values[s * width + t] == 0) continue;
            int last = t + 1 >= width || (m.values && m.values[s * width + t + 1] == 0);
            r->ids[r->rows] = (int32_t)a.values[s * width + t];
            r->labels[r->rows++] = last ? -100 : (int32_t)l.values[s * width + t + 1];
        }
        r->offsets[s + 1] = r->rows;
    }
    free(a.values);
    free(l.values);
    free(m.values);
}

/* ---- comparing ---- */
static void check_values(const figures *x, const char *what, const double *got, const double *want, int64_t count,
                         double tolerance)
{
    double worst = 0;
    for (int64_t i = 0; i < count; i++) worst = fabs(got[i] - want[i]) <= worst ? worst : fabs(got[i] - want[i]);
    if (!(worst <= tolerance)) FAIL("%s on %s: %s is off by %g", x->name, x->f.backend->name, what, worst);
}

static void check_logits(figures *x, const run *r, const double *logits, int64_t vocab)
{
    npz_array want = npz_get(&x->file, r->logits), m = r->mask ? npz_get(&x->file, r->mask) : (npz_array){0};
    int64_t at = 0;
    for (int64_t row = 0; row < want.shape[0] * want.shape[1]; row++) {
        if (m.values && m.values[row] == 0) continue;
        check_values(x, r->logits, logits + at++ * vocab, want.values + row * vocab, vocab, LOGIT_TOLERANCE);
    }
    CHECK_INT(at, r->rows);
    free(want.values);
    free(m.values);
}

/* hidden/1.. are the outputs of blocks, the last of them behind the final norm. */
static void check_hidden(figures *x, dk_pass *pass, int64_t taps)
{
    char name[32];
    for (int64_t i = 0; i < taps; i++) {
        dk_view tap = dk_pass_tap(pass, i);
        double *got = new_read(&x->f, tap);
        snprintf(name, sizeof name, "hidden/%d", (int)i + 1);
        npz_array want = npz_get(&x->file, name);
        if (want.values) {
            CHECK_INT(want.count, dk_view_count(&tap));
            check_values(x, name, got, want.values, want.count, LOGIT_TOLERANCE);
        }
        free(want.values);
        free(got);
    }
}

static void check_gradients(figures *x, const run *r)
{
    int found = 0;
    for (int64_t i = 0; i < x->f.model->parameter_count; i++) {
        const dk_parameter *parameter = &x->f.model->parameters[i];
        char name[256];
        snprintf(name, sizeof name, "%s/%s", r->gradients, parameter->name);
        npz_array want = npz_get(&x->file, name);
        double *got = new_read(&x->f, parameter->gradient), largest = 0;
        for (int64_t k = 0; k < want.count; k++) largest = fmax(largest, fabs(want.values[k]));
        if (want.values) {
            CHECK_INT(want.count, dk_view_count(&parameter->gradient));
            check_values(x, name, got, want.values, want.count, fmax(GRADIENT_TOLERANCE * largest, GRADIENT_NOISE));
            found++;
        }
        free(want.values);
        free(got);
    }
    if (strcmp(r->gradients, "grad") == 0) CHECK_INT(found, x->f.model->parameter_count);
}

/* Mean cross-entropy over the rows that have a label; logits become its gradient, nll[row] the row's own. */
static double cross_entropy(double *logits, int64_t vocab, const run *r, double *nll)
{
    double sum = 0, n = 0;
    for (int64_t i = 0; i < r->rows; i++) n += r->labels[i] >= 0;
    for (int64_t i = 0; i < r->rows; i++) {
        double *z = logits + i * vocab, top = z[0], total = 0;
        for (int64_t v = 1; v < vocab; v++) top = fmax(top, z[v]);
        for (int64_t v = 0; v < vocab; v++) total += exp(z[v] - top);
        nll[i] = r->labels[i] < 0 ? 0 : top + log(total) - z[r->labels[i]];
        sum += nll[i];
        for (int64_t v = 0; v < vocab; v++)
            z[v] = r->labels[i] < 0 ? 0 : (exp(z[v] - top) / total - (v == r->labels[i])) / n;
    }
    return sum / n;
}

static void check_loss(figures *x, const run *r, double *logits, int64_t vocab)
{
    double nll[64];
    npz_array loss = npz_get(&x->file, r->loss), each = npz_get(&x->file, "token_nll");
    double mean = cross_entropy(logits, vocab, r, nll);
    if (loss.values) CHECK_NEAR(mean, loss.values[0], 1e-5);
    for (int64_t s = 0; each.values && strcmp(r->loss, "loss") == 0 && s < each.shape[0]; s++)
        check_values(x, "token_nll", nll + r->offsets[s], each.values + s * each.shape[1], each.shape[1],
                     LOGIT_TOLERANCE);
    free(loss.values);
    free(each.values);
}

/* ---- one case ---- */
static void evaluate(figures *x, run *r, dk_pass *pass, int64_t taps, dk_view z, dk_view dz, dk_view dhidden)
{
    dk_error err = {0};
    dk_queue queue;
    dk_tokens tokens = {.ids = r->ids, .offsets = r->offsets, .sequences = 2};
    dk_model *model = x->f.model;
    (void)dk_queue_open(&queue, x->f.backend, NULL);
    zero_gradients(&x->f);
    REQUIRE_OK(dk_pass_forward(pass, &tokens, &err));
    dk_head_forward(&queue, model, DK_PRECISION_FULL, dk_pass_hidden(pass), z);
    REQUIRE_OK(dk_queue_wait(&queue, &err));
    double *logits = new_read(&x->f, z);
    if (r->logits) check_logits(x, r, logits, model->config.vocab_size);
    if (taps) check_hidden(x, pass, taps);
    check_loss(x, r, logits, model->config.vocab_size);
    write_view(&x->f, dz, logits);
    free(logits);
    dk_head_backward(&queue, model, DK_PRECISION_FULL, dk_pass_hidden(pass), z, dz, dhidden, 0);
    CHECK_OK(dk_queue_wait(&queue, &err));
    REQUIRE_OK(dk_pass_backward(pass, dhidden, &err));
}

static void check_run(figures *x, run *r, int32_t tapped)
{
    dk_error err = {0};
    dk_pass *pass = NULL;
    dk_arena arena;
    dk_view z = dk_view_none(), dz = dk_view_none(), dhidden = dk_view_none();
    dk_tap_spec taps[MOST_LAYERS];
    int64_t layers = x->f.model->config.layers;
    dk_pass_spec spec = {
        .max_rows = r->rows, .max_sequences = 2, .backward = 1, .taps = taps, .tap_count = tapped ? layers : 0};
    for (int64_t i = 0; i < layers; i++)
        taps[i] = (dk_tap_spec){.layer = i, .kind = i == layers - 1 ? DK_TAP_FINAL : DK_TAP_BLOCK};
    dk_arena_init(&arena, x->f.backend);
    for (int measured = 0; measured < 2; measured++) {
        z = dk_arena_2d(&arena, x->f.backend->real, r->rows, x->f.model->config.vocab_size);
        dz = dk_arena_2d(&arena, x->f.backend->real, r->rows, x->f.model->config.vocab_size);
        dhidden = dk_arena_2d(&arena, x->f.backend->real, r->rows, x->f.model->config.hidden_size);
        if (!measured) CHECK_OK(dk_arena_commit(&arena, &err));
    }
    CHECK_OK(dk_pass_create(x->f.model, &spec, &pass, &err));
    if (pass) {
        evaluate(x, r, pass, spec.tap_count, z, dz, dhidden);
        check_gradients(x, r);
    }
    dk_pass_free(pass);
    dk_arena_free(&arena);
}

typedef struct written {
    int32_t ids[64];
    int64_t count;
} written;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    written *w = user;
    CHECK(sequence == 0 && log_prob <= 0 && finished == (w->count == 15 ? 2 : 0));
    w->ids[w->count++] = id;
    return 0;
}

static void check_greedy(figures *x)
{
    npz_array prompt = npz_get(&x->file, "greedy_prompt"), tokens = npz_get(&x->file, "greedy_tokens");
    int32_t ids[64];
    int64_t offsets[2] = {0, prompt.count};
    dk_tokens prompts = {.ids = ids, .offsets = offsets, .sequences = 1};
    written w = {.count = 0};
    dk_error err = {0};
    dk_generate_args args = {.max_tokens = 16, .temperature = 0, .top_p = 1, .emit = on_token, .user = &w};
    for (int64_t i = 0; i < prompt.count; i++) ids[i] = (int32_t)prompt.values[i];
    CHECK_OK(dk_generate(x->f.model, &prompts, &args, &err));
    CHECK_INT(w.count, 16);
    for (int64_t i = 0; i < w.count; i++)
        if (w.ids[i] != (int32_t)tokens.values[prompt.count + i])
            FAIL("%s: greedy token %d is %d", x->name, (int)i, (int)w.ids[i]);
    free(prompt.values);
    free(tokens.values);
}

static int has(const figures *x, const char *name)
{
    npz_array found = npz_get(&x->file, name);
    int there = found.values != NULL;
    free(found.values);
    return there;
}

static void check_family(figures *x)
{
    run plain = {.gradients = "grad", .logits = "logits", .loss = "loss"},
        masked = {.gradients = "masked_grad", .loss = "masked_loss"},
        padded = {.gradients = "pad_grad", .logits = "pad_logits", .loss = "pad_loss", .mask = "pad_attention_mask"};
    int whole = has(x, "pad_labels"); /* rounded weights come without gradients */
    load_run(x, &plain, "input_ids", "input_ids");
    if (!whole) plain.gradients = "none";
    check_run(x, &plain, 1);
    if (has(x, "masked_labels")) {
        load_run(x, &masked, "input_ids", "masked_labels");
        check_run(x, &masked, 0);
    }
    if (!whole) return;
    load_run(x, &padded, "pad_input_ids", "pad_labels");
    check_run(x, &padded, 0);
    check_greedy(x);
}

static int check_folder(backend_kind kind, const char *name, const char *folder, const char *path)
{
    figures x = {.name = name};
    if (!dk_path_exists(folder) || !npz_open(path, &x.file)) return 0;
    if (fixture_open(&x.f, kind, folder)) check_family(&x);
    fixture_end(&x.f);
    npz_close(&x.file);
    return 1;
}

static void check_ours(backend_kind kind)
{
    for (int i = 0; i < OURS; i++) {
        char folder[600], path[640];
        snprintf(folder, sizeof folder, "%s/families/%s", TEST_DATA, ours[i]);
        snprintf(path, sizeof path, "%s/expected.npz", folder);
        if (!check_folder(kind, ours[i], folder, path)) FAIL("%s is not there", path);
    }
}

static void check_families(backend_kind kind)
{
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (int i = 0; i < FAMILIES; i++) {
        char folder[600], path[600];
        snprintf(folder, sizeof folder, "%s/oracle/models/%s", test_assets(), families[i].name);
        snprintf(path, sizeof path, "%s/oracle/models/%s/expected.npz", test_assets(), families[i].figures);
        if (!check_folder(kind, families[i].name, folder, path)) FAIL("%s or %s is not there", folder, path);
    }
}

/* ---- models that are run alone ---- */
static void check_forward(figures *x, run *r)
{
    dk_error err = {0};
    dk_pass *pass = NULL;
    dk_buffer *buffer = NULL;
    dk_queue queue;
    dk_model *model = x->f.model;
    dk_dtype real = x->f.backend->real;
    int64_t vocab = model->config.vocab_size;
    const dk_pass_spec spec = {.max_rows = r->rows, .max_sequences = 2};
    const dk_tokens tokens = {.ids = r->ids, .offsets = r->offsets, .sequences = 2};
    REQUIRE_OK(dk_pass_create(model, &spec, &pass, &err));
    CHECK_OK(x->f.backend->ops->buffer_create(x->f.backend, dk_dtype_bytes(real, r->rows * vocab), &buffer, &err));
    dk_view z = dk_view_2d(buffer, 0, real, r->rows, vocab);
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    (void)dk_queue_open(&queue, x->f.backend, NULL);
    dk_head_forward(&queue, model, DK_PRECISION_FULL, dk_pass_hidden(pass), z);
    CHECK_OK(dk_queue_wait(&queue, &err));
    double *logits = new_read(&x->f, z);
    check_logits(x, r, logits, vocab);
    check_loss(x, r, logits, vocab);
    free(logits);
    x->f.backend->ops->buffer_free(x->f.backend, buffer);
    dk_pass_free(pass);
}

static void check_alone(backend_kind kind, const char *name)
{
    figures x = {.name = name};
    run plain = {.logits = "logits", .loss = "loss"},
        padded = {.logits = "pad_logits", .loss = "pad_loss", .mask = "pad_attention_mask"};
    char folder[600], path[640];
    dk_error err = {0};
    snprintf(folder, sizeof folder, "%s/families/%s", TEST_DATA, name);
    snprintf(path, sizeof path, "%s/expected.npz", folder);
    REQUIRE(npz_open(path, &x.file));
    REQUIRE(fixture_begin(&x.f, kind));
    REQUIRE_OK(dk_model_open(x.f.backend, folder, NULL, &x.f.model, &err));
    load_run(&x, &plain, "input_ids", "input_ids");
    check_forward(&x, &plain);
    load_run(&x, &padded, "pad_input_ids", "pad_labels");
    check_forward(&x, &padded);
    check_greedy(&x);
    fixture_end(&x.f);
    npz_close(&x.file);
}

TEST(experts)
{
    for (int i = 0; i < RUN_ALONE; i++)
        for (backend_kind kind = ON_CPU; kind <= ON_F64; kind++) check_alone(kind, run_alone[i]);
}

TEST(cpu) { check_families(ON_CPU); }

TEST(reference_f32) { check_families(ON_F32); }

TEST(reference_f64) { check_families(ON_F64); }

TEST(ours_on_cpu) { check_ours(ON_CPU); }

TEST(ours_on_reference_f32) { check_ours(ON_F32); }

TEST(ours_on_reference_f64) { check_ours(ON_F64); }

TEST_MAIN(TEST_CASE(cpu) TEST_CASE(reference_f32) TEST_CASE(reference_f64) TEST_CASE(ours_on_cpu)
              TEST_CASE(ours_on_reference_f32) TEST_CASE(ours_on_reference_f64) TEST_CASE(experts))
