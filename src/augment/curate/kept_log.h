/* kept_log.h - what an operator has to remember, in a file beside what it writes: records of one size, appended.
 * Whoever goes on from an earlier state gives it: what lies behind it is cut off, what lies before it has its checksum.
 * Nothing else is read back from a disk: tables to search in (seen_slots.h) are made again from the records. */
#ifndef DI_AUGMENT_CURATE_KEPT_LOG_H
#define DI_AUGMENT_CURATE_KEPT_LOG_H

#include "base/host.h"

enum { DI_KEPT_HEADER = 32 }; /* bytes: magic, size of a record, settings, checksum of these */

typedef struct di_kept_state {
    int64_t records;
    uint32_t crc; /* of them */
} di_kept_state;
typedef struct di_kept_log di_kept_log;
/* settings: a number that stands for whatever the records hang on; a file of others is E_MISMATCH. at NULL = begin
 * anew, whatever is there. record_bytes <= 64 KiB. */
int32_t di_kept_log_open(dk_host *host, const char *path, uint32_t record_bytes, uint64_t settings,
                         const di_kept_state *at, di_kept_log **out, dk_error *err);
void di_kept_log_close(di_kept_log *log); /* NULL is fine; what was not flushed is lost */
int32_t di_kept_log_append(di_kept_log *log, const void *record, dk_error *err);
int64_t di_kept_log_count(const di_kept_log *log);
/* Record `number` < count, borrowed until the next call. */
int32_t di_kept_log_read(di_kept_log *log, int64_t number, const void **record, dk_error *err);
/* The same for whoever reads them in order: many are read at once. */
int32_t di_kept_log_walk(di_kept_log *log, int64_t number, const void **record, dk_error *err);
/* All that was appended is on the disk; *state goes on from here. */
int32_t di_kept_log_flush(di_kept_log *log, di_kept_state *state, dk_error *err);

#endif
