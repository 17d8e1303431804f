#include "model/architecture.h"

#include "test_files.h"

static dk_host *host;
static dk_error err;

static void setup(void)
{
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    dk_error_clear(&err);
}

static int32_t read_text(const char *json, dk_config *out)
{
    dk_document *doc = NULL;
    int32_t rc = dk_json_parse(host, json, strlen(json), "config.json", &doc, &err);
    if (!rc) rc = dk_config_read(host, doc, out, &err);
    dk_document_free(doc);
    return rc;
}

static void expect(const char *json, int32_t code, const char *part)
{
    dk_config config = {0};
    dk_error_clear(&err);
    int32_t rc = read_text(json, &config);
    if (rc != code) FAIL("%s: %d, not %d: %s", json, (int)rc, (int)code, err.message);
    CHECK_HAS(err.message, part);
    CHECK(!config.json && !config.window);
}

/* ---- class defaults: a config with nothing but its type ---- */
TEST(llama_defaults)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"llama\"}", &c));
    CHECK_STR(c.architecture, "llama");
    CHECK_INT(c.vocab_size, 32000);
    CHECK_INT(c.hidden_size, 4096);
    CHECK_INT(c.layers, 32);
    CHECK_INT(c.heads, 32);
    CHECK_INT(c.kv_heads, 32);
    CHECK_INT(c.head_dim, 128);
    CHECK_INT(c.intermediate_size, 11008);
    CHECK_INT(c.max_positions, 2048);
    CHECK_INT(c.norm, DK_NORM_RMS);
    CHECK_NEAR(c.norm_epsilon, 1e-6, 0);
    CHECK_INT(c.activation, DK_ACT_SILU);
    CHECK_INT(c.gated, 1);
    CHECK_INT(c.in_out + c.fused_qkv + c.qkv_bias + c.out_bias + c.mlp_bias + c.norm_bias + c.qk_norm +
                  c.learned_positions + c.tied,
              0);
    CHECK_INT(c.rope.kind, DK_ROPE_PLAIN);
    CHECK_NEAR(c.rope.theta, 10000, 0);
    CHECK_INT(c.rope.dims, 128);
    CHECK_NEAR(c.attention_scale, 0.08838834764831845, 1e-16);
    CHECK_NEAR(c.embedding_scale * c.residual_scale * c.logit_scale, 1, 0);
    CHECK_INT(c.window[31], 0);
    CHECK_INT(c.layer_rope[31], 1);
    CHECK_INT(c.bos, 1);
    CHECK_INT(c.eos, 2);
    CHECK_INT(c.pad, -1);
    CHECK_NEAR(c.initializer_range, 0.02, 0);
    dk_config_free(host, &c);
}

TEST(gpt2_defaults)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"gpt2\",\"n_inner\":null}", &c));
    CHECK_INT(c.vocab_size, 50257);
    CHECK_INT(c.hidden_size, 768);
    CHECK_INT(c.layers, 12);
    CHECK_INT(c.heads, 12);
    CHECK_INT(c.kv_heads, 12);
    CHECK_INT(c.head_dim, 64);
    CHECK_INT(c.intermediate_size, 3072);
    CHECK_INT(c.max_positions, 1024);
    CHECK_INT(c.norm, DK_NORM_LAYER);
    CHECK_NEAR(c.norm_epsilon, 1e-5, 0);
    CHECK_INT(c.activation, DK_ACT_GELU_TANH);
    CHECK_INT(c.gated, 0);
    CHECK(c.in_out && c.fused_qkv && c.qkv_bias && c.out_bias && c.mlp_bias && c.norm_bias && c.learned_positions &&
          c.tied);
    CHECK_INT(c.rope.kind, DK_ROPE_NONE);
    CHECK_INT(c.layer_rope[0], 0);
    CHECK_NEAR(c.attention_scale, 0.125, 0);
    CHECK_INT(c.bos, 50256);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text(
        "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_head\":4,\"n_inner\":100,\"scale_attn_weights\":false,"
        "\"scale_attn_by_inverse_layer_idx\":true,\"tie_word_embeddings\":false,\"activation_function\":\"relu\"}",
        &c));
    CHECK_INT(c.intermediate_size, 100);
    CHECK_NEAR(c.attention_scale, 1, 0);
    CHECK_INT(c.scale_by_layer, 1);
    CHECK_INT(c.tied, 0);
    CHECK_INT(c.activation, DK_ACT_RELU);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"gpt2\",\"hidden_size\":48,\"num_attention_heads\":4,\"num_hidden_layers\":"
                         "3,\"max_position_embeddings\":40}",
                         &c));
    CHECK_INT(c.hidden_size + c.heads + c.layers + c.max_positions, 95);
    dk_config_free(host, &c);
}

