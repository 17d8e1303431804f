/* file.h - files: memory maps, whole reads, and writes that appear at once or not at all. */
#ifndef DK_BASE_FILE_H
#define DK_BASE_FILE_H

#include "base/host.h"

/* ---- reading ---- */
typedef struct dk_mapping { /* read-only bytes of a whole file */
    const uint8_t *data;
    uint64_t size;
    int32_t mapped; /* 1 = mmap (a file truncated meanwhile raises SIGBUS), 0 = a copy in memory */
    dk_host *host;
} dk_mapping;
/* use_mmap 0 = read into memory. A folder, pipe, socket or device, a missing or an
 * unreadable file are errors that name the path, at once. */
int32_t dk_map_open(dk_host *host, const char *path, int32_t use_mmap, dk_mapping *out, dk_error *err);
void dk_map_close(dk_mapping *map); /* zeroed struct is fine */
/* Whole file, NUL behind the last byte; larger than limit is an error that says so. Free with dk_free. */
int32_t dk_file_read(dk_host *host, const char *path, uint64_t limit, char **data, size_t *size, dk_error *err);
/* An error where the bytes are a pointer of Git LFS or git-annex: the file itself was never fetched. */
int32_t dk_refuse_pointer(const char *path, const void *data, uint64_t size, dk_error *err);

/* ---- atomic writing: bytes go to a temporary name beside the target; commit fsyncs, renames and fsyncs the folder  */
typedef struct dk_writer dk_writer;
int32_t dk_writer_open(dk_host *host, const char *path, dk_writer **out, dk_error *err);
/* retries EINTR, short writes */
int32_t dk_writer_write(dk_writer *writer, const void *data, uint64_t size, dk_error *err);
int64_t dk_writer_tell(const dk_writer *writer);
int32_t dk_writer_seek(dk_writer *writer, int64_t offset, dk_error *err); /* to patch a header */
/* frees the writer, also on failure (the old file stands) */
int32_t dk_writer_commit(dk_writer *writer, dk_error *err);
void dk_writer_abort(dk_writer *writer); /* removes the temporary file; NULL is fine */
int32_t dk_file_replace(dk_host *host, const char *path, const void *data, size_t size, dk_error *err);

/* Appends one record to a log (O_APPEND, no fsync). */
int32_t dk_file_append(dk_host *host, const char *path, const void *data, size_t size, dk_error *err);

/* ---- folders and paths; results are freed with dk_free ---- */
int32_t dk_dir_create(dk_host *host, const char *path, dk_error *err); /* with parents; fine if it exists */
/* A new folder beside path, to be filled and then renamed over it by dk_dir_commit (an old folder is replaced
 * whole). It is locked until dk_staged_end, so that nobody takes it for what a killed process left. */
typedef struct {
    char *path; /* NULL: none */
    int lock;
} dk_staged;
int32_t dk_dir_stage(dk_host *host, const char *path, dk_staged *staged, dk_error *err);
/* What goes wrong once the new folder is in place is a warning. */
int32_t dk_dir_commit(dk_host *host, const dk_staged *staged, const char *path, dk_error *err);
void dk_staged_end(dk_host *host, dk_staged *staged); /* removes what was not committed; may be called on none */
/* Names in a message as the caller gave them: without what a temporary file or a staged folder adds. */
void dk_hide_temporary(dk_error *err);
int32_t dk_is_temporary(const char *name); /* a name that staging or a writer made: left behind by a killed process */
/* recursive, does not follow links; fine if missing */
int32_t dk_dir_remove(dk_host *host, const char *path, dk_error *err);
typedef int32_t (*dk_dir_fn)(void *user, const char *name, int32_t is_dir, dk_error *err);
int32_t dk_dir_list(dk_host *host, const char *path, dk_dir_fn fn, void *user, dk_error *err); /* sorted by name */
int32_t dk_path_exists(const char *path); /* 0 no, 1 file, 2 folder */
/* The same, and an error where it cannot be known: who may not look into a folder is not told that it is empty. */
int32_t dk_path_look(const char *path, int32_t *found, dk_error *err);
char *dk_path_join(dk_host *host, const char *folder, const char *name); /* absolute name wins; NULL = no memory */
char *dk_path_folder(dk_host *host, const char *path);                   /* "." when there is none */
const char *dk_path_name(const char *path);                              /* last part, inside path */

#endif
