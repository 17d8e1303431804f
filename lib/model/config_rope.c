/* Rotary positions of a config.json: rope_scaling, rope_parameters and what stands beside them. */
#include "model/architecture.h"

#include "base/notes.h"

#include <math.h>
#include <string.h>

typedef struct rope_source { /* rope_scaling (old style) where it says something, else rope_parameters (new) */
    dk_host *host;
    const dk_document *doc;
    const dk_architecture *row;
    const dk_node *root, *map;
    const char *key, *theta_key;
    dk_rope_config *rope; /* being read */
} rope_source;

static const struct {
    const char *name;
    dk_rope_kind kind;
} rope_kinds[] = {{"default", DK_ROPE_PLAIN}, {"linear", DK_ROPE_LINEAR}, {"dynamic", DK_ROPE_DYNAMIC},
                  {"llama3", DK_ROPE_LLAMA3}, {"yarn", DK_ROPE_YARN},     {"longrope", DK_ROPE_LONG}};

/* Phi-3 called its longrope by two other names. */
static const char *name_of(const rope_source *in, const char *name)
{
    int32_t old = in->row->has & DK_HAS_LENGTH_BESIDE && (!strcmp(name, "su") || !strcmp(name, "yarn"));
    return old ? "longrope" : name;
}

/* Full layers read rope_scaling, or their part of rope_parameters. */
static int32_t find_parts(rope_source *in, const dk_node *parameters, int32_t scales, dk_error *err)
{
    const char *name = dk_document_name(in->doc);
    const dk_node *full = dk_node_get(parameters, "full_attention"),
                  *local = dk_node_get(parameters, "sliding_attention");
    if (parameters && parameters->type == DK_NODE_MAP && parameters->size && !full && !local)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: rope_parameters of a %s model are those of full_attention and of "
                       "sliding_attention",
                       name, in->row->name);
    if ((full && full->type != DK_NODE_MAP && full->type != DK_NODE_NULL) ||
        (local && local->type != DK_NODE_MAP && local->type != DK_NODE_NULL))
        return dk_fail(err, DK_E_FORMAT, "%s: a part of rope_parameters is not an object", name);
    if (scales) return DK_OK;
    in->map = full && full->type == DK_NODE_MAP ? full : NULL;
    in->key = "rope_parameters.full_attention";
    return DK_OK;
}

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
    if (in->row->has & DK_HAS_LOCAL_ROPE) return find_parts(in, parameters, scales, err);
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
        if (!strcmp(rope_kinds[i].name, name_of(in, name))) {
            *out = rope_kinds[i].kind;
            return DK_OK;
        }
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: rope_type '%s' in %s is not supported; supported are default, linear, dynamic, llama3, yarn, "
                   "longrope",
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
    static const char key[] = "original_max_position_embeddings";
    int64_t top = in->row->rope_original ? in->row->rope_original : config->max_positions;
    int32_t rc = dk_node_i64(in->doc, in->root, key, 1, INT32_MAX, top, &top, err);
    *out = top;
    if (rc || in->row->has & DK_HAS_LENGTH_BESIDE) return rc;
    return dk_node_i64(in->doc, in->map, key, 1, INT32_MAX, top, out, err);
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

/* The factors of one length, which are as many as the pairs that rotate. */
static int32_t read_factors(const rope_source *in, const char *key, int64_t count, double **out, dk_error *err)
{
    int32_t rc;
    const char *name = dk_document_name(in->doc);
    const dk_node *list = dk_node_get(in->map, key);
    if (!list || list->type != DK_NODE_LIST || (int64_t)list->size != count)
        return dk_fail(err, DK_E_MISMATCH, "%s: %s.%s is not a list of %lld numbers, one for each pair that rotates",
                       name, in->key, key, (long long)count);
    DK_TRY(dk_new(in->host, count, out, err));
    for (int64_t i = 0; i < count; i++) {
        const dk_node *item = list->items[i];
        double value = item->type == DK_NODE_INT ? (double)item->i64 : item->type == DK_NODE_FLOAT ? item->f64 : 0;
        if (!(value >= 1e-9 && value <= 1e12))
            DK_TRY(
                dk_fail(err, DK_E_FORMAT, "%s: %s.%s[%lld] is not a number above 0", name, in->key, key, (long long)i));
        (*out)[i] = value;
    }
out:
    return rc;
}

static int32_t read_long(const rope_source *in, dk_rope_config *rope, dk_error *err)
{
    int32_t rc;
    DK_TRY(read_factors(in, "short_factor", rope->dims / 2, &rope->short_factors, err));
    DK_TRY(read_factors(in, "long_factor", rope->dims / 2, &rope->long_factors, err));
    DK_TRY(read_number(in, "attention_factor", 0, 0, &rope->attention_factor, err));
out:
    return rc;
}

static double number_or(const dk_node *map, const char *key, double fallback)
{
    const dk_node *node = dk_node_get(map, key);
    if (!node || (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT)) return fallback;
    return node->type == DK_NODE_INT ? (double)node->i64 : node->f64;
}