TEST(mistral_defaults)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"mistral\",\"attention_bias\":false}", &c));
    CHECK_INT(c.kv_heads, 8);
    CHECK_INT(c.intermediate_size, 14336);
    CHECK_INT(c.max_positions, 131072);
    CHECK_INT(c.window[0], 4096);
    CHECK_INT(c.window[31], 4096);
    CHECK_INT(c.qkv_bias, 0);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"mistral\",\"sliding_window\":null,\"num_key_value_heads\":null}", &c));
    CHECK_INT(c.window[0], 0);
    CHECK_INT(c.kv_heads, 32);
    dk_config_free(host, &c);
}

/* What transformers fills in where a config.json names nothing but its type: tests/families/make_families.py. */
static double number_of(const dk_node *map, const char *key, const char *alias, double fallback)
{
    const dk_node *node = dk_node_get(map, key);
    if (!node && alias) node = dk_node_get(map, alias);
    if (!node || node->type == DK_NODE_NULL) return fallback;
    return node->type == DK_NODE_FLOAT ? node->f64 : (double)node->i64;
}

static void check_default_rope(const char *name, const dk_node *map, const dk_rope_config *rope, int64_t head_dim)
{
    CHECK_NEAR(rope->theta, number_of(map, "rope_theta", NULL, 10000), 0);
    CHECK_INT(rope->dims, (int64_t)((double)head_dim * number_of(map, "partial_rotary_factor", NULL, 1)));
    CHECK_NEAR(rope->factor, number_of(map, "factor", NULL, 1), 0);
    CHECK_NEAR(rope->query_scale, number_of(map, "llama_4_scaling_beta", NULL, 0), 0);
    if (rope->theta != number_of(map, "rope_theta", NULL, 10000)) FAIL("%s: rotary positions differ", name);
}

static void check_default_layers(const dk_config *c, const dk_node *want)
{
    const dk_node *types = dk_node_get(want, "layer_types"), *turns = dk_node_get(want, "no_rope_layers");
    int64_t window = (int64_t)number_of(want, "sliding_window", NULL, 0);
    for (int64_t i = 0; i < c->layers; i++) {
        if (types && types->type == DK_NODE_LIST)
            CHECK_INT(c->window[i], dk_node_is_text(types->items[i], "sliding_attention") ? window : 0);
        if (turns && turns->type == DK_NODE_LIST) CHECK_INT(c->layer_rope[i] != 0, turns->items[i]->i64);
    }
}

static void check_defaults(const dk_node *want)
{
    char json[64];
    const char *name = want->key;
    dk_config c = {0};
    snprintf(json, sizeof json, "{\"model_type\":\"%s\"}", name);
    int32_t rc = read_text(json, &c);
    if (rc) {
        FAIL("%s: %d %s", name, (int)rc, err.message);
        return;
    }
    int64_t heads = (int64_t)number_of(want, "num_attention_heads", "n_head", 0);
    int64_t hidden = (int64_t)number_of(want, "hidden_size", "n_embd", 0);
    CHECK_INT(c.vocab_size, (int64_t)number_of(want, "vocab_size", NULL, 0));
    CHECK_INT(c.hidden_size, hidden);
    CHECK_INT(c.layers, (int64_t)number_of(want, "num_hidden_layers", "n_layer", 0));
    CHECK_INT(c.heads, heads);
    CHECK_INT(c.kv_heads, (int64_t)number_of(want, "num_key_value_heads", NULL, (double)heads));
    CHECK_INT(c.head_dim, (int64_t)number_of(want, "head_dim", NULL, (double)(hidden / heads)));
    CHECK_INT(c.intermediate_size, (int64_t)number_of(want, "intermediate_size", "n_inner", 4 * (double)hidden));
    CHECK_INT(c.max_positions, (int64_t)number_of(want, "max_position_embeddings", "n_positions", 0));
    CHECK_INT(c.tied, (int64_t)number_of(want, "tie_word_embeddings", NULL, 0));
    CHECK_INT(c.bos, (int64_t)number_of(want, "bos_token_id", NULL, -1));
    CHECK_INT(c.eos, (int64_t)number_of(want, "eos_token_id", NULL, -1));
    CHECK_NEAR(c.norm_epsilon, number_of(want, "rms_norm_eps", c.norm == DK_NORM_RMS ? NULL : "layer_norm_eps", 1e-5),
               0);
    CHECK_NEAR(c.initializer_range, number_of(want, "initializer_range", NULL, 0), 0);
    const dk_node *rope = dk_node_get(want, "rope_parameters"), *local = dk_node_get(rope, "sliding_attention");
    CHECK_NEAR(c.attention_softcap, number_of(want, "attn_logit_softcapping", NULL, 0), 0);
    CHECK_NEAR(c.logit_softcap, number_of(want, "final_logit_softcapping", NULL, 0), 0);
    double scale = 1 / sqrt(number_of(want, "query_pre_attn_scalar", NULL, (double)c.head_dim));
    CHECK_NEAR(c.attention_scale, number_of(want, "attention_multiplier", NULL, scale), 1e-15);
    if (local) check_default_rope(name, local, &c.local_rope, c.head_dim);
    if (local) rope = dk_node_get(rope, "full_attention");
    if (rope && rope->type == DK_NODE_MAP) check_default_rope(name, rope, &c.rope, c.head_dim);
    check_default_layers(&c, want);
    dk_config_free(host, &c);
}

