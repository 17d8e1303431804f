/* message_line.c - a line on stderr, whole. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void cli_line(const char *before, const char *format, va_list args, const char *behind)
{
    va_list again;
    va_copy(again, args);
    const int given = vsnprintf(NULL, 0, format, again);
    va_end(again);
    const size_t size = given > 0 ? (size_t)given : 0, first = strlen(before), last = strlen(behind);
    char *line = malloc(first + size + last + 2);
    if (!line) { /* then in pieces */
        fputs(before, stderr);
        vfprintf(stderr, format, args);
        fprintf(stderr, "%s\n", behind);
        return;
    }
    memcpy(line, before, first);
    vsnprintf(line + first, size + 1, format, args);
    memcpy(line + first + size, behind, last);
    line[first + size + last] = '\n';
    fwrite(line, 1, first + size + last + 1, stderr);
    free(line);
}
