/* Parts of models: what is kept is, entry for entry, the slice of the weights that the numbers say, and a model without
 * heads and channels is the one in which they give nothing. */
#include "base/file.h"
#include "test_model.h"

enum { KEPT_HIDDEN = 6, KEPT_INNER = 7 };
static const int64_t hidden[KEPT_HIDDEN] = {0, 2, 3, 4, 6, 7}, layers[2] = {1, 0}, groups[2] = {1, 0},
                     inner[2 * KEPT_INNER] = {0, 1, 3, 4, 6, 8, 9, 1, 2, 3, 5, 7, 8, 9};

static int has(const char *name, const char *part) { return strstr(name, part) != NULL; }

/* The number in the whole model of entry i of a kept dimension, as the name of a tensor says. */
static int64_t row_of(const dk_config *c, const char *name, int64_t layer, int64_t i)
{
    const int64_t share = c->heads / c->kv_heads * c->head_dim;
    const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, behind = i - share;
    const int32_t wide = c->qk_norm == DK_QK_NORM_WIDTH;
    if (has(name, "qkv_proj")) {
        if (i < share) return groups[layer] * share + i;
        return q + behind / c->head_dim * kv + groups[layer] * c->head_dim + behind % c->head_dim;
    }
    if (has(name, "gate_up_proj"))
        return i / KEPT_INNER * c->intermediate_size + inner[layer * KEPT_INNER + i % KEPT_INNER];
    if (wide && has(name, "k_norm")) return groups[layer] * c->head_dim + i;
    if (has(name, "q_proj") || (wide && has(name, "q_norm"))) return groups[layer] * share + i;
    if (has(name, "k_proj") || has(name, "v_proj")) return groups[layer] * c->head_dim + i;
    if (has(name, "gate_proj") || has(name, "up_proj") || has(name, "fc1")) return inner[layer * KEPT_INNER + i];
    if (has(name, "q_norm") || has(name, "k_norm") || has(name, "q_layernorm") || has(name, "k_layernorm")) return i;
    if (has(name, "embed_tokens") || has(name, "lm_head")) return i;
    return hidden[i];
}

static int64_t column_of(const dk_config *c, const char *name, int64_t layer, int64_t i)
{
    if (has(name, "o_proj") || has(name, "dense")) return groups[layer] * (c->heads / c->kv_heads * c->head_dim) + i;
    return has(name, "down_proj") || has(name, "fc2") ? inner[layer * KEPT_INNER + i] : hidden[i];
}

static void check_slice(fixture *f, fixture *pruned, dk_parameter *parameter)
{
    const char *at = strstr(parameter->name, ".layers.");
    const int64_t layer = at ? at[8] - '0' : 0, rows = parameter->value.shape[0],
                  columns = parameter->value.rank == 2 ? parameter->value.shape[1] : 1;
    char source[96];
    snprintf(source, sizeof source, "%s", parameter->name);
    if (at) source[at - parameter->name + 8] = (char)('0' + layers[layer]);
    dk_parameter *from = dk_model_find(f->model, source);
    REQUIRE(from);
    const int64_t width = from->value.rank == 2 ? from->value.shape[1] : 1;
    double *got = new_read(pruned, parameter->value), *want = new_read(f, from->value);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++) {
            const int64_t row = row_of(&f->model->config, source, layer, r),
                          column = columns == 1 ? 0 : column_of(&f->model->config, source, layer, k);
            CHECK_NEAR(got[r * columns + k], want[row * width + column], 0);
        }
    free(got);
    free(want);
}

static const dk_keep narrow = {.layers = layers,
                               .layer_count = 2,
                               .hidden = hidden,
                               .hidden_size = KEPT_HIDDEN,
                               .groups = groups,
                               .kv_heads = 1,
                               .inner = inner,
                               .intermediate_size = KEPT_INNER};

