/* Text that is cut before it is merged gives the ids of text that is merged whole, and a word from the cache those that
 * it had: models with merges at random, texts at random, and the real tokenizers among the shared assets. */
#include "base/file.h"
#include "gguf_vocab.h"
#include "test.h"
#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

static dk_host *host;
static dk_error err;
static uint64_t state;

static dk_host *the_host(void)
{
    if (!host) dk_host_create(NULL, &host, &err);
    return host;
}

static uint32_t below(uint32_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % limit);
}

/* ---- a model at random ---- */
enum { KNOWN = 9, LETTERS = 14, TOKENS = 64, TEXT = 24, PIECE = 64 };
/* The last ones are in no vocabulary, the very last one is a bad byte. */
static const char *const letters[LETTERS] = {
    "\xe2\x96\x81",     "a",   "b", ">",        "</",           "\xc3\xa9", "\xe6\x97\xa5",
    "\xf0\x9f\x98\x80", "\\n", "z", "\xc3\xb6", "\xe6\x9c\xac", " ",        "\xff"};
typedef enum { NO_BYTES, SOME_BYTES, ALL_BYTES } byte_tokens;
typedef struct random_model {
    byte_tokens bytes;
    int32_t unk, fuse, merges_unk, merges_byte;
} random_model;

static void append_bytes(dk_strbuf *json, byte_tokens bytes, int32_t *next)
{
    for (int b = 0; b < 256 && bytes != NO_BYTES; b++)
        if (bytes == ALL_BYTES || (b != 0xb6 && b != 0x9c))
            dk_strbuf_printf(json, ",\"<0x%02X>\":%d", (unsigned)b, (*next)++);
}

/* Merges join two tokens of before; what they spell together may be a token already. */
static void append_merges(dk_strbuf *vocab, dk_strbuf *merges, int32_t *next)
{
    char texts[TOKENS][PIECE];
    int count = 0;
    for (; count < KNOWN; count++) snprintf(texts[count], PIECE, "%s", letters[count]);
    for (uint32_t i = 4 + below(40); i > 0; i--) {
        const char *left = texts[below((uint32_t)count)], *right = texts[below((uint32_t)count)];
        char joined[2 * PIECE];
        snprintf(joined, sizeof joined, "%s%s", left, right);
        if (strlen(joined) > TEXT) continue;
        int known = 0;
        while (known < count && strcmp(texts[known], joined) != 0) known++;
        dk_strbuf_printf(merges, "%s[\"%s\",\"%s\"]", merges->size ? "," : "", left, right);
        if (known < count) continue;
        dk_strbuf_printf(vocab, ",\"%s\":%d", joined, (*next)++);
        memcpy(texts[count++], joined, strlen(joined) + 1);
        if (count == TOKENS) return;
    }
}

static void write_model(const random_model *m, dk_strbuf *json)
{
    int32_t next = 1;
    dk_strbuf vocab, merges;
    dk_strbuf_init(&vocab, the_host());
    dk_strbuf_init(&merges, host);
    dk_strbuf_puts(&vocab, "\"<unk>\":0");
    for (int i = 0; i < KNOWN; i++)
        if (i != 4) dk_strbuf_printf(&vocab, ",\"%s\":%d", letters[i], next++);
    dk_strbuf_printf(&vocab, ",\"<\":%d,\"/\":%d,\"</\":%d", next, next + 1, next + 2);
    dk_strbuf_puts(&merges, "[\"<\",\"/\"]");
    next += 3;
    append_bytes(&vocab, m->bytes, &next);
    append_merges(&vocab, &merges, &next);
    if (m->merges_unk)
        dk_strbuf_printf(&vocab, ",\"<unk>a\":%d", next++), dk_strbuf_puts(&merges, ",[\"<unk>\",\"a\"]");
    if (m->merges_byte)
        dk_strbuf_printf(&vocab, ",\"<0x7A>a\":%d", next++), dk_strbuf_puts(&merges, ",[\"<0x7A>\",\"a\"]");
    dk_strbuf_printf(json,
                     "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"},"
                     "\"model\":{\"type\":\"BPE\",\"fuse_unk\":%s,\"byte_fallback\":%s,\"unk_token\":%s,",
                     m->fuse ? "true" : "false", m->bytes != NO_BYTES ? "true" : "false",
                     m->unk ? "\"<unk>\"" : "null");
    dk_strbuf_printf(json, "\"vocab\":{%s},\"merges\":[%s]}}", vocab.data, merges.data);
    dk_strbuf_free(&vocab);
    dk_strbuf_free(&merges);
}

