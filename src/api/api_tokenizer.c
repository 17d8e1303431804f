#include "api/handles.h"

#include <string.h>

#include "chat/chat.h"
#include "format/open_tokenizer.h"

int32_t di_tokenizer_handle(const distill_env *env, dk_tokenizer *tokenizer, distill_tokenizer **out, dk_error *err)
{
    distill_tokenizer *handle = di_handle_create(env, sizeof *handle, err);
    if (!handle) return DK_E_NOMEM;
    handle->tokenizer = dk_tokenizer_retain(tokenizer);
    *out = handle;
    return DK_OK;
}

int32_t distill_tokenizer_open(const distill_env *env, const char *path, distill_tokenizer **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_tokenizer *tokenizer = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(path, "path", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DI_COMPUTE(dk_open_tokenizer(env->host, path, &tokenizer, err));
    DK_TRY(di_tokenizer_handle(env, tokenizer, out, err));
out:
    dk_tokenizer_release(tokenizer);
    return rc;
}

void distill_tokenizer_free(distill_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    dk_tokenizer_release(tokenizer->tokenizer);
    di_handle_free(tokenizer);
}

static int32_t check_flags(int32_t flags, int32_t known, dk_error *err)
{
    return (flags & ~known) == 0
               ? DK_OK
               : dk_fail(err, DK_E_INVALID, "flags 0x%x has bits that are not known", (unsigned)flags);
}

int32_t distill_tokenizer_encode(const distill_tokenizer *tokenizer, const char *text, size_t size, int32_t flags,
                                 int32_t *ids, int64_t cap, int64_t *needed, distill_error *error)
{
    dk_error *err = di_err(error);
    uint32_t environment;
    int64_t count = 0;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(tokenizer, "tokenizer", err));
    if (size) DK_TRY(di_check_pointer(text, "text", err));
    DK_TRY(check_flags(flags, DISTILL_ENCODE_SPECIAL | DISTILL_ENCODE_PLAIN, err));
    if (cap < 0 || (cap && !ids)) {
        rc = dk_fail(err, DK_E_INVALID, "ids and cap %lld do not fit together", (long long)cap);
        goto out;
    }
    environment = dk_fp_enter();
    rc = dk_tokenizer_encode(tokenizer->tokenizer, text ? text : "", size, (uint32_t)flags, ids, cap, &count, err);
    dk_fp_leave(environment);
    if ((rc == DK_OK || rc == DK_E_BUFFER) && needed) *needed = count;
    if (rc == DK_E_BUFFER && !ids && needed) {
        dk_error_clear(err);
        rc = DK_OK;
    }
out:
    return rc;
}

int32_t distill_tokenizer_decode(const distill_tokenizer *tokenizer, const int32_t *ids, int64_t count, int32_t flags,
                                 char *buf, size_t cap, size_t *needed, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf text;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(tokenizer, "tokenizer", err)) != DK_OK) return rc;
    if (count < 0 || (count && !ids))
        return dk_fail(err, DK_E_INVALID, "ids and count %lld do not fit together", (long long)count);
    if ((rc = check_flags(flags, DISTILL_DECODE_SKIP_SPECIAL, err)) != DK_OK) return rc;
    dk_strbuf_init(&text, tokenizer->env->host);
    DK_TRY(dk_tokenizer_decode_to(tokenizer->tokenizer, ids, count, (uint32_t)flags, &text, err));
    DK_TRY(dk_strbuf_check(&text, err));
    DK_TRY(dk_text_out(text.data ? text.data : "", text.size, buf, cap, needed, err));
out:
    dk_strbuf_free(&text);
    return rc;
}

int32_t distill_tokenizer_chat(const distill_tokenizer *tokenizer, const char *messages_json, int32_t flags, char *buf,
                               size_t cap, size_t *needed, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_chat chat = {0};
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(tokenizer, "tokenizer", err));
    DK_TRY(di_check_pointer(messages_json, "messages_json", err));
    DK_TRY(check_flags(flags, DISTILL_CHAT_ANSWER | DISTILL_CHAT_CONTINUE, err));
    DI_COMPUTE(dk_chat_of_json(tokenizer->env->host, tokenizer->tokenizer, messages_json, flags & DISTILL_CHAT_ANSWER,
                               flags & DISTILL_CHAT_CONTINUE, &chat, err));
    DK_TRY(dk_text_out(chat.text, chat.size, buf, cap, needed, err));
out:
    dk_chat_free(&chat);
    return rc;
}

int32_t distill_tokenizer_get_i64(const distill_tokenizer *tokenizer, const char *key, int64_t *out,
                                  distill_error *error)
{
    static const struct {
        const char *key;
        int64_t (*get)(const dk_tokenizer *tokenizer);
    } keys[] = {{"vocab_size", dk_tokenizer_vocab_size},
                {"bos", dk_tokenizer_bos},
                {"eos", dk_tokenizer_eos},
                {"pad", dk_tokenizer_pad},
                {"unk", dk_tokenizer_unk}};
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(tokenizer, "tokenizer", err));
    DK_TRY(di_check_pointer(key, "key", err));
    DK_TRY(di_check_pointer(out, "out", err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].key, key) != 0) continue;
        *out = keys[i].get(tokenizer->tokenizer);
        return DK_OK;
    }
    rc = dk_fail(err, DK_E_NOT_FOUND, "key %s is not one of vocab_size, bos, eos, pad, unk", key);
out:
    return rc;
}
