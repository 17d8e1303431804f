/* unpack.h - files compressed with gzip or zstd, unpacked into a spool. Private to src/dataset. */
#ifndef DI_DATASET_UNPACK_H
#define DI_DATASET_UNPACK_H

#include "dataset/file_kind.h"
#include "dataset/spool.h"

/* What was made to fill a disk is stopped: text is seldom packed below a hundredth. */
enum { DI_UNPACK_RATIO = 256, DI_UNPACK_FREE = 64 << 20 };

int32_t di_unpack_knows(di_packed packed); /* 1 = built in */
/* All members or frames of the file, one after the other. At most DI_UNPACK_RATIO times its size and DI_UNPACK_FREE
 * bytes; where the library is not built in, UNSUPPORTED. */
int32_t di_unpack(dk_host *host, const char *path, di_packed packed, const uint8_t *data, uint64_t size, di_spool *out,
                  dk_error *err);

#endif