TEST(class_defaults)
{
    dk_document *doc = NULL;
    setup();
    REQUIRE_OK(dk_json_open(host, test_path(TEST_DATA, "families/defaults.json"), &doc, &err));
    const dk_node *root = dk_document_root(doc);
    CHECK(root->size >= 10);
    for (size_t i = 0; i < root->size; i++) check_defaults(root->items[i]);
    dk_document_free(doc);
}

TEST(qwen_defaults)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"qwen2\"}", &c));
    CHECK_INT(c.vocab_size, 151936);
    CHECK_INT(c.intermediate_size, 22016);
    CHECK_INT(c.max_positions, 32768);
    CHECK_INT(c.qkv_bias, 1);
    CHECK_INT(c.out_bias, 0);
    CHECK_INT(c.qk_norm, 0);
    CHECK_INT(c.head_dim, 128);
    CHECK_INT(c.window[31], 0);
    CHECK_INT(c.bos, -1);
    CHECK_INT(c.tied, 0);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen2\",\"use_sliding_window\":true}", &c));
    CHECK_INT(c.window[27], 0);
    CHECK_INT(c.window[28], 4096);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text(
        "{\"model_type\":\"qwen3\",\"hidden_size\":1024,\"num_attention_heads\":16,\"num_key_value_heads\":8}", &c));
    CHECK_INT(c.qk_norm, 1);
    CHECK_INT(c.head_dim, 128);
    CHECK_INT(c.qkv_bias, 0);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen3\",\"attention_bias\":true,\"head_dim\":64}", &c));
    CHECK_INT(c.qkv_bias + c.out_bias, 2);
    CHECK_INT(c.head_dim, 64);
    dk_config_free(host, &c);
}

TEST(llama_biases_and_activations)
{
    static const struct {
        const char *name;
        dk_activation kind;
    } names[] = {{"silu", DK_ACT_SILU},
                 {"swish", DK_ACT_SILU},
                 {"gelu", DK_ACT_GELU_ERF},
                 {"gelu_new", DK_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", DK_ACT_GELU_TANH},
                 {"gelu_fast", DK_ACT_GELU_TANH},
                 {"relu", DK_ACT_RELU}};
    dk_config c = {0};
    char json[256];
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":"
                         "true,\"eos_token_id\":[128,7],"
                         "\"pad_token_id\":-1,\"bos_token_id\":null,\"rms_norm_eps\":0.001}",
                         &c));
    CHECK_INT(c.qkv_bias + c.out_bias + c.mlp_bias + c.tied, 4);
    CHECK_INT(c.eos, 128);
    CHECK_INT(c.pad, -1);
    CHECK_INT(c.bos, -1);
    CHECK_NEAR(c.norm_epsilon, 0.001, 0);
    dk_config_free(host, &c);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(json, sizeof json, "{\"model_type\":\"llama\",\"hidden_act\":\"%s\"}", names[i].name);
        CHECK_OK(read_text(json, &c));
        CHECK_INT(c.activation, names[i].kind);
        dk_config_free(host, &c);
    }
}

/* ---- rotary positions ---- */
TEST(rope_styles)
{
    static const char *const llama3[] = {
        "{\"model_type\":\"llama\",\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_"
        "freq_factor\":1,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}",
        "{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_theta\":500000,\"rope_type\":\"llama3\",\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}",
        "{\"model_type\":\"llama\",\"rope_theta\":5e5,\"original_max_position_embeddings\":64,\"rope_scaling\":{"
        "\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}}"};
    dk_config c = {0};
    setup();
    for (size_t i = 0; i < 3; i++) {
        REQUIRE_OK(read_text(llama3[i], &c));
        CHECK_INT(c.rope.kind, DK_ROPE_LLAMA3);
        CHECK_NEAR(c.rope.theta, 500000, 0);
        CHECK_NEAR(c.rope.factor, 8, 0);
        CHECK_NEAR(c.rope.low_freq_factor, 1, 0);
        CHECK_NEAR(c.rope.high_freq_factor, 4, 0);
        CHECK_INT(c.rope.original_positions, 64);
        dk_config_free(host, &c);
    }
    REQUIRE_OK(read_text("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}}", &c));
    CHECK_INT(c.rope.kind, DK_ROPE_LINEAR);
    CHECK_NEAR(c.rope.factor, 2.5, 0);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen2\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,\"original_max_"
                         "position_embeddings\":8192}}",
                         &c));
    CHECK_INT(c.rope.kind, DK_ROPE_YARN);
    CHECK_NEAR(c.rope.factor, 4, 0);
    CHECK_INT(c.rope.original_positions, 8192);
    CHECK_NEAR(c.rope.beta_fast, 32, 0);
    CHECK_NEAR(c.rope.beta_slow, 1, 0);
    CHECK_INT(c.rope.truncate, 1);
    CHECK_NEAR(c.rope.attention_factor, 0, 0);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen3\",\"max_position_embeddings\":65536,\"rope_scaling\":{\"rope_type\":"
                         "\"yarn\",\"original_max_position_embeddings\":8192,"
                         "\"attention_factor\":1.5,\"beta_fast\":16,\"beta_slow\":2,\"mscale\":0.7,\"mscale_all_dim\":"
                         "0.5,\"truncate\":false}}",
                         &c));
    CHECK_NEAR(c.rope.factor, 8, 0);
    CHECK_NEAR(c.rope.attention_factor, 1.5, 0);
    CHECK_NEAR(c.rope.beta_fast + c.rope.beta_slow + c.rope.mscale + c.rope.mscale_all_dim, 19.2, 1e-12);
    CHECK_INT(c.rope.truncate, 0);
    dk_config_free(host, &c);
}

