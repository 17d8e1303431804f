#include "dataset/sample.h"

#include <float.h>
#include <string.h>

static int64_t end_token(const dk_tokenizer *tokenizer, const di_options *options)
{
    const char *separator = di_options_text(options, "data.separator");
    int64_t id = separator && *separator ? dk_tokenizer_text_id(tokenizer, separator, strlen(separator)) : -1;
    return id >= 0 && dk_tokenizer_is_special(tokenizer, id) ? id : dk_tokenizer_eos(tokenizer);
}

/* auto: what the tokenizer's own template is wrong with is told when messages come, since texts need none. */
static int32_t find_chat(di_encoder *encoder, const char *name, dk_error *err)
{
    dk_error *problem = &encoder->chat_problem;
    if (dk_chat_is_name(name)) return dk_chat_by_name(encoder->host, name, encoder->tokenizer, &encoder->chat, err);
    if (strcmp(name, "none") != 0 && strcmp(name, "auto") != 0)
        return dk_chat_open_file(encoder->host, name, encoder->tokenizer, &encoder->chat, err);
    if (!strcmp(name, "none"))
        dk_fail(problem, DK_E_OPTION,
                "messages need a chat template, and data.chat_template is none: name one of %s, or a file",
                dk_chat_names());
    else if (dk_chat_of_tokenizer(encoder->host, encoder->tokenizer, &encoder->chat, problem) == DK_E_NOT_FOUND)
        dk_fail(problem, DK_E_OPTION,
                "messages need a chat template, and the tokenizer has none: set data.chat_template to the format that "
                "the model was trained with (%s), or to a file.jinja",
                dk_chat_names());
    return DK_OK;
}

int32_t di_chat_named(dk_host *host, const dk_tokenizer *tokenizer, const di_options *options, char **out,
                      dk_error *err)
{
    const char *name = di_options_text(options, "data.chat_template");
    di_encoder encoder = {.host = host, .tokenizer = tokenizer};
    int32_t rc = DK_OK;
    *out = NULL;
    if (!strcmp(name, "auto") || !strcmp(name, "none")) return DK_OK;
    DK_TRY(find_chat(&encoder, name, err));
    if (!(*out = dk_strdup(host, dk_chat_source(encoder.chat)))) rc = dk_fail_nomem(err, strlen(name));
out:
    di_encoder_free(&encoder);
    return rc;
}

static int32_t is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static int32_t read_date(const char *text, dk_jinja_date *out, dk_error *err)
{
    static const int32_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = 0, month = 0, day = 0;
    if (!text || !*text) return DK_OK;
    int32_t good = strlen(text) == 10 && text[4] == '-' && text[7] == '-' && dk_parse_i64(text, 4, &year) &&
                   dk_parse_i64(text + 5, 2, &month) && dk_parse_i64(text + 8, 2, &day);
    good = good && year > 0 && month >= 1 && month <= 12 && day >= 1 &&
           day <= lengths[month - 1] + (month == 2 && is_leap(year));
    if (!good) return dk_fail(err, DK_E_OPTION, "data.chat_date \"%.40s\" is no date like 2025-01-31", text);
    *out = (dk_jinja_date){.year = (int32_t)year, .month = (int32_t)month, .day = (int32_t)day};
    return DK_OK;
}

int32_t di_encoder_init(di_encoder *encoder, dk_host *host, const dk_tokenizer *tokenizer, const di_options *options,
                        dk_error *err)
{
    int32_t rc;
    memset(encoder, 0, sizeof *encoder);
    encoder->host = host;
    encoder->tokenizer = tokenizer;
    encoder->prompt_loss = di_options_flag(options, "data.prompt_loss");
    encoder->chosen_alone = di_options_is(options, "data.preferences", "chosen");
    encoder->text_flags = di_options_is(options, "data.special_in_text", "plain") ? DK_ENCODE_PLAIN : 0;
    encoder->bos = encoder->eos = encoder->end = -1;
    DK_TRY(read_date(di_options_text(options, "data.chat_date"), &encoder->date, err));
    if (!tokenizer) goto out;
    if (dk_tokenizer_adds_bos(tokenizer)) encoder->bos = dk_tokenizer_bos(tokenizer);
    encoder->end = end_token(tokenizer, options);
    encoder->eos = dk_tokenizer_eos(tokenizer) >= 0 ? dk_tokenizer_eos(tokenizer) : encoder->end;
    rc = find_chat(encoder, di_options_text(options, "data.chat_template"), err);
out:
    return rc;
}

void di_encoder_free(di_encoder *encoder)
{
    dk_chat_template_release(encoder->chat);
    encoder->chat = NULL;
}

/* ---- tokens that grow ---- */

void di_encoded_init(di_encoded *encoded, dk_host *host)
{
    memset(encoded, 0, sizeof *encoded);
    encoded->host = host;
}

void di_encoded_clear(di_encoded *encoded)
{
    encoded->count = encoded->document_count = encoded->weight_count = 0;
    encoded->masked = 0;
    memset(&encoded->notes, 0, sizeof encoded->notes);
}

