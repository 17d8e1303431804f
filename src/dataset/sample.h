/* sample.h - one sample becomes tokens, and a mark on each that is to be learnt. Private to src/dataset.
 *
 * Text: BOS where the tokenizer puts one in front of a text; the tokens of the text; the end token: data.separator
 * where that is a special token of its own, else the tokenizer's EOS, else none. All of it is learnt.
 * prompt/completion: BOS, prompt, completion, EOS unless the completion ends with it; completion and EOS are learnt.
 * messages: as the chat template says, which spells out its own BOS and ends; what it marks as an answer is learnt, or
 * every assistant turn with its end-of-turn token (lib/chat/chat.h), with the turn's weight. Lists of messages as
 * prompt and completion: one conversation, of which the completion's assistant turns are learnt. chosen and rejected:
 * two completions of one prompt, which without a prompt is what both begin with; the chosen one is the first document.
 *
 * Boundaries: the text of a conversation is tokenised as a whole; a token across the begin of an answer is learnt. Of a
 * prompt and its completion each segment is tokenised together with the one before it. Where the tokens of both begin
 * with the tokens of the first alone, the rest are the segment's; else a token would lie across the boundary, and the
 * segment is tokenised on its own. So a prompt has the same tokens as when one generates from it. Special tokens
 * spelled out are recognised, in what a template spells always, in texts unless data.special_in_text is plain.
 *
 *   sample.c       encoder, tokens that grow, texts    sample_json.c    objects
 *   sample_keys.c  keys of objects, weights            talk.c           conversations
 *   sample_pair.c  chosen and rejected                sample_completion.c  a completion and its prompt */
#ifndef DI_DATASET_SAMPLE_H
#define DI_DATASET_SAMPLE_H

#include "dataset/store.h"
#include "options/options.h"
#include "chat/chat.h"

typedef struct di_encoder { /* does not change once made: many threads encode with it */
    dk_host *host;
    const dk_tokenizer *tokenizer; /* NULL = what is given is checked and becomes no tokens */
    int64_t bos, eos, end;         /* -1 = none; end: of a text */
    int32_t prompt_loss;
    int32_t chosen_alone; /* of a pair, as a completion */
    uint32_t text_flags;  /* DK_ENCODE_*: of what samples say */
    dk_chat_template *chat;
    dk_jinja_date date;    /* what templates see as today */
    dk_error chat_problem; /* why there is no chat: told when the first messages come */
} di_encoder;
/* Fails where data.chat_template is a file that cannot be used. */
int32_t di_encoder_init(di_encoder *encoder, dk_host *host, const dk_tokenizer *tokenizer, const di_options *options,
                        dk_error *err);
void di_encoder_free(di_encoder *encoder); /* zeroed is fine */
/* The Jinja text of a template that data.chat_template names, for the caller to free; NULL = it names none. */
int32_t di_chat_named(dk_host *host, const dk_tokenizer *tokenizer, const di_options *options, char **out,
                      dk_error *err);

typedef struct di_notes {                  /* what was seen and is told once for a source */
    int64_t special;                       /* special tokens spelled out in texts, which became control tokens */
    int64_t unknown;                       /* samples with a key that is not used */
    int64_t endless;                       /* completions behind which no token says that they end */
    int64_t absent;                        /* messages of which the chat template writes nothing */
    int64_t absent_number, absent_message; /* of the first */
    char special_text[40], key[40];
    int64_t special_number, key_number; /* of the first such sample */
} di_notes;
void di_notes_add(di_notes *to, const di_notes *from);
void di_notes_tell(const di_notes *notes, dk_host *host, const char *name);