TEST(refuses_rope)
{
    setup();
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"axial\"}}", DK_E_UNSUPPORTED,
           "'axial' in rope_scaling is not supported; supported are default, linear, dynamic, llama3, yarn, longrope");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\"}}", DK_E_FORMAT,
           "rope_scaling needs factor");
    expect("{\"model_type\":\"phi3\",\"rope_scaling\":{\"type\":\"su\"}}", DK_E_MISMATCH,
           "rope_scaling.short_factor is not a list of 48 numbers, one for each pair that rotates");
    expect("{\"model_type\":\"phi3\",\"head_dim\":4,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1],"
           "\"long_factor\":[1,0]}}",
           DK_E_FORMAT, "rope_scaling.long_factor[1] is not a number above 0");
    expect("{\"model_type\":\"phi3\",\"partial_rotary_factor\":0.345}", DK_E_FORMAT, "would rotate; they go in pairs");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\"}}", DK_E_FORMAT,
           "rope_scaling needs factor");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", DK_E_FORMAT,
           "rope_scaling.factor is 0");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4}}",
           DK_E_FORMAT, "needs low_freq_factor");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_"
           "freq_factor\":4}}",
           DK_E_FORMAT, "above low_freq_factor");
    expect("{\"model_type\":\"llama\",\"rope_scaling\":[]}", DK_E_FORMAT, "rope_scaling is not an object");
    expect("{\"model_type\":\"llama\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1}}}", DK_E_UNSUPPORTED,
           "full_attention");
    expect("{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5}", DK_E_UNSUPPORTED, "partial_rotary_factor");
    expect("{\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", DK_E_UNSUPPORTED,
           "partial_rotary_factor");
    expect("{\"model_type\":\"llama\",\"rope_theta\":0}", DK_E_FORMAT, "rope_theta is 0");
    expect("{\"model_type\":\"llama\",\"rope_theta\":\"big\"}", DK_E_FORMAT, "rope_theta");
}

/* ---- windows ---- */
TEST(windows)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"qwen3\",\"num_hidden_layers\":3,\"use_sliding_window\":true,\"sliding_"
                         "window\":7,\"max_window_layers\":2,"
                         "\"layer_types\":[\"sliding_attention\",\"full_attention\",\"sliding_attention\"]}",
                         &c));
    CHECK_INT(c.window[0] * 100 + c.window[1] * 10 + c.window[2], 707);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen2\",\"num_hidden_layers\":3,\"use_sliding_window\":true,\"sliding_"
                         "window\":7,\"max_window_layers\":2}",
                         &c));
    CHECK_INT(c.window[0] * 100 + c.window[1] * 10 + c.window[2], 7);
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"use_sliding_window\":true,\"sliding_"
                         "window\":null,\"max_window_layers\":0}",
                         &c));
    CHECK_INT(c.window[0] + c.window[1], 0);
    dk_config_free(host, &c);
    expect("{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}", DK_E_MISMATCH,
           "no sliding window is in use");
    expect("{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"linear_attention\"]}",
           DK_E_UNSUPPORTED, "'linear_attention'");
    expect("{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]}", DK_E_MISMATCH,
           "list of 2 layers");
    expect("{\"model_type\":\"mistral\",\"sliding_window\":0}", DK_E_FORMAT, "sliding_window");
}

