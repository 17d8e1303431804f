/* test_dataset_bpe.c - samples against tokenising by hand, with a tokenizer whose tokens are pieces of words:
 * boundaries, pieces, bytes. */
#include "../../lib/base/fail_alloc.h"
#include "dataset_fixture.h"

typedef struct part { /* NULL ends a list */
    const char *text;
    int learn;
} part;

enum { MOST = 2048 };

static int bpe_open(fixture *f, const char *const *settings)
{
    dk_error err;
    if (!fixture_open(f, settings)) return 0;
    dk_tokenizer_release(f->tokenizer);
    f->tokenizer = NULL;
    if (dk_tokenizer_open(f->host, TEST_DATA "/../../examples/quickstart/teacher", &f->tokenizer, &err))
        FAIL("%s", err.message);
    return f->tokenizer != NULL;
}

static int64_t encode(const fixture *f, const char *text, size_t size, int32_t *ids, int64_t most)
{
    int64_t count = 0;
    dk_error err;
    if (dk_tokenizer_encode(f->tokenizer, text, size, 0, ids, most, &count, &err)) FAIL("%s", err.message);
    return count;
}

static di_batch *read_file(fixture *f, const char *path, di_dataset **out)
{
    dk_error err;
    if (di_dataset_open(f->host, path, f->tokenizer, f->options, out, &err) == DK_OK) return fixture_all(*out);
    FAIL("%s", err.message);
    return NULL;
}

/* The first sequence is the tokens of the parts, each on its own; the first token of all is no label. */
static void check_sequence(const fixture *f, const di_batch *batch, const part *parts)
{
    int32_t ids[MOST], learn[MOST];
    int64_t count = 0;
    for (; parts->text; parts++) {
        int64_t first = count;
        count += encode(f, parts->text, strlen(parts->text), ids + count, MOST - count);
        for (int64_t i = first; i < count; i++) learn[i] = i && parts->learn;
    }
    CHECK_INT(batch->offsets[1], count);
    for (int64_t i = 0; i < count && i < batch->offsets[1]; i++)
        if (batch->ids[i] != ids[i] || batch->learn[i] != learn[i])
            FAIL("token %lld is %d (learnt %d), not %d (%d)", (long long)i, (int)batch->ids[i], batch->learn[i],
                 (int)ids[i], (int)learn[i]);
}

static void check_file(const char *name, const char *content, const char *const *settings, const part *parts)
{
    fixture f;
    di_dataset *dataset = NULL;
    REQUIRE(bpe_open(&f, settings));
    di_batch *batch = read_file(&f, fixture_file(name, content), &dataset);
    if (batch) check_sequence(&f, batch, parts);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}
#define PARTS(...) ((const part[]){__VA_ARGS__, {NULL, 0}})

/* ---- conversations ---- */

#define TURNS                                                                                                       \
    "{\"role\": \"user\", \"content\": \"Where is the boat?\"}, {\"role\": \"assistant\", \"content\": \"It is on " \
    "the lake.\"}, "                                                                                                \
    "{\"role\": \"user\", \"content\": \"Thanks\"}, {\"role\": \"assistant\", \"content\": \"Bye now\"}"
#define TALK "{\"messages\": [" TURNS "]}\n"
#define SYSTEM_TALK "{\"messages\": [{\"role\": \"system\", \"content\": \"Be kind.\"}, " TURNS "]}\n"

TEST(chatml_token_by_token)
{
    check_file("bpe.jsonl", SYSTEM_TALK, OPTIONS("data.chat_template=chatml"),
               PARTS({"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhere is the "
                      "boat?<|im_end|>\n<|im_start|>assistant\n",
                      0},
                     {"It is on the lake.<|im_end|>", 1},
                     {"\n<|im_start|>user\nThanks<|im_end|>\n<|im_start|>assistant\n", 0}, {"Bye now<|im_end|>", 1},
                     {"\n", 0}));
}

