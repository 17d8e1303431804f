/* tokenizer_impl.h - what a dk_tokenizer is made of. Private to lib/text. */
#ifndef DK_TEXT_TOKENIZER_IMPL_H
#define DK_TEXT_TOKENIZER_IMPL_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/steps.h"
#include "text/tokenizer.h"
#include "text/unigram.h"

#include <stdatomic.h>

enum { DK_SCRATCH_SLOTS = 16 };

typedef struct dk_text_scratch { /* what one call needs; lent from the tokenizer's pool */
    dk_host *host;
    dk_regex_state *regex;
    dk_bpe_scratch bpe;
    dk_unigram_scratch unigram;
    dk_id_list ids;
    dk_strbuf source;               /* the text with bad bytes escaped */
    dk_strbuf normal[2];            /* what normalizers wrote */
    dk_strbuf stages[DK_STEPS_MAX]; /* what a pre-tokenizer's step wrote */
} dk_text_scratch;

typedef enum { /* the files of a tokenizer in a folder */
               DK_TOKENIZER_JSON,
               DK_TOKENIZER_CONFIG,
               DK_TOKENIZER_JINJA,
               DK_TOKENIZER_MAP,          /* special_tokens_map.json, of old writers */
               DK_TOKENIZER_ADDED,        /* added_tokens.json, of old writers */
               DK_TOKENIZER_SPM,          /* tokenizer.model, where there is no tokenizer.json */
               DK_TOKENIZER_TOOLS,        /* additional_chat_templates/tool_use.jinja */
               DK_TOKENIZER_OLD_TEMPLATE, /* chat_template.json, of processors */
               DK_TOKENIZER_FILES
} dk_tokenizer_file;
const char *dk_tokenizer_file_name(dk_tokenizer_file file);
typedef struct dk_text_file {
    char *data; /* without a byte order mark; NULL = there is none */
    size_t size;
} dk_text_file;

struct dk_tokenizer {
    dk_host *host;
    atomic_int references;
    _Atomic(dk_text_scratch *) pool[DK_SCRATCH_SLOTS];
    dk_bpe bpe; /* its tokens are those of either model */
    dk_unigram unigram;
    dk_steps normalizer, pre, decoder;
    int32_t letters_last; /* the pre-tokenizer ends in DK_STEP_BYTES and the model takes the bytes instead */
    int32_t bad_byte_ids[256];
    uint8_t keeps_byte[256]; /* bad_byte_ids[b] >= 0 */
    dk_added_token *added;
    int64_t added_count;
    dk_strbuf respelled;           /* what normalization makes of added tokens */
    dk_trie raw_trie, normal_trie; /* tokens searched before and after normalization */
    dk_trie special_trie;          /* all special ones as they are spelled */
    int32_t *before, *after;       /* what the post-processor puts around a text */
    int64_t before_count, after_count;
    int64_t bos, eos, pad, unk;
    uint8_t hash[32];
    int32_t split_special; /* special tokens spelled out in a text are ordinary text, always */
    int64_t max_length;    /* model_max_length of one made from parts; 0 = unknown */
    char *chat_template;
    char *tool_template;                    /* where several have names: the one for talks with tools; NULL = none */
    dk_text_file files[DK_TOKENIZER_FILES]; /* as they were read; none where it was made from parts */
    dk_strbuf notes;                        /* what was read and is not used (base/notes.h) */
};

int32_t dk_tokenizer_new(dk_host *host, dk_tokenizer **out, dk_error *err);
/* An added token that is known under id; contents are matched from the next dk_tokenizer_seal on. */
int32_t dk_tokenizer_add(dk_tokenizer *tok, const dk_added_token *token, dk_error *err);
/* Once tables and stages are complete: tries, byte tables, hash. */
int32_t dk_tokenizer_seal(dk_tokenizer *tok, dk_error *err);
int32_t dk_text_scratch_take(const dk_tokenizer *tok, dk_text_scratch **out, dk_error *err);
void dk_text_scratch_give(const dk_tokenizer *tok, dk_text_scratch *scratch);
void dk_text_scratch_free(dk_text_scratch *scratch);

/* What is known of parts of a text; places are bytes of the whole, in which the text that is encoded begins at base. */
typedef struct dk_text_cut { /* an added token: what stands behind it is encoded on its own, from id on */
    size_t begin, end;
    int64_t id;
} dk_text_cut;
typedef struct dk_text_marks {
    size_t base;
    const dk_text_span *plain; /* [plain_count] ascending: no special token is read there */
    int64_t plain_count;
    dk_strbuf *cuts; /* of dk_text_cut; NULL = not wanted */
} dk_text_marks;
/* The ids of a text, to scratch->ids. marks NULL = none. */
int32_t dk_text_encode(const dk_tokenizer *tok, dk_text_scratch *scratch, const char *text, size_t size, uint32_t flags,
                       const dk_text_marks *marks, dk_error *err);

/* What token id of a vocabulary is (DK_TOKEN_*). */
static inline int32_t dk_vocabulary_type(const dk_vocabulary *v, int64_t id)
{
    return v->types                       ? v->types[id]
           : id == v->unk                 ? DK_TOKEN_UNKNOWN
           : id == v->bos || id == v->eos ? DK_TOKEN_CONTROL
                                          : DK_TOKEN_NORMAL;
}
/* Fills a new tokenizer; not sealed. */
int32_t dk_vocabulary_build(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err);
/* tokenizer_spm.c: model, normalizer and decoder of a kind other than DK_VOCABULARY_BPE; tokens are there. */
int32_t dk_build_sentencepiece(dk_tokenizer *tok, const dk_vocabulary *v, int32_t kind, dk_error *err);

/* The same for a BPE vocabulary whose words are characters with marked spaces, not bytes. */
int32_t dk_build_marked(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err);

/* ---- pre_names.c ---- */
enum { DK_PRE_NAMES = 20, DK_PRE_PATTERNS = 6 };
enum { DK_PRE_IGNORE_MERGES = 1, DK_PRE_ADD_BOS = 2, DK_PRE_MARKED = 4 /* dk_build_marked */ };
typedef struct dk_named_pre { /* one byte-level pre-tokenizer, and what goes with it */
    const char *names[DK_PRE_NAMES];
    int32_t flags;
    const char *patterns[DK_PRE_PATTERNS]; /* each cuts the parts that the one before it left */
} dk_named_pre;
int32_t dk_find_pre(const char *name, const dk_named_pre **out, dk_error *err);
/* GGUF's name of a byte-level pre-tokenizer; NULL = it has none. */
const char *dk_pre_name(const dk_steps *pre, int32_t ignore_merges);

/* pretokenise.c: runs the pre-tokenizer and the model over normalised text; the ids go to scratch->ids. */
typedef struct dk_piece {
    const char *text;
    size_t size;
    size_t front;    /* bytes of the whole text's first character; 0 = that is elsewhere */
    int32_t goes_on; /* behind a bad byte or another text: nothing is put in front */
} dk_piece;
int32_t dk_pretokenise(const dk_tokenizer *tok, dk_text_scratch *scratch, dk_piece piece, dk_error *err);

#endif