/* Of every family whose heads have a size of their own: blocks, heads and channels at once, on either backend. */
TEST(keeps_slices)
{
    for (int config = 2; config < TINY_CONFIGS; config++) {
        for (int kind = ON_CPU; kind <= ON_F64; kind++) {
            fixture f, pruned;
            dk_error err = {0};
            if (has(tiny_configs[config], "\"num_key_value_heads\":1")) continue; /* a single group: no choice */
            if (has(tiny_configs[config], "gpt_neox")) continue;                  /* heads share hidden_size out */
            REQUIRE(fixture_make(&f, (backend_kind)kind, tiny_configs[config]));
            pruned = f;
            REQUIRE_OK(dk_model_prune(f.model, f.backend, &narrow, &pruned.model, &err));
            CHECK_INT(pruned.model->config.hidden_size, KEPT_HIDDEN);
            CHECK_INT(pruned.model->config.intermediate_size, KEPT_INNER);
            CHECK_INT(pruned.model->config.heads, f.model->config.heads / 2);
            CHECK_INT(pruned.model->config.kv_heads, 1);
            CHECK_INT(pruned.model->config.head_dim, f.model->config.head_dim);
            for (int64_t i = 0; i < pruned.model->parameter_count; i++)
                check_slice(&f, &pruned, &pruned.model->parameters[i]);
            dk_model_free(pruned.model);
            fixture_end(&f);
        }
    }
}

/* ---- a part that gives nothing ---- */
static int is_kept(const int64_t *numbers, int64_t count, int64_t number)
{
    for (int64_t i = 0; i < count; i++)
        if (numbers[i] == number) return 1;
    return 0;
}

/* Of a product's input channels, those that are not kept give nothing. turned: [in, out] */
static void silence(fixture *f, dk_parameter *parameter, int turned, const int64_t *kept, int64_t count, int64_t size)
{
    double *values = new_read(f, parameter->value);
    const int64_t rows = parameter->value.shape[0], columns = parameter->value.shape[1];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++)
            if (!is_kept(kept, count, (turned ? r : k) / size)) values[r * columns + k] = 0;
    write_view(f, parameter->value, values);
    refresh(f, parameter);
    free(values);
}

static double *hidden_of(fixture *f, dk_model *model, const batch *b)
{
    dk_pass_spec spec = {.max_rows = MOST_ROWS, .max_sequences = MOST_SEQUENCES};
    dk_pass *pass = NULL;
    dk_error err = {0};
    const dk_tokens tokens = tokens_of(b);
    CHECK_OK(dk_pass_create(model, &spec, &pass, &err));
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    double *out = new_read(f, dk_pass_hidden(pass));
    dk_pass_free(pass);
    return out;
}

TEST(without_parts_that_give_nothing)
{
    static const int64_t lengths[2] = {9, 4}, one[1] = {1}, all[3] = {0, 1, 2};
    static const int64_t channels[3 * KEPT_INNER] = {0, 1, 3, 4, 6, 8, 9, 0, 1, 3, 4, 6, 8, 9, 0, 1, 3, 4, 6, 8, 9},
                                      second[3] = {1, 1, 1};
    for (int config = 0; config < TINY_CONFIGS; config++) {
        fixture f;
        dk_error err = {0};
        dk_model *pruned = NULL;
        REQUIRE(fixture_make(&f, ON_F64, tiny_configs[config]));
        const dk_config *c = &f.model->config;
        /* none of GPT-2 and GPT-NeoX, whose configs have no size of a head */
        const int heads = config > 1 && !c->interleaved && c->kv_heads == 2 && c->qk_norm != DK_QK_NORM_WIDTH;
        const dk_keep keep = {.layers = all,
                              .layer_count = c->layers,
                              .inner = channels,
                              .intermediate_size = KEPT_INNER,
                              .groups = heads ? second : NULL,
                              .kv_heads = heads};
        const batch b = make_batch(lengths, 2, c->vocab_size, 3);
        REQUIRE_OK(dk_model_prune(f.model, f.backend, &keep, &pruned, &err));
        for (int64_t l = 0; l < c->layers; l++) {
            silence(&f, f.model->layers[l].down, c->in_out, channels, KEPT_INNER, 1);
            if (heads) silence(&f, f.model->layers[l].out, 0, one, 1, c->heads / 2 * c->head_dim);
        }
        double *got = hidden_of(&f, pruned, &b), *want = hidden_of(&f, f.model, &b);
        for (int64_t i = 0; i < 13 * c->hidden_size; i++) CHECK_NEAR(got[i], want[i], 1e-12);
        free(got);
        free(want);
        dk_model_free(pruned);
        fixture_end(&f);
    }
}

