#include "format/checkpoint.h"
#include "format/open_tokenizer.h"

#include "../base/fail_alloc.h"
#include "test_files.h"

static dk_host *host;
static dk_error err;

static void setup(void)
{
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    dk_error_clear(&err);
}

static int32_t parse(test_bytes *bytes, uint32_t flags, dk_checkpoint **out)
{
    int32_t rc = dk_checkpoint_parse(host, bytes->data, bytes->size, "x.gguf", flags, out, &err);
    free_bytes(bytes);
    return rc;
}

/* Every type of value, and two tensors. */
static test_bytes sample(uint32_t version)
{
    static const int64_t matrix[2] = {2, 3}, row[1] = {32};
    test_bytes out = {0};
    gguf_begin(&out, version, 2, 15);
    gguf_text(&out, "general.architecture", "llama");
    gguf_key(&out, "u8", GGUF_U8), put_bytes(&out, "\xff", 1);
    gguf_key(&out, "i8", GGUF_I8), put_bytes(&out, "\xff", 1);
    gguf_key(&out, "u16", GGUF_U16), put_bytes(&out, "\xff\xff", 2);
    gguf_key(&out, "i16", GGUF_I16), put_bytes(&out, "\xfe\xff", 2);
    gguf_u32(&out, "u32", 0xffffffffu);
    gguf_key(&out, "i32", GGUF_I32), put_u32(&out, 0xffffffffu);
    gguf_f32(&out, "f32", 0.5f);
    gguf_bool(&out, "bool", 1);
    gguf_key(&out, "u64", GGUF_U64), put_u64(&out, UINT64_MAX);
    gguf_key(&out, "i64", GGUF_I64), put_u64(&out, UINT64_MAX);
    gguf_key(&out, "f64", GGUF_F64), put_bytes(&out, &(double){-2.25}, 8);
    gguf_list(&out, "texts", GGUF_TEXT, 2), put_text(&out, "one"), put_text(&out, "");
    gguf_list(&out, "numbers", GGUF_I32, 3), put_u32(&out, 7), put_u32(&out, 0xfffffffeu), put_u32(&out, 9);
    gguf_list(&out, "nested", GGUF_LIST, 2);
    put_u32(&out, GGUF_U8), put_u64(&out, 2), put_bytes(&out, "ab", 2);
    put_u32(&out, GGUF_TEXT), put_u64(&out, 1), put_text(&out, "deep");
    gguf_tensor(&out, "matrix", 2, matrix, 0, 0);
    gguf_tensor(&out, "blocks", 1, row, 8, 32);
    gguf_align(&out, 32);
    for (int i = 0; i < 6; i++) put_f32(&out, (float)i);
    gguf_align(&out, 32);
    put_zeros(&out, 34);
    return out;
}

