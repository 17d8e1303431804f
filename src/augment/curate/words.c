#include "augment/curate/words.h"

#include "base/utf8.h"
#include "text/codepoint.h"

#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define REPLACEMENT 0xfffdu

uint32_t di_next_char(const char *text, size_t size, size_t *at)
{
    uint32_t c = REPLACEMENT;
    if (!dk_utf8_length((const unsigned char *)text + *at, size - *at)) return ++*at, c;
    *at += dk_codepoint(text + *at, &c);
    return c;
}

uint32_t di_fold_case(uint32_t codepoint)
{
    if (codepoint < 0x80) return codepoint >= 'A' && codepoint <= 'Z' ? codepoint | 0x20 : codepoint;
    return codepoint == 0x130 ? 'i' : dk_lowercase(codepoint);
}

int32_t di_is_unspaced(uint32_t codepoint)
{
    static const uint32_t scripts[][2] = {
        {0xe00, 0xeff},   {0x1000, 0x109f}, {0x1780, 0x17ff}, {0x3040, 0x30ff}, {0x31f0, 0x31ff},
        {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0xff66, 0xff9f}, {0x20000, 0x3ffff},
    };
    return codepoint >= 0xe00 && DK_IN_RANGES(scripts, codepoint);
}

int32_t di_is_word_char(uint32_t codepoint)
{
    if (codepoint < 0x80)
        return (codepoint >= '0' && codepoint <= '9') || ((codepoint | 0x20) >= 'a' && (codepoint | 0x20) <= 'z');
    return dk_is_word(codepoint) && !dk_is_punctuation(codepoint);
}

uint64_t di_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

int64_t di_count_chars(const char *text, size_t size)
{
    int64_t count = 0;
    for (size_t at = 0; at < size; count++) di_next_char(text, size, &at);
    return count;
}

void di_hashes_init(di_hashes *hashes, dk_host *host) { *hashes = (di_hashes){.host = host}; }

void di_hashes_free(di_hashes *hashes)
{
    if (!hashes->host) return;
    dk_free(hashes->host, hashes->items);
    dk_free(hashes->host, hashes->chars);
    di_hashes_init(hashes, hashes->host);
}

int32_t di_hashes_reserve(di_hashes *hashes, int64_t count, dk_error *err)
{
    int64_t capacity = hashes->capacity ? hashes->capacity : 256;
    if (count <= hashes->capacity) return DK_OK;
    while (capacity < count) capacity *= 2;
    uint64_t *grown = dk_realloc(hashes->host, hashes->items, (uint64_t)capacity, sizeof *grown);
    if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
    hashes->items = grown;
    int32_t *chars =
        hashes->with_chars ? dk_realloc(hashes->host, hashes->chars, (uint64_t)capacity, sizeof *chars) : NULL;
    if (hashes->with_chars && !chars) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *chars);
    hashes->chars = chars;
    hashes->capacity = capacity;
    return DK_OK;
}

static inline void end_word(di_hashes *words, uint64_t *hash, int32_t *chars)
{
    if (*chars) {
        if (words->chars) words->chars[words->count] = *chars;
        words->items[words->count++] = di_mix64(*hash);
    }
    *hash = FNV_BEGIN;
    *chars = 0;
}

/* The lower-case letter or digit that a character is in a word; 0 = it parts words. */
static inline uint32_t letter_of(uint32_t c, di_word_kind kind)
{
    const uint32_t folded = di_fold_case(c);
    if (kind == DI_WORDS_ASCII && folded >= 0x80) return 0;
    return di_is_word_char(folded) ? folded : 0;
}

/* U+0130 is i and a dot above it in lower case, which parts words of ASCII. */
int32_t di_read_words(di_hashes *words, di_word_kind kind, const char *text, size_t size, dk_error *err)
{
    uint64_t hash = FNV_BEGIN;
    int32_t chars = 0;
    words->count = 0;
    int32_t rc = di_hashes_reserve(words, (int64_t)size + 1, err); /* no text has more words than bytes */
    if (rc) return rc;
    for (size_t at = 0; at < size;) {
        const unsigned char byte = (unsigned char)text[at];
        const uint32_t c = byte < 0x80 ? at++, byte : di_next_char(text, size, &at);
        const uint32_t letter = letter_of(c, kind);
        if (!letter || di_is_unspaced(letter)) end_word(words, &hash, &chars);
        if (!letter) continue;
        hash = (hash ^ letter) * FNV_PRIME;
        chars++;
        if (di_is_unspaced(letter) || (c == 0x130 && kind == DI_WORDS_ASCII)) end_word(words, &hash, &chars);
    }
    end_word(words, &hash, &chars);
    return DK_OK;
}

int32_t di_read_chars(di_hashes *chars, const char *text, size_t size, dk_error *err)
{
    int32_t space = 1, rc;
    chars->count = 0;
    if ((rc = di_hashes_reserve(chars, (int64_t)size + 1, err))) return rc;
    for (size_t at = 0; at < size;) {
        const uint32_t c = di_fold_case(di_next_char(text, size, &at));
        if (dk_is_space(c) && space) continue;
        space = dk_is_space(c);
        chars->items[chars->count++] = di_mix64((space ? ' ' : c) + 1);
    }
    chars->count -= chars->count > 0 && space;
    return DK_OK;
}

uint64_t di_hash_run(const uint64_t *items, int64_t n)
{
    uint64_t hash = (uint64_t)n;
    for (int64_t i = 0; i < n; i++) hash = (hash ^ items[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
    return di_mix64(hash);
}