static dk_tokenizer *open_text(const dk_strbuf *json)
{
    dk_document *doc = NULL;
    dk_tokenizer *tok = NULL;
    CHECK_OK(dk_json_parse(the_host(), json->data, json->size, "tokenizer.json", &doc, &err));
    CHECK_OK(dk_tokenizer_from_json(host, doc, NULL, &tok, &err));
    dk_document_free(doc);
    return tok;
}

static void never_cut(dk_tokenizer *tok)
{
    dk_free(tok->host, tok->bpe.junctions);
    tok->bpe.junctions = NULL;
}

/* ---- the same ids ---- */
typedef struct id_array {
    int32_t *ids;
    int64_t cap, count;
} id_array;

static void encode(const dk_tokenizer *tok, const char *text, size_t size, id_array *out)
{
    out->count = 0;
    CHECK_OK(dk_tokenizer_append(tok, the_host(), text, size, 0, &out->ids, &out->cap, &out->count, &err));
}

static int check_same(const dk_tokenizer *cut, const dk_tokenizer *whole, const char *text, size_t size,
                      const char *name)
{
    static id_array a, b; /* of the whole program */
    encode(cut, text, size, &a);
    encode(whole, text, size, &b);
    int same = a.count == b.count && (!a.count || !memcmp(a.ids, b.ids, (size_t)a.count * sizeof *a.ids));
    if (!same)
        FAIL("%s: '%.*s' has %lld ids cut, %lld whole, or others", name, (int)(size < 200 ? size : 200), text,
             (long long)a.count, (long long)b.count);
    return same;
}

/* Long enough for the cache of words now and then, and for the queue of merges. */
static size_t random_text(char *out, size_t cap)
{
    size_t size = 0, pieces = below(8) ? below(40) : below(400);
    for (; pieces > 0; pieces--) {
        const char *letter = letters[below(LETTERS)];
        for (uint32_t times = below(6) ? 1 : 1 + below(50); times > 0 && size + 8 < cap; times--) {
            if (letter[0] == '\\') out[size++] = '\n';
            else memcpy(out + size, letter, strlen(letter)), size += strlen(letter);
        }
    }
    return size;
}

static int64_t cuts(const dk_tokenizer *tok)
{
    static const uint32_t characters[] = {0x2581, 'a', 'b', '>', '<', '/', 0xe9, 0x65e5, 0x1f600, '\n', 'z', 0xf6};
    int64_t count = 0;
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++)
        for (size_t k = 0; k < sizeof characters / sizeof *characters; k++)
            count += !dk_junction_inside(tok->bpe.junctions, characters[i], characters[k]);
    return count;
}

static void check_model(const random_model *m, int64_t *cut_count)
{
    static char text[20000];
    char name[96];
    dk_strbuf json;
    dk_strbuf_init(&json, the_host());
    write_model(m, &json);
    dk_tokenizer *cut = open_text(&json), *whole = open_text(&json);
    dk_strbuf_free(&json);
    REQUIRE(cut && whole);
    snprintf(name, sizeof name, "bytes %d, unk %d, fuse %d, model %llx", (int)m->bytes, m->unk, m->fuse,
             (unsigned long long)state);
    never_cut(whole);
    CHECK(!m->merges_unk == !!cut->bpe.junctions || m->merges_byte);
    if (cut->bpe.junctions) *cut_count += cuts(cut);
    for (int i = 0; i < 40; i++)
        if (!check_same(cut, whole, text, random_text(text, sizeof text), name)) break;
    dk_tokenizer_release(cut);
    dk_tokenizer_release(whole);
}

