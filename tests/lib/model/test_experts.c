/* Models whose MLPs are experts': where rows go, the same bits whatever stands beside them, files of every form, and
 * what is refused. Their logits are compared with transformers' in test_oracle.c. */
#include "../base/fail_alloc.h"
#include "gguf_model.h"
#include "model/export_gguf.h"
#include "model/pass_parts.h"
#include "model/weights.h"
#include "test_model.h"

#define SIZES                                                                                                          \
    "\"vocab_size\":37,\"hidden_size\":32,\"intermediate_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":4," \
    "\"num_key_value_heads\":2,\"max_position_embeddings\":64"
static const char mixtral[] =
    "{\"model_type\":\"mixtral\"," SIZES ",\"num_local_experts\":5,\"num_experts_per_tok\":2}";
static const char qwen3_moe[] = "{\"model_type\":\"qwen3_moe\"," SIZES ",\"head_dim\":8,\"num_experts\":6,"
                                "\"num_experts_per_tok\":3,\"moe_intermediate_size\":32,\"norm_topk_prob\":true}";
static const char mixed[] = "{\"model_type\":\"qwen3_moe\"," SIZES ",\"num_experts\":6,\"num_experts_per_tok\":3,"
                            "\"moe_intermediate_size\":32,\"mlp_only_layers\":[1]}";
static const char *const configs[] = {mixtral, qwen3_moe, mixed};
static const int64_t lengths[] = {9, 1, 17, 2, 1, 5};

/* Nothing makes such a model but a file: its parts do, with random values. */
static int make(fixture *f, backend_kind kind, const char *json)
{
    dk_error err = {0};
    dk_document *doc = NULL;
    dk_config config = {0};
    if (!fixture_begin(f, kind)) return 0;
    int rc = dk_json_parse(f->host, json, strlen(json), "config.json", &doc, &err);
    if (!rc) rc = dk_config_read(f->host, doc, &config, &err);
    if (!rc) rc = dk_model_new(f->backend, &config, 0, &f->model, &err);
    if (!rc) rc = dk_model_place_real(f->model, &err);
    if (!rc) rc = dk_model_link(f->model, &err);
    dk_document_free(doc);
    dk_config_free(f->host, &config);
    if (rc) FAIL("%s: %d %s", json, rc, err.message);
    if (!rc) stir(f, 0.25, 11);
    return !rc;
}

/* Hidden states of a batch as floats; to be freed. */
static double *run(fixture *f, const batch *b)
{
    dk_pass_spec spec = {.max_rows = MOST_ROWS, .max_sequences = MOST_SEQUENCES};
    dk_pass *pass = NULL;
    dk_error err = {0};
    dk_tokens tokens = tokens_of(b);
    CHECK_OK(dk_pass_create(f->model, &spec, &pass, &err));
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    double *out = new_read(f, dk_pass_hidden(pass));
    dk_pass_free(pass);
    return out;
}

static int same(const double *a, const double *b, int64_t count) { return !memcmp(a, b, (size_t)count * sizeof *a); }

/* The bits of products hang on no other rows, but for those of a CBLAS. */
static int alike(const fixture *f, const double *a, const double *b, int64_t count)
{
    if (f->backend->invariant_rows == INT64_MAX) return same(a, b, count);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(a[i] - b[i]) <= 1e-5 * (1 + fabs(b[i])))) return 0;
    return 1;
}

/* ---- where rows go ---- */
/* Layer 0 sends rows by a router of our own: one expert gets all, by ties, or one row alone. */
static void set_router(fixture *f, int64_t layer, double (*value)(int64_t expert, int64_t column))
{
    dk_view view = f->model->layers[layer].router->value;
    double *values = calloc((size_t)dk_view_count(&view), sizeof *values);
    for (int64_t i = 0; i < dk_view_count(&view); i++) values[i] = value(i / view.shape[1], i % view.shape[1]);
    write_view(f, view, values);
    refresh(f, f->model->layers[layer].router);
    free(values);
}

static double nothing(int64_t expert, int64_t column) { return 0 * (double)(expert + column); }

