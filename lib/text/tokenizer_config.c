/* tokenizer_config.json, special_tokens_map.json and added_tokens.json beside a tokenizer.json, read as transformers 5
 * reads them for a tokenizer that has a tokenizer.json: tokens that only they name are added, their flags replace those
 * of tokenizer.json. With added_tokens_decoder in tokenizer_config.json the two older files do not count; without it
 * special_tokens_map.json goes before tokenizer_config.json. */
#include "text/json_reader.h"

#include "base/notes.h"

#include <stdlib.h>

typedef struct config {
    dk_json_reader *r;
    const dk_tokenizer_documents *from;
    const dk_node *root, *map; /* of tokenizer_config.json and special_tokens_map.json */
    int32_t legacy;            /* there is no added_tokens_decoder */
    int64_t settled;           /* so many added tokens were there before special ones were looked at */
} config;
typedef struct found { /* a value and the file that it stands in */
    const dk_document *doc;
    const dk_node *node;
} found;

static const char *const attributes[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                         "pad_token", "cls_token", "mask_token"};

/* ---- values that two files may give ---- */
static const dk_node *content_of(const dk_node *node)
{
    if (node && node->type == DK_NODE_MAP) node = dk_node_get(node, "content");
    return node && node->type == DK_NODE_NULL ? NULL : node;
}

static int32_t same_text(const dk_node *a, const dk_node *b)
{
    a = content_of(a);
    b = content_of(b);
    if (!a || !b) return a == b;
    if (a->type == DK_NODE_LIST && b->type == DK_NODE_LIST && a->size == b->size) {
        for (size_t i = 0; i < a->size; i++)
            if (!same_text(a->items[i], b->items[i])) return 0;
        return 1;
    }
    return a->type == DK_NODE_TEXT && b->type == DK_NODE_TEXT && a->size == b->size &&
           !memcmp(a->text, b->text, a->size);
}

static found find(const config *in, const char *key)
{
    const dk_node *own = dk_node_get(in->root, key), *old = dk_node_get(in->map, key);
    found of_config = {in->from->config, own}, of_map = {in->from->map, old};
    if (!old) return of_config;
    if (in->root && (own || !in->legacy) && !same_text(own, old))
        dk_note(&in->r->tok->notes, "%s: %s is not what %s says; %s is used, as in transformers",
                dk_document_name(in->from->map), key, dk_document_name(in->from->config),
                in->legacy ? "special_tokens_map.json" : "tokenizer_config.json");
    return in->legacy ? of_map : of_config;
}

static int32_t text_of(const config *in, found value, const char *key, const dk_node **out)
{
    *out = content_of(value.node);
    if (*out ? (*out)->type == DK_NODE_TEXT : !value.node || value.node->type == DK_NODE_NULL) return DK_OK;
    return dk_fail(in->r->err, DK_E_FORMAT, "%s: %s must be a token's text", dk_document_name(value.doc), key);
}

/* ---- tokens ---- */
static int32_t is_attribute(const char *key)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (!strcmp(attributes[i], key)) return 1;
    return 0;
}

/* image_token, boi_token, ...: names of a model's own. */
static int32_t is_own_name(const dk_node *item)
{
    size_t size = item->key_size;
    return size > 6 && !strcmp(item->key + size - 6, "_token") && !is_attribute(item->key) &&
           (item->type == DK_NODE_TEXT || (item->type == DK_NODE_MAP && dk_node_get(item, "content")));
}

/* Whether a name (eos_token, image_token, ...) stands for text. */
static int32_t is_named(const config *in, const char *text)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        const dk_node *own = dk_node_get(in->root, attributes[i]), *old = dk_node_get(in->map, attributes[i]);
        if (dk_node_is_text(content_of(in->legacy && old ? old : own), text)) return 1;
    }
    for (size_t i = 0; in->root && in->root->type == DK_NODE_MAP && i < in->root->size; i++)
        if (is_own_name(in->root->items[i]) && dk_node_is_text(content_of(in->root->items[i]), text)) return 1;
    static const char *const maps[] = {"extra_special_tokens", "model_specific_special_tokens"};
    for (size_t k = 0; k < 2; k++) {
        const dk_node *extra = dk_node_get(in->root, maps[k]);
        for (size_t i = 0; extra && extra->type == DK_NODE_MAP && i < extra->size; i++)
            if (dk_node_is_text(content_of(extra->items[i]), text)) return 1;
    }
    return 0;
}

static int32_t has_items(const dk_node *node)
{
    return node && (node->type == DK_NODE_LIST || node->type == DK_NODE_MAP) && node->size;
}

