/* Models as GGUF files: opened again they are the same model, within what their type holds. */
#include "../base/fail_alloc.h"
#include "gguf_model.h"
#include "model/export_gguf.h"

static dk_host *host;
static dk_backend *backend;
static dk_error err;
static dk_strbuf notes;

static void setup(void)
{
    if (!host && (dk_host_create(NULL, &host, &err) || dk_backend_cpu(host, &backend, &err))) exit(3);
    dk_error_clear(&err);
    dk_strbuf_init(&notes, host);
}

#define SMALL                                                                                                          \
    "\"vocab_size\":37,\"hidden_size\":32,\"intermediate_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4," \
    "\"max_position_embeddings\":32"
static const char *const families[] = {
    "{\"model_type\":\"llama\"," SMALL ",\"num_key_value_heads\":2}",
    "{\"model_type\":\"llama\"," SMALL ",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"rope_"
    "scaling\":{\"rope_type\":\"linear\","
    "\"factor\":2.0}}",
    "{\"model_type\":\"llama\"," SMALL
    ",\"num_key_value_heads\":2,\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8}}",
    "{\"model_type\":\"mistral\"," SMALL ",\"num_key_value_heads\":1,\"sliding_window\":5,\"head_dim\":6}",
    "{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":2,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":8}",
    "{\"model_type\":\"granite\"," SMALL ",\"num_key_value_heads\":2,\"embedding_multiplier\":3.0,"
    "\"attention_multiplier\":0.2,\"residual_multiplier\":0.5,\"logits_scaling\":2.0,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"smollm3\",\"vocab_size\":37,\"hidden_size\":32,\"intermediate_size\":64,\"num_hidden_layers\":4,"
    "\"num_attention_heads\":4,\"max_position_embeddings\":32,\"num_key_value_heads\":2}",
    "{\"model_type\":\"ministral3\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":8,\"rope_parameters\":{"
    "\"rope_type\":\"yarn\",\"rope_theta\":500000.0,\"factor\":4.0,\"original_max_position_embeddings\":8,"
    "\"mscale\":1.0,\"mscale_all_dim\":1.0,\"llama_4_scaling_beta\":0.25}}",
    "{\"model_type\":\"olmo2\"," SMALL ",\"num_key_value_heads\":2}",
    "{\"model_type\":\"phi3\"," SMALL ",\"num_key_value_heads\":2,\"sliding_window\":7}",
    "{\"model_type\":\"phi3\"," SMALL ",\"partial_rotary_factor\":0.5,\"original_max_position_embeddings\":16,"
    "\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1.0,1.5],\"long_factor\":[2.0,4.25]},"
    "\"tie_word_embeddings\":true}",
    "{\"model_type\":\"gpt_neox\"," SMALL "}",
    "{\"model_type\":\"gpt_neox\"," SMALL ",\"use_parallel_residual\":false,\"rotary_pct\":1.0}",
    "{\"model_type\":\"phi\"," SMALL "}",
    "{\"model_type\":\"stablelm\"," SMALL ",\"use_qkv_bias\":true,\"num_key_value_heads\":2}",
    "{\"model_type\":\"stablelm\"," SMALL ",\"use_parallel_residual\":true,\"num_key_value_heads\":2}",
    "{\"model_type\":\"stablelm\"," SMALL
    ",\"use_parallel_residual\":true,\"qk_layernorm\":true,\"num_key_value_heads\":2}",
    "{\"model_type\":\"gemma\"," SMALL ",\"num_key_value_heads\":1,\"head_dim\":6}",
    "{\"model_type\":\"gemma2\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":8,\"query_pre_attn_scalar\":8,"
    "\"sliding_window\":6}",
    "{\"model_type\":\"gemma3_text\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":8,\"query_pre_attn_scalar\":8,"
    "\"sliding_window\":6,\"sliding_window_pattern\":2,\"rope_local_base_freq\":500.0,\"rope_scaling\":{\"rope_type\":"
    "\"linear\",\"factor\":8.0}}",
    "{\"model_type\":\"gpt2\",\"vocab_size\":37,\"n_embd\":32,\"n_layer\":2,\"n_head\":4,\"n_positions\":32}",
    /* llama.cpp asks for a head: the tied one is written twice */
    "{\"model_type\":\"gpt_neox\"," SMALL ",\"tie_word_embeddings\":true}",
    "{\"model_type\":\"phi\"," SMALL ",\"tie_word_embeddings\":true}",
    "{\"model_type\":\"stablelm\"," SMALL ",\"num_key_value_heads\":2,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"olmo2\"," SMALL ",\"tie_word_embeddings\":true}",
};
enum { FAMILIES = sizeof families / sizeof *families };