static double part_of(const rope_source *in)
{
    double part = number_or(in->root, in->row->keys->partial, in->row->partial != 0 ? in->row->partial : 1);
    return number_or(in->map, "partial_rotary_factor", part);
}

/* How many entries of a head rotate. */
static int32_t read_dims(const rope_source *in, int64_t head_dim, int64_t *out, dk_error *err)
{
    int32_t rc;
    const char *name = dk_document_name(in->doc);
    double part = in->row->partial != 0 ? in->row->partial : 1;
    DK_TRY(dk_node_f64(in->doc, in->root, in->row->keys->partial, part, &part, err));
    DK_TRY(dk_node_f64(in->doc, in->map, "partial_rotary_factor", part, &part, err));
    if (part != 1 && !(in->row->has & DK_HAS_PARTIAL))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: a partial_rotary_factor other than 1 is not supported for this model_type", name));
    *out = part > 0 && part <= 1 ? (int64_t)((double)head_dim * part) : 0;
    if (*out < 2 || *out % 2)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: %lld of %lld entries of a head would rotate; they go in pairs", name,
                       (long long)*out, (long long)head_dim));
out:
    return rc;
}

static int32_t has_original(dk_rope_kind kind)
{
    return kind == DK_ROPE_LLAMA3 || kind == DK_ROPE_YARN || kind == DK_ROPE_LONG;
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

static void note_replaced(const rope_source *in, dk_strbuf *notes)
{
    char theta[32];
    const dk_node *parameters = dk_node_get(in->root, "rope_parameters"), *own = dk_node_get(in->map, "rope_theta");
    const dk_node *outer = dk_node_get(in->root, in->theta_key);
    const char *name = dk_document_name(in->doc);
    dk_format_f64(in->rope->theta, theta);
    if (in->map && in->map != parameters && parameters && parameters->type == DK_NODE_MAP &&
        !(in->row->has & DK_HAS_LOCAL_ROPE) && !same_map(in->map, parameters))
        dk_note(notes, "%s: rope_scaling replaces rope_parameters, as in transformers 5; rope_theta is %s", name,
                theta);
    const dk_node *length = dk_node_get(in->root, "original_max_position_embeddings");
    const dk_node *inner = dk_node_get(in->map, "original_max_position_embeddings");
    if (length && length->type == DK_NODE_INT && !inner && !(in->row->has & DK_HAS_LENGTH_BESIDE) &&
        has_original(in->rope->kind))
        dk_note(notes, "%s: original_max_position_embeddings is used; transformers 5 looks for it inside %s only", name,
                in->key);
    int64_t original = in->rope->original_positions;
    int32_t beside = (in->row->has & DK_HAS_LENGTH_BESIDE) != 0;
    const dk_node *other = beside ? inner : length;
    if (has_original(in->rope->kind) && inner && other && other->type == DK_NODE_INT && other->i64 != original)
        dk_note(notes, "%s: original_max_position_embeddings %lld %s %s is used, not the other one %s", name,
                (long long)original, beside ? "beside" : "of", in->key, beside ? "in it" : "outside");
    if (own && outer && outer->type != DK_NODE_NULL && own->f64 != outer->f64)
        dk_note(notes, "%s: rope_theta %s of %s is used, not the other one outside", name, theta, in->key);
}

static int32_t is_read(const rope_source *in, dk_rope_kind kind, const char *key)
{
    enum { LINEAR = 1, LLAMA3 = 2, YARN = 4, LONG = 8, DYNAMIC = 16, SCALED = 31, QUERIES = 32, EVERY = 64 };
    static const struct {
        const char *key;
        int32_t by;
    } keys[] = {{"rope_type", EVERY},
                {"type", EVERY},
                {"rope_theta", EVERY},
                {"partial_rotary_factor", EVERY},
                {"factor", SCALED},
                {"original_max_position_embeddings", LLAMA3 | YARN | LONG | QUERIES},
                {"low_freq_factor", LLAMA3},
                {"high_freq_factor", LLAMA3},
                {"beta_fast", YARN},
                {"beta_slow", YARN},
                {"attention_factor", YARN | LONG},
                {"mscale", YARN},
                {"mscale_all_dim", YARN},
                {"truncate", YARN},
                {"short_factor", LONG},
                {"long_factor", LONG},
                {"llama_4_scaling_beta", QUERIES},
                {"max_position_embeddings", QUERIES}};
    int32_t who = EVERY;
    who |= kind == DK_ROPE_LINEAR    ? LINEAR
           : kind == DK_ROPE_DYNAMIC ? DYNAMIC
           : kind == DK_ROPE_LLAMA3  ? LLAMA3
           : kind == DK_ROPE_YARN    ? YARN
           : kind == DK_ROPE_LONG    ? LONG
                                     : 0;
    if (in->row->has & DK_HAS_QUERY_SCALE) who |= QUERIES;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i].key, key)) return (keys[i].by & who) != 0;
    return 0;
}