/* The rows that each expert of a layer got in the last call of a pass, in the order of the ids. */
static void count_rows(fixture *f, const batch *b, int64_t counts[8])
{
    dk_pass_spec spec = {.max_rows = MOST_ROWS, .max_sequences = MOST_SEQUENCES};
    dk_pass *pass = NULL;
    dk_error err = {0};
    dk_tokens tokens = tokens_of(b);
    dk_workset set = {.model = f->model, .rows = b->offsets[b->sequences]};
    dk_arena arena;
    dk_queue queue;
    CHECK_OK(dk_pass_create(f->model, &spec, &pass, &err));
    CHECK_OK(dk_pass_forward(pass, &tokens, &err));
    dk_view x = dk_pass_hidden(pass), y = dk_view_none();
    CHECK_OK(dk_queue_open(&queue, f->backend, &err));
    set.queue = &queue;
    dk_arena_init(&arena, f->backend);
    for (int measured = 0; measured < 2; measured++) {
        dk_routing_plan(&arena, f->model, MOST_ROWS, &set.routing);
        y = dk_arena_2d(&arena, f->backend->real, MOST_ROWS, f->model->config.hidden_size);
        if (!measured) CHECK_OK(dk_arena_commit(&arena, &err));
    }
    CHECK_OK(dk_routing_create(f->model, MOST_ROWS, &set.routing, &err));
    dk_experts_forward(&set, 0, x, dk_view_rows(y, 0, set.rows));
    CHECK_OK(dk_queue_wait(&queue, &err));
    for (int64_t e = 0; e < f->model->config.experts; e++) counts[e] = set.routing.first[e + 1] - set.routing.first[e];
    dk_routing_free(f->model, &set.routing);
    dk_arena_free(&arena);
    dk_queue_close(&queue);
    dk_pass_free(pass);
}

TEST(ties_go_to_the_lowest_id)
{
    fixture f;
    int64_t counts[8] = {0};
    batch b = make_batch(lengths, 6, 37, 3);
    REQUIRE(make(&f, ON_CPU, mixtral));
    set_router(&f, 0, nothing);
    count_rows(&f, &b, counts); /* all rows to the first two, none to the others */
    for (int64_t e = 0; e < 5; e++) CHECK_INT(counts[e], e < 2 ? b.offsets[6] : 0);
    fixture_end(&f);
}

TEST(some_experts_get_nothing_and_some_one_row)
{
    fixture f;
    int64_t counts[8] = {0}, one = 1, none = 0, total = 0;
    batch b = make_batch(&one, 1, 37, 3);
    REQUIRE(make(&f, ON_CPU, qwen3_moe));
    count_rows(&f, &b, counts);
    for (int64_t e = 0; e < 6; e++) {
        CHECK(counts[e] == 0 || counts[e] == 1);
        total += counts[e];
    }
    CHECK_INT(total, 3);
    b = make_batch(&none, 1, 37, 3); /* a sequence without tokens */
    free(run(&f, &b));
    fixture_end(&f);
}

/* With one expert per row its weight is 1: where all rows go to one, the model is the dense one with that MLP. */
static const char top_1[] = "{\"model_type\":\"mixtral\"," SIZES ",\"num_local_experts\":3,\"num_experts_per_tok\":1}";
static const char dense[] = "{\"model_type\":\"mistral\"," SIZES ",\"sliding_window\":null,\"rope_theta\":1000000.0,"
                            "\"rms_norm_eps\":1e-05}";

static void copy_value(fixture *from, const dk_parameter *value, fixture *to, dk_parameter *into)
{
    double *values = new_read(from, value->value);
    write_view(to, into->value, values);
    refresh(to, into);
    free(values);
}

TEST(one_expert_of_all_rows_is_a_dense_model)
{
    fixture f, g;
    batch b = make_batch(lengths, 6, 37, 3);
    REQUIRE(make(&f, ON_CPU, top_1) && make(&g, ON_CPU, dense));
    for (int64_t l = 0; l < 3; l++) set_router(&f, l, nothing);
    for (int64_t i = 0; i < g.model->parameter_count; i++) {
        dk_parameter *found = dk_model_find(f.model, g.model->parameters[i].name);
        if (found) copy_value(&f, found, &g, &g.model->parameters[i]);
    }
    for (int64_t l = 0; l < 3; l++) {
        dk_layer *layer = &g.model->layers[l];
        dk_expert *expert = &f.model->layers[l].experts[0];
        copy_value(&f, expert->up[0], &g, layer->up[0]);
        copy_value(&f, expert->up[1], &g, layer->up[1]);
        copy_value(&f, expert->down, &g, layer->down);
    }
    double *sparse = run(&f, &b), *plain = run(&g, &b);
    CHECK(same(sparse, plain, b.offsets[6] * 32));
    free(sparse);
    free(plain);
    fixture_end(&f);
    fixture_end(&g);
}

