/* tokenizer.json and tokenizer_config.json of a tokenizer: the bytes that were read, or, for one made from parts, files
 * from which HF tokenizers and transformers make the same ids. */
#include "text/tokenizer_impl.h"

#include "base/file.h"

#include <stdlib.h>

static void text_field(dk_strbuf *out, const char *key, const char *text, size_t size)
{
    dk_strbuf_printf(out, ",\"%s\":", key);
    dk_strbuf_json(out, text, size);
}

static void token_json(const dk_tokenizer *tok, int64_t id, dk_strbuf *out)
{
    const dk_token *token = &tok->bpe.tokens.items[id];
    dk_strbuf_json(out, dk_token_text(&tok->bpe.tokens, token), token->size);
}

static const char *truth(int32_t value) { return value ? "true" : "false"; }

static void write_added(const dk_tokenizer *tok, dk_strbuf *out)
{
    dk_strbuf_puts(out, "\"added_tokens\":[");
    for (int64_t i = 0; i < tok->added_count; i++) {
        const dk_added_token *token = &tok->added[i];
        dk_strbuf_printf(out, "%s\n{\"id\":%d,\"content\":", i ? "," : "", (int)token->id);
        token_json(tok, token->id, out);
        dk_strbuf_printf(out, ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
                         truth(token->single_word), truth(token->lstrip), truth(token->rstrip),
                         truth(token->normalized), truth(token->special));
    }
    dk_strbuf_puts(out, "]");
}

static void write_pattern(const char *regex, const char *content, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":");
    dk_strbuf_json(out, regex, strlen(regex));
    dk_strbuf_puts(out, "}");
    text_field(out, "content", content, strlen(content));
    dk_strbuf_puts(out, "},");
}