/* Fresh vectors are ones and zeros: with others no two of them are taken for each other. */
static void tell_vectors_apart(dk_model *model)
{
    dk_queue queue;
    CHECK_OK(dk_queue_open(&queue, backend, &err));
    for (int64_t i = 0; i < model->parameter_count; i++) {
        dk_view value = model->parameters[i].value;
        float values[256];
        if (value.rank > 1 || value.shape[0] > 256) continue;
        for (int64_t k = 0; k < value.shape[0]; k++) values[k] = 1 + (float)(i * 256 + k) / 32768;
        backend->ops->copy_in(&queue, value, values);
    }
    CHECK_OK(dk_queue_wait(&queue, &err));
}

static dk_model *fresh(const char *json)
{
    dk_document *doc = NULL;
    dk_model *model = NULL;
    CHECK_OK(dk_json_parse(host, json, strlen(json), "config.json", &doc, &err));
    if (doc) CHECK_OK(dk_model_create(backend, doc, 0, 7, &model, &err));
    if (model) tell_vectors_apart(model);
    dk_document_free(doc);
    return model;
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

static const char *target(const char *name)
{
    static char path[4][1100];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s", path_in(test_folder(name), "m.gguf"));
    return out;
}

/* ---- the same model ---- */
/* llama.cpp does not look at the windows of some families, which is the only thing there is to say of these. */
static void check_notes(const dk_model *model)
{
    const dk_architecture *row = dk_architecture_find(model->config.architecture);
    if (row->gguf_rules & DK_GGUF_NO_WINDOW && model->config.window[0])
        CHECK_HAS(notes.data, "does not look at the sliding window");
    else CHECK_INT(notes.size, 0);
}

static void check_family(int family)
{
    dk_strbuf_free(&notes);
    dk_strbuf_init(&notes, host);
    dk_model *made = fresh(families[family]);
    const char *first = target("export_first"), *half = target("export_half"), *again = target("export_again");
    REQUIRE(made);
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, first, DK_F32, &notes, &err));
    dk_model *exact = opened(first, 0);
    REQUIRE(exact);
    CHECK_STR(hash_of(exact), hash_of(made));
    CHECK_STR(exact->config.architecture, made->config.architecture);
    CHECK_INT(exact->config.max_positions, made->config.max_positions);
    CHECK_INT(exact->config.window[0], made->config.window[0]);
    /* What was opened frozen, turned and rotated as it is, goes out as the same file. */
    REQUIRE_OK(dk_model_export_gguf(exact, NULL, NULL, again, DK_F32, &notes, &err));
    dk_model *twice = opened(again, 1);
    CHECK_STR(hash_of(twice), hash_of(made));
    const char *whole = test_folder("export_whole"), *saved = test_folder("export_saved");
    REQUIRE_OK(dk_model_save(made, whole, DK_F32, &err));
    dk_model *kept = opened(whole, 0);
    REQUIRE(kept);
    CHECK_STR(hash_of(kept), hash_of(made));
    REQUIRE_OK(dk_model_save(made, saved, DK_BF16, &err));
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, half, DK_BF16, &notes, &err));
    dk_model *rounded = opened(half, 0), *folder = opened(saved, 0);
    REQUIRE(rounded && folder);
    CHECK_INT(rounded->embedding->value.dtype, DK_BF16);
    for (int64_t i = 0; i < made->parameter_count; i++) { /* vectors stay F32 in GGUF */
        dk_view value = folder->parameters[i].value;
        if (value.rank == 1 || exact->config.in_out) continue;
        float *a = values_of(rounded, made->parameters[i].name), *b = values_of(folder, made->parameters[i].name);
        CHECK(!memcmp(a, b, (size_t)dk_view_count(&value) * sizeof *a));
        free(a);
        free(b);
    }
    check_notes(made);
    CHECK_INT(exact->config.tied, made->config.tied);
    dk_model *const all[] = {made, exact, twice, kept, rounded, folder};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dk_model_free(all[i]);
}

