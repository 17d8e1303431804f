/* judgement.c - what a judge says at the end of its text: a score, or which of two answers is better. */
#include <math.h>
#include <string.h>

#include "augment/curate/answers.h"
#include "augment/curate/words.h"
#include "base/strbuf.h"

typedef struct piece {
    const char *text;
    size_t size;
} piece;

static int32_t is_any(char c, const char *set) { return c && strchr(set, c) != NULL; }

static piece trim(piece p, const char *set)
{
    while (p.size && is_any(p.text[0], set)) p.text++, p.size--;
    while (p.size && is_any(p.text[p.size - 1], set)) p.size--;
    return p;
}

static piece last_line(const char *text, size_t size)
{
    const piece whole = trim((piece){text, size}, " \t\r\n");
    size_t begin = whole.size;
    while (begin && whole.text[begin - 1] != '\n') begin--;
    return (piece){whole.text + begin, whole.size - begin};
}

static piece rest_of_line(const char *text, size_t size)
{
    const char *end = memchr(text, '\n', size);
    return (piece){text, end ? (size_t)(end - text) : size};
}

/* Bytes of text at its beginning that are word in any letter case; 0 = it begins otherwise. */
static size_t begins_with(const char *text, size_t size, const char *word)
{
    size_t at = 0, in = 0, length = strlen(word);
    while (in < length) {
        if (at >= size || di_fold_case(di_next_char(text, size, &at)) != di_next_char(word, length, &in)) return 0;
    }
    return at;
}

/* A label that stands as a word of its own, its colon and the spaces and stars behind it; 0 = none begins here. */
static size_t label_at(const char *text, size_t size, size_t at, const char *const *labels)
{
    if (at && (is_any(text[at - 1], "_-") || (unsigned char)text[at - 1] >= 0x80 ||
               di_is_word_char((unsigned char)text[at - 1])))
        return 0;
    for (; *labels; labels++) {
        size_t end = at + begins_with(text + at, size - at, *labels);
        if (end == at) continue;
        while (end < size && is_any(text[end], " *\"")) end++;
        if (end >= size || (text[end] != ':' && text[end] != '=')) continue;
        end++;
        while (end < size && is_any(text[end], " \t*[\"")) end++;
        return end - at;
    }
    return 0;
}

/* ---- scores ---- */
static size_t digits_of(const char *text, size_t size)
{
    size_t at = size && text[0] == '-';
    while (at < size && ((text[at] >= '0' && text[at] <= '9') ||
                         (text[at] == '.' && at + 1 < size && text[at + 1] >= '0' && text[at + 1] <= '9')))
        at++;
    return at;
}

/* A number, or number/high; what follows it is *rest. */
static int32_t score_at(piece p, double high, double *out, piece *rest)
{
    size_t size = digits_of(p.text, p.size);
    double of;
    if (!dk_parse_f64(p.text, size, out)) return 0;
    *rest = (piece){p.text + size, p.size - size};
    while (rest->size && is_any(rest->text[0], " *]")) rest->text++, rest->size--;
    if (!rest->size || rest->text[0] != '/') return 1;
    piece below = trim((piece){rest->text + 1, rest->size - 1}, " *");
    size = digits_of(below.text, below.size);
    if (!dk_parse_f64(below.text, size, &of) || of != high) return 0;
    *rest = (piece){below.text + size, (size_t)(rest->text + rest->size - below.text) - size};
    return 1;
}

/* Behind "7" or "7/10" another number of the same sentence would leave open which is meant. */
static int32_t is_plain(piece rest)
{
    if (rest.size && (is_any(rest.text[0], ",-%") || di_is_word_char((unsigned char)rest.text[0]))) return 0;
    for (size_t i = 0; i < rest.size; i++) {
        if (rest.text[i] == '.' && (i + 1 == rest.size || rest.text[i + 1] == ' ')) break;
        if (rest.text[i] >= '0' && rest.text[i] <= '9') return 0;
    }
    return 1;
}

int32_t di_find_score(const char *text, size_t size, double low, double high, double *out)
{
    static const char *const labels[] = {"score", "rating", "nota", "pontua\xc3\xa7\xc3\xa3o", NULL};
    double found = NAN, score = 0;
    piece rest;
    for (size_t at = 0; at < size; at++) {
        const size_t label = label_at(text, size, at, labels);
        if (!label) continue;
        if (!score_at(rest_of_line(text + at + label, size - at - label), high, &score, &rest) || !is_plain(rest))
            return 0;
        if (!isnan(found) && found != score) return 0;
        found = score;
    }
    if (isnan(found)) {
        const piece alone = trim(last_line(text, size), " \t\r*[].");
        if (!score_at(alone, high, &found, &rest) || rest.size) return 0;
    }
    if (!(found >= low && found <= high)) return 0;
    *out = found;
    return 1;
}

/* ---- verdicts ---- */
static di_verdict verdict_of(piece p)
{
    static const struct {
        const char *word;
        di_verdict verdict;
    } words[] = {{"a", DI_VERDICT_A},
                 {"b", DI_VERDICT_B},
                 {"tie", DI_VERDICT_TIE},
                 {"c", DI_VERDICT_TIE},
                 {"empate", DI_VERDICT_TIE}};
    const piece word = trim(p, " \t\r*[].\"'()");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (begins_with(word.text, word.size, words[i].word) == word.size && word.size) return words[i].verdict;
    return DI_VERDICT_NONE;
}

/* The piece between [[ and ]] that begins at text. */
static piece bracketed(const char *text, size_t size)
{
    if (size < 5 || memcmp(text, "[[", 2) != 0) return (piece){text, 0};
    for (size_t end = 2; end + 1 < size && end < 12; end++)
        if (text[end] == ']' && text[end + 1] == ']') return (piece){text + 2, end - 2};
    return (piece){text, 0};
}

di_verdict di_find_verdict(const char *text, size_t size)
{
    static const char *const labels[] = {"verdict", "winner", "better", "veredito", "vencedor", "melhor", NULL};
    di_verdict found = DI_VERDICT_NONE;
    for (size_t at = 0; at < size; at++) {
        const piece brackets = bracketed(text + at, size - at);
        const size_t label = brackets.size ? 0 : label_at(text, size, at, labels);
        if (!brackets.size && !label) continue;
        const di_verdict verdict = verdict_of(label ? rest_of_line(text + at + label, size - at - label) : brackets);
        if (verdict == DI_VERDICT_NONE || (found != DI_VERDICT_NONE && found != verdict)) return DI_VERDICT_NONE;
        found = verdict;
    }
    return found != DI_VERDICT_NONE ? found : verdict_of(last_line(text, size));
}
