/* steps.h - the stages of a tokenizer file (normalizer, pre-tokenizer, decoder) as flat lists. Private to lib/text.
 *
 * Reading flattens: a Sequence becomes its members, ByteLevel becomes space prefix, split by pattern and byte letters,
 * Metaspace becomes marking and a split. So the code that runs them knows few kinds of step. */
#ifndef DK_TEXT_STEPS_H
#define DK_TEXT_STEPS_H

#include "text/charsmap.h"
#include "text/regex.h"
#include "text/spm_rules.h"

typedef enum {
    /* normalizer */
    DK_STEP_NFC,
    DK_STEP_NFD,
    DK_STEP_NFKC,
    DK_STEP_NFKD,
    DK_STEP_LOWERCASE,
    DK_STEP_CHARSMAP,         /* charsmap, as the reference applies it */
    DK_STEP_SENTENCEPIECE,    /* rules */
    DK_STEP_STRIP_ACCENTS,    /* marks of any category */
    DK_STEP_NMT,              /* control characters go, odd spaces become one */
    DK_STEP_CLEAN,            /* BERT's: control characters go, all white space becomes a space */
    DK_STEP_SPACE_IDEOGRAPHS, /* BERT's: a space on both sides */
    DK_STEP_STRIP_NONSPACING, /* marks of category Mn */
    DK_STEP_PREPEND,          /* text */
    DK_STEP_STRIP,            /* left, right: sides (normalizer) or how many (decoder) of text */
    /* normalizer and decoder */
    DK_STEP_REPLACE, /* matcher -> text */
    /* normalizer and pre-tokenizer */
    DK_STEP_BYTES, /* every byte becomes its letter */
    /* pre-tokenizer */
    DK_STEP_SPACE_PREFIX, /* a space in front unless there is one */
    DK_STEP_SPLIT,        /* matcher, behavior */
    DK_STEP_FIXED_LENGTH, /* left: so many characters each */
    DK_STEP_METASPACE,    /* spaces become text, and one in front as scheme says; decoder: the way back */
    /* decoder */
    DK_STEP_LETTERS,
    DK_STEP_BYTE_FALLBACK,
    DK_STEP_FUSE,
    DK_STEP_SUFFIX /* text at a token's end becomes a space, or nothing at the very end */
} dk_step_kind;
typedef enum {
    DK_SPLIT_REMOVED,
    DK_SPLIT_ISOLATED,
    DK_SPLIT_PREVIOUS,
    DK_SPLIT_NEXT,
    DK_SPLIT_CONTIGUOUS
} dk_split_behavior;
typedef enum { DK_PREFIX_NEVER, DK_PREFIX_FIRST, DK_PREFIX_ALWAYS } dk_prefix_scheme;
typedef enum { DK_MATCH_REGEX, DK_MATCH_TEXT, DK_MATCH_SPACE, DK_MATCH_NUMBER, DK_MATCH_PUNCTUATION } dk_match_kind;

typedef struct dk_matcher {
    dk_match_kind kind;
    int32_t invert;
    dk_regex *regex;
    char *text;
    size_t size;
} dk_matcher;
typedef struct dk_step {
    dk_step_kind kind;
    dk_matcher matcher;
    dk_split_behavior behavior;
    dk_prefix_scheme scheme;
    char *text;
    size_t size;
    int64_t left, right;
    dk_charsmap *charsmap;
    dk_spm_rules *rules;
} dk_step;
enum { DK_STEPS_MAX = 32 };
typedef struct dk_steps {
    dk_step items[DK_STEPS_MAX];
    int32_t count;
} dk_steps;
void dk_steps_free(dk_host *host, dk_steps *steps);
/* Appends a step, zeroed but for kind; NULL with an error when there are too many. */
dk_step *dk_steps_add(dk_steps *steps, dk_step_kind kind, dk_error *err);
int32_t dk_step_set_text(dk_host *host, dk_step *step, const char *text, size_t size, dk_error *err);
int32_t dk_steps_add_split(dk_host *host, dk_steps *steps, const char *regex, dk_split_behavior behavior,
                           int32_t invert, dk_error *err);
int32_t dk_matcher_set_text(dk_host *host, dk_matcher *matcher, const char *text, size_t size, dk_error *err);

/* Replacing can make a text longer at every stage; a file may not make gigabytes of a line. */
int32_t dk_check_growth(size_t size, size_t from, dk_error *err);

/* The next match at or behind *at, *begin = SIZE_MAX when there is none. Empty matches follow the reference: one right
 * behind the last match is skipped. last_end: SIZE_MAX before the first call. */
int32_t dk_matcher_next(const dk_matcher *matcher, dk_regex_state *state, const char *text, size_t size, size_t *at,
                        size_t *last_end, size_t *begin, size_t *end, dk_error *err);

typedef struct dk_normal_text {
    const char *text;
    size_t size;
    size_t front; /* bytes that the first character became; 0 = it was dropped */
} dk_normal_text;
/* normalise.c: text (behind dk_escape_invalid) -> *out, which is text itself or lies in one of the buffers. goes_on:
 * the text continues another one, so nothing is put in front. */
int32_t dk_normalise(const dk_steps *steps, dk_regex_state *state, dk_strbuf buffers[2], int32_t goes_on,
                     const char *text, size_t size, dk_normal_text *out, dk_error *err);
int32_t dk_replace_all(const dk_matcher *matcher, dk_regex_state *state, const char *with, size_t with_size,
                       const char *text, size_t size, dk_strbuf *out, dk_error *err);
enum { DK_SHORT_TEXT = 8 };
/* normalise.c: every byte, an ASCII character, becomes with[with_size <= DK_SHORT_TEXT]. */
void dk_replace_byte(char byte, const char *with, size_t with_size, const char *text, size_t size, dk_strbuf *out);
/* unicode.c: one of the four normal forms, appended to out. */
int32_t dk_normal_form(dk_step_kind form, const char *text, size_t size, dk_strbuf *out, dk_error *err);

/* clean.c: DK_STEP_STRIP_ACCENTS to DK_STEP_STRIP_NONSPACING, appended to out. */
void dk_clean(dk_step_kind kind, const char *text, size_t size, dk_strbuf *out);

#define DK_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

#endif