/* ---- saved, refused ---- */
TEST(widths_survive_saving)
{
    fixture f;
    dk_error err = {0};
    dk_model *pruned = NULL, *read = NULL;
    const dk_model_options options = {.trainable = 1};
    static const int64_t lengths[1] = {11};
    char folder[300];
    REQUIRE(fixture_make(&f, ON_CPU, tiny_configs[2]));
    snprintf(folder, sizeof folder, "%s/prune", TEST_TMP);
    REQUIRE_OK(dk_dir_remove(f.host, folder, &err));
    REQUIRE_OK(dk_dir_create(f.host, folder, &err));
    REQUIRE_OK(dk_model_prune(f.model, f.backend, &narrow, &pruned, &err));
    REQUIRE_OK(dk_model_save(pruned, folder, DK_F32, &err));
    REQUIRE_OK(dk_model_open(f.backend, folder, &options, &read, &err));
    const batch b = make_batch(lengths, 1, f.model->config.vocab_size, 3);
    double *got = hidden_of(&f, read, &b), *want = hidden_of(&f, pruned, &b);
    for (int64_t i = 0; i < 11 * KEPT_HIDDEN; i++) CHECK_NEAR(got[i], want[i], 0);
    free(got);
    free(want);
    dk_model_free(read);
    dk_model_free(pruned);
    fixture_end(&f);
}

static void refuse(fixture *f, const dk_keep *keep, int32_t code, const char *message)
{
    dk_error err = {0};
    dk_model *out = NULL;
    CHECK_INT(dk_model_prune(f->model, f->backend, keep, &out, &err), code);
    CHECK_HAS(err.message, message);
    CHECK(!out);
}

TEST(refuses)
{
    static const int64_t twice[2] = {1, 1}, far[1] = {8}, few[4] = {0, 1, 2, 3}, group[2] = {0, 0};
    fixture f;
    REQUIRE(fixture_make(&f, ON_CPU, tiny_configs[2]));
    refuse(&f, &(dk_keep){.hidden = twice, .hidden_size = 2}, DK_E_INVALID,
           "hidden: 1 is not behind the one before it");
    refuse(&f, &(dk_keep){.hidden = far, .hidden_size = 1}, DK_E_INVALID, "hidden: 8 is not behind");
    refuse(&f, &(dk_keep){.hidden = hidden, .hidden_size = 9}, DK_E_INVALID,
           "hidden: 9 are asked for; the model has 8");
    refuse(&f, &(dk_keep){.inner = inner, .intermediate_size = 0}, DK_E_INVALID, "inner: 0 are asked for");
    fixture_end(&f);
    REQUIRE(fixture_make(&f, ON_CPU, tiny_configs[0])); /* GPT-2's config has no size of a head */
    refuse(&f, &(dk_keep){.hidden = few, .hidden_size = 4}, DK_E_UNSUPPORTED, "gpt2: its config forms the head_dim");
    refuse(&f, &(dk_keep){.groups = group, .kv_heads = 1}, DK_E_UNSUPPORTED, "keep hidden_size / heads as it is");
    fixture_end(&f);
}

