/* The GGUF files that are written of small models of every family, as they are read here, against what llama.cpp said
 * about the same files: figures that tests/families/make_llama_cpp.py stored. */
#include "base/file.h"
#include "model/export_gguf.h"
#include "test_files.h"
#include "test_model.h"

/* Beside Q8_0 llama.cpp rounds activations to it, and beside F16, which matrices have that blocks of 32 do not divide,
 * to that: whole distributions are compared then. Its GELU is a table of F16, and is the one by tanh where GPT-NeoX has
 * that by erf. */
#define LOG_PROBABILITY_TOLERANCE 1e-4
#define GELU_TOLERANCE 5e-3
#define VARIATION_TOLERANCE 0.06 /* half the sum of differences of probabilities */
enum { MOST_IDS = 32 };

typedef struct told { /* one case of the file */
    const dk_document *doc;
    const dk_node *node;
    const char *name, *type;
    char folder[600];
    double worst, variation;
} told;

static const char *text_of(const told *t, const char *key)
{
    const char *out = NULL;
    dk_error err = {0};
    CHECK_OK(dk_node_text(t->doc, t->node, key, NULL, &out, &err));
    return out ? out : "";
}

static double number_of(const dk_node *node) { return node->type == DK_NODE_INT ? (double)node->i64 : node->f64; }

/* ---- what we read in our own file ---- */
static void compare_row(told *t, const dk_node *want, const double *z, int64_t vocab)
{
    double top = z[0], sum = 0, variation = 0;
    int64_t best = 0, told_best = 0;
    CHECK_INT((int64_t)want->size, vocab);
    for (int64_t i = 1; i < vocab; i++) top = fmax(top, z[i]);
    for (int64_t i = 0; i < vocab; i++) sum += exp(z[i] - top);
    for (int64_t i = 0; i < vocab && i < (int64_t)want->size; i++) {
        if (want->items[i]->type == DK_NODE_NULL) continue; /* llama.cpp's probability is 0 */
        double got = z[i] - top - log(sum), log_probability = number_of(want->items[i]);
        if (!(fabs(got - log_probability) <= t->worst)) t->worst = fabs(got - log_probability);
        variation += fabs(exp(got) - exp(log_probability)) / 2;
        if (z[i] > z[best]) best = i;
        if (log_probability > number_of(want->items[told_best])) told_best = i;
    }
    if (!(variation <= t->variation)) t->variation = variation;
    if (strcmp(t->type, "f32") == 0) CHECK_INT(best, told_best);
}

static void compare(told *t, fixture *f, dk_pass *pass, const dk_tokens *tokens)
{
    const dk_node *rows = dk_node_get(t->node, "rows"), *want = dk_node_get(t->node, "log_probs");
    int64_t vocab = f->model->config.vocab_size, count = tokens->offsets[1];
    dk_error err = {0};
    dk_buffer *buffer = NULL;
    dk_queue queue;
    REQUIRE(rows && want && rows->size && rows->size == want->size);
    REQUIRE_OK(dk_pass_forward(pass, tokens, &err));
    REQUIRE_OK(f->backend->ops->buffer_create(f->backend, count * vocab * 4, &buffer, &err));
    dk_view z = dk_view_2d(buffer, 0, DK_F32, count, vocab);
    (void)dk_queue_open(&queue, f->backend, NULL);
    dk_head_forward(&queue, f->model, DK_PRECISION_FULL, dk_pass_hidden(pass), z);
    CHECK_OK(dk_queue_wait(&queue, &err));
    double *logits = new_read(f, z);
    for (size_t i = 0; i < rows->size; i++) compare_row(t, want->items[i], logits + rows->items[i]->i64 * vocab, vocab);
    free(logits);
    f->backend->ops->buffer_free(f->backend, buffer);
}

