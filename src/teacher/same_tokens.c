/* same_tokens.c - do the ids of two teachers mean the same tokens? */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "teacher/teacher.h"

static void spell(const dk_tokenizer *tokenizer, int64_t id, char out[48])
{
    size_t size = 0;
    const char *text = id < dk_tokenizer_vocab_size(tokenizer) ? dk_tokenizer_id_text(tokenizer, id, &size) : NULL;
    if (!text) snprintf(out, 48, "no token");
    else snprintf(out, 48, "\"%.*s\"", size < 40 ? (int)size : 40, text);
}

static int32_t same_id(const dk_tokenizer *a, const dk_tokenizer *b, int64_t id)
{
    size_t a_size = 0, b_size = 0;
    const char *a_text = dk_tokenizer_id_text(a, id, &a_size), *b_text = dk_tokenizer_id_text(b, id, &b_size);
    if (!a_text || !b_text) return a_text == b_text;
    return a_size == b_size && !memcmp(a_text, b_text, a_size) &&
           dk_tokenizer_is_special(a, id) == dk_tokenizer_is_special(b, id);
}

int32_t di_check_same_tokens(const char *a_name, const dk_tokenizer *a, const char *b_name, const dk_tokenizer *b,
                             dk_error *err)
{
    uint8_t a_hash[32], b_hash[32];
    char a_text[48], b_text[48];
    int64_t id = 0;
    if (!a || !b || a == b) return DK_OK;
    dk_tokenizer_hash(a, a_hash);
    dk_tokenizer_hash(b, b_hash);
    if (!memcmp(a_hash, b_hash, sizeof a_hash)) return DK_OK;
    const int64_t a_size = dk_tokenizer_vocab_size(a), b_size = dk_tokenizer_vocab_size(b);
    while (id < a_size && id < b_size && same_id(a, b, id)) id++;
    if (id >= a_size && id >= b_size)
        return dk_fail(err, DK_E_MISMATCH, "the tokenizers of %s and %s differ in which tokens were added", a_name,
                       b_name);
    spell(a, id, a_text);
    spell(b, id, b_text);
    return dk_fail(err, DK_E_MISMATCH,
                   "the tokenizers of %s (%lld tokens) and %s (%lld tokens) differ: token %lld is %s in %s and %s "
                   "in %s",
                   a_name, (long long)a_size, b_name, (long long)b_size, (long long)id, a_text, a_name, b_text, b_name);
}

/* A cache without its teacher knows its tokenizer by the hash alone. */
static int32_t known_tokenizer(const di_teacher *t, uint8_t out[32])
{
    const uint8_t *kept = di_teacher_cached_tokenizer(t);
    if (di_teacher_tokenizer(t)) dk_tokenizer_hash(di_teacher_tokenizer(t), out);
    else if (kept) memcpy(out, kept, 32);
    return di_teacher_tokenizer(t) || kept;
}

int32_t di_check_same_tokenizers(const char *a_name, const di_teacher *a, const char *b_name, const di_teacher *b,
                                 dk_error *err)
{
    uint8_t a_hash[32], b_hash[32];
    char a_hex[65], b_hex[65];
    int32_t rc;
    DK_TRY(di_check_same_tokens(a_name, di_teacher_tokenizer(a), b_name, di_teacher_tokenizer(b), err));
    if (!known_tokenizer(a, a_hash) || !known_tokenizer(b, b_hash) || memcmp(a_hash, b_hash, sizeof a_hash) == 0)
        goto out;
    dk_hex(a_hash, 32, a_hex);
    dk_hex(b_hash, 32, b_hex);
    rc =
        dk_fail(err, DK_E_MISMATCH, "the tokenizers of %s (%.16s) and %s (%.16s) differ", a_name, a_hex, b_name, b_hex);
out:
    return rc;
}