TEST(llama3_token_by_token)
{
    check_file("bpe.jsonl", SYSTEM_TALK, OPTIONS("data.chat_template=llama3"),
               PARTS({"<|endoftext|><|start_header_id|>system<|end_header_id|>\n\nBe "
                      "kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
                      "Where is the boat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
                      0},
                     {"It is on the lake.<|eot_id|>", 1},
                     {"<|start_header_id|>user<|end_header_id|>\n\nThanks<|eot_id|><|start_header_id|>assistant<|end_"
                      "header_id|>\n\n",
                      0},
                     {"Bye now<|eot_id|>", 1}));
}

TEST(llama2_token_by_token)
{
    check_file("bpe.jsonl", TALK, OPTIONS("data.chat_template=llama2"),
               PARTS({"<|endoftext|>[INST] Where is the boat? [/INST]", 0}, {" It is on the lake. <|endoftext|>", 1},
                     {"<|endoftext|>[INST] Thanks [/INST]", 0}, {" Bye now <|endoftext|>", 1}));
    check_file("bpe.jsonl", SYSTEM_TALK, OPTIONS("data.chat_template=llama2"),
               PARTS({"<|endoftext|>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nWhere is the boat? [/INST]", 0},
                     {" It is on the lake. <|endoftext|>", 1}, {"<|endoftext|>[INST] Thanks [/INST]", 0},
                     {" Bye now <|endoftext|>", 1}));
}

TEST(mistral_token_by_token)
{
    check_file("bpe.jsonl", TALK, OPTIONS("data.chat_template=mistral"),
               PARTS({"<|endoftext|>[INST] Where is the boat? [/INST]", 0}, {" It is on the lake.<|endoftext|>", 1},
                     {"[INST] Thanks [/INST]", 0}, {" Bye now<|endoftext|>", 1}));
}

TEST(a_conversation_is_learnt_whole_with_prompt_loss)
{
    check_file("bpe.jsonl", TALK, OPTIONS("data.chat_template=mistral", "data.prompt_loss=true"),
               PARTS({"<|endoftext|>[INST] Where is the boat? [/INST]", 1}, {" It is on the lake.<|endoftext|>", 1},
                     {"[INST] Thanks [/INST]", 1}, {" Bye now<|endoftext|>", 1}));
}

/* ---- prompts ---- */

TEST(a_prompt_has_the_tokens_that_one_generates_from)
{
    check_file("bpe.jsonl", "{\"prompt\": \"The old man\", \"completion\": \" went home.\"}", NULL,
               PARTS({"The old man", 0}, {" went home.", 1}, {"<|endoftext|>", 1}));
    /* One token would lie across the boundary. */
    check_file("bpe.jsonl", "{\"prompt\": \"The wat\", \"completion\": \"er was cold.\"}", NULL,
               PARTS({"The wat", 0}, {"er was cold.", 1}, {"<|endoftext|>", 1}));
    check_file("bpe.jsonl", "{\"prompt\": \"The \", \"completion\": \"water\"}", NULL,
               PARTS({"The ", 0}, {"water", 1}, {"<|endoftext|>", 1}));
    check_file("bpe.jsonl", "{\"prompt\": \"The wat\", \"completion\": \"er\"}", OPTIONS("data.prompt_loss=true"),
               PARTS({"The wat", 1}, {"er", 1}, {"<|endoftext|>", 1}));
}

/* ---- text ---- */

TEST(marks_and_line_ends_of_files)
{
    check_file("bpe.txt", "\xef\xbb\xbfThe sea.\r\nThe end.\r\n", NULL,
               PARTS({"The sea.\r\nThe end.\r\n", 1}, {"<|endoftext|>", 1}));
    check_file("bpe.txt", "The sea.", NULL, PARTS({"The sea.", 1}, {"<|endoftext|>", 1}));
    check_file("bpe.jsonl", "\xef\xbb\xbf{\"text\": \"The sea.\"}\r\n\r\n", NULL,
               PARTS({"The sea.", 1}, {"<|endoftext|>", 1}));
    check_file("bpe.unnamed", "\xef\xbb\xbf{\"text\": \"The sea.\"}", NULL,
               PARTS({"The sea.", 1}, {"<|endoftext|>", 1}));
}