/* ---- what is refused ---- */
TEST(refuses_unknown)
{
    setup();
    expect("[]", DK_E_FORMAT, "config.json");
    expect("{}", DK_E_FORMAT,
           "no model_type; supported are gemma, gemma2, gemma3_text, gpt2, gpt_neox (Pythia), granite, llama");
    expect("{\"model_type\":3}", DK_E_FORMAT, "model_type");
    expect(
        "{\"model_type\":\"mamba\"}", DK_E_UNSUPPORTED,
        "'mamba' is not supported; supported are gemma, gemma2, gemma3_text, gpt2, gpt_neox (Pythia), granite, llama");
    expect("{\"model_type\":\"llama\",\"hidden_act\":\"quick_gelu\"}", DK_E_UNSUPPORTED,
           "hidden_act 'quick_gelu' is not supported; supported are silu");
    expect("{\"model_type\":\"gpt2\",\"activation_function\":\"tanh\"}", DK_E_UNSUPPORTED,
           "activation_function 'tanh'");
    expect("{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\"}}", DK_E_UNSUPPORTED,
           "quantised (quantization_config, gptq)");
    expect("{\"model_type\":\"gpt2\",\"add_cross_attention\":true}", DK_E_UNSUPPORTED, "add_cross_attention");
    expect("{\"model_type\":\"llama\",\"final_logit_softcapping\":30.0}", DK_E_UNSUPPORTED, "final_logit_softcapping");
    expect("{\"model_type\":\"llama\",\"no_rope_layers\":[1,0]}", DK_E_UNSUPPORTED, "no_rope_layers");
}

static void expect_note(const char *json, const char *part)
{
    dk_config c = {0};
    dk_error_clear(&err);
    int32_t rc = read_text(json, &c);
    if (rc) FAIL("%s: %d %s", json, (int)rc, err.message);
    if (part) CHECK_HAS(c.notes.data, part);
    else if (c.notes.size) FAIL("%s: noted: %s", json, c.notes.data);
    dk_config_free(host, &c);
}

TEST(keys_are_used_refused_or_named)
{
    setup();
    expect("{\"model_type\":\"mistral\",\"attention_bias\":true}", DK_E_UNSUPPORTED, "attention_bias is set, but");
    expect("{\"model_type\":\"qwen2\",\"mlp_bias\":true}", DK_E_UNSUPPORTED, "mlp_bias is set, but a qwen2 model");
    expect("{\"model_type\":\"llama\",\"compression_config\":{\"quant_method\":\"x\"}}", DK_E_UNSUPPORTED,
           "quantised (compression_config, x)");
    expect("{\"model_type\":\"llama\",\"quantization\":{\"bits\":4}}", DK_E_UNSUPPORTED, "(quantization, unknown");
    expect("{\"model_type\":\"llama\",\"auto_map\":{\"AutoModelForCausalLM\":\"x.Y\"}}", DK_E_UNSUPPORTED,
           "auto_map names code for AutoModelForCausalLM, which is not run");
    expect("{\"model_type\":\"llama\",\"per_layer_config\":{\"0\":{}}}", DK_E_UNSUPPORTED, "per_layer_config");
    expect("{\"model_type\":\"llama\",\"rope_interleaved\":true}", DK_E_UNSUPPORTED, "rope_interleaved");
    expect("{\"model_type\":\"qwen2\",\"use_mrope\":true}", DK_E_UNSUPPORTED, "use_mrope");
    expect_note("{\"model_type\":\"qwen2\",\"use_mrope\":false}", NULL);
    expect("{\"model_type\":\"gpt2\",\"n_head\":4,\"num_attention_heads\":2}", DK_E_MISMATCH,
           "n_head and num_attention_heads are the same fact with two values");
    expect_note("{\"model_type\":\"gpt2\",\"n_head\":4,\"num_attention_heads\":4}", NULL);
    expect_note(
        "{\"model_type\":\"llama\",\"use_cache\":true,\"transformers_version\":\"5\",\"rope_interleaved\":false,"
        "\"quantization_config\":null,\"anything\":null}",
        NULL);
    expect_note("{\"model_type\":\"llama\",\"a_factor\":2,\"sliding_window\":8,\"b\":\"x\\ny\"}",
                "config.json: not used, unknown for a llama model: a_factor, sliding_window, b\n");
    expect_note("{\"model_type\":\"llama\",\"dtype\":\"float32\",\"torch_dtype\":\"bfloat16\"}",
                "dtype is float32 and torch_dtype is bfloat16; the tensors' own type is used");
    expect_note("{\"model_type\":\"llama\",\"architectures\":[\"MistralForCausalLM\"]}",
                "architectures does not name LlamaForCausalLM");
    expect_note("{\"model_type\":\"llama\",\"pad_token_id\":32000}",
                "pad_token_id 32000 is not an id below vocab_size");
    expect_note("{\"model_type\":\"llama\",\"pad_token_id\":-1}", NULL);
}