/* ---- the same bits ---- */
static void check_alone(const char *json)
{
    fixture f;
    dk_error err = {0};
    batch b = make_batch(lengths, 6, 37, 3);
    REQUIRE(make(&f, ON_CPU, json));
    double *together = run(&f, &b);
    for (int64_t s = 0; s < b.sequences; s++) {
        batch one = make_batch(&lengths[s], 1, 37, 3);
        double *alone = run(&f, &one);
        CHECK(alike(&f, alone, together + b.offsets[s] * 32, lengths[s] * 32));
        free(alone);
    }
    CHECK_OK(dk_host_set_threads(f.host, 3, NULL, NULL, NULL, &err));
    double *threads = run(&f, &b);
    CHECK(same(threads, together, b.offsets[6] * 32));
    free(threads);
    free(together);
    fixture_end(&f);
}

TEST(rows_do_not_ask_who_stands_beside_them)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) check_alone(configs[i]);
}

/* Two sequences read through a cache in pieces, the second one behind the first by a call. */
static void check_cache(const char *json)
{
    static const int64_t calls[][2] = {{5, 0}, {1, 4}, {1, 1}, {8, 1}};
    fixture f;
    int64_t both[2] = {15, 6}, at[2] = {0, 0};
    batch b = make_batch(both, 2, 37, 3);
    dk_cache *cache = NULL;
    dk_error err = {0};
    REQUIRE(make(&f, ON_CPU, json));
    const dk_cache_spec spec = {.sequences = 2, .capacity = 64, .max_rows = 16};
    double *whole = run(&f, &b);
    REQUIRE_OK(dk_cache_create(f.model, &spec, &cache, &err));
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        batch piece = {0};
        int64_t which[2];
        dk_view hidden;
        for (int64_t s = 0; s < 2; s++) {
            if (!calls[c][s]) continue;
            memcpy(piece.ids + piece.offsets[piece.sequences], b.ids + b.offsets[s] + at[s],
                   (size_t)calls[c][s] * sizeof *b.ids);
            at[s] += calls[c][s];
            which[piece.sequences++] = s;
            piece.offsets[piece.sequences] = piece.offsets[piece.sequences - 1] + calls[c][s];
        }
        dk_tokens tokens = tokens_of(&piece);
        REQUIRE_OK(dk_cache_forward(cache, &tokens, which, &hidden, &err));
        double *got = new_read(&f, hidden);
        for (int64_t i = 0; i < piece.sequences; i++)
            CHECK(alike(&f, got + i * 32, whole + (b.offsets[which[i]] + at[which[i]] - 1) * 32, 32));
        free(got);
    }
    free(whole);
    dk_cache_free(cache);
    fixture_end(&f);
}

TEST(a_cache_gives_what_a_pass_gives)
{
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) check_cache(configs[i]);
}

/* ---- files ---- */
static dk_model *opened(fixture *f, const char *path, int32_t mapped)
{
    const dk_model_options options = {.use_mmap = mapped};
    dk_model *model = NULL;
    dk_error err = {0};
    CHECK_OK(dk_model_open(f->backend, path, &options, &model, &err));
    return model;
}

static void check_hash(const dk_model *a, const dk_model *b)
{
    char x[65] = "", y[65] = "";
    dk_error err = {0};
    CHECK_OK(dk_model_hash(a, x, &err));
    CHECK_OK(dk_model_hash(b, y, &err));
    CHECK_STR(x, y);
}

static void export_gguf(const dk_model *model, const char *path, dk_dtype dtype)
{
    dk_strbuf notes;
    dk_error err = {0};
    dk_strbuf_init(&notes, model->host);
    remove(path);
    CHECK_OK(dk_model_export_gguf(model, NULL, NULL, path, dtype, &notes, &err));
    dk_strbuf_free(&notes);
}

