/* Which layers of a config.json slide, and which rotate. */
#include "model/architecture.h"

#include "base/notes.h"

#include <string.h>

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
        if ((row->window == DK_WINDOW_ALL || row->window == DK_WINDOW_SWITCHED) && window && !slides)
            return dk_fail(err, DK_E_MISMATCH,
                           "%s: layer_types[%lld] is full_attention, but every layer of a %s model has the window of "
                           "sliding_window; set that to null or take layer_types out",
                           name, (long long)i, row->name);
        config->window[i] = slides ? window : 0;
    }
    return DK_OK;
}

/* Every n-th layer is full. */
static int32_t apply_pattern(const dk_document *doc, const dk_architecture *row, int64_t window, dk_config *config,
                             dk_error *err)
{
    int64_t pattern = row->pattern;
    int32_t rc = DK_OK;
    if (row->has & DK_HAS_PATTERN)
        rc = dk_node_i64(doc, dk_document_root(doc), "sliding_window_pattern", 1, INT32_MAX, pattern, &pattern, err);
    if (!rc && !window)
        rc = dk_fail(err, DK_E_MISMATCH,
                     "%s: all but every %lld-th layer slide, but sliding_window is null; say so in "
                     "layer_types, or give it",
                     dk_document_name(doc), (long long)pattern);
    for (int64_t i = 0; !rc && i < config->layers; i++) config->window[i] = (i + 1) % pattern ? window : 0;
    return rc;
}

/* The window that the keys give, 0 = none. An explicit null turns it off, an absent key means the class's default. */
static int32_t read_window(const dk_document *doc, const dk_architecture *row, int64_t *out, dk_error *err)
{
    int32_t used = row->window == DK_WINDOW_ALL || row->window == DK_WINDOW_PATTERN, rc = DK_OK;
    const dk_node *root = dk_document_root(doc), *node = dk_node_get(root, "sliding_window");
    *out = 0;
    if (!used) DK_TRY(dk_node_bool(doc, root, "use_sliding_window", 0, &used, err));
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

/* smollm3 names the layers that rotate, or every how many one does not. */
static int32_t read_unrotated(const dk_document *doc, dk_config *config, dk_error *err)
{
    int32_t rc;
    int64_t interval = 4;
    const dk_node *root = dk_document_root(doc), *list = dk_node_get(root, "no_rope_layers");
    DK_TRY(dk_node_i64(doc, root, "no_rope_layer_interval", 1, INT32_MAX, 4, &interval, err));
    if (list && list->type == DK_NODE_NULL) list = NULL;
    if (list && (list->type != DK_NODE_LIST || (int64_t)list->size < config->layers))
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: no_rope_layers is not a list of %lld layers", dk_document_name(doc),
                       (long long)config->layers));
    for (int64_t i = 0; i < config->layers; i++) {
        const dk_node *item = list ? list->items[i] : NULL;
        if (item && (item->type != DK_NODE_INT || item->i64 < 0 || item->i64 > 1))
            DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: no_rope_layers[%lld] is neither 0 nor 1", dk_document_name(doc),
                           (long long)i));
        config->layer_rope[i] = (uint8_t)(item ? item->i64 : (i + 1) % interval != 0);
    }
out:
    return rc;
}

static void choose_rope(const dk_architecture *row, dk_config *config)
{
    for (int64_t i = 0; i < config->layers; i++)
        if (row->has & DK_HAS_LOCAL_ROPE && config->window[i]) config->layer_rope[i] = 2;
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
    if (row->has & DK_HAS_UNROTATED) DK_TRY(read_unrotated(doc, config, err));
    if (row->window != DK_WINDOW_NEVER) DK_TRY(read_window(doc, row, &window, err));
    if (types && types->type != DK_NODE_NULL) {
        DK_TRY(apply_layer_types(doc, row, types, window, config, err));
        note_windows(doc, config, window);
        choose_rope(row, config);
        goto out;
    }
    if (row->window == DK_WINDOW_UPPER)
        DK_TRY(dk_node_i64(doc, root, "max_window_layers", 0, INT32_MAX, row->max_window_layers, &first, err));
    if (row->window == DK_WINDOW_PATTERN) DK_TRY(apply_pattern(doc, row, window, config, err));
    for (int64_t i = first; i < config->layers && row->window != DK_WINDOW_PATTERN; i++)
        config->window[i] = row->window == DK_WINDOW_UNROTATED && config->layer_rope[i] ? 0 : window;
    choose_rope(row, config);
out:
    return rc;
}