/* Half the channels and half the heads: the norms that heads have of their own go with them. */
TEST(norms_of_heads)
{
    static const char json[] =
        "{\"model_type\":\"stablelm\",\"bos_token_id\":1,\"eos_token_id\":2,\"hidden_size\":16,\"num_attention_heads\":"
        "4,"
        "\"num_key_value_heads\":2,\"num_hidden_layers\":2,\"intermediate_size\":10,\"vocab_size\":13,"
        "\"max_position_embeddings\":24,\"qk_layernorm\":true,\"partial_rotary_factor\":0.5}";
    static const int64_t kept[2] = {1, 0};
    fixture f, small;
    dk_error err = {0};
    static const int64_t half[8] = {0, 2, 3, 5, 8, 9, 11, 15};
    const dk_keep keep = {.hidden = half, .hidden_size = 8, .groups = kept, .kv_heads = 1};
    REQUIRE(fixture_make(&f, ON_F64, json));
    for (int64_t l = 0; l < 2; l++)
        for (int64_t h = 0; h < 6; h++) {
            dk_layer *w = &f.model->layers[l];
            double values[4];
            for (int i = 0; i < 4; i++) values[i] = (double)(100 * l + 10 * h + i);
            write_view(&f, (h < 4 ? w->q_norms[h] : w->k_norms[h - 4])->value, values);
        }
    small = f;
    REQUIRE_OK(dk_model_prune(f.model, f.backend, &keep, &small.model, &err));
    CHECK_INT(small.model->config.heads, 2);
    for (int64_t l = 0; l < 2; l++)
        for (int64_t h = 0; h < 3; h++) {
            const dk_layer *w = &small.model->layers[l];
            double *got = new_read(&small, (h < 2 ? w->q_norms[h] : w->k_norms[h - 2])->value);
            const int64_t from = h < 2 ? kept[l] * 2 + h : 4 + kept[l];
            for (int i = 0; i < 4; i++) CHECK_NEAR(got[i], (double)(100 * l + 10 * from + i), 0);
            free(got);
        }
    dk_model_free(small.model);
    fixture_end(&f);
}

/* Both together keep it: half the channels and half the heads. */
TEST(gpt2_by_heads_and_width)
{
    static const int64_t half[4] = {1, 3, 4, 6}, second[2] = {1, 0};
    fixture f;
    dk_error err = {0};
    dk_model *pruned = NULL;
    const dk_keep keep = {.hidden = half, .hidden_size = 4, .groups = second, .kv_heads = 1};
    REQUIRE(fixture_make(&f, ON_F64, tiny_configs[0]));
    REQUIRE_OK(dk_model_prune(f.model, f.backend, &keep, &pruned, &err));
    CHECK_INT(pruned->config.intermediate_size, 12);
    double *whole = new_read(&f, f.model->layers[0].qkv[0]->value),
           *got = new_read(&f, pruned->layers[0].qkv[0]->value);
    for (int64_t r = 0; r < 4; r++) /* [in, q|k|v]: of each the second head */
        for (int64_t k = 0; k < 12; k++) CHECK_NEAR(got[r * 12 + k], whole[half[r] * 24 + k / 4 * 8 + 4 + k % 4], 0);
    free(whole);
    free(got);
    dk_model_free(pruned);
    fixture_end(&f);
}

