#include <string.h>

#include "augment/curate/balance.h"
#include "augment/curate/seen_slots.h"
#include "base/file.h"
#include "base/hash.h"

enum { DIGEST = 16, MOST_OF_ONE_HASH = 64 };

typedef struct kept_value {
    uint8_t digest[DIGEST];
    int64_t count; /* of the value, with this one */
} kept_value;
struct di_balance {
    dk_host *host;
    di_balance_rules rules;
    di_kept_log *log;
    di_slots *slots; /* a value's last record */
};

static uint32_t hash_of(const kept_value *value)
{
    uint32_t hash;
    memcpy(&hash, value->digest, sizeof hash);
    return hash;
}

/* The last record of the value, or -1 with the count 0. */
static int32_t find(di_balance *balance, kept_value *value, int64_t *number, dk_error *err)
{
    uint32_t numbers[MOST_OF_ONE_HASH];
    const void *record;
    kept_value found;
    int64_t count;
    int32_t rc;
    *number = -1;
    value->count = 0;
    DK_TRY(di_slots_find(balance->slots, hash_of(value), numbers, MOST_OF_ONE_HASH, &count, err));
    for (int64_t i = 0; i < count && *number < 0; i++) {
        DK_TRY(di_kept_log_read(balance->log, numbers[i], &record, err));
        memcpy(&found, record, sizeof found);
        if (memcmp(found.digest, value->digest, DIGEST) != 0) continue;
        *number = numbers[i];
        value->count = found.count;
    }
out:
    return rc;
}

static int32_t point_to(di_balance *balance, const kept_value *value, int64_t old, int64_t number, dk_error *err)
{
    return old < 0 ? di_slots_add(balance->slots, hash_of(value), (uint32_t)number, err)
                   : di_slots_replace(balance->slots, hash_of(value), (uint32_t)old, (uint32_t)number, err);
}

static int32_t fill_slots(di_balance *balance, dk_error *err)
{
    const void *record;
    kept_value value;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_kept_log_count(balance->log); i++) {
        int64_t old;
        DK_TRY(di_kept_log_walk(balance->log, i, &record, err));
        memcpy(&value, record, sizeof value);
        const int64_t count = value.count;
        DK_TRY(find(balance, &value, &old, err));
        if (count != value.count + 1)
            DK_TRY(dk_fail(err, DK_E_FORMAT,
                           "what was kept for balance is damaged: record %lld counts %lld, not %lld; "
                           "begin anew",
                           (long long)i, (long long)count, (long long)value.count + 1));
        value.count = count;
        DK_TRY(point_to(balance, &value, old, i, err));
    }
out:
    return rc;
}

int32_t di_balance_open(dk_host *host, const char *path, di_balance_rules rules, const di_kept_state *at,
                        di_balance **out, dk_error *err)
{
    char *folder = dk_path_folder(host, path);
    di_balance *balance = NULL;
    int32_t rc;
    DK_TRY(folder ? DK_OK : dk_fail_nomem(err, strlen(path)));
    DK_TRY(dk_new(host, 1, &balance, err));
    balance->host = host;
    balance->rules = rules;
    DK_TRY(di_kept_log_open(host, path, sizeof(kept_value), UINT64_C(0x42414c414e4345), at, &balance->log, err));
    DK_TRY(di_slots_create(host, folder, &balance->slots, err));
    DK_TRY(fill_slots(balance, err));
    *out = balance;
    balance = NULL;
out:
    di_balance_close(balance);
    dk_free(host, folder);
    return rc;
}

void di_balance_close(di_balance *balance)
{
    if (!balance) return;
    di_kept_log_close(balance->log);
    di_slots_free(balance->slots);
    dk_free(balance->host, balance);
}

static int32_t may_have(const di_balance *balance, int64_t count)
{
    const double kept = (double)di_kept_log_count(balance->log) + 1;
    if (balance->rules.most && count > balance->rules.most) return 0;
    return !(balance->rules.share > 0) || (double)count <= balance->rules.share * kept + 1;
}

int32_t di_balance_add(di_balance *balance, const char *value, size_t size, int32_t *kept, dk_error *err)
{
    kept_value record;
    uint8_t whole[32];
    dk_sha256 sha;
    int64_t old;
    int32_t rc;
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, value, size);
    dk_sha256_end(&sha, whole);
    memcpy(record.digest, whole, DIGEST);
    DK_TRY(find(balance, &record, &old, err));
    *kept = may_have(balance, ++record.count);
    if (!*kept) goto out;
    DK_TRY(point_to(balance, &record, old, di_kept_log_count(balance->log), err));
    DK_TRY(di_kept_log_append(balance->log, &record, err));
out:
    return rc;
}

int32_t di_balance_flush(di_balance *balance, di_kept_state *state, dk_error *err)
{
    return di_kept_log_flush(balance->log, state, err);
}
