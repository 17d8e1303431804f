#include "text/added.h"

#include "text/codepoint.h"

#include <string.h>

static uint32_t find_child(const dk_trie *trie, uint32_t node, uint8_t byte)
{
    if (!node) return trie->first[byte];
    for (uint32_t child = trie->nodes[node].child; child; child = trie->nodes[child].sibling)
        if (trie->nodes[child].byte == byte) return child;
    return 0;
}

static int32_t add_child(dk_host *host, dk_trie *trie, uint32_t node, uint8_t byte, uint32_t *out, dk_error *err)
{
    if (trie->count + 2 > trie->capacity) {
        uint32_t capacity = trie->capacity ? trie->capacity * 2 : 64;
        if (capacity < trie->capacity) return dk_fail(err, DK_E_FORMAT, "added tokens take more than 4 GiB");
        dk_trie_node *nodes = dk_realloc(host, trie->nodes, capacity, sizeof *nodes);
        if (!nodes) return dk_fail_nomem(err, capacity * sizeof *nodes);
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    if (!trie->count) trie->nodes[trie->count++] = (dk_trie_node){.token = -1};
    uint32_t child = trie->count++;
    trie->nodes[child] = (dk_trie_node){.token = -1, .byte = byte};
    if (!node) {
        trie->only = trie->count == 2 ? byte : -1;
        trie->first[byte] = child;
    } else {
        trie->nodes[child].sibling = trie->nodes[node].child;
        trie->nodes[node].child = child;
    }
    *out = child;
    return DK_OK;
}

int32_t dk_trie_add(dk_host *host, dk_trie *trie, const char *text, size_t size, int32_t token, dk_error *err)
{
    uint32_t node = 0;
    if (!size) return DK_OK;
    for (size_t i = 0; i < size; i++) {
        uint32_t child = find_child(trie, node, (uint8_t)text[i]);
        if (!child) {
            int32_t rc = add_child(host, trie, node, (uint8_t)text[i], &child, err);
            if (rc) return rc;
        }
        node = child;
    }
    if (trie->nodes[node].token < 0) trie->nodes[node].token = token; /* of equal ones the first counts */
    return DK_OK;
}

void dk_trie_free(dk_host *host, dk_trie *trie)
{
    dk_free(host, trie->nodes);
    memset(trie, 0, sizeof *trie);
}

int32_t dk_trie_longest(const dk_trie *trie, const char *text, size_t size, size_t at, size_t *end)
{
    int32_t token = -1;
    for (uint32_t node = trie->first[(uint8_t)text[at]]; node;) {
        at++;
        if (trie->nodes[node].token >= 0) token = trie->nodes[node].token, *end = at;
        if (at == size) break;
        node = find_child(trie, node, (uint8_t)text[at]);
    }
    return token;
}

static int32_t is_single_word(const char *text, size_t size, size_t begin, size_t end)
{
    uint32_t c;
    if (begin && (dk_codepoint(text + dk_codepoint_before(text, begin), &c), dk_is_word(c))) return 0;
    return end == size || (dk_codepoint(text + end, &c), !dk_is_word(c));
}

static size_t spaces_before(const char *text, size_t begin, size_t limit)
{
    while (begin > limit) {
        uint32_t c;
        size_t at = dk_codepoint_before(text, begin);
        dk_codepoint(text + at, &c);
        if (!dk_is_space(c)) break;
        begin = at;
    }
    return begin < limit ? limit : begin;
}

static size_t spaces_behind(const char *text, size_t size, size_t end)
{
    while (end < size) {
        uint32_t c;
        size_t length = dk_codepoint(text + end, &c);
        if (!dk_is_space(c)) break;
        end += length;
    }
    return end;
}

dk_added_match dk_added_next(const dk_trie *trie, const dk_added_token *tokens, const char *text, size_t size,
                             size_t *at, size_t done, int32_t plain)
{
    dk_added_match match = {.begin = SIZE_MAX, .end = SIZE_MAX};
    if (!trie->count) return match;
    while (*at < size) {
        size_t end = 0, begin = *at;
        if (trie->only >= 0) {
            const char *hit = memchr(text + *at, trie->only, size - *at);
            if (!hit) break;
            begin = *at = (size_t)(hit - text);
        } else {
            while (begin < size && !trie->first[(uint8_t)text[begin]]) begin++;
            if ((*at = begin) == size) break;
        }
        int32_t found = dk_trie_longest(trie, text, size, begin, &end);
        if (found < 0) {
            ++*at;
            continue;
        }
        *at = end;
        const dk_added_token *token = &tokens[found];
        if ((plain && token->special) || (token->single_word && !is_single_word(text, size, begin, end))) continue;
        match.begin = token->lstrip ? spaces_before(text, begin, done) : begin;
        match.end = token->rstrip ? spaces_behind(text, size, end) : end;
        match.token = token;
        return match;
    }
    *at = size;
    return match;
}