TEST(exported_models_are_the_same)
{
    setup();
    for (int family = 0; family < FAMILIES; family++) check_family(family);
}

/* ---- blocks ---- */
static void check_blocks(int family, dk_dtype dtype, double tolerance)
{
    dk_model *made = fresh(families[family]);
    const char *path = target("export_blocks"), *floats = target("export_floats");
    REQUIRE(made);
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, path, dtype, &notes, &err));
    dk_model *trained = opened(path, 1), *frozen = opened(path, 0);
    REQUIRE(trained && frozen);
    CHECK_INT(frozen->embedding->value.dtype, dtype);
    CHECK_STR(hash_of(frozen), hash_of(trained));
    for (int64_t i = 0; i < made->parameter_count; i++) {
        float *want = values_of(made, made->parameters[i].name), *got = values_of(trained, made->parameters[i].name);
        double off = 0, all = 0;
        for (int64_t k = 0; k < dk_view_count(&made->parameters[i].value); k++) {
            off += ((double)want[k] - (double)got[k]) * ((double)want[k] - (double)got[k]);
            all += (double)want[k] * (double)want[k];
        }
        int exact = made->parameters[i].value.rank == 1 || (&made->parameters[i] == made->positions && dtype != DK_F16);
        if (exact) CHECK(off == 0);
        else CHECK(off > 0 && sqrt(off / all) < tolerance);
        free(want);
        free(got);
    }
    /* Blocks become what they stand for. */
    REQUIRE_OK(dk_model_export_gguf(frozen, NULL, NULL, floats, DK_F32, &notes, &err));
    dk_model *widened = opened(floats, 0);
    CHECK_STR(hash_of(widened), hash_of(frozen));
    dk_model *const every[] = {made, trained, frozen, widened};
    for (size_t i = 0; i < sizeof every / sizeof *every; i++) dk_model_free(every[i]);
    dk_strbuf_free(&notes);
    dk_strbuf_init(&notes, host);
}

TEST(blocks_hold_values_within_their_rounding)
{
    setup();
    for (int family = 0; family < FAMILIES; family++) {
        check_blocks(family, DK_F16, 0.001);
        check_blocks(family, DK_Q8_0, 0.008);
        check_blocks(family, DK_Q4_0, 0.1);
    }
}

TEST(rows_that_blocks_do_not_divide_are_named)
{
    setup();
    dk_model *made = fresh("{\"model_type\":\"llama\",\"vocab_size\":37,\"hidden_size\":256,\"intermediate_size\":96,"
                           "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"max_position_embeddings\":32}");
    const char *path = target("export_mixed");
    REQUIRE(made);
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, path, DK_Q4_K, &notes, &err));
    dk_model *frozen = opened(path, 0);
    REQUIRE(frozen);
    CHECK_INT(frozen->layers[0].up[0]->value.dtype, DK_Q4_K);
    CHECK_INT(frozen->layers[0].down->value.dtype, DK_Q5_0);
    CHECK_HAS(notes.data, "1 of 9 matrices are q5_0, not q4_k, whose blocks of 256 do not divide their rows: "
                          "blk.0.ffn_down.weight");
    dk_model_free(frozen);
    dk_model_free(made);
    dk_strbuf_clear(&notes);
    made = fresh("{\"model_type\":\"llama\",\"vocab_size\":37,\"hidden_size\":32,\"intermediate_size\":24,"
                 "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"max_position_embeddings\":32}");
    REQUIRE(made);
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, target("export_narrow"), DK_Q8_0, &notes, &err));
    CHECK_HAS(notes.data, "1 of 9 matrices are f16, not q8_0, whose blocks of 32 do not divide their rows");
    dk_model_free(made);
    dk_strbuf_free(&notes);
}

/* ---- refused ---- */
static void expect(const dk_model *model, const char *path, dk_dtype dtype, int32_t code, const char *part)
{
    CHECK_INT(dk_model_export_gguf(model, NULL, NULL, path, dtype, &notes, &err), code);
    CHECK_HAS(err.message, part);
}

