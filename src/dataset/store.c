#include "dataset/store.h"

#include <stdio.h>
#include <string.h>

int32_t di_store_create(dk_host *host, const char *name, dk_tokenizer *tokenizer, di_store **out, dk_error *err)
{
    di_store *store;
    int32_t rc = dk_new(host, 1, &store, err);
    if (rc) return rc;
    atomic_init(&store->references, 1);
    for (int i = 0; i < 4; i++) di_spool_init(&store->spools[i], host, 0);
    store->name = dk_strdup(host, name);
    if (!store->name) {
        dk_free(host, store);
        return dk_fail_nomem(err, strlen(name));
    }
    store->host = dk_host_retain(host);
    store->largest = -1;
    if (tokenizer) {
        store->decoder = dk_tokenizer_retain(tokenizer);
        dk_tokenizer_hash(tokenizer, store->tokenizer);
    }
    *out = store;
    return DK_OK;
}

di_store *di_store_retain(di_store *store)
{
    atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
    return store;
}

void di_store_release(di_store *store)
{
    if (!store || atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = store->host;
    for (int i = 0; i < 4; i++) di_spool_free(&store->spools[i]);
    dk_map_close(&store->map);
    dk_tokenizer_release(store->decoder);
    if (store->callbacks.destroy) store->callbacks.destroy(store->callbacks.user);
    dk_free(host, store->name);
    dk_free(host, store->chat_template);
    dk_free(host, store->own_tags.items);
    dk_free(host, store);
    dk_host_release(host);
}

int32_t di_store_side(const di_store *store, int64_t document)
{
    const di_document *d = &store->documents[document];
    if (di_document_flags(d) != DI_DOCUMENT_PAIR) return 0;
    if (!document || di_document_flags(d - 1) != DI_DOCUMENT_PAIR) return DISTILL_CHOSEN;
    return di_document_number(d - 1) == di_document_number(d) ? DISTILL_REJECTED : DISTILL_CHOSEN;
}

void di_store_place(const di_store *store, int64_t document, char *out, size_t size)
{
    long long number = (long long)di_document_number(&store->documents[document]);
    snprintf(out, size, store->lines ? "%s:%lld" : "%s, sample %lld", store->name, number);
}

static int32_t bits_of(uint32_t value)
{
    int32_t count = 0;
    for (; value; value &= value - 1) count++;
    return count;
}

int64_t di_tokens_count_learnt(const di_tokens *tokens, int64_t first, int64_t count)
{
    int64_t learnt = 0, end = first + count;
    if (!tokens->learn) return count;
    for (; first < end && (first & 7); first++) learnt += di_tokens_learnt(tokens, first);
    for (; first + 8 <= end; first += 8) learnt += bits_of(tokens->learn[first >> 3]);
    for (; first < end; first++) learnt += di_tokens_learnt(tokens, first);
    return learnt;
}

/* ---- builder ---- */

enum { IDS, DOCUMENTS, LEARN, WEIGHTS };

int32_t di_builder_init(di_builder *builder, dk_host *host, const char *name, dk_tokenizer *tokenizer,
                        uint64_t memory_limit, dk_error *err)
{
    memset(builder, 0, sizeof *builder);
    int32_t rc = di_store_create(host, name, tokenizer, &builder->store, err);
    if (rc) return rc;
    for (int i = 0; i < 4; i++) builder->store->spools[i].limit = memory_limit;
    builder->limit_id = tokenizer ? dk_tokenizer_vocab_size(tokenizer) : INT32_MAX;
    builder->store->tokens.id_size = builder->limit_id <= 65536 ? 2 : 4;
    dk_sha256_begin(&builder->ids);
    dk_sha256_begin(&builder->rest);
    return DK_OK;
}

static int32_t add_ids(di_builder *builder, const int32_t *ids, int64_t count, dk_error *err)
{
    di_store *store = builder->store;
    di_spool *spool = &store->spools[IDS];
    uint16_t small[512];
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= builder->limit_id)
            return dk_fail(err, DK_E_INVALID, "token %lld of a sample is id %d, outside the vocabulary of %lld",
                           (long long)i, (int)ids[i], (long long)builder->limit_id);
        if (ids[i] > store->largest) store->largest = ids[i];
    }
    dk_sha256_add(&builder->ids, ids, (size_t)count * sizeof *ids);
    if (store->tokens.id_size == 4) return di_spool_append(spool, ids, (uint64_t)count * sizeof *ids, err);
    for (int64_t i = 0, part; i < count; i += part) {
        part = count - i < 512 ? count - i : 512;
        for (int64_t j = 0; j < part; j++) small[j] = (uint16_t)ids[i + j];
        DK_TRY(di_spool_append(spool, small, (uint64_t)part * sizeof *small, err));
    }
out:
    return rc;
}