TEST(reads_every_type)
{
    for (uint32_t version = 2; version <= 3; version++) {
        dk_checkpoint *file = NULL;
        int64_t i64 = 0;
        double f64 = 0;
        int32_t flag = 0;
        char *text = NULL;
        setup();
        test_bytes bytes = sample(version);
        REQUIRE_OK(parse(&bytes, 0, &file));
        CHECK_INT(dk_checkpoint_is_gguf(file), 1);
        CHECK_INT(dk_metadata_count(file), 15);
        CHECK_INT(dk_metadata_find(file, "u8")->i64, 255);
        CHECK_INT(dk_metadata_find(file, "i8")->i64, -1);
        CHECK_INT(dk_metadata_find(file, "u16")->i64, 65535);
        CHECK_INT(dk_metadata_find(file, "i16")->i64, -2);
        CHECK_INT(dk_metadata_find(file, "i32")->i64, -1);
        CHECK_INT(dk_metadata_find(file, "u64")->i64, INT64_MAX);
        CHECK_INT(dk_metadata_find(file, "i64")->i64, -1);
        CHECK_OK(dk_metadata_i64(file, "u32", 0, INT64_MAX, 1, &i64, &err));
        CHECK_INT(i64, 4294967295);
        CHECK_OK(dk_metadata_i64(file, "absent", 0, 9, 5, &i64, &err));
        CHECK_INT(i64, 5);
        CHECK_INT(dk_metadata_i64(file, "u8", 0, 254, 1, &i64, &err), DK_E_FORMAT);
        CHECK_HAS(err.message, "'u8' is 255; 0 to 254");
        CHECK_INT(dk_metadata_i64(file, "f32", 0, 9, 1, &i64, &err), DK_E_FORMAT);
        CHECK_OK(dk_metadata_f64(file, "f64", 0, &f64, &err));
        CHECK_NEAR(f64, -2.25, 0);
        CHECK_INT(dk_metadata_f64(file, "texts", 0, &f64, &err), DK_E_FORMAT);
        CHECK_OK(dk_metadata_bool(file, "bool", 0, &flag, &err));
        CHECK_INT(flag, 1);
        CHECK_INT(dk_metadata_bool(file, "u8", 0, &flag, &err), DK_E_FORMAT);
        CHECK_OK(dk_metadata_text(file, "general.architecture", &text, &err));
        CHECK_STR(text, "llama");
        CHECK_INT(dk_metadata_text(file, "u8", &text, &err), DK_E_FORMAT);
        dk_free(host, text);
        const dk_metadata *texts = dk_metadata_find(file, "texts"), *numbers = dk_metadata_find(file, "numbers");
        CHECK_INT(texts->count, 2);
        CHECK(texts->texts && texts->texts[0].size == 3 && !memcmp(texts->texts[0].data, "one", 3) &&
              texts->texts[1].size == 0);
        CHECK_INT(dk_metadata_item_i64(numbers, 1), -2);
        CHECK_NEAR(dk_metadata_item_f64(numbers, 2), 9, 0);
        CHECK_INT(dk_metadata_find(file, "nested")->count, 2);
        const dk_tensor *matrix = dk_checkpoint_find(file, "matrix"), *blocks = dk_checkpoint_find(file, "blocks");
        REQUIRE(matrix && blocks);
        CHECK_INT(matrix->shape[0], 2);
        CHECK_INT(matrix->shape[1], 3);
        CHECK_NEAR(((const float *)matrix->data)[5], 5, 0);
        CHECK_STR(blocks->type_name, "Q8_0");
        CHECK_INT(blocks->dtype, DK_Q8_0);
        CHECK_INT(blocks->bytes, 34);
        dk_checkpoint_close(file);
    }
}

TEST(refuses_every_truncation)
{
    setup();
    test_bytes bytes = sample(3);
    for (size_t size = 0; size < bytes.size; size++) {
        dk_checkpoint *file = NULL;
        CHECK_INT(dk_checkpoint_parse(host, bytes.data, size, "x", 0, &file, &err), DK_E_FORMAT);
        CHECK(!file);
    }
    free_bytes(&bytes);
}

TEST(vocabulary_only_skips_tensors)
{
    dk_checkpoint *file = NULL;
    test_bytes bytes = {0};
    setup();
    gguf_begin(&bytes, 3, 1, 1);
    gguf_text(&bytes, "general.architecture", "llama");
    put_zeros(&bytes, 64);
    REQUIRE_OK(dk_checkpoint_parse(host, bytes.data, bytes.size, "x", DK_OPEN_VOCABULARY, &file, &err));
    CHECK_INT(dk_checkpoint_count(file), 0);
    dk_checkpoint_close(file);
    file = NULL;
    CHECK_INT(parse(&bytes, 0, &file), DK_E_FORMAT);
}

static void expect(test_bytes *bytes, int32_t code, const char *part)
{
    dk_checkpoint *file = NULL;
    CHECK_INT(parse(bytes, 0, &file), code);
    CHECK_HAS(err.message, part);
    CHECK(!file);
}

TEST(refuses_bad_beginnings)
{
    test_bytes bytes = {0};
    setup();
    gguf_begin(&bytes, 1, 0, 0);
    expect(&bytes, DK_E_UNSUPPORTED, "version 1");
    gguf_begin(&bytes, 0x03000000, 0, 0);
    expect(&bytes, DK_E_UNSUPPORTED, "big-endian");
    gguf_begin(&bytes, 3, UINT64_MAX, 0);
    expect(&bytes, DK_E_FORMAT, "damaged");
    gguf_begin(&bytes, 3, 0, UINT64_MAX / 2);
    expect(&bytes, DK_E_FORMAT, "damaged");
    put_bytes(&bytes, "GGML\3\0\0\0\0\0\0\0", 12);
    expect(&bytes, DK_E_FORMAT, "neither");
}

