/* A tokenizer as the parts that GGUF keeps: the way back of tokenizer_vocab.c. What GGUF cannot say is refused, and the
 * parts are made into a tokenizer again, which must give the same ids. */
#include "text/tokenizer_impl.h"

#include "base/notes.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_SIZE = 24, BYTES = 256 }; /* "[PAD4294967295]", "<0xFF>" */

typedef struct maker {
    const dk_tokenizer *tok;
    dk_vocabulary_parts *out;
    dk_strbuf *notes;
    size_t text_used;
} maker;

static const dk_token *token_of(const maker *in, int64_t id)
{
    const dk_token *token = dk_token_at(&in->tok->bpe.tokens, id);
    return token && !(token->flags & DK_TOKEN_HIDDEN) ? token : NULL;
}

static int32_t fail_stage(const char *stage, const char *what, dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "the tokenizer's %s (%s) cannot be said in GGUF: save a folder (--to hf), or export the model "
                   "without it",
                   stage, what);
}

/* ---- stages ---- */
static int32_t is_replace(const dk_step *step, const char *from, const char *to)
{
    return step->kind == DK_STEP_REPLACE && step->matcher.kind == DK_MATCH_TEXT && step->matcher.size == strlen(from) &&
           !memcmp(step->matcher.text, from, strlen(from)) && step->size == strlen(to) &&
           !memcmp(step->text, to, strlen(to));
}

/* SentencePiece's: an optional mark in front, spaces become marks. In the normalizer of old files, Metaspace of new. */
static int32_t read_spm_stages(const dk_tokenizer *tok, int32_t *prefix, dk_error *err)
{
    const dk_step *normal = tok->normalizer.items, *pre = tok->pre.items;
    int32_t n = tok->normalizer.count, at = 0;
    *prefix = 0;
    if (n == 1 && normal[0].kind == DK_STEP_SENTENCEPIECE) {
        *prefix = normal[0].rules->prefix || tok->pre.count;
        if (normal[0].rules->charsmap) return fail_stage("normalizer", "a charsmap beside BPE", err);
        return normal[0].rules->merge_spaces ? fail_stage("normalizer", "it merges spaces beside BPE", err) : DK_OK;
    }
    if (at < n && normal[at].kind == DK_STEP_PREPEND && normal[at].size == 3 && !memcmp(normal[at].text, DK_MARK, 3))
        *prefix = 1, at++;
    if (at < n && is_replace(&normal[at], " ", DK_MARK)) at++;
    if (at < n) return fail_stage("normalizer", "more than marked spaces", err);
    if (n && tok->pre.count == 1 && pre[0].kind == DK_STEP_SPLIT && pre[0].matcher.kind == DK_MATCH_TEXT &&
        pre[0].matcher.size == 1 && pre[0].matcher.text[0] == ' ')
        return DK_OK; /* Gemma's: there are no spaces any more */
    if (n) return tok->pre.count ? fail_stage("pre-tokenizer", "beside a normalizer of marked spaces", err) : DK_OK;
    if (!tok->pre.count || pre[0].kind != DK_STEP_METASPACE) return fail_stage("pre-tokenizer", "no Metaspace", err);
    *prefix = pre[0].scheme != DK_PREFIX_NEVER;
    return DK_OK;
}

/* Spaces are merged, whatever they become: Strip and Replace of old and new converters. */
static int32_t merges_spaces(const dk_step *step)
{
    return step->kind == DK_STEP_STRIP ||
           (step->kind == DK_STEP_REPLACE && step->matcher.kind == DK_MATCH_REGEX && step->matcher.size == 5 &&
            !memcmp(step->matcher.text, " {2,}", 5)) ||
           (step->kind == DK_STEP_REPLACE && !step->size);
}