/* A key that other families read, where this one has its own name for the fact. */
static void note_unread(const rope_source *in, const char *key, const char *own, double value, dk_strbuf *notes)
{
    char text[32];
    const dk_node *node = dk_node_get(in->root, key);
    if (!strcmp(key, own) || !node || (node->type != DK_NODE_INT && node->type != DK_NODE_FLOAT)) return;
    if ((node->type == DK_NODE_INT ? (double)node->i64 : node->f64) == value) return;
    dk_format_f64(value, text);
    dk_note(notes, "%s: %s is not used, a %s model has %s, which is %s", dk_document_name(in->doc), key, in->row->name,
            own, text);
}

static void note_rope(const rope_source *in, dk_strbuf *notes)
{
    const char *name = dk_document_name(in->doc);
    const dk_node *kind = dk_node_get(in->map, "rope_type"), *old = dk_node_get(in->map, "type");
    note_replaced(in, notes);
    if (kind && old && kind->type == DK_NODE_TEXT && old->type == DK_NODE_TEXT && strcmp(kind->text, old->text) != 0)
        dk_note(notes, "%s: %s has rope_type '%.40s' and type '%.40s'; rope_type is used", name, in->key, kind->text,
                old->text);
    for (size_t i = 0; in->map && i < in->map->size; i++) {
        const dk_node *item = in->map->items[i];
        if (item->type != DK_NODE_NULL && !is_read(in, in->rope->kind, item->key))
            dk_note(notes, "%s: %s.%.60s is not used with this rope_type", name, in->key, item->key);
    }
}

static int32_t read_scaling(const rope_source *in, const dk_config *config, dk_error *err)
{
    dk_rope_config *rope = in->rope;
    int32_t rc = DK_OK, queries = (in->row->has & DK_HAS_QUERY_SCALE) != 0;
    rope->original_positions = config->max_positions;
    if (has_original(rope->kind) || queries) DK_TRY(read_original(in, config, &rope->original_positions, err));
    double ratio = (double)config->max_positions / (double)rope->original_positions;
    if (rope->kind != DK_ROPE_YARN && rope->kind != DK_ROPE_LONG) ratio = NAN;
    if (rope->kind != DK_ROPE_PLAIN) DK_TRY(read_number(in, "factor", ratio, 1e-9, &rope->factor, err));
    if (rope->kind == DK_ROPE_LLAMA3) DK_TRY(read_llama3(in, rope, err));
    if (rope->kind == DK_ROPE_YARN) DK_TRY(read_yarn(in, rope, err));
    if (rope->kind == DK_ROPE_LONG) DK_TRY(read_long(in, rope, err));
    if (queries) DK_TRY(read_number(in, "llama_4_scaling_beta", 0, 0, &rope->query_scale, err));
out:
    return rc;
}

static int32_t read_set(const rope_source *in, double theta, dk_config *config, dk_error *err)
{
    int32_t rc;
    dk_rope_config *rope = in->rope;
    DK_TRY(read_dims(in, config->head_dim, &rope->dims, err));
    DK_TRY(read_kind(in, &rope->kind, err));
    DK_TRY(dk_node_f64(in->doc, in->root, in->theta_key, theta, &theta, err));
    DK_TRY(read_number(in, "rope_theta", theta, 1e-9, &rope->theta, err));
    rope->factor = 1;
    rope->truncate = 1;
    DK_TRY(read_scaling(in, config, err));
    note_rope(in, &config->notes);
    if (rope == &config->rope) {
        note_unread(in, "rope_theta", in->theta_key, rope->theta, &config->notes);
        note_unread(in, "partial_rotary_factor", in->row->keys->partial, part_of(in), &config->notes);
    }
out:
    return rc;
}

/* Layers that slide have a set of their own. */
static int32_t read_local(const rope_source *full, dk_config *config, dk_error *err)
{
    rope_source in = *full;
    const dk_node *map = dk_node_get(dk_node_get(in.root, "rope_parameters"), "sliding_attention");
    in.map = map && map->type == DK_NODE_MAP ? map : NULL;
    in.key = "rope_parameters.sliding_attention";
    in.theta_key = "rope_local_base_freq";
    in.rope = &config->local_rope;
    int32_t rc = read_set(&in, 10000, config, err);
    if (rc || in.rope->kind == DK_ROPE_PLAIN || in.rope->kind == DK_ROPE_LINEAR) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: %s scales positions; default and linear are supported there",
                   dk_document_name(in.doc), in.key);
}

int32_t dk_config_read_rope(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                            dk_error *err)
{
    int32_t rc;
    dk_document *usual = NULL;
    rope_source in = {.host = host,
                      .doc = doc,
                      .row = row,
                      .root = dk_document_root(doc),
                      .theta_key = row->keys->theta,
                      .rope = &config->rope};
    DK_TRY(find_rope(&in, err));
    if (!in.map && row->rope) {
        DK_TRY(dk_json_parse(host, row->rope, strlen(row->rope), dk_document_name(doc), &usual, err));
        in.map = dk_document_root(usual);
    }
    DK_TRY(read_set(&in, row->theta != 0 ? row->theta : 10000, config, err));
    if (row->has & DK_HAS_LOCAL_ROPE) DK_TRY(read_local(&in, config, err));
out:
    dk_document_free(usual);
    return rc;
}
