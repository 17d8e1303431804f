/* grown_file.h - a file that is only appended to, and cut back to a length that was safe when a run goes on. */
#ifndef DI_AUGMENT_GROWN_FILE_H
#define DI_AUGMENT_GROWN_FILE_H

#include "base/host.h"

typedef struct di_grown di_grown;
/* Cut back to length bytes; 0 = empty, made where there is none. E_MISMATCH: the file is shorter than that;
 * E_BUSY: another process appends to it. */
int32_t di_grown_open(dk_host *host, const char *path, int64_t length, di_grown **out, dk_error *err);
int32_t di_grown_append(di_grown *file, const void *data, size_t size, dk_error *err);
int32_t di_grown_sync(di_grown *file, dk_error *err);
int64_t di_grown_length(const di_grown *file);
/* E_BUSY where another process has it open; it need not be there. */
int32_t di_grown_check_free(const char *path, dk_error *err);
void di_grown_close(di_grown *file); /* NULL is fine */

#endif
