/* A tokenizer from a dk_vocabulary. */
#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

#include "base/notes.h"

void dk_vocabulary_init(dk_vocabulary *vocabulary)
{
    memset(vocabulary, 0, sizeof *vocabulary);
    vocabulary->struct_size = sizeof *vocabulary;
    vocabulary->bos = vocabulary->eos = vocabulary->unk = vocabulary->pad = -1;
    vocabulary->add_bos = vocabulary->add_eos = vocabulary->add_space_prefix = -1;
    vocabulary->remove_extra_whitespaces = vocabulary->byte_fallback = -1;
}

static int32_t refuse_model(const char *model, dk_error *err)
{
    const int32_t wordpiece = !strcmp(model, "bert");
    return dk_fail(
        err, DK_E_UNSUPPORTED, "tokenizer model '%.40s'%s is not supported; supported: gpt2, llama, t5, gemma4", model,
        wordpiece ? " (WordPiece, whose words do not keep their spaces: no text comes back from it as it was)" : "");
}

static int32_t check(const dk_vocabulary *v, int32_t *kind, dk_error *err)
{
    if (v->struct_size < sizeof *v)
        return dk_fail(err, DK_E_INVALID, "vocabulary was not set up with dk_vocabulary_init");
    *kind = v->kind;
    if (v->model && (!strcmp(v->model, "gpt2") || !strcmp(v->model, "gemma4"))) *kind = DK_VOCABULARY_BPE;
    else if (v->model && !strcmp(v->model, "llama")) *kind = DK_VOCABULARY_SPM;
    else if (v->model && !strcmp(v->model, "t5")) *kind = DK_VOCABULARY_UNIGRAM;
    else if (v->model) return refuse_model(v->model, err);
    if (*kind < DK_VOCABULARY_BPE || *kind > DK_VOCABULARY_UNIGRAM)
        return dk_fail(err, DK_E_INVALID, "vocabulary kind %d is unknown", (int)*kind);
    if (v->count < 1 || v->count > DK_TOKEN_LIMIT || !v->tokens)
        return dk_fail(err, DK_E_FORMAT, "vocabulary has %lld tokens, must be 1 to %d", (long long)v->count,
                       DK_TOKEN_LIMIT);
    if (v->merge_count < 0 || v->merge_count > DK_TOKEN_LIMIT || (v->merge_count && !v->merges))
        return dk_fail(err, DK_E_FORMAT, "vocabulary has %lld merges, must be 0 to %d", (long long)v->merge_count,
                       DK_TOKEN_LIMIT);
    if (v->charsmap.size && *kind != DK_VOCABULARY_UNIGRAM && !v->own_rules)
        return dk_fail(err, DK_E_UNSUPPORTED, "a charsmap is supported with tokenizer model t5, not with '%.40s'",
                       v->model ? v->model : "");
    const int64_t specials[] = {v->bos, v->eos, v->unk, v->pad};
    static const char *const names[] = {"bos", "eos", "unk", "pad"};
    for (int32_t i = 0; i < 4; i++)
        if (specials[i] < -1 || specials[i] >= v->count)
            return dk_fail(err, DK_E_FORMAT, "%s id %lld is outside the vocabulary of %lld tokens", names[i],
                           (long long)specials[i], (long long)v->count);
    return DK_OK;
}

static int32_t add_tokens(dk_tokenizer *tok, const dk_vocabulary *v, int32_t kind, dk_error *err)
{
    int32_t rc = dk_token_table_reserve(&tok->bpe.tokens, v->count, err);
    for (int64_t id = 0; id < v->count && !rc; id++) {
        if (dk_valid_prefix(v->tokens[id].data, v->tokens[id].size) != v->tokens[id].size)
            return dk_fail(err, DK_E_FORMAT, "token %lld is not UTF-8", (long long)id);
        rc = dk_token_table_add(&tok->bpe.tokens, v->tokens[id].data, v->tokens[id].size, id, DK_TOKEN_MODEL, err);
    }
    for (int64_t id = 0; id < v->count && !rc; id++) {
        int32_t type = dk_vocabulary_type(v, id);
        dk_added_token token = {.id = (int32_t)id, .special = type != DK_TOKEN_USER};
        if (v->own_rules && type == DK_TOKEN_USER) { /* looked for behind normalization, Unigram's by the model */
            token.normalized = DK_ADDED_AS_SPELLED;
            if (kind == DK_VOCABULARY_UNIGRAM) continue;
        }
        if ((type == DK_TOKEN_CONTROL || type == DK_TOKEN_UNKNOWN || type == DK_TOKEN_USER) && v->tokens[id].size)
            rc = dk_tokenizer_add(tok, &token, err);
    }
    return rc;
}

static int32_t add_id(dk_tokenizer *tok, int32_t **list, int64_t *count, int64_t id, const char *what, dk_error *err)
{
    if (id < 0) return dk_fail(err, DK_E_FORMAT, "add_%s_token is set, but there is no %s token", what, what);
    *list = dk_alloc(tok->host, 1, sizeof **list);
    if (!*list) return dk_fail_nomem(err, sizeof **list);
    (*list)[0] = (int32_t)id;
    *count = 1;
    return DK_OK;
}

