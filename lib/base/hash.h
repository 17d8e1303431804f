/* hash.h - checksums (CRC-32C, for our own files) and content hashes (FNV-1a 64 for tables, SHA-256 for identity). */
#ifndef DK_BASE_HASH_H
#define DK_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint32_t dk_crc32c(uint32_t crc, const void *data, size_t size); /* crc 0 to begin; chains */
uint64_t dk_hash64(const void *data, size_t size);
typedef struct dk_sha256 {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} dk_sha256;
void dk_sha256_begin(dk_sha256 *sha);
void dk_sha256_add(dk_sha256 *sha, const void *data, size_t size);
void dk_sha256_end(dk_sha256 *sha, uint8_t digest[32]);
void dk_hex(const uint8_t *data, size_t size, char *out); /* out holds 2*size + 1 */

#endif