void di_encoded_free(di_encoded *encoded)
{
    dk_free(encoded->host, encoded->ids);
    dk_free(encoded->host, encoded->learn);
    dk_free(encoded->host, encoded->weights);
    dk_free(encoded->host, encoded->documents);
    dk_free(encoded->host, encoded->scratch);
    memset(encoded, 0, sizeof *encoded);
}

/* Room for `wanted` entries in *block. */
static int32_t reserve(dk_host *host, void **block, int64_t *capacity, int64_t wanted, size_t size, dk_error *err)
{
    int64_t larger = *capacity ? *capacity : 256;
    if (wanted <= *capacity) return DK_OK;
    while (larger < wanted) larger *= 2;
    void *grown = dk_realloc(host, *block, (uint64_t)larger, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)larger * size);
    *block = grown;
    *capacity = larger;
    return DK_OK;
}

/* Marks the tokens from `first` on. */
static int32_t mark(di_encoded *encoded, int64_t first, int32_t learn, dk_error *err)
{
    void *block = encoded->learn;
    int32_t rc = reserve(encoded->host, &block, &encoded->learn_capacity, encoded->count, 1, err);
    encoded->learn = block;
    if (rc != DK_OK || encoded->count == first) return rc;
    memset(encoded->learn + first, learn != 0, (size_t)(encoded->count - first));
    if (!learn) encoded->masked = 1;
    return DK_OK;
}

int32_t di_encoded_append(di_encoded *encoded, const int32_t *ids, int64_t count, int32_t learn, dk_error *err)
{
    void *block = encoded->ids;
    int32_t rc = reserve(encoded->host, &block, &encoded->capacity, encoded->count + count, sizeof *ids, err);
    encoded->ids = block;
    if (rc != DK_OK || !count) return rc;
    memcpy(encoded->ids + encoded->count, ids, (size_t)count * sizeof *ids);
    encoded->count += count;
    return mark(encoded, encoded->count - count, learn, err);
}

int32_t di_encode_id(di_encoded *encoded, int64_t id, int32_t learn, dk_error *err)
{
    int32_t one = (int32_t)id;
    return id < 0 ? DK_OK : di_encoded_append(encoded, &one, 1, learn, err);
}

int32_t di_weight_fits(double weight)
{
    return weight == 0 || (weight > 0 && weight <= (double)FLT_MAX && (float)weight > 0);
}

/* Weights of the first `count` tokens, 1 where none was given. */
static int32_t fill_weights(di_encoded *encoded, int64_t count, dk_error *err)
{
    void *block = encoded->weights;
    int32_t rc = reserve(encoded->host, &block, &encoded->weight_capacity, count, sizeof *encoded->weights, err);
    encoded->weights = block;
    if (rc != DK_OK) return rc;
    while (encoded->weight_count < count) encoded->weights[encoded->weight_count++] = 1;
    return DK_OK;
}

int32_t di_encoded_weigh(di_encoded *encoded, int64_t first, double weight, dk_error *err)
{
    if (weight == 1 || first == encoded->count) return DK_OK;
    if (weight == 0) return mark(encoded, first, 0, err);
    int32_t rc = fill_weights(encoded, encoded->count, err);
    for (int64_t i = first; rc == DK_OK && i < encoded->count; i++) {
        const double product = (double)encoded->weights[i] * weight;
        if (!di_weight_fits(product))
            return dk_fail(err, DK_E_FORMAT,
                           "a message of weight %g in a sample of weight %g: no float holds their product",
                           (double)encoded->weights[i], weight);
        encoded->weights[i] = (float)product;
    }
    return rc;
}

int32_t di_encoded_weights(di_encoded *encoded, const float **out, dk_error *err)
{
    int32_t rc = encoded->weight_count ? fill_weights(encoded, encoded->count, err) : DK_OK;
    *out = encoded->weight_count ? encoded->weights : NULL;
    return rc;
}

int32_t di_encoded_end(di_encoded *encoded, int64_t number, uint32_t flags, dk_error *err)
{
    void *block = encoded->documents;
    int32_t rc = reserve(encoded->host, &block, &encoded->document_capacity, encoded->document_count + 1,
                         sizeof *encoded->documents, err);
    encoded->documents = block;
    if (rc == DK_OK)
        encoded->documents[encoded->document_count++] =
            (di_encoded_document){encoded->count, number, flags, encoded->tag};
    return rc;
}

int32_t di_encoded_store(di_encoded *from, di_builder *builder, dk_error *err)
{
    const uint8_t *learn = from->masked ? from->learn : NULL;
    const float *weights;
    int64_t begin = 0;
    int32_t rc;
    DK_TRY(di_encoded_weights(from, &weights, err));
    for (int64_t d = 0; d < from->document_count; d++) {
        const di_encoded_document *document = &from->documents[d];
        DK_TRY(di_builder_add(builder, from->ids + begin, learn ? learn + begin : NULL,
                              weights ? weights + begin : NULL, document->end - begin, err));
        DK_TRY(di_builder_end(builder, document->number, document->flags, &document->tag, err));
        begin = document->end;
    }
    if (begin < from->count)
        rc = di_builder_add(builder, from->ids + begin, learn ? learn + begin : NULL, weights ? weights + begin : NULL,
                            from->count - begin, err);
out:
    return rc;
}

