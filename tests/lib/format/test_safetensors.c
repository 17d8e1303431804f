#include "format/checkpoint.h"

#include "test_files.h"

#include <sys/stat.h>
#include <unistd.h>

static dk_host *host;
static dk_error err;

static void setup(void)
{
    if (!host && dk_host_create(NULL, &host, &err)) exit(3);
    dk_error_clear(&err);
}

static int32_t parse(const char *header, size_t data, dk_checkpoint **out)
{
    test_bytes bytes = safetensors_bytes(header, data);
    int32_t rc = dk_checkpoint_parse(host, bytes.data, bytes.size, "x.safetensors", 0, out, &err);
    free_bytes(&bytes);
    return rc;
}

TEST(reads_tensors)
{
    dk_checkpoint *file = NULL;
    setup();
    REQUIRE_OK(
        parse("{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,14]},"
              "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},\"z\":{\"dtype\":\"I64\",\"shape\":[],"
              "\"data_offsets\":[14,22]},"
              "\"none\":{\"dtype\":\"F16\",\"shape\":[0,4],\"data_offsets\":[8,8]}}  ",
              22, &file));
    CHECK_INT(dk_checkpoint_count(file), 4);
    CHECK_STR(dk_checkpoint_at(file, 0)->name, "a");
    const dk_tensor *b = dk_checkpoint_find(file, "b"), *z = dk_checkpoint_find(file, "z");
    REQUIRE(b && z && !dk_checkpoint_find(file, "c"));
    CHECK_INT(b->dtype, DK_BF16);
    CHECK_INT(b->rank, 1);
    CHECK_INT(b->shape[0], 3);
    CHECK_INT(b->bytes, 6);
    CHECK_INT(*(const uint8_t *)b->data, 9);
    CHECK_INT(z->dtype, DK_I64);
    CHECK_STR(z->type_name, "I64");
    CHECK_INT(z->rank, 0);
    CHECK_INT(dk_checkpoint_is_gguf(file), 0);
    dk_checkpoint_close(file);
}

TEST(refuses_damage)
{
    static const struct {
        const char *header;
        size_t data;
        const char *part;
    } cases[] = {
        {"[]", 0, "neither"},
        {"{\"a\":3}", 4, "describe"},
        {"{\"a\":{}}", 4, "unknown dtype"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype 'F31'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, "impossible"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "cut or damaged"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "cut or damaged"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "cut or damaged"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4, "cut or damaged"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "needs 8 bytes, but has 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "behind the last"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "before tensor 'a'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[2,6]}}",
         6, "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[4,8]}}",
         8, "a"},
        {"{\"__metadata__\":{\"format\":3}}", 0, "__metadata__"},
        {"{\"__metadata__\":3}", 0, "__metadata__"},
        {"{\"a\":", 4, "x.safetensors"},
    };
    setup();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dk_checkpoint *file = NULL;
        int32_t rc = parse(cases[i].header, cases[i].data, &file);
        if (rc != DK_E_FORMAT) FAIL("case %d: %d %s", (int)i, (int)rc, err.message);
        CHECK_HAS(err.message, cases[i].part);
        CHECK(!file);
    }
}

TEST(refuses_every_truncation)
{
    setup();
    test_bytes bytes = safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    for (size_t size = 0; size < bytes.size; size++) {
        dk_checkpoint *file = NULL;
        CHECK_INT(dk_checkpoint_parse(host, bytes.data, size, "x", 0, &file, &err), DK_E_FORMAT);
        CHECK(!file);
    }
    memset(bytes.data, 0xff, 8); /* a header longer than any file */
    dk_checkpoint *file = NULL;
    CHECK_INT(dk_checkpoint_parse(host, bytes.data, bytes.size, "x", 0, &file, &err), DK_E_FORMAT);
    free_bytes(&bytes);
}

