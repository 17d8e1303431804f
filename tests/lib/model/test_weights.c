#include "model/architecture.h"
#include "model/model.h"

#include "../base/fail_alloc.h"
#include "gguf_model.h"

static dk_host *host;
static dk_backend *backend, *wide;
static dk_error err;

static void setup(void)
{
    if (!host && (dk_host_create(NULL, &host, &err) || dk_backend_cpu(host, &backend, &err) ||
                  dk_backend_reference(host, DK_F64, &wide, &err)))
        exit(3);
    dk_error_clear(&err);
}

#define SMALL_GPT2 "\"vocab_size\":37,\"n_embd\":16,\"n_layer\":2,\"n_head\":4,\"n_positions\":32"
#define SMALL                                                                                                          \
    "\"vocab_size\":37,\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":3,\"num_attention_heads\":4," \
    "\"max_position_embeddings\":32"
static const char *const families[] = {
    "{\"model_type\":\"llama\"," SMALL ",\"num_key_value_heads\":2,\"harmless\":{\"kept\":[1,2.5]}}",
    "{\"model_type\":\"llama\"," SMALL
    ",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"dtype\":\"float32\"}",
    "{\"model_type\":\"mistral\"," SMALL ",\"num_key_value_heads\":1,\"sliding_window\":5,\"head_dim\":6}",
    "{\"model_type\":\"qwen2\"," SMALL ",\"num_key_value_heads\":2,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"qwen3\"," SMALL ",\"num_key_value_heads\":2,\"head_dim\":8,\"torch_dtype\":\"float32\"}",
    "{\"model_type\":\"gpt2\"," SMALL_GPT2 "}",
    "{\"model_type\":\"gpt2\"," SMALL_GPT2 ",\"tie_word_embeddings\":false}",
};
enum { FAMILIES = sizeof families / sizeof *families };

static dk_model *fresh_of(const char *json, dk_backend *of)
{
    dk_document *doc = NULL;
    dk_model *model = NULL;
    CHECK_OK(dk_json_parse(host, json, strlen(json), "config.json", &doc, &err));
    if (doc) CHECK_OK(dk_model_create(of, doc, 0, 7, &model, &err));
    dk_document_free(doc);
    return model;
}

static dk_model *fresh(int family) { return fresh_of(families[family], backend); }

static dk_model *opened(const char *path, dk_backend *of, int32_t trainable, int32_t use_mmap)
{
    const dk_model_options options = {.use_mmap = use_mmap, .trainable = trainable};
    dk_model *model = NULL;
    CHECK_OK(dk_model_open(of, path, &options, &model, &err));
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

static const char *folder_named(const char *name)
{
    static char path[4][1024];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s", test_folder(name));
    return out;
}

/* ---- fresh models ---- */
TEST(fresh_is_a_function_of_the_seed)
{
    setup();
    for (int family = 0; family < FAMILIES; family++) {
        dk_model *one = fresh(family), *two = fresh(family), *in_double = fresh_of(families[family], wide);
        REQUIRE(one && two && in_double);
        CHECK_STR(hash_of(one), hash_of(two));
        CHECK_STR(hash_of(one), hash_of(in_double));
        CHECK_INT(in_double->embedding->value.dtype, DK_F64);
        CHECK_INT(one->trainable, 1);
        CHECK(one->config.tied == (one->head == one->embedding));
        float *norm = values_of(one, one->final_norm->name), *embedding = values_of(one, one->embedding->name);
        double sum = 0;
        for (int i = 0; i < 37 * 16; i++) sum += (double)embedding[i] * (double)embedding[i];
        CHECK_NEAR(sqrt(sum / (37 * 16)), 0.02, 0.002);
        for (int i = 0; i < 16; i++) CHECK_NEAR(norm[i], 1, 0);
        free(norm);
        free(embedding);
        dk_model_free(one);
        dk_model_free(two);
        dk_model_free(in_double);
    }
}

TEST(counts)
{
    setup();
    dk_model *model = fresh(0);
    REQUIRE(model);
    CHECK_INT(model->parameter_count, 3 + 3 * 9);
    CHECK_INT(dk_model_elements(model), 2 * 37 * 16 + 16 + 3 * (2 * 16 + 16 * 16 + 2 * 8 * 16 + 16 * 16 + 3 * 24 * 16));
    double products = 37 * 16 + 3.0 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 24 * 16);
    CHECK_NEAR(dk_model_flops(model, 10, 9, 0), 10 * (2 * products + 3 * 4.0 * 16 * 5), 1e-9);
    CHECK_NEAR(dk_model_flops(model, 10, 9, 1), 3 * dk_model_flops(model, 10, 9, 0), 1e-9);
    dk_model_free(model);
    model = fresh(2);
    products = 37 * 16 + 3.0 * (2 * 24 * 16 + 2 * 6 * 16 + 3 * 24 * 16);
    CHECK_NEAR(dk_model_flops(model, 1, 9, 0), 2 * products + 3 * 4.0 * 24 * (15.0 + 4 * 5) / 9, 1e-9);
    dk_model_free(model);
}

