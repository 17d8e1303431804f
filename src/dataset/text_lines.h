/* text_lines.h - lines of JSON, of a file or of the host, and what is said about one that is wrong. */
#ifndef DI_DATASET_TEXT_LINES_H
#define DI_DATASET_TEXT_LINES_H

#include "base/slice.h"
#include "conf/document.h"

typedef struct di_source_text { /* a file, or lines of the host's */
    const char *name;           /* in messages */
    dk_slice *lines;            /* [count] */
    int64_t *numbers;           /* [count] of the lines, from 1; NULL = the same */
    int64_t count;
    char *data; /* that lines lie in, or NULL */
} di_source_text;
/* A file of JSONL; empty lines are passed over. What is packed, or no text, is refused. */
int32_t di_source_open(dk_host *host, const char *path, di_source_text *out, dk_error *err);
void di_source_free(dk_host *host, di_source_text *source); /* a zeroed one is fine */

typedef struct di_line {
    const di_source_text *source;
    int64_t index;
} di_line;
/* E_FORMAT "train.jsonl:7: ..." */
int32_t di_fail_line(const di_line *at, dk_error *err, const char *format, ...) DK_PRINTF(3, 4);
int32_t di_line_parse(dk_host *host, const di_line *at, dk_document **out, dk_error *err); /* an object */
const dk_node *di_line_member(const dk_node *map, const char *key);                        /* NULL = absent, or null */

#endif