TEST(a_text_in_pieces_has_the_tokens_of_the_whole)
{
    fixture f;
    dk_error err;
    char *sentences = NULL, *text;
    size_t size = 0, total = 0, room = 3u << 20;
    di_dataset *dataset = NULL;
    REQUIRE(bpe_open(&f, OPTIONS("data.sequence_length=512", "data.separator=\"\"")));
    REQUIRE_OK(dk_file_read(f.host, test_path(TEST_DATA, "sentences.txt"), UINT64_MAX, &sentences, &size, &err));
    text = malloc(room + size + 1);
    int32_t *ids = malloc((room + size) * sizeof *ids);
    REQUIRE(text && ids && size);
    for (; total < room; total += size) memcpy(text + total, sentences, size);
    text[total] = 0;
    int64_t count = encode(&f, text, total, ids, (int64_t)total);
    di_batch *batch = read_file(&f, fixture_file("pieces.txt", text), &dataset);
    REQUIRE(batch);
    /* with the end token */
    CHECK_INT(fixture_number(dataset, "tokens") + fixture_number(dataset, "dropped"), count + 1);
    int64_t got = batch->offsets[batch->sequences] - 1, same = 0;
    while (same < count && same < got && batch->ids[same] == ids[same]) same++;
    CHECK_INT(same, got < count ? got : count);
    di_batch_free(batch);
    di_dataset_release(dataset);
    dk_free(f.host, sentences);
    free(ids);
    free(text);
    fixture_close(&f);
}

TEST(text_bytes_are_the_bytes_of_scored_tokens)
{
    static const char text[] = "The caf\xc3\xa9 is small \xe2\x80\x94 the lake is not.\n\xf0\x9f\x90\x9f and water, "
                               "\xe6\xb0\xb4<|endoftext|>Another one\n";
    fixture f;
    dk_error err;
    dk_strbuf decoded;
    di_dataset *dataset = NULL;
    int64_t want = 0;
    REQUIRE(bpe_open(&f, OPTIONS("data.sequence_length=8")));
    di_batch *batch = read_file(&f, fixture_file("bytes.txt", text), &dataset);
    REQUIRE(batch);
    dk_strbuf_init(&decoded, f.host);
    for (int64_t s = 0; s < batch->sequences; s++) {
        int64_t first = batch->offsets[s] + 1;
        dk_strbuf_clear(&decoded);
        REQUIRE_OK(dk_tokenizer_decode_to(f.tokenizer, batch->ids + first, batch->offsets[s + 1] - first,
                                          DK_DECODE_SKIP_SPECIAL, &decoded, &err));
        want += (int64_t)decoded.size;
    }
    CHECK(batch->sequences > 3 && want > 40);
    CHECK_INT(fixture_number(dataset, "bytes"), want);
    dk_strbuf_free(&decoded);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static int32_t count_with(void *context, dk_host *host, dk_error *err)
{
    dk_tokenizer *tokenizer = fixture_tokenizer(host, -1, END_ID, NULL, err);
    di_options *options = NULL;
    di_dataset *dataset = NULL;
    int64_t bytes = 0;
    int32_t rc = tokenizer ? DK_OK : err->code;
    if (rc == DK_OK) rc = di_options_create(host, &options, err);
    if (rc == DK_OK) rc = di_dataset_open(host, context, tokenizer, options, &dataset, err);
    if (rc == DK_OK) rc = di_dataset_get_i64(dataset, "bytes", &bytes, err);
    if (rc == DK_OK && bytes != 5) rc = DK_E_INTERNAL;
    di_dataset_release(dataset);
    di_options_free(options);
    dk_tokenizer_release(tokenizer);
    return rc;
}

TEST(no_memory_while_bytes_are_counted_is_an_error)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s", fixture_file("memory.txt", "abcdef"));
    CHECK(fail_every_alloc(count_with, path) > 20);
}