/* Unigram's: a charsmap, then spaces that are merged or not, then marks by either of the two ways. */
static int32_t read_unigram_stages(const maker *in, dk_error *err)
{
    const dk_tokenizer *tok = in->tok;
    dk_vocabulary *v = &in->out->vocabulary;
    const dk_step *normal = tok->normalizer.items, *pre = tok->pre.items;
    int32_t n = tok->normalizer.count, at = 0, behind = 0;
    v->remove_extra_whitespaces = v->add_space_prefix = 0;
    if (tok->bpe.byte_tokens) return fail_stage("model", "byte_fallback beside Unigram", err);
    if (n == 1 && normal[0].kind == DK_STEP_SENTENCEPIECE) {
        const dk_spm_rules *rules = normal[0].rules;
        v->add_space_prefix = rules->prefix || tok->pre.count;
        v->remove_extra_whitespaces = rules->merge_spaces;
        if (rules->charsmap) v->charsmap = (dk_slice){rules->charsmap->bytes, rules->charsmap->size};
        return DK_OK;
    }
    if (at < n && normal[at].kind == DK_STEP_CHARSMAP)
        v->charsmap = (dk_slice){normal[at].charsmap->bytes, normal[at].charsmap->size}, at++;
    for (; at < n && merges_spaces(&normal[at]); at++) v->remove_extra_whitespaces = 1;
    if (at < n && normal[at].kind == DK_STEP_PREPEND) v->add_space_prefix = 1, at++;
    if (at < n && is_replace(&normal[at], " ", DK_MARK)) at++;
    if (at < n) return fail_stage("normalizer", "more than Precompiled and spaces", err);
    if (tok->pre.count && pre[0].kind == DK_STEP_SPLIT && pre[0].matcher.kind == DK_MATCH_SPACE)
        v->remove_extra_whitespaces = 1, behind = 1;
    if (behind == tok->pre.count) return DK_OK;
    if (pre[behind].kind != DK_STEP_METASPACE) return fail_stage("pre-tokenizer", "no Metaspace", err);
    v->add_space_prefix = pre[behind].scheme != DK_PREFIX_NEVER;
    return DK_OK;
}

static int32_t read_bpe_stages(const maker *in, const char **pre, dk_error *err)
{
    const dk_tokenizer *tok = in->tok;
    for (int32_t i = 0; i < tok->normalizer.count; i++) {
        if (tok->normalizer.items[i].kind != DK_STEP_NFC) return fail_stage("normalizer", "more than NFC", err);
        dk_note(in->notes, "the tokenizer's NFC has no key in GGUF: text that is not composed gets other ids there");
    }
    *pre = dk_pre_name(&tok->pre, tok->bpe.ignore_merges);
    return *pre ? DK_OK : fail_stage("pre-tokenizer", "its patterns are none that has a name there", err);
}

/* ---- tokens ---- */
static int32_t is_byte_name(const char *text, size_t size)
{
    return size == 6 && !memcmp(text, "<0x", 3) && text[5] == '>';
}

static int32_t type_of(const maker *in, int64_t id, const dk_token *token)
{
    const char *text = dk_token_text(&in->tok->bpe.tokens, token);
    int32_t spm = in->out->vocabulary.kind != DK_VOCABULARY_BPE;
    if (spm && id == in->tok->unk) return DK_TOKEN_UNKNOWN;
    if (token->flags & DK_TOKEN_ADDED) return token->flags & DK_TOKEN_SPECIAL ? DK_TOKEN_CONTROL : DK_TOKEN_USER;
    return spm && is_byte_name(text, token->size) ? DK_TOKEN_BYTE : DK_TOKEN_NORMAL;
}

static dk_slice new_name(maker *in, const char *format, long long number)
{
    char *at = in->out->texts + in->text_used;
    int length = snprintf(at, NAME_SIZE, format, number);
    in->text_used += NAME_SIZE;
    return (dk_slice){at, (size_t)length};
}

static void put_tokens(maker *in, int64_t rows)
{
    for (int64_t id = 0; id < in->out->vocabulary.count; id++) {
        const dk_token *token = id < rows ? token_of(in, id) : NULL;
        if (token) {
            in->out->tokens[id] = (dk_slice){dk_token_text(&in->tok->bpe.tokens, token), token->size};
            in->out->types[id] = type_of(in, id, token);
        } else if (id < rows) {
            in->out->tokens[id] = new_name(in, "[PAD%lld]", id);
            in->out->types[id] = DK_TOKEN_UNUSED;
        } else {
            in->out->tokens[id] = new_name(in, "<0x%02llX>", id - rows);
            in->out->types[id] = DK_TOKEN_BYTE;
        }
    }
}

static int64_t missing_bytes(const maker *in)
{
    char name[8];
    for (int i = 0; i < BYTES; i++) {
        snprintf(name, sizeof name, "<0x%02X>", i);
        if (dk_token_table_find(&in->tok->bpe.tokens, name, 6) < 0) return BYTES;
    }
    return 0;
}

