/* test_dataset_files.c - what a file of data may be: text, lines, an array, packed; and what is refused by name. */
#include "dataset_fixture.h"

#include <sys/stat.h>

#include "dataset/unpack.h"

/* Samples of a file, '|' between them. */
static void check_read(const char *name, const void *data, size_t size, const char *const *settings, const char *all)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, settings));
    if (di_dataset_open(f.host, fixture_bytes(name, data, size), f.tokenizer, f.options, &dataset, &err)) {
        FAIL("%s: %s", name, err.message);
        fixture_close(&f);
        return;
    }
    di_batch *batch = fixture_all(dataset);
    CHECK_STR(fixture_learnt(batch, 1), all);
    di_batch_free(batch);
    di_dataset_release(dataset);
    fixture_close(&f);
}

static void check_refused(const char *name, const void *data, size_t size, const char *part, const char *way)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    REQUIRE(fixture_open(&f, NULL));
    dk_error_clear(&err);
    int32_t rc = di_dataset_open(f.host, fixture_bytes(name, data, size), f.tokenizer, f.options, &dataset, &err);
    if (rc != DK_E_FORMAT && rc != DK_E_UNSUPPORTED) FAIL("%s: code %d, not refused", name, (int)rc);
    CHECK_HAS(err.message, part);
    CHECK_HAS(err.message, way);
    di_dataset_release(dataset);
    fixture_close(&f);
}
#define BYTES(text) text, sizeof(text) - 1
#define TWO "abc<|endoftext|>|d\"]}e<|endoftext|>"
#define SINGLE OPTIONS("data.pack=false")

TEST(an_array_is_read_as_samples_whatever_its_name)
{
    static const char array[] = "\xef\xbb\xbf[\n {\"text\": \"abc\"} ,\n {\"text\": \"d\\\"]}e\"}\n]\n";
    static const char *const names[] = {"array.json", "array.jsonl", "array.txt", "array", "array.csv"};
    for (int i = 0; i < 5; i++) check_read(names[i], BYTES(array), SINGLE, TWO);
    check_read("array.json", BYTES(array), OPTIONS("data.pack=false", "data.format=jsonl"), TWO);
    check_read("lines.json", BYTES("{\"text\": \"abc\"}\n{\"text\": \"d\\\"]}e\"}"), SINGLE, TWO);
    check_read("lines.txt", BYTES("{\"text\": \"abc\"}\n{\"text\": \"d\\\"]}e\"}"), SINGLE, TWO);
    check_read("plain.txt", BYTES("[Illustration]"), SINGLE, "[Illustration]<|endoftext|>");
    check_read("asked.json", BYTES("[{\"a\":1}]"), OPTIONS("data.format=text"), "[{\"a\":1}]<|endoftext|>");
}

TEST(wrong_arrays_are_named)
{
    check_refused("bad.json", BYTES("[{\"text\": \"a\"}, {\"text\": 3}]"), "bad.json, sample 2: \"text\" must be text",
                  "");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"}, 7]"), "bad.json, sample 2: a sample must be a JSON object",
                  "");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"}"), "does not end: a ] is missing", "(byte 14)");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"},]"), "has a sample that is empty", "(byte 15)");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"}] x"), "ended, and more follows", "(byte 16)");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"} {\"text\": \"b\"}]"), "bad.json, sample 1: ", "");
    check_refused("bad.json", BYTES("[{\"text\": \"a\"}, {\"text\" \"b\"}]"), "bad.json, sample 2: ", "");
}