static void check_written(const char *json, int32_t gguf)
{
    fixture f;
    dk_error err = {0};
    char path[1100];
    const char *folder = test_folder("experts_saved");
    REQUIRE(make(&f, ON_CPU, json));
    REQUIRE_OK(dk_model_save(f.model, folder, DK_F32, &err));
    dk_model *read = opened(&f, folder, 1);
    REQUIRE(read);
    check_hash(f.model, read);
    CHECK_INT(read->file_bytes, 4 * dk_model_elements(read));
    snprintf(path, sizeof path, "%s", path_in(folder, "m.gguf"));
    if (gguf) {
        export_gguf(f.model, path, DK_F32);
        dk_model *again = opened(&f, path, 1);
        REQUIRE(again);
        check_hash(f.model, again);
        CHECK_INT(again->file_bytes, 4 * dk_model_elements(again));
        CHECK_INT(again->config.experts_used, f.model->config.experts_used);
        CHECK_INT(again->config.expert_size, f.model->config.expert_size);
        dk_model_free(again);
    }
    dk_model_free(read);
    fixture_end(&f);
}

TEST(written_and_read_again_they_are_the_same)
{
    check_written(mixtral, 1);
    check_written(qwen3_moe, 1);
    check_written(mixed, 0);
}

/* ---- files of other forms: tensors of one file under other names, put together or taken apart ---- */
typedef struct piece {
    const uint8_t *data;
    uint64_t bytes;
} piece;
typedef struct rewritten {
    dk_tensor_spec specs[128];
    piece pieces[128][3];
    char names[128][64];
    int64_t count;
} rewritten;

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const rewritten *r = user;
    uint8_t *to = out;
    (void)err;
    for (int i = 0; i < 3 && size; i++) {
        const piece *p = &r->pieces[index][i];
        if (offset >= p->bytes) {
            offset -= p->bytes;
            continue;
        }
        uint64_t n = p->bytes - offset < size ? p->bytes - offset : size;
        memcpy(to, p->data + offset, n);
        to += n;
        size -= n;
        offset = 0;
    }
    return DK_OK;
}

static void add(rewritten *r, const char *name, const dk_tensor *like, int32_t rank, const int64_t *shape)
{
    snprintf(r->names[r->count], sizeof r->names[0], "%s", name);
    dk_tensor_spec spec = {.name = r->names[r->count], .dtype = like->dtype, .rank = rank};
    for (int32_t d = 0; d < rank; d++) spec.shape[d] = shape[d];
    r->specs[r->count++] = spec;
}

/* A tensor for each expert, as the first converters wrote them. */
static int take_apart(rewritten *r, const dk_tensor *tensor)
{
    if (tensor->rank != 3) return 0;
    for (int64_t e = 0; e < tensor->shape[0]; e++) {
        char name[64];
        const char *end = strstr(tensor->name, "_exps.weight");
        uint64_t bytes = tensor->bytes / (uint64_t)tensor->shape[0];
        snprintf(name, sizeof name, "%.*s.%d.weight", (int)(end - tensor->name), tensor->name, (int)e);
        r->pieces[r->count][0] = (piece){(const uint8_t *)tensor->data + (uint64_t)e * bytes, bytes};
        add(r, name, tensor, 2, tensor->shape + 1);
    }
    return 1;
}

/* attn_q, attn_k and attn_v, weights or biases, in one. */
static int put_together(rewritten *r, const dk_checkpoint *file, const dk_tensor *tensor)
{
    static const char letters[] = "qkv";
    const char *at = strstr(tensor->name, ".attn_");
    int64_t shape[2] = {0, tensor->shape[1]};
    char name[64];
    if (!at || at[7] != '.' || !strchr(letters, at[6])) return 0;
    if (at[6] != 'q') return 1; /* taken with q */
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s", tensor->name);
        name[at - tensor->name + 6] = letters[i];
        const dk_tensor *part = dk_checkpoint_find(file, name);
        if (!part) return 0;
        shape[0] += part->shape[0];
        r->pieces[r->count][i] = (piece){part->data, part->bytes};
    }
    snprintf(name, sizeof name, "%.*s.attn_qkv%s", (int)(at - tensor->name), tensor->name, at + 7);
    add(r, name, tensor, tensor->rank, shape);
    return 1;
}

