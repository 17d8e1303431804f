/* test_model.h - models on any backend, their numbers as doubles, and a loss whose gradient is known. */
#ifndef TESTS_SUPPORT_TEST_MODEL_H
#define TESTS_SUPPORT_TEST_MODEL_H

#include "base/random.h"
#include "model/model.h"
#include "test.h"

typedef enum { ON_CPU, ON_F32, ON_F64 } backend_kind; /* the last two are the reference */
static const char *const backend_names[] = {"cpu", "reference f32", "reference f64"};

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    dk_model *model;
} fixture;

static inline int fixture_begin(fixture *f, backend_kind kind)
{
    dk_error err = {0};
    memset(f, 0, sizeof *f);
    int rc = dk_host_create(NULL, &f->host, &err);
    if (!rc && kind == ON_CPU) rc = dk_backend_cpu(f->host, &f->backend, &err);
    if (!rc && kind == ON_CPU && getenv("TEST_PRODUCTS"))
        rc = dk_backend_set_products(f->backend, getenv("TEST_PRODUCTS"), &err);
    if (!rc && kind != ON_CPU) rc = dk_backend_reference(f->host, kind == ON_F32 ? DK_F32 : DK_F64, &f->backend, &err);
    if (rc) FAIL("%s: %d %s", backend_names[kind], rc, err.message);
    return rc == 0;
}