/* ---- saving and opening ---- */
static void check_round_trip(int family, dk_dtype dtype)
{
    const char *folder = folder_named("weights_first"), *second = folder_named("weights_second");
    dk_model *made = fresh(family);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, dtype, &err));
    dk_model *mapped = opened(folder, backend, 0, 1), *in_memory = opened(folder, backend, 0, 0),
             *trained = opened(folder, backend, 1, 1), *in_double = opened(folder, wide, 1, 1),
             *frozen_double = opened(folder, wide, 0, 1);
    REQUIRE(mapped && in_memory && trained && in_double && frozen_double);
    CHECK(mapped->embedding->frozen && !trained->embedding->frozen);
    CHECK_INT(mapped->embedding->value.dtype, dtype);
    CHECK_INT(trained->embedding->value.dtype, DK_F32);
    CHECK_INT(in_double->embedding->value.dtype, DK_F64);
    CHECK_INT(mapped->file_bytes, (uint64_t)dk_model_elements(made) * dk_dtype_size(dtype));
    if (dtype == DK_F32) CHECK_STR(hash_of(mapped), hash_of(made));
    CHECK_STR(hash_of(mapped), hash_of(trained));
    CHECK_STR(hash_of(mapped), hash_of(in_memory));
    CHECK_STR(hash_of(mapped), hash_of(in_double));
    CHECK_STR(hash_of(mapped), hash_of(frozen_double));
    REQUIRE_OK(dk_model_save(trained, second, dtype, &err));
    dk_model *again = opened(second, backend, 0, 1);
    REQUIRE(again);
    CHECK_STR(hash_of(again), hash_of(mapped));
    CHECK_STR(again->config.json, mapped->config.json);
    CHECK_INT(dk_path_exists(path_in(second, "generation_config.json")), 1);
    dk_model *const all[] = {made, mapped, in_memory, trained, in_double, frozen_double, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dk_model_free(all[i]);
}

TEST(round_trips)
{
    setup();
    for (int family = 0; family < FAMILIES; family++) {
        check_round_trip(family, DK_F32);
        check_round_trip(family, DK_BF16);
    }
}

TEST(rounding_is_to_nearest)
{
    setup();
    const char *folder = folder_named("weights_rounded");
    dk_model *made = fresh(0);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_BF16, &err));
    dk_model *rounded = opened(folder, backend, 1, 1);
    REQUIRE(rounded);
    float *before = values_of(made, "lm_head.weight"), *after = values_of(rounded, "lm_head.weight");
    for (int i = 0; i < 37 * 16; i++) CHECK_NEAR(after[i], dk_bf16_to_f32(dk_f32_to_bf16(before[i])), 0);
    free(before);
    free(after);
    dk_model_free(made);
    dk_model_free(rounded);
}

TEST(saved_config)
{
    dk_document *doc = NULL;
    setup();
    const char *folder = folder_named("weights_config");
    dk_model *made = fresh(0);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save_sharded(made, folder, DK_BF16, 4000, NULL, NULL, &err));
    CHECK_INT(dk_path_exists(path_in(folder, "model.safetensors.index.json")), 1);
    REQUIRE_OK(dk_json_open(host, path_in(folder, "config.json"), &doc, &err));
    const dk_node *root = dk_document_root(doc);
    CHECK(dk_node_is_text(dk_node_get(root, "torch_dtype"), "bfloat16"));
    CHECK(dk_node_is_text(dk_node_at(dk_node_get(root, "architectures"), 0), "LlamaForCausalLM"));
    CHECK_NEAR(dk_node_at(dk_node_get(dk_node_get(root, "harmless"), "kept"), 1)->f64, 2.5, 0);
    dk_document_free(doc);
    dk_model *sharded = opened(folder, backend, 0, 1);
    REQUIRE(sharded);
    const char *whole = folder_named("weights_config_whole");
    REQUIRE_OK(dk_model_save(made, whole, DK_BF16, &err));
    dk_model *one = opened(whole, backend, 0, 1);
    CHECK_STR(hash_of(sharded), hash_of(one));
    dk_model_free(one);
    dk_model_free(sharded);
    dk_model_free(made);
    made = fresh(1); /* new style: dtype */
    REQUIRE_OK(dk_model_save(made, whole, DK_BF16, &err));
    REQUIRE_OK(dk_json_open(host, path_in(whole, "config.json"), &doc, &err));
    CHECK(dk_node_is_text(dk_node_get(dk_document_root(doc), "dtype"), "bfloat16"));
    CHECK(!dk_node_get(dk_document_root(doc), "torch_dtype"));
    dk_document_free(doc);
    REQUIRE_OK(dk_model_save(made, whole, DK_F16, &err));
    one = opened(whole, backend, 0, 1);
    REQUIRE(one);
    CHECK_INT(one->parameters[0].value.dtype, DK_F16);
    dk_model_free(one);
    CHECK_INT(dk_model_save(made, whole, DK_I32, &err), DK_E_INVALID);
    CHECK_INT(dk_model_save(made, path_in(whole, "nowhere"), DK_F32, &err), DK_E_NOT_FOUND);
    dk_model_free(made);
}

TEST(generation_config_passes_through)
{
    char *text = NULL;
    size_t size = 0;
    setup();
    const char *folder = folder_named("weights_generation"), *copy = folder_named("weights_generation_copy");
    dk_model *made = fresh(0);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_F32, &err));
    REQUIRE(
        write_text(path_in(folder, "generation_config.json"), "{\"eos_token_id\": [1, 2], \"temperature\": 0.6}\n"));
    dk_model *read = opened(folder, backend, 0, 1), *derived = NULL;
    REQUIRE(read);
    REQUIRE_OK(dk_model_derive(read, backend, (const int64_t[]){1}, 1, &derived, &err));
    REQUIRE_OK(dk_model_save(derived, copy, DK_F32, &err));
    REQUIRE_OK(dk_file_read(host, path_in(copy, "generation_config.json"), 1000, &text, &size, &err));
    CHECK_STR(text, "{\n  \"eos_token_id\": [1,2],\n  \"temperature\": 0.6\n}\n");
    dk_free(host, text);
    dk_model_free(made);
    dk_model_free(read);
    dk_model_free(derived);
}