TEST(refuses_bad_metadata)
{
    test_bytes bytes = {0};
    setup();
    gguf_begin(&bytes, 3, 0, 1), gguf_key(&bytes, "k", 13), put_u64(&bytes, 0);
    expect(&bytes, DK_E_FORMAT, "value type 13");
    gguf_begin(&bytes, 3, 0, 1), gguf_bool(&bytes, "k", 2), put_zeros(&bytes, 9);
    expect(&bytes, DK_E_FORMAT, "boolean");
    gguf_begin(&bytes, 3, 0, 1), gguf_key(&bytes, "", GGUF_U8), put_zeros(&bytes, 9);
    expect(&bytes, DK_E_FORMAT, "empty");
    gguf_begin(&bytes, 3, 0, 1), gguf_key(&bytes, "k", GGUF_TEXT), put_u64(&bytes, UINT64_MAX);
    expect(&bytes, DK_E_FORMAT, "inside a text");
    gguf_begin(&bytes, 3, 0, 1), gguf_list(&bytes, "k", GGUF_U8, UINT64_MAX);
    expect(&bytes, DK_E_FORMAT, "items");
    gguf_begin(&bytes, 3, 0, 1), gguf_list(&bytes, "k", GGUF_TEXT, 1u << 30), put_zeros(&bytes, 64);
    expect(&bytes, DK_E_FORMAT, "items");
    gguf_begin(&bytes, 3, 0, 1), gguf_list(&bytes, "k", 77, 1), put_zeros(&bytes, 64);
    expect(&bytes, DK_E_FORMAT, "value type 77");
    gguf_begin(&bytes, 3, 0, 2), gguf_u32(&bytes, "k", 1), gguf_u32(&bytes, "k", 2);
    expect(&bytes, DK_E_FORMAT, "'k' is there twice");
    gguf_begin(&bytes, 3, 0, 1), gguf_key(&bytes, "k", GGUF_LIST);
    for (int i = 0; i < 40; i++) put_u32(&bytes, GGUF_LIST), put_u64(&bytes, 1);
    expect(&bytes, DK_E_FORMAT, "depth");
    gguf_begin(&bytes, 3, 0, 1), gguf_u32(&bytes, "general.alignment", 24);
    expect(&bytes, DK_E_FORMAT, "general.alignment is 24");
    gguf_begin(&bytes, 3, 0, 1), gguf_u32(&bytes, "general.alignment", 0);
    expect(&bytes, DK_E_FORMAT, "general.alignment is 0");
    gguf_begin(&bytes, 3, 0, 1), gguf_u32(&bytes, "general.alignment", 4);
    expect(&bytes, DK_E_FORMAT, "general.alignment is 4; a power of two from 8 to 1048576 is expected");
    gguf_begin(&bytes, 3, 0, 1), gguf_text(&bytes, "general.alignment", "32");
    expect(&bytes, DK_E_FORMAT, "general.alignment is not a whole number");
    gguf_begin(&bytes, 3, 0, 1), gguf_key(&bytes, "split.count", GGUF_U16), put_bytes(&bytes, "\3\0", 2);
    expect(&bytes, DK_E_UNSUPPORTED, "is part 1 of 3; give the path of the first");
}

/* One tensor of one line, then 64 bytes of data. */
static void expect_tensor(uint32_t rank, int64_t rows, int64_t columns, uint32_t type, uint64_t offset, int32_t code,
                          const char *part)
{
    test_bytes bytes = {0};
    const int64_t shape[8] = {rows, columns, 1, 1, 1, 1, 1, 1};
    gguf_begin(&bytes, 3, 1, 0);
    gguf_tensor(&bytes, "t", rank, shape, type, offset);
    gguf_align(&bytes, 32);
    put_zeros(&bytes, 64);
    expect(&bytes, code, part);
}

TEST(refuses_bad_tensors)
{
    test_bytes bytes = {0};
    static const int64_t four[1] = {4};
    setup();
    expect_tensor(0, 1, 1, 0, 0, DK_E_FORMAT, "0 dimensions");
    expect_tensor(5, 1, 1, 0, 0, DK_E_FORMAT, "5 dimensions");
    expect_tensor(2, 1, -1, 0, 0, DK_E_FORMAT, "impossible");
    expect_tensor(2, INT64_MAX / 8, INT64_MAX / 8, 0, 0, DK_E_FORMAT, "impossible");
    expect_tensor(2, 1, 4, 77, 0, DK_E_UNSUPPORTED, "'t' has the unknown type 77");
    expect_tensor(2, 1, 4, 0, 8, DK_E_FORMAT, "alignment");
    expect_tensor(2, 1, 4, 0, 64, DK_E_FORMAT, "behind");
    expect_tensor(2, 1, 4, 0, UINT64_MAX - 31, DK_E_FORMAT, "behind");
    expect_tensor(2, 5, 4, 0, 0, DK_E_FORMAT, "behind");
    expect_tensor(2, 1, 31, 8, 0, DK_E_FORMAT, "blocks of 32");
    gguf_begin(&bytes, 3, 2, 0), gguf_tensor(&bytes, "t", 1, four, 0, 0), gguf_tensor(&bytes, "t", 1, four, 0, 32),
        gguf_align(&bytes, 32);
    put_zeros(&bytes, 64);
    expect(&bytes, DK_E_FORMAT, "'t' is there twice");
    gguf_begin(&bytes, 3, 2, 0), gguf_tensor(&bytes, "t", 1, four, 0, 0), gguf_tensor(&bytes, "u", 1, four, 0, 0),
        gguf_align(&bytes, 32);
    put_zeros(&bytes, 64);
    expect(&bytes, DK_E_FORMAT, "overlaps");
}