static void put_value(dk_model *model, float value)
{
    dk_queue queue;
    CHECK_OK(dk_queue_open(&queue, backend, &err));
    backend->ops->copy_in(&queue, dk_view_columns(dk_view_rows(model->layers[0].down->value, 1, 1), 2, 1), &value);
    CHECK_OK(dk_queue_wait(&queue, &err));
}

static int files_in;
static int32_t count_file(void *user, const char *name, int32_t is_dir, dk_error *error)
{
    (void)user, (void)name, (void)is_dir, (void)error;
    files_in++;
    return 0;
}

TEST(what_cannot_be_written_is_named_and_leaves_nothing)
{
    char folder[1024];
    setup();
    snprintf(folder, sizeof folder, "%s", test_folder("export_bad"));
    dk_model *made = fresh(families[0]);
    REQUIRE(made);
    put_value(made, 1e6f);
    expect(made, path_in(folder, "m.gguf"), DK_F16, DK_E_NUMERIC,
           "blk.0.ffn_down.weight has weights that f16 cannot hold");
    CHECK_OK(dk_model_export_gguf(made, NULL, NULL, NULL, DK_F16, &notes, &err));
    put_value(made, 3.4e38f);
    expect(made, path_in(folder, "m.gguf"), DK_BF16, DK_E_NUMERIC, "weights that bf16 cannot hold: export as f32");
    put_value(made, NAN);
    expect(made, path_in(folder, "m.gguf"), DK_Q4_0, DK_E_NUMERIC, "weights that q4_0 cannot hold");
    expect(made, path_in(folder, "m.gguf"), DK_Q6_K, DK_E_INVALID, "q6_k is not written; f32, f16, bf16, q8_0, q4_0");
    expect(made, path_in(folder, "no/m.gguf"), DK_F32, DK_E_NOT_FOUND, "no/m.gguf");
    CHECK_OK(dk_dir_list(host, folder, count_file, NULL, &err));
    CHECK_INT(files_in, 0);
    CHECK(write_text(path_in(folder, "there.gguf"), "x"));
    expect(made, path_in(folder, "there.gguf"), DK_F32, DK_E_INVALID, "there.gguf: is there already");
    expect(made, folder, DK_F32, DK_E_INVALID, "is there already");
    dk_model_free(made);
    static const char *const unsaid[][2] = {
        {"{\"model_type\":\"gpt2\",\"vocab_size\":37,\"n_embd\":32,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,"
         "\"scale_attn_by_inverse_layer_idx\":true}",
         "divided by the layer's number"},
        {"{\"model_type\":\"llama\"," SMALL ",\"hidden_act\":\"gelu\"}", "another activation"},
        {"{\"model_type\":\"qwen2\"," SMALL
         ",\"num_key_value_heads\":2,\"use_sliding_window\":true,\"sliding_window\":4,"
         "\"max_window_layers\":1}",
         "sliding windows of some layers"},
        {"{\"model_type\":\"qwen3\"," SMALL
         ",\"num_key_value_heads\":2,\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\","
         "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8}}",
         "llama3 scaling of positions"},
        {"{\"model_type\":\"gemma2\"," SMALL
         ",\"num_key_value_heads\":2,\"head_dim\":8,\"query_pre_attn_scalar\":8,\"sliding_window\":6,"
         "\"final_logit_softcapping\":null}",
         "soft caps, or none"}};
    for (size_t i = 0; i < sizeof unsaid / sizeof *unsaid; i++) {
        made = fresh(unsaid[i][0]);
        REQUIRE(made);
        expect(made, path_in(folder, "m.gguf"), DK_F32, DK_E_UNSUPPORTED, unsaid[i][1]);
        CHECK_HAS(err.message, "GGUF has no key for");
        dk_model_free(made);
    }
}