/* ---- byte-level BPE ---- */
static int32_t read_merges(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    dk_strbuf joined;
    dk_strbuf_init(&joined, tok->host);
    int32_t rc = dk_merge_table_init(&tok->bpe.merges, tok->host, (uint64_t)v->merge_count, err);
    for (int64_t i = 0; i < v->merge_count && !rc; i++) {
        const char *text = v->merges[i].data;
        size_t size = v->merges[i].size;
        const char *space = size > 2 ? memchr(text + 1, ' ', size - 1) : NULL;
        if (!space) {
            rc = dk_fail(err, DK_E_FORMAT, "merge %lld is not \"left right\"", (long long)i);
            break;
        }
        size_t left = (size_t)(space - text);
        rc = dk_bpe_add_merge(&tok->bpe, text, left, space + 1, size - left - 1, (uint32_t)i, &joined, err);
    }
    dk_strbuf_free(&joined);
    return rc;
}

static int32_t build_bpe(dk_tokenizer *tok, const dk_vocabulary *v, int32_t *add_bos, dk_error *err)
{
    int32_t rc;
    const dk_named_pre *pre;
    const char *name = v->model && !strcmp(v->model, "gemma4") ? v->model : v->pre ? v->pre : "default";
    if (!v->pre && v->model && !strcmp(name, "default"))
        dk_note(&tok->notes,
                "names no pre-tokenizer (tokenizer.ggml.pre): read with 'default', as llama.cpp does; text may "
                "be cut in other places than the model was trained with");
    DK_TRY(dk_find_pre(name, &pre, err));
    if (!v->merge_count && !strcmp(name, "kimi-k2"))
        return dk_fail(
            err, DK_E_UNSUPPORTED,
            "pre-tokenizer 'kimi-k2' without tokenizer.ggml.merges is not supported: take the tokenizer from "
            "a folder with tokenizer.json");
    DK_TRY(read_merges(tok, v, err));
    tok->bpe.ignore_merges = !!(pre->flags & DK_PRE_IGNORE_MERGES);
    *add_bos = !!(pre->flags & DK_PRE_ADD_BOS);
    if (pre->flags & DK_PRE_MARKED) return dk_build_marked(tok, v, err);
    for (int32_t i = 0; i < DK_PRE_PATTERNS && pre->patterns[i]; i++)
        DK_TRY(dk_steps_add_split(tok->host, &tok->pre, pre->patterns[i], DK_SPLIT_ISOLATED, 0, err));
    if (!dk_steps_add(&tok->pre, DK_STEP_BYTES, err) || !dk_steps_add(&tok->decoder, DK_STEP_LETTERS, err) ||
        !dk_steps_add(&tok->decoder, DK_STEP_FUSE, err))
        return DK_E_UNSUPPORTED;
out:
    return rc;
}

int32_t dk_vocabulary_build(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t kind = 0, rc, add_bos = 0, add_eos = v->add_eos > 0;
    DK_TRY(check(v, &kind, err));
    DK_TRY(add_tokens(tok, v, kind, err));
    if (kind == DK_VOCABULARY_BPE) DK_TRY(build_bpe(tok, v, &add_bos, err));
    else DK_TRY(dk_build_sentencepiece(tok, v, kind, err));
    if (kind == DK_VOCABULARY_SPM) add_bos = v->bos >= 0;
    if (kind == DK_VOCABULARY_UNIGRAM && v->add_eos < 0) add_eos = v->eos >= 0;
    tok->bos = v->bos;
    tok->eos = v->eos;
    tok->pad = v->pad;
    tok->unk = v->unk;
    tok->max_length = v->max_length;
    if (v->add_bos >= 0) add_bos = v->add_bos;
    else add_bos = add_bos && v->bos >= 0;
    if (add_bos) DK_TRY(add_id(tok, &tok->before, &tok->before_count, v->bos, "bos", err));
    if (add_eos) DK_TRY(add_id(tok, &tok->after, &tok->after_count, v->eos, "eos", err));
    if (v->chat_template && !(tok->chat_template = dk_strdup(tok->host, v->chat_template)))
        return dk_fail_nomem(err, strlen(v->chat_template));
out:
    return rc;
}

int32_t dk_tokenizer_from_vocabulary(dk_host *host, const dk_vocabulary *vocabulary, dk_tokenizer **out, dk_error *err)
{
    dk_tokenizer *tok;
    int32_t rc = dk_tokenizer_new(host, &tok, err);
    if (rc) return rc;
    rc = dk_vocabulary_build(tok, vocabulary, err);
    if (!rc) rc = dk_tokenizer_seal(tok, err);
    if (rc) dk_tokenizer_release(tok);
    else *out = tok;
    return rc;
}
