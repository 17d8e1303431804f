/* file_kind.h - what a file of data is, by its bytes: text, text inside gzip or zstd, or something that no tokenizer
 * should see. Private to src/dataset. */
#ifndef DI_DATASET_FILE_KIND_H
#define DI_DATASET_FILE_KIND_H

#include "base/host.h"

typedef enum { DI_PACKED_NONE, DI_PACKED_GZIP, DI_PACKED_ZSTD } di_packed;
di_packed di_file_packed(const uint8_t *data, uint64_t size);
const char *di_packed_name(di_packed packed);

/* Bytes that are not text, or text in another encoding than UTF-8, are DK_E_FORMAT with what it is and the way out;
 * bytes that may be text in an older encoding are a warning. */
int32_t di_file_check_text(dk_host *host, const char *path, const uint8_t *data, uint64_t size, dk_error *err);

/* ---- how text is laid out ---- */
typedef enum { DI_FORMAT_TEXT, DI_FORMAT_JSONL, DI_FORMAT_ARRAY, DI_FORMAT_TOKENS } di_format;
const char *di_format_name(di_format format);
/* By the name (without .gz and .zst) and the first bytes. An array of objects, and lines of objects with a field of a
 * sample, are told by the bytes whatever the name. */
di_format di_file_guess(const char *path, const uint8_t *data, uint64_t size);
/* A comma- or tab-separated table by its name. */
int32_t di_file_is_table(const char *path);

#endif