/* ---- writing ---- */
static int32_t fill_pattern(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *error)
{
    if (user && *(int *)user == (int)index) return dk_fail(error, DK_E_NUMERIC, "tensor %d is not ready", (int)index);
    for (uint64_t i = 0; i < size; i++) ((uint8_t *)out)[i] = (uint8_t)((uint64_t)index * 31 + (offset + i) * 7);
    return size <= DK_TENSOR_PIECE ? DK_OK : dk_fail(error, DK_E_INTERNAL, "piece of %d", (int)size);
}

static const dk_tensor_spec written[] = {
    {"z.weight", DK_F32, 2, {3, 5}}, {"a.weight", DK_BF16, 2, {700, 3001}}, {"m \"quoted\"", DK_F16, 1, {7}}};

static void check_written(const char *folder, int32_t files)
{
    dk_checkpoint *file = NULL;
    REQUIRE_OK(dk_checkpoint_open(host, folder, DK_OPEN_MMAP, &file, &err));
    CHECK_INT(dk_checkpoint_files(file), files);
    CHECK_INT(dk_checkpoint_count(file), 3);
    for (int64_t i = 0; i < 3; i++) {
        const dk_tensor *tensor = dk_checkpoint_find(file, written[i].name);
        REQUIRE(tensor != NULL);
        CHECK_INT(tensor->dtype, written[i].dtype);
        CHECK_INT(tensor->rank, written[i].rank);
        CHECK(!memcmp(tensor->shape, written[i].shape, (size_t)tensor->rank * sizeof *tensor->shape));
        int64_t wrong = 0;
        for (uint64_t k = 0; k < tensor->bytes; k++)
            wrong += ((const uint8_t *)tensor->data)[k] != (uint8_t)((uint64_t)i * 31 + k * 7);
        CHECK_INT(wrong, 0);
    }
    CHECK_INT((uintptr_t)dk_checkpoint_find(file, "a.weight")->data % 8, 0);
    dk_checkpoint_close(file);
}

TEST(writes_and_reads_back)
{
    setup();
    const char *folder = test_folder("safetensors_write");
    dk_safetensors_args args = {.tensors = written, .count = 3, .fill = fill_pattern};
    uint64_t bytes = 0;
    REQUIRE_OK(dk_safetensors_write(host, folder, &args, &bytes, &err));
    CHECK_INT(bytes, 60 + 700 * 3001 * 2 + 14);
    check_written(folder, 1);
    args.shard_bytes = 80; /* a | m, z: a tensor larger than the limit has a shard of its own */
    REQUIRE_OK(dk_safetensors_write(host, folder, &args, &bytes, &err));
    CHECK_INT(dk_path_exists(path_in(folder, "model.safetensors")), 0);
    CHECK_INT(dk_path_exists(path_in(folder, "model-00002-of-00002.safetensors")), 1);
    check_written(folder, 2);
    args.shard_bytes = 0;
    REQUIRE_OK(dk_safetensors_write(host, folder, &args, NULL, &err));
    CHECK_INT(dk_path_exists(path_in(folder, "model.safetensors.index.json")), 0);
    CHECK_INT(dk_path_exists(path_in(folder, "model-00002-of-00002.safetensors")), 0); /* nothing of the old save */
    check_written(folder, 1);
}