/* ---- models in parts ---- */
typedef struct part_says {
    int number, count, tensors; /* -1 = nothing */
    const char *extra;          /* a metadata key more */
    const char *tensor;         /* its only one; NULL = none */
    const char *value;          /* of extra; NULL = "x" */
} part_says;

static void write_part(const char *path, const part_says *says)
{
    test_bytes bytes = {0};
    gguf_begin(&bytes, 3, says->tensor != NULL,
               (uint64_t)((says->number >= 0) + (says->count >= 0) + (says->tensors >= 0) + (says->extra != NULL)));
    if (says->number >= 0) gguf_key(&bytes, "split.no", GGUF_U16), put_bytes(&bytes, &(uint16_t){says->number}, 2);
    if (says->count >= 0) gguf_key(&bytes, "split.count", GGUF_U16), put_bytes(&bytes, &(uint16_t){says->count}, 2);
    if (says->tensors >= 0) gguf_u32(&bytes, "split.tensors.count", (uint32_t)says->tensors);
    if (says->extra) gguf_text(&bytes, says->extra, says->value ? says->value : "x");
    if (says->tensor) gguf_tensor(&bytes, says->tensor, 1, (const int64_t[]){2}, 0, 0);
    gguf_align(&bytes, 32);
    if (says->tensor) put_f32(&bytes, (float)says->number), put_f32(&bytes, 0.5f);
    CHECK(write_bytes(&bytes, path));
    free_bytes(&bytes);
}

/* Three parts of which number `odd` (from 0) says something else. */
static const char *write_parts(int odd, const part_says *says)
{
    static char folder[1024], name[64];
    static const char *const tensors[] = {"a", "c", "b"};
    snprintf(folder, sizeof folder, "%s", test_folder("gguf_parts"));
    for (int i = 0; i < 3; i++) {
        const part_says own = {i, 3, 3, i ? NULL : "general.architecture", tensors[i], NULL};
        snprintf(name, sizeof name, "m-0000%d-of-00003.gguf", i + 1);
        write_part(path_in(folder, name), i == odd ? says : &own);
    }
    return folder;
}

