/* The GGUF files that are written of small models of every family, as they are read here, against what llama.cpp said
 * about the same files: figures that tests/families/make_llama_cpp.py stored. */
#include "model/export_gguf.h"
#include "stored_cases.h"
#include "test_files.h"

/* Beside Q8_0 llama.cpp rounds activations to it, and beside F16, which matrices have that blocks of 32 do not divide,
 * to that: whole distributions are compared then. Its GELU is a table of F16, and is the one by tanh where GPT-NeoX has
 * that by erf. */
#define LOG_PROBABILITY_TOLERANCE 1e-4
#define GELU_TOLERANCE 5e-3
#define VARIATION_TOLERANCE 0.06 /* half the sum of differences of probabilities */

typedef struct told { /* how far a case is from what was stored */
    const stored_case *of;
    double worst, variation;
} told;

static void compare_row(told *t, const dk_node *want, const double *z, int64_t vocab)
{
    double top = z[0], sum = 0, variation = 0;
    int64_t best = 0, told_best = 0;
    CHECK_INT((int64_t)want->size, vocab);
    for (int64_t i = 1; i < vocab; i++) top = fmax(top, z[i]);
    for (int64_t i = 0; i < vocab; i++) sum += exp(z[i] - top);
    for (int64_t i = 0; i < vocab && i < (int64_t)want->size; i++) {
        if (want->items[i]->type == DK_NODE_NULL) continue; /* llama.cpp's probability is 0 */
        double got = z[i] - top - log(sum), log_probability = stored_number(want->items[i]);
        if (!(fabs(got - log_probability) <= t->worst)) t->worst = fabs(got - log_probability);
        variation += fabs(exp(got) - exp(log_probability)) / 2;
        if (z[i] > z[best]) best = i;
        if (log_probability > stored_number(want->items[told_best])) told_best = i;
    }
    if (!(variation <= t->variation)) t->variation = variation;
    if (strcmp(t->of->type, "f32") == 0) CHECK_INT(best, told_best);
}

static void check_file(told *t, fixture *f)
{
    const dk_node *rows = dk_node_get(t->of->node, "rows"), *want = dk_node_get(t->of->node, "log_probs");
    int64_t vocab = f->model->config.vocab_size;
    REQUIRE(rows && want && rows->size && rows->size == want->size);
    double *logits = stored_logits(t->of, f);
    REQUIRE(logits);
    for (size_t i = 0; i < rows->size; i++) compare_row(t, want->items[i], logits + rows->items[i]->i64 * vocab, vocab);
    free(logits);
}

/* The folder, written as a GGUF file of a type and opened again. */
static int reopen(const stored_case *c, fixture *f, dk_dtype dtype)
{
    const dk_model_options options = {.use_mmap = 1};
    const char *path = path_in(test_folder("told"), "m.gguf");
    dk_model *model = NULL;
    dk_strbuf notes;
    dk_error err = {0};
    if (!fixture_begin(f, ON_CPU)) return 0;
    dk_strbuf_init(&notes, f->host);
    int rc = dk_model_open(f->backend, c->folder, &options, &model, &err);
    if (!rc) rc = dk_model_export_gguf(model, NULL, NULL, path, dtype, &notes, &err);
    dk_model_free(model);
    if (!rc) rc = dk_model_open(f->backend, path, &options, &f->model, &err);
    dk_strbuf_free(&notes);
    if (rc) FAIL("%s as %s: %d %s", c->name, c->type, rc, err.message);
    return !rc;
}

static void check_case(const stored_case *c)
{
    fixture f;
    told t = {.of = c};
    const dk_dtype dtype = strcmp(c->type, "f32") == 0 ? DK_F32 : DK_Q8_0;
    CHECK(dtype == DK_F32 || strcmp(c->type, "q8_0") == 0);
    if (reopen(c, &f, dtype)) {
        double tolerance = f.model->config.activation == DK_ACT_SILU ? LOG_PROBABILITY_TOLERANCE : GELU_TOLERANCE;
        check_file(&t, &f);
        if (dtype == DK_F32 && !(t.worst <= tolerance))
            FAIL("%s: log-probabilities are %g from llama.cpp's", c->name, t.worst);
        if (!(t.variation <= VARIATION_TOLERANCE))
            FAIL("%s as %s: distributions are %g from llama.cpp's", c->name, c->type, t.variation);
    }
    fixture_end(&f);
}

TEST(files_say_what_llama_cpp_reads_in_them)
{
    CHECK(stored_check(TEST_DATA "/families/llama_cpp.json", check_case) >= 14);
}

TEST_MAIN(TEST_CASE(files_say_what_llama_cpp_reads_in_them))
