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

/* 1 = with rotary positions, as no_rope_layers has it. */
static void put_rotated(const dk_config *config, const int64_t *layers, int64_t count, dk_strbuf *out)
{
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0; i < count; i++)
        dk_strbuf_printf(out, "%s%d", i ? ", " : "", config->layer_rope[layers[i]] != 0);
    dk_strbuf_puts(out, "]");
}

/* Changes as they are collected, with the numbers in them. */
typedef struct change_list {
    const dk_node *root;
    dk_config_change changes[16];
    char numbers[16][24];
    int64_t count;
} change_list;

static void add_change(change_list *list, const char *key, const char *json, int32_t append)
{
    list->changes[list->count++] = (dk_config_change){key, json, append};
}

/* A size under its first name, or under its alias where the file has that. */
static void add_size(change_list *list, const char *const names[2], int64_t size)
{
    char *number = list->numbers[list->count];
    snprintf(number, sizeof list->numbers[0], "%lld", (long long)size);
    const int32_t by_alias = names[1] && dk_node_get(list->root, names[1]);
    add_change(list, names[0], number, !by_alias);
    if (names[1]) add_change(list, names[1], number, 0);
}

/* What one size gives unsaid is said where another one is changed. */
static void add_widths(change_list *list, const dk_architecture *row, const dk_config *c, const dk_keep *keep)
{
    static const char *const kv_heads[2] = {"num_key_value_heads"}, *const head_dim[2] = {"head_dim"},
                             *const vocab_size[2] = {"vocab_size"};
    if (keep->ids) add_size(list, vocab_size, keep->vocab_size);
    if (keep->hidden) add_size(list, row->keys->hidden, keep->hidden_size);
    if (keep->groups) add_size(list, row->keys->heads, c->heads / c->kv_heads * keep->kv_heads);
    if (keep->hidden || keep->inner)
        add_size(list, row->keys->inner, keep->inner ? keep->intermediate_size : c->intermediate_size);
    if (row->heads_alone) return; /* a head's size is never said there, nor has it keys and values of its own */
    if (keep->groups) add_size(list, kv_heads, keep->kv_heads);
    if (!row->heads_share && (keep->groups || keep->hidden)) add_size(list, head_dim, c->head_dim);
}

static void add_layers(change_list *list, const dk_architecture *row, const dk_config *c, const dk_keep *keep,
                       const char *types, const char *unrotated)
{
    static const char *const upper[2] = {"max_window_layers"};
    const int64_t full = full_before_sliding(c, keep->layers, keep->layer_count);
    add_size(list, row->keys->layers, keep->layer_count);
    const int32_t by_number = row->window == DK_WINDOW_PATTERN || row->window == DK_WINDOW_UNROTATED;
    add_change(list, "layer_types", types, full < 0 || by_number);
    if (row->has & DK_HAS_UNROTATED) add_change(list, "no_rope_layers", unrotated, 1);
    if (row->window == DK_WINDOW_UPPER && full >= 0 && full < keep->layer_count) add_size(list, upper, full);
}

/* ---- ids ---- */
int64_t dk_keep_number(const dk_keep *keep, int64_t id)
{
    int64_t low = 0, high = keep->vocab_size;
    if (!keep->ids) return id;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (keep->ids[middle] < id) low = middle + 1;
        else high = middle;
    }
    return low < keep->vocab_size && keep->ids[low] == id ? low : -1;
}

static int32_t is_id_key(const dk_node *item)
{
    static const char end[] = "_token_id";
    const size_t size = sizeof end - 1;
    return item->key_size > size && !strcmp(item->key + item->key_size - size, end);
}

