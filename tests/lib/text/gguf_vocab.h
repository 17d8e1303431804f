/* gguf_vocab.h - just enough of GGUF to fill a dk_vocabulary from a vocabulary file: lib/text stands below the real
 * reader. */
#ifndef TESTS_GGUF_VOCAB_H
#define TESTS_GGUF_VOCAB_H

#include "base/file.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

typedef struct gguf_vocab {
    dk_mapping map;
    const uint8_t *at;
    dk_slice *tokens, *merges;
    float *scores;
    int32_t *types;
    char model[32], pre[32];
    dk_vocabulary vocabulary;
} gguf_vocab;

static uint64_t gguf_number(gguf_vocab *g, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, g->at, size);
    g->at += size;
    return value;
}

static dk_slice gguf_text(gguf_vocab *g)
{
    size_t size = (size_t)gguf_number(g, 8);
    dk_slice text = {(const char *)g->at, size};
    g->at += size;
    return text;
}

static uint64_t gguf_value(gguf_vocab *g, uint32_t type)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) return gguf_text(g).size;
    return gguf_number(g, sizes[type]);
}

static void gguf_list(gguf_vocab *g, dk_host *host, dk_slice key)
{
    uint32_t type = (uint32_t)gguf_number(g, 4);
    uint64_t count = gguf_number(g, 8);
    int32_t is_tokens = !strncmp(key.data, "tokenizer.ggml.tokens", key.size),
            is_merges = !strncmp(key.data, "tokenizer.ggml.merges", key.size);
    dk_slice *texts = type == 8 ? dk_alloc(host, count + 1, sizeof *texts) : NULL;
    for (uint64_t i = 0; i < count && type == 8; i++) texts[i] = gguf_text(g);
    if (is_tokens) g->vocabulary.tokens = g->tokens = texts, g->vocabulary.count = (int64_t)count;
    else if (is_merges) g->vocabulary.merges = g->merges = texts, g->vocabulary.merge_count = (int64_t)count;
    else dk_free(host, texts);
    if (type == 8) return;
    void *numbers = dk_alloc(host, count + 1, 8);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = gguf_value(g, type);
        memcpy((char *)numbers + 4 * i, &value, 4);
    }
    if (!strncmp(key.data, "tokenizer.ggml.scores", key.size)) g->vocabulary.scores = g->scores = numbers;
    else if (!strncmp(key.data, "tokenizer.ggml.token_type", key.size)) g->vocabulary.types = g->types = numbers;
    else dk_free(host, numbers);
}

static void gguf_scalar(gguf_vocab *g, dk_slice key, uint32_t type)
{
    static const char *const names[] = {"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"};
    int64_t *const ids[] = {&g->vocabulary.bos, &g->vocabulary.eos, &g->vocabulary.unk, &g->vocabulary.pad};
    char *const texts[] = {g->model, g->pre};
    if (type == 8) {
        dk_slice value = gguf_text(g);
        for (int i = 0; i < 2; i++)
            if (!strncmp(key.data, i ? "tokenizer.ggml.pre" : "tokenizer.ggml.model", key.size))
                snprintf(texts[i], sizeof g->model, "%.*s", (int)value.size, value.data);
        return;
    }
    uint64_t value = gguf_value(g, type);
    if (key.size < 15) return;
    for (int i = 0; i < 4; i++)
        if (key.size == 15 + strlen(names[i]) && !memcmp(key.data + 15, names[i], key.size - 15))
            *ids[i] = (int64_t)(uint32_t)value;
    if (!strncmp(key.data + 15, "add_bos_token", key.size - 15)) g->vocabulary.add_bos = (int32_t)value;
    if (!strncmp(key.data + 15, "add_eos_token", key.size - 15)) g->vocabulary.add_eos = (int32_t)value;
    if (!strncmp(key.data + 15, "add_space_prefix", key.size - 15)) g->vocabulary.add_space_prefix = (int32_t)value;
}

/* Trusts the file: for the assets, not for strangers' files. */
static int32_t gguf_open(dk_host *host, const char *path, gguf_vocab *g, dk_error *err)
{
    memset(g, 0, sizeof *g);
    dk_vocabulary_init(&g->vocabulary);
    int32_t rc = dk_map_open(host, path, 0, &g->map, err);
    if (rc) return rc;
    g->at = g->map.data + 16;
    uint64_t count = gguf_number(g, 8);
    for (uint64_t i = 0; i < count; i++) {
        dk_slice key = gguf_text(g);
        uint32_t type = (uint32_t)gguf_number(g, 4);
        if (type == 9) gguf_list(g, host, key);
        else gguf_scalar(g, key, type);
    }
    g->vocabulary.model = g->model;
    g->vocabulary.pre = g->pre[0] ? g->pre : NULL;
    return DK_OK;
}

static void gguf_close(dk_host *host, gguf_vocab *g)
{
    dk_free(host, g->tokens);
    dk_free(host, g->merges);
    dk_free(host, g->scores);
    dk_free(host, g->types);
    dk_map_close(&g->map);
}

#endif
