/* store.h - the tokens of all documents of a dataset, in memory or mapped; and the builder that gathers them.
 *
 * A document is a sample as it came: nothing is cut or dropped yet. Token i may be learnt (predicted) or not, and may
 * have a weight. Private to src/dataset. */
#ifndef DI_DATASET_STORE_H
#define DI_DATASET_STORE_H

#include <stdatomic.h>

#include "base/file.h"
#include "base/hash.h"
#include "dataset/spool.h"
#include "dataset/tags.h"
#include "distill.h"
#include "text/tokenizer.h"

enum {
    DI_DOCUMENT_TEXT = 1, /* plain text: rather cut into several windows than truncated on the right */
    DI_DOCUMENT_PAIR = 2, /* one side of a pair: the rejected one follows the chosen one, of the same number */
    DI_DOCUMENT_FILE = 3  /* a document of a text file: text that is always cut */
};
typedef struct di_document {
    uint64_t end;    /* token behind its last one */
    uint64_t origin; /* number of its tag << 48 | number in the source (line, sample) << 2 | DI_DOCUMENT_* */
} di_document;
static inline int64_t di_document_number(const di_document *d) { return (int64_t)(d->origin << 16 >> 18); }
static inline uint32_t di_document_flags(const di_document *d) { return (uint32_t)(d->origin & 3); }
static inline int64_t di_document_tag(const di_document *d) { return (int64_t)(d->origin >> 48); }

/* What a window is filled from: ids of 2 or 4 bytes, learn bits, weights. */
typedef struct di_tokens {
    const void *ids;
    int64_t id_size;
    const uint8_t *learn; /* bit i = token i is learnt; NULL = all */
    const float *weights; /* NULL = 1 */
} di_tokens;

typedef struct di_store {
    atomic_int references;
    dk_host *host;
    char *name;          /* for messages */
    char *chat_template; /* Jinja text that options named for it; NULL = the tokenizer's own */
    int32_t lines;       /* 1 = origins are lines of the file `name` */
    di_tokens tokens;
    int64_t token_count;
    const di_document *documents;
    int64_t document_count;
    const di_tag *tags; /* [tag_count]; tag number n is tags[n - 1] */
    int64_t tag_count;
    di_tags own_tags;                    /* of what was read; those of a token file are in the map */
    int64_t empty;                       /* samples without a token: they are no documents */
    int64_t largest;                     /* id; -1 = no token */
    uint8_t content[32];                 /* SHA-256 of tokens, documents, masks, weights */
    uint8_t tokenizer[32];               /* dk_tokenizer_hash; zero = made without one */
    dk_tokenizer *decoder;               /* NULL = not text */
    di_spool spools[4];                  /* ids, documents, learn, weights */
    dk_mapping map;                      /* of a token file */
    distill_dataset_callbacks callbacks; /* destroyed with the store */
} di_store;

int32_t di_store_create(dk_host *host, const char *name, dk_tokenizer *tokenizer, di_store **out, dk_error *err);
di_store *di_store_retain(di_store *store);
void di_store_release(di_store *store);
static inline int64_t di_store_begin(const di_store *store, int64_t document)
{
    return document ? (int64_t)store->documents[document - 1].end : 0;
}
/* DISTILL_CHOSEN, DISTILL_REJECTED, or 0: it is of no pair. */
int32_t di_store_side(const di_store *store, int64_t document);
/* "FILE:12" or "NAME sample 12": for messages. */
void di_store_place(const di_store *store, int64_t document, char *out, size_t size);

static inline int32_t di_tokens_id(const di_tokens *tokens, int64_t i)
{
    return tokens->id_size == 2 ? ((const uint16_t *)tokens->ids)[i] : ((const int32_t *)tokens->ids)[i];
}
static inline int32_t di_tokens_learnt(const di_tokens *tokens, int64_t i)
{
    return !tokens->learn || (tokens->learn[i >> 3] >> (i & 7) & 1);
}
int64_t di_tokens_count_learnt(const di_tokens *tokens, int64_t first, int64_t count);

typedef struct di_builder {
    di_store *store;
    int64_t limit_id; /* ids are below it */
    uint64_t tokens, begin;
    uint8_t bits; /* learn bits of the unfinished byte */
    int32_t masked, weighted;
    int64_t documents;
    dk_sha256 ids, rest;
} di_builder;
/* memory_limit: bytes of each section that stay in memory. */
int32_t di_builder_init(di_builder *builder, dk_host *host, const char *name, dk_tokenizer *tokenizer,
                        uint64_t memory_limit, dk_error *err);
/* Tokens of the current document; learn and weights [count] or NULL. */
int32_t di_builder_add(di_builder *builder, const int32_t *ids, const uint8_t *learn, const float *weights,
                       int64_t count, dk_error *err);
int32_t di_builder_end(di_builder *builder, int64_t number, uint32_t flags, const di_tag *tag, dk_error *err);
/* The builder is empty afterwards; di_builder_free is needed only instead of it. */
int32_t di_builder_finish(di_builder *builder, di_store **out, dk_error *err);
void di_builder_free(di_builder *builder);

#endif