static void check_file(told *t, fixture *f)
{
    const dk_node *ids = dk_node_get(t->node, "ids");
    int32_t numbers[MOST_IDS];
    int64_t offsets[2] = {0, ids ? (int64_t)ids->size : 0};
    dk_tokens tokens = {.ids = numbers, .offsets = offsets, .sequences = 1};
    dk_pass_spec spec = {.max_rows = offsets[1], .max_sequences = 1};
    dk_pass *pass = NULL;
    dk_error err = {0};
    REQUIRE(offsets[1] > 0 && offsets[1] <= MOST_IDS);
    for (int64_t i = 0; i < offsets[1]; i++) numbers[i] = (int32_t)ids->items[i]->i64;
    REQUIRE_OK(dk_pass_create(f->model, &spec, &pass, &err));
    compare(t, f, pass, &tokens);
    dk_pass_free(pass);
}

/* The folder, written as a GGUF file of a type and opened again. */
static int reopen(const told *t, fixture *f, dk_dtype dtype)
{
    const dk_model_options options = {.use_mmap = 1};
    const char *path = path_in(test_folder("told"), "m.gguf");
    dk_model *model = NULL;
    dk_strbuf notes;
    dk_error err = {0};
    if (!fixture_begin(f, ON_CPU)) return 0;
    dk_strbuf_init(&notes, f->host);
    int rc = dk_model_open(f->backend, t->folder, &options, &model, &err);
    if (!rc) rc = dk_model_export_gguf(model, NULL, NULL, path, dtype, &notes, &err);
    dk_model_free(model);
    if (!rc) rc = dk_model_open(f->backend, path, &options, &f->model, &err);
    dk_strbuf_free(&notes);
    if (rc) FAIL("%s as %s: %d %s", t->name, t->type, rc, err.message);
    return !rc;
}

static void check_case(told *t)
{
    fixture f;
    const dk_dtype dtype = strcmp(t->type, "f32") == 0 ? DK_F32 : DK_Q8_0;
    CHECK(dtype == DK_F32 || strcmp(t->type, "q8_0") == 0);
    if (reopen(t, &f, dtype)) {
        double tolerance = f.model->config.activation == DK_ACT_SILU ? LOG_PROBABILITY_TOLERANCE : GELU_TOLERANCE;
        check_file(t, &f);
        if (dtype == DK_F32 && !(t->worst <= tolerance))
            FAIL("%s: log-probabilities are %g from llama.cpp's", t->name, t->worst);
        if (!(t->variation <= VARIATION_TOLERANCE))
            FAIL("%s as %s: distributions are %g from llama.cpp's", t->name, t->type, t->variation);
    }
    fixture_end(&f);
}

/* ---- the stored cases ---- */
static int find_folder(told *t)
{
    int ours = strcmp(text_of(t, "where"), "data") == 0;
    if (!ours && !test_assets()) return 0;
    snprintf(t->folder, sizeof t->folder, "%s/%s/%s", ours ? TEST_DATA : test_assets(),
             ours ? "families" : "oracle/models", t->name);
    return ours || dk_path_exists(t->folder);
}

static int check_cases(const dk_document *doc)
{
    const dk_node *cases = dk_node_get(dk_document_root(doc), "cases");
    int checked = 0;
    for (size_t i = 0; cases && i < cases->size; i++) {
        told t = {.doc = doc, .node = cases->items[i]};
        t.name = text_of(&t, "name");
        t.type = text_of(&t, "type");
        if (!find_folder(&t)) continue;
        check_case(&t);
        checked++;
    }
    return checked;
}

TEST(files_say_what_llama_cpp_reads_in_them)
{
    dk_host *host = NULL;
    dk_document *doc = NULL;
    dk_error err = {0};
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    CHECK_OK(dk_json_open(host, TEST_DATA "/families/llama_cpp.json", &doc, &err));
    if (doc) CHECK(check_cases(doc) >= 14);
    dk_document_free(doc);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(files_say_what_llama_cpp_reads_in_them))
