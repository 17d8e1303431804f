/* serve_text.h - a text that grows. What cannot grow says failed once and for all and stays as it is: a server does not
 * end because one answer is too large. */
#ifndef CLI_SERVE_TEXT_H
#define CLI_SERVE_TEXT_H

#include <stddef.h>

typedef struct serve_text {
    char *bytes; /* [size], NUL behind them where there are any */
    size_t size, cap;
    int failed;
} serve_text;

void serve_text_add(serve_text *text, const void *bytes, size_t size);
void serve_text_print(serve_text *text, const char *format, ...);
void serve_text_free(serve_text *text);

#endif
