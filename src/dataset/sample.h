/* sample.h - one sample becomes tokens, and a mark on each that is to be learnt. Private to src/dataset.
 *
 * Text: BOS where the tokenizer puts one in front of a text; the tokens of the text; the end token: data.separator
 * where that is a special token of its own, else the tokenizer's EOS, else none. All of it is learnt.
 * prompt/completion: BOS, prompt, completion, end token; completion and end token are learnt. messages: as the chat
 * template says, which spells out its own BOS and ends; every assistant turn with its end-of-turn token is learnt.
 *
 * Boundaries: a segment is tokenised together with the one before it. Where the tokens of both begin with the tokens of
 * the first alone, the rest are the segment's; else a token would lie across the boundary, and the segment is tokenised
 * on its own. So a prompt has the same tokens as when one generates from it. Special tokens spelled out are
 * recognised. */
#ifndef DI_DATASET_SAMPLE_H
#define DI_DATASET_SAMPLE_H

#include "dataset/store.h"
#include "options/options.h"
#include "text/chat.h"

typedef struct di_encoder { /* does not change once made: many threads encode with it */
    dk_host *host;
    const dk_tokenizer *tokenizer; /* NULL = samples must be tokens */
    int64_t bos, end;              /* -1 = none */
    int32_t prompt_loss;
    dk_chat_template chat;
    dk_error chat_problem; /* why there is none: told when the first messages come */
} di_encoder;
void di_encoder_init(di_encoder *encoder, dk_host *host, const dk_tokenizer *tokenizer, const di_options *options);

typedef struct di_encoded_document {
    int64_t end; /* in ids */
    int64_t number;
    uint32_t flags;
} di_encoded_document;
typedef struct di_encoded { /* tokens of some documents; kept and reused */
    dk_host *host;
    int32_t *ids;
    int64_t count, capacity;
    uint8_t *learn; /* [count] */
    int64_t learn_capacity;
    int32_t masked; /* some token is not learnt */
    di_encoded_document *documents;
    int64_t document_count, document_capacity;
    int32_t *scratch;
    int64_t scratch_capacity;
} di_encoded;
void di_encoded_init(di_encoded *encoded, dk_host *host);
void di_encoded_clear(di_encoded *encoded); /* keeps the memory */
void di_encoded_free(di_encoded *encoded);
int32_t di_encoded_append(di_encoded *encoded, const int32_t *ids, int64_t count, int32_t learn, dk_error *err);
int32_t di_encoded_end(di_encoded *encoded, int64_t number, uint32_t flags, dk_error *err);

enum { DI_PIECE_FIRST = 1, DI_PIECE_LAST = 2 };
/* A piece of a text; `before` bytes of the same text stand in front of it in memory. Ends no document. */
int32_t di_encode_text(const di_encoder *encoder, const char *text, size_t size, size_t before, int32_t piece,
                       di_encoded *out, dk_error *err);
/* One JSON object with text, prompt and completion, or messages; the flags of the document go to *flags. Messages begin
 * with place. */
int32_t di_encode_json(const di_encoder *encoder, const char *json, size_t size, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err);

#endif