/* ---- merges and scores ---- */
static int by_rank(const void *a, const void *b)
{
    const dk_merge *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static int32_t list_merges(const maker *in, dk_merge **out, int64_t *count, dk_error *err)
{
    const dk_merge_table *table = &in->tok->bpe.merges;
    int32_t rc = dk_new(in->out->host, table->used + 1, out, err);
    for (uint64_t i = 0; !rc && i < table->slot_count; i++) {
        const dk_merge *merge = &table->slots[i];
        if (merge->left >= 0 && token_of(in, merge->left) && token_of(in, merge->right)) (*out)[(*count)++] = *merge;
    }
    if (!rc) qsort(*out, (size_t)*count, sizeof **out, by_rank);
    return rc;
}

/* Merging takes the best score first: the first rank that makes a token is its score. */
static void put_scores(maker *in, const dk_merge *merges, int64_t count)
{
    float last = count ? -(float)merges[count - 1].rank - 1 : 0;
    for (int64_t id = 0; id < in->out->vocabulary.count; id++) in->out->scores[id] = last;
    for (int64_t i = count; i-- > 0;) in->out->scores[merges[i].id] = -(float)merges[i].rank;
    for (int64_t id = 0; id < in->out->vocabulary.count; id++)
        if (in->out->types[id] != DK_TOKEN_NORMAL) in->out->scores[id] = 0;
}

static void put_unigram_scores(maker *in)
{
    const dk_unigram *unigram = &in->tok->unigram;
    for (int64_t id = 0; id < in->out->vocabulary.count; id++)
        in->out->scores[id] = id < unigram->count ? (float)unigram->scores[id] : 0;
}

static int32_t put_merges(maker *in, const dk_merge *merges, int64_t count, dk_error *err)
{
    size_t bytes = 1, at = 0;
    for (int64_t i = 0; i < count; i++)
        bytes += token_of(in, merges[i].left)->size + token_of(in, merges[i].right)->size + 1u;
    int32_t rc = dk_new(in->out->host, count + 1, &in->out->merges, err);
    if (!rc) rc = dk_new(in->out->host, bytes, &in->out->merge_texts, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        char *text = in->out->merge_texts + at;
        const dk_token *left = token_of(in, merges[i].left), *right = token_of(in, merges[i].right);
        memcpy(text, dk_token_text(&in->tok->bpe.tokens, left), left->size);
        text[left->size] = ' ';
        memcpy(text + left->size + 1, dk_token_text(&in->tok->bpe.tokens, right), right->size);
        in->out->merges[i] = (dk_slice){text, left->size + right->size + 1u};
        at += in->out->merges[i].size;
    }
    in->out->vocabulary.merges = in->out->merges;
    in->out->vocabulary.merge_count = count;
    return rc;
}

/* ---- the same ids ---- */
static const char *const samples[] = {"Hello, world! It's 1234567 o'clock; I'LL be there, won't you?",
                                      "  two  spaces\tand a tab\r\n\r\nlines\n",
                                      "na\xc3\xafve caf\xc3\xa9 \xc2\xbf"
                                      "Ma\xc3\xb1"
                                      "ana? \xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x80\x94 10\xe2\x82\xac",
                                      "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd0\x9c\xd0\x98\xd0\xa0 "
                                      "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c "
                                      "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 \xf0\x9f\x98\x80\xf0\x9f\x91\x8d",
                                      "for (int i = 0; i < 10; i++) { x[i] += 0x1F * y->z; } // http://a.b/c?d=e#f",
                                      "a",
                                      " a",
                                      "",
                                      "MiXeD CaSeWoRds ABCdef \xc3\x89T\xc3\x89"};

static int32_t same_ids(const maker *in, const dk_tokenizer *again, const char *text, dk_error *err)
{
    int32_t rc, *ids[2] = {NULL, NULL};
    int64_t cap[2] = {0, 0}, count[2] = {0, 0};
    const dk_tokenizer *const toks[] = {in->tok, again};
    for (int i = 0; i < 2; i++)
        DK_TRY(dk_tokenizer_append(toks[i], in->out->host, text, strlen(text), DK_ENCODE_SPECIAL, &ids[i], &cap[i],
                                   &count[i], err));
    if (count[0] != count[1] || (count[0] && memcmp(ids[0], ids[1], (size_t)count[0] * sizeof **ids) != 0))
        DK_TRY(fail_stage("rules", "read back they give other ids", err));
out:
    for (int i = 0; i < 2; i++) dk_free(in->out->host, ids[i]);
    return rc;
}

static int32_t check_again(const maker *in, dk_error *err)
{
    int32_t rc;
    dk_tokenizer *again = NULL;
    DK_TRY(dk_tokenizer_from_vocabulary(in->out->host, &in->out->vocabulary, &again, err));
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) DK_TRY(same_ids(in, again, samples[i], err));
out:
    dk_tokenizer_release(again);
    return rc;
}