TEST(random_models)
{
    int64_t count = 0;
    state = 5;
    for (int i = 0; i < 40; i++)
        for (int kind = 0; kind < 12; kind++)
            check_model(&(random_model){.bytes = (byte_tokens)(kind / 4), .unk = kind & 1, .fuse = kind >> 1 & 1},
                        &count);
    CHECK(count > 480 * 60); /* of 144 pairs each */
}

/* An unknown token and a byte's stand for other characters than those that they are spelled in. */
TEST(merged_stand_ins)
{
    int64_t count = 0;
    state = 7;
    for (int i = 0; i < 20; i++) {
        check_model(&(random_model){.bytes = NO_BYTES, .unk = 1, .fuse = i & 1, .merges_unk = 1}, &count);
        check_model(&(random_model){.bytes = ALL_BYTES, .unk = 1, .fuse = i & 1, .merges_byte = 1}, &count);
    }
    CHECK_INT(count, 0);
}

/* ---- one by hand: U+2581 inside a token forbids that cut and no other ---- */
TEST(a_mark_inside)
{
    dk_strbuf json;
    dk_strbuf_init(&json, the_host());
    dk_strbuf_puts(
        &json,
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u2581\":0,\"a\":1,\">\":2,\"<\":3,\"\\u2581a\":4,\">\\u2581\":5,"
        "\">\\u2581<\":6,\"b\":7},\"merges\":[\"\\u2581 a\",\"> \\u2581\",\">\\u2581 <\"]}}");
    dk_tokenizer *tok = open_text(&json);
    dk_strbuf_free(&json);
    REQUIRE(tok && tok->bpe.junctions);
    const dk_junctions *junctions = tok->bpe.junctions;
    CHECK(dk_junction_inside(junctions, '>', 0x2581) && dk_junction_inside(junctions, 0x2581, '<'));
    CHECK(dk_junction_inside(junctions, 0x2581, 'a') && !dk_junction_inside(junctions, 'a', 0x2581));
    CHECK(!dk_junction_inside(junctions, 'a', 'a') && !dk_junction_inside(junctions, '>', '<'));
    CHECK_INT(junctions->symbols[0x2581], 0);
    CHECK_INT(junctions->symbols['c'], DK_NO_SYMBOL);
    int32_t ids[16];
    int64_t count = 0;
    static const char text[] = "a>\xe2\x96\x81<a\xe2\x96\x81"
                               "a>\xe2\x96\x81"
                               "a";
    static const int32_t want[] = {1, 6, 1, 4, 2, 4};
    CHECK_OK(dk_tokenizer_encode(tok, text, sizeof text - 1, 0, ids, 16, &count, &err));
    CHECK_INT(count, 6);
    for (int i = 0; i < 6 && i < count; i++) CHECK_INT(ids[i], want[i]);
    dk_tokenizer_release(tok);
}

/* ---- words that are known from before ---- */
static dk_tokenizer *open_data(const char *name)
{
    dk_document *doc = NULL;
    dk_tokenizer *tok = NULL;
    CHECK_OK(dk_json_open(the_host(), test_path(TEST_DATA "/tokenizers", name), &doc, &err));
    CHECK_OK(dk_tokenizer_from_json(host, doc, NULL, &tok, &err));
    dk_document_free(doc);
    return tok;
}