static int32_t is_listed(const config *in, const char *text)
{
    const dk_node *list = dk_node_get(in->root, "extra_special_tokens");
    if (!has_items(list)) list = dk_node_get(in->root, "additional_special_tokens");
    for (size_t i = 0; has_items(list) && i < list->size; i++)
        if (dk_node_is_text(list->items[i], text)) return 1; /* only those without flags, as there */
    return 0;
}

/* Whether text was an added token before special tokens were looked at: such a one keeps its flags. */
static int32_t is_settled(const config *in, const dk_node *text)
{
    const dk_tokenizer *tok = in->r->tok;
    int64_t id = dk_token_table_find(&tok->bpe.tokens, text->text, text->size);
    for (int64_t i = 0; i < in->settled; i++)
        if (tok->added[i].id == id) return 1;
    return 0;
}

/* A special token by name or in a list. */
static int32_t add_special(const config *in, found value, const char *key)
{
    const dk_node *text;
    dk_added_token token = {.special = 1};
    int32_t rc = text_of(in, value, key, &text);
    if (rc || !text || is_settled(in, text)) return rc;
    if (value.node->type == DK_NODE_MAP) rc = dk_read_flags(in->r, value.doc, value.node, 1, &token);
    if (is_named(in, text->text)) token.special = 1;
    return rc ? rc : dk_add_token(in->r, value.doc, text->text, text->size, token, -1);
}

static int32_t add_list(const config *in, found list, const char *key)
{
    if (!list.node || list.node->type == DK_NODE_NULL) return DK_OK;
    if (list.node->type != DK_NODE_LIST && list.node->type != DK_NODE_MAP)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: %s must be a list of tokens, or an object of name: token",
                       dk_document_name(list.doc), key);
    for (size_t i = 0; i < list.node->size; i++) {
        int32_t rc = add_special(in, (found){list.doc, list.node->items[i]}, key);
        if (rc) return rc;
    }
    return DK_OK;
}

typedef struct numbered {
    int64_t id;
    const dk_node *node;
} numbered;

static int by_id(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int32_t add_numbered(const config *in, const dk_document *doc, const numbered *entry)
{
    dk_added_token token = {0};
    const dk_node *content = dk_node_get(entry->node, "content");
    if (!content || content->type != DK_NODE_TEXT)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: added_tokens_decoder[%s] is not an object with content",
                       dk_document_name(doc), entry->node->key);
    int32_t rc = dk_read_flags(in->r, doc, entry->node, 0, &token);
    if (is_named(in, content->text)) token.special = 1;
    return rc ? rc : dk_add_token(in->r, doc, content->text, content->size, token, entry->id);
}

/* {"151643": {content, ...}, ...}, in order of the ids */
static int32_t add_decoder(const config *in, const dk_node *map)
{
    int32_t rc;
    numbered *entries = NULL;
    const dk_document *doc = in->from->config;
    if (map->type != DK_NODE_MAP)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: added_tokens_decoder must be an object of id: token",
                       dk_document_name(doc));
    DK_TRY(dk_new(in->r->tok->host, map->size + 1, &entries, in->r->err));
    for (size_t i = 0; i < map->size; i++) {
        entries[i].node = map->items[i];
        if (!dk_parse_i64(map->items[i]->key, map->items[i]->key_size, &entries[i].id) || entries[i].id < 0)
            DK_TRY(dk_fail(in->r->err, DK_E_FORMAT, "%s: added_tokens_decoder: '%.40s' is no id", dk_document_name(doc),
                           map->items[i]->key));
    }
    qsort(entries, map->size, sizeof *entries, by_id);
    for (size_t i = 0; i < map->size; i++) DK_TRY(add_numbered(in, doc, &entries[i]));
out:
    dk_free(in->r->tok->host, entries);
    return rc;
}

/* added_tokens.json: {"token": id, ...} */
static int32_t add_old_list(const config *in)
{
    int32_t rc = DK_OK;
    numbered *entries = NULL;
    const dk_document *doc = in->from->added;
    const dk_node *map = dk_document_root(doc);
    if (map->type != DK_NODE_MAP)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: must be an object of token: id", dk_document_name(doc));
    DK_TRY(dk_new(in->r->tok->host, map->size + 1, &entries, in->r->err));
    for (size_t i = 0; i < map->size; i++) {
        entries[i] = (numbered){map->items[i]->i64, map->items[i]};
        if (map->items[i]->type != DK_NODE_INT || entries[i].id < 0)
            DK_TRY(
                dk_fail(in->r->err, DK_E_FORMAT, "%s: '%.40s' has no id", dk_document_name(doc), map->items[i]->key));
    }
    qsort(entries, map->size, sizeof *entries, by_id);
    for (size_t i = 0; i < map->size; i++) {
        const dk_node *entry = entries[i].node;
        int64_t known = dk_token_table_find(&in->r->tok->bpe.tokens, entry->key, entry->key_size);
        dk_added_token token = {.special = is_named(in, entry->key) || is_listed(in, entry->key)};
        token.normalized = !token.special;
        if (known == entries[i].id && in->r->tok->bpe.tokens.items[known].flags & DK_TOKEN_ADDED) continue;
        DK_TRY(dk_add_token(in->r, doc, entry->key, entry->key_size, token, entries[i].id));
    }
out:
    dk_free(in->r->tok->host, entries);
    return rc;
}