static void rewrite(fixture *f, const dk_model *model, const char *from, const char *to, int32_t apart)
{
    dk_checkpoint *file = NULL;
    dk_gguf_keys keys;
    dk_error err = {0};
    rewritten *r = calloc(1, sizeof *r);
    REQUIRE_OK(dk_checkpoint_open(f->host, from, 0, &file, &err));
    for (int64_t i = 0; i < dk_checkpoint_count(file); i++) {
        const dk_tensor *tensor = dk_checkpoint_at(file, i);
        if (apart ? take_apart(r, tensor) : put_together(r, file, tensor)) continue;
        r->pieces[r->count][0] = (piece){tensor->data, tensor->bytes};
        add(r, tensor->name, tensor, tensor->rank, tensor->shape);
    }
    dk_gguf_keys_init(&keys, f->host);
    CHECK_OK(dk_gguf_put_config(&keys, &model->config, model->config.vocab_size, &err));
    const dk_gguf_args args = {.keys = &keys, .tensors = r->specs, .count = r->count, .fill = fill, .user = r};
    CHECK_OK(dk_gguf_write(f->host, to, &args, &err));
    dk_gguf_keys_free(&keys);
    dk_checkpoint_close(file);
    free(r);
}

static void check_rewritten(fixture *f, dk_dtype dtype, int32_t apart, const char *has)
{
    char first[1100], second[1100];
    dk_checkpoint *file = NULL;
    dk_error err = {0};
    snprintf(first, sizeof first, "%s", path_in(test_folder("experts_first"), "m.gguf"));
    snprintf(second, sizeof second, "%s", path_in(test_folder("experts_second"), "m.gguf"));
    export_gguf(f->model, first, dtype);
    remove(second);
    rewrite(f, f->model, first, second, apart);
    CHECK_OK(dk_checkpoint_open(f->host, second, 0, &file, &err));
    CHECK(file && dk_checkpoint_find(file, has));
    dk_model *a = opened(f, first, 1), *b = opened(f, second, 1);
    REQUIRE(a && b);
    check_hash(a, b);
    CHECK_INT(a->file_bytes, b->file_bytes);
    dk_model_free(a);
    dk_model_free(b);
    dk_checkpoint_close(file);
}

TEST(old_files_have_a_tensor_for_each_expert)
{
    fixture f;
    REQUIRE(make(&f, ON_CPU, mixtral));
    check_rewritten(&f, DK_F32, 1, "blk.0.ffn_gate.4.weight");
    check_rewritten(&f, DK_Q8_0, 1, "blk.2.ffn_down.0.weight");
    fixture_end(&f);
}

/* phi-2's first converters wrote q, k and v in one tensor, and llama.cpp takes that of every family. */
TEST(joined_projections_are_read)
{
    static const char *const joined[] = {
        "{\"model_type\":\"phi\"," SIZES "}", "{\"model_type\":\"llama\"," SIZES ",\"attention_bias\":true}",
        "{\"model_type\":\"qwen2\"," SIZES ",\"tie_word_embeddings\":true}", mixtral, qwen3_moe};
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        fixture f;
        REQUIRE(make(&f, ON_CPU, joined[i]));
        check_rewritten(&f, DK_F32, 0, "blk.0.attn_qkv.weight");
        check_rewritten(&f, DK_Q4_0, 0, "blk.1.attn_qkv.weight");
        fixture_end(&f);
    }
}

/* ---- blocks ---- */
TEST(a_frozen_model_of_blocks_costs_its_file)
{
    static const dk_dtype types[] = {DK_Q8_0, DK_Q4_0, DK_BF16};
    fixture f, g;
    batch b = make_batch(lengths, 6, 37, 3);
    char path[1100];
    snprintf(path, sizeof path, "%s", path_in(test_folder("experts_blocks"), "m.gguf"));
    REQUIRE(make(&f, ON_CPU, qwen3_moe));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        export_gguf(f.model, path, types[i]);
        dk_model *whole = f.model;
        f.model = opened(&f, path, 1);
        REQUIRE(f.model && fixture_begin(&g, ON_F64));
        CHECK_INT(f.model->layers[2].experts[5].down->value.dtype, types[i]);
        CHECK_INT(dk_model_state_of(f.model)->values.size, 0); /* nothing was widened or copied */
        g.model = opened(&g, path, 1);
        REQUIRE(g.model);
        double *got = run(&f, &b), *want = run(&g, &b);
        for (int64_t k = 0; k < b.offsets[6] * 32; k++) CHECK_NEAR(got[k], want[k], 2e-4);
        free(got);
        free(want);
        fixture_end(&g);
        dk_model_free(f.model);
        f.model = whole;
    }
    fixture_end(&f);
}

