/* GGUF metadata that contradicts itself or the tensors: each is an error that names the key, or a note. */
#include "model/architecture.h"
#include "model/model.h"

#include "gguf_model.h"

static dk_host *host;
static dk_backend *backend;
static dk_error err;

static void setup(void)
{
    if (!host && (dk_host_create(NULL, &host, &err) || dk_backend_cpu(host, &backend, &err))) exit(3);
    dk_error_clear(&err);
}

#define SMALL                                                                                                          \
    "\"vocab_size\":37,\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":3,\"num_attention_heads\":4," \
    "\"max_position_embeddings\":32,\"num_key_value_heads\":2"

static dk_model *open_made(const char *family, const gguf_args *how)
{
    char json[400], path[1200];
    dk_document *doc = NULL;
    dk_model *made = NULL, *model = NULL;
    const dk_model_options options = {.use_mmap = 1};
    snprintf(json, sizeof json, "{\"model_type\":\"%s\"," SMALL ",\"head_dim\":4}", family);
    CHECK_OK(dk_json_parse(host, json, strlen(json), "config.json", &doc, &err));
    CHECK_OK(dk_model_create(backend, doc, 0, 7, &made, &err));
    dk_document_free(doc);
    if (!made) return NULL;
    test_bytes bytes = gguf_of(made, how);
    snprintf(path, sizeof path, "%s", path_in(test_folder("gguf_metadata"), "m.gguf"));
    CHECK(write_bytes(&bytes, path));
    free_bytes(&bytes);
    dk_model_free(made);
    (void)dk_model_open(backend, path, &options, &model, &err);
    return model;
}

static void refused(const gguf_args *how, int32_t code, const char *part)
{
    dk_model *model = open_made("llama", how);
    CHECK(!model);
    CHECK_INT(err.code, code);
    CHECK_HAS(err.message, part);
    CHECK_HAS(err.message, "m.gguf: ");
    dk_model_free(model);
    dk_error_clear(&err);
}

/* part NULL = nothing is noted. */
static void noted(const gguf_args *how, const char *part)
{
    dk_model *model = open_made("llama", how);
    CHECK_OK(err.code);
    REQUIRE(model);
    const char *notes = model->config.notes.data;
    if (part) CHECK_HAS(notes ? notes : "", part);
    else CHECK_INT(model->config.notes.size, 0);
    dk_model_free(model);
}

#define WITH(...) (&(gguf_args){.keys = {__VA_ARGS__}})
#define SIZE(key, value)              \
    {                                 \
        key, NULL, GGUF_U32, value, 0 \
    }
#define NUMBER(key, value)            \
    {                                 \
        key, NULL, GGUF_F32, value, 0 \
    }
#define WORD(key, value)    \
    {                       \
        key, value, 0, 0, 0 \
    }
#define LIST(key, value, count)           \
    {                                     \
        key, NULL, GGUF_U32, value, count \
    }

TEST(sizes_meet_the_tensors)
{
    setup();
    refused(WITH(SIZE("llama.embedding_length", 24)), DK_E_MISMATCH,
            "'llama.embedding_length' is 24, but the embedding has rows of 16 entries");
    refused(WITH(SIZE("llama.block_count", 2)), DK_E_MISMATCH, "'blk.2.attn_k.weight' belongs to no part");
    refused(WITH(SIZE("llama.block_count", 4)), DK_E_MISMATCH, "'blk.3.attn_norm.weight' is missing");
    refused(WITH(SIZE("llama.block_count", 0)), DK_E_FORMAT, "'llama.block_count' is 0");
    refused(WITH(NUMBER("llama.block_count", 3)), DK_E_FORMAT, "'llama.block_count' is not a whole number");
    refused(WITH(SIZE("llama.feed_forward_length", 23)), DK_E_MISMATCH, "but its metadata asks for [23, 16]");
    refused(WITH(LIST("llama.feed_forward_length", 24, 2)), DK_E_MISMATCH,
            "'llama.feed_forward_length' has 2 entries for 3 layers");
    refused(WITH(LIST("llama.attention.head_count_kv", 2, 4)), DK_E_MISMATCH,
            "'llama.attention.head_count_kv' has 4 entries for 3 layers");
    noted(WITH(LIST("llama.attention.head_count_kv", 2, 3)), NULL);
}

TEST(heads_divide)
{
    setup();
    refused(WITH(SIZE("llama.attention.head_count_kv", 3)), DK_E_FORMAT,
            "'llama.attention.head_count_kv' is 3, no divisor of 4 heads");
    refused(WITH(SIZE("llama.attention.head_count_kv", 8)), DK_E_FORMAT, "is 8, no divisor of 4 heads");
    const gguf_args how = {.keys = {SIZE("llama.attention.head_count", 6)}, .missing = "llama.attention.key_length"};
    refused(
        &how, DK_E_FORMAT,
        "'llama.attention.head_count' is 6, no divisor of embedding_length 16, and there is no attention.key_length");
    refused(WITH(SIZE("llama.attention.value_length", 8)), DK_E_UNSUPPORTED, "keys of 4 and values of 8 entries");
}