/* {"image_token": "<img>", ...}: names of a model's own, gathered. */
static int32_t add_model_specific(const config *in)
{
    static const char *const key = "model_specific_special_tokens";
    const dk_node *map = dk_node_get(in->root, key);
    if (map && map->type != DK_NODE_MAP && map->type != DK_NODE_NULL)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: %s must be an object of name: token",
                       dk_document_name(in->from->config), key);
    return add_list(in, (found){in->from->config, map}, key);
}

static int32_t add_extra(const config *in)
{
    found extra = find(in, "extra_special_tokens"), old = find(in, "additional_special_tokens");
    int32_t is_empty = !extra.node || extra.node->type == DK_NODE_NULL ||
                       ((extra.node->type == DK_NODE_LIST || extra.node->type == DK_NODE_MAP) && !extra.node->size);
    if (is_empty) return add_list(in, old, "additional_special_tokens");
    if (has_items(old.node))
        dk_note(&in->r->tok->notes, "%s: additional_special_tokens beside extra_special_tokens is not used",
                dk_document_name(old.doc));
    return add_list(in, extra, "extra_special_tokens");
}

/* Without added_tokens_decoder the added tokens of tokenizer.json become special where they have a name. */
static int32_t name_added(const config *in)
{
    int32_t rc = DK_OK;
    dk_tokenizer *tok = in->r->tok;
    const dk_document *doc = in->from->config ? in->from->config : in->from->map;
    for (int64_t i = 0; i < tok->added_count && !rc; i++) {
        dk_added_token token = tok->added[i];
        const dk_token *entry = &tok->bpe.tokens.items[token.id];
        if (token.special || !is_named(in, dk_token_text(&tok->bpe.tokens, entry))) continue;
        token.special = 1;
        rc = dk_add_token(in->r, doc, dk_token_text(&tok->bpe.tokens, entry), entry->size, token, -1);
    }
    return rc;
}

static int32_t add_tokens(config *in)
{
    int32_t rc = DK_OK;
    dk_tokenizer *tok = in->r->tok;
    int64_t *ids[] = {&tok->bos, &tok->eos, &tok->unk, NULL, &tok->pad, NULL, NULL};
    const dk_node *text;
    if (!in->legacy) DK_TRY(add_decoder(in, dk_node_get(in->root, "added_tokens_decoder")));
    else if (in->from->added) DK_TRY(add_old_list(in));
    if (in->legacy) DK_TRY(name_added(in));
    in->settled = tok->added_count;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        found value = find(in, attributes[i]);
        DK_TRY(add_special(in, value, attributes[i]));
        DK_TRY(text_of(in, value, attributes[i], &text));
        if (text && ids[i] && text->size) *ids[i] = dk_tokenizer_text_id(tok, text->text, text->size);
    }
    for (size_t i = 0; in->root && i < in->root->size; i++)
        if (is_own_name(in->root->items[i]))
            DK_TRY(add_special(in, (found){in->from->config, in->root->items[i]}, in->root->items[i]->key));
    DK_TRY(add_model_specific(in));
    DK_TRY(add_extra(in));
out:
    return rc;
}

/* ---- the chat template: a file of its own goes first ---- */
/* One alone is the default; several have names. */
static const dk_node *find_template(const dk_node *root, const char *name)
{
    const dk_node *node = dk_node_get(root, "chat_template"), *chosen = NULL;
    if (node && node->type == DK_NODE_TEXT) return strcmp(name, "default") ? NULL : node;
    if (node && node->type == DK_NODE_MAP) chosen = dk_node_get(node, name);
    for (size_t i = 0; node && node->type == DK_NODE_LIST && i < node->size; i++)
        if (dk_node_is_text(dk_node_get(node->items[i], "name"), name))
            chosen = dk_node_get(node->items[i], "template");
    return chosen && chosen->type == DK_NODE_TEXT ? chosen : NULL;
}

