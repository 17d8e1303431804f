/* pieces.h - which tokens a text begins with: a trie in two arrays (Aoe 1989), one look-up per byte. Private to
 * lib/text. */
#ifndef DK_TEXT_PIECES_H
#define DK_TEXT_PIECES_H

#include "base/slice.h"
#include "base/strbuf.h"

typedef struct dk_piece_unit {
    int32_t base;  /* child of byte b: unit base + b */
    int32_t check; /* its parent's number, -1 = free */
    int32_t id;    /* of the piece that ends here, -1 = none */
} dk_piece_unit;
typedef struct dk_pieces {
    dk_host *host;
    dk_piece_unit *units; /* unit 0 is the root */
    int64_t count, capacity;
} dk_pieces;
typedef struct dk_piece_text {
    dk_slice text;
    int32_t id;
} dk_piece_text;
/* Sorts items. Their texts are all different, but for empty ones, which are never found. */
int32_t dk_pieces_build(dk_pieces *pieces, dk_host *host, dk_piece_text *items, int64_t count, dk_error *err);
void dk_pieces_free(dk_pieces *pieces); /* a zeroed one is fine */

/* The node one byte behind node; -1 = no piece goes on so. */
static inline int32_t dk_pieces_next(const dk_pieces *pieces, int32_t node, uint8_t byte)
{
    int64_t at = (int64_t)pieces->units[node].base + byte;
    return at < pieces->count && pieces->units[at].check == node ? (int32_t)at : -1;
}

#endif
