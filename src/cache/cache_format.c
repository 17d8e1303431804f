#include "cache/cache_format.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/strbuf.h"

static const char *const tier_names[DI_TIER_END] = {"", "hidden", "full", "top_k", "sampled"};

const char *di_tier_name(int32_t tier) { return tier > 0 && tier < DI_TIER_END ? tier_names[tier] : "?"; }

int32_t di_tier_find(const char *name)
{
    for (int32_t tier = 1; tier < DI_TIER_END; tier++)
        if (strcmp(name, tier_names[tier]) == 0) return tier;
    return 0;
}

void di_put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

uint64_t di_get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void di_cache_key(const int32_t *ids, int64_t count, uint8_t key[16]) { di_cache_key_of(ids, count, 0, NULL, key); }

void di_cache_key_of(const int32_t *ids, int64_t count, uint32_t parts, const di_cache_origin *origin, uint8_t key[16])
{
    uint8_t part[256], digest[32];
    dk_sha256 sha;
    dk_sha256_begin(&sha);
    for (int64_t at = 0; at < count; at += 64) {
        const int64_t n = count - at < 64 ? count - at : 64;
        for (int64_t i = 0; i < n; i++) di_put(part + 4 * i, (uint32_t)ids[at + i], 4);
        dk_sha256_add(&sha, part, (size_t)(4 * n));
    }
    if (parts & DI_CACHE_BY_SOURCE) dk_sha256_add(&sha, origin->source, strlen(origin->source) + 1);
    if (parts & DI_CACHE_BY_TAG) dk_sha256_add(&sha, origin->tag, strlen(origin->tag) + 1);
    if (parts & DI_CACHE_BY_PROMPT) {
        di_put(part, (uint64_t)origin->prompt, 8);
        dk_sha256_add(&sha, part, 8);
    }
    dk_sha256_end(&sha, digest);
    memcpy(key, digest, 16);
}

/* ---- the header of a file ---- */
static int32_t right_numbers(const di_cache_header *h)
{
    switch (h->tier) {
    case DI_TIER_HIDDEN:
        return (h->bits == 32 || h->bits == 16) && !h->step && !(h->temperature > 1) && !(h->temperature < 1);
    case DI_TIER_FULL:
        return h->bits == 16 && !h->step && h->width == (uint64_t)h->vocab;
    case DI_TIER_TOP_K:
        return !h->bits && h->step >= 1 && h->step <= DI_CACHE_LARGEST_STEP && h->width <= (uint64_t)h->vocab_valid;
    case DI_TIER_SAMPLED:
        return !h->bits && !h->step && h->width <= 65535;
    default:
        return 0;
    }
}

int32_t di_cache_header_check(const di_cache_header *h, const char *path, dk_error *err)
{
    char temperature[32];
    if (h->vocab >= 1 && h->vocab <= INT64_C(1) << 31 && h->vocab_valid >= 1 && h->vocab_valid <= h->vocab &&
        h->width >= 1 && h->width <= DI_CACHE_LARGEST_WIDTH && h->temperature >= 1e-3 && h->temperature <= 1e3 &&
        (h->tier == DI_TIER_SAMPLED || !h->seed) && h->key_parts <= DI_CACHE_BY_ALL &&
        h->entropy <= (h->tier == DI_TIER_SAMPLED) && right_numbers(h))
        return DK_OK;
    dk_format_f64(h->temperature, temperature);
    return dk_fail_at(err, DK_E_FORMAT, 16,
                      "%s: the header says tier %d (%s), %u bits, width %u, step %u, vocabulary %lld of which %lld "
                      "count, temperature %s, seed %llu, parts of the key %u, entropy %u, which cannot be",
                      path, (int)h->tier, di_tier_name(h->tier), (unsigned)h->bits, (unsigned)h->width,
                      (unsigned)h->step, (long long)h->vocab, (long long)h->vocab_valid, temperature,
                      (unsigned long long)h->seed, (unsigned)h->key_parts, (unsigned)h->entropy);
}

