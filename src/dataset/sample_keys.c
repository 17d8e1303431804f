/* sample_keys.c - the keys of a sample or message: which are used, refused, harmless or counted. */
#include <string.h>

#include "dataset/sample.h"

/* Where a sample came from; it means the same without. */
static const char *const harmless[] = {"id",         "_id",      "idx",         "index",
                                       "uuid",       "uid",      "hash",        "key",
                                       "source",     "sources",  "dataset",     "subset",
                                       "split",      "origin",   "url",         "license",
                                       "provenance", "metadata", "meta",        "info",
                                       "tags",       "tag",      "topic",       "category",
                                       "type",       "lang",     "language",    "locale",
                                       "timestamp",  "date",     "created",     "created_at",
                                       "time",       "author",   "title",       "version",
                                       "model",      "score",    "quality",     "rating",
                                       "num_tokens", "length",   "token_count", "__index_level_0__",
                                       NULL};

const dk_node *di_member(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type != DK_NODE_NULL ? node : NULL;
}

static int32_t is_one_of(const char *key, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(key, *names) == 0) return 1;
    return 0;
}

/* Null, an empty list, map or text say nothing. */
static int32_t says_nothing(const dk_node *node)
{
    if (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP || node->type == DK_NODE_TEXT) return node->size == 0;
    return node->type == DK_NODE_NULL;
}

int32_t di_check_keys(const dk_node *map, const char *const *used, const di_key *refused, const char *place,
                      const char *what, di_encoded *out, dk_error *err)
{
    for (size_t i = 0; i < map->size; i++) {
        const dk_node *node = map->items[i];
        const di_key *k = refused;
        if (says_nothing(node) || is_one_of(node->key, used) || is_one_of(node->key, harmless)) continue;
        while (k->name && strcmp(k->name, node->key) != 0) k++;
        if (k->name)
            return dk_fail(err, DK_E_FORMAT, "%s: %s\"%s\" changes what is learnt and is not supported: %s", place,
                           what, k->name, k->way);
        di_note_key(node->key, node->key_size, out);
    }
    return DK_OK;
}

int32_t di_read_weight(const dk_node *node, const char *place, const char *what, double *out, dk_error *err)
{
    const int32_t is_number = node && (node->type == DK_NODE_INT || node->type == DK_NODE_FLOAT);
    char given[32] = "";
    *out = 1;
    if (!node) return DK_OK;
    if (is_number) dk_format_f64(node->f64, given);
    if (!is_number || !di_weight_fits(node->f64))
        return dk_fail(err, DK_E_FORMAT, "%s: %s\"weight\" must be a number >= 0 that a float holds%s%s", place, what,
                       is_number ? ", and is " : "", given);
    *out = node->f64;
    return DK_OK;
}