TEST(rope_said_twice)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(
        read_text("{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":500000.0},"
                  "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}}",
                  &c));
    CHECK_INT(c.rope.kind, DK_ROPE_LINEAR); /* as transformers 5.24 reads it, theta included */
    CHECK_NEAR(c.rope.factor, 4, 0);
    CHECK_NEAR(c.rope.theta, 10000, 0);
    CHECK_HAS(c.notes.data, "rope_scaling replaces rope_parameters, as in transformers 5; rope_theta is 10000");
    dk_config_free(host, &c);
    REQUIRE_OK(
        read_text("{\"model_type\":\"llama\",\"rope_theta\":5000.0,\"rope_parameters\":{\"rope_type\":\"default\","
                  "\"rope_theta\":9.0},\"rope_scaling\":{}}",
                  &c));
    CHECK_INT(c.rope.kind, DK_ROPE_PLAIN);
    CHECK_NEAR(c.rope.theta, 9, 0);
    CHECK_HAS(c.notes.data, "rope_theta 9 of rope_parameters is used, not the other one outside");
    dk_config_free(host, &c);
    expect_note("{\"model_type\":\"llama\",\"original_max_position_embeddings\":16,\"rope_scaling\":{\"rope_type\":"
                "\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32}}",
                "original_max_position_embeddings 32 of rope_scaling is used, not the other one outside");
    expect_note(
        "{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"dynamic\",\"factor\":2.0}}",
        "has rope_type 'linear' and type 'dynamic'; rope_type is used");
    expect_note("{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"default\",\"factor\":2.0}}",
                "rope_parameters.factor is not used with this rope_type");
    expect_note("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0,\"odd\":1}}",
                "rope_scaling.odd is not used");
    expect_note(
        "{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0},\"rope_parameters\":"
        "{\"rope_type\":\"linear\",\"factor\":2.0}}",
        NULL);
    expect_note(
        "{\"model_type\":\"qwen2\",\"original_max_position_embeddings\":64,\"rope_scaling\":{\"rope_type\":\"yarn\","
        "\"factor\":2.0}}",
        "transformers 5 looks for it inside rope_scaling only");
    expect("{\"model_type\":\"mistral\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",\"sliding_"
           "attention\"]}",
           DK_E_MISMATCH, "layer_types[0] is full_attention, but every layer of a mistral model");
    expect_note("{\"model_type\":\"qwen2\",\"num_hidden_layers\":2,\"use_sliding_window\":true,\"sliding_window\":8,"
                "\"max_window_layers\":2,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
                "layer_types is used where max_window_layers says otherwise");
}

TEST(ends_are_a_set)
{
    dk_config c = {0};
    setup();
    REQUIRE_OK(read_text("{\"model_type\":\"llama\",\"eos_token_id\":[7,5,7,40000,\"x\",[1,2,3]]}", &c));
    CHECK_INT(c.stop_count, 2);
    CHECK(c.stops[0] == 7 && c.stops[1] == 5);
    CHECK_INT(c.eos, 7);
    CHECK_HAS(c.notes.data, "eos_token_id 40000 is not an id below vocab_size 32000");
    CHECK_HAS(c.notes.data, "eos_token_id \"x\" is not an id below vocab_size 32000");
    CHECK_HAS(c.notes.data, "eos_token_id (a list of 3) is not an id below vocab_size 32000");
    dk_config_free(host, &c);
    REQUIRE_OK(read_text("{\"model_type\":\"llama\",\"eos_token_id\":null}", &c));
    CHECK_INT(c.stop_count, 0);
    CHECK_INT(c.eos, -1);
    dk_config_free(host, &c);
}

TEST(refuses_sizes)
{
    setup();
    expect("{\"model_type\":\"llama\",\"hidden_size\":0}", DK_E_FORMAT, "hidden_size");
    expect("{\"model_type\":\"llama\",\"hidden_size\":-5}", DK_E_FORMAT, "hidden_size");
    expect("{\"model_type\":\"llama\",\"hidden_size\":99999999999}", DK_E_FORMAT, "hidden_size");
    expect("{\"model_type\":\"llama\",\"hidden_size\":\"64\"}", DK_E_FORMAT, "hidden_size");
    expect("{\"model_type\":\"llama\",\"num_hidden_layers\":100000}", DK_E_FORMAT, "num_hidden_layers");
    expect("{\"model_type\":\"llama\",\"num_key_value_heads\":5}", DK_E_FORMAT,
           "not a multiple of num_key_value_heads 5");
    expect("{\"model_type\":\"llama\",\"head_dim\":63}", DK_E_FORMAT, "head_dim 63 is odd");
    expect("{\"model_type\":\"llama\",\"num_attention_heads\":8192,\"num_key_value_heads\":1}", DK_E_FORMAT,
           "not possible");
    expect("{\"model_type\":\"llama\",\"num_attention_heads\":65536,\"head_dim\":65536}", DK_E_FORMAT, "not possible");
    expect("{\"model_type\":\"gpt2\",\"n_head\":5}", DK_E_FORMAT, "n_embd 768 is not a multiple of n_head 5");
    expect(
        "{\"model_type\":\"stablelm\",\"head_dim\":64}", DK_E_MISMATCH,
        "head_dim is 64, but a stablelm model has no such key: hidden_size 2560 and num_attention_heads 32 make it 80");
    expect("{\"model_type\":\"gpt_neox\",\"num_key_value_heads\":8}", DK_E_MISMATCH,
           "num_key_value_heads is 8, but a gpt_neox model has no such key");
    expect("{\"model_type\":\"gpt2\",\"head_dim\":32}", DK_E_MISMATCH, "head_dim is 32");
    expect("{\"model_type\":\"llama\",\"rms_norm_eps\":-1}", DK_E_FORMAT, "rms_norm_eps is -1");
    expect("{\"model_type\":\"llama\",\"attention_bias\":\"no\"}", DK_E_FORMAT, "attention_bias");
}

