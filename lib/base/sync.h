/* sync.h - what atomic files and atomic folders share. Private to lib/base. */
#ifndef DK_BASE_SYNC_H
#define DK_BASE_SYNC_H

#include "base/host.h"

enum { DK_TEMPORARY_EXTRA = 48, DK_TEMPORARY_TRIES = 1000 };

/* "<path>.tmp.<pid>.<n>" into size >= strlen(path) + DK_TEMPORARY_EXTRA bytes; slashes at the end of path are left
 * out. */
void dk_temporary_name(char *out, size_t size, const char *path, int n);
int32_t dk_is_temporary_end(const char *end); /* ".tmp.<pid>.<n>" and nothing behind it */
/* Temporary files and staged folders of path whose process was killed. Those that cannot be removed stay, and cost room
 * alone. */
int32_t dk_remove_leftovers(dk_host *host, const char *path, dk_error *err);
/* Makes a rename inside the folder of path survive a power cut. */
int32_t dk_sync_folder_of(dk_host *host, const char *path, dk_error *err);

#endif