static int32_t keep_template(const config *in, const char *text, char **out)
{
    if (!text) return DK_OK;
    *out = dk_strdup(in->r->tok->host, text);
    return *out ? DK_OK : dk_fail_nomem(in->r->err, strlen(text) + 1);
}

/* Those with other names are for nobody here. */
static void note_templates(const config *in, const char *name)
{
    const dk_node *given = dk_node_get(in->root, "chat_template");
    for (size_t i = 0; given && (given->type == DK_NODE_LIST || given->type == DK_NODE_MAP) && i < given->size; i++) {
        const dk_node *key = dk_node_get(given->items[i], "name");
        const char *called = given->type == DK_NODE_MAP         ? given->items[i]->key
                             : key && key->type == DK_NODE_TEXT ? key->text
                                                                : "?";
        if (strcmp(called, "default") != 0 && strcmp(called, "tool_use") != 0)
            dk_note(&in->r->tok->notes, "%s: the chat template named %.40s is not used; default and tool_use are", name,
                    called);
    }
}

static int32_t read_template(const config *in)
{
    dk_tokenizer *tok = in->r->tok;
    const dk_node *chat = find_template(in->root, "default"), *tools = find_template(in->root, "tool_use"),
                  *given = dk_node_get(in->root, "chat_template");
    const dk_node *old =
        in->from->old_template ? find_template(dk_document_root(in->from->old_template), "default") : NULL;
    const char *text = in->from->jinja ? in->from->jinja : chat ? chat->text : old ? old->text : NULL;
    const char *tool_text = in->from->tools ? in->from->tools : tools && !in->from->jinja ? tools->text : NULL;
    const char *name = in->from->config ? dk_document_name(in->from->config) : "";
    if (in->from->jinja && chat && strcmp(chat->text, in->from->jinja) != 0)
        dk_note(&tok->notes, "%s: chat_template is not used; chat_template.jinja beside it says otherwise", name);
    if (!in->from->jinja && given && given->type != DK_NODE_NULL && !chat)
        dk_note(&tok->notes,
                given->type == DK_NODE_LIST || given->type == DK_NODE_MAP
                    ? "%s: chat_template has none by the name of default that is a text; none is used"
                    : "%s: chat_template is no text and no list of named ones; none is used",
                name);
    if (in->from->old_template && (!old || strcmp(old->text, text) != 0))
        dk_note(&tok->notes, "%s: %s", dk_document_name(in->from->old_template),
                old ? "is not used; the template of the other files is, as in transformers"
                    : "has no chat_template that is a text");
    if (in->from->unread)
        dk_note(&tok->notes, "%s: additional_chat_templates beside it: %s not used; tool_use.jinja would be",
                dk_document_name(in->from->json), in->from->unread);
    note_templates(in, name);
    int32_t rc = keep_template(in, text, &tok->chat_template);
    if (!rc) rc = keep_template(in, tool_text, &tok->tool_template);
    return rc;
}

/* ---- switches ---- */
static int32_t puts_space_in_front(const dk_tokenizer *tok)
{
    for (int32_t i = 0; i < tok->normalizer.count; i++)
        if (tok->normalizer.items[i].kind == DK_STEP_PREPEND ||
            (tok->normalizer.items[i].kind == DK_STEP_SENTENCEPIECE && tok->normalizer.items[i].rules->prefix))
            return 1;
    for (int32_t i = 0; i < tok->pre.count; i++) {
        const dk_step *step = &tok->pre.items[i];
        if (step->kind == DK_STEP_SPACE_PREFIX) return 1;
        if (step->kind == DK_STEP_METASPACE && step->scheme != DK_PREFIX_NEVER) return 1;
    }
    return 0;
}

static int32_t puts_behind(const dk_tokenizer *tok, int64_t id)
{
    for (int64_t i = 0; i < tok->after_count; i++)
        if (tok->after[i] == id) return 1;
    return 0;
}

/* tokenizer.json decides, as in transformers 5; what says otherwise is named. */
static int32_t check_switch(const config *in, const char *key, int32_t is_so)
{
    int32_t said = is_so;
    int32_t rc = dk_node_bool(in->from->config, in->root, key, is_so, &said, in->r->err);
    if (!rc && !said != !is_so)
        dk_note(&in->r->tok->notes, "%s: %s is %s, but tokenizer.json does %s; tokenizer.json is followed",
                dk_document_name(in->from->config), key, said ? "true" : "false", is_so ? "so" : "not do so");
    return rc;
}

