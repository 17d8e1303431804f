#include "text/junctions.h"

#include "text/codepoint.h"

static void add_pairs(dk_junctions *junctions, const char *text, size_t size)
{
    uint32_t before = 0, c;
    for (size_t at = 0; at < size;) {
        if (size - at < dk_codepoint_size(text + at)) return; /* not UTF-8: no row of characters becomes this token */
        size_t length = dk_codepoint(text + at, &c);
        const dk_junction_place place = dk_junction_find(before, c);
        if (at) junctions->inside[place.word] |= place.bits;
        before = c;
        at += length;
    }
}

static void find_symbols(dk_junctions *junctions, const dk_token_table *tokens)
{
    for (uint32_t c = 0; c < DK_DIRECT; c++) {
        char text[4];
        int64_t id = dk_token_table_find(tokens, text, dk_codepoint_write(c, text));
        int32_t is_symbol = id >= 0 && tokens->items[id].flags & (DK_TOKEN_MODEL | DK_TOKEN_HIDDEN);
        junctions->symbols[c] = is_symbol ? (int32_t)id : DK_NO_SYMBOL;
    }
}

int32_t dk_junctions_create(const dk_token_table *tokens, const uint8_t *marks, uint8_t made, dk_junctions **out,
                            dk_error *err)
{
    dk_junctions *junctions;
    int32_t rc = dk_new(tokens->host, 1, &junctions, err);
    if (rc) return rc;
    for (int64_t id = 0; id < tokens->count; id++)
        if (marks[id] & made) add_pairs(junctions, dk_token_text(tokens, &tokens->items[id]), tokens->items[id].size);
    find_symbols(junctions, tokens);
    *out = junctions;
    return DK_OK;
}
