/* talk.h - conversations: `distill chat`, and what `distill generate` reads of them.
 *
 *   cmd_chat.c     options, opening, the turns       talk_file.c   conversations and templates in files
 *   talk_line.c    a message of the user             talk_edit.c   lines by libedit, where the build has it
 *   talk_answer.c  a message of the model            talk_stats.c  how fast it came
 *   talk_command.c what begins with a slash          talk_screen.c what a terminal may be shown */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "cli.h"

/* ---- files ---- */

/* {"messages": [...], ...} of a file or of a list in one; NULL after a message. */
json_t *talk_read_file(const char *path);
/* Takes a template into a chat: the name of a format, or a file. 0 after a message. */
int talk_set_template(json_t *chat, const char *name);
char *talk_path(const char *typed);                       /* with the home of ~/; free */
int talk_save_file(const json_t *chat, const char *path); /* written beside and renamed; 0 after a message */
/* An answer begins behind the messages, unless the last one is an answer that goes on: DISTILL_CHAT_*. */
int32_t talk_flags(const json_t *chat);
const char *talk_role(const json_t *message); /* "" = none */

/* ---- a conversation that goes on ---- */

typedef struct talk_editor talk_editor;
typedef struct talk {
    cli_session *program;
    const char *path; /* of the model */
    distill_teacher *model, *draft;
    distill_session *session;
    distill_tokenizer *tokenizer;
    json_t *chat;        /* {"messages": [...], ...} */
    talk_editor *editor; /* NULL = lines are read as they are */
    int asks;            /* a terminal is there to type at: prompts, remarks, going on after an error */
    int shows;           /* answers go to a terminal */
    int limited;         /* --max-tokens was given */
    int commands;        /* lines that begin with a slash are some */
    int64_t line;        /* number of the line that was read last */
    int64_t tokens;      /* of the last answer, and how long they took after the first */
    double seconds;
} talk;

json_t *talk_messages(const talk *t); /* borrowed */
void talk_add(talk *t, const char *role, json_t *content);
void talk_set_system(talk *t, json_t *content); /* NULL = none any more */
/* Whether the model's template renders the chat; 0 after a message. */
int talk_check(const talk *t, const json_t *chat);

enum { TALK_MESSAGE = 0, TALK_END = 1, TALK_INTERRUPTED = 2, TALK_FAILED = 3 };
/* The next message, for the caller to free, size bytes. TALK_INTERRUPTED: Ctrl-C threw away what was typed. */
int talk_read(talk *t, char **text, size_t *size);
void talk_remark(const talk *t, const char *format, ...); /* "(...)" for who sits at a terminal */

/* All three: -1 to go on, else the exit code. */
int talk_answer(talk *t);
int talk_command(talk *t, const char *line);
int talk_failed(const talk *t, int code); /* what cannot be done: goes on where somebody sees the message */

void talk_print_stats(const talk *t);

/* ---- terminal ---- */

/* Without what would move the cursor or change the terminal: control characters become U+FFFD. */
void talk_show(FILE *out, const char *text, size_t size);
void talk_hush(int on); /* what is typed while an answer comes is not shown in it, but kept */

/* NULL where there is no libedit, or the terminal is none for it. */
talk_editor *talk_editor_open(void);
/* As talk_read; the line is borrowed until the next one. *empty: whether nothing was typed. */
int talk_editor_read(talk_editor *editor, const char *prompt, const char **line, size_t *size, int *empty);
void talk_editor_close(talk_editor *editor); /* NULL is fine */

#endif
