/* checkpoint_parts.h - what writing, reading and keeping of checkpoints share. */
#ifndef DI_RUN_CHECKPOINT_PARTS_H
#define DI_RUN_CHECKPOINT_PARTS_H

#include "run/run_state.h"

#define DI_CHECKPOINT_FORMAT "libdistill checkpoint"
#define DI_CHECKPOINT_SEAL "],\"state_crc32c\":" /* closes state.json: the checksum of everything before it */
enum { DI_CHECKPOINT_VERSION = 1 };

char *di_moment_name(dk_host *host, const char *parameter, int32_t second); /* "m.NAME", "v.NAME"; NULL = no memory */
int32_t di_file_checksum(dk_host *host, const char *path, uint64_t *size, uint32_t *crc, dk_error *err);
/* The weights of a checkpoint alone; counters, moments and cursor stay. */
int32_t di_checkpoint_load_weights(di_run *run, const char *folder, dk_error *err);

#endif
