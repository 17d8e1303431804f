#include "text/pieces.h"

#include <stdlib.h>
#include <string.h>

enum {
    TRIES = 1024, /* places that are looked at before the end of the array is taken */
    LIMIT = INT32_MAX - 512
};

typedef struct range { /* of sorted items that share the bytes in front of depth */
    int64_t begin, end;
    size_t depth;
    int32_t node;
} range;
typedef struct builder {
    dk_pieces *out;
    const dk_piece_text *items;
    range *stack;
    int64_t depth, capacity, first_free;
    dk_error *err;
} builder;

static int by_text(const void *a, const void *b)
{
    const dk_slice *x = &((const dk_piece_text *)a)->text, *y = &((const dk_piece_text *)b)->text;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = size ? memcmp(x->data, y->data, size) : 0;
    return order ? order : x->size < y->size ? -1 : x->size > y->size;
}

static int32_t reserve(builder *b, int64_t units)
{
    dk_pieces *p = b->out;
    if (units > LIMIT) return dk_fail(b->err, DK_E_FORMAT, "the tokens need a trie of more than %d nodes", LIMIT);
    if (units > p->capacity) {
        int64_t capacity = p->capacity ? p->capacity : 1024;
        while (capacity < units) capacity *= 2;
        dk_piece_unit *grown = dk_realloc(p->host, p->units, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(b->err, (uint64_t)capacity * sizeof *grown);
        p->units = grown;
        p->capacity = capacity;
    }
    for (; p->count < units; p->count++) p->units[p->count] = (dk_piece_unit){0, -1, -1};
    return DK_OK;
}

static int32_t push(builder *b, range what)
{
    if (b->depth == b->capacity) {
        int64_t capacity = b->capacity ? b->capacity * 2 : 256;
        range *grown = dk_realloc(b->out->host, b->stack, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(b->err, (uint64_t)capacity * sizeof *grown);
        b->stack = grown;
        b->capacity = capacity;
    }
    b->stack[b->depth++] = what;
    return DK_OK;
}

static int32_t is_free(const dk_pieces *p, int64_t at) { return at >= p->count || p->units[at].check < 0; }

/* A base under which the units of all bytes are free. Holes that nobody fits into are given up. */
static int64_t find_base(builder *b, const uint8_t *bytes, int32_t count)
{
    const dk_pieces *p = b->out;
    while (!is_free(p, b->first_free)) b->first_free++;
    int64_t at = b->first_free > bytes[0] ? b->first_free : bytes[0] + 1;
    for (int32_t tries = 0; at < p->count && tries < TRIES; at++, tries++) {
        int32_t good = is_free(p, at);
        for (int32_t i = 1; i < count && good; i++) good = is_free(p, at - bytes[0] + bytes[i]);
        if (good) return at - bytes[0];
    }
    if (at < p->count && count > 1) b->first_free++;
    return p->count > bytes[0] ? p->count - bytes[0] : 1;
}

static int32_t add_children(builder *b, range all)
{
    uint8_t bytes[256];
    int64_t begins[257];
    int32_t count = 0, rc;
    for (int64_t i = all.begin; i < all.end; i++) {
        uint8_t byte = (uint8_t)b->items[i].text.data[all.depth];
        if (count && bytes[count - 1] == byte) continue;
        bytes[count] = byte;
        begins[count++] = i;
    }
    begins[count] = all.end;
    const int64_t base = find_base(b, bytes, count);
    if ((rc = reserve(b, base + 256))) return rc;
    b->out->units[all.node].base = (int32_t)base;
    for (int32_t i = 0; i < count; i++) b->out->units[base + bytes[i]].check = all.node;
    for (int32_t i = 0; i < count && !rc; i++)
        rc = push(b, (range){begins[i], begins[i + 1], all.depth + 1, (int32_t)(base + bytes[i])});
    return rc;
}

int32_t dk_pieces_build(dk_pieces *pieces, dk_host *host, dk_piece_text *items, int64_t count, dk_error *err)
{
    builder b = {.out = pieces, .items = items, .err = err, .first_free = 1};
    int32_t rc;
    memset(pieces, 0, sizeof *pieces);
    pieces->host = host;
    qsort(items, (size_t)count, sizeof *items, by_text);
    DK_TRY(reserve(&b, 1));
    pieces->units[0].check = 0;
    DK_TRY(push(&b, (range){0, count, 0, 0}));
    while (b.depth) {
        range top = b.stack[--b.depth];
        while (top.begin < top.end && items[top.begin].text.size == top.depth) { /* several only of empty ones */
            if (top.depth) pieces->units[top.node].id = items[top.begin].id;
            top.begin++;
        }
        if (top.begin < top.end) DK_TRY(add_children(&b, top));
    }
out:
    dk_free(host, b.stack);
    if (rc) dk_pieces_free(pieces);
    return rc;
}

void dk_pieces_free(dk_pieces *pieces)
{
    if (pieces->host) dk_free(pieces->host, pieces->units);
    memset(pieces, 0, sizeof *pieces);
}
