/* talk_edit.c - lines by libedit: editing, and the lines before, while the program runs. */
#include "talk.h"

#ifndef CLI_HAS_LIBEDIT
talk_editor *talk_editor_open(void) { return NULL; }
int talk_editor_read(talk_editor *editor, const char *prompt, const char **line, size_t *size, int *empty)
{
    (void)editor, (void)prompt, (void)line, (void)size, (void)empty;
    return TALK_FAILED;
}
void talk_editor_close(talk_editor *editor) { (void)editor; }
#else

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

struct talk_editor {
    EditLine *lines;
    History *history;
    const char *prompt;
    int empty;
};

static volatile sig_atomic_t resized;

static void on_resize(int number) { (void)number, resized = 1; }

static char *prompt_of(EditLine *lines)
{
    talk_editor *editor = NULL;
    el_get(lines, EL_CLIENTDATA, &editor);
    return (char *)(uintptr_t)editor->prompt;
}

/* libedit's own asks once more after a signal, and so would swallow Ctrl-C. */
static int read_letter(EditLine *lines, wchar_t *out)
{
    talk_editor *editor = NULL;
    mbstate_t state;
    memset(&state, 0, sizeof state);
    el_get(lines, EL_CLIENTDATA, &editor);
    for (;;) {
        char byte;
        ssize_t got = cli_has_interrupt() ? -1 : read(STDIN_FILENO, &byte, 1);
        if (got < 0 && cli_has_interrupt()) {
            const LineInfo *typed = el_line(lines);
            return editor->empty = typed->lastchar == typed->buffer, -1;
        }
        if (got < 0 && errno == EINTR) {
            if (resized) resized = 0, el_resize(lines), el_set(lines, EL_REFRESH);
            continue;
        }
        if (got <= 0) return (int)got;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2) continue;
        if (used == (size_t)-1) *out = 0xFFFD;
        return 1;
    }
}

/* A terminal shows characters; in the C locale libedit would show their bytes. */
static int has_utf8(void)
{
    static const char *const locales[] = {"", "C.UTF-8", "en_US.UTF-8"};
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++)
        if (setlocale(LC_CTYPE, locales[i]) && !strcmp(nl_langinfo(CODESET), "UTF-8")) return 1;
    return 0;
}

talk_editor *talk_editor_open(void)
{
    const char *terminal = getenv("TERM");
    struct sigaction action;
    HistEvent event;
    if (!terminal || !*terminal || !strcmp(terminal, "dumb") || !has_utf8()) return NULL;
    talk_editor *editor = cli_memory(NULL, sizeof *editor);
    memset(editor, 0, sizeof *editor);
    editor->lines = el_init("distill", stdin, isatty(STDOUT_FILENO) ? stdout : stderr, stderr);
    editor->history = history_init();
    if (!editor->lines || !editor->history) return talk_editor_close(editor), NULL;
    history(editor->history, &event, H_SETSIZE, 1000);
    history(editor->history, &event, H_SETUNIQUE, 1);
    el_set(editor->lines, EL_CLIENTDATA, editor);
    el_set(editor->lines, EL_PROMPT, prompt_of);
    el_set(editor->lines, EL_EDITOR, "emacs");
    el_set(editor->lines, EL_HIST, history, editor->history);
    el_set(editor->lines, EL_GETCFN, read_letter);
    el_source(editor->lines, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_resize;
    sigaction(SIGWINCH, &action, NULL);
    return editor;
}

int talk_editor_read(talk_editor *editor, const char *prompt, const char **line, size_t *size, int *empty)
{
    int count = 0;
    HistEvent event;
    editor->prompt = prompt;
    editor->empty = 1;
    *line = el_gets(editor->lines, &count);
    *empty = editor->empty;
    if (!*line || count <= 0) {
        FILE *screen = isatty(STDOUT_FILENO) ? stdout : stderr;
        fputc('\n', screen), fflush(screen);
        return cli_has_interrupt() ? TALK_INTERRUPTED : TALK_END;
    }
    *size = (size_t)count;
    if (count > 1) history(editor->history, &event, H_ENTER, *line);
    return TALK_MESSAGE;
}

void talk_editor_close(talk_editor *editor)
{
    if (!editor) return;
    if (editor->lines) el_end(editor->lines);
    if (editor->history) history_end(editor->history);
    free(editor);
}
#endif