/* ---- the whole ---- */
static int32_t read_ends(maker *in, dk_error *err)
{
    const dk_tokenizer *tok = in->tok;
    dk_vocabulary *v = &in->out->vocabulary;
    v->bos = tok->bos;
    v->eos = tok->eos;
    v->pad = tok->pad;
    v->unk = tok->unk;
    v->add_bos = tok->before_count > 0;
    v->add_eos = tok->after_count > 0;
    if (tok->before_count > 1 || tok->after_count > 1 || (tok->before_count && tok->before[0] != tok->bos) ||
        (tok->after_count && tok->after[0] != tok->eos))
        return fail_stage("post-processor", "more than BOS in front and EOS behind", err);
    v->chat_template = tok->chat_template;
    return DK_OK;
}

static int32_t make(maker *in, int64_t rows, dk_error *err)
{
    int32_t rc, spm, unigram = in->tok->unigram.scores != NULL;
    dk_vocabulary_parts *out = in->out;
    dk_vocabulary *v = &out->vocabulary;
    dk_merge *merges = NULL;
    int64_t merge_count = 0, added;
    spm = !in->tok->pre.count || in->tok->pre.items[in->tok->pre.count - 1].kind != DK_STEP_BYTES;
    spm = spm && !unigram;
    v->kind = unigram ? DK_VOCABULARY_UNIGRAM : spm ? DK_VOCABULARY_SPM : DK_VOCABULARY_BPE;
    v->model = unigram ? "t5" : spm ? "llama" : "gpt2";
    if (unigram) DK_TRY(read_unigram_stages(in, err));
    else DK_TRY(spm ? read_spm_stages(in->tok, &v->add_space_prefix, err) : read_bpe_stages(in, &v->pre, err));
    DK_TRY(read_ends(in, err));
    added = spm ? missing_bytes(in) : 0;
    out->added = added;
    v->count = rows + added;
    DK_TRY(dk_new(out->host, v->count, &out->tokens, err));
    DK_TRY(dk_new(out->host, v->count, &out->types, err));
    DK_TRY(dk_new(out->host, v->count * NAME_SIZE, &out->texts, err));
    put_tokens(in, rows);
    v->tokens = out->tokens;
    v->types = out->types;
    if (!unigram) DK_TRY(list_merges(in, &merges, &merge_count, err));
    if (spm || unigram) DK_TRY(dk_new(out->host, v->count, &out->scores, err));
    if (unigram) put_unigram_scores(in);
    else if (spm) put_scores(in, merges, merge_count);
    else DK_TRY(put_merges(in, merges, merge_count, err));
    v->scores = out->scores;
    if (!added) DK_TRY(check_again(in, err));
out:
    dk_free(out->host, merges);
    return rc;
}

int32_t dk_tokenizer_to_vocabulary(const dk_tokenizer *tok, dk_host *host, int64_t rows, dk_strbuf *notes,
                                   dk_vocabulary_parts *out, dk_error *err)
{
    maker in = {.tok = tok, .out = out, .notes = notes};
    memset(out, 0, sizeof *out);
    out->host = host;
    dk_vocabulary_init(&out->vocabulary);
    if (rows < dk_tokenizer_vocab_size(tok))
        return dk_fail(err, DK_E_MISMATCH, "the tokenizer has %lld tokens, the model %lld rows",
                       (long long)dk_tokenizer_vocab_size(tok), (long long)rows);
    int32_t rc = make(&in, rows, err);
    if (rc) dk_vocabulary_parts_free(out);
    return rc;
}

void dk_vocabulary_parts_free(dk_vocabulary_parts *parts)
{
    dk_free(parts->host, parts->tokens);
    dk_free(parts->host, parts->types);
    dk_free(parts->host, parts->scores);
    dk_free(parts->host, parts->texts);
    dk_free(parts->host, parts->merges);
    dk_free(parts->host, parts->merge_texts);
    memset(parts, 0, sizeof *parts);
}
