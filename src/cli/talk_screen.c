/* talk_screen.c - what a terminal is shown, and what is typed meanwhile. */
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "talk.h"

static int is_control(const unsigned char *text, size_t length)
{
    if (length == 1) return (*text < 0x20 && *text != '\n' && *text != '\t') || *text == 0x7F;
    return length == 2 && text[0] == 0xC2 && text[1] < 0xA0; /* U+0080 to U+009F */
}

void talk_show(FILE *out, const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < size;) {
        size_t length = cli_utf8_length(bytes + i, size - i);
        if (length && !is_control(bytes + i, length)) fwrite(bytes + i, 1, length, out);
        else fputs("\xEF\xBF\xBD", out);
        i += length ? length : 1;
    }
}

void talk_hush(int on)
{
    static struct termios before;
    static int hushed;
    if (on == hushed || tcgetpgrp(STDIN_FILENO) != getpgrp()) return; /* in the background it would stop us */
    if (!on) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    } else {
        if (tcgetattr(STDIN_FILENO, &before)) return;
        struct termios quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        if (tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet)) return;
    }
    hushed = on;
}