/* ---- old style and new style of one config ---- */
static void check_same(const char *name, const dk_config *a, const dk_config *b)
{
    if (strcmp(a->architecture, b->architecture) || a->vocab_size != b->vocab_size ||
        a->hidden_size != b->hidden_size || a->layers != b->layers || a->heads != b->heads ||
        a->kv_heads != b->kv_heads || a->head_dim != b->head_dim || a->intermediate_size != b->intermediate_size ||
        a->max_positions != b->max_positions)
        FAIL("%s: sizes differ", name);
    if (a->norm != b->norm || a->norm_epsilon != b->norm_epsilon || a->activation != b->activation ||
        a->gated != b->gated || a->in_out != b->in_out || a->qkv_bias != b->qkv_bias || a->out_bias != b->out_bias ||
        a->mlp_bias != b->mlp_bias || a->qk_norm != b->qk_norm || a->tied != b->tied ||
        a->attention_scale != b->attention_scale || a->bos != b->bos || a->eos != b->eos || a->pad != b->pad ||
        a->initializer_range != b->initializer_range)
        FAIL("%s: features differ", name);
    if (a->rope.kind != b->rope.kind || a->rope.theta != b->rope.theta || a->rope.factor != b->rope.factor ||
        a->rope.dims != b->rope.dims || a->rope.low_freq_factor != b->rope.low_freq_factor ||
        a->rope.high_freq_factor != b->rope.high_freq_factor || a->rope.beta_fast != b->rope.beta_fast ||
        a->rope.beta_slow != b->rope.beta_slow || a->rope.original_positions != b->rope.original_positions ||
        a->rope.attention_factor != b->rope.attention_factor || a->rope.truncate != b->rope.truncate)
        FAIL("%s: rotary positions differ", name);
    if (a->layers == b->layers && (memcmp(a->window, b->window, (size_t)a->layers * sizeof *a->window) ||
                                   memcmp(a->layer_rope, b->layer_rope, (size_t)a->layers)))
        FAIL("%s: layers differ", name);
}

TEST(published_configs_agree)
{
    static const char *const ours[] = {"gpt2",
                                       "gpt2_fp16",
                                       "llama",
                                       "llama3_rope_tied",
                                       "llama_bf16",
                                       "llama_rope_linear",
                                       "llama_rope_yarn",
                                       "mistral",
                                       "mistral_sliding",
                                       "qwen2",
                                       "qwen3",
                                       "smollm",
                                       "gemma",
                                       "gemma2",
                                       "gemma3_text",
                                       "gpt_neox",
                                       "granite",
                                       "stablelm",
                                       "olmo2",
                                       "phi3",
                                       "smollm3"};
    char path[1200];
    setup();
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        dk_config config[2];
        memset(config, 0, sizeof config);
        for (int k = 0; k < 2; k++) {
            dk_document *doc = NULL;
            snprintf(path, sizeof path, "%s/oracle/models/%s/config%s.json", test_assets(), ours[i], k ? "_v5" : "");
            REQUIRE_OK(dk_json_open(host, path, &doc, &err));
            REQUIRE_OK(dk_config_read(host, doc, &config[k], &err));
            dk_document_free(doc);
        }
        check_same(ours[i], &config[0], &config[1]);
        dk_config_free(host, &config[0]);
        dk_config_free(host, &config[1]);
    }
}

/* ---- the text that is saved ---- */
static void check_derived(const char *json, const int64_t *layers, int64_t count, const char *part, const char *absent)
{
    dk_config whole = {0}, derived = {0};
    char *text = NULL;
    REQUIRE_OK(read_text(json, &whole));
    REQUIRE_OK(dk_config_derive_text(host, &whole, &(dk_keep){.layers = layers, .layer_count = count}, &text, &err));
    CHECK_HAS(text, part);
    if (absent && strstr(text, absent)) FAIL("%s holds %s", text, absent);
    REQUIRE_OK(read_text(text, &derived));
    CHECK_INT(derived.layers, count);
    for (int64_t i = 0; i < count; i++) CHECK_INT(derived.window[i], whole.window[layers[i]]);
    dk_free(host, text);
    dk_config_free(host, &whole);
    dk_config_free(host, &derived);
}