/* ---- files written otherwise: a copy of a saved model with tensors renamed, added, dropped, reshaped ---- */
typedef struct edit {
    const char *rename[2]; /* from, to */
    const char *strip;     /* prefix to take off every name */
    const char *prefix;    /* to put before every name */
    const char *drop;      /* name of a tensor to leave out */
    const char *add;       /* name of a tensor to add, F32 [2, 3] */
    const char *add_as;    /* its dtype; NULL = F32 */
    const char *flatten;   /* name of a tensor to make one-dimensional */
    size_t odd;            /* spaces behind the header */
} edit;

static void copy_edited(const char *from, const char *to, const edit *how)
{
    dk_checkpoint *file = NULL;
    test_bytes header = {0}, data = {0}, all = {0};
    char line[512], shape[DK_SHAPE_TEXT];
    REQUIRE_OK(dk_checkpoint_open(host, from, 0, &file, &err));
    put_bytes(&header, "{", 1);
    for (int64_t i = 0; i < dk_checkpoint_count(file); i++) {
        dk_tensor tensor = *dk_checkpoint_at(file, i);
        const char *name = tensor.name;
        if (how->drop && !strcmp(name, how->drop)) continue;
        if (how->flatten && !strcmp(name, how->flatten)) tensor.shape[0] *= tensor.shape[1], tensor.rank = 1;
        if (how->rename[0] && !strcmp(name, how->rename[0])) name = how->rename[1];
        if (how->strip && !strncmp(name, how->strip, strlen(how->strip))) name += strlen(how->strip);
        snprintf(line, sizeof line, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                 header.size > 1 ? "," : "", how->prefix ? how->prefix : "", name, tensor.type_name,
                 dk_shape_text(tensor.rank, tensor.shape, shape), data.size, data.size + (size_t)tensor.bytes);
        put_bytes(&header, line, strlen(line));
        put_bytes(&data, tensor.data, (size_t)tensor.bytes);
    }
    if (how->add) {
        snprintf(line, sizeof line, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[%zu,%zu]}", how->add,
                 how->add_as ? how->add_as : "F32", data.size, data.size + 24);
        put_bytes(&header, line, strlen(line));
        put_zeros(&data, 24);
    }
    put_bytes(&header, "}", 1);
    while (header.size % 8 != how->odd) put_bytes(&header, " ", 1);
    put_u64(&all, header.size);
    put_bytes(&all, header.data, header.size);
    put_bytes(&all, data.data, data.size);
    CHECK(write_bytes(&all, path_in(to, "model.safetensors")));
    free_bytes(&header);
    free_bytes(&data);
    free_bytes(&all);
    dk_checkpoint_close(file);
}

static void expect_open(const char *folder, int32_t code, const char *part)
{
    dk_model *model = NULL;
    CHECK_INT(dk_model_open(backend, folder, NULL, &model, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!model);
}

static void check_edited(int family, const edit *how, int32_t code, const char *part)
{
    const char *from = folder_named("weights_edit_from"), *to = folder_named("weights_edit_to");
    dk_model *made = fresh(family);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, from, DK_F32, &err));
    REQUIRE_OK(dk_model_save(made, to, DK_F32, &err));
    copy_edited(from, to, how);
    if (code) {
        expect_open(to, code, part);
    } else {
        dk_model *frozen = opened(to, backend, 0, 1), *trained = opened(to, backend, 1, 1);
        if (frozen) CHECK_STR(hash_of(frozen), hash_of(made));
        if (trained) CHECK_STR(hash_of(trained), hash_of(made));
        dk_model_free(frozen);
        dk_model_free(trained);
    }
    dk_model_free(made);
}

TEST(tolerates_what_transformers_does)
{
    setup();
    check_edited(5, &(edit){.strip = "transformer.", .add = "h.1.attn.bias", .add_as = "I32"}, 0, NULL);
    check_edited(5, &(edit){.add = "transformer.h.0.attn.masked_bias"}, 0, NULL);
    check_edited(0, &(edit){.strip = "model."}, 0, NULL);
    check_edited(0, &(edit){.add = "model.layers.0.self_attn.rotary_emb.inv_freq"}, 0, NULL);
    check_edited(3, &(edit){.rename = {"model.embed_tokens.weight", "lm_head.weight"}}, 0, NULL);
    for (size_t odd = 1; odd < 8; odd++) check_edited(0, &(edit){.odd = odd}, 0, NULL); /* no alignment of the data */
}

TEST(names_what_does_not_fit)
{
    setup();
    check_edited(0, &(edit){.drop = "model.layers.2.mlp.up_proj.weight"}, DK_E_MISMATCH,
                 "tensor 'model.layers.2.mlp.up_proj.weight' is missing");
    check_edited(0, &(edit){.drop = "lm_head.weight"}, DK_E_MISMATCH, "tensor 'lm_head.weight' is missing");
    check_edited(0, &(edit){.add = "model.layers.3.input_layernorm.weight"}, DK_E_MISMATCH,
                 "'model.layers.3.input_layernorm.weight' belongs to no part of a llama model of 3 layers");
    check_edited(0, &(edit){.add = "model.layers.0.self_attn.q_proj.bias"}, DK_E_MISMATCH, "belongs to no part");
    check_edited(0, &(edit){.flatten = "lm_head.weight"}, DK_E_MISMATCH,
                 "'lm_head.weight' has shape [592], but config.json asks for [37, 16]");
    check_edited(0, &(edit){.drop = "model.norm.weight", .add = "model.norm.weight"}, DK_E_MISMATCH,
                 "'model.norm.weight' has shape [2, 3], but config.json asks for [16]");
    check_edited(0, &(edit){.add = "lm_head.weight", .add_as = "F32"}, DK_E_FORMAT, "lm_head.weight");
}