TEST(copies_for_products_do_not_grow_with_experts)
{
    static const char more[] =
        "{\"model_type\":\"mixtral\"," SIZES ",\"num_local_experts\":10,\"num_experts_per_tok\":2}";
    fixture f, g;
    REQUIRE(make(&f, ON_CPU, mixtral) && make(&g, ON_CPU, more));
    int64_t few = dk_model_kept_bytes(f.model, DK_PRECISION_BF16),
            many = dk_model_kept_bytes(g.model, DK_PRECISION_BF16);
    int64_t router = 10 * 32 * 3 * 4; /* of both models' routers no more than as many floats */
    CHECK(many >= few && many - few <= 16 * router);
    fixture_end(&f);
    fixture_end(&g);
}

/* ---- refused ---- */
static void expect(int32_t rc, const dk_error *err, int32_t code, const char *part)
{
    CHECK_INT(rc, code);
    CHECK_HAS(err->message, part);
}

TEST(they_are_neither_trained_nor_cut)
{
    fixture f;
    dk_error err = {0};
    dk_model *other = NULL;
    dk_document *doc = NULL;
    const int64_t layers[2] = {0, 2}, ids[3] = {0, 1, 5};
    const char *folder = test_folder("experts_refused");
    const dk_model_options trainable = {.trainable = 1};
    REQUIRE(make(&f, ON_CPU, mixtral));
    REQUIRE_OK(dk_model_save(f.model, folder, DK_F32, &err));
    expect(dk_model_open(f.backend, folder, &trainable, &other, &err), &err, DK_E_UNSUPPORTED,
           "a mixtral model has experts: it is run as it is, and neither trained nor cut");
    REQUIRE_OK(dk_json_parse(f.host, qwen3_moe, strlen(qwen3_moe), "config.json", &doc, &err));
    expect(dk_model_create(f.backend, doc, 0, 1, &other, &err), &err, DK_E_UNSUPPORTED,
           "a qwen3_moe model has experts");
    expect(dk_model_derive(f.model, f.backend, layers, 2, &other, &err), &err, DK_E_UNSUPPORTED, "neither trained nor");
    const dk_keep keep = {.ids = ids, .vocab_size = 3};
    expect(dk_model_prune(f.model, f.backend, &keep, &other, &err), &err, DK_E_UNSUPPORTED, "neither trained nor cut");
    CHECK(!other);
    dk_document_free(doc);
    fixture_end(&f);
}

/* Rows of some ids alone are all that another one shares. */
TEST(a_few_ids_of_one)
{
    fixture f;
    dk_error err = {0};
    dk_model *few = NULL;
    const int64_t ids[3] = {1, 2, 5};
    REQUIRE(make(&f, ON_CPU, mixtral));
    REQUIRE_OK(dk_model_of_ids(f.model, ids, 3, &few, &err));
    CHECK_INT(few->config.vocab_size, 3);
    CHECK(few->layers[1].experts[4].down->value.buffer == f.model->layers[1].experts[4].down->value.buffer);
    dk_model_free(few);
    fixture_end(&f);
}

TEST(bad_descriptions_are_named)
{
    static const char *const bad[][2] = {
        {"{\"model_type\":\"mixtral\"," SIZES ",\"num_local_experts\":2,\"num_experts_per_tok\":3}",
         "num_experts_per_tok 3 is more than the 2 experts"},
        {"{\"model_type\":\"mixtral\"," SIZES ",\"num_local_experts\":4,\"num_experts\":2}",
         "the same fact with two values"},
        {"{\"model_type\":\"qwen3_moe\"," SIZES ",\"mlp_only_layers\":[3]}",
         "mlp_only_layers[0] is not a layer in [0, 3)"},
        {"{\"model_type\":\"qwen3_moe\"," SIZES ",\"mlp_only_layers\":7}", "mlp_only_layers is not a list"},
        {"{\"model_type\":\"qwen3_moe\"," SIZES ",\"decoder_sparse_step\":0}", "decoder_sparse_step"},
        {"{\"model_type\":\"qwen3_moe\"," SIZES ",\"shared_expert_intermediate_size\":8}",
         "shared_expert_intermediate_size changes the arithmetic"},
        {"{\"model_type\":\"mixtral\",\"num_hidden_layers\":4096,\"num_local_experts\":4096}",
         "4096 layers of 4096 experts are not possible"},
        {"{\"model_type\":\"llama\"," SIZES ",\"num_local_experts\":4}", "num_local_experts changes the arithmetic"}};
    dk_host *host = NULL;
    dk_error err = {0};
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dk_document *doc = NULL;
        dk_config config = {0};
        REQUIRE_OK(dk_json_parse(host, bad[i][0], strlen(bad[i][0]), "config.json", &doc, &err));
        CHECK(dk_config_read(host, doc, &config, &err) != DK_OK);
        CHECK_HAS(err.message, bad[i][1]);
        dk_config_free(host, &config);
        dk_document_free(doc);
    }
    dk_host_release(host);
}

