/* junctions.h - where a text may be cut before its characters are merged into tokens. Private to lib/text.
 *
 * A merge joins two neighbours into a token that holds their characters side by side, so if no token that a merge makes
 * holds character a right in front of b, no merge ever reaches across a|b. Then the merges on one side neither see nor
 * delay those on the other one, and both sides give the ids that they give together.
 *
 * The pairs that such tokens hold are a Bloom filter (Bloom 1970) whose bits of a pair lie in one word (Putze et al.
 * 2007): a pair that is in it by chance costs a cut, never an id. */
#ifndef DK_TEXT_JUNCTIONS_H
#define DK_TEXT_JUNCTIONS_H

#include "text/tokens.h"

enum {
    DK_DIRECT = 0x2600,          /* code points below have their token in a table: U+2581 is the mark of spaces */
    DK_JUNCTION_WORDS = 1 << 14, /* 128 KiB; the 34,000 pairs of Gemma 3 take 6 % of the bits. A word is 14 of a hash */
    DK_NO_SYMBOL = -1
};
typedef struct dk_junctions {
    uint64_t inside[DK_JUNCTION_WORDS];
    int32_t symbols[DK_DIRECT]; /* the id that a character is while it is merged; DK_NO_SYMBOL = it is no token */
} dk_junctions;
/* marks: [tokens->count], those with the bit `made` are tokens that merges make of characters. */
int32_t dk_junctions_create(const dk_token_table *tokens, const uint8_t *marks, uint8_t made, dk_junctions **out,
                            dk_error *err);

typedef struct dk_junction_place {
    uint64_t word, bits;
} dk_junction_place;
static inline dk_junction_place dk_junction_find(uint32_t a, uint32_t b)
{
    const uint64_t hash = ((uint64_t)a << 32 | b) * 0x9fb21c651e98df25u; /* its upper bits depend on all of the pair */
    return (dk_junction_place){hash >> 50, 1ull << (hash >> 44 & 63) | 1ull << (hash >> 38 & 63)};
}
/* Whether a token that a merge makes may hold a right in front of b. */
static inline int32_t dk_junction_inside(const dk_junctions *junctions, uint32_t a, uint32_t b)
{
    const dk_junction_place place = dk_junction_find(a, b);
    return (junctions->inside[place.word] & place.bits) == place.bits;
}

#endif
