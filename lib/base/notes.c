#include "base/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTE_SIZE = 1024 };

void dk_note(dk_strbuf *notes, const char *format, ...)
{
    char line[NOTE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ') *at = ' ';
    dk_strbuf_puts(notes, line);
    dk_strbuf_puts(notes, "\n");
}

/* The line at *at without its end; 0 = none is left. */
static int32_t next_line(const dk_strbuf *notes, size_t *at, const char **line, size_t *size)
{
    if (*at >= notes->size) return 0;
    *line = notes->data + *at;
    *size = strcspn(*line, "\n");
    *at += *size + 1;
    return 1;
}

void dk_notes_log(const dk_strbuf *notes, dk_host *host, const char *component)
{
    const char *line;
    size_t at = 0, size;
    while (next_line(notes, &at, &line, &size)) dk_log(host, DK_LOG_WARN, component, "%.*s", (int)size, line);
}

void dk_notes_json(const dk_strbuf *notes, dk_strbuf *out)
{
    const char *line;
    size_t at = 0, size;
    dk_strbuf_puts(out, "[");
    while (next_line(notes, &at, &line, &size)) {
        if (line != notes->data) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, line, size);
    }
    dk_strbuf_puts(out, "]");
}