static const char gzipped[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x49\xad\x28\x51\xb2\x52\x50\x4a\x4c\x4a\x56\xaa\xe5\x02\x00"
    "\xc0\xd0\x40\xdc\x10\x00\x00\x00\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x49\xad\x28\x51\xb2\x52\x50"
    "\xaa\xa8\x54\xaa\xe5\x02\x00\x9c\x18\x45\xf1\x0f\x00\x00\x00";
static const char zstandard[] =
    "\x28\xb5\x2f\xfd\x00\x58\xdd\x00\x00\xa8\x7b\x22\x74\x65\x78\x74\x22\x3a\x20\x22\x61\x62\x63\x22\x7d\x0a\x78\x79"
    "\x22\x7d\x0a\x01\x00\x66\x9b\x4b";

static void check_packed(di_packed packed, const char *name, const char *data, size_t size)
{
    char cut[128];
    if (!di_unpack_knows(packed)) {
        check_refused(name, data, size, "which this build does not read", "unpack it first");
        return;
    }
    check_read(name, data, size, SINGLE, "abc<|endoftext|>|xy<|endoftext|>");
    check_refused(name, data, size - 3, "is damaged as ", "it ends too early");
    memcpy(cut, data, size);
    cut[size / 4] ^= 0x55;
    check_refused(name, cut, size, packed == DI_PACKED_GZIP ? "is damaged as gzip at byte " : "", "");
    memcpy(cut, data, size);
    memcpy(cut + size, "more", 4);
    check_refused(name, cut, size + 4, "is damaged as ", " at byte ");
}

TEST(packed_files_are_read_or_refused_by_name)
{
    check_packed(DI_PACKED_GZIP, "lines.jsonl.gz", BYTES(gzipped));
    check_packed(DI_PACKED_ZSTD, "lines.jsonl.zst", BYTES(zstandard));
}

TEST(a_file_made_to_fill_the_disk_is_stopped)
{
    const char *path = TEST_TMP "/zeros.gz";
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    if (!di_unpack_knows(DI_PACKED_GZIP) ||
        system("head -c 100000000 /dev/zero | gzip -9 > '" TEST_TMP "/zeros.gz' 2> /dev/null") != 0)
        return;
    REQUIRE(fixture_open(&f, NULL));
    CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_FORMAT);
    CHECK_HAS(err.message, "the limit against files made to fill the disk");
    fixture_close(&f);
    remove(path);
}