void di_cache_header_write(const di_cache_header *header, uint8_t out[DI_CACHE_HEADER])
{
    uint64_t temperature;
    memset(out, 0, DI_CACHE_HEADER);
    memcpy(out, DI_CACHE_MAGIC, 8);
    di_put(out + 8, header->entropy ? 2 : 1, 4);
    di_put(out + 12, DI_CACHE_HEADER, 4);
    di_put(out + 16, (uint32_t)header->tier, 4);
    di_put(out + 20, header->bits, 4);
    di_put(out + 24, header->width, 4);
    di_put(out + 28, header->step, 4);
    di_put(out + 32, (uint64_t)header->vocab, 8);
    di_put(out + 40, (uint64_t)header->vocab_valid, 8);
    memcpy(&temperature, &header->temperature, 8);
    di_put(out + 48, temperature, 8);
    di_put(out + 56, header->seed, 8);
    memcpy(out + 64, header->tokenizer, 32);
    memcpy(out + 96, header->teacher, 32);
    di_put(out + 128, header->key_parts, 4);
    di_put(out + 132, header->entropy, 4);
    di_put(out + 252, dk_crc32c(0, out, 252), 4);
}

int32_t di_cache_header_read(const uint8_t *data, uint64_t size, const char *path, di_cache_header *out, dk_error *err)
{
    uint8_t again[DI_CACHE_HEADER];
    uint64_t temperature;
    int32_t rc;
    memset(out, 0, sizeof *out);
    if (size < 8 || memcmp(data, DI_CACHE_MAGIC, 8) != 0)
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: is no target cache: it does not begin with %s", path,
                          DI_CACHE_MAGIC);
    if (size < DI_CACHE_HEADER)
        return dk_fail_at(err, DK_E_FORMAT, (int64_t)size, "%s: ends after %llu bytes, inside the header of %d", path,
                          (unsigned long long)size, DI_CACHE_HEADER);
    if (di_get(data + 8, 4) < 1 || di_get(data + 8, 4) > DI_CACHE_VERSION)
        return dk_fail_at(err, DK_E_UNSUPPORTED, 8, "%s: is a target cache of version %u, this library reads 1 to %d",
                          path, (unsigned)di_get(data + 8, 4), DI_CACHE_VERSION);
    if (di_get(data + 252, 4) != dk_crc32c(0, data, 252))
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: the header (bytes 0 to 255) is damaged: its checksum differs",
                          path);
    out->tier = (int32_t)di_get(data + 16, 4);
    out->bits = (uint32_t)di_get(data + 20, 4);
    out->width = (uint32_t)di_get(data + 24, 4);
    out->step = (uint32_t)di_get(data + 28, 4);
    out->vocab = (int64_t)di_get(data + 32, 8);
    out->vocab_valid = (int64_t)di_get(data + 40, 8);
    temperature = di_get(data + 48, 8);
    memcpy(&out->temperature, &temperature, 8);
    out->seed = di_get(data + 56, 8);
    memcpy(out->tokenizer, data + 64, 32);
    memcpy(out->teacher, data + 96, 32);
    out->key_parts = (uint32_t)di_get(data + 128, 4);
    out->entropy = (uint32_t)di_get(data + 132, 4);
    DK_TRY(di_cache_header_check(out, path, err));
    di_cache_header_write(out, again);
    for (int i = 0; i < DI_CACHE_HEADER; i++)
        if (again[i] != data[i])
            return dk_fail_at(err, DK_E_FORMAT, i, "%s: byte %d of the header is not as version %u has it", path, i,
                              (unsigned)di_get(data + 8, 4));
out:
    return rc;
}

static int32_t differ(const char *path, const char *what, const char *file, const char *wanted, dk_error *err)
{
    return dk_fail(err, DK_E_MISMATCH, "%s: holds targets of %s %s, wanted is %s", path, what, file, wanted);
}

static int32_t match_hash(const uint8_t file[32], const uint8_t wanted[32], const char *what, const char *path,
                          dk_error *err)
{
    char hex[2][65];
    if (memcmp(file, wanted, 32) == 0) return DK_OK;
    dk_hex(file, 32, hex[0]);
    dk_hex(wanted, 32, hex[1]);
    hex[0][16] = hex[1][16] = 0;
    return differ(path, what, hex[0], hex[1], err);
}

static int32_t match_number(double file, double wanted, const char *what, const char *path, dk_error *err)
{
    char text[2][32];
    if (!(file < wanted) && !(file > wanted)) return DK_OK;
    dk_format_f64(file, text[0]);
    dk_format_f64(wanted, text[1]);
    return differ(path, what, text[0], text[1], err);
}

