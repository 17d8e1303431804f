/* added.h - added and special tokens: found in the text before anything else looks at it. Private to lib/text. */
#ifndef DK_TEXT_ADDED_H
#define DK_TEXT_ADDED_H

#include "base/strbuf.h"

enum { DK_ADDED_AS_SPELLED = 2 }; /* looked for in normalised text, but not normalised itself */
typedef struct dk_added_token {
    int32_t id;
    uint8_t special, single_word, lstrip, rstrip, normalized; /* 0, 1, DK_ADDED_AS_SPELLED */
    uint32_t offset, size;                                    /* of the normalised spelling, where it is another one */
} dk_added_token;
typedef struct dk_trie_node {
    uint32_t child, sibling; /* 0 = none */
    int32_t token;           /* index into the list, -1 = none ends here */
    uint8_t byte;
} dk_trie_node;
typedef struct dk_trie {
    dk_trie_node *nodes; /* node 0 is the root */
    uint32_t count, capacity;
    uint32_t first[256]; /* children of the root by byte */
    int32_t only;        /* the byte that every token begins with, or -1 */
} dk_trie;
int32_t dk_trie_add(dk_host *host, dk_trie *trie, const char *text, size_t size, int32_t token, dk_error *err);
/* Index of the longest token that stands at `at`, and where it ends; -1 = none. */
int32_t dk_trie_longest(const dk_trie *trie, const char *text, size_t size, size_t at, size_t *end);
void dk_trie_free(dk_host *host, dk_trie *trie);

typedef struct dk_added_match {
    size_t begin, end; /* what the token takes, stripped spaces included; end == SIZE_MAX: no match */
    const dk_added_token *token;
} dk_added_match;
/* The next token at or behind *at (leftmost, of these the longest; *at moves behind it). done = end of the last match,
 * which lstrip must not reach into. plain: special tokens are passed over. */
dk_added_match dk_added_next(const dk_trie *trie, const dk_added_token *tokens, const char *text, size_t size,
                             size_t *at, size_t done, int32_t plain);

#endif