typedef struct di_encoded_document {
    int64_t end; /* in ids */
    int64_t number;
    uint32_t flags;
    di_tag tag;
} di_encoded_document;
typedef struct di_encoded { /* tokens of some documents; kept and reused */
    dk_host *host;
    int32_t *ids;
    int64_t count, capacity;
    uint8_t *learn; /* [count] */
    int64_t learn_capacity;
    int32_t masked; /* some token is not learnt */
    float *weights; /* [weight_count] of the first tokens, the others weigh 1 */
    int64_t weight_count, weight_capacity;
    int64_t number; /* of the sample under work, for notes */
    int32_t noted;  /* it has a key that is noted */
    di_tag tag;     /* of it */
    di_notes notes;
    di_encoded_document *documents;
    int64_t document_count, document_capacity;
    int32_t *scratch;
    int64_t scratch_capacity;
} di_encoded;
void di_encoded_init(di_encoded *encoded, dk_host *host);
void di_encoded_clear(di_encoded *encoded); /* keeps the memory */
void di_encoded_free(di_encoded *encoded);
int32_t di_encoded_append(di_encoded *encoded, const int32_t *ids, int64_t count, int32_t learn, dk_error *err);
/* Multiplies the weights of the tokens from `first` on; 0 = not learnt. */
int32_t di_encoded_weigh(di_encoded *encoded, int64_t first, double weight, dk_error *err);
/* [count], or NULL where all weigh 1 */
int32_t di_encoded_weights(di_encoded *encoded, const float **out, dk_error *err);
int32_t di_encoded_end(di_encoded *encoded, int64_t number, uint32_t flags, dk_error *err);
/* All documents, and tokens behind the last one. */
int32_t di_encoded_store(di_encoded *from, di_builder *builder, dk_error *err);

/* Looks for special tokens in a text of a sample. */
void di_note_special(const di_encoder *encoder, const char *text, size_t size, di_encoded *out);
void di_note_key(const char *key, size_t size, di_encoded *out);
/* A number >= 0 that a float holds. */
int32_t di_weight_fits(double weight);

enum { DI_PIECE_FIRST = 1, DI_PIECE_LAST = 2 };
/* A piece of a text; `before` bytes of the same text stand in front of it in memory. Ends no document. */
int32_t di_encode_text(const di_encoder *encoder, const char *text, size_t size, size_t before, int32_t piece,
                       di_encoded *out, dk_error *err);
/* One segment, tokenised as the head of this file says; flags: DK_ENCODE_*. */
int32_t di_encode_segment(const di_encoder *encoder, const char *text, size_t size, size_t before, uint32_t flags,
                          int32_t learn, di_encoded *out, dk_error *err);
int32_t di_encode_id(di_encoded *encoded, int64_t id, int32_t learn, dk_error *err); /* -1 = nothing */
/* One JSON object with text, prompt and completion, or messages; the flags of the document go to *flags. Messages begin
 * with place. */
int32_t di_encode_json(const di_encoder *encoder, const char *json, size_t size, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err);

/* A completion and its prompt, both texts. */
int32_t di_encode_completion(const di_encoder *encoder, const dk_node *prompt, const dk_node *completion,
                             di_encoded *out, dk_error *err);
/* A sample with chosen and rejected: the chosen side as a document, the rejected one as the document under work. */
int32_t di_encode_pair(const di_encoder *encoder, const dk_node *sample, const char *place, uint32_t *flags,
                       di_encoded *out, dk_error *err);

/* ---- keys ---- */
typedef struct di_key {
    const char *name, *way; /* what to do instead */
} di_key;
/* NULL for a null too: loaders write every column of a table. */
const dk_node *di_member(const dk_node *map, const char *key);
/* Every key is one of `used` (ended by NULL) or is known to change nothing; one of `refused` that holds something is an
 * error; others are noted. what: "" or "message 3: ". */
int32_t di_check_keys(const dk_node *map, const char *const *used, const di_key *refused, const char *place,
                      const char *what, di_encoded *out, dk_error *err);
int32_t di_read_weight(const dk_node *node, const char *place, const char *what, double *out, dk_error *err);

/* ---- talk.c ---- */
/* Lists of messages of a sample; completion NULL = every answer of the list is learnt, else those of the completion
 * alone. */
int32_t di_encode_talk(const di_encoder *encoder, const dk_node *sample, const dk_node *list, const dk_node *completion,
                       const char *place, di_encoded *out, dk_error *err);
/* Keys of a sample that a chat template may read: tools, chat_template_kwargs. Refused where it does not. */
int32_t di_check_talk(const di_encoder *encoder, const dk_node *sample, const char *place, dk_error *err);

#endif
