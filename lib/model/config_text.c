/* config.json as text: the copy that is saved, and the one of a model with other blocks. */
#include "model/architecture.h"

#include <stdio.h>
#include <string.h>

static const dk_config_change *find_change(const dk_config_change *changes, int64_t count, const char *key)
{
    for (int64_t i = 0; i < count; i++)
        if (!strcmp(changes[i].key, key)) return &changes[i];
    return NULL;
}

static void put_key(dk_strbuf *out, const char *key, size_t size)
{
    dk_strbuf_puts(out, out->size > 1 ? ",\n  " : "\n  ");
    dk_strbuf_json(out, key, size);
    dk_strbuf_puts(out, ": ");
}

int32_t dk_config_rewrite(dk_host *host, const dk_node *root, const dk_config_change *changes, int64_t count,
                          char **out, dk_error *err)
{
    int32_t rc;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    dk_strbuf_puts(&text, "{");
    for (size_t i = 0; i < root->size; i++) {
        const dk_node *item = root->items[i];
        const dk_config_change *change = find_change(changes, count, item->key);
        if (change && !change->json) continue;
        put_key(&text, item->key, item->key_size);
        if (change) dk_strbuf_puts(&text, change->json);
        else dk_node_write_json(item, &text);
    }
    for (int64_t i = 0; i < count; i++) {
        if (!changes[i].append || !changes[i].json || dk_node_get(root, changes[i].key)) continue;
        put_key(&text, changes[i].key, strlen(changes[i].key));
        dk_strbuf_puts(&text, changes[i].json);
    }
    dk_strbuf_puts(&text, "\n}\n");
    DK_TRY(dk_strbuf_check(&text, err));
    *out = dk_strdup(host, text.data);
    if (!*out) rc = dk_fail_nomem(err, text.size + 1);
out:
    dk_strbuf_free(&text);
    return rc;
}

/* Windows of the kept blocks: full ones followed by sliding ones can be said by max_window_layers. */
static int64_t full_before_sliding(const dk_config *config, const int64_t *layers, int64_t count)
{
    int64_t full = 0;
    while (full < count && !config->window[layers[full]]) full++;
    for (int64_t i = full; i < count; i++)
        if (!config->window[layers[i]]) return -1;
    return full;
}

static void put_layer_types(const dk_config *config, const int64_t *layers, int64_t count, dk_strbuf *out)
{
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0; i < count; i++)
        dk_strbuf_printf(out, "%s\"%s_attention\"", i ? ", " : "", config->window[layers[i]] ? "sliding" : "full");
    dk_strbuf_puts(out, "]");
}

int32_t dk_config_derive_text(dk_host *host, const dk_config *config, const int64_t *layers, int64_t count, char **out,
                              dk_error *err)
{
    int32_t rc;
    char number[32], upper[32];
    dk_document *doc = NULL;
    dk_strbuf types;
    const dk_architecture *row = dk_architecture_find(config->architecture);
    int64_t full = full_before_sliding(config, layers, count), made = 0;
    dk_config_change changes[4];
    dk_strbuf_init(&types, host);
    DK_TRY(dk_json_parse(host, config->json, strlen(config->json), "config.json", &doc, err));
    snprintf(number, sizeof number, "%lld", (long long)count);
    snprintf(upper, sizeof upper, "%lld", (long long)full);
    put_layer_types(config, layers, count, &types);
    DK_TRY(dk_strbuf_check(&types, err));
    const char *alias = row->keys->layers[1];
    int32_t by_alias = alias && dk_node_get(dk_document_root(doc), alias) ? 1 : 0;
    changes[made++] = (dk_config_change){row->keys->layers[0], number, !by_alias};
    if (alias) changes[made++] = (dk_config_change){alias, number, 0};
    changes[made++] = (dk_config_change){"layer_types", types.data, full < 0};
    if (row->window == DK_WINDOW_UPPER && full >= 0 && full < count)
        changes[made++] = (dk_config_change){"max_window_layers", upper, 1};
    DK_TRY(dk_config_rewrite(host, dk_document_root(doc), changes, made, out, err));
out:
    dk_strbuf_free(&types);
    dk_document_free(doc);
    return rc;
}