/* Where no special token is spelled out in a text, both readings of texts give the same tokens and marks. */
TEST(plain_texts_have_the_tokens_of_the_reference)
{
    static const char *const templates[] = {"chatml", "llama2", "llama3", "mistral"};
    static const char lines[] = SYSTEM_TALK TALK "{\"prompt\": \"Where is\", \"completion\": \" the boat?\"}\n"
                                                 "{\"text\": \"The fish and the lake\"}\n";
    for (int i = 0; i < 4; i++) {
        fixture f[2];
        di_dataset *datasets[2] = {NULL, NULL};
        di_batch *batches[2];
        char chat[64];
        snprintf(chat, sizeof chat, "data.chat_template=%s", templates[i]);
        for (int plain = 0; plain < 2; plain++) {
            const char *how = plain ? "data.special_in_text=plain" : "data.special_in_text=control";
            REQUIRE(bpe_open(&f[plain], OPTIONS(chat, how)));
            REQUIRE((batches[plain] = read_file(&f[plain], fixture_file("plain.jsonl", lines), &datasets[plain])));
        }
        int64_t count = batches[0]->offsets[batches[0]->sequences];
        CHECK_INT(batches[1]->offsets[batches[1]->sequences], count);
        CHECK(memcmp(batches[0]->ids, batches[1]->ids, (size_t)count * sizeof *batches[0]->ids) == 0);
        CHECK(memcmp(batches[0]->learn, batches[1]->learn, (size_t)count) == 0);
        for (int plain = 0; plain < 2; plain++) {
            di_batch_free(batches[plain]);
            di_dataset_release(datasets[plain]);
            fixture_close(&f[plain]);
        }
    }
}

/* ---- the hash ---- */

static void hash_of(const char *content, const char *setting, char hex[65])
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    const char *const settings[] = {setting, NULL};
    REQUIRE(bpe_open(&f, settings));
    REQUIRE_OK(di_dataset_open(f.host, fixture_file("hashed.jsonl", content), f.tokenizer, f.options, &dataset, &err));
    CHECK_OK(di_dataset_hash(dataset, hex, &err));
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(the_hash_tells_data_and_options_apart)
{
    static const char content[] = "{\"prompt\": \"The sea\", \"completion\": \" is blue\"}\n";
    static const char *const settings[] = {NULL,
                                           "data.sequence_length=100",
                                           "data.pack=false",
                                           "data.shuffle=false",
                                           "data.prompt_loss=true",
                                           "data.too_long=skip"};
    enum { SETTINGS = sizeof settings / sizeof *settings };
    char hash[SETTINGS + 2][65], again[65];
    for (int i = 0; i < SETTINGS; i++) hash_of(content, settings[i], hash[i]);
    hash_of("{\"prompt\": \"The sea\", \"completion\": \" is green\"}\n", NULL, hash[SETTINGS]);
    /* the same tokens, another mask */
    hash_of("{\"prompt\": \"The sea is\", \"completion\": \" blue\"}\n", NULL, hash[SETTINGS + 1]);
    for (int i = 0; i < SETTINGS + 2; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(hash[i], hash[j]) == 0) FAIL("hashes %d and %d are equal", i, j);
    hash_of(content, NULL, again);
    CHECK_STR(again, hash[0]);
}

TEST_MAIN(TEST_CASE(chatml_token_by_token) TEST_CASE(llama3_token_by_token) TEST_CASE(llama2_token_by_token)
              TEST_CASE(mistral_token_by_token) TEST_CASE(a_conversation_is_learnt_whole_with_prompt_loss)
                  TEST_CASE(a_prompt_has_the_tokens_that_one_generates_from) TEST_CASE(marks_and_line_ends_of_files)
                      TEST_CASE(a_text_in_pieces_has_the_tokens_of_the_whole)
                          TEST_CASE(text_bytes_are_the_bytes_of_scored_tokens)
                              TEST_CASE(plain_texts_have_the_tokens_of_the_reference)
                                  TEST_CASE(no_memory_while_bytes_are_counted_is_an_error)
                                      TEST_CASE(the_hash_tells_data_and_options_apart))