static inline void fixture_end(fixture *f)
{
    dk_model_free(f->model);
    if (f->backend) dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static inline int fixture_open(fixture *f, backend_kind kind, const char *path)
{
    dk_error err = {0};
    dk_model_options options = {.use_mmap = 1, .trainable = 1};
    if (!fixture_begin(f, kind)) return 0;
    int rc = dk_model_open(f->backend, path, &options, &f->model, &err);
    if (!rc) rc = dk_model_add_gradients(f->model, &err);
    if (rc) FAIL("%s: %d %s", path, rc, err.message);
    return rc == 0;
}

/* ---- numbers ---- */
static inline void read_view(fixture *f, dk_view view, double *out)
{
    dk_queue queue;
    dk_error err = {0};
    int64_t count = dk_view_count(&view);
    float *narrow = view.dtype == DK_F64 ? NULL : malloc(sizeof *narrow * (size_t)(count + 1));
    (void)dk_queue_open(&queue, f->backend, NULL);
    f->backend->ops->copy_out(&queue, view, narrow ? (void *)narrow : (void *)out);
    for (int64_t i = 0; narrow && i < count; i++) out[i] = (double)narrow[i];
    free(narrow);
    CHECK_OK(dk_queue_wait(&queue, &err));
}

static inline void write_view(fixture *f, dk_view view, const double *from)
{
    dk_queue queue;
    dk_error err = {0};
    int64_t count = dk_view_count(&view);
    float *narrow = view.dtype == DK_F64 ? NULL : malloc(sizeof *narrow * (size_t)(count + 1));
    for (int64_t i = 0; narrow && i < count; i++) narrow[i] = (float)from[i];
    (void)dk_queue_open(&queue, f->backend, NULL);
    f->backend->ops->copy_in(&queue, view, narrow ? (const void *)narrow : (const void *)from);
    free(narrow);
    CHECK_OK(dk_queue_wait(&queue, &err));
}

static inline double *new_read(fixture *f, dk_view view)
{
    double *out = malloc(sizeof *out * (size_t)(dk_view_count(&view) + 1));
    read_view(f, view, out);
    return out;
}

static inline void zero_gradients(fixture *f)
{
    dk_queue queue;
    dk_error err = {0};
    (void)dk_queue_open(&queue, f->backend, NULL);
    for (int64_t i = 0; i < f->model->parameter_count; i++)
        if (dk_view_present(f->model->parameters[i].gradient))
            f->backend->ops->fill(&queue, f->model->parameters[i].gradient, 0);
    CHECK_OK(dk_queue_wait(&queue, &err));
}

static inline void refresh(fixture *f, dk_parameter *parameter)
{
    dk_error err = {0};
    dk_queue queue;
    CHECK_OK(dk_queue_open(&queue, f->backend, &err));
    f->backend->ops->refresh(&queue, parameter);
    CHECK_OK(dk_queue_wait(&queue, &err));
    dk_queue_close(&queue);
}

/* ---- models made here ---- */
/* Every parameter moved off its fresh value, so that biases and norms matter. */
static inline void stir(fixture *f, double size, uint64_t seed)
{
    for (int64_t i = 0; i < f->model->parameter_count; i++) {
        dk_parameter *parameter = &f->model->parameters[i];
        double *values = new_read(f, parameter->value);
        int64_t count = dk_view_count(&parameter->value);
        for (int64_t k = 0; k < count; k++)
            values[k] += size * dk_random_normal(seed, DK_STREAM_TEST, (uint64_t)(i * 65536 + k));
        write_view(f, parameter->value, values);
        refresh(f, parameter);
        free(values);
    }
}

static inline int fixture_make(fixture *f, backend_kind kind, const char *json)
{
    dk_error err = {0};
    dk_document *document = NULL;
    if (!fixture_begin(f, kind)) return 0;
    int rc = dk_json_parse(f->host, json, strlen(json), "config.json", &document, &err);
    if (!rc) rc = dk_model_create(f->backend, document, 0.05, 7, &f->model, &err);
    dk_document_free(document);
    if (rc) FAIL("%s: %d %s", json, rc, err.message);
    if (!rc) stir(f, 0.25, 11);
    return rc == 0;
}

/* One of each family, with the features that they differ in. */
static const char *const tiny_configs[] = {
    "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_head\":2,\"n_layer\":2,\"n_positions\":24,\"vocab_size\":13,\"n_inner\":"
    "12}",
    "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_head\":2,\"n_layer\":2,\"n_positions\":24,\"vocab_size\":13,"
    "\"scale_attn_by_inverse_layer_idx\":true,\"activation_function\":\"gelu\",\"tie_word_embeddings\":false}",
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":6,"
    "\"num_hidden_layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"attention_bias\":true,\"mlp_bias\":"
    "true,\"rms_norm_eps\":1e-5}",
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"num_hidden_"
    "layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"tie_word_embeddings\":true,\"rope_"
    "scaling\":{\"rope_type\":\"llama3\","
    "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8}}",
    "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":2,\"num_hidden_"
    "layers\":3,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"rope_scaling\":{\"rope_type\":"
    "\"yarn\",\"factor\":4,"
    "\"original_max_position_embeddings\":6}}",
    "{\"model_type\":\"mistral\",\"hidden_size\":8,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":4,"
    "\"num_hidden_layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"sliding_window\":3}",
    "{\"model_type\":\"qwen2\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"num_hidden_"
    "layers\":3,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"use_sliding_window\":true,\"sliding_"
    "window\":2,"
    "\"max_window_layers\":1,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"qwen3\",\"hidden_size\":8,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":4,"
    "\"num_hidden_layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"attention_bias\":true,\"tie_word_"
    "embeddings\":false}",
    "{\"model_type\":\"granite\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":2,\"intermediate_"
    "size\":10,"
    "\"vocab_size\":13,\"max_position_embeddings\":24,\"embedding_multiplier\":2.5,\"attention_multiplier\":0.3,"
    "\"residual_multiplier\":0.6,\"logits_scaling\":1.5,\"attention_bias\":true}",
    "{\"model_type\":\"smollm3\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"num_hidden_"
    "layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"no_rope_layers\":[0,1],\"tie_word_"
    "embeddings\":true}",
    "{\"model_type\":\"ministral3\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":"
    "4,"
    "\"num_hidden_layers\":2,\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"rope_"
    "parameters\":{"
    "\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":2,\"llama_4_scaling_beta\":0.5}}",
    "{\"model_type\":\"olmo2\",\"hidden_size\":8,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"num_hidden_"
    "layers\":3,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24}",
    "{\"model_type\":\"phi3\",\"hidden_size\":16,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"num_hidden_"
    "layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"original_max_position_embeddings\":3,"
    "\"sliding_window\":4,\"partial_rotary_factor\":0.5,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1.0,"
    "1.5],"
    "\"long_factor\":[2.0,4.0]}}",
    "{\"model_type\":\"gemma2\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4,"
    "\"num_hidden_layers\":2,\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"sliding_"
    "window\":3,"
    "\"attn_logit_softcapping\":2.0,\"final_logit_softcapping\":3.0,\"query_pre_attn_scalar\":6,\"tie_word_"
    "embeddings\":true}",
    "{\"model_type\":\"gemma3_text\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_"
    "dim\":4,"
    "\"num_hidden_layers\":3,\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"sliding_"
    "window\":3,"
    "\"sliding_window_pattern\":2,\"query_pre_attn_scalar\":6,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"gpt_neox\",\"bos_token_id\":1,\"hidden_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":"
    "2,\"intermediate_"
    "size\":10,"
    "\"vocab_size\":13,\"max_position_embeddings\":24,\"rotary_pct\":0.5}",
    "{\"model_type\":\"phi\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":2,\"intermediate_size\":"
    "10,"
    "\"vocab_size\":13,\"max_position_embeddings\":24}",
    "{\"model_type\":\"phi\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":2,\"intermediate_size\":"
    "10,"
    "\"vocab_size\":13,\"max_position_embeddings\":24,\"qk_layernorm\":true}",
    "{\"model_type\":\"stablelm\",\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_size\":16,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"num_hidden_"
    "layers\":2,"
    "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"use_parallel_residual\":true,"
    "\"use_qkv_bias\":true}",
};
enum { TINY_CONFIGS = sizeof tiny_configs / sizeof *tiny_configs };

/* ---- batches ---- */
enum { MOST_ROWS = 64, MOST_SEQUENCES = 8 };
typedef struct batch {
    int32_t ids[MOST_ROWS];
    int64_t offsets[MOST_SEQUENCES + 1], sequences;
} batch;

static inline batch make_batch(const int64_t *lengths, int64_t sequences, int64_t vocab, uint64_t seed)
{
    batch b = {.sequences = sequences};
    for (int64_t s = 0; s < sequences; s++) {
        b.offsets[s + 1] = b.offsets[s] + lengths[s];
        for (int64_t t = 0; t < lengths[s]; t++) /* a sequence has the same ids wherever it stands in a batch */
            b.ids[b.offsets[s] + t] =
                (int32_t)(dk_random_u64(seed, DK_STREAM_TEST, (uint64_t)(lengths[s] * 1000 + t)) % (uint64_t)vocab);
    }
    return b;
}

static inline dk_tokens tokens_of(const batch *b)
{
    return (dk_tokens){.ids = b->ids, .offsets = b->offsets, .sequences = b->sequences};
}

#endif