TEST(names_prefixes_of_wrappers)
{
    setup();
    check_edited(0, &(edit){.prefix = "_orig_mod."}, DK_E_MISMATCH,
                 "there is '_orig_mod.model.embed_tokens.weight': take '_orig_mod.' off the names");
    check_edited(5, &(edit){.prefix = "module."}, DK_E_MISMATCH, "take 'module.' off the names");
    check_edited(0, &(edit){.rename = {"model.norm.weight", "model._orig_mod.norm.weight"}}, DK_E_MISMATCH,
                 "there is 'model._orig_mod.norm.weight': take '_orig_mod.' out of the names");
    check_edited(0, &(edit){.rename = {"model.norm.weight", "_fsdp_wrapped_module.model.norm._orig_mod.weight"}},
                 DK_E_MISMATCH, "take '_orig_mod.' out of the names");
    check_edited(0, &(edit){.rename = {"model.norm.weight", "model.norm.module"}}, DK_E_MISMATCH,
                 "'model.norm.weight' is missing; config.json asks for it");
}

/* ---- two sources of one fact ---- */
static char said[2048];

static void listen(void *user, int32_t level, const char *component, const char *message)
{
    size_t used = strlen(said);
    (void)user, (void)component;
    if (level == DK_LOG_WARN) snprintf(said + used, sizeof said - used, "%s\n", message);
}

/* A model that is said to be tied, beside a head that is the embedding with `change` added to one value. */
static void save_with_head(const char *folder, float change)
{
    dk_model *made = fresh(0), *again;
    char *text = NULL, *tied;
    size_t size = 0;
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_F32, &err));
    dk_model_free(made);
    REQUIRE_OK(dk_file_read(host, path_in(folder, "config.json"), 1 << 20, &text, &size, &err));
    again = opened(folder, backend, 1, 0);
    REQUIRE(again);
    dk_queue queue;
    (void)dk_queue_open(&queue, backend, NULL);
    float *values = values_of(again, "model.embed_tokens.weight");
    values[20] += change;
    backend->ops->copy_in(&queue, again->head->value, values);
    REQUIRE_OK(dk_queue_wait(&queue, &err));
    REQUIRE_OK(dk_model_save(again, folder, DK_F32, &err));
    free(values);
    dk_model_free(again);
    tied = malloc(size + 64);
    snprintf(tied, size + 64, "{\"tie_word_embeddings\": true,%s", strchr(text, '{') + 1);
    CHECK(write_text(path_in(folder, "config.json"), tied));
    free(tied);
    dk_free(host, text);
}

TEST(a_head_of_its_own_is_used)
{
    setup();
    const char *folder = folder_named("weights_head"), *copy = folder_named("weights_head_copy");
    dk_document *doc = NULL;
    dk_host_set_logger(host, DK_LOG_WARN, listen, NULL, NULL);
    save_with_head(folder, 0);
    said[0] = 0;
    dk_model *same = opened(folder, backend, 0, 1);
    REQUIRE(same);
    CHECK(same->config.tied && same->head == same->embedding);
    CHECK(!strstr(said, "lm_head"));
    dk_model_free(same);
    save_with_head(folder, 0.25f);
    said[0] = 0;
    dk_model *other = opened(folder, backend, 0, 1);
    REQUIRE(other);
    CHECK(!other->config.tied && other->head != other->embedding);
    CHECK_HAS(said, "'lm_head.weight' differs from the embedding, though config.json says tie_word_embeddings");
    float *head = values_of(other, "lm_head.weight"), *embedding = values_of(other, "model.embed_tokens.weight");
    CHECK_NEAR(head[20] - embedding[20], 0.25, 1e-6);
    free(head), free(embedding);
    REQUIRE_OK(dk_model_save(other, copy, DK_F32, &err));
    REQUIRE_OK(dk_json_open(host, path_in(copy, "config.json"), &doc, &err));
    CHECK(!dk_node_get(dk_document_root(doc), "tie_word_embeddings")->i64);
    dk_document_free(doc);
    dk_model_free(other);
    dk_host_set_logger(host, 0, NULL, NULL, NULL);
}

TEST(generation_config_adds_ends)
{
    setup();
    const char *folder = folder_named("weights_ends"), *copy = folder_named("weights_ends_copy");
    dk_document *doc = NULL;
    dk_model *made = fresh(0), *derived = NULL;
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_F32, &err));
    REQUIRE(
        write_text(path_in(folder, "generation_config.json"),
                   "\xef\xbb\xbf{\"eos_token_id\": [5, 36, 37], \"pad_token_id\": 4, \"repetition_penalty\": 1.1}"));
    dk_host_set_logger(host, DK_LOG_WARN, listen, NULL, NULL);
    said[0] = 0;
    dk_model *read = opened(folder, backend, 0, 1);
    dk_host_set_logger(host, 0, NULL, NULL, NULL);
    REQUIRE(read);
    int64_t before = made->config.stop_count;
    CHECK_INT(read->config.stop_count, before + 2); /* 37 is no id */
    CHECK_HAS(said, "generation_config.json: eos_token_id 37 is not an id below vocab_size 37");
    CHECK_HAS(said, "not used in generation: repetition_penalty");
    CHECK_OK(dk_model_add_stop(read, 7, &err));
    CHECK_OK(dk_model_add_stop(read, 5, &err));
    CHECK_OK(dk_model_add_stop(read, -1, &err));
    CHECK_INT(read->config.stop_count, before + 3);
    REQUIRE_OK(dk_model_derive(read, backend, (const int64_t[]){1}, 1, &derived, &err));
    REQUIRE_OK(dk_model_save(derived, copy, DK_F32, &err));
    REQUIRE_OK(dk_json_open(host, path_in(copy, "generation_config.json"), &doc, &err));
    const dk_node *root = dk_document_root(doc), *ends = dk_node_get(root, "eos_token_id");
    CHECK_INT(ends->size, before + 3);
    CHECK_INT(dk_node_at(ends, ends->size - 1)->i64, 7);
    CHECK_NEAR(dk_node_get(root, "repetition_penalty")->f64, 1.1, 0);
    dk_document_free(doc);
    dk_model_free(made);
    dk_model_free(read);
    dk_model_free(derived);
}

