/* token_file.h - tokenised data as a file that is mapped, so that a corpus may be larger than memory.
 *
 * Little-endian. All sections begin at a multiple of 8, in this order, with zeroes between them; sections that the
 * flags leave out have offset 0. A file is written beside its name and renamed. On opening, every block and every value
 * is checked.
 *
 *   byte  size  header
 *      0     8  "DITOKENS"
 *      8     4  version, 1
 *     12     4  size of the header, 256
 *     16     4  bytes of an id, 2 (largest vocabulary 65,536) or 4
 *     20     4  flags: 1 = learn bits, 2 = weights, 4 = numbers of documents are lines of a file, 8 = tags
 *     24     8  tokens
 *     32     8  documents
 *     40     8  largest id; all ones = there is no token
 *     48     8  size of a block, 1,048,576
 *     56     8  offset of the ids: tokens x (2 or 4)
 *     64     8  offset of the documents: documents x {u64 token behind the last one, u64 number of its tag, from 1
 *                (0 = none), << 48 | number << 2 | DI_DOCUMENT_*}
 *     72     8  offset of the learn bits: ceil(tokens / 8), bit i & 7 of byte i >> 3 says that token i is learnt
 *     80     8  offset of the weights: tokens x f32
 *     88     8  offset of the checksums: one CRC-32C per block of the bytes [256, this offset), then one of the
 *     checksums 96     8  size of the file
 *    104    32  hash of the tokenizer (dk_tokenizer_hash); zero = made without one
 *    136    32  hash of source and options that the tokens were made of (the cache compares it); zero = none
 *    168    32  SHA-256 of the content, whatever the widths
 *    200     8  offset of the tags, behind the weights: tags x {64 bytes source, 64 bytes teacher}, filled with zeroes
 *    208     8  tags, at most 1,024
 *    216    36  zero
 *    252     4  CRC-32C of the bytes [0, 252) */
#ifndef DI_DATASET_TOKEN_FILE_H
#define DI_DATASET_TOKEN_FILE_H

#include "dataset/store.h"

int32_t di_token_file_is(dk_host *host, const char *path); /* 1 = begins like one */
int32_t di_token_file_write(const di_store *store, const uint8_t key[32], const char *path, dk_error *err);
/* tokenizer NULL = ids are taken as they are; another one than the file was made with is E_MISMATCH. key NULL = any; a
 * file made of something else is E_MISMATCH too. */
int32_t di_token_file_open(dk_host *host, const char *path, dk_tokenizer *tokenizer, const uint8_t *key, di_store **out,
                           dk_error *err);
/* {"kind":"tokens","tokens":...,"whole":true}; a damaged file is described, not an error. */
int32_t di_token_file_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err);

#endif