TEST(numbers_are_in_their_range)
{
    setup();
    refused(WITH(NUMBER("llama.attention.layer_norm_rms_epsilon", -1e-5)), DK_E_FORMAT, "rms_epsilon' is below 0");
    refused(&(gguf_args){.missing = "llama.attention.layer_norm_rms_epsilon"}, DK_E_FORMAT,
            "no metadata key 'llama.attention.layer_norm_rms_epsilon'");
    refused(WITH(NUMBER("llama.rope.freq_base", 0)), DK_E_FORMAT, "'llama.rope.freq_base' is 0; more than 0");
    refused(WITH(NUMBER("llama.rope.freq_base", NAN)), DK_E_FORMAT, "'llama.rope.freq_base' is not a finite number");
    refused(WITH(NUMBER("llama.rope.scaling.factor", -2)), DK_E_FORMAT, "'llama.rope.scaling.factor' is -2");
}

TEST(positions_are_scaled_in_one_way)
{
    setup();
    refused(WITH(SIZE("llama.rope.dimension_count", 8)), DK_E_FORMAT,
            "'llama.rope.dimension_count' is 8; an even number up to a head's 4 entries is expected");
    refused(WITH(SIZE("llama.rope.dimension_count", 3)), DK_E_FORMAT, "'llama.rope.dimension_count' is 3");
    refused(WITH(SIZE("llama.rope.dimension_count", 2)), DK_E_UNSUPPORTED, "2 of 4 entries of a head rotate");
    refused(WITH(WORD("llama.rope.scaling.type", "other")), DK_E_UNSUPPORTED, "type 'other' is not supported");
    refused(WITH(NUMBER("llama.rope.scaling.attn_factor", 2)), DK_E_UNSUPPORTED, "attn_factor' other than 1");
    refused(WITH(NUMBER("llama.rope.scaling.yarn_ext_factor", 0)), DK_E_UNSUPPORTED, "yarn_ext_factor' changes");
    noted(WITH(WORD("llama.rope.scaling.type", "none"), NUMBER("llama.rope.scaling.factor", 4)),
          "metadata that is not used: llama.rope.scaling.factor\n");
    noted(WITH(SIZE("llama.rope.scaling.original_context_length", 8)), "not used: llama.rope.scaling.original_context");
    noted(WITH(NUMBER("llama.rope.scaling.factor", 1), NUMBER("llama.rope.scaling.attn_factor", 1)), NULL);
}

/* A class that scales by itself does so only where its file says so. */
TEST(a_file_without_scaling_has_none)
{
    setup();
    dk_model *model = open_made("ministral3", &(gguf_args){.keys = {NUMBER("mistral3.rope.freq_base", 5000)}});
    REQUIRE(model);
    CHECK_INT(model->config.rope.kind, DK_ROPE_PLAIN);
    CHECK_NEAR(model->config.rope.theta, 5000, 0);
    dk_model_free(model);
    model = open_made("ministral3", &(gguf_args){.keys = {NUMBER("mistral3.attention.temperature_scale", 0.1)}});
    CHECK(!model);
    CHECK_HAS(err.message, "temperature_scale' is supported with scaling of positions by yarn");
    dk_model_free(model);
}

TEST(ids_and_tokens_meet_the_embedding)
{
    setup();
    noted(WITH(SIZE("tokenizer.ggml.eot_token_id", 37)),
          "'tokenizer.ggml.eot_token_id' is 37, no id below the embedding's 37 rows; it is not used");
    noted(WITH(SIZE("tokenizer.ggml.padding_token_id", 4294967295)), "'tokenizer.ggml.padding_token_id' is 4294967295");
    refused(WITH({"tokenizer.ggml.tokens", NULL, GGUF_TEXT, 0, 38}), DK_E_MISMATCH,
            "tokenizer.ggml.tokens has 38 entries, but the embedding has 37 rows");
    noted(WITH({"tokenizer.ggml.tokens", NULL, GGUF_TEXT, 0, 36}), "37 rows, tokenizer.ggml.tokens 36 entries");
    noted(WITH({"tokenizer.ggml.tokens", NULL, GGUF_TEXT, 0, 37}), NULL);
}

TEST(what_is_no_model_is_said)
{
    setup();
    refused(WITH(WORD("general.type", "adapter")), DK_E_UNSUPPORTED, "general.type is 'adapter'");
    noted(WITH(WORD("general.type", "model")), NULL);
    noted(WITH(SIZE("general.quantization_version", 1)), NULL);
    noted(WITH(SIZE("llama.attention.layer_norm_epsilon", 1)), "not used: llama.attention.layer_norm_epsilon\n");
    noted(WITH(SIZE("qwen2.block_count", 9), WORD("general.name", "x"), SIZE("general.sampling.top_k", 4)),
          "not used: general.sampling.top_k, qwen2.block_count\n");
    refused(WITH(SIZE("split.tensors.count", 9)), DK_E_FORMAT, "split.tensors.count is 9, but 1 file holds 30 tensors");
    refused(WITH(SIZE("split.no", 5), SIZE("split.count", 1)), DK_E_FORMAT, "says that it is part 6 of 1");
}

TEST_MAIN(TEST_CASE(sizes_meet_the_tensors) TEST_CASE(heads_divide) TEST_CASE(numbers_are_in_their_range)
              TEST_CASE(positions_are_scaled_in_one_way) TEST_CASE(a_file_without_scaling_has_none)
                  TEST_CASE(ids_and_tokens_meet_the_embedding) TEST_CASE(what_is_no_model_is_said))
