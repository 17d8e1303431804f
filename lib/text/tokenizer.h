/* tokenizer.h - text <-> token ids.
 *
 * Here live tokenizers (byte-level BPE, SentencePiece-style BPE with byte fallback, Unigram), read from tokenizer.json
 * or built from neutral parts (dk_vocabulary). Files of models do not live here: whoever reads a GGUF file fills a
 * dk_vocabulary. Chat templates live in lib/chat. Ids equal those of the reference implementation (HF tokenizers;
 * llama.cpp for GGUF).
 *
 * A tokenizer does not change after it was made: every function that takes a const dk_tokenizer may be called from many
 * threads at once. Patterns run in PCRE2 with match limits, match data is per call.
 *
 * Text is bytes. A byte that is not part of valid UTF-8 is a token of its own where the vocabulary has byte tokens
 * (byte-level BPE: the character of that byte; byte fallback: <0xNN>), else it becomes U+FFFD. */
#ifndef DK_TEXT_TOKENIZER_H
#define DK_TEXT_TOKENIZER_H

#include "base/slice.h"
#include "conf/document.h"

typedef struct dk_tokenizer dk_tokenizer;

/* ---- made from files: tokenizer.json, and tokenizer_config.json (NULL = none) beside it ---- */
/* The documents may be freed afterwards. What is not supported is DK_E_UNSUPPORTED, named, with a list of what is. */
int32_t dk_tokenizer_from_json(dk_host *host, const dk_document *json, const dk_document *config, dk_tokenizer **out,
                               dk_error *err);
/* A SentencePiece model (tokenizer.model), by SentencePiece's rules. name stands in errors; bytes are copied. */
int32_t dk_tokenizer_from_model(dk_host *host, const char *name, const char *bytes, size_t size, dk_tokenizer **out,
                                dk_error *err);
/* Reads folder/tokenizer.json, or where there is none tokenizer.model, and, if there, tokenizer_config.json,
 * chat_template.jinja, special_tokens_map.json and added_tokens.json beside it; keeps the bytes for dk_tokenizer_save.
 * Where they speak of the same fact, what transformers 5 goes by is used and the rest is noted. DK_E_NOT_FOUND when
 * there is neither. */
int32_t dk_tokenizer_open(dk_host *host, const char *folder, dk_tokenizer **out, dk_error *err);

/* ---- made from parts, as GGUF keeps them ---- */
typedef enum {
    DK_VOCABULARY_BPE = 1,    /* GGUF "gpt2", "gemma4" */
    DK_VOCABULARY_SPM = 2,    /* GGUF "llama": SentencePiece's BPE, by scores */
    DK_VOCABULARY_UNIGRAM = 3 /* GGUF "t5" */
} dk_vocabulary_kind;
enum { /* token types, numbered as in GGUF's tokenizer.ggml.token_type */
       DK_TOKEN_NORMAL = 1,
       DK_TOKEN_UNKNOWN = 2,
       DK_TOKEN_CONTROL = 3,
       DK_TOKEN_USER = 4,
       DK_TOKEN_UNUSED = 5,
       DK_TOKEN_BYTE = 6
};
enum { /* where a vocabulary's texts get a mark in front; -1 = as its kind does */
       DK_MARK_NEVER = 0,
       DK_MARK_ALWAYS = 1, /* of every part between special tokens */
       DK_MARK_FIRST = 2,  /* of the part that a text begins with, where it has none. Own rules only, as the next one */
       DK_MARK_MISSING = 3 /* of every part that has none */
};
typedef struct dk_vocabulary {
    size_t struct_size; /* sizeof(dk_vocabulary), set by dk_vocabulary_init */
    int32_t kind;       /* dk_vocabulary_kind; 0 = from model below */
    const char
        *model;      /* tokenizer.ggml.model: "gpt2", "llama", "t5"; others are refused by name. NULL = kind decides */
    const char *pre; /* tokenizer.ggml.pre: "gpt-2", "llama-bpe", "qwen2", ...; NULL = "default". BPE only */
    const dk_slice *tokens; /* [count] */
    int64_t count;
    const float *scores;    /* [count] or NULL; required for SPM and UNIGRAM */
    const int32_t *types;   /* [count] DK_TOKEN_* or NULL = all normal */
    const dk_slice *merges; /* [merge_count] "left right"; BPE only */
    int64_t merge_count;
    int64_t bos, eos, unk, pad;       /* -1 = none */
    int32_t add_bos, add_eos;         /* 1, 0, or -1 = the kind's default (SPM adds BOS, UNIGRAM EOS) */
    int32_t add_space_prefix;         /* DK_MARK_*; -1 = SPM: 1, UNIGRAM: 0 as in llama.cpp; BPE has none */
    int32_t own_rules;                /* 1 = SPM, UNIGRAM as SentencePiece itself has them; 0 = as llama.cpp */
    dk_slice charsmap;                /* SPM with own rules, UNIGRAM; size 0 = none */
    int32_t remove_extra_whitespaces; /* where there may be a charsmap: 1, 0, or -1 = own_rules */
    int32_t byte_fallback;            /* 1, 0, or -1 = the kind's default (SPM has it) */
    int64_t max_length;               /* tokens that the model beside it can see; 0 = unknown */
    const char *chat_template;        /* NULL = none */
} dk_vocabulary;
void dk_vocabulary_init(dk_vocabulary *vocabulary); /* zero, ids -1, flags -1 */
/* Copies what it needs. */
int32_t dk_tokenizer_from_vocabulary(dk_host *host, const dk_vocabulary *vocabulary, dk_tokenizer **out, dk_error *err);