/* ---- segments ---- */

static int32_t append_text(const di_encoder *encoder, const char *text, size_t size, uint32_t flags, di_encoded *out,
                           dk_error *err)
{
    return dk_tokenizer_append(encoder->tokenizer, out->host, text, size, flags, &out->ids, &out->capacity, &out->count,
                               err);
}

int32_t di_encode_segment(const di_encoder *encoder, const char *text, size_t size, size_t before, uint32_t flags,
                          int32_t learn, di_encoded *out, dk_error *err)
{
    int64_t first = out->count, known = 0;
    int32_t rc;
    if (!size || !encoder->tokenizer) return DK_OK;
    if (before) {
        DK_TRY(dk_tokenizer_append(encoder->tokenizer, out->host, text - before, before, flags, &out->scratch,
                                   &out->scratch_capacity, &known, err));
        DK_TRY(append_text(encoder, text - before, before + size, flags, out, err));
        int64_t both = out->count - first;
        int32_t *tokens = out->ids + first;
        if (known < both && memcmp(tokens, out->scratch, (size_t)known * sizeof *tokens) == 0) {
            memmove(tokens, tokens + known, (size_t)(both - known) * sizeof *tokens);
            out->count -= known;
            return mark(out, first, learn, err);
        }
        out->count = first;
        flags |= dk_tokenizer_continue_flags(encoder->tokenizer, out->ids, out->count);
    }
    DK_TRY(append_text(encoder, text, size, flags, out, err));
    rc = mark(out, first, learn, err);
out:
    return rc;
}

int32_t di_encode_text(const di_encoder *encoder, const char *text, size_t size, size_t before, int32_t piece,
                       di_encoded *out, dk_error *err)
{
    int32_t rc;
    di_note_special(encoder, text, size, out);
    if (piece & DI_PIECE_FIRST) DK_TRY(di_encode_id(out, encoder->bos, 1, err));
    DK_TRY(di_encode_segment(encoder, text, size, before, encoder->text_flags, 1, out, err));
    if (piece & DI_PIECE_LAST) DK_TRY(di_encode_id(out, encoder->end, 1, err));
out:
    return rc;
}

/* ---- notes ---- */

static void keep_text(char *to, size_t cap, const char *text, size_t size)
{
    size_t kept = size < cap - 1 ? size : cap - 1;
    while (kept < size && kept && ((unsigned char)text[kept] & 0xc0) == 0x80) kept--;
    memcpy(to, text, kept);
    to[kept] = 0;
}

void di_note_special(const di_encoder *encoder, const char *text, size_t size, di_encoded *out)
{
    di_notes *notes = &out->notes;
    size_t at = 0, begin;
    if (!encoder->tokenizer || encoder->text_flags & DK_ENCODE_PLAIN) return;
    while (dk_tokenizer_next_special(encoder->tokenizer, text, size, at, &begin, &at) >= 0) {
        if (notes->special++) continue;
        keep_text(notes->special_text, sizeof notes->special_text, text + begin, at - begin);
        notes->special_number = out->number;
    }
}

void di_note_key(const char *key, size_t size, di_encoded *out)
{
    if (!*out->notes.key) {
        keep_text(out->notes.key, sizeof out->notes.key, key, size);
        out->notes.key_number = out->number;
    }
    out->notes.unknown += !out->noted;
    out->noted = 1;
}

void di_notes_add(di_notes *to, const di_notes *from)
{
    if (from->special && !to->special) {
        memcpy(to->special_text, from->special_text, sizeof to->special_text);
        to->special_number = from->special_number;
    }
    if (from->unknown && !to->unknown) {
        memcpy(to->key, from->key, sizeof to->key);
        to->key_number = from->key_number;
    }
    if (from->absent && !to->absent) {
        to->absent_number = from->absent_number;
        to->absent_message = from->absent_message;
    }
    to->absent += from->absent;
    to->special += from->special;
    to->unknown += from->unknown;
    to->endless += from->endless;
}

void di_notes_tell(const di_notes *notes, dk_host *host, const char *name)
{
    if (notes->special)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: %lld special tokens are spelled out in texts and become control tokens (the first is %s in sample "
               "%lld); data.special_in_text: plain makes them ordinary text",
               name, (long long)notes->special, notes->special_text, (long long)notes->special_number);
    if (notes->unknown)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: %lld samples have keys that are not used (the first is \"%s\" in sample %lld)", name,
               (long long)notes->unknown, notes->key, (long long)notes->key_number);
    if (notes->absent)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: the chat template leaves out %lld messages that say something (the first is message %lld of sample "
               "%lld)",
               name, (long long)notes->absent, (long long)notes->absent_message, (long long)notes->absent_number);
    if (notes->endless)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: %lld completions have no token at their end: name an eos_token in tokenizer_config.json", name,
               (long long)notes->endless);
}