/* The first mask of all: everything before it is learnt. */
static int32_t begin_mask(di_builder *builder, dk_error *err)
{
    builder->masked = 1;
    builder->bits = (uint8_t)((1u << (builder->tokens & 7)) - 1);
    return di_spool_fill(&builder->store->spools[LEARN], 0xff, builder->tokens / 8, err);
}

static int32_t add_learn(di_builder *builder, const uint8_t *learn, int64_t count, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!learn && !builder->masked) return DK_OK;
    if (!builder->masked) DK_TRY(begin_mask(builder, err));
    if (learn) dk_sha256_add(&builder->rest, learn, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        unsigned place = (unsigned)((builder->tokens + (uint64_t)i) & 7);
        if (!learn || learn[i]) builder->bits |= (uint8_t)(1u << place);
        if (place < 7) continue;
        DK_TRY(di_spool_append(&builder->store->spools[LEARN], &builder->bits, 1, err));
        builder->bits = 0;
    }
out:
    return rc;
}

static int32_t add_weights(di_builder *builder, const float *weights, int64_t count, dk_error *err)
{
    di_spool *spool = &builder->store->spools[WEIGHTS];
    const float one = 1.0f;
    int32_t rc = DK_OK;
    if (!weights && !builder->weighted) return DK_OK;
    if (!builder->weighted) {
        builder->weighted = 1;
        for (uint64_t i = 0; i < builder->tokens; i++) DK_TRY(di_spool_append(spool, &one, sizeof one, err));
    }
    if (weights) {
        dk_sha256_add(&builder->rest, weights, (size_t)count * sizeof *weights);
        return di_spool_append(spool, weights, (uint64_t)count * sizeof *weights, err);
    }
    for (int64_t i = 0; i < count; i++) DK_TRY(di_spool_append(spool, &one, sizeof one, err));
out:
    return rc;
}

int32_t di_builder_add(di_builder *builder, const int32_t *ids, const uint8_t *learn, const float *weights,
                       int64_t count, dk_error *err)
{
    int32_t rc;
    DK_TRY(add_ids(builder, ids, count, err));
    DK_TRY(add_learn(builder, learn, count, err));
    DK_TRY(add_weights(builder, weights, count, err));
    builder->tokens += (uint64_t)count;
out:
    return rc;
}

int32_t di_builder_end(di_builder *builder, int64_t number, uint32_t flags, const di_tag *tag, dk_error *err)
{
    di_document document = {builder->tokens, (uint64_t)number << 18 >> 16 | flags};
    int64_t known = 0;
    if (builder->tokens == builder->begin) {
        builder->store->empty++;
        return DK_OK;
    }
    if (tag) {
        int32_t rc = di_tags_add(&builder->store->own_tags, builder->store->host, tag, &known, err);
        if (rc != DK_OK) return rc;
    }
    document.origin |= (uint64_t)known << 48;
    builder->begin = builder->tokens;
    builder->documents++;
    dk_sha256_add(&builder->rest, &document, sizeof document);
    return di_spool_append(&builder->store->spools[DOCUMENTS], &document, sizeof document, err);
}

static void finish_hash(di_builder *builder)
{
    const di_tags *tags = &builder->store->own_tags;
    uint8_t digests[64];
    dk_sha256 both;
    if (tags->count) dk_sha256_add(&builder->rest, tags->items, (size_t)tags->count * sizeof *tags->items);
    dk_sha256_end(&builder->ids, digests);
    dk_sha256_end(&builder->rest, digests + 32);
    dk_sha256_begin(&both);
    dk_sha256_add(&both, digests, sizeof digests);
    dk_sha256_end(&both, builder->store->content);
}

int32_t di_builder_finish(di_builder *builder, di_store **out, dk_error *err)
{
    di_store *store = builder->store;
    const uint8_t *data[4];
    int32_t rc = DK_OK;
    if (builder->masked && (builder->tokens & 7))
        DK_TRY(di_spool_append(&store->spools[LEARN], &builder->bits, 1, err));
    for (int i = 0; i < 4; i++) DK_TRY(di_spool_finish(&store->spools[i], &data[i], err));
    finish_hash(builder);
    store->tokens.ids = data[IDS];
    store->tokens.learn = builder->masked ? data[LEARN] : NULL;
    store->tokens.weights = builder->weighted ? (const float *)(const void *)data[WEIGHTS] : NULL;
    store->documents = (const di_document *)(const void *)data[DOCUMENTS];
    store->token_count = (int64_t)builder->tokens;
    store->document_count = builder->documents;
    store->tags = store->own_tags.items;
    store->tag_count = store->own_tags.count;
    builder->store = NULL;
    *out = store;
    return DK_OK;
out:
    di_builder_free(builder);
    return rc;
}

void di_builder_free(di_builder *builder)
{
    di_store_release(builder->store);
    builder->store = NULL;
}