static int32_t read_switches(const config *in)
{
    int32_t rc, forced = 0, clean = 0;
    dk_tokenizer *tok = in->r->tok;
    const dk_document *doc = in->from->config;
    DK_TRY(check_switch(in, "add_bos_token", dk_tokenizer_adds_bos(tok)));
    DK_TRY(check_switch(in, "add_eos_token", tok->eos >= 0 && puts_behind(tok, tok->eos)));
    DK_TRY(check_switch(in, "add_prefix_space", puts_space_in_front(tok)));
    DK_TRY(dk_node_bool(doc, in->root, "split_special_tokens", 0, &tok->split_special, in->r->err));
    DK_TRY(dk_node_bool(doc, in->root, "clean_up_tokenization_spaces", 0, &clean, in->r->err));
    DK_TRY(dk_node_bool(doc, in->root, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", 0,
                        &forced, in->r->err));
    if (clean && forced)
        rc = dk_fail(in->r->err, DK_E_UNSUPPORTED,
                     "%s: clean_up_tokenization_spaces is forced on BPE, which drops spaces of the text; take it out",
                     dk_document_name(doc));
out:
    return rc;
}

/* ---- what is left ---- */
static int32_t is_known(const dk_node *item)
{
    static const char *const keys[] = {
        "add_bos_token",
        "add_eos_token",
        "add_prefix_space",
        "added_tokens_decoder",
        "additional_special_tokens",
        "auto_map",
        "backend",
        "chat_control_tokens",
        "chat_template",
        "clean_up_tokenization_spaces",
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
        "device_map",
        "errors",
        "extra_special_tokens",
        "files_loaded",
        "init_inputs",
        "is_local",
        "legacy",
        "local_files_only",
        "max_len",
        "max_length",
        "model_input_names",
        "model_max_length",
        "model_specific_special_tokens",
        "name_or_path",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "padding_side",
        "processor_class",
        "response_schema",
        "response_template",
        "sp_model_kwargs",
        "spaces_between_special_tokens",
        "special_tokens_map_file",
        "split_special_tokens",
        "stride",
        "tokenizer_class",
        "tokenizer_file",
        "truncation_side",
        "truncation_strategy",
        "unk_id",
        "use_default_system_prompt",
        "use_fast",
        "verbose",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i], item->key)) return 1;
    return is_attribute(item->key) || is_own_name(item);
}

static void note_unknown(const config *in)
{
    dk_strbuf names;
    dk_strbuf_init(&names, in->r->tok->host);
    for (size_t i = 0; in->root && i < in->root->size; i++) {
        const dk_node *item = in->root->items[i];
        if (item->type == DK_NODE_NULL || is_known(item)) continue;
        dk_strbuf_printf(&names, "%s%.60s", names.size ? ", " : "", item->key);
    }
    if (names.size) dk_note(&in->r->tok->notes, "%s: not used: %s", dk_document_name(in->from->config), names.data);
    dk_strbuf_free(&names);
}

static void note_lengths(const config *in)
{
    static const char *const keys[] = {"truncation", "padding"};
    for (size_t i = 0; i < 2; i++) {
        const dk_node *node = dk_node_get(dk_document_root(in->from->json), keys[i]);
        if (node && node->type != DK_NODE_NULL)
            dk_note(&in->r->tok->notes, "%s: %s is not applied; lengths are the business of whoever asks for ids",
                    dk_document_name(in->from->json), keys[i]);
    }
}

static int32_t check_roots(const config *in)
{
    if (in->from->config && in->root->type != DK_NODE_MAP)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: is not a JSON object", dk_document_name(in->from->config));
    if (in->from->map && in->map->type != DK_NODE_MAP)
        return dk_fail(in->r->err, DK_E_FORMAT, "%s: is not a JSON object", dk_document_name(in->from->map));
    return DK_OK;
}

int32_t dk_read_tokenizer_config(dk_json_reader *r, const dk_tokenizer_documents *from)
{
    int32_t rc;
    config in = {.r = r, .from = from};
    if (from->config) in.root = dk_document_root(from->config);
    if (from->map) in.map = dk_document_root(from->map);
    in.legacy = !dk_node_get(in.root, "added_tokens_decoder");
    DK_TRY(check_roots(&in));
    DK_TRY(add_tokens(&in));
    if (!in.legacy && from->added)
        dk_note(&r->tok->notes, "%s: is not used; tokenizer_config.json has added_tokens_decoder",
                dk_document_name(from->added));
    DK_TRY(read_template(&in));
    if (in.root) DK_TRY(read_switches(&in));
    note_unknown(&in);
    note_lengths(&in);
    DK_TRY(dk_strbuf_check(&r->tok->notes, r->err));
out:
    return rc;
}