/* Whatever a family's config may say, llama.cpp has the tensors that it has. */
TEST(what_llama_cpp_does_not_load_is_named)
{
    static const char *const unloadable[][2] = {
        {"{\"model_type\":\"gpt_neox\"," SMALL ",\"attention_bias\":false}", "gpt_neox model with products without"},
        {"{\"model_type\":\"gpt_neox\"," SMALL ",\"attention_bias\":false,\"use_parallel_residual\":false}",
         "gpt_neox model with products without biases; save a folder"},
        {"{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":2,\"attention_bias\":true}",
         "qwen3 model with a bias behind attention"},
        {"{\"model_type\":\"olmo2\"," SMALL ",\"attention_bias\":true}", "olmo2 model with a bias behind attention"},
        {"{\"model_type\":\"gemma\"," SMALL ",\"num_key_value_heads\":2,\"attention_bias\":true}",
         "gemma model with a bias behind attention"},
        {"{\"model_type\":\"smollm3\",\"vocab_size\":37,\"hidden_size\":32,\"intermediate_size\":64,"
         "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"max_position_embeddings\":32,\"num_key_value_heads\":2,"
         "\"mlp_bias\":true}",
         "smollm3 model with biases inside the MLP"},
        {"{\"model_type\":\"gemma\"," SMALL ",\"num_key_value_heads\":2,\"tie_word_embeddings\":false}",
         "a head that is not tied"},
        {"{\"model_type\":\"gemma2\"," SMALL
         ",\"num_key_value_heads\":2,\"head_dim\":8,\"query_pre_attn_scalar\":8,\"sliding_window\":6,"
         "\"tie_word_embeddings\":false}",
         "gemma2 model with a head that is not tied"},
        {"{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":16}",
         "qwen2 model with heads that are together wider"},
        {"{\"model_type\":\"phi\"," SMALL ",\"head_dim\":16}", "phi model with heads that are together wider"},
        {"{\"model_type\":\"phi\"," SMALL ",\"qk_layernorm\":true}", "phi model with norms of q and k"},
        {"{\"model_type\":\"phi3\"," SMALL ",\"head_dim\":16}", "phi3 model with heads that are together wider"},
        {"{\"model_type\":\"olmo2\"," SMALL ",\"head_dim\":16}", "olmo2 model with heads that are together wider"}};
    char folder[1024];
    setup();
    snprintf(folder, sizeof folder, "%s", test_folder("export_unloadable"));
    files_in = 0;
    for (size_t i = 0; i < sizeof unloadable / sizeof *unloadable; i++) {
        dk_model *made = fresh(unloadable[i][0]);
        REQUIRE(made);
        expect(made, path_in(folder, "m.gguf"), DK_F32, DK_E_UNSUPPORTED, unloadable[i][1]);
        CHECK_HAS(err.message, "llama.cpp does not load");
        dk_model_free(made);
    }
    CHECK_OK(dk_dir_list(host, folder, count_file, NULL, &err));
    CHECK_INT(files_in, 0);
}

/* ---- no memory ---- */
static int32_t attempt(void *context, dk_host *of_host, dk_error *error)
{
    int32_t rc;
    dk_backend *cpu = NULL;
    dk_model *model = NULL;
    const char *const *paths = context;
    dk_strbuf own;
    dk_strbuf_init(&own, of_host);
    remove(paths[1]);
    DK_TRY(dk_backend_cpu(of_host, &cpu, error));
    DK_TRY(dk_model_open(cpu, paths[0], NULL, &model, error));
    DK_TRY(dk_model_export_gguf(model, NULL, NULL, paths[1], DK_Q4_0, &own, error));
out:
    dk_strbuf_free(&own);
    dk_model_free(model);
    if (cpu) dk_backend_free(cpu);
    return rc;
}

TEST(survives_every_failed_allocation)
{
    setup();
    const char *paths[2] = {target("export_memory"), target("export_memory_out")};
    dk_model *made = fresh(families[2]);
    REQUIRE(made);
    REQUIRE_OK(dk_model_export_gguf(made, NULL, NULL, paths[0], DK_F32, &notes, &err));
    CHECK(fail_every_alloc(attempt, paths) > 50);
    dk_model_free(made);
}

TEST_MAIN(TEST_CASE(exported_models_are_the_same) TEST_CASE(blocks_hold_values_within_their_rounding)
              TEST_CASE(rows_that_blocks_do_not_divide_are_named)
                  TEST_CASE(what_cannot_be_written_is_named_and_leaves_nothing)
                      TEST_CASE(what_llama_cpp_does_not_load_is_named) TEST_CASE(survives_every_failed_allocation))
