/* paths.h - the files that stand beside a result. Private to src/augment. */
#ifndef DI_AUGMENT_PATHS_H
#define DI_AUGMENT_PATHS_H

#include "base/host.h"

/* "OUT.KIND", for the caller to free: partial, state, aside.jsonl. */
int32_t di_path_beside(dk_host *host, const char *out, const char *kind, char **path, dk_error *err);
/* "OUT.before3.jsonl": what goes into step number 3, a barrier. */
int32_t di_path_before(dk_host *host, const char *out, int64_t number, char **path, dk_error *err);
/* Removes what stands there; fine if nothing does. */
int32_t di_path_is_same(const char *a, const char *b); /* one file by two names, or one name */
int32_t di_path_remove(const char *path, dk_error *err);
/* Removes every file of a run at work beside out, whatever its steps were. */
int32_t di_path_clear(dk_host *host, const char *out, dk_error *err);

#endif
