/* Models in block-quantised GGUF files: the same model as F32 files of the same values, at the cost of the file. */
#include "../base/fail_alloc.h"
#include "gguf_model.h"
#include "test_model.h"

static dk_host *host;
static dk_backend *backend;
static dk_error err;

static void setup(void)
{
    if (!host && (dk_host_create(NULL, &host, &err) || dk_backend_cpu(host, &backend, &err))) exit(3);
    dk_error_clear(&err);
}

#define SMALL_GPT2 "\"vocab_size\":37,\"n_embd\":256,\"n_layer\":2,\"n_head\":4,\"n_positions\":32"
#define SMALL                                                                                  \
    "\"vocab_size\":37,\"hidden_size\":256,\"intermediate_size\":256,\"num_hidden_layers\":2," \
    "\"num_attention_heads\":4,\"max_position_embeddings\":32,\"num_key_value_heads\":2"
static const char *const families[] = {
    "{\"model_type\":\"llama\"," SMALL "}",
    "{\"model_type\":\"llama\"," SMALL ",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"mistral\"," SMALL ",\"sliding_window\":5,\"head_dim\":64}",
    "{\"model_type\":\"qwen2\"," SMALL ",\"tie_word_embeddings\":true}",
    "{\"model_type\":\"qwen3\"," SMALL ",\"head_dim\":64}",
    "{\"model_type\":\"gpt2\"," SMALL_GPT2 "}",
};
enum { FAMILIES = sizeof families / sizeof *families };
static const uint32_t codes[] = {2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 39};
enum { CODES = sizeof codes / sizeof *codes };

static dk_model *fresh(const char *json)
{
    dk_document *doc = NULL;
    dk_model *model = NULL;
    CHECK_OK(dk_json_parse(host, json, strlen(json), "config.json", &doc, &err));
    if (doc) CHECK_OK(dk_model_create(backend, doc, 0, 7, &model, &err));
    dk_document_free(doc);
    return model;
}

/* The file of a fresh model with matrices as `how` says. */
static const char *file_of(const char *json, const char *name, const gguf_args *how)
{
    static char path[4][1100];
    static int next;
    char *out = path[next++ % 4];
    dk_model *made = fresh(json);
    if (!made) exit(3);
    test_bytes bytes = gguf_of(made, how);
    snprintf(out, sizeof path[0], "%s", path_in(test_folder(name), "m.gguf"));
    CHECK(write_bytes(&bytes, out));
    free_bytes(&bytes);
    dk_model_free(made);
    return out;
}

static dk_model *opened(const char *path, int32_t trainable)
{
    const dk_model_options options = {.use_mmap = 1, .trainable = trainable};
    dk_model *model = NULL;
    CHECK_OK(dk_model_open(backend, path, &options, &model, &err));
    return model;
}

static const char *hash_of(const dk_model *model)
{
    static char hex[4][65];
    static int next;
    char *out = hex[next++ % 4];
    memset(out, 0, 65);
    if (model) CHECK_OK(dk_model_hash(model, out, &err));
    return out;
}

/* Every type for one family, every family in two types. */
static void for_each(void (*check)(int family, uint32_t code))
{
    for (int family = 0; family < FAMILIES; family++)
        for (int c = 0; c < CODES; c++)
            if (family == 0 || codes[c] == 3 || codes[c] == 12) check(family, codes[c]);
}

/* ---- the same model ---- */
static void check_derived(const dk_model *from, const dk_model *twin)
{
    dk_model *a = NULL, *b = NULL;
    const int64_t layer[1] = {1};
    CHECK_OK(dk_model_derive(from, backend, layer, 1, &a, &err));
    CHECK_OK(dk_model_derive(twin, backend, layer, 1, &b, &err));
    CHECK_STR(hash_of(a), hash_of(b));
    if (a) CHECK_INT(a->embedding->value.dtype, DK_F32);
    dk_model_free(a);
    dk_model_free(b);
}

