#include "augment/curate/quality.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "text/codepoint.h"

typedef struct char_counts {
    int64_t letters, digits, symbols, all; /* but spaces */
    int64_t run, longest;
    int64_t pieces, alphabetic, marks; /* between spaces */
} char_counts;

static int32_t is_letter(uint32_t c) { return di_is_word_char(c) && !dk_is_number(c); }

/* ASCII signs of currency, arithmetic and the like count as punctuation elsewhere: tokenizers see them so. */
static int32_t is_symbol(uint32_t c)
{
    if (c < 0x80) return strchr("$+<=>^`|~", (int)c) != NULL;
    return !dk_is_punctuation(c);
}

static void count_kind(uint32_t c, char_counts *to)
{
    to->all++;
    if (dk_is_number(c)) to->digits++;
    else if (di_is_word_char(c)) to->letters++;
    else to->symbols += is_symbol(c);
}

static int32_t is_ellipsis(const char *text, size_t size, size_t at)
{
    return (size - at >= 3 && memcmp(text + at, "...", 3) == 0 && (!at || text[at - 1] != '.')) ||
           (size - at >= 3 && memcmp(text + at, "\xe2\x80\xa6", 3) == 0);
}

static void count_chars(const char *text, size_t size, char_counts *to)
{
    int32_t inside = 0, alphabetic = 0;
    uint32_t last = 0;
    memset(to, 0, sizeof *to);
    for (size_t at = 0; at < size;) {
        to->marks += text[at] == '#' || is_ellipsis(text, size, at);
        const uint32_t c = di_next_char(text, size, &at);
        if (dk_is_space(c)) {
            to->alphabetic += alphabetic;
            inside = alphabetic = 0;
            last = 0;
            continue;
        }
        count_kind(c, to);
        to->run = c == last ? to->run + 1 : 1;
        if (to->run > to->longest) to->longest = to->run;
        to->pieces += !inside;
        inside = 1;
        alphabetic |= is_letter(c);
        last = c;
    }
    to->alphabetic += alphabetic;
}

/* ---- words and runs of them ---- */
static int32_t clear_table(di_quality *quality, int64_t entries, dk_error *err)
{
    int64_t slots = 16;
    int32_t rc;
    while (slots < 2 * entries) slots *= 2;
    DK_TRY(di_hashes_reserve(&quality->table, slots, err));
    DK_TRY(di_hashes_reserve(&quality->counts, slots, err));
    quality->table.count = slots;
    memset(quality->counts.items, 0, (size_t)slots * sizeof(uint64_t));
out:
    return rc;
}

/* How often the hash was counted before; it is counted now. */
static uint64_t count_hash(di_quality *quality, uint64_t hash)
{
    uint64_t *keys = quality->table.items, *counts = quality->counts.items;
    const int64_t mask = quality->table.count - 1;
    int64_t at = (int64_t)(hash & (uint64_t)mask);
    while (counts[at] && keys[at] != hash) at = (at + 1) & mask;
    keys[at] = hash;
    return counts[at]++;
}

static double sum_chars(const int32_t *chars, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += chars[i];
    return sum;
}

/* Shares of the characters in words: *top of the run of n words that has most of them, *again of runs that stood
 * before. */
static int32_t measure_runs(di_quality *quality, int64_t n, double all, double *top, double *again, dk_error *err)
{
    const di_hashes *words = &quality->words;
    int64_t covered = 0; /* words before it are counted in *again */
    int32_t rc;
    *top = *again = 0;
    DK_TRY(clear_table(quality, words->count, err));
    for (int64_t i = 0; i + n <= words->count; i++) {
        const uint64_t before = count_hash(quality, di_hash_run(words->items + i, n));
        if (!before) continue;
        const int64_t first = i > covered ? i : covered;
        *top = fmax(*top, (double)(before + 1) * sum_chars(words->chars + i, n) / all);
        *again += sum_chars(words->chars + first, i + n - first) / all;
        covered = i + n;
    }
out:
    return rc;
}

static int32_t measure_words(di_quality *quality, const char *text, size_t size, double *out, dk_error *err)
{
    double unused;
    int32_t rc;
    DK_TRY(di_read_words(&quality->words, DI_WORDS_UNICODE, text, size, err));
    if (quality->words.count < DI_QUALITY_LEAST) goto out;
    const double all = sum_chars(quality->words.chars, quality->words.count);
    for (int64_t n = 2; n <= 4; n++) DK_TRY(measure_runs(quality, n, all, &out[DI_TOP_2GRAM + n - 2], &unused, err));
    for (int64_t n = 5; n <= 10; n++)
        DK_TRY(measure_runs(quality, n, all, &unused, &out[DI_DUPLICATE_5GRAMS + n - 5], err));
out:
    return rc;
}

/* Words of one character each, of scripts without spaces, say nothing of how long words are. */
static double mean_word(const char *text, size_t size)
{
    int64_t words = 0, chars = 0;
    int32_t inside = 0;
    for (size_t at = 0; at < size;) {
        const uint32_t c = di_next_char(text, size, &at);
        const int32_t in_word = di_is_word_char(c) && !di_is_unspaced(c);
        words += in_word && !inside;
        chars += in_word;
        inside = in_word;
    }
    return words >= DI_QUALITY_LEAST ? (double)chars / (double)words : NAN;
}

