/* quality.h - what a text looks like, whatever its language: shares of letters and digits, lengths of words, lines and
 * runs of words that repeat; with the bounds of Gopher (Rae et al. 2021, table A1 and 3.1.2) where that has one.
 *
 * Words are those of words.h. Gopher's lists of stop words and paragraphs are not looked at. A top n-gram counts where
 * it occurs twice at least; of duplicate n-grams the words of the second and later occurrences count, each once. What a
 * text has nothing of (no spaced words, no lines), and shares of words in a text of fewer than DI_QUALITY_LEAST words,
 * is not measured and passes. */
#ifndef DI_AUGMENT_CURATE_QUALITY_H
#define DI_AUGMENT_CURATE_QUALITY_H

#include "augment/curate/words.h"

enum { DI_QUALITY_LEAST = 10 };
typedef enum {
    DI_LETTERS,          /* letters and marks, of all characters but spaces */
    DI_DIGITS,           /* digits, the same */
    DI_SYMBOLS,          /* neither letter, digit nor punctuation, the same */
    DI_WORD_LENGTH,      /* mean characters of a word, of scripts with spaces */
    DI_ALPHABETIC_WORDS, /* pieces between spaces with a letter, of all */
    DI_LONGEST_RUN,      /* of one character, but spaces */
    DI_MARKS_PER_WORD,   /* # and ellipses for each piece between spaces */
    DI_BULLET_LINES,     /* lines that begin as an item of a list, of all lines with something on them */
    DI_ELLIPSIS_LINES,   /* lines that end with an ellipsis */
    DI_ENDED_LINES,      /* lines that end with punctuation (C4; no bound unless one is set) */
    DI_DUPLICATE_LINES,  /* lines that stood before */
    DI_DUPLICATE_LINE_CHARS,
    DI_TOP_2GRAM, /* characters in the commonest run of 2 words, of those in all words */
    DI_TOP_3GRAM,
    DI_TOP_4GRAM,
    DI_DUPLICATE_5GRAMS, /* characters in runs of 5 words that stood before */
    DI_DUPLICATE_6GRAMS,
    DI_DUPLICATE_7GRAMS,
    DI_DUPLICATE_8GRAMS,
    DI_DUPLICATE_9GRAMS,
    DI_DUPLICATE_10GRAMS,
    DI_QUALITIES
} di_quality_measure;

typedef struct di_quality_bounds {
    double low[DI_QUALITIES], high[DI_QUALITIES]; /* -INFINITY, INFINITY = none */
} di_quality_bounds;
typedef struct di_quality {
    dk_host *host;
    di_hashes words, table; /* table: open, of runs of words or of lines */
    di_hashes counts;
} di_quality;

const char *di_quality_name(di_quality_measure measure); /* "duplicate_lines" */
void di_quality_defaults(di_quality_bounds *bounds);
/* "letters >= 0.5", "duplicate_lines <= 0.2", or "word_length off" */
int32_t di_quality_set(di_quality_bounds *bounds, const char *rule, dk_error *err);
void di_quality_init(di_quality *quality, dk_host *host);
void di_quality_free(di_quality *quality); /* zeroed is fine */
/* NAN = not measured */
int32_t di_quality_measure_text(di_quality *quality, const char *text, size_t size, double out[DI_QUALITIES],
                                dk_error *err);
/* The first measure that is out of bounds, or DI_QUALITIES. */
di_quality_measure di_quality_fails(const di_quality_bounds *bounds, const double measured[DI_QUALITIES]);

#endif