int32_t di_cache_header_match(const di_cache_header *file, const di_cache_header *wanted, const char *path,
                              dk_error *err)
{
    int32_t rc;
    DK_TRY(match_hash(file->tokenizer, wanted->tokenizer, "the tokenizer", path, err));
    DK_TRY(match_number((double)file->vocab, (double)wanted->vocab, "a vocabulary of", path, err));
    DK_TRY(match_number((double)file->vocab_valid, (double)wanted->vocab_valid, "ids that count,", path, err));
    DK_TRY(match_hash(file->teacher, wanted->teacher, "the teacher", path, err));
    if (file->tier != wanted->tier)
        return differ(path, "tier", di_tier_name(file->tier), di_tier_name(wanted->tier), err);
    DK_TRY(match_number(file->temperature, wanted->temperature, "temperature", path, err));
    DK_TRY(match_number(file->width, wanted->width, "a width (k, draws or state) of", path, err));
    DK_TRY(match_number(file->bits, wanted->bits, "numbers with bits", path, err));
    DK_TRY(match_number(file->step, wanted->step, "steps per nat,", path, err));
    if (file->entropy != wanted->entropy)
        return differ(path, "draws", file->entropy ? "with their entropy" : "without their entropy",
                      wanted->entropy ? "with it" : "without", err);
    if (file->seed != wanted->seed)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: holds draws of seed %llu, wanted is %llu", path,
                       (unsigned long long)file->seed, (unsigned long long)wanted->seed));
out:
    return rc;
}

/* ---- blocks and records ---- */
void di_cache_block_write(const di_cache_block *block, uint8_t out[DI_CACHE_BLOCK_HEADER])
{
    memcpy(out, DI_CACHE_BLOCK_MAGIC, 4);
    di_put(out + 8, block->size, 4);
    di_put(out + 12, block->crc, 4);
    di_put(out + 16, block->records, 4);
    di_put(out + 20, 0, 4);
    di_put(out + 24, block->rows, 8);
    di_put(out + 4, dk_crc32c(0, out + 8, DI_CACHE_BLOCK_HEADER - 8), 4);
}

int32_t di_cache_block_read(const uint8_t *data, di_cache_block *out)
{
    if (memcmp(data, DI_CACHE_BLOCK_MAGIC, 4) != 0) return 0;
    if (di_get(data + 4, 4) != dk_crc32c(0, data + 8, DI_CACHE_BLOCK_HEADER - 8)) return 0;
    out->size = di_get(data + 8, 4);
    out->crc = (uint32_t)di_get(data + 12, 4);
    out->records = (uint32_t)di_get(data + 16, 4);
    out->rows = di_get(data + 24, 8);
    return out->size >= DI_CACHE_RECORD_HEADER && out->size <= DI_CACHE_LARGEST_PAYLOAD && out->size % 8 == 0 &&
           out->records && !di_get(data + 20, 4);
}

uint64_t di_cache_record_size(const di_cache_record *record)
{
    return DI_CACHE_RECORD_HEADER + ((uint64_t)record->bytes + 7) / 8 * 8;
}

void di_cache_record_write(const di_cache_record *record, uint8_t out[DI_CACHE_RECORD_HEADER])
{
    memcpy(out, record->key, 16);
    di_put(out + 16, record->length, 4);
    di_put(out + 20, record->first, 4);
    di_put(out + 24, record->rows, 4);
    di_put(out + 28, record->bytes, 4);
}

int32_t di_cache_record_read(const uint8_t *payload, uint64_t at, uint64_t size, di_cache_record *out)
{
    if (at > size || size - at < DI_CACHE_RECORD_HEADER) return 0;
    memcpy(out->key, payload + at, 16);
    out->length = (uint32_t)di_get(payload + at + 16, 4);
    out->first = (uint32_t)di_get(payload + at + 20, 4);
    out->rows = (uint32_t)di_get(payload + at + 24, 4);
    out->bytes = (uint32_t)di_get(payload + at + 28, 4);
    return out->rows && out->bytes && out->length <= INT32_MAX && out->first < out->length &&
           out->rows <= out->length - out->first && di_cache_record_size(out) <= size - at;
}