/* ---- lines ---- */
typedef struct line {
    const char *text;
    size_t size;
} line;

static size_t before(const char *text, size_t end, uint32_t *c)
{
    size_t at = end - 1, next;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    next = at;
    *c = di_next_char(text, end, &next);
    return next == end ? at : end - 1; /* bad bytes are one character each */
}

static line trim(const char *text, size_t size)
{
    uint32_t c = ' ';
    for (size_t at = 0; size; at = 0) {
        c = di_next_char(text, size, &at);
        if (!dk_is_space(c)) break;
        text += at;
        size -= at;
    }
    while (size) {
        const size_t at = before(text, size, &c);
        if (!dk_is_space(c)) break;
        size = at;
    }
    return (line){text, size};
}

static int32_t next_line(const char **text, const char *end, line *out)
{
    while (*text < end) {
        const char *stop = memchr(*text, '\n', (size_t)(end - *text));
        if (!stop) stop = end;
        *out = trim(*text, (size_t)(stop - *text));
        *text = stop < end ? stop + 1 : end;
        if (out->size) return 1;
    }
    return 0;
}

static int32_t is_bullet(const line *one)
{
    static const uint32_t bullets[][2] = {
        {'*', '*'},       {'-', '-'},       {0x2013, 0x2013}, {0x2022, 0x2023}, {0x25a0, 0x25a1},
        {0x25aa, 0x25ab}, {0x25b6, 0x25b6}, {0x25c0, 0x25c0}, {0x25cf, 0x25cf}, {0x25e6, 0x25e6},
    };
    size_t at = 0;
    return DK_IN_RANGES(bullets, di_next_char(one->text, one->size, &at));
}

static int32_t ends_with_ellipsis(const line *one)
{
    return one->size >= 3 && (memcmp(one->text + one->size - 3, "...", 3) == 0 ||
                              memcmp(one->text + one->size - 3, "\xe2\x80\xa6", 3) == 0);
}

static int32_t ends_with_punctuation(const line *one)
{
    uint32_t c;
    before(one->text, one->size, &c);
    return dk_is_punctuation(c);
}

static int32_t measure_lines(di_quality *quality, const char *text, size_t size, double *out, dk_error *err)
{
    const char *at = text, *end = text + size;
    double lines = 0, chars = 0, again = 0, again_chars = 0, bullets = 0, ellipses = 0, ended = 0;
    int64_t newlines = 1;
    line one;
    int32_t rc;
    for (size_t i = 0; i < size; i++) newlines += text[i] == '\n';
    DK_TRY(clear_table(quality, newlines, err));
    while (next_line(&at, end, &one)) {
        const double length = (double)di_count_chars(one.text, one.size);
        const int32_t repeats = count_hash(quality, di_mix64(dk_hash64(one.text, one.size))) > 0;
        lines++;
        chars += length;
        again += repeats;
        again_chars += repeats ? length : 0;
        bullets += is_bullet(&one);
        ellipses += ends_with_ellipsis(&one);
        ended += ends_with_punctuation(&one);
    }
    if (!(lines > 0)) goto out;
    out[DI_BULLET_LINES] = bullets / lines;
    out[DI_ELLIPSIS_LINES] = ellipses / lines;
    out[DI_ENDED_LINES] = ended / lines;
    out[DI_DUPLICATE_LINES] = again / lines;
    out[DI_DUPLICATE_LINE_CHARS] = again_chars / chars;
out:
    return rc;
}

void di_quality_init(di_quality *quality, dk_host *host)
{
    di_hashes_init(&quality->words, host);
    di_hashes_init(&quality->table, host);
    di_hashes_init(&quality->counts, host);
    quality->words.with_chars = 1;
    quality->host = host;
}

void di_quality_free(di_quality *quality)
{
    di_hashes_free(&quality->words);
    di_hashes_free(&quality->table);
    di_hashes_free(&quality->counts);
}

int32_t di_quality_measure_text(di_quality *quality, const char *text, size_t size, double out[DI_QUALITIES],
                                dk_error *err)
{
    char_counts counts;
    int32_t rc;
    for (int i = 0; i < DI_QUALITIES; i++) out[i] = NAN;
    count_chars(text, size, &counts);
    if (counts.all) {
        out[DI_LETTERS] = (double)counts.letters / (double)counts.all;
        out[DI_DIGITS] = (double)counts.digits / (double)counts.all;
        out[DI_SYMBOLS] = (double)counts.symbols / (double)counts.all;
        out[DI_LONGEST_RUN] = (double)counts.longest;
    }
    if (counts.pieces >= DI_QUALITY_LEAST) {
        out[DI_ALPHABETIC_WORDS] = (double)counts.alphabetic / (double)counts.pieces;
        out[DI_MARKS_PER_WORD] = (double)counts.marks / (double)counts.pieces;
    }
    out[DI_WORD_LENGTH] = mean_word(text, size);
    DK_TRY(measure_words(quality, text, size, out, err));
    DK_TRY(measure_lines(quality, text, size, out, err));
out:
    return rc;
}
