/* The parts of config.json with rules of their own: rotary positions and windows. */
#include "model/architecture.h"

#include "base/notes.h"

#include <math.h>
#include <string.h>

typedef struct rope_source { /* rope_scaling (old style) where it says something, else rope_parameters (new) */
    const dk_document *doc;
    const dk_node *root, *map;
    const char *key;
} rope_source;

static const struct {
    const char *name;
    dk_rope_kind kind;
} rope_kinds[] = {
    {"default", DK_ROPE_PLAIN}, {"linear", DK_ROPE_LINEAR}, {"llama3", DK_ROPE_LLAMA3}, {"yarn", DK_ROPE_YARN}};

static int32_t find_rope(rope_source *in, dk_error *err)
{
    const dk_node *parameters = dk_node_get(in->root, "rope_parameters"),
                  *scaling = dk_node_get(in->root, "rope_scaling");
    int32_t scales = scaling && scaling->type != DK_NODE_NULL && !(scaling->type == DK_NODE_MAP && !scaling->size);
    in->map = scales ? scaling : parameters;
    in->key = scales ? "rope_scaling" : "rope_parameters";
    if (in->map && in->map->type == DK_NODE_NULL) in->map = NULL;
    if (in->map && in->map->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_FORMAT, "%s: %s is not an object", dk_document_name(in->doc), in->key);
    for (size_t i = 0; in->map && i < in->map->size; i++)
        if (in->map->items[i]->type == DK_NODE_MAP)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: %s has separate values for '%s'; one set for all layers is supported",
                           dk_document_name(in->doc), in->key, in->map->items[i]->key);
    return DK_OK;
}

static int32_t read_kind(const rope_source *in, dk_rope_kind *out, dk_error *err)
{
    const char *name = NULL;
    int32_t rc = dk_node_text(in->doc, in->map, "rope_type", NULL, &name, err);
    if (!rc && !name) rc = dk_node_text(in->doc, in->map, "type", "default", &name, err);
    if (rc) return rc;
    for (size_t i = 0; i < sizeof rope_kinds / sizeof *rope_kinds; i++)
        if (!strcmp(rope_kinds[i].name, name)) {
            *out = rope_kinds[i].kind;
            return DK_OK;
        }
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: rope_type '%s' in %s is not supported; supported are default, linear, llama3, yarn",
                   dk_document_name(in->doc), name, in->key);
}

/* fallback NaN = the key must be there. */
static int32_t read_number(const rope_source *in, const char *key, double fallback, double low, double *out,
                           dk_error *err)
{
    double value = 0;
    char text[32];
    int32_t rc = dk_node_f64(in->doc, in->map, key, fallback, &value, err);
    if (rc) return rc;
    if (isnan(value)) return dk_fail(err, DK_E_FORMAT, "%s: %s needs %s", dk_document_name(in->doc), in->key, key);
    dk_format_f64(value, text);
    if (!isfinite(value) || value < low || value > 1e12)
        return dk_fail(err, DK_E_FORMAT, "%s: %s.%s is %s, which is out of range", dk_document_name(in->doc), in->key,
                       key, text);
    *out = value;
    return DK_OK;
}

static int32_t read_original(const rope_source *in, const dk_config *config, int64_t *out, dk_error *err)
{
    int64_t top = config->max_positions;
    int32_t rc = dk_node_i64(in->doc, in->root, "original_max_position_embeddings", 1, INT32_MAX, top, &top, err);
    if (rc) return rc;
    return dk_node_i64(in->doc, in->map, "original_max_position_embeddings", 1, INT32_MAX, top, out, err);
}

static int32_t read_llama3(const rope_source *in, dk_rope_config *rope, dk_error *err)
{
    int32_t rc;
    DK_TRY(read_number(in, "low_freq_factor", NAN, 1e-9, &rope->low_freq_factor, err));
    DK_TRY(read_number(in, "high_freq_factor", NAN, 1e-9, &rope->high_freq_factor, err));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: %s.high_freq_factor must be above low_freq_factor",
                       dk_document_name(in->doc), in->key));
out:
    return rc;
}

static int32_t read_yarn(const rope_source *in, dk_rope_config *rope, dk_error *err)
{
    int32_t rc;
    DK_TRY(read_number(in, "beta_fast", 32, 0, &rope->beta_fast, err));
    DK_TRY(read_number(in, "beta_slow", 1, 0, &rope->beta_slow, err));
    DK_TRY(read_number(in, "attention_factor", 0, 0, &rope->attention_factor, err));
    DK_TRY(read_number(in, "mscale", 0, 0, &rope->mscale, err));
    DK_TRY(read_number(in, "mscale_all_dim", 0, 0, &rope->mscale_all_dim, err));
    DK_TRY(dk_node_bool(in->doc, in->map, "truncate", 1, &rope->truncate, err));
    if (rope->beta_fast == 0) rope->beta_fast = 32; /* transformers takes 0 for absent */
    if (rope->beta_slow == 0) rope->beta_slow = 1;
out:
    return rc;
}

