/* Replays files or folders of files through a fuzz target where libFuzzer is not at hand, and a fixed number of
 * mutations of each (seeded, so that a failure repeats). -runs=0 as in libFuzzer replays only. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long long state = 88172645463325252ull;
static size_t files, inputs;
static long mutations = 20;

static unsigned long long next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void mutate(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (!copy) return;
    for (long k = 0; k < mutations; k++) {
        size_t n = size;
        memcpy(copy, data, size);
        for (unsigned long long edits = next_random() % 4 + 1; n && edits; edits--) {
            size_t at = next_random() % n;
            switch (next_random() % 4) {
            case 0:
                copy[at] = (uint8_t)next_random();
                break;
            case 1:
                copy[at] ^= (uint8_t)(1u << next_random() % 8);
                break;
            case 2:
                n = at;
                break;
            default:
                memmove(copy + at, copy + at + 1, n - at - 1), n--;
                break;
            }
        }
        LLVMFuzzerTestOneInput(copy, n);
        inputs++;
    }
    free(copy);
}

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, got;
    if (!file) return fprintf(stderr, "%s: cannot be opened\n", path), 1;
    do {
        uint8_t *grown = realloc(data, size + 65536);
        if (!grown) break;
        data = grown;
        size += got = fread(data + size, 1, 65536, file);
    } while (got);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    files++, inputs++;
    mutate(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "-runs=", 6)) {
            mutations = atol(argv[i] + 6);
            continue;
        }
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            rc |= replay(argv[i]);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
            char path[4096];
            if (entry->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            rc |= replay(path);
        }
        closedir(dir);
    }
    fprintf(stderr, "%zu files, %zu inputs\n", files, inputs);
    return files ? rc : 1;
}
