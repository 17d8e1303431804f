/* ngrams.c - words are runs of \w, and each other character that is no space is one by itself. Characters are those of
 * the words with one space before, between and behind them, so that an n-gram knows where a word begins. */
#include "classifier/ngrams.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/codepoint.h"

void di_inputs_init(di_inputs *f, dk_host *host)
{
    *f = (di_inputs){.host = host};
    dk_strbuf_init(&f->escaped, host);
    dk_strbuf_init(&f->text, host);
}

void di_inputs_free(di_inputs *f)
{
    if (!f->host) return;
    dk_free(f->host, f->ids);
    dk_free(f->host, f->values);
    dk_free(f->host, f->hashes);
    dk_free(f->host, f->starts);
    dk_strbuf_free(&f->escaped);
    dk_strbuf_free(&f->text);
    *f = (di_inputs){0};
}

static int32_t grow(dk_host *host, void *block, int64_t count, size_t size, dk_error *err)
{
    void *old, *larger;
    memcpy(&old, block, sizeof old);
    if (!(larger = dk_realloc(host, old, (uint64_t)count, size))) return dk_fail_nomem(err, (uint64_t)count * size);
    memcpy(block, &larger, sizeof larger);
    return DK_OK;
}

int32_t di_inputs_room(di_inputs *f, int64_t count, dk_error *err)
{
    const int64_t cap = count + count / 2 + 64;
    int32_t rc;
    if (count <= f->cap) return DK_OK;
    DK_TRY(grow(f->host, &f->ids, cap, sizeof *f->ids, err));
    DK_TRY(grow(f->host, &f->values, cap, sizeof *f->values, err));
    DK_TRY(grow(f->host, &f->hashes, cap, sizeof *f->hashes, err));
    f->cap = cap;
out:
    return rc;
}

static int32_t add_start(di_inputs *f, int64_t *count, size_t at, dk_error *err)
{
    const int64_t cap = f->start_cap + f->start_cap / 2 + 64;
    if (*count == f->start_cap) {
        const int32_t rc = grow(f->host, &f->starts, cap, sizeof *f->starts, err);
        if (rc) return rc;
        f->start_cap = cap;
    }
    f->starts[(*count)++] = at;
    return DK_OK;
}

/* " the cat ' s hat " of "The cat's  hat" */
static void spell(const di_ngrams *n, const char *text, size_t size, dk_strbuf *out)
{
    int32_t inside = 0;
    char bytes[4];
    for (size_t at = 0; at < size;) {
        uint32_t c;
        at += dk_codepoint(text + at, &c);
        const int32_t word = dk_is_word(c);
        if (!dk_is_space(c)) {
            if (!word || !inside) dk_strbuf_puts(out, " ");
            if (n->lowercase) c = dk_lowercase(c);
            dk_strbuf_append(out, bytes, dk_codepoint_write(c, bytes));
        }
        inside = word;
    }
    if (out->size) dk_strbuf_puts(out, " ");
}

/* Finaliser of SplitMix64 (Steele et al. 2014): FNV alone leaves its high bits poor. */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

enum { OF_WORDS = 1, OF_CHARACTERS = 2 };

/* N-grams of least to most things, of which starts has the begin of each and the end of the last, with what lies
 * `between` two of them. */
static void hash_all(di_inputs *f, int64_t things, int32_t least, int32_t most, size_t between, uint64_t kind)
{
    for (int64_t i = 0; i < things; i++)
        for (int64_t n = least; n <= most && i + n <= things; n++) {
            const size_t begin = f->starts[i], end = f->starts[i + n] - between;
            f->hashes[f->count++] = mixed(dk_hash64(f->text.data + begin, end - begin) + kind * 0x9e3779b97f4a7c15u);
        }
}

static int32_t add_words(const di_ngrams *n, di_inputs *f, dk_error *err)
{
    int64_t words = 0;
    int32_t rc = DK_OK;
    for (size_t at = 0; at < f->text.size; at++)
        if (f->text.data[at] == ' ') DK_TRY(add_start(f, &words, at + 1, err));
    words--;
    DK_TRY(di_inputs_room(f, f->count + words * n->words, err));
    hash_all(f, words, 1, n->words, 1, OF_WORDS);
out:
    return rc;
}

static int32_t add_characters(const di_ngrams *n, di_inputs *f, dk_error *err)
{
    const int32_t least = n->characters_least, most = n->characters_most;
    int64_t characters = 0;
    int32_t rc;
    for (size_t at = 0; at < f->text.size; at += dk_codepoint_size(f->text.data + at))
        DK_TRY(add_start(f, &characters, at, err));
    DK_TRY(add_start(f, &characters, f->text.size, err));
    characters--;
    DK_TRY(di_inputs_room(f, f->count + characters * (most - least + 1), err));
    hash_all(f, characters, least, most, 0, OF_CHARACTERS);
out:
    return rc;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static double value_of(di_count_kind counts, int64_t times)
{
    if (counts == DI_COUNT_BINARY) return 1;
    return counts == DI_COUNT_TF ? (double)times : 1 + log((double)times);
}

/* The input is the top bits of a hash, so that sorted hashes are sorted inputs; its lowest bit is the sign. */
static void gather(const di_ngrams *n, di_inputs *f)
{
    const int64_t grams = f->count;
    double squares = 0;
    qsort(f->hashes, (size_t)grams, sizeof *f->hashes, by_hash);
    f->count = 0;
    for (int64_t i = 0, same; i < grams; i += same) {
        const int32_t id = (int32_t)(f->hashes[i] >> (64 - n->bits));
        for (same = 1; i + same < grams && f->hashes[i + same] == f->hashes[i];) same++;
        const double value = value_of(n->counts, same), signed_value = f->hashes[i] & 1 ? value : -value;
        if (!f->count || f->ids[f->count - 1] != id) {
            f->ids[f->count] = id;
            f->values[f->count++] = 0;
        }
        f->values[f->count - 1] += (float)signed_value;
    }
    for (int64_t i = 0; i < f->count; i++) squares += (double)f->values[i] * (double)f->values[i];
    const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < f->count; i++) f->values[i] *= scale;
}

int32_t di_ngrams_of(const di_ngrams *n, const char *text, size_t size, di_inputs *out, dk_error *err)
{
    static const uint8_t none[256];
    int32_t rc;
    out->count = 0;
    dk_strbuf_clear(&out->text);
    if (dk_valid_prefix(text, size) < size) {
        dk_strbuf_clear(&out->escaped);
        dk_escape_invalid(&out->escaped, text, size, none);
        DK_TRY(dk_strbuf_check(&out->escaped, err));
        text = out->escaped.data;
        size = out->escaped.size;
    }
    spell(n, text, size, &out->text);
    DK_TRY(dk_strbuf_check(&out->text, err));
    if (!out->text.size) return DK_OK;
    if (n->words) DK_TRY(add_words(n, out, err));
    if (n->characters_most) DK_TRY(add_characters(n, out, err));
    gather(n, out);
out:
    return rc;
}
