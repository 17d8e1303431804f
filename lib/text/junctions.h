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
    DK_JUNCTION_WORDS = 1 << 14, /* 128 KiB; the 34,000 pairs of Gemma 3 take 6 % of the bits */
    DK_NO_SYMBOL = -1
};
typedef struct dk_junctions {
    uint64_t inside[DK_JUNCTION_WORDS];
    int32_t symbols[DK_DIRECT]; /* the id that a character is while it is merged; DK_NO_SYMBOL = it is no token */
} dk_junctions;
/* marks: [tokens->count], those with the bit `made` are tokens that merges make of characters. */
int32_t dk_junctions_create(const dk_token_table *tokens, const uint8_t *marks, uint8_t made, dk_junctions **out,
                            dk_error *err);

static inline uint64_t dk_junction_bits(uint64_t hash) { return 1ull << (hash & 63) | 1ull << (hash >> 6 & 63); }
static inline uint64_t dk_junction_word(uint64_t hash) { return hash >> 12 & (DK_JUNCTION_WORDS - 1); }
/* Whether a token that a merge makes may hold a right in front of b. */
static inline int32_t dk_junction_inside(const dk_junctions *junctions, uint32_t a, uint32_t b)
{
    uint64_t hash = dk_pair_hash((int32_t)a, (int32_t)b), bits = dk_junction_bits(hash);
    return (junctions->inside[dk_junction_word(hash)] & bits) == bits;
}

#endif
