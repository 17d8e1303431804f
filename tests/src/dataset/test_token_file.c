/* test_token_file.c - token files: round trip, the cache, damage anywhere, other tokenizers. */
#include <sys/stat.h>

#include "dataset/token_file.h"
#include "dataset/token_layout.h"
#include "dataset_fixture.h"

static di_dataset *open_any(fixture *f, const char *path)
{
    di_dataset *dataset = NULL;
    dk_error err;
    if (di_dataset_open(f->host, path, f->tokenizer, f->options, &dataset, &err)) FAIL("%s", err.message);
    return dataset;
}

static const char *const LINES =
    "{\"text\": \"abc\"}\n{\"prompt\": \"de\", \"completion\": \"fg\"}\n{\"text\": \"hij\"}\n";

TEST(a_token_file_holds_the_same_data)
{
    fixture f;
    dk_error err;
    char hash[2][65];
    REQUIRE(fixture_open(&f, OPTIONS("data.pack=false")));
    di_dataset *source = open_any(&f, fixture_file("source.jsonl", LINES));
    const char *path = test_path(TEST_TMP, "source.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    CHECK_INT(di_token_file_is(f.host, path), 1);
    di_dataset *again = open_any(&f, path);
    REQUIRE(again);
    di_batch *a = fixture_all(source), *b = fixture_all(again);
    CHECK_STR(fixture_learnt(b, 0), "_bc<|endoftext|>|__fg<|endoftext|>|_ij<|endoftext|>");
    CHECK_STR(fixture_learnt(b, 0), fixture_learnt(a, 0));
    CHECK_INT(fixture_number(again, "bytes"), fixture_number(source, "bytes"));
    REQUIRE_OK(di_dataset_hash(source, hash[0], &err));
    REQUIRE_OK(di_dataset_hash(again, hash[1], &err));
    CHECK_STR(hash[1], hash[0]);
    di_batch_free(a);
    di_batch_free(b);
    di_dataset_release(source);
    di_dataset_release(again);
    fixture_close(&f);
}

TEST(weights_and_wide_ids_are_kept)
{
    const int32_t ids[] = {1, 70000, 3};
    const int64_t offsets[] = {0, 3}, rows[] = {0, 1};
    const float weights[] = {0.25f, 4};
    fixture f;
    dk_error err;
    di_store *store = NULL;
    di_dataset *dataset = NULL;
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.rows = rows;
    batch.weights = weights;
    batch.row_count = 2;
    batch.sequences = 1;
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_dataset_from_tokens(f.host, &batch, NULL, &dataset, &err));
    const char *path = test_path(TEST_TMP, "wide.tokens");
    REQUIRE_OK(di_token_file_write(dataset->store, NULL, path, &err));
    REQUIRE_OK(di_token_file_open(f.host, path, NULL, NULL, &store, &err));
    CHECK_INT(di_tokens_id(&store->tokens, 1), 70000);
    CHECK(store->tokens.weights[1] == 0.25f && store->tokens.weights[2] == 4);
    CHECK_INT(store->largest, 70000);
    di_store_release(store);
    di_dataset_release(dataset);
    fixture_close(&f);
}