static void expect_parts(const char *name, int32_t code, const char *part)
{
    dk_checkpoint *file = NULL;
    CHECK_INT(dk_checkpoint_open(host, name, DK_OPEN_MMAP, &file, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!file);
}

TEST(parts_are_one_model)
{
    dk_checkpoint *file = NULL;
    dk_path_type kind = DK_PATH_MISSING;
    setup();
    for (uint32_t flags = 0; flags <= DK_OPEN_MMAP; flags++) {
        const char *folder = write_parts(-1, NULL);
        REQUIRE_OK(dk_checkpoint_open(host, path_in(folder, "m-00001-of-00003.gguf"), flags, &file, &err));
        CHECK_INT(dk_checkpoint_count(file), 3);
        CHECK_INT(dk_checkpoint_files(file), 3);
        CHECK_INT(dk_checkpoint_find(file, "c")->file, 1);
        CHECK_NEAR(*(const float *)dk_checkpoint_find(file, "b")->data, 2, 0);
        CHECK(dk_metadata_find(file, "general.architecture"));
        CHECK_INT(dk_checkpoint_notes(file)->size, 0);
        dk_checkpoint_close(file);
    }
    /* The first may hold no tensor. */
    const char *folder = write_parts(0, &(part_says){0, 3, -1, "general.architecture", NULL, NULL});
    REQUIRE_OK(dk_checkpoint_open(host, path_in(folder, "m-00001-of-00003.gguf"), 0, &file, &err));
    CHECK_INT(dk_checkpoint_count(file), 2);
    dk_checkpoint_close(file);
    CHECK_OK(dk_path_kind(host, path_in(folder, "m-00001-of-00003.gguf"), &kind, &err));
    CHECK_INT(kind, DK_PATH_GGUF);
    folder = write_parts(2, &(part_says){2, 3, 3, "general.name", "b", NULL});
    REQUIRE_OK(dk_checkpoint_open(host, path_in(folder, "m-00001-of-00003.gguf"), 0, &file, &err));
    CHECK_HAS(dk_checkpoint_notes(file)->data, "'general.name' stands in a part that is not the first");
    dk_checkpoint_close(file);
}

TEST(missing_and_contradictory_parts_are_named)
{
    setup();
    const char *folder = write_parts(-1, NULL);
    expect_parts(path_in(folder, "m-00002-of-00003.gguf"), DK_E_UNSUPPORTED,
                 "is part 2 of 3; open the first, m-00001-of-00003.gguf");
    CHECK(!remove(path_in(folder, "m-00003-of-00003.gguf")));
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_NOT_FOUND,
                 "part 3 of 3, m-00003-of-00003.gguf, is not there");
    CHECK(write_text(path_in(folder, "m-00003-of-00003.gguf"), "text"));
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT, "but no GGUF file");
    CHECK(!rename(path_in(folder, "m-00001-of-00003.gguf"), path_in(folder, "m.gguf")));
    expect_parts(path_in(folder, "m.gguf"), DK_E_FORMAT, "its name must end in -00001-of-00003.gguf");
    CHECK(!rename(path_in(folder, "m.gguf"), path_in(folder, "m-00001-of-00002.gguf")));
    expect_parts(path_in(folder, "m-00001-of-00002.gguf"), DK_E_FORMAT, "says that it is part 1 of 3");
    folder = write_parts(1, &(part_says){2, 3, 3, NULL, "c", NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT,
                 "is part 2 of 3 by its name, but says that it is part 3 of 3");
    folder = write_parts(1, &(part_says){-1, -1, -1, NULL, "c", NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT, "says that it is part 1 of 0");
    folder = write_parts(0, &(part_says){0, 3, 3, NULL, NULL, NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT,
                 "split.tensors.count is 3, but 3 files hold 2 tensors");
    folder = write_parts(1, &(part_says){1, 3, 4, NULL, "c", NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_MISMATCH,
                 "m-00002-of-00003.gguf: metadata key 'split.tensors.count' is another one than in the first part");
    folder = write_parts(2, &(part_says){2, 3, 3, "general.architecture", "b", "y"});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_MISMATCH,
                 "'general.architecture' is another one than in the first part: are the parts of two models?");
    folder = write_parts(2, &(part_says){2, 3, 3, NULL, "a", NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT, "'a' is there twice");
    folder = write_parts(0, &(part_says){0, 65535, 3, NULL, "a", NULL});
    expect_parts(path_in(folder, "m-00001-of-00003.gguf"), DK_E_FORMAT, "'split.count' is 65535; 0 to 9999");
}

/* ---- tokenizers ---- */
static void expect_tokenizer(test_bytes *bytes, const char *path, int32_t code, const char *part)
{
    dk_tokenizer *tok = NULL;
    CHECK(write_bytes(bytes, path));
    free_bytes(bytes);
    CHECK_INT(dk_open_tokenizer(host, path, &tok, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!tok);
}

TEST(opens_tokenizers)
{
    dk_tokenizer *tok = NULL;
    test_bytes bytes = {0};
    setup();
    const char *folder = test_folder("gguf_tokenizer");
    char path[1200];
    snprintf(path, sizeof path, "%s/v.gguf", folder);
    CHECK_INT(dk_open_tokenizer(host, path, &tok, &err), DK_E_NOT_FOUND);
    CHECK_INT(dk_open_tokenizer(host, folder, &tok, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "has no tokenizer.json");
    CHECK(write_text(path_in(folder, "tokenizer.model"), "x"));
    CHECK_INT(dk_open_tokenizer(host, folder, &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "tokenizer.model: byte 1: a number that is cut off");
    CHECK_INT(dk_open_tokenizer(host, path_in(folder, "tokenizer.model"), &tok, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "tokenizer.model: byte 1: a number that is cut off");
    CHECK(write_text(path_in(folder, "x.txt"), "text"));
    CHECK_INT(dk_open_tokenizer(host, path_in(folder, "x.txt"), &tok, &err), DK_E_FORMAT);
    gguf_begin(&bytes, 3, 0, 1), gguf_text(&bytes, "general.architecture", "llama");
    expect_tokenizer(&bytes, path, DK_E_NOT_FOUND, "tokenizer.ggml.model");
    gguf_begin(&bytes, 3, 0, 1), gguf_text(&bytes, "tokenizer.ggml.model", "llama");
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "tokenizer.ggml.tokens");
    gguf_begin(&bytes, 3, 0, 2), gguf_text(&bytes, "tokenizer.ggml.model", "llama"),
        gguf_u32(&bytes, "tokenizer.ggml.tokens", 3);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "not a list of texts");
    gguf_begin(&bytes, 3, 0, 3), gguf_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_list(&bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 2), put_text(&bytes, "<unk>"), put_text(&bytes, "a");
    gguf_list(&bytes, "tokenizer.ggml.scores", GGUF_F32, 1), put_f32(&bytes, 0);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "1 entries for 2 tokens");
    gguf_begin(&bytes, 3, 0, 3), gguf_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_list(&bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 2), put_text(&bytes, "<unk>"), put_text(&bytes, "a");
    gguf_u32(&bytes, "tokenizer.ggml.bos_token_id", 2);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "bos_token_id' is 2; 0 to 1");
}

/* A vocabulary of two tokens, each with a value of the given type behind key. */
static test_bytes two_tokens(const char *key, uint32_t type)
{
    test_bytes bytes = {0};
    gguf_begin(&bytes, 3, 0, 3), gguf_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_list(&bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 2), put_text(&bytes, "<unk>"), put_text(&bytes, "a");
    gguf_list(&bytes, key, type, 2);
    return bytes;
}

TEST(numbers_of_tokens_have_one_type)
{
    char path[1200];
    double huge = 1e300;
    setup();
    snprintf(path, sizeof path, "%s", path_in(test_folder("gguf_numbers"), "v.gguf"));
    test_bytes bytes = two_tokens("tokenizer.ggml.token_type", GGUF_F32);
    put_f32(&bytes, 1e30f), put_f32(&bytes, NAN);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "token_type' is not a list of whole numbers");
    bytes = two_tokens("tokenizer.ggml.token_type", GGUF_I32);
    put_u32(&bytes, 1), put_u32(&bytes, 7);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "token_type[1] is 7; 0 to 6 is expected");
    bytes = two_tokens("tokenizer.ggml.scores", GGUF_I32);
    put_u32(&bytes, 1), put_u32(&bytes, 2);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "scores' is not a list of floats");
    bytes = two_tokens("tokenizer.ggml.scores", GGUF_F64);
    put_bytes(&bytes, &huge, 8), put_bytes(&bytes, &huge, 8);
    expect_tokenizer(&bytes, path, DK_E_FORMAT, "scores[0] is not a number of 32 bits");
}

