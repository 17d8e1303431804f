/* strbuf.h - a growing byte buffer, and numbers <-> text independent of the locale. */
#ifndef DK_BASE_STRBUF_H
#define DK_BASE_STRBUF_H

#include "base/host.h"

typedef struct dk_strbuf {
    dk_host *host;
    char *data; /* NUL-terminated once anything was appended; NULL while empty */
    size_t size;
    size_t capacity;
    int32_t failed; /* an append ran out of memory; everything after it was dropped */
} dk_strbuf;

void dk_strbuf_init(dk_strbuf *buf, dk_host *host);
void dk_strbuf_free(dk_strbuf *buf);
void dk_strbuf_clear(dk_strbuf *buf); /* keeps the memory */
void dk_strbuf_append(dk_strbuf *buf, const void *data, size_t size);
void dk_strbuf_puts(dk_strbuf *buf, const char *text);
void dk_strbuf_printf(dk_strbuf *buf, const char *format, ...) DK_PRINTF(2, 3); /* no %f/%g: use dk_strbuf_f64 */
void dk_strbuf_f64(dk_strbuf *buf, double value); /* shortest text that reads back the same; nan, inf, -inf */
void dk_strbuf_json(dk_strbuf *buf, const char *text, size_t size); /* quoted and escaped; bad UTF-8 becomes U+FFFD */
int32_t dk_strbuf_check(const dk_strbuf *buf, dk_error *err);       /* NOMEM if an append failed */
/* The rule for every text that goes out to a host: copies data+NUL into buf[cap], sets *needed (with the NUL); BUFFER
 * when short. buf NULL with cap 0 and needed asks for the size alone. */
int32_t dk_text_out(const char *data, size_t size, char *buf, size_t cap, size_t *needed, dk_error *err);

/* The whole text must be one number. Return 0 and leave *out alone when it is not. Decimal point is '.', always. */
int32_t dk_parse_f64(const char *text, size_t size, double *out);
int32_t dk_parse_i64(const char *text, size_t size, int64_t *out);
/* The shortest text that reads back as the same double, into at least 32 bytes. Returns its length. */
size_t dk_format_f64(double value, char out[32]);

#endif
