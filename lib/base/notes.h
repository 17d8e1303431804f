/* notes.h - facts of a file that are not used, one line each: collected while something is opened, logged as warnings
 * once it is, and kept for whoever asks. A list of notes is a dk_strbuf of lines; what names too much is cut. */
#ifndef DK_BASE_NOTES_H
#define DK_BASE_NOTES_H

#include "base/strbuf.h"

/* Adds a line; control characters of names from files become spaces. */
void dk_note(dk_strbuf *notes, const char *format, ...) DK_PRINTF(2, 3);
void dk_notes_log(const dk_strbuf *notes, dk_host *host, const char *component);
void dk_notes_json(const dk_strbuf *notes, dk_strbuf *out); /* ["line", ...] */

#endif