TEST(failed_write_leaves_the_old_file)
{
    setup();
    const char *folder = test_folder("safetensors_fail");
    int bad = 2;
    dk_safetensors_args args = {.tensors = written, .count = 3, .fill = fill_pattern};
    REQUIRE_OK(dk_safetensors_write(host, folder, &args, NULL, &err));
    args.user = &bad;
    CHECK_INT(dk_safetensors_write(host, folder, &args, NULL, &err), DK_E_NUMERIC);
    check_written(folder, 1);
    CHECK(dk_safetensors_write(host, path_in(folder, "nowhere"), &args, NULL, &err) != DK_OK);
    CHECK_HAS(err.message, "nowhere");
    dk_tensor_spec twice[2] = {written[0], written[0]};
    args = (dk_safetensors_args){.tensors = twice, .count = 2, .fill = fill_pattern};
    CHECK_INT(dk_safetensors_write(host, folder, &args, NULL, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "twice");
}

/* ---- shards ---- */
static void check_index(const char *folder, const char *index, int32_t code, const char *part)
{
    dk_checkpoint *file = NULL;
    CHECK(write_text(path_in(folder, "model.safetensors.index.json"), index));
    CHECK_INT(dk_checkpoint_open(host, folder, 0, &file, &err), code);
    CHECK_HAS(err.message, part);
    CHECK(!file);
}

TEST(checks_the_index)
{
    setup();
    const char *folder = test_folder("safetensors_index");
    test_bytes one = safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    REQUIRE(write_bytes(&one, path_in(folder, "one.safetensors")) &&
            write_bytes(&one, path_in(folder, "two.safetensors")));
    check_index(folder, "{}", DK_E_FORMAT, "weight_map");
    check_index(folder, "{\"weight_map\":{}}", DK_E_FORMAT, "weight_map");
    check_index(folder, "{\"weight_map\":{\"a\":3}}", DK_E_FORMAT, "'a'");
    check_index(folder, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", DK_E_FORMAT, "same folder");
    check_index(folder, "{\"weight_map\":{\"a\":\"/one.safetensors\"}}", DK_E_FORMAT, "same folder");
    check_index(folder, "{\"weight_map\":{\"a\":\"three.safetensors\"}}", DK_E_NOT_FOUND, "three.safetensors");
    check_index(folder, "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}", DK_E_FORMAT,
                "'b' is not in");
    check_index(folder, "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", DK_E_FORMAT, "twice");
    check_index(folder, "{\"weight_map\"", DK_E_FORMAT, "index.json");
    free_bytes(&one);
}

TEST(compares_the_sums_of_the_index)
{
    static const char *const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
    static const struct {
        const char *index, *note;
    } cases[] = {
        {"{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}", NULL},
        {"{\"metadata\":{\"total_size\":8.0},\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}", NULL},
        {"{\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}", NULL},
        {"{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}",
         "metadata.total_size is not the 8 bytes"},
        {"{\"metadata\":{\"total_size\":\"8\"},\"weight_map\":{\"a\":\"1\",\"b\":\"2\"}}", "total_size is not"},
        {"{\"weight_map\":{\"a\":\"1\",\"b\":\"3\"}}", "weight_map names 2 tensors, its shards hold 3; all are read"},
    };
    setup();
    const char *folder = test_folder("safetensors_sums");
    test_bytes one = safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    test_bytes two = safetensors_bytes("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    test_bytes both = safetensors_bytes("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                                        "\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                                        8);
    REQUIRE(write_bytes(&one, path_in(folder, "1")) && write_bytes(&two, path_in(folder, "2")) &&
            write_bytes(&both, path_in(folder, "3")));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dk_checkpoint *file = NULL;
        CHECK(write_text(path_in(folder, "model.safetensors.index.json"), cases[i].index));
        REQUIRE_OK(dk_checkpoint_open(host, folder, 0, &file, &err));
        const dk_strbuf *notes = dk_checkpoint_notes(file);
        if (cases[i].note) CHECK_HAS(notes->data, cases[i].note);
        else CHECK_INT(notes->size, 0);
        dk_checkpoint_close(file);
    }
    CHECK(write_text(path_in(folder, "2"), pointer)); /* a shard that was never fetched, named by its own path */
    check_index(folder, cases[0].index, DK_E_FORMAT, "safetensors_sums/2: is a Git LFS pointer, not the file itself");
    free_bytes(&one);
    free_bytes(&two);
    free_bytes(&both);
}

TEST(names_pointers)
{
    dk_checkpoint *file = NULL;
    dk_path_type kind = DK_PATH_UNKNOWN;
    setup();
    const char *folder = test_folder("safetensors_pointer"), *path = path_in(folder, "model.safetensors");
    CHECK(write_text(path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"));
    CHECK_INT(dk_checkpoint_open(host, folder, DK_OPEN_MMAP, &file, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "model.safetensors: is a Git LFS pointer, not the file itself; fetch it with git lfs pull");
    CHECK_INT(dk_path_kind(host, path, &kind, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "is a Git LFS pointer");
    CHECK(write_text(path, "/annex/objects/SHA256E-s3--00.safetensors\n"));
    CHECK_INT(dk_checkpoint_open(host, folder, DK_OPEN_MMAP, &file, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "is a git-annex pointer, not the file itself; fetch it with git annex get");
    CHECK(!file);
}

TEST(says_what_a_folder_lacks)
{
    dk_checkpoint *file = NULL;
    setup();
    const char *folder = test_folder("safetensors_none");
    CHECK_INT(dk_checkpoint_open(host, folder, 0, &file, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "has no weights");
    CHECK(write_text(path_in(folder, "pytorch_model.bin"), "x"));
    CHECK_INT(dk_checkpoint_open(host, folder, 0, &file, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "pytorch_model.bin");
    CHECK_INT(dk_checkpoint_open(host, path_in(folder, "absent"), 0, &file, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "absent");
}

TEST(knows_kinds)
{
    dk_path_type kind = DK_PATH_UNKNOWN;
    setup();
    const char *folder = test_folder("path_kinds");
    test_bytes one = safetensors_bytes("{}", 0), gguf = {0};
    REQUIRE_OK(dk_path_kind(host, path_in(folder, "absent"), &kind, &err));
    CHECK_INT(kind, DK_PATH_MISSING);
    REQUIRE_OK(dk_path_kind(host, folder, &kind, &err));
    CHECK_INT(kind, DK_PATH_UNKNOWN);
    CHECK(write_text(path_in(folder, "tokenizer.json"), "{}"));
    REQUIRE_OK(dk_path_kind(host, folder, &kind, &err));
    CHECK_INT(kind, DK_PATH_TOKENIZER);
    CHECK(write_text(path_in(folder, "config.json"), "{}"));
    REQUIRE_OK(dk_path_kind(host, folder, &kind, &err));
    CHECK_INT(kind, DK_PATH_MODEL);
    REQUIRE_OK(dk_path_kind(host, path_in(folder, "config.json"), &kind, &err));
    CHECK_INT(kind, DK_PATH_UNKNOWN);
    CHECK(write_bytes(&one, path_in(folder, "x.safetensors")));
    REQUIRE_OK(dk_path_kind(host, path_in(folder, "x.safetensors"), &kind, &err));
    CHECK_INT(kind, DK_PATH_SAFETENSORS);
    gguf_begin(&gguf, 3, 0, 0);
    CHECK(write_bytes(&gguf, path_in(folder, "x.gguf")));
    REQUIRE_OK(dk_path_kind(host, path_in(folder, "x.gguf"), &kind, &err));
    CHECK_INT(kind, DK_PATH_GGUF_VOCABULARY);
    gguf.data[8] = 1;
    CHECK(write_bytes(&gguf, path_in(folder, "x.gguf")));
    REQUIRE_OK(dk_path_kind(host, path_in(folder, "x.gguf"), &kind, &err));
    CHECK_INT(kind, DK_PATH_GGUF);
    CHECK_HAS(dk_path_kind_text(kind), "GGUF");
    free_bytes(&one);
    free_bytes(&gguf);
}

TEST_MAIN(TEST_CASE(reads_tensors) TEST_CASE(refuses_damage) TEST_CASE(refuses_every_truncation)
              TEST_CASE(writes_and_reads_back) TEST_CASE(failed_write_leaves_the_old_file) TEST_CASE(checks_the_index)
                  TEST_CASE(compares_the_sums_of_the_index) TEST_CASE(names_pointers)
                      TEST_CASE(says_what_a_folder_lacks) TEST_CASE(knows_kinds))