static int32_t refuse_partial(const rope_source *in, const dk_node *map, dk_error *err)
{
    double part = 1;
    int32_t rc = dk_node_f64(in->doc, map, "partial_rotary_factor", 1, &part, err);
    if (rc || part == 1) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: a partial_rotary_factor other than 1 is not supported for this model_type",
                   dk_document_name(in->doc));
}

/* ---- what two sources say of rotary positions, and what nobody reads ---- */
static int32_t same_map(const dk_node *a, const dk_node *b)
{
    for (size_t i = 0; i < a->size; i++) {
        const dk_node *item = a->items[i], *other = dk_node_get(b, item->key);
        if (!other || other->type != item->type || other->f64 != item->f64 || other->i64 != item->i64 ||
            (item->type == DK_NODE_TEXT && !dk_node_is_text(other, item->text)))
            return 0;
    }
    return a->size == b->size;
}

static void note_replaced(const rope_source *in, const dk_config *config, dk_strbuf *notes)
{
    char theta[32];
    const dk_node *parameters = dk_node_get(in->root, "rope_parameters"), *own = dk_node_get(in->map, "rope_theta");
    const dk_node *outer = dk_node_get(in->root, "rope_theta");
    const char *name = dk_document_name(in->doc);
    dk_format_f64(config->rope.theta, theta);
    if (in->map && in->map != parameters && parameters && parameters->type == DK_NODE_MAP &&
        !same_map(in->map, parameters))
        dk_note(notes, "%s: rope_scaling replaces rope_parameters, as in transformers 5; rope_theta is %s", name,
                theta);
    const dk_node *length = dk_node_get(in->root, "original_max_position_embeddings");
    const dk_node *inner = dk_node_get(in->map, "original_max_position_embeddings");
    if (length && length->type == DK_NODE_INT && !inner &&
        (config->rope.kind == DK_ROPE_LLAMA3 || config->rope.kind == DK_ROPE_YARN))
        dk_note(notes, "%s: original_max_position_embeddings is used; transformers 5 looks for it inside %s only", name,
                in->key);
    if (length && inner && length->type == DK_NODE_INT && inner->type == DK_NODE_INT && length->i64 != inner->i64)
        dk_note(notes, "%s: original_max_position_embeddings %lld of %s is used, not the other one outside", name,
                (long long)inner->i64, in->key);
    if (own && outer && outer->type != DK_NODE_NULL && own->f64 != outer->f64)
        dk_note(notes, "%s: rope_theta %s of %s is used, not the other one outside", name, theta, in->key);
}

static int32_t kind_reads(dk_rope_kind kind, const char *key)
{
    static const struct {
        const char *key;
        int32_t linear, llama3, yarn;
    } keys[] = {{"factor", 1, 1, 1},           {"original_max_position_embeddings", 0, 1, 1},
                {"low_freq_factor", 0, 1, 0},  {"high_freq_factor", 0, 1, 0},
                {"beta_fast", 0, 0, 1},        {"beta_slow", 0, 0, 1},
                {"attention_factor", 0, 0, 1}, {"mscale", 0, 0, 1},
                {"mscale_all_dim", 0, 0, 1},   {"truncate", 0, 0, 1}};
    static const char *const every[] = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
    for (size_t i = 0; i < sizeof every / sizeof *every; i++)
        if (!strcmp(every[i], key)) return 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i].key, key))
            return kind == DK_ROPE_LINEAR   ? keys[i].linear
                   : kind == DK_ROPE_LLAMA3 ? keys[i].llama3
                   : kind == DK_ROPE_YARN   ? keys[i].yarn
                                            : 0;
    return 0;
}

static void note_rope(const rope_source *in, const dk_config *config, dk_strbuf *notes)
{
    const char *name = dk_document_name(in->doc);
    const dk_node *kind = dk_node_get(in->map, "rope_type"), *old = dk_node_get(in->map, "type");
    note_replaced(in, config, notes);
    if (kind && old && kind->type == DK_NODE_TEXT && old->type == DK_NODE_TEXT && strcmp(kind->text, old->text) != 0)
        dk_note(notes, "%s: %s has rope_type '%.40s' and type '%.40s'; rope_type is used", name, in->key, kind->text,
                old->text);
    for (size_t i = 0; in->map && i < in->map->size; i++) {
        const dk_node *item = in->map->items[i];
        if (item->type != DK_NODE_NULL && !kind_reads(config->rope.kind, item->key))
            dk_note(notes, "%s: %s.%.60s is not used with this rope_type", name, in->key, item->key);
    }
}

