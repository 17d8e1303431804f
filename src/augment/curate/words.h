/* words.h - a text as its characters, its words and its shingles. Words are runs of letters, marks and digits in lower
 * case; of scripts that are written without spaces (Han, kana, Thai, Lao, Khmer, Burmese) each character is one. */
#ifndef DI_AUGMENT_CURATE_WORDS_H
#define DI_AUGMENT_CURATE_WORDS_H

#include "base/host.h"

/* The character at *at < size, which moves behind it; a byte that is not UTF-8 is U+FFFD. */
uint32_t di_next_char(const char *text, size_t size, size_t *at);
uint32_t di_fold_case(uint32_t codepoint);   /* one lower-case letter; U+0130 is i */
int32_t di_is_unspaced(uint32_t codepoint);  /* of a script that is written without spaces */
int32_t di_is_word_char(uint32_t codepoint); /* letter, mark or digit */
uint64_t di_mix64(uint64_t x);               /* every bit of x moves every bit (splitmix64's last step) */
int64_t di_count_chars(const char *text, size_t size);

typedef enum {
    DI_WORDS_UNICODE, /* as above */
    DI_WORDS_ASCII    /* a-z and 0-9 alone, as the rouge-score package has them; of ASCII texts the same */
} di_word_kind;
typedef struct di_hashes { /* 64 bits for each word or shingle, in order */
    dk_host *host;
    uint64_t *items; /* [count] */
    int32_t *chars;  /* [count] of each word, where with_chars is set */
    int64_t count, capacity;
    int32_t with_chars;
} di_hashes;
void di_hashes_init(di_hashes *hashes, dk_host *host);
void di_hashes_free(di_hashes *hashes); /* zeroed is fine */
int32_t di_hashes_reserve(di_hashes *hashes, int64_t count, dk_error *err);
/* The words of text instead of what was there. */
int32_t di_read_words(di_hashes *words, di_word_kind kind, const char *text, size_t size, dk_error *err);
/* The same for its characters in lower case, runs of spaces as one. */
int32_t di_read_chars(di_hashes *chars, const char *text, size_t size, dk_error *err);
uint64_t di_hash_run(const uint64_t *items, int64_t n); /* of n words in this order */

#endif