static void begin_letters(test_bytes *bytes, const char *model, uint64_t more)
{
    gguf_begin(bytes, 3, 0, 3 + more), gguf_text(bytes, "tokenizer.ggml.model", model);
    gguf_list(bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 2), put_text(bytes, "a"), put_text(bytes, "b");
    gguf_list(bytes, "tokenizer.ggml.scores", GGUF_F32, 2), put_f32(bytes, 0), put_f32(bytes, -1);
}

static void expect_note(test_bytes *bytes, const char *part)
{
    dk_tokenizer *tok = NULL;
    char path[1200];
    snprintf(path, sizeof path, "%s", path_in(test_folder("gguf_notes"), "v.gguf"));
    CHECK(write_bytes(bytes, path));
    free_bytes(bytes);
    REQUIRE_OK(dk_open_tokenizer(host, path, &tok, &err));
    const char *notes = dk_tokenizer_notes(tok)->data;
    CHECK_HAS(notes ? notes : "", part);
    dk_tokenizer_release(tok);
}

TEST(keys_that_a_vocabulary_does_not_read_are_named)
{
    test_bytes bytes = {0};
    setup();
    begin_letters(&bytes, "llama", 2), gguf_text(&bytes, "tokenizer.ggml.pre", "qwen2");
    gguf_list(&bytes, "tokenizer.ggml.merges", GGUF_TEXT, 1), put_text(&bytes, "a b");
    expect_note(&bytes, "metadata that is not used: tokenizer.ggml.merges, tokenizer.ggml.pre\n");
    begin_letters(&bytes, "gpt2", 3), gguf_text(&bytes, "tokenizer.ggml.pre", "gpt-2");
    gguf_list(&bytes, "tokenizer.ggml.merges", GGUF_TEXT, 0), gguf_bool(&bytes, "tokenizer.ggml.add_space_prefix", 1);
    expect_note(&bytes, "metadata that is not used: tokenizer.ggml.add_space_prefix, tokenizer.ggml.scores\n");
    begin_letters(&bytes, "llama", 1), gguf_u32(&bytes, "tokenizer.ggml.padding_token_id", 2);
    expect_note(&bytes, "'tokenizer.ggml.padding_token_id' is 2, no id of its 2 tokens; it is not used\n");
    begin_letters(&bytes, "gpt2", 1), gguf_text(&bytes, "tokenizer.ggml.pre", "gpt-2");
    expect_tokenizer(&bytes, path_in(test_folder("gguf_merges"), "v.gguf"), DK_E_FORMAT,
                     "tokenizer.ggml.merges is absent, which a \"gpt2\" vocabulary needs");
}

