/* status.h - status codes and error text of every fallible function in lib/.
 *
 * A function that can fail returns int32_t: 0 or a negative DK_E_* code, and takes a dk_error as its last parameter
 * (NULL is allowed). Messages are one line, lower case, and name the argument or file, the value, the bound and the way
 * out. A lower level's message is never overwritten; dk_error_context() puts words in front of it.
 * src/api asserts that codes and layout equal the public ones. */
#ifndef DK_BASE_STATUS_H
#define DK_BASE_STATUS_H

#include <stddef.h>
#include <stdint.h>

enum {
    DK_OK = 0,
    DK_E_INVALID = -100,     /* an argument is wrong */
    DK_E_OPTION = -101,      /* an option is unknown or its value is out of bounds */
    DK_E_STAGE = -102,       /* not now: the handle is in another phase */
    DK_E_REENTRANT = -103,   /* called from inside a callback of the same handle */
    DK_E_BUSY = -104,        /* somebody else holds the handle */
    DK_E_BUFFER = -105,      /* the caller's buffer is too small */
    DK_E_UNSUPPORTED = -106, /* understood, but not built or not known */
    DK_E_NOMEM = -200,
    DK_E_IO = -201,
    DK_E_NOT_FOUND = -202,
    DK_E_FORMAT = -203,   /* a file does not follow its format */
    DK_E_MISMATCH = -204, /* two things do not belong together */
    DK_E_NUMERIC = -300,  /* NaN or infinity where a number must be */
    DK_E_CALLBACK = -301,
    DK_E_CANCELLED = -302,
    DK_E_END = -303, /* no more items */
    DK_E_INTERNAL = -900
};

typedef struct dk_error {
    int32_t code;
    int32_t user_code; /* what a callback returned */
    int64_t position;  /* byte offset or line in the file, or number of the sequence, named in message; -1 = none */
    char message[496]; /* UTF-8, one line, NUL-terminated */
} dk_error;

#if defined(__GNUC__)
#define DK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DK_PRINTF(fmt, args)
#endif

/* Writes code and message (replacing what was there) and returns code, so that `return dk_fail(err, ...)` reads
 * well. */
int32_t dk_fail(dk_error *err, int32_t code, const char *format, ...) DK_PRINTF(3, 4);
/* The same with a position: a byte offset, a line, a sequence of a batch. */
int32_t dk_fail_at(dk_error *err, int32_t code, int64_t position, const char *format, ...) DK_PRINTF(4, 5);
/* dk_fail() for a failed system call: appends strerror of errno_value; ENOENT becomes NOT_FOUND, ENOMEM NOMEM, else
 * IO. */
int32_t dk_fail_errno(dk_error *err, int errno_value, const char *format, ...) DK_PRINTF(3, 4);
int32_t dk_fail_nomem(dk_error *err, uint64_t bytes);
/* Puts "words: " in front of the message that is there. Returns err's code (0 when err is NULL or empty). */
int32_t dk_error_context(dk_error *err, const char *format, ...) DK_PRINTF(2, 3);
void dk_error_clear(dk_error *err);
const char *dk_status_text(int32_t code); /* static, never NULL */

/* One exit per function: every fallible call is DK_TRY(call), cleanup stands behind `out:`. Needs `int32_t rc`. */
#define DK_TRY(call)                          \
    do {                                      \
        if ((rc = (call)) != DK_OK) goto out; \
    } while (0)

#endif
