/* A file of any bytes and any kind of name: unpacked, guessed at and read, or refused. */
#include <unistd.h>

#include "../src/dataset/dataset_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const extensions[] = {"json", "txt", "jsonl.gz", "zst"};
    static fixture f;
    di_dataset *dataset = NULL;
    dk_error err;
    char name[64];
    if (size > 16384 || (!f.host && !fixture_open(&f, OPTIONS("data.sequence_length=16", "data.chat_template=chatml"))))
        return 0;
    snprintf(name, sizeof name, "fuzz.%ld.%s", (long)getpid(), extensions[size % 4]);
    const char *path = fixture_bytes(name, data, size);
    if (di_dataset_open_limited(f.host, path, f.tokenizer, f.options, 4096, NULL, NULL, &dataset, &err) == DK_OK)
        di_dataset_text_bytes(dataset, &(int64_t){0}, &err);
    di_dataset_release(dataset);
    remove(path);
    return 0;
}