int32_t dk_config_read_rope(const dk_document *doc, dk_config *config, dk_error *err)
{
    int32_t rc;
    rope_source in = {.doc = doc, .root = dk_document_root(doc)};
    dk_rope_config *rope = &config->rope;
    double theta = 10000;
    DK_TRY(find_rope(&in, err));
    DK_TRY(refuse_partial(&in, in.root, err));
    DK_TRY(refuse_partial(&in, in.map, err));
    DK_TRY(read_kind(&in, &rope->kind, err));
    DK_TRY(dk_node_f64(doc, in.root, "rope_theta", theta, &theta, err));
    DK_TRY(read_number(&in, "rope_theta", theta, 1e-9, &rope->theta, err));
    rope->dims = config->head_dim;
    rope->factor = 1;
    rope->truncate = 1;
    rope->original_positions = config->max_positions;
    if (rope->kind == DK_ROPE_LLAMA3 || rope->kind == DK_ROPE_YARN)
        DK_TRY(read_original(&in, config, &rope->original_positions, err));
    double ratio = rope->kind == DK_ROPE_YARN ? (double)config->max_positions / (double)rope->original_positions : NAN;
    if (rope->kind != DK_ROPE_PLAIN) DK_TRY(read_number(&in, "factor", ratio, 1e-9, &rope->factor, err));
    if (rope->kind == DK_ROPE_LLAMA3) DK_TRY(read_llama3(&in, rope, err));
    if (rope->kind == DK_ROPE_YARN) DK_TRY(read_yarn(&in, rope, err));
    note_rope(&in, config, &config->notes);
out:
    return rc;
}

/* ---- windows ---- */
static int32_t apply_layer_types(const dk_document *doc, const dk_architecture *row, const dk_node *list,
                                 int64_t window, dk_config *config, dk_error *err)
{
    const char *name = dk_document_name(doc);
    if (list->type != DK_NODE_LIST || (int64_t)list->size != config->layers)
        return dk_fail(err, DK_E_MISMATCH, "%s: layer_types is not a list of %lld layers", name,
                       (long long)config->layers);
    for (int64_t i = 0; i < config->layers; i++) {
        const dk_node *item = dk_node_at(list, (size_t)i);
        int32_t slides = dk_node_is_text(item, "sliding_attention");
        if (!slides && !dk_node_is_text(item, "full_attention"))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: layer_types[%lld] is '%s'; supported are full_attention and sliding_attention", name,
                           (long long)i, item->type == DK_NODE_TEXT ? item->text : "not text");
        if (slides && !window)
            return dk_fail(err, DK_E_MISMATCH,
                           "%s: layer_types[%lld] is sliding_attention, but no sliding window is in use", name,
                           (long long)i);
        if (row->window == DK_WINDOW_ALL && window && !slides)
            return dk_fail(err, DK_E_MISMATCH,
                           "%s: layer_types[%lld] is full_attention, but every layer of a %s model has the window of "
                           "sliding_window; set that to null or take layer_types out",
                           name, (long long)i, row->name);
        config->window[i] = slides ? window : 0;
    }
    return DK_OK;
}

/* The window that the keys give, 0 = none. An explicit null turns it off, an absent key means the class's default. */
static int32_t read_window(const dk_document *doc, const dk_architecture *row, int64_t *out, dk_error *err)
{
    int32_t used = row->window == DK_WINDOW_ALL, rc = DK_OK;
    const dk_node *root = dk_document_root(doc), *node = dk_node_get(root, "sliding_window");
    *out = 0;
    if (row->window == DK_WINDOW_UPPER) DK_TRY(dk_node_bool(doc, root, "use_sliding_window", 0, &used, err));
    if (!used || (node && node->type == DK_NODE_NULL)) goto out;
    DK_TRY(dk_node_i64(doc, root, "sliding_window", 1, INT32_MAX, row->sliding_window, out, err));
out:
    return rc;
}

static void note_windows(const dk_document *doc, dk_config *config, int64_t window)
{
    const dk_node *first = dk_node_get(dk_document_root(doc), "max_window_layers");
    if (!window || !first || first->type != DK_NODE_INT) return;
    for (int64_t i = 0; i < config->layers; i++)
        if ((i >= first->i64) != (config->window[i] != 0)) {
            dk_note(&config->notes, "%s: layer_types is used where max_window_layers says otherwise",
                    dk_document_name(doc));
            return;
        }
}

int32_t dk_config_read_windows(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                               dk_error *err)
{
    int32_t rc;
    int64_t window = 0, first = 0;
    const dk_node *root = dk_document_root(doc), *types = dk_node_get(root, "layer_types");
    DK_TRY(dk_new(host, config->layers, &config->window, err));
    DK_TRY(dk_new(host, config->layers, &config->layer_rope, err));
    memset(config->layer_rope, row->learned_positions ? 0 : 1, (size_t)config->layers);
    if (row->window != DK_WINDOW_NEVER) DK_TRY(read_window(doc, row, &window, err));
    if (types && types->type != DK_NODE_NULL) {
        DK_TRY(apply_layer_types(doc, row, types, window, config, err));
        note_windows(doc, config, window);
        goto out;
    }
    if (row->window == DK_WINDOW_UPPER)
        DK_TRY(dk_node_i64(doc, root, "max_window_layers", 0, INT32_MAX, row->max_window_layers, &first, err));
    for (int64_t i = first; i < config->layers; i++) config->window[i] = window;
out:
    return rc;
}