TEST(other_kinds_are_refused_by_name)
{
    static const struct {
        const char *data;
        size_t size;
        const char *what, *way;
    } kinds[] = {
        {BYTES("PAR1\x15\x04\x15\x10"), "a Parquet file", "JSONL"},
        {BYTES("PARE\x15\x04\x15\x10PARE"), "an encrypted Parquet file", "JSONL"},
        {BYTES("\x50\x2a\x4d\x18\4\0\0\0abcd\x28\xb5\x2f\xfd"), "zstd", ""},
        {BYTES("\xe5\x65\x2c\x67\x9e\x8a\x6e\x30\x87\x65\xe0\x7a"), "no text in UTF-8: 4 of 12 bytes", "iconv"},
        {BYTES("ARROW1\0\0"), "an Arrow file", "JSONL"},
        {BYTES("\xff\xff\xff\xff\x78\0\0\0"), "an Arrow stream", "JSONL"},
        {BYTES("PK\x03\x04\x14\0"), "a zip archive", "unpack it"},
        {BYTES("\xfd\x37zXZ\0\0\x04"), "compressed with xz", "xz -d"},
        {BYTES("BZh9\x31\x41\x59\x26\x53\x59zz"), "compressed with bzip2", "bzip2 -d"},
        {BYTES("\x80\x04\x95\x10\0\0\0"), "a pickle", "JSONL"},
        {BYTES("\x93NUMPY\x01\0"), "a NumPy array", "token file"},
        {BYTES("GGUF\x03\0\0\0"), "a GGUF model", "data is text"},
        {BYTES("\x08\0\0\0\0\0\0\0{\"a\":{}}"), "a safetensors file", "data is text"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"), "a Git LFS pointer",
         "git lfs pull"},
        {BYTES("\xff\xfeh\0i\0"), "text in UTF-16", "iconv -f UTF-16"},
        {BYTES("\xfe\xff\0h\0i"), "text in UTF-16", "iconv -f UTF-16"},
        {BYTES("h\0i\0 \0t\0h\0e\0r\0e\0"), "text in UTF-16LE", "iconv -f UTF-16LE"},
        {BYTES("\0h\0i\0 \0t\0h\0e\0r\0e"), "text in UTF-16BE", "iconv -f UTF-16BE"},
        {BYTES("\xff\xfe\0\0h\0\0\0"), "text in UTF-32", "iconv -f UTF-32"},
        {BYTES("h\0\0\0i\0\0\0!\0\0\0"), "text in UTF-32", "iconv -f UTF-32"},
        {BYTES("\x3f\x04\x40\x04\x38\x04\x32\x04\x35\x04\x42\x04"), "is no text in UTF-8", "control characters"},
        {BYTES("some words\0\0\0and more"), "is no text in UTF-8: 3 of 21", "save it as UTF-8"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        check_refused("kind.txt", kinds[i].data, kinds[i].size, kinds[i].what, kinds[i].way);
    check_refused("kind.json", BYTES("{\n  \"text\": \"a\"\n}\n"),
                  "kind.json:1: ", "a sample stands on one line, or in an array of samples");
    char tar[512] = "a.txt";
    memcpy(tar + 257, "ustar", 5);
    check_refused("kind.tar", tar, sizeof tar, "a tar archive", "tar -x");
    check_refused("kind.jsonl", BYTES("PAR1\x15\x04\x15\x10"), "a Parquet file", "JSONL");
    check_read("words.txt", BYTES("BZh9 and ORC"), SINGLE, "BZh9 and ORC<|endoftext|>");
    check_read("words.txt", BYTES("PARED words"), SINGLE, "PARED words<|endoftext|>");
    check_read("words.txt", BYTES("ORC"), SINGLE, "ORC<|endoftext|>");
}

static char warned[1024];
static void keep(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)component;
    if (level == DK_LOG_WARN) snprintf(warned, sizeof warned, "%s", message);
}

static void check_warned_with(const char *setting, const char *name, const void *data, size_t size, const char *part)
{
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    const char *const settings[] = {setting, NULL};
    REQUIRE(fixture_open(&f, settings));
    warned[0] = 0;
    dk_host_set_logger(f.host, DK_LOG_WARN, keep, NULL, NULL);
    REQUIRE_OK(di_dataset_open(f.host, fixture_bytes(name, data, size), f.tokenizer, f.options, &dataset, &err));
    CHECK_HAS(warned, part);
    if (!*part) CHECK_STR(warned, "");
    di_dataset_release(dataset);
    fixture_close(&f);
}

static void check_warned(const char *name, const void *data, size_t size, const char *part)
{
    check_warned_with(NULL, name, data, size, part);
}

TEST(options_that_a_file_does_not_use_are_named)
{
    check_warned_with("data.chat_template=chatml", "plain.txt", BYTES("some words"),
                      "data.chat_template is not used for ");
    check_warned_with("data.prompt_loss=true", "plain.txt", BYTES("some words"), "plain.txt, which holds text");
    check_warned_with("data.prompt_loss=true", "one.jsonl", BYTES("{\"prompt\": \"a\", \"completion\": \"b\"}"), "");
    check_warned_with("data.prompt_loss=false", "plain.txt", BYTES("some words"), "");
}

TEST(tables_and_old_encodings_are_read_with_a_warning)
{
    check_warned("table.csv", BYTES("a,b\n1,2\n"), "table.csv: a table is read as plain text");
    check_warned("table.tsv", BYTES("a\tb\n1\t2\n"), "table.tsv: a table is read as plain text");
    check_warned("latin.txt", BYTES("caf\xe9 und so weiter"), "latin.txt: 1 of 18 bytes looked at are not UTF-8");
    check_warned("plain.txt", BYTES("caf\xc3\xa9 und so weiter"), "");
}

TEST(a_pipe_is_refused_at_once)
{
    const char *path = TEST_TMP "/pipe.jsonl";
    fixture f;
    dk_error err;
    di_dataset *dataset = NULL;
    static const char *const formats[] = {"auto", "text", "jsonl", "tokens"};
    remove(path);
    REQUIRE(mkfifo(path, 0600) == 0);
    REQUIRE(fixture_open(&f, NULL));
    for (int i = 0; i < 4; i++) {
        REQUIRE_OK(di_options_set(f.options, "data.format", formats[i], &err));
        CHECK_INT(di_dataset_open(f.host, path, f.tokenizer, f.options, &dataset, &err), DK_E_IO);
        CHECK_HAS(err.message, "is a pipe; a file is needed");
    }
    fixture_close(&f);
    remove(path);
}

TEST_MAIN(TEST_CASE(an_array_is_read_as_samples_whatever_its_name) TEST_CASE(wrong_arrays_are_named)
              TEST_CASE(packed_files_are_read_or_refused_by_name) TEST_CASE(a_file_made_to_fill_the_disk_is_stopped)
                  TEST_CASE(other_kinds_are_refused_by_name) TEST_CASE(tables_and_old_encodings_are_read_with_a_warning)
                      TEST_CASE(a_pipe_is_refused_at_once) TEST_CASE(options_that_a_file_does_not_use_are_named))