/* Where every word gets a mark in front, a text has the ids of its words; one word alone is too short for the cache. */
TEST(cached_words)
{
    static char text[40000];
    dk_tokenizer *tok = open_data("unigram_xlmr.json");
    id_array all = {0}, words = {0};
    size_t size = 0;
    REQUIRE(tok);
    state = 3;
    for (int i = 0; i < 4000; i++) {
        const size_t begin = size;
        for (uint32_t k = 1 + below(1u << below(6)); k > 0; k--)
            text[size++] = below(40) ? (char)('a' + below(1u << below(5)) % 26) : (char)(33 + below(90));
        CHECK_OK(dk_tokenizer_append(tok, the_host(), text + begin, size - begin, 0, &words.ids, &words.cap,
                                     &words.count, &err));
        if (size + 40 > sizeof text) break;
        text[size++] = ' ';
    }
    for (int round = 0; round < 2; round++) {
        encode(tok, text, size, &all);
        CHECK_INT(all.count, words.count);
        CHECK(all.count == words.count && !memcmp(all.ids, words.ids, (size_t)all.count * sizeof *all.ids));
    }
    dk_free(host, all.ids);
    dk_free(host, words.ids);
    dk_tokenizer_release(tok);
}

/* ---- real ones ---- */
/* Tokens of the vocabulary at random, with characters of many kinds between them. */
static size_t adversarial(const dk_tokenizer *tok, char *out, size_t cap)
{
    size_t size = 0;
    for (int i = 0; i < 300; i++) {
        const dk_token *token = dk_token_at(&tok->bpe.tokens, below((uint32_t)tok->bpe.tokens.count));
        if (token && size + token->size + 8 < cap) {
            memcpy(out + size, dk_token_text(&tok->bpe.tokens, token), token->size);
            size += token->size;
        }
        if (size + 8 > cap || below(2)) continue;
        size += dk_codepoint_write(below(3) ? 32 + below(95) : below(2) ? 0x2581 : 0x80 + below(0xd000), out + size);
    }
    return size;
}

static void check_texts(const dk_tokenizer *cut, const dk_tokenizer *whole, const char *name)
{
    static const char *const files[] = {"text/wikitext2/valid.txt", "text/machado_pt/valid.txt"};
    static char random[1 << 16];
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        size_t size = 0;
        REQUIRE_OK(dk_file_read(host, test_path(test_assets(), files[i]), 1 << 21, &text, &size, &err));
        for (size_t at = 0; at < size && at < 400000; at += 4000)
            if (!check_same(cut, whole, text + at, size - at < 4000 ? size - at : 4000, name)) break;
        dk_free(host, text);
    }
    for (int i = 0; i < 200; i++)
        if (!check_same(cut, whole, random, adversarial(cut, random, sizeof random), name)) break;
}

static dk_tokenizer *open_shared(const char *name)
{
    dk_tokenizer *tok = NULL;
    const char *path = test_path(test_assets(), name);
    if (strstr(name, ".gguf")) {
        gguf_vocab g;
        CHECK_OK(gguf_open(the_host(), path, &g, &err));
        CHECK_OK(dk_tokenizer_from_vocabulary(host, &g.vocabulary, &tok, &err));
        gguf_close(host, &g);
        return tok;
    }
    char *bytes = NULL;
    size_t size = 0;
    CHECK_OK(dk_file_read(the_host(), path, 1 << 24, &bytes, &size, &err));
    CHECK_OK(dk_tokenizer_from_model(host, name, bytes, size, &tok, &err));
    dk_free(host, bytes);
    return tok;
}

TEST(real_models)
{
    static const char *const names[] = {"models/stories260K/tok512.model",
                                        "tokenizers/gguf_vocab/ggml-vocab-phi-3.gguf"};
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    state = 11;
    for (int i = 0; i < 2; i++) {
        dk_tokenizer *cut = open_shared(names[i]), *whole = open_shared(names[i]);
        REQUIRE(cut && whole);
        CHECK(cut->bpe.junctions);
        never_cut(whole);
        check_texts(cut, whole, names[i]);
        dk_tokenizer_release(cut);
        dk_tokenizer_release(whole);
    }
}

TEST_MAIN(TEST_CASE(random_models) TEST_CASE(merged_stand_ins) TEST_CASE(a_mark_inside) TEST_CASE(cached_words)
              TEST_CASE(real_models))