TEST(names_files_that_are_not_opened)
{
    setup();
    const char *folder = folder_named("weights_stray");
    dk_model *made = fresh(0), *model = NULL;
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_F32, &err));
    dk_model_free(made);
    CHECK(write_text(path_in(folder, "model.safetensors.index.json"), "{}"));
    CHECK(write_text(path_in(folder, "model-00001-of-00002.safetensors"), "x"));
    model = opened(folder, backend, 0, 1);
    REQUIRE(model);
    CHECK_HAS(model->config.notes.data, "model.safetensors is used; model.safetensors.index.json beside it is not");
    CHECK_HAS(model->config.notes.data, "model-00001-of-00002.safetensors beside it is not");
    dk_model_free(model);
    CHECK(write_text(path_in(folder, "adapter_config.json"), "{}"));
    expect_open(folder, DK_E_UNSUPPORTED, "has adapter_config.json; merge the adapter into the model");
}

TEST(names_types_that_it_cannot_use)
{
    setup();
    const char *folder = folder_named("weights_types");
    dk_model *made = fresh(0);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save(made, folder, DK_BF16, &err));
    dk_mapping map = {0};
    REQUIRE_OK(dk_map_open(host, path_in(folder, "model.safetensors"), 0, &map, &err));
    test_bytes bytes = {0};
    put_bytes(&bytes, map.data, (size_t)map.size);
    dk_map_close(&map);
    char *first = NULL;
    for (size_t i = 8; i + 6 < bytes.size && !first; i++)
        if (!memcmp(bytes.data + i, "\"BF16\"", 6)) first = (char *)bytes.data + i;
    REQUIRE(first != NULL);
    memcpy(first, "\"I16\" ", 6);
    REQUIRE(write_bytes(&bytes, path_in(folder, "model.safetensors")));
    free_bytes(&bytes);
    expect_open(folder, DK_E_UNSUPPORTED, "has type I16; supported are F32, F16 and BF16");
    dk_model_free(made);
}

TEST(says_what_a_path_is)
{
    setup();
    const char *folder = folder_named("weights_paths");
    expect_open(path_in(folder, "absent"), DK_E_NOT_FOUND, "no such file or folder");
    expect_open(folder, DK_E_FORMAT, "is no model");
    CHECK(write_text(path_in(folder, "tokenizer.json"), "{}"));
    expect_open(folder, DK_E_NOT_FOUND, "has a tokenizer, but no config.json");
    CHECK(write_text(path_in(folder, "config.json"), families[0]));
    expect_open(folder, DK_E_NOT_FOUND, "has no weights");
    test_bytes one = safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    CHECK(write_bytes(&one, path_in(folder, "model.safetensors")));
    expect_open(folder, DK_E_MISMATCH, "is missing");
    expect_open(path_in(folder, "model.safetensors"), DK_E_FORMAT, "name the folder");
    CHECK(write_text(path_in(folder, "config.json"), "{\"model_type\":\"llama\","));
    expect_open(folder, DK_E_FORMAT, "config.json");
    free_bytes(&one);
}

