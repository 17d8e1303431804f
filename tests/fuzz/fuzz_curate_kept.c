/* What an operator of curation kept, of any bytes behind a right header and with the right checksum: it goes on, or is
 * refused. */
#include <unistd.h>

#include "augment/curate/balance.h"
#include "augment/curate/near.h"
#include "augment/curate/rouge.h"
#include "base/hash.h"
#include "test_files.h"

/* The header that kept gives its file, then the fuzz's bytes. */
static di_kept_state put_records(const char *path, size_t record, const uint8_t *data, size_t size)
{
    uint8_t header[DI_KEPT_HEADER];
    FILE *file = fopen(path, "r+b");
    if (!file || fread(header, 1, sizeof header, file) != sizeof header) exit(3);
    rewind(file);
    if (fwrite(header, 1, sizeof header, file) != sizeof header || fwrite(data, 1, size, file) != size) exit(3);
    fclose(file);
    const size_t whole = size / record * record;
    return (di_kept_state){(int64_t)(size / record), dk_crc32c(0, data, whole)};
}

static void as_near(dk_host *host, const char *path, const uint8_t *data, size_t size)
{
    di_near *near = NULL;
    di_near_found found;
    dk_error err;
    if (di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, NULL, &near, &err)) exit(3);
    di_near_close(near);
    near = NULL;
    const di_kept_state state = put_records(path, 512, data, size);
    if (di_near_open(host, path, 0.8, (di_shingles){0, 3}, 0, &state, &near, &err)) return;
    di_near_add(near, (const char *)data, size, &found, &err);
    di_near_close(near);
}

static void as_novelty(dk_host *host, const char *path, const uint8_t *data, size_t size)
{
    di_novelty *novelty = NULL;
    double nearest;
    int32_t is_new;
    dk_error err;
    if (di_novelty_open(host, path, 0.7, 4, NULL, &novelty, &err)) exit(3);
    di_novelty_close(novelty);
    novelty = NULL;
    const di_kept_state state = put_records(path, 8, data, size);
    if (di_novelty_open(host, path, 0.7, 4, &state, &novelty, &err)) return;
    di_novelty_add(novelty, (const char *)data, size, &nearest, &is_new, &err);
    di_novelty_close(novelty);
}

static void as_balance(dk_host *host, const char *path, const uint8_t *data, size_t size)
{
    di_balance *balance = NULL;
    int32_t kept;
    dk_error err;
    if (di_balance_open(host, path, (di_balance_rules){2, 0}, NULL, &balance, &err)) exit(3);
    di_balance_close(balance);
    balance = NULL;
    const di_kept_state state = put_records(path, 24, data, size);
    if (di_balance_open(host, path, (di_balance_rules){2, 0}, &state, &balance, &err)) return;
    di_balance_add(balance, (const char *)data, size, &kept, &err);
    di_balance_close(balance);
}

/* The bytes as the whole file, header and all. */
static void as_file(dk_host *host, const char *path, const uint8_t *data, size_t size)
{
    const test_bytes bytes = {(uint8_t *)(uintptr_t)data, size, size};
    const di_kept_state state = {size > DI_KEPT_HEADER ? (int64_t)(size - DI_KEPT_HEADER) / 16 : 0, 0};
    di_same *same = NULL;
    dk_error err;
    if (!write_bytes(&bytes, path)) exit(3);
    if (di_same_open(host, path, (di_same_rules){1, 1}, &state, &same, &err) == DK_OK) di_same_close(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    dk_host *host = NULL;
    if (dk_host_create(NULL, &host, NULL)) return 0;
    snprintf(path, sizeof path, "/tmp/fuzz_curate_kept.%ld", (long)getpid());
    as_near(host, path, data, size);
    as_novelty(host, path, data, size);
    as_balance(host, path, data, size);
    as_file(host, path, data, size);
    unlink(path);
    dk_host_release(host);
    return 0;
}