TEST(another_tokenizer_is_refused)
{
    fixture f;
    dk_error err;
    di_dataset *other = NULL;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source = open_any(&f, fixture_file("tokenizer.jsonl", LINES));
    const char *path = test_path(TEST_TMP, "tokenizer.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    dk_vocabulary vocabulary;
    dk_tokenizer *tokenizer = NULL;
    const dk_slice tokens[] = {{"a", 1}, {"b", 1}};
    dk_vocabulary_init(&vocabulary);
    vocabulary.kind = DK_VOCABULARY_BPE;
    vocabulary.pre = "gpt-2";
    vocabulary.tokens = tokens;
    vocabulary.count = 2;
    REQUIRE_OK(dk_tokenizer_from_vocabulary(f.host, &vocabulary, &tokenizer, &err));
    CHECK_INT(di_dataset_open(f.host, path, tokenizer, f.options, &other, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "tokenizer.tokens: was made with the tokenizer ");
    CHECK_HAS(err.message, ", the model's is ");
    dk_tokenizer_release(tokenizer);
    di_dataset_release(source);
    fixture_close(&f);
}

/* ---- damage ---- */

typedef struct bytes {
    char *data;
    size_t size;
} bytes;

static bytes read_file(dk_host *host, const char *path)
{
    bytes b = {NULL, 0};
    dk_error err;
    if (dk_file_read(host, path, UINT64_MAX, &b.data, &b.size, &err)) FAIL("%s", err.message);
    return b;
}

static int32_t open_bytes(fixture *f, const bytes *b, size_t size, dk_error *err)
{
    di_store *store = NULL;
    int32_t rc = di_token_file_open(f->host, fixture_bytes("damaged.tokens", b->data, size), NULL, NULL, &store, err);
    di_store_release(store);
    return rc;
}

TEST(damage_in_any_block_is_found_and_placed)
{
    const size_t size = 3u << 20;
    fixture f;
    dk_error err;
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source = open_any(&f, fixture_file("blocks.txt", text));
    const char *path = test_path(TEST_TMP, "blocks.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    bytes b = read_file(f.host, path);
    int64_t blocks = ((int64_t)b.size - DI_TOKEN_HEADER + DI_TOKEN_BLOCK - 1) / DI_TOKEN_BLOCK;
    CHECK_INT(blocks, 7); /* 6 MiB of ids, one document, checksums */
    for (int64_t block = 0; block < blocks; block++) {
        int64_t begin = DI_TOKEN_HEADER + block * DI_TOKEN_BLOCK;
        char want[80];
        b.data[begin + 5] ^= 1;
        CHECK_INT(open_bytes(&f, &b, b.size, &err), DK_E_FORMAT);
        snprintf(want, sizeof want, "block %lld at byte %lld is damaged", (long long)block, (long long)begin);
        CHECK_HAS(err.message, want);
        CHECK_INT(err.position, begin);
        b.data[begin + 5] ^= 1;
    }
    CHECK_INT(open_bytes(&f, &b, b.size, &err), DK_OK);
    dk_free(f.host, b.data);
    di_dataset_release(source);
    fixture_close(&f);
    free(text);
}

TEST(every_byte_of_a_small_file_matters)
{
    fixture f;
    dk_error err;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source = open_any(&f, fixture_file("small.jsonl", LINES));
    const char *path = test_path(TEST_TMP, "small.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    bytes b = read_file(f.host, path);
    for (size_t i = 0; i < b.size; i++) {
        b.data[i] ^= 0x40;
        if (open_bytes(&f, &b, b.size, &err) == DK_OK) FAIL("byte %zu may be anything", i);
        if (!strstr(err.message, "damaged.tokens: ") || err.position < 0 || (size_t)err.position > b.size)
            FAIL("byte %zu: \"%s\" names no place", i, err.message);
        b.data[i] ^= 0x40;
    }
    for (size_t size = 0; size < b.size; size++)
        if (open_bytes(&f, &b, size, &err) != DK_E_FORMAT || err.position != (size < 8 ? 0 : (int64_t)size))
            FAIL("%zu of %zu bytes: %d at %lld", size, b.size, (int)err.code, (long long)err.position);
    dk_free(f.host, b.data);
    di_dataset_release(source);
    fixture_close(&f);
}

/* Writes a header that is consistent in itself, so that what it says is all that is wrong. */
static int32_t open_forged(fixture *f, const bytes *b, di_token_layout layout, dk_error *err)
{
    di_token_layout_write(&layout, (uint8_t *)b->data);
    return open_bytes(f, b, b->size, err);
}

TEST(a_hostile_header_is_refused)
{
    fixture f;
    dk_error err;
    di_token_layout layout, forged;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source = open_any(&f, fixture_file("hostile.jsonl", LINES));
    const char *path = test_path(TEST_TMP, "hostile.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    bytes b = read_file(f.host, path);
    REQUIRE_OK(di_token_layout_read((uint8_t *)b.data, b.size, path, &layout, &err));
    CHECK_INT(open_forged(&f, &b, layout, &err), DK_OK);
    forged = layout;
    forged.tokens = UINT64_MAX / 2;
    CHECK_INT(open_forged(&f, &b, forged, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "which cannot be");
    forged = layout;
    forged.documents = layout.tokens + 1;
    CHECK_INT(open_forged(&f, &b, forged, &err), DK_E_FORMAT);
    forged = layout;
    forged.id_size = 3;
    CHECK_INT(open_forged(&f, &b, forged, &err), DK_E_FORMAT);
    forged = layout;
    forged.offset[1] += 8;
    CHECK_INT(open_forged(&f, &b, forged, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "byte 64 of the header");
    forged = layout;
    forged.largest = 3;
    CHECK_INT(open_forged(&f, &b, forged, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "the largest id is 256, the header says 3");
    dk_free(f.host, b.data);
    di_dataset_release(source);
    fixture_close(&f);
}

TEST(tags_of_documents_are_checked)
{
    fixture f;
    dk_error err;
    di_store *again = NULL;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source =
        open_any(&f, fixture_file("tags.jsonl", "{\"text\": \"ab\", \"source\": \"x\", \"teacher\": \"y\"}\n"));
    const char *path = test_path(TEST_TMP, "tags.tokens");
    di_document *document = (di_document *)(uintptr_t)source->store->documents;
    CHECK(di_document_tag(document) == 1 && di_document_number(document) == 1);
    document->origin += UINT64_C(1) << 48;
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    CHECK_INT(di_token_file_open(f.host, path, NULL, NULL, &again, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "tags.tokens: document 0 has tag 2 of 1");
    document->origin -= UINT64_C(1) << 48;
    memset(source->store->own_tags.items[0].teacher, 'y', DI_TAG_SIZE);
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    CHECK_INT(di_token_file_open(f.host, path, NULL, NULL, &again, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "tags.tokens: tag 1 does not end");
    source->store->own_tags.items[0].teacher[63] = 0;
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    REQUIRE_OK(di_token_file_open(f.host, path, NULL, NULL, &again, &err));
    CHECK_STR(again->tags[0].source, "x");
    di_store_release(again);
    di_dataset_release(source);
    fixture_close(&f);
}

TEST(ids_beyond_the_tokenizer_are_no_text)
{
    const int32_t ids[] = {1, INT32_MAX - 1, 'a'};
    const int64_t offsets[] = {0, 3};
    fixture f;
    dk_error err;
    di_dataset *source = NULL;
    distill_batch batch;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    REQUIRE(fixture_open(&f, NULL));
    REQUIRE_OK(di_dataset_from_tokens(f.host, &batch, f.options, &source, &err));
    const char *path = test_path(TEST_TMP, "beyond.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    di_dataset *again = open_any(&f, path);
    REQUIRE(again);
    CHECK_INT(fixture_number(again, "bytes"), 1);
    CHECK_INT(di_dataset_check_vocab(again, FIXTURE_VOCAB, &err), DK_E_MISMATCH);
    di_dataset_release(source);
    di_dataset_release(again);
    fixture_close(&f);
}

TEST(inspect_says_whether_it_is_whole)
{
    fixture f;
    dk_error err;
    dk_strbuf json;
    REQUIRE(fixture_open(&f, NULL));
    di_dataset *source = open_any(&f, fixture_file("inspect.jsonl", LINES));
    const char *path = test_path(TEST_TMP, "inspect.tokens");
    REQUIRE_OK(di_token_file_write(source->store, NULL, path, &err));
    dk_strbuf_init(&json, f.host);
    REQUIRE_OK(di_token_file_inspect(f.host, path, &json, &err));
    CHECK_HAS(json.data, "{\"kind\":\"tokens\",\"version\":1,\"tokens\":13,\"documents\":3,\"largest_id\":256,\"bytes_"
                         "per_id\":2,\"masked\":true");
    CHECK_HAS(json.data, "\"whole\":true}");
    bytes b = read_file(f.host, path);
    b.data[300] ^= 1;
    dk_strbuf_clear(&json);
    REQUIRE_OK(di_token_file_inspect(f.host, fixture_bytes("inspect.tokens", b.data, b.size), &json, &err));
    CHECK_HAS(json.data, "\"whole\":false,\"problem\":\"");
    CHECK_HAS(json.data, "block 0 at byte 256 is damaged");
    dk_free(f.host, b.data);
    dk_strbuf_free(&json);
    di_dataset_release(source);
    fixture_close(&f);
}

/* ---- the cache ---- */

typedef struct found {
    int count;
    char name[256];
} found;

static int32_t note(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    found *f = user;
    (void)is_dir, (void)err;
    f->count++;
    snprintf(f->name, sizeof f->name, "%s", name);
    return DK_OK;
}

static int64_t progress_calls;
static int32_t count_calls(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    progress_calls++;
    return 0;
}

/* Whether opening tokenised anew. */
static int tokenised(fixture *f, const char *path, uint64_t memory_limit, const char *first)
{
    di_dataset *dataset = NULL;
    dk_error err;
    int64_t before = progress_calls;
    if (di_dataset_open_limited(f->host, path, f->tokenizer, f->options, memory_limit, count_calls, NULL, &dataset,
                                &err)) {
        FAIL("%s", err.message);
        return -1;
    }
    di_batch *batch = fixture_all(dataset);
    if (strncmp(fixture_learnt(batch, 1), first, strlen(first)) != 0)
        FAIL("begins \"%.20s\", not \"%s\"", fixture_learnt(batch, 1), first);
    di_batch_free(batch);
    di_dataset_release(dataset);
    return progress_calls > before;
}

TEST(the_cache_is_used_while_nothing_changed)
{
    fixture f;
    dk_error err;
    found files = {0};
    char setting[1600];
    const char *folder = test_folder("token_cache");
    snprintf(setting, sizeof setting, "data.token_cache=%s/tokens", folder);
    REQUIRE(fixture_open(&f, OPTIONS(setting, "data.pack=false")));
    const char *path = fixture_file("cached.jsonl", LINES);
    CHECK_INT(tokenised(&f, path, 1 << 20, "abc<"), 1);
    CHECK_INT(tokenised(&f, path, 1 << 20, "abc<"), 0);
    REQUIRE_OK(di_options_set(f.options, "data.sequence_length", "3", &err)); /* cutting is not part of it */
    CHECK_INT(tokenised(&f, path, 1 << 20, "abc|"), 0);
    REQUIRE_OK(di_options_set(f.options, "data.prompt_loss", "true", &err));
    CHECK_INT(tokenised(&f, path, 1 << 20, "abc|"), 1);
    path = fixture_file("cached.jsonl", "{\"text\": \"something else\"}");
    CHECK_INT(tokenised(&f, path, 0, "som|"), 1); /* from a temporary file into the cache */
    CHECK_INT(tokenised(&f, path, 0, "som|"), 0);
    snprintf(setting, sizeof setting, "%s/tokens", folder);
    REQUIRE_OK(dk_dir_list(f.host, setting, note, &files, &err));
    CHECK_INT(files.count, 1);
    CHECK_HAS(files.name, "cached.jsonl.");
    snprintf(setting, sizeof setting, "%s/tokens/%s", folder, files.name);
    bytes b = read_file(f.host, setting);
    b.data[270] ^= 1;
    REQUIRE_OK(dk_file_replace(f.host, setting, b.data, b.size, &err));
    CHECK_INT(tokenised(&f, path, 1 << 20, "som|"), 1); /* damaged: made again */
    CHECK_INT(tokenised(&f, path, 1 << 20, "som|"), 0);
    REQUIRE_OK(di_options_set(f.options, "data.too_long", "error", &err));
    di_dataset *dataset = NULL;
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "cached.jsonl:1: the sample has"); /* the source is named, not its tokens */
    dk_free(f.host, b.data);
    fixture_close(&f);
}

TEST(a_cache_that_cannot_be_written_is_an_error)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    char setting[1200];
    snprintf(setting, sizeof setting, "data.token_cache=%s/below", fixture_file("a_file", "x"));
    REQUIRE(fixture_open(&f, OPTIONS(setting)));
    CHECK(di_dataset_open(f.host, fixture_file("unkept.txt", "abc"), f.tokenizer, f.options, &dataset, &err) != DK_OK);
    CHECK_HAS(err.message, "data.token_cache: ");
    CHECK(dataset == NULL);
    fixture_close(&f);
}

TEST_MAIN(TEST_CASE(a_token_file_holds_the_same_data) TEST_CASE(weights_and_wide_ids_are_kept)
              TEST_CASE(another_tokenizer_is_refused) TEST_CASE(damage_in_any_block_is_found_and_placed)
                  TEST_CASE(every_byte_of_a_small_file_matters) TEST_CASE(a_hostile_header_is_refused)
                      TEST_CASE(tags_of_documents_are_checked) TEST_CASE(ids_beyond_the_tokenizer_are_no_text)
                          TEST_CASE(inspect_says_whether_it_is_whole) TEST_CASE(the_cache_is_used_while_nothing_changed)
                              TEST_CASE(a_cache_that_cannot_be_written_is_an_error))