/* SentencePiece's rules as stages of the reference, which knows no one stage for them. */
static void write_rules(const dk_spm_rules *rules, dk_strbuf *out)
{
    const int32_t marks_first = rules->prefix || (rules->llama && rules->merge_spaces);
    if (rules->charsmap) {
        dk_strbuf_puts(out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
        dk_charsmap_to_base64(rules->charsmap, out);
        dk_strbuf_puts(out, "\"},");
    }
    if (rules->merge_spaces) {
        write_pattern("\\A +| +\\z", "", out);
        write_pattern(" {2,}", " ", out);
    }
    if (marks_first) dk_strbuf_puts(out, "{\"type\":\"Prepend\",\"prepend\":\"" DK_MARK "\"},");
    dk_strbuf_puts(out, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" DK_MARK "\"}");
}

/* Only the kinds of step that tokenizer_vocab.c and tokenizer_spm.c make. */
static void write_step(const dk_step *step, int32_t is_decoder, dk_strbuf *out)
{
    switch (step->kind) {
    case DK_STEP_PREPEND:
        dk_strbuf_puts(out, "{\"type\":\"Prepend\"");
        text_field(out, "prepend", step->text, step->size);
        break;
    case DK_STEP_REPLACE:
        dk_strbuf_puts(out, "{\"type\":\"Replace\",\"pattern\":{\"String\":");
        dk_strbuf_json(out, step->matcher.text, step->matcher.size);
        dk_strbuf_puts(out, "}");
        text_field(out, "content", step->text, step->size);
        break;
    case DK_STEP_STRIP:
        dk_strbuf_printf(out, "{\"type\":\"Strip\",\"content\":\" \",\"start\":%lld,\"stop\":0", (long long)step->left);
        break;
    case DK_STEP_SENTENCEPIECE:
        write_rules(step->rules, out);
        return;
    case DK_STEP_METASPACE:
        dk_strbuf_puts(out, "{\"type\":\"Metaspace\"");
        text_field(out, "replacement", step->text, step->size);
        dk_strbuf_printf(out, ",\"prepend_scheme\":\"%s\",\"split\":false",
                         step->scheme == DK_PREFIX_FIRST ? "first" : "always");
        break;
    case DK_STEP_SPLIT:
        dk_strbuf_puts(out, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
        dk_strbuf_json(out, step->matcher.text, step->matcher.size);
        dk_strbuf_puts(out, "},\"behavior\":\"Isolated\",\"invert\":false");
        break;
    case DK_STEP_BYTE_FALLBACK:
        dk_strbuf_puts(out, "{\"type\":\"ByteFallback\"");
        break;
    case DK_STEP_FUSE:
        dk_strbuf_puts(out, "{\"type\":\"Fuse\"");
        break;
    default:
        dk_strbuf_puts(out, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true");
        dk_strbuf_puts(out, is_decoder ? ",\"use_regex\":true" : ",\"use_regex\":false");
    }
    dk_strbuf_puts(out, "}");
}

static void write_steps(const dk_steps *steps, const char *key, const char *members, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\n\"%s\":", key);
    if (!steps->count) {
        dk_strbuf_puts(out, "null");
        return;
    }
    dk_strbuf_printf(out, "{\"type\":\"Sequence\",\"%s\":[", members);
    for (int32_t i = 0; i < steps->count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        write_step(&steps->items[i], !strcmp(key, "decoder"), out);
    }
    dk_strbuf_puts(out, "]}");
}

static void write_special(const dk_tokenizer *tok, int64_t id, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"SpecialToken\":{\"id\":");
    token_json(tok, id, out);
    dk_strbuf_puts(out, ",\"type_id\":0}}");
}

static void write_special_ids(const dk_tokenizer *tok, int64_t id, dk_strbuf *out)
{
    token_json(tok, id, out);
    dk_strbuf_puts(out, ":{\"id\":");
    token_json(tok, id, out);
    dk_strbuf_printf(out, ",\"ids\":[%lld],\"tokens\":[", (long long)id);
    token_json(tok, id, out);
    dk_strbuf_puts(out, "]}");
}

static void write_sequence(const dk_tokenizer *tok, const char *name, dk_strbuf *out)
{
    if (tok->before_count) {
        write_special(tok, tok->before[0], out);
        dk_strbuf_puts(out, ",");
    }
    dk_strbuf_printf(out, "{\"Sequence\":{\"id\":\"%s\",\"type_id\":0}}", name);
    if (tok->after_count) {
        dk_strbuf_puts(out, ",");
        write_special(tok, tok->after[0], out);
    }
}

static void write_post_processor(const dk_tokenizer *tok, dk_strbuf *out)
{
    dk_strbuf_puts(out, ",\n\"post_processor\":");
    if (!tok->before_count && !tok->after_count) {
        dk_strbuf_puts(out, "null");
        return;
    }
    dk_strbuf_puts(out, "{\"type\":\"TemplateProcessing\",\"single\":[");
    write_sequence(tok, "A", out);
    dk_strbuf_puts(out, "],\"pair\":[");
    write_sequence(tok, "A", out);
    dk_strbuf_puts(out, ",");
    write_sequence(tok, "B", out);
    dk_strbuf_puts(out, "],\"special_tokens\":{");
    if (tok->before_count) write_special_ids(tok, tok->before[0], out);
    if (tok->after_count && !(tok->before_count && tok->before[0] == tok->after[0])) {
        if (tok->before_count) dk_strbuf_puts(out, ",");
        write_special_ids(tok, tok->after[0], out);
    }
    dk_strbuf_puts(out, "}}");
}

static int by_rank(const void *a, const void *b)
{
    const dk_merge *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static int32_t write_merges(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err)
{
    const dk_merge_table *table = &tok->bpe.merges;
    const dk_token_table *tokens = &tok->bpe.tokens;
    dk_merge *merges;
    size_t count = 0;
    int32_t rc = dk_new(tok->host, table->used + 1, &merges, err);
    if (rc) return rc;
    for (uint64_t i = 0; i < table->slot_count; i++) {
        const dk_merge *merge = &table->slots[i];
        if (merge->left < 0 || (tokens->items[merge->left].flags | tokens->items[merge->right].flags) & DK_TOKEN_HIDDEN)
            continue;
        merges[count++] = *merge;
    }
    qsort(merges, count, sizeof *merges, by_rank);
    for (size_t i = 0; i < count; i++) {
        dk_strbuf_puts(out, i ? ",\n[" : "\n[");
        token_json(tok, merges[i].left, out);
        dk_strbuf_puts(out, ",");
        token_json(tok, merges[i].right, out);
        dk_strbuf_puts(out, "]");
    }
    dk_free(tok->host, merges);
    return DK_OK;
}

/* Unknown characters score by the worst of all tokens there, of the normal ones here: the others are kept above. */
static void write_unigram(const dk_tokenizer *tok, dk_strbuf *out)
{
    const dk_bpe *bpe = &tok->bpe;
    const dk_unigram *unigram = &tok->unigram;
    const double worst = unigram->unk_score + DK_UNKNOWN_PENALTY;
    dk_strbuf_puts(out, ",\n\"model\":{\"type\":\"Unigram\",\"unk_id\":");
    if (bpe->unk >= 0) dk_strbuf_printf(out, "%d", (int)bpe->unk);
    else dk_strbuf_puts(out, "null");
    dk_strbuf_printf(out, ",\"byte_fallback\":%s,\"vocab\":[", truth(bpe->byte_tokens));
    for (int64_t id = 0; id < unigram->count; id++) {
        dk_strbuf_puts(out, id ? ",\n[" : "\n[");
        token_json(tok, id, out);
        dk_strbuf_puts(out, ",");
        dk_strbuf_f64(out, unigram->scores[id] < worst ? worst : unigram->scores[id]);
        dk_strbuf_puts(out, "]");
    }
    dk_strbuf_puts(out, "]}");
}

static int32_t write_model(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err)
{
    const dk_bpe *bpe = &tok->bpe;
    if (tok->unigram.scores) return write_unigram(tok, out), DK_OK;
    dk_strbuf_puts(out, ",\n\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (bpe->unk >= 0) token_json(tok, bpe->unk, out);
    else dk_strbuf_puts(out, "null");
    dk_strbuf_printf(out,
                     ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,\"byte_"
                     "fallback\":%s,\"ignore_merges\":%s,\"vocab\":{",
                     bpe->fuse_unk ? "true" : "false", bpe->byte_tokens ? "true" : "false",
                     bpe->ignore_merges ? "true" : "false");
    for (int64_t id = 0, written = 0; id < bpe->tokens.count; id++) {
        if (!(bpe->tokens.items[id].flags & DK_TOKEN_MODEL)) continue;
        dk_strbuf_puts(out, written++ ? ",\n" : "\n");
        token_json(tok, id, out);
        dk_strbuf_printf(out, ":%lld", (long long)id);
    }
    dk_strbuf_puts(out, "},\"merges\":[");
    int32_t rc = write_merges(tok, out, err);
    dk_strbuf_puts(out, "]}");
    return rc;
}

static int32_t write_made_json(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err)
{
    dk_strbuf_puts(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    write_added(tok, out);
    write_steps(&tok->normalizer, "normalizer", "normalizers", out);
    write_steps(&tok->pre, "pre_tokenizer", "pretokenizers", out);
    write_post_processor(tok, out);
    write_steps(&tok->decoder, "decoder", "decoders", out);
    int32_t rc = write_model(tok, out, err);
    dk_strbuf_puts(out, "}\n");
    return rc;
}

int32_t dk_tokenizer_write_json(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err)
{
    int32_t rc = DK_OK;
    const dk_text_file *read = &tok->files[DK_TOKENIZER_JSON];
    if (read->data) dk_strbuf_append(out, read->data, read->size);
    else rc = write_made_json(tok, out, err);
    return rc ? rc : dk_strbuf_check(out, err);
}

static void name_token(const dk_tokenizer *tok, const char *key, int64_t id, dk_strbuf *out)
{
    if (id < 0) return;
    dk_strbuf_printf(out, ",\n\"%s\":", key);
    token_json(tok, id, out);
}

int32_t dk_tokenizer_write_config(const dk_tokenizer *tok, dk_strbuf *out, dk_error *err)
{
    const dk_text_file *read = &tok->files[DK_TOKENIZER_CONFIG];
    if (read->data) {
        dk_strbuf_append(out, read->data, read->size);
        return dk_strbuf_check(out, err);
    }
    dk_strbuf_puts(out, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\n\"clean_up_tokenization_spaces\":false");
    name_token(tok, "bos_token", tok->bos, out);
    name_token(tok, "eos_token", tok->eos, out);
    name_token(tok, "unk_token", tok->unk, out);
    name_token(tok, "pad_token", tok->pad, out);
    if (tok->max_length) dk_strbuf_printf(out, ",\n\"model_max_length\":%lld", (long long)tok->max_length);
    if (tok->chat_template && !tok->files[DK_TOKENIZER_JINJA].data)
        text_field(out, "chat_template", tok->chat_template, strlen(tok->chat_template));
    dk_strbuf_puts(out, "}\n");
    return dk_strbuf_check(out, err);
}

static int32_t save(const dk_tokenizer *tok, const char *folder, const char *name, const char *data, size_t size,
                    dk_error *err)
{
    char *path = dk_path_join(tok->host, folder, name), *below = path ? dk_path_folder(tok->host, path) : NULL;
    int32_t rc = below ? dk_dir_create(tok->host, below, err) : dk_fail_nomem(err, strlen(folder) + strlen(name) + 2);
    if (!rc) rc = dk_file_replace(tok->host, path, data, size, err);
    dk_free(tok->host, below);
    dk_free(tok->host, path);
    return rc;
}

const char *dk_tokenizer_file_name(dk_tokenizer_file file)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "chat_template.jinja",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "additional_chat_templates/tool_use.jinja",
                                        "chat_template.json"};
    return names[file];
}

/* tokenizer_config.json with another chat template. */
static int32_t write_config_with(const dk_tokenizer *tok, const char *chat_template, dk_strbuf *out, dk_error *err)
{
    dk_strbuf own;
    dk_document *doc = NULL;
    int32_t rc;
    dk_strbuf_init(&own, tok->host);
    DK_TRY(dk_tokenizer_write_config(tok, &own, err));
    DK_TRY(dk_json_parse(tok->host, own.data, own.size, "tokenizer_config.json", &doc, err));
    const dk_node *root = dk_document_root(doc);
    dk_strbuf_puts(out, "{");
    for (size_t i = 0; i < root->size; i++) {
        if (!strcmp(root->items[i]->key, "chat_template")) continue;
        dk_strbuf_puts(out, out->size > 1 ? ",\n  " : "\n  ");
        dk_strbuf_json(out, root->items[i]->key, root->items[i]->key_size);
        dk_strbuf_puts(out, ": ");
        dk_node_write_json(root->items[i], out);
    }
    dk_strbuf_puts(out, out->size > 1 ? ",\n  \"chat_template\": " : "\n  \"chat_template\": ");
    dk_strbuf_json(out, chat_template, strlen(chat_template));
    dk_strbuf_puts(out, "\n}\n");
    rc = dk_strbuf_check(out, err);
out:
    dk_document_free(doc);
    dk_strbuf_free(&own);
    return rc;
}

/* One file's text; *wanted 0 = it is not written. */
static int32_t write_file(const dk_tokenizer *tok, dk_tokenizer_file file, const char *chat_template, dk_strbuf *out,
                          int32_t *wanted, dk_error *err)
{
    const dk_text_file *read = &tok->files[file];
    const int32_t of_templates =
        file == DK_TOKENIZER_JINJA || file == DK_TOKENIZER_TOOLS || file == DK_TOKENIZER_OLD_TEMPLATE;
    *wanted = 1;
    if (file == DK_TOKENIZER_JSON) return dk_tokenizer_write_json(tok, out, err);
    if (file == DK_TOKENIZER_CONFIG)
        return chat_template ? write_config_with(tok, chat_template, out, err)
                             : dk_tokenizer_write_config(tok, out, err);
    if (chat_template && file == DK_TOKENIZER_JINJA) dk_strbuf_puts(out, chat_template);
    else if (read->data && !(chat_template && of_templates)) dk_strbuf_append(out, read->data, read->size);
    else *wanted = 0;
    return dk_strbuf_check(out, err);
}

/* tokenizer.json and tokenizer_config.json always, the others where they were read. */
int32_t dk_tokenizer_save_with(const dk_tokenizer *tok, const char *chat_template, const char *folder, dk_error *err)
{
    int32_t rc = DK_OK, wanted;
    dk_strbuf text;
    dk_strbuf_init(&text, tok->host);
    for (int32_t i = 0; i < DK_TOKENIZER_FILES; i++) {
        dk_strbuf_clear(&text);
        DK_TRY(write_file(tok, (dk_tokenizer_file)i, chat_template, &text, &wanted, err));
        if (wanted)
            DK_TRY(save(tok, folder, dk_tokenizer_file_name((dk_tokenizer_file)i), text.data ? text.data : "",
                        text.size, err));
    }
out:
    dk_strbuf_free(&text);
    return rc;
}

int32_t dk_tokenizer_save(const dk_tokenizer *tok, const char *folder, dk_error *err)
{
    return dk_tokenizer_save_with(tok, NULL, folder, err);
}