/* The way back: what GGUF can keep of a tokenizer, for a model of so many rows. Rows without a token are named [PAD..];
 * the 256 byte tokens that SentencePiece needs are added behind the rows where it lacks them. Texts lie in tok or in
 * the parts. What GGUF cannot say is refused by name, what it leaves out is noted. */
typedef struct dk_vocabulary_parts {
    dk_vocabulary vocabulary;
    int64_t added; /* byte tokens behind the rows */
    dk_host *host;
    dk_slice *tokens, *merges;
    int32_t *types;
    float *scores;
    char *texts, *merge_texts;
} dk_vocabulary_parts;
int32_t dk_tokenizer_to_vocabulary(const dk_tokenizer *tok, dk_host *host, int64_t rows, dk_strbuf *notes,
                                   dk_vocabulary_parts *out, dk_error *err);
void dk_vocabulary_parts_free(dk_vocabulary_parts *parts); /* a zeroed one is fine */

dk_tokenizer *dk_tokenizer_retain(const dk_tokenizer *tok);
void dk_tokenizer_release(dk_tokenizer *tok); /* NULL is fine */

/* ---- encode and decode ---- */
enum {
    DK_ENCODE_SPECIAL = 1,   /* add BOS, EOS, ... as the post-processor says */
    DK_ENCODE_PLAIN = 2,     /* special tokens spelled out in the text are ordinary text */
    DK_ENCODE_CONTINUES = 4, /* the text goes on where another one ended: no space is put in front of it */
    DK_ENCODE_BEHIND = 8     /* the text stands behind a special token of a longer one */
};
/* Writes the ids to ids[cap] and their number to *needed (NULL is fine). When cap is too small nothing is written but
 * *needed, and the result is DK_E_BUFFER; ids may be NULL with cap 0. Texts up to 1 GiB. */
/* truncation and padding of a tokenizer.json are not applied: lengths are the business of whoever asks. */
int32_t dk_tokenizer_encode(const dk_tokenizer *tok, const char *text, size_t size, uint32_t flags, int32_t *ids,
                            int64_t cap, int64_t *needed, dk_error *err);
/* The same into a block that grows: *ids (dk_alloc'd in host, NULL at first, *cap entries) is enlarged where needed and
 * the new ids are appended from entry *count on, so that a loop over texts allocates seldom. */
int32_t dk_tokenizer_append(const dk_tokenizer *tok, dk_host *host, const char *text, size_t size, uint32_t flags,
                            int32_t **ids, int64_t *cap, int64_t *count, dk_error *err);

typedef struct dk_text_span { /* bytes [begin, end) of a text */
    size_t begin, end;
} dk_text_span;
typedef struct dk_marked_text {
    const char *text; /* UTF-8 */
    size_t size;
    const dk_text_span *plain; /* [plain_count] ascending: what spells a special token there, even in part, is text */
    int64_t plain_count;
    const dk_text_span *wanted; /* [wanted_count] whose tokens are asked for */
    int64_t wanted_count;
} dk_marked_text;
/* Appends the ids of the whole text, as dk_tokenizer_append does. places[2 * wanted_count]: of the ids appended, the
 * first that reaches into each span and the one behind the last. A token that lies across the begin of a span belongs
 * to it, but not an added one. DK_E_UNSUPPORTED where normalization hides where a token lies. */
int32_t dk_tokenizer_append_marked(const dk_tokenizer *tok, dk_host *host, const dk_marked_text *in, int32_t **ids,
                                   int64_t *cap, int64_t *count, int64_t *places, dk_error *err);

