/* tokens.h - the tables of a vocabulary: token text <-> id, and pair of ids -> merge. Private to lib/text. */
#ifndef DK_TEXT_TOKENS_H
#define DK_TEXT_TOKENS_H

#include "base/strbuf.h"

#include <string.h>

enum {
    DK_TOKEN_LIMIT = 1 << 24, /* ids are below; a hostile id must not decide how much memory is taken */
    DK_TOKEN_MODEL = 1,       /* in the model's own vocabulary */
    DK_TOKEN_ADDED = 2,
    DK_TOKEN_SPECIAL = 4,
    DK_TOKEN_HIDDEN = 8,    /* a character that only exists as part of tokens; never leaves the model */
    DK_TOKEN_RESPELLED = 16 /* an added token that normalization changes: found and decoded as what it becomes */
};

static inline uint64_t dk_mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0x9fb21c651e98df25u;
    return h ^ h >> 29;
}
static inline uint64_t dk_text_hash(const char *text, size_t size)
{
    uint64_t h = size * 0x9e3779b97f4a7c15u, block;
    for (; size >= 8; text += 8, size -= 8) {
        memcpy(&block, text, 8);
        h = dk_mix(h ^ block) * 0xff51afd7ed558ccdu;
    }
    block = 0;
    for (size_t i = 0; i < size; i++) block |= (uint64_t)(unsigned char)text[i] << 8 * i;
    return dk_mix(h ^ block);
}

typedef struct dk_token {
    uint32_t offset, size; /* in texts */
    uint8_t flags;         /* 0 = no token has this id */
} dk_token;
typedef struct dk_token_table {
    dk_host *host;
    dk_strbuf texts;
    dk_token *items; /* [capacity], by id */
    int64_t count;   /* largest id + 1 */
    int64_t capacity;
    uint32_t *slots; /* 0 = free; tokens.c */
    uint64_t slot_count, used;
} dk_token_table;
void dk_token_table_init(dk_token_table *table, dk_host *host);
void dk_token_table_free(dk_token_table *table);
int32_t dk_token_table_reserve(dk_token_table *table, int64_t tokens, dk_error *err);
/* The text must be new; so must the id. An empty text has an id but cannot be found. */
int32_t dk_token_table_add(dk_token_table *table, const char *text, size_t size, int64_t id, uint8_t flags,
                           dk_error *err);
int64_t dk_token_table_find(const dk_token_table *table, const char *text, size_t size); /* -1 = none */
int64_t dk_token_table_find_model(const dk_token_table *table, const char *text, size_t size);
static inline const dk_token *dk_token_at(const dk_token_table *table, int64_t id)
{
    return id >= 0 && id < table->count && table->items[id].flags ? &table->items[id] : NULL;
}
static inline const char *dk_token_text(const dk_token_table *table, const dk_token *token)
{
    return token->size ? table->texts.data + token->offset : "";
}

typedef struct dk_merge {
    int32_t left, right; /* left -1 = free slot */
    uint32_t rank;       /* the smallest is merged first, the leftmost of equals */
    int32_t id;
} dk_merge;
typedef struct dk_merge_table {
    dk_host *host;
    dk_merge *slots;
    uint64_t slot_count, used;
} dk_merge_table;
int32_t dk_merge_table_init(dk_merge_table *table, dk_host *host, uint64_t merges,
                            dk_error *err); /* at most that many */
void dk_merge_table_free(dk_merge_table *table);
void dk_merge_table_add(dk_merge_table *table, dk_merge merge); /* replaces an older merge of the same pair */
static inline uint64_t dk_pair_hash(int32_t left, int32_t right)
{
    return dk_mix(((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u);
}
static inline const dk_merge *dk_merge_find(const dk_merge_table *table, int32_t left, int32_t right)
{
    if (!table->slot_count) return NULL;
    for (uint64_t at = dk_pair_hash(left, right);; at++) {
        const dk_merge *merge = &table->slots[at & (table->slot_count - 1)];
        if (merge->left == left && merge->right == right) return merge;
        if (merge->left < 0) return NULL;
    }
}
static inline void dk_merge_fetch(const dk_merge_table *table, int32_t left, int32_t right)
{
    if (table->slot_count) __builtin_prefetch(&table->slots[dk_pair_hash(left, right) & (table->slot_count - 1)]);
}

#endif
