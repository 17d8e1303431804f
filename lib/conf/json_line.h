/* json_line.h - what was wrong with a line of JSON, for whoever names its place better than the parser can. */
#ifndef DK_CONF_JSON_LINE_H
#define DK_CONF_JSON_LINE_H

#include "base/status.h"

#include <string.h>

/* err: of dk_json_parse with this name and a text of one line. Its message without "NAME:1: ". */
static inline const char *dk_json_line_problem(const dk_error *err, const char *name)
{
    static const char first[] = ":1: ";
    const size_t size = strlen(name);
    const int32_t placed = !strncmp(err->message, name, size) && !strncmp(err->message + size, first, sizeof first - 1);
    return placed ? err->message + size + sizeof first - 1 : err->message;
}

#endif