/* A vocabulary of bytes and two words. */
TEST(reads_a_vocabulary)
{
    dk_tokenizer *tok = NULL;
    test_bytes bytes = {0};
    char name[16];
    int32_t ids[8];
    int64_t count = 0;
    setup();
    const char *folder = test_folder("gguf_vocabulary");
    gguf_begin(&bytes, 3, 0, 11);
    gguf_text(&bytes, "general.architecture", "llama");
    gguf_u32(&bytes, "llama.context_length", 2048);
    gguf_bool(&bytes, "tokenizer.ggml.remove_extra_whitespaces", 1);
    gguf_text(&bytes, "tokenizer.ggml.model", "llama");
    gguf_list(&bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 3 + 256 + 3);
    put_text(&bytes, "<unk>"), put_text(&bytes, "<s>"), put_text(&bytes, "</s>");
    for (int i = 0; i < 256; i++) snprintf(name, sizeof name, "<0x%02X>", i), put_text(&bytes, name);
    put_text(&bytes, "a"), put_text(&bytes, "b"), put_text(&bytes, "ab");
    gguf_list(&bytes, "tokenizer.ggml.scores", GGUF_F32, 262);
    for (int i = 0; i < 262; i++) put_f32(&bytes, i == 261 ? -1.0f : -2.0f);
    gguf_list(&bytes, "tokenizer.ggml.token_type", GGUF_I32, 262);
    for (int i = 0; i < 262; i++) put_u32(&bytes, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
    gguf_u32(&bytes, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(&bytes, "tokenizer.ggml.eos_token_id", 2);
    gguf_bool(&bytes, "tokenizer.ggml.add_bos_token", 1);
    gguf_bool(&bytes, "tokenizer.ggml.add_space_prefix", 0);
    REQUIRE(write_bytes(&bytes, path_in(folder, "v.gguf")));
    free_bytes(&bytes);
    REQUIRE_OK(dk_open_tokenizer(host, path_in(folder, "v.gguf"), &tok, &err));
    CHECK_INT(dk_tokenizer_vocab_size(tok), 262);
    CHECK_HAS(dk_tokenizer_notes(tok)->data, "not used: tokenizer.ggml.remove_extra_whitespaces\n");
    dk_strbuf config;
    dk_strbuf_init(&config, host);
    CHECK_OK(dk_tokenizer_write_config(tok, &config, &err));
    CHECK_HAS(config.data, "\"model_max_length\":2048");
    dk_strbuf_free(&config);
    CHECK_INT(dk_tokenizer_bos(tok), 1);
    CHECK_INT(dk_tokenizer_eos(tok), 2);
    CHECK_OK(dk_tokenizer_encode(tok, "aba!", 4, DK_ENCODE_SPECIAL, ids, 8, &count, &err));
    CHECK_INT(count, 4);
    CHECK_INT(ids[0], 1);
    CHECK_INT(ids[1], 261);
    CHECK_INT(ids[2], 259);
    CHECK_INT(ids[3], 3 + '!');
    dk_tokenizer_release(tok);
}

/* a, b and what a converter fills up with; the types of the last ones, and the id that ends a text. */
static int64_t padded_size(const char *path, const char *const tail[3], const uint32_t types[3], uint32_t eos)
{
    dk_tokenizer *tok = NULL;
    test_bytes bytes = {0};
    gguf_begin(&bytes, 3, 0, 5);
    gguf_text(&bytes, "tokenizer.ggml.model", "gpt2");
    gguf_list(&bytes, "tokenizer.ggml.tokens", GGUF_TEXT, 5);
    put_text(&bytes, "a"), put_text(&bytes, "b");
    for (int i = 0; i < 3; i++) put_text(&bytes, tail[i]);
    gguf_list(&bytes, "tokenizer.ggml.token_type", GGUF_I32, 5);
    put_u32(&bytes, 1), put_u32(&bytes, 1);
    for (int i = 0; i < 3; i++) put_u32(&bytes, types[i]);
    gguf_list(&bytes, "tokenizer.ggml.merges", GGUF_TEXT, 0);
    gguf_u32(&bytes, "tokenizer.ggml.eos_token_id", eos);
    CHECK(write_bytes(&bytes, path));
    free_bytes(&bytes);
    CHECK_OK(dk_open_tokenizer(host, path, &tok, &err));
    int64_t size = tok ? dk_tokenizer_vocab_size(tok) : -1;
    dk_tokenizer_release(tok);
    return size;
}

TEST(padding_is_no_part_of_a_vocabulary)
{
    static const char *const pads[3] = {"[PAD2]", "[PAD3]", "[PAD4]"}, *const other[3] = {"[PAD2]", "c", "[PAD4]"},
                             *const wrong[3] = {"[PAD2]", "[PAD3]", "[PAD5]"};
    char path[1200];
    setup();
    snprintf(path, sizeof path, "%s", path_in(test_folder("gguf_padding"), "v.gguf"));
    CHECK_INT(padded_size(path, pads, (const uint32_t[]){5, 5, 5}, 1), 2);
    CHECK_INT(padded_size(path, pads, (const uint32_t[]){5, 5, 5}, 3), 4); /* a token that ends texts is needed */
    CHECK_INT(padded_size(path, pads, (const uint32_t[]){1, 1, 5}, 1), 4); /* a word that looks like padding */
    CHECK_INT(padded_size(path, other, (const uint32_t[]){5, 5, 5}, 1), 4);
    CHECK_INT(padded_size(path, wrong, (const uint32_t[]){5, 5, 5}, 1), 5);
}

TEST(reads_published_vocabularies)
{
    static const char *const names[] = {"gpt-2", "deepseek-coder", "falcon", "phi-3", "starcoder"};
    static const int64_t sizes[] = {50257, 32256, 65024, 32064, 49152};
    char path[1200];
    setup();
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dk_checkpoint *file = NULL;
        snprintf(path, sizeof path, "%s/tokenizers/gguf_vocab/ggml-vocab-%s.gguf", test_assets(), names[i]);
        REQUIRE_OK(dk_checkpoint_open(host, path, DK_OPEN_MMAP, &file, &err));
        CHECK_INT(dk_checkpoint_count(file), 0);
        const dk_metadata *tokens = dk_metadata_find(file, "tokenizer.ggml.tokens");
        CHECK_INT(tokens ? tokens->count : 0, sizes[i]);
        dk_checkpoint_close(file);
    }
}

/* ---- memory ---- */
static int32_t attempt(void *context, dk_host *of, dk_error *error)
{
    const test_bytes *bytes = context;
    dk_checkpoint *file = NULL;
    int32_t rc = dk_checkpoint_parse(of, bytes->data, bytes->size, "x.gguf", 0, &file, error);
    dk_checkpoint_close(file);
    return rc;
}

static int32_t attempt_parts(void *context, dk_host *of_host, dk_error *error)
{
    dk_checkpoint *file = NULL;
    int32_t rc = dk_checkpoint_open(of_host, context, 0, &file, error);
    if (!rc) rc = dk_strbuf_check(dk_checkpoint_notes(file), error);
    dk_checkpoint_close(file);
    return rc;
}

TEST(survives_every_failed_allocation)
{
    setup();
    test_bytes bytes = sample(3);
    CHECK(fail_every_alloc(attempt, &bytes) > 20);
    free_bytes(&bytes);
    const char *folder = write_parts(2, &(part_says){2, 3, 3, "general.name", "b", NULL});
    char path[1200];
    snprintf(path, sizeof path, "%s", path_in(folder, "m-00001-of-00003.gguf"));
    CHECK(fail_every_alloc(attempt_parts, path) > 20);
}

TEST_MAIN(TEST_CASE(reads_every_type) TEST_CASE(refuses_every_truncation) TEST_CASE(vocabulary_only_skips_tensors)
              TEST_CASE(refuses_bad_beginnings) TEST_CASE(refuses_bad_metadata) TEST_CASE(refuses_bad_tensors)
                  TEST_CASE(parts_are_one_model) TEST_CASE(missing_and_contradictory_parts_are_named)
                      TEST_CASE(opens_tokenizers) TEST_CASE(numbers_of_tokens_have_one_type)
                          TEST_CASE(keys_that_a_vocabulary_does_not_read_are_named) TEST_CASE(reads_a_vocabulary)
                              TEST_CASE(padding_is_no_part_of_a_vocabulary) TEST_CASE(reads_published_vocabularies)
                                  TEST_CASE(survives_every_failed_allocation))
