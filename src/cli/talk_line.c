/* talk_line.c - a message of the user: a line, or several between three quotes. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

enum { MESSAGE_LIMIT = 1 << 24 }; /* bytes */
static const char quotes[] = "\"\"\"";

typedef struct text {
    size_t size;
    char *bytes; /* NUL behind them */
} text;

static void add(text *to, const char *bytes, size_t size)
{
    to->bytes = cli_memory(to->bytes, to->size + size + 1);
    if (size) memcpy(to->bytes + to->size, bytes, size);
    to->bytes[to->size += size] = 0;
}

/* One line of stdin without its end; line and cap as getline has them. */
static int read_plain(char **line, size_t *cap, size_t *size)
{
    for (;;) {
        errno = 0;
        ssize_t got = cli_has_interrupt() ? -1 : getline(line, cap, stdin);
        if (got >= 0) return *size = (size_t)got, TALK_MESSAGE;
        if (cli_has_interrupt()) return clearerr(stdin), TALK_INTERRUPTED;
        if (feof(stdin) || errno != EINTR) break;
        clearerr(stdin);
    }
    if (!ferror(stdin)) return TALK_END;
    cli_message("stdin: %s", strerror(errno));
    return TALK_FAILED;
}

static int read_line(talk *t, const char *prompt, text *out)
{
    const char *line = NULL;
    char *own = NULL;
    size_t size = 0, cap = 0;
    int empty = 1, code;
    if (t->editor) {
        code = talk_editor_read(t->editor, prompt, &line, &size, &empty);
    } else {
        FILE *screen = t->shows ? stdout : stderr;
        if (t->asks) fputs(prompt, screen), fflush(screen);
        code = read_plain(&own, &cap, &size);
        line = own;
    }
    if (t->asks && !t->editor && code != TALK_MESSAGE) fputc('\n', t->shows ? stdout : stderr);
    if (code == TALK_INTERRUPTED && empty && t->asks) talk_remark(t, "Ctrl-D or /quit leaves");
    if (code == TALK_MESSAGE) {
        t->line++;
        while (size && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
        size_t mark = t->line == 1 && size >= 3 && !memcmp(line, "\xef\xbb\xbf", 3) ? 3 : 0;
        add(out, line + mark, size - mark);
    }
    free(own);
    return code;
}

/* Behind """: lines until one that ends with the same. */
static int read_quoted(talk *t, text *out)
{
    const size_t mark = sizeof quotes - 1;
    int64_t first = t->line;
    memmove(out->bytes, out->bytes + mark, out->size - mark + 1);
    out->size -= mark;
    while (out->size < mark || strcmp(out->bytes + out->size - mark, quotes) != 0) {
        if (out->size) add(out, "\n", 1);
        int code = read_line(t, ". ", out);
        if (code == TALK_END)
            return cli_message("line %lld: %s is not ended by another one", (long long)first, quotes), TALK_FAILED;
        if (code != TALK_MESSAGE) return code;
        if (out->size > MESSAGE_LIMIT) break;
    }
    if (out->size >= mark && out->size <= MESSAGE_LIMIT) out->bytes[out->size -= mark] = 0;
    return TALK_MESSAGE;
}

int talk_read(talk *t, char **message, size_t *size)
{
    text read = {0, NULL};
    int code = read_line(t, "> ", &read);
    if (code == TALK_MESSAGE && !strncmp(read.bytes, quotes, sizeof quotes - 1)) code = read_quoted(t, &read);
    if (code == TALK_MESSAGE && read.size > MESSAGE_LIMIT) {
        cli_message("line %lld: the message is longer than %d bytes", (long long)t->line, MESSAGE_LIMIT);
        code = TALK_FAILED;
    }
    if (code != TALK_MESSAGE) return free(read.bytes), code;
    *message = read.bytes;
    *size = read.size;
    return code;
}

void talk_remark(const talk *t, const char *format, ...)
{
    va_list args;
    if (!t->asks) return;
    fflush(stdout);
    va_start(args, format);
    fputc('(', stderr);
    vfprintf(stderr, format, args);
    fputs(")\n", stderr);
    va_end(args);
}