TEST(tensors_of_other_shapes_are_named)
{
    fixture f;
    dk_error err = {0};
    dk_model *other = NULL;
    char path[1100];
    snprintf(path, sizeof path, "%s", path_in(test_folder("experts_shape"), "m.gguf"));
    REQUIRE(make(&f, ON_CPU, mixtral));
    f.model->config.experts = 4; /* what the keys say; the tensors have five */
    dk_gguf_keys keys;
    dk_gguf_keys_init(&keys, f.host);
    CHECK_OK(dk_gguf_put_config(&keys, &f.model->config, 37, &err));
    f.model->config.experts = 5;
    char first[1100];
    snprintf(first, sizeof first, "%s", path_in(test_folder("experts_shape_first"), "m.gguf"));
    export_gguf(f.model, first, DK_F32);
    dk_checkpoint *file = NULL;
    rewritten *r = calloc(1, sizeof *r);
    REQUIRE_OK(dk_checkpoint_open(f.host, first, 0, &file, &err));
    for (int64_t i = 0; i < dk_checkpoint_count(file); i++) {
        const dk_tensor *tensor = dk_checkpoint_at(file, i);
        r->pieces[r->count][0] = (piece){tensor->data, tensor->bytes};
        add(r, tensor->name, tensor, tensor->rank, tensor->shape);
    }
    const dk_gguf_args args = {.keys = &keys, .tensors = r->specs, .count = r->count, .fill = fill, .user = r};
    remove(path);
    CHECK_OK(dk_gguf_write(f.host, path, &args, &err));
    expect(dk_model_open(f.backend, path, NULL, &other, &err), &err, DK_E_MISMATCH,
           "blk.0.ffn_gate_inp.weight' has shape");
    dk_checkpoint_close(file);
    dk_gguf_keys_free(&keys);
    free(r);
    fixture_end(&f);
}

static int32_t attempt(void *context, dk_host *of_host, dk_error *error)
{
    int32_t rc;
    dk_backend *cpu = NULL;
    dk_model *model = NULL;
    dk_pass *pass = NULL;
    dk_cache *cache = NULL;
    const dk_pass_spec spec = {.max_rows = 4, .max_sequences = 1};
    const dk_cache_spec of_cache = {.sequences = 1, .capacity = 8, .max_rows = 4};
    DK_TRY(dk_backend_cpu(of_host, &cpu, error));
    DK_TRY(dk_model_open(cpu, context, NULL, &model, error));
    DK_TRY(dk_pass_create(model, &spec, &pass, error));
    DK_TRY(dk_cache_create(model, &of_cache, &cache, error));
out:
    dk_cache_free(cache);
    dk_pass_free(pass);
    dk_model_free(model);
    if (cpu) dk_backend_free(cpu);
    return rc;
}

TEST(survives_every_failed_allocation)
{
    CHECK(fail_every_alloc(attempt, (void *)(uintptr_t)(TEST_DATA "/families/mixtral_fused")) > 50);
}

TEST_MAIN(TEST_CASE(ties_go_to_the_lowest_id) TEST_CASE(some_experts_get_nothing_and_some_one_row)
              TEST_CASE(one_expert_of_all_rows_is_a_dense_model) TEST_CASE(rows_do_not_ask_who_stands_beside_them)
                  TEST_CASE(a_cache_gives_what_a_pass_gives) TEST_CASE(written_and_read_again_they_are_the_same)
                      TEST_CASE(old_files_have_a_tensor_for_each_expert) TEST_CASE(joined_projections_are_read)
                          TEST_CASE(a_frozen_model_of_blocks_costs_its_file)
                              TEST_CASE(copies_for_products_do_not_grow_with_experts)
                                  TEST_CASE(they_are_neither_trained_nor_cut) TEST_CASE(a_few_ids_of_one)
                                      TEST_CASE(bad_descriptions_are_named) TEST_CASE(tensors_of_other_shapes_are_named)
                                          TEST_CASE(survives_every_failed_allocation))