/* For a text that is encoded in parts (prompt and completion, the segments of a chat): DK_ENCODE_CONTINUES where the
 * ids so far end in an ordinary token, 0 where they end in an added token or there are none. */
uint32_t dk_tokenizer_continue_flags(const dk_tokenizer *tok, const int32_t *ids, int64_t count);

enum { DK_DECODE_SKIP_SPECIAL = 1 };
/* Exact bytes (a token may hold part of a character), a NUL behind them. *needed includes the NUL; DK_E_BUFFER when
 * short. An id without a token is DK_E_INVALID. */
int32_t dk_tokenizer_decode(const dk_tokenizer *tok, const int32_t *ids, int64_t count, uint32_t flags, char *buf,
                            size_t cap, size_t *needed, dk_error *err);
/* The same, appended to out. */
int32_t dk_tokenizer_decode_to(const dk_tokenizer *tok, const int32_t *ids, int64_t count, uint32_t flags,
                               dk_strbuf *out, dk_error *err);

/* ---- what is in it ---- */
int64_t dk_tokenizer_vocab_size(const dk_tokenizer *tok); /* largest id + 1, added tokens included */
/* The token as the vocabulary spells it (byte-level alphabet, U+2581 for a space). NULL and size 0 for an id that has
 * none. */
const char *dk_tokenizer_id_text(const dk_tokenizer *tok, int64_t id, size_t *size);
int64_t dk_tokenizer_text_id(const dk_tokenizer *tok, const char *text, size_t size); /* -1 = no such token */
int32_t dk_tokenizer_is_special(const dk_tokenizer *tok, int64_t id);
/* The next special token that is spelled out in text[at, size), the longest of those at its place: its id, and where it
 * stands; -1 = none. */
int64_t dk_tokenizer_next_special(const dk_tokenizer *tok, const char *text, size_t size, size_t at, size_t *begin,
                                  size_t *end);
int64_t dk_tokenizer_bos(const dk_tokenizer *tok); /* -1 = none */
int64_t dk_tokenizer_eos(const dk_tokenizer *tok);
/* For a tokenizer that names none, before it is shared: the id that its model ends texts with. */
void dk_tokenizer_set_eos(dk_tokenizer *tok, int64_t id);
int64_t dk_tokenizer_pad(const dk_tokenizer *tok);
int64_t dk_tokenizer_unk(const dk_tokenizer *tok);
int32_t dk_tokenizer_adds_bos(const dk_tokenizer *tok); /* 1 = DK_ENCODE_SPECIAL puts bos in front of a text */
/* SHA-256 over all (id, text, added, special) in order of id: equal for tokenizers whose ids mean the same tokens. */
void dk_tokenizer_hash(const dk_tokenizer *tok, uint8_t digest[32]);
const char *dk_tokenizer_chat_template(const dk_tokenizer *tok); /* Jinja text; NULL = none */
/* The one that stands in for it where a talk has tools; NULL = none. */
const char *dk_tokenizer_tool_template(const dk_tokenizer *tok);
/* What was read and is not used (base/notes.h); logged by whoever made it, who may add lines. */
dk_strbuf *dk_tokenizer_notes(dk_tokenizer *tok);

/* ---- a part of a vocabulary: BPE alone ---- */
/* Adds to kept[vocab_size] what a tokenizer of these ids needs: special and added tokens, bytes, and every token on the
 * way to a kept one. */
int32_t dk_tokenizer_close_over(const dk_tokenizer *tok, uint8_t *kept, dk_error *err);
/* A tokenizer of ids[count] alone, ascending and closed over, which become 0, 1, ... A text of kept tokens has the same
 * ones as before. */
int32_t dk_tokenizer_trim(const dk_tokenizer *tok, const int64_t *ids, int64_t count, dk_tokenizer **out,
                          dk_error *err);

/* ---- writing ---- */
/* The files as they were read, or made so that HF tokenizers and transformers load the same tokenizer. Appends. */
int32_t dk_tokenizer_write_json(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err);   /* tokenizer.json */
int32_t dk_tokenizer_write_config(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err); /* tokenizer_config.json */
/* Writes both, and the files with chat templates that were read, into an existing folder. */
int32_t dk_tokenizer_save(const dk_tokenizer *tok, const char *folder, dk_error *err);
/* The same with another chat template in the place of all that the tokenizer has: in tokenizer_config.json and in
 * chat_template.jinja. NULL = with its own. */
int32_t dk_tokenizer_save_with(const dk_tokenizer *tok, const char *chat_template, const char *folder, dk_error *err);

#endif