/* ---- GGUF ---- */
static void check_gguf(int family, const gguf_args *how)
{
    const char *folder = folder_named("weights_gguf");
    dk_model *made = fresh(family);
    REQUIRE(made);
    const dk_dtype dtype = how->type == 0 ? DK_F32 : how->type == 1 ? DK_F16 : DK_BF16;
    test_bytes bytes = gguf_of(made, how);
    REQUIRE(write_bytes(&bytes, path_in(folder, "m.gguf")));
    free_bytes(&bytes);
    dk_model *frozen = opened(path_in(folder, "m.gguf"), backend, 0, 1),
             *trained = opened(path_in(folder, "m.gguf"), backend, 1, 1);
    REQUIRE(frozen && trained);
    CHECK_INT(frozen->embedding->value.dtype, dtype);
    CHECK_INT(frozen->layers[0].qkv[0]->value.dtype, dtype);
    CHECK_INT(frozen->layers[0].attention_norm->value.dtype, DK_F32);
    CHECK_STR(hash_of(frozen), hash_of(trained));
    if (dtype == DK_F32) CHECK_STR(hash_of(frozen), hash_of(made));
    CHECK_STR(frozen->config.architecture, made->config.architecture);
    CHECK_INT(frozen->config.window[0], made->config.window[0]);
    float *want = values_of(made, made->layers[1].qkv[0]->name),
          *got = values_of(trained, made->layers[1].qkv[0]->name);
    for (int64_t i = 0; i < dk_view_count(&made->layers[1].qkv[0]->value); i++)
        CHECK_NEAR(got[i], want[i], fabs((double)want[i]) / 256 + 1e-7);
    free(want);
    free(got);
    const char *saved = folder_named("weights_gguf_saved");
    REQUIRE_OK(dk_model_save(trained, saved, DK_F32, &err));
    dk_model *again = opened(saved, backend, 0, 1);
    if (again) CHECK_STR(hash_of(again), hash_of(frozen));
    dk_model *const all[] = {made, frozen, trained, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dk_model_free(all[i]);
}

TEST(gguf_is_the_same_model)
{
    static const uint32_t types[] = {0, 1, 30};
    setup();
    for (int family = 0; family < FAMILIES; family++)
        for (size_t t = 0; t < 3; t++) check_gguf(family, &(gguf_args){.type = types[t]});
    check_gguf(5, &(gguf_args){.type = 1, .repeat_head = 1});
}

static void expect_gguf(int family, const gguf_args *how, int32_t code, const char *part)
{
    const char *folder = folder_named("weights_gguf_bad");
    dk_model *made = fresh(family);
    REQUIRE(made);
    test_bytes bytes = gguf_of(made, how);
    REQUIRE(write_bytes(&bytes, path_in(folder, "m.gguf")));
    free_bytes(&bytes);
    expect_open(path_in(folder, "m.gguf"), code, part);
    dk_model_free(made);
}

TEST(gguf_is_refused_by_name)
{
    setup();
    expect_gguf(0, &(gguf_args){.extra = "blk.3.attn_norm.weight"}, DK_E_MISMATCH,
                "'blk.3.attn_norm.weight' belongs to no part of a llama model");
    expect_gguf(0, &(gguf_args){.quantised = 24}, DK_E_UNSUPPORTED,
                "'token_embd.weight' has type I8; supported are F32, F16, BF16, Q4_0,");
    expect_gguf(0, &(gguf_args){.quantised = 8}, DK_E_FORMAT, "blocks of 32");
    const char *folder = folder_named("weights_gguf_none");
    test_bytes bytes = {0};
    gguf_begin(&bytes, 3, 0, 1), gguf_text(&bytes, "general.architecture", "llama");
    CHECK(write_bytes(&bytes, path_in(folder, "m.gguf")));
    expect_open(path_in(folder, "m.gguf"), DK_E_NOT_FOUND, "vocabulary only");
    free_bytes(&bytes);
    gguf_begin(&bytes, 3, 1, 1), gguf_text(&bytes, "general.architecture", "mamba"),
        gguf_tensor(&bytes, "t", 1, (const int64_t[]){1}, 0, 0);
    gguf_align(&bytes, 32), put_zeros(&bytes, 32);
    CHECK(write_bytes(&bytes, path_in(folder, "m.gguf")));
    expect_open(path_in(folder, "m.gguf"), DK_E_UNSUPPORTED,
                "general.architecture 'mamba' is not supported; supported are gemma");
    free_bytes(&bytes);
    gguf_begin(&bytes, 3, 1, 1), gguf_text(&bytes, "general.architecture", "llama"),
        gguf_tensor(&bytes, "token_embd.weight", 2, (const int64_t[]){1, 1}, 0, 0);
    gguf_align(&bytes, 32), put_zeros(&bytes, 32);
    CHECK(write_bytes(&bytes, path_in(folder, "m.gguf")));
    expect_open(path_in(folder, "m.gguf"), DK_E_FORMAT, "no metadata key 'llama.embedding_length'");
    free_bytes(&bytes);
}

TEST(gguf_metadata_is_used_refused_or_named)
{
    setup();
    expect_gguf(0, &(gguf_args){.keys = {{"llama.vocab_size", NULL, GGUF_U32, 40, 0}}}, DK_E_MISMATCH,
                "'llama.vocab_size' is 40, but the embedding has 37 rows");
    expect_gguf(0, &(gguf_args){.keys = {{"llama.attention.causal", NULL, GGUF_BOOL, 0, 0}}}, DK_E_UNSUPPORTED,
                "'llama.attention.causal' changes the arithmetic");
    expect_gguf(0, &(gguf_args){.rope_freqs = 1, .keys = {{"llama.rope.scaling.type", "yarn", 0, 0, 0}}},
                DK_E_UNSUPPORTED,
                "'rope_freqs.weight' and metadata key 'llama.rope.scaling.type' (yarn) both scale positions");
    const char *folder = folder_named("weights_gguf_named"), *copy = folder_named("weights_gguf_named_copy");
    const gguf_args how = {.keys = {{"llama.odd_factor", NULL, GGUF_F32, 2, 0},
                                    {"tokenizer.ggml.eos_token_id", NULL, GGUF_U32, 3, 0},
                                    {"tokenizer.ggml.eot_token_id", NULL, GGUF_U32, 5, 0},
                                    {"tokenizer.ggml.eom_token_id", NULL, GGUF_U32, 3, 0}}};
    dk_model *made = fresh(0);
    REQUIRE(made);
    test_bytes bytes = gguf_of(made, &how);
    REQUIRE(write_bytes(&bytes, path_in(folder, "m.gguf")));
    free_bytes(&bytes);
    dk_model *model = opened(path_in(folder, "m.gguf"), backend, 1, 1);
    REQUIRE(model);
    CHECK_HAS(model->config.notes.data, "metadata that is not used: llama.odd_factor\n");
    CHECK_INT(model->config.stop_count, 2);
    CHECK(model->config.stops[0] == 3 && model->config.stops[1] == 5);
    REQUIRE_OK(dk_model_save(model, copy, DK_F32, &err));
    dk_model *again = opened(copy, backend, 0, 1);
    REQUIRE(again);
    CHECK_INT(again->config.stop_count, 2);
    char *text = NULL;
    size_t size = 0;
    REQUIRE_OK(dk_file_read(host, path_in(copy, "generation_config.json"), 1000, &text, &size, &err));
    CHECK_HAS(text, "\"eos_token_id\": [3, 5]");
    dk_free(host, text);
    dk_model_free(again);
    dk_model_free(model);
    dk_model_free(made);
}

TEST(gguf_scaling_of_frequencies)
{
    setup();
    const char *folder = folder_named("weights_gguf_rope");
    dk_model *made = fresh(0);
    REQUIRE(made);
    test_bytes bytes = gguf_of(made, &(gguf_args){.rope_freqs = 1});
    REQUIRE(write_bytes(&bytes, path_in(folder, "m.gguf")));
    free_bytes(&bytes);
    dk_model *model = opened(path_in(folder, "m.gguf"), backend, 0, 1);
    REQUIRE(model);
    const dk_rope_config *rope = &model->config.rope;
    CHECK_INT(rope->kind, DK_ROPE_LLAMA3);
    CHECK_NEAR(rope->factor, 8, 0);
    double first = 1 / 6.283185307179586,
           second = first / 100; /* inverse wavelengths: the first kept, the second divided */
    CHECK(first * (double)rope->original_positions >= rope->high_freq_factor * 0.999999);
    CHECK(second * (double)rope->original_positions <= rope->low_freq_factor * 1.000001);
    dk_model_free(model);
    dk_model_free(made);
}

/* ---- some blocks of a model ---- */
static void check_derived_from(const dk_model *from, dk_backend *to)
{
    static const int64_t layers[2] = {2, 0};
    dk_model *derived = NULL;
    REQUIRE_OK(dk_model_derive(from, to, layers, 2, &derived, &err));
    CHECK_INT(derived->config.layers, 2);
    CHECK_INT(derived->trainable, 1);
    CHECK_INT(derived->embedding->value.dtype, to->real);
    for (int64_t i = 0; i < derived->parameter_count; i++) {
        const char *name = derived->parameters[i].name, *at = strstr(name, ".layers.");
        char source[96];
        snprintf(source, sizeof source, "%s", name);
        if (at) source[at - name + 8] = (char)('0' + layers[at[8] - '0']);
        float *got = values_of(derived, name), *want = values_of(from, source);
        REQUIRE(got && want);
        CHECK(!memcmp(got, want, (size_t)dk_view_count(&derived->parameters[i].value) * sizeof *got));
        free(got);
        free(want);
    }
    dk_model_free(derived);
}

TEST(derives)
{
    dk_model *derived = NULL;
    setup();
    const char *folder = folder_named("weights_derive");
    for (int family = 0; family < 5; family++) {
        dk_model *made = fresh(family);
        REQUIRE(made);
        REQUIRE_OK(dk_model_save(made, folder, DK_BF16, &err));
        dk_model *frozen = opened(folder, backend, 0, 1);
        REQUIRE(frozen);
        check_derived_from(frozen, backend);
        check_derived_from(frozen, wide);
        check_derived_from(made, backend);
        dk_model_free(frozen);
        dk_model_free(made);
    }
    dk_model *made = fresh(0);
    CHECK_INT(dk_model_derive(made, backend, (const int64_t[]){3}, 1, &derived, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "block 3 does not exist; the model has blocks 0 to 2");
    CHECK_INT(dk_model_derive(made, backend, (const int64_t[]){-1}, 1, &derived, &err), DK_E_INVALID);
    CHECK_INT(dk_model_derive(made, backend, NULL, 0, &derived, &err), DK_E_INVALID);
    CHECK_INT(dk_model_derive(made, backend, (const int64_t[]){0, 1, 2, 0}, 4, &derived, &err), DK_E_INVALID);
    CHECK(!derived);
    dk_model_free(made);
}

/* ---- freezing and gradients ---- */
TEST(freezes)
{
    int64_t frozen = -1;
    setup();
    dk_model *model = fresh(0);
    REQUIRE(model);
    const char *const bad[] = {"model.norm.weight", "*.q_projection.*"}, *const good[] = {"model.embed_tokens.weight",
                                                                                          "model.layers.[01].*_proj.*",
                                                                                          "model.layers.1.mlp.*"};
    CHECK_INT(dk_model_freeze(model, bad, 2, &frozen, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message,
              "no parameter matches '*.q_projection.*'; there are 30, for example model.embed_tokens.weight");
    CHECK_INT(model->final_norm->frozen, 0);
    REQUIRE_OK(dk_model_add_gradients(model, &err));
    CHECK(dk_view_present(model->embedding->gradient));
    REQUIRE_OK(dk_model_freeze(model, good, 3, &frozen, &err));
    CHECK_INT(frozen, 1 + 2 * 7);
    CHECK(!dk_view_present(model->embedding->gradient) && model->embedding->frozen);
    CHECK(dk_view_present(model->layers[2].qkv[0]->gradient) && !model->layers[2].qkv[0]->frozen);
    CHECK_INT(model->layers[2].qkv[1]->gradient.shape[0], 8);
    dk_model_free(model);
    model = fresh(0);
    REQUIRE_OK(dk_model_freeze(model, good, 1, NULL, &err));
    REQUIRE_OK(dk_model_add_gradients(model, &err));
    CHECK(!dk_view_present(model->embedding->gradient) && dk_view_present(model->head->gradient));
    dk_buffer *buffer = model->head->gradient.buffer;
    REQUIRE_OK(dk_model_add_gradients(model, &err));
    CHECK(model->head->gradient.buffer == buffer);
    dk_model_free(model);
    const char *folder = folder_named("weights_frozen");
    model = fresh(0);
    REQUIRE_OK(dk_model_save(model, folder, DK_F32, &err));
    dk_model *opened_frozen = opened(folder, backend, 0, 1);
    CHECK_INT(dk_model_add_gradients(opened_frozen, &err), DK_E_STAGE);
    CHECK_HAS(err.message, "frozen");
    dk_model_free(opened_frozen);
    dk_model_free(model);
}

TEST(hash_tells_models_apart)
{
    setup();
    const char *json = families[0];
    char other[512];
    dk_model *one = fresh(0);
    snprintf(other, sizeof other, "%.*s,\"rope_theta\":500}", (int)strlen(json) - 1, json);
    dk_model *two = fresh_of(other, backend);
    REQUIRE(one && two);
    CHECK(strcmp(hash_of(one), hash_of(two)) != 0);
    dk_model_free(two);
    snprintf(other, sizeof other, "%.*s,\"initializer_range\":0.021}", (int)strlen(json) - 1, json);
    two = fresh_of(other, backend);
    CHECK(strcmp(hash_of(one), hash_of(two)) != 0);
    dk_model_free(two);
    dk_model_free(one);
}

/* ---- memory ---- */
static int32_t attempt(void *context, dk_host *of, dk_error *error)
{
    int32_t rc;
    const char *const *folders = context;
    char hex[65];
    dk_backend *of_host = NULL;
    dk_model *frozen = NULL, *derived = NULL;
    DK_TRY(dk_backend_cpu(of, &of_host, error));
    DK_TRY(dk_model_open(of_host, folders[0], NULL, &frozen, error));
    DK_TRY(dk_model_derive(frozen, of_host, (const int64_t[]){1, 0}, 2, &derived, error));
    DK_TRY(dk_model_add_gradients(derived, error));
    DK_TRY(dk_model_hash(derived, hex, error));
    DK_TRY(dk_model_save_sharded(derived, folders[1], DK_BF16, 4000, NULL, NULL, error));
out:
    dk_model_free(frozen);
    dk_model_free(derived);
    if (of_host) dk_backend_free(of_host);
    return rc;
}

TEST(survives_every_failed_allocation)
{
    setup();
    const char *folders[2] = {folder_named("weights_memory"), folder_named("weights_memory_out")};
    dk_model *made = fresh(1);
    REQUIRE(made);
    REQUIRE_OK(dk_model_save_sharded(made, folders[0], DK_F32, 4000, NULL, NULL, &err));
    CHECK(fail_every_alloc(attempt, folders) > 100);
    test_bytes bytes = gguf_of(made, &(gguf_args){.type = 1, .rope_freqs = 1});
    REQUIRE(write_bytes(&bytes, path_in(folders[0], "m.gguf")));
    free_bytes(&bytes);
    const char *gguf[2] = {path_in(folders[0], "m.gguf"), folders[1]};
    CHECK(fail_every_alloc(attempt, gguf) > 100);
    dk_model_free(made);
}

/* ---- published files ---- */
TEST(published_models)
{
    static const char *const ours[] = {"gpt2",
                                       "gpt2_fp16",
                                       "llama",
                                       "llama_sharded",
                                       "llama3_rope_tied",
                                       "llama_bf16",
                                       "llama_rope_linear",
                                       "llama_rope_yarn",
                                       "mistral",
                                       "mistral_sliding",
                                       "qwen2",
                                       "qwen3",
                                       "smollm"};
    static const char *const gguf[] = {"models/stories260K/stories260K.f32.gguf",
                                       "models/babyllama105/babyllama105.f32.gguf"};
    static const int64_t elements[] = {260032, 969216};
    char path[1200], llama[65] = "";
    setup();
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        snprintf(path, sizeof path, "%s/oracle/models/%s", test_assets(), ours[i]);
        dk_model *frozen = opened(path, backend, 0, 1), *trained = opened(path, wide, 1, 1);
        REQUIRE(frozen && trained);
        CHECK_STR(hash_of(frozen), hash_of(trained));
        if (!strcmp(ours[i], "llama")) snprintf(llama, sizeof llama, "%s", hash_of(frozen));
        if (!strcmp(ours[i], "llama_sharded")) CHECK_STR(hash_of(frozen), llama);
        dk_model_free(frozen);
        dk_model_free(trained);
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", test_assets(), gguf[i]);
        dk_model *model = opened(path, backend, 0, 1);
        REQUIRE(model);
        CHECK_INT(dk_model_elements(model), elements[i]);
        CHECK_NEAR(model->config.norm_epsilon, 1e-5, 0);
        CHECK_INT(model->config.tied, 1);
        dk_model_free(model);
    }
}

/* A level: whoever asks while it is on is told so at once. */
TEST(a_cancel_ends_drawing)
{
    setup();
    dk_document *doc = NULL;
    dk_model *model = NULL;
    REQUIRE_OK(dk_json_parse(host, families[0], strlen(families[0]), "config.json", &doc, &err));
    dk_host_cancel(host, 1);
    CHECK_INT(dk_model_create(backend, doc, 0, 7, &model, &err), DK_E_CANCELLED);
    CHECK_STR(err.message, "cancelled while weights were drawn");
    CHECK(!model);
    dk_host_cancel(host, 0);
    CHECK_OK(dk_model_create(backend, doc, 0, 7, &model, &err));
    dk_model_free(model);
    dk_document_free(doc);
}

TEST_MAIN(TEST_CASE(fresh_is_a_function_of_the_seed) TEST_CASE(a_cancel_ends_drawing) TEST_CASE(counts)
              TEST_CASE(round_trips) TEST_CASE(rounding_is_to_nearest) TEST_CASE(saved_config)
                  TEST_CASE(generation_config_passes_through) TEST_CASE(tolerates_what_transformers_does)
                      TEST_CASE(names_what_does_not_fit) TEST_CASE(names_prefixes_of_wrappers)
                          TEST_CASE(a_head_of_its_own_is_used) TEST_CASE(generation_config_adds_ends)
                              TEST_CASE(names_files_that_are_not_opened) TEST_CASE(names_types_that_it_cannot_use)
                                  TEST_CASE(says_what_a_path_is) TEST_CASE(gguf_is_the_same_model)
                                      TEST_CASE(gguf_is_refused_by_name)
                                          TEST_CASE(gguf_metadata_is_used_refused_or_named)
                                              TEST_CASE(gguf_scaling_of_frequencies) TEST_CASE(derives)
                                                  TEST_CASE(freezes) TEST_CASE(hash_tells_models_apart)
                                                      TEST_CASE(survives_every_failed_allocation)
                                                          TEST_CASE(published_models))