TEST(derived_texts)
{
    static const int64_t some[] = {2, 0};
    setup();
    check_derived(
        "{\"zeta\":[1,{\"x\":null}],\"model_type\":\"llama\",\"num_hidden_layers\":3,\"name\":\"\\u00e9\\\"\"}", some,
        2, "\"num_hidden_layers\": 2,", "layer_types");
    check_derived("{\"zeta\":[1,{\"x\":null}],\"model_type\":\"llama\"}", some, 2, "\"num_hidden_layers\": 2", NULL);
    check_derived("{\"model_type\":\"gpt2\",\"n_layer\":3}", some, 2, "\"n_layer\": 2", "num_hidden_layers");
    check_derived("{\"model_type\":\"gpt2\",\"num_hidden_layers\":3}", some, 2, "\"num_hidden_layers\": 2",
                  "\"n_layer");
    check_derived("{\"model_type\":\"qwen2\",\"num_hidden_layers\":3,\"layer_types\":[\"full_attention\",\"full_"
                  "attention\",\"full_attention\"]}",
                  some, 2, "[\"full_attention\", \"full_attention\"]", NULL);
    check_derived("{\"model_type\":\"qwen2\",\"num_hidden_layers\":3,\"use_sliding_window\":true,\"sliding_window\":5,"
                  "\"max_window_layers\":1}",
                  some, 2, "[\"sliding_attention\", \"full_attention\"]", NULL);
    check_derived("{\"model_type\":\"qwen2\",\"num_hidden_layers\":3,\"use_sliding_window\":true,\"sliding_window\":5,"
                  "\"max_window_layers\":2}",
                  (const int64_t[]){0, 2}, 2, "\"max_window_layers\": 1", "layer_types");
    check_derived("{\"model_type\":\"mistral\",\"num_hidden_layers\":3,\"sliding_window\":5}", some, 2,
                  "\"sliding_window\": 5", "layer_types");
}

/* ---- llama3 numbers from divisors ---- */
static double divisor(double x, const dk_llama3_factors *of)
{
    double smooth =
        (x * (double)of->original_positions - of->low_freq_factor) / (of->high_freq_factor - of->low_freq_factor);
    smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
    return 1 / ((1 - smooth) / of->factor + smooth);
}

static void check_fit(const dk_llama3_factors *made, int64_t count, double theta, int exact)
{
    float values[64];
    dk_llama3_factors found;
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)divisor(pow(theta, -(double)i / (double)count) / 6.283185307179586, made);
    REQUIRE(dk_llama3_fit(values, count, theta, 2048, &found));
    for (int64_t i = 0; i < count; i++)
        CHECK_NEAR(divisor(pow(theta, -(double)i / (double)count) / 6.283185307179586, &found) / (double)values[i], 1,
                   3e-6);
    if (!exact) return;
    CHECK_NEAR(found.factor, made->factor, 0);
    CHECK_NEAR(found.high_freq_factor, made->high_freq_factor, 0);
    CHECK_INT(found.original_positions, made->original_positions);
}

TEST(fits_llama3)
{
    setup();
    check_fit(&(dk_llama3_factors){8, 1, 4, 8192}, 64, 500000, 1);
    check_fit(&(dk_llama3_factors){32, 1, 4, 8192}, 32, 500000, 1);
    check_fit(&(dk_llama3_factors){8, 1, 4, 2048}, 32, 500000, 1);
    check_fit(&(dk_llama3_factors){8, 1, 4, 64}, 8, 500000, 0);
    check_fit(&(dk_llama3_factors){4, 1.5, 6, 100}, 32, 10000, 0);
    check_fit(&(dk_llama3_factors){4, 1, 1.2, 100}, 8, 10000, 0);
    dk_llama3_factors found;
    CHECK(!dk_llama3_fit((const float[]){1, 3, 2, 8}, 4, 10000, 64, &found));
    CHECK(!dk_llama3_fit((const float[]){1, NAN, 2, 8}, 4, 10000, 64, &found));
    CHECK(!dk_llama3_fit((const float[]){0.5f, 1, 2, 8}, 4, 10000, 64, &found));
}

TEST_MAIN(TEST_CASE(llama_defaults) TEST_CASE(gpt2_defaults) TEST_CASE(mistral_defaults) TEST_CASE(class_defaults)
              TEST_CASE(qwen_defaults) TEST_CASE(llama_biases_and_activations) TEST_CASE(rope_styles)
                  TEST_CASE(refuses_rope) TEST_CASE(windows) TEST_CASE(refuses_unknown)
                      TEST_CASE(keys_are_used_refused_or_named) TEST_CASE(rope_said_twice) TEST_CASE(ends_are_a_set)
                          TEST_CASE(refuses_sizes) TEST_CASE(published_configs_agree) TEST_CASE(derived_texts)
                              TEST_CASE(fits_llama3))