/* ---- fewer ids ---- */
static double *logits_of(fixture *f, dk_model *model, const batch *b)
{
    dk_pass_spec spec = {.max_rows = MOST_ROWS, .max_sequences = MOST_SEQUENCES};
    dk_pass *pass = NULL;
    dk_queue queue;
    dk_buffer *buffer = NULL;
    dk_error err = {0};
    const dk_tokens tokens = tokens_of(b);
    const int64_t rows = b->offsets[b->sequences], shape[2] = {rows, model->config.vocab_size};
    CHECK_OK(dk_pass_create(model, &spec, &pass, &err));
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    CHECK_OK(dk_queue_open(&queue, f->backend, &err));
    CHECK_OK(f->backend->ops->buffer_create(f->backend, rows * shape[1] * 8, &buffer, &err));
    dk_view logits = dk_view_make(buffer, 0, f->backend->real, 2, shape);
    dk_head_forward(&queue, model, DK_PRECISION_FULL, dk_pass_hidden(pass), logits);
    CHECK_OK(dk_queue_wait(&queue, &err));
    double *out = new_read(f, logits);
    f->backend->ops->buffer_free(f->backend, buffer);
    dk_queue_close(&queue);
    dk_pass_free(pass);
    return out;
}

/* Logits at the kept ids are those of the whole model; ends of texts have their new numbers. */
TEST(fewer_ids)
{
    static const int64_t ids[6] = {1, 2, 5, 6, 9, 12}, lengths[2] = {8, 5};
    for (int config = 0; config < TINY_CONFIGS; config++) {
        fixture f;
        dk_error err = {0};
        dk_model *fewer = NULL, *pruned = NULL;
        REQUIRE(fixture_make(&f, ON_F64, tiny_configs[config]));
        const dk_keep keep = {.ids = ids, .vocab_size = 6};
        const int32_t known = f.model->config.bos < 13 && f.model->config.stop_count <= 1 &&
                              (!f.model->config.stop_count || f.model->config.stops[0] < 13);
        if (!known) { /* gpt2's own ends are far behind these 13 ids */
            fixture_end(&f);
            continue;
        }
        REQUIRE_OK(dk_model_of_ids(f.model, ids, 6, &fewer, &err));
        REQUIRE_OK(dk_model_prune(f.model, f.backend, &keep, &pruned, &err));
        batch b = make_batch(lengths, 2, 6, 3);
        double *small = logits_of(&f, fewer, &b), *copy = logits_of(&f, pruned, &b);
        for (int64_t i = 0; i < 13; i++) b.ids[i] = (int32_t)ids[b.ids[i]];
        double *whole = logits_of(&f, f.model, &b);
        for (int64_t r = 0; r < 13; r++)
            for (int64_t k = 0; k < 6; k++) {
                CHECK_NEAR(small[r * 6 + k], whole[r * 13 + ids[k]], 1e-12);
                CHECK_NEAR(copy[r * 6 + k], whole[r * 13 + ids[k]], 1e-12);
            }
        for (int64_t i = 0; i < f.model->config.stop_count; i++)
            CHECK_INT(ids[fewer->config.stops[i]], f.model->config.stops[i]);
        CHECK_INT(fewer->config.vocab_size, 6);
        free(small);
        free(copy);
        free(whole);
        dk_model_free(pruned);
        dk_model_free(fewer);
        fixture_end(&f);
    }
}

TEST(fewer_ids_need_the_ends)
{
    static const int64_t ids[2] = {4, 5};
    fixture f;
    dk_error err = {0};
    dk_model *fewer = NULL;
    REQUIRE(
        fixture_make(&f, ON_CPU,
                     "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":2,\"num_hidden_layers\":1,"
                     "\"intermediate_size\":10,\"vocab_size\":13,\"max_position_embeddings\":24,\"bos_token_id\":4,"
                     "\"eos_token_id\":[5,7]}"));
    CHECK_INT(dk_model_of_ids(f.model, ids, 2, &fewer, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "config.json: eos_token_id 7 is not among the ids that are kept");
    fixture_end(&f);
}

TEST_MAIN(TEST_CASE(fewer_ids) TEST_CASE(fewer_ids_need_the_ends) TEST_CASE(keeps_slices)
              TEST_CASE(without_parts_that_give_nothing) TEST_CASE(widths_survive_saving) TEST_CASE(refuses)
                  TEST_CASE(norms_of_heads) TEST_CASE(gpt2_by_heads_and_width))