/* One id, or a list of them; what is no id stays. */
static int32_t put_ids(const dk_keep *keep, const dk_node *item, const char *name, dk_strbuf *out, dk_error *err)
{
    const int32_t is_list = item->type == DK_NODE_LIST;
    const dk_node *const *items = is_list ? item->items : &item;
    dk_strbuf_puts(out, is_list ? "[" : "");
    for (size_t i = 0; i < (is_list ? item->size : 1); i++) {
        const int32_t is_id = items[i]->type == DK_NODE_INT && items[i]->i64 >= 0;
        const int64_t id = is_id ? dk_keep_number(keep, items[i]->i64) : 0;
        if (id < 0)
            return dk_fail(err, DK_E_INVALID, "%s: %s %lld is not among the ids that are kept", name, item->key,
                           (long long)items[i]->i64);
        if (i) dk_strbuf_puts(out, ",");
        if (is_id) dk_strbuf_printf(out, "%lld", (long long)id);
        else dk_node_write_json(items[i], out);
    }
    dk_strbuf_puts(out, is_list ? "]" : "");
    return dk_strbuf_check(out, err);
}

int32_t dk_config_renumber(dk_host *host, const char *text, const char *name, const dk_keep *keep, char **out,
                           dk_error *err)
{
    dk_document *doc = NULL;
    dk_strbuf made;
    int32_t rc;
    dk_strbuf_init(&made, host);
    if (!keep->ids) {
        *out = dk_strdup(host, text);
        return *out ? DK_OK : dk_fail_nomem(err, strlen(text) + 1);
    }
    DK_TRY(dk_json_parse(host, text, strlen(text), name, &doc, err));
    const dk_node *root = dk_document_root(doc);
    dk_strbuf_puts(&made, "{");
    for (size_t i = 0; i < root->size; i++) {
        put_key(&made, root->items[i]->key, root->items[i]->key_size);
        if (is_id_key(root->items[i])) DK_TRY(put_ids(keep, root->items[i], name, &made, err));
        else dk_node_write_json(root->items[i], &made);
    }
    dk_strbuf_puts(&made, "\n}\n");
    DK_TRY(dk_strbuf_check(&made, err));
    *out = dk_strdup(host, made.data);
    if (!*out) rc = dk_fail_nomem(err, made.size + 1);
out:
    dk_document_free(doc);
    dk_strbuf_free(&made);
    return rc;
}

/* Ids that a file leaves to its class are others once ids have other numbers. */
static void add_ends(change_list *list, const dk_config *c, const dk_keep *keep)
{
    static const char *const keys[3][2] = {{"bos_token_id"}, {"eos_token_id"}, {"pad_token_id"}};
    const int64_t ids[3] = {c->bos, c->eos, c->pad};
    for (int32_t i = 0; keep->ids && i < 3; i++) {
        const int64_t number = ids[i] >= 0 ? dk_keep_number(keep, ids[i]) : -1;
        if (dk_node_get(list->root, keys[i][0])) continue;
        if (number >= 0) add_size(list, keys[i], number);
        else add_change(list, keys[i][0], "null", 1);
    }
}

int32_t dk_config_derive_text(dk_host *host, const dk_config *config, const dk_keep *keep, char **out, dk_error *err)
{
    int32_t rc;
    dk_document *doc = NULL;
    dk_strbuf types, rotated;
    char *renumbered = NULL;
    const dk_architecture *row = dk_architecture_find(config->architecture);
    change_list list = {.count = 0};
    dk_strbuf_init(&types, host);
    dk_strbuf_init(&rotated, host);
    DK_TRY(dk_config_renumber(host, config->json, "config.json", keep, &renumbered, err));
    DK_TRY(dk_json_parse(host, renumbered, strlen(renumbered), "config.json", &doc, err));
    list.root = dk_document_root(doc);
    put_layer_types(config, keep->layers, keep->layer_count, &types);
    DK_TRY(dk_strbuf_check(&types, err));
    put_rotated(config, keep->layers, keep->layer_count, &rotated);
    DK_TRY(dk_strbuf_check(&rotated, err));
    add_layers(&list, row, config, keep, types.data, rotated.data);
    add_widths(&list, row, config, keep);
    add_ends(&list, config, keep);
    DK_TRY(dk_config_rewrite(host, list.root, list.changes, list.count, out, err));
out:
    dk_strbuf_free(&types);
    dk_strbuf_free(&rotated);
    dk_document_free(doc);
    dk_free(host, renumbered);
    return rc;
}
