/* spm_proto.h - a SentencePiece model file (tokenizer.model), which is one protobuf message, as its fields. Private to
 * lib/text. */
#ifndef DK_TEXT_SPM_PROTO_H
#define DK_TEXT_SPM_PROTO_H

#include "base/slice.h"
#include "base/strbuf.h"

typedef enum { DK_SPM_UNIGRAM = 1, DK_SPM_BPE = 2, DK_SPM_WORD = 3, DK_SPM_CHAR = 4 } dk_spm_type;
enum { DK_SPM_UNK, DK_SPM_BOS, DK_SPM_EOS, DK_SPM_PAD, DK_SPM_NAMES };
typedef struct dk_spm_model { /* slices lie in the bytes that were read */
    dk_host *host;
    dk_slice *pieces; /* [count] */
    float *scores;    /* [count] */
    int32_t *types;   /* [count], numbered as DK_TOKEN_* */
    int64_t count, capacity;
    int64_t type;                 /* dk_spm_type */
    dk_slice names[DK_SPM_NAMES]; /* the pieces that stand for them */
    dk_slice charsmap, denormal;  /* what text becomes before, and behind */
    dk_slice unk_surface;
    int64_t prefix, merge_spaces, escape, suffix, byte_fallback; /* switches */
    dk_strbuf unused;                                            /* names of fields that nothing here goes by */
} dk_spm_model;
/* bytes stay with the caller and must outlive the model. name stands in errors. */
int32_t dk_spm_read(dk_host *host, const char *name, const char *bytes, size_t size, dk_spm_model *out, dk_error *err);
void dk_spm_free(dk_spm_model *model); /* a zeroed one is fine */

#endif