static void check_file(int family, uint32_t code)
{
    dk_dtype dtype = gguf_dtype(code);
    const char *blocks = file_of(families[family], "quantised_blocks", &(gguf_args){.type = code}),
               *floats = file_of(families[family], "quantised_floats", &(gguf_args){.widened = dtype});
    dk_model *frozen = opened(blocks, 0), *trained = opened(blocks, 1), *twin = opened(floats, 0), *again = NULL;
    REQUIRE(frozen && trained && twin);
    CHECK_INT(frozen->embedding->value.dtype, dtype);
    CHECK_INT(frozen->layers[1].qkv[0]->value.dtype, dtype);
    CHECK_INT(frozen->layers[1].down->value.dtype, dtype);
    CHECK_INT(frozen->final_norm->value.dtype, DK_F32);
    CHECK_INT(trained->embedding->value.dtype, DK_F32);
    CHECK_STR(hash_of(frozen), hash_of(twin));
    CHECK_STR(hash_of(trained), hash_of(twin));
    check_derived(frozen, twin);
    const char *saved = test_folder("quantised_saved");
    CHECK_OK(dk_model_save(frozen, saved, DK_F32, &err));
    again = opened(saved, 0);
    CHECK_STR(hash_of(again), hash_of(twin));
    dk_model *const all[] = {frozen, trained, twin, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dk_model_free(all[i]);
}

TEST(blocks_are_the_values_that_they_stand_for)
{
    setup();
    for_each(check_file);
}

/* ---- the same numbers ---- */
enum { ROWS = 24 };
static double *logits_of(dk_model *model)
{
    int32_t ids[ROWS];
    int64_t offsets[3] = {0, 9, ROWS};
    dk_pass *pass = NULL;
    dk_buffer *buffer = NULL;
    const dk_pass_spec spec = {.max_rows = ROWS, .max_sequences = 2};
    const dk_tokens tokens = {.ids = ids, .offsets = offsets, .sequences = 2};
    fixture f = {.host = host, .backend = model->backend, .model = model};
    int64_t vocab = model->config.vocab_size;
    dk_queue queue;
    for (int i = 0; i < ROWS; i++) ids[i] = (i * 11 + 3) % 37;
    CHECK_OK(dk_pass_create(model, &spec, &pass, &err));
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    CHECK_OK(model->backend->ops->buffer_create(model->backend, ROWS * vocab * 8, &buffer, &err));
    dk_view logits = dk_view_2d(buffer, 0, model->backend->real, ROWS, vocab);
    (void)dk_queue_open(&queue, model->backend, NULL);
    dk_head_forward(&queue, model, DK_PRECISION_FULL, dk_pass_hidden(pass), logits);
    CHECK_OK(dk_queue_wait(&queue, &err));
    double *out = new_read(&f, logits);
    model->backend->ops->buffer_free(model->backend, buffer);
    dk_pass_free(pass);
    return out;
}

static int32_t keep(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    int32_t *out = user;
    (void)sequence, (void)log_prob, (void)finished;
    out[++out[0]] = id;
    return 0;
}

static void check_text(dk_model *a, dk_model *b)
{
    int32_t ids[5] = {3, 14, 15, 9, 2}, one[32] = {0}, two[32] = {0};
    int64_t offsets[2] = {0, 5};
    const dk_tokens prompt = {.ids = ids, .offsets = offsets, .sequences = 1};
    dk_generate_args args = {.max_tokens = 16, .top_p = 1, .emit = keep, .user = one};
    CHECK_OK(dk_generate(a, &prompt, &args, &err));
    args.user = two;
    CHECK_OK(dk_generate(b, &prompt, &args, &err));
    CHECK_INT(one[0], 16);
    CHECK(!memcmp(one, two, sizeof one));
}

static void check_numbers(int family, uint32_t code)
{
    dk_model *blocks = opened(file_of(families[family], "quantised_blocks", &(gguf_args){.type = code}), 0),
             *floats =
                 opened(file_of(families[family], "quantised_floats", &(gguf_args){.widened = gguf_dtype(code)}), 0);
    REQUIRE(blocks && floats);
    double *got = logits_of(blocks), *want = logits_of(floats), largest = 0;
    for (int i = 0; i < ROWS * 37; i++) largest = fmax(largest, fabs(want[i]));
    CHECK(largest > 0.01);
    for (int i = 0; i < ROWS * 37; i++) CHECK_NEAR(got[i], want[i], 1e-5 * largest);
    check_text(blocks, floats);
    free(got);
    free(want);
    dk_model_free(blocks);
    dk_model_free(floats);
}

TEST(logits_and_text_are_those_of_the_values)
{
    setup();
    for_each(check_numbers);
}

/* ---- memory ---- */
typedef struct peak_alloc {
    fail_alloc memory;
    _Atomic long peak;
} peak_alloc;

static void *peak_get(void *user, size_t size, size_t align)
{
    peak_alloc *self = user;
    void *out = fail_alloc_get(&self->memory, size, align);
    long now = self->memory.bytes, before = self->peak;
    while (now > before && !atomic_compare_exchange_weak(&self->peak, &before, now)) continue;
    return out;
}

static void peak_put(void *user, void *ptr, size_t size, size_t align)
{
    fail_alloc_put(&((peak_alloc *)user)->memory, ptr, size, align);
}

/* The most that opening the file and scoring some rows takes from the host's allocator. */
static long peak_of(const char *path, int32_t trainable)
{
    peak_alloc peak = {.memory = {.left = -1}};
    const dk_allocator allocator = {&peak, peak_get, peak_put, NULL};
    const dk_model_options options = {.use_mmap = 1, .trainable = trainable};
    dk_host *own = NULL;
    dk_backend *cpu = NULL;
    dk_model *model = NULL;
    CHECK_OK(dk_host_create(&allocator, &own, &err));
    CHECK_OK(dk_backend_cpu(own, &cpu, &err));
    CHECK_OK(dk_model_open(cpu, path, &options, &model, &err));
    if (model) free(logits_of(model));
    dk_model_free(model);
    dk_backend_free(cpu);
    dk_host_release(own);
    CHECK_INT(peak.memory.bytes, 0);
    return peak.peak;
}

#define WIDE                                                                                    \
    "\"vocab_size\":37,\"hidden_size\":256,\"intermediate_size\":8192,\"num_hidden_layers\":4," \
    "\"num_attention_heads\":4,\"max_position_embeddings\":32,\"num_key_value_heads\":2"

TEST(a_frozen_model_costs_its_file_and_scratch)
{
    static const char *const wide[] = {"{\"model_type\":\"llama\"," WIDE "}",
                                       "{\"model_type\":\"gpt2\",\"vocab_size\":37,\"n_embd\":256,\"n_layer\":32,"
                                       "\"n_head\":4,\"n_positions\":32}"};
    setup();
    for (int i = 0; i < 2; i++) {
        const char *path = file_of(wide[i], "quantised_wide", &(gguf_args){.type = 12});
        dk_model *model = opened(path, 0);
        REQUIRE(model);
        long floats = 4 * (long)dk_model_elements(model);
        CHECK(model->file_bytes < (uint64_t)floats / 6);
        dk_model_free(model);
        CHECK(floats > (80 << 20));
        CHECK(peak_of(path, 0) < (12 << 20)); /* a panel of 2 MiB, a pass of 24 rows, the rotated rows of q and k */
        CHECK(peak_of(path, 1) > floats);
    }
}

/* ---- refused ---- */
static void expect(const char *path, int32_t code, const char *part)
{
    dk_model *model = NULL;
    CHECK_INT(dk_model_open(backend, path, NULL, &model, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!model);
}

TEST(types_that_are_not_read_are_named)
{
    setup();
    expect(file_of(families[0], "quantised_odd", &(gguf_args){.quantised = 23}), DK_E_UNSUPPORTED,
           "tensor 'token_embd.weight' has type IQ4_XS; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
           "Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and MXFP4: take the model's file in one of these");
    expect(file_of(families[0], "quantised_odd", &(gguf_args){.quantised = 99}), DK_E_UNSUPPORTED,
           "tensor 'token_embd.weight' has the unknown type 99; supported are F32, F16, BF16, Q4_0,");
    expect(file_of(families[0], "quantised_odd", &(gguf_args){.vectors = 8}), DK_E_UNSUPPORTED,
           "a vector, has type Q8_0; vectors are F32, F16 or BF16");
}

/* ---- no memory ---- */
static int32_t attempt(void *context, dk_host *of_host, dk_error *error)
{
    int32_t rc;
    dk_backend *cpu = NULL;
    dk_model *frozen = NULL, *trained = NULL, *derived = NULL;
    const dk_model_options options = {.use_mmap = 1, .trainable = 1};
    const int64_t layer[1] = {0};
    char hex[65];
    DK_TRY(dk_backend_cpu(of_host, &cpu, error));
    DK_TRY(dk_model_open(cpu, context, NULL, &frozen, error));
    DK_TRY(dk_model_hash(frozen, hex, error));
    DK_TRY(dk_model_derive(frozen, cpu, layer, 1, &derived, error));
    DK_TRY(dk_model_open(cpu, context, &options, &trained, error));
out:
    dk_model_free(frozen);
    dk_model_free(trained);
    dk_model_free(derived);
    if (cpu) dk_backend_free(cpu);
    return rc;
}

TEST(survives_every_failed_allocation)
{
    setup();
    CHECK(fail_every_alloc(attempt,
                           (void *)(uintptr_t)file_of(families[0], "quantised_memory", &(gguf_args){.type = 2})) > 50);
    CHECK(fail_every_alloc(attempt,
                           (void *)(uintptr_t)file_of(families[5], "quantised_memory", &(gguf_args){.type = 12})) > 50);
}

TEST_MAIN(TEST_CASE(blocks_are_the_values_that_they_stand_for) TEST_CASE(logits_and_text_are_those_of_the_values)
              TEST_CASE(a_frozen_model_costs_its_file_and_scratch) TEST_CASE(types_that_are_not_read_are_named)
                  TEST_CASE(survives_every_failed_allocation))
