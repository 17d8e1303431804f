/* watch_page.h - a run's report.html for a browser on this machine while the run trains, at a port of its own. */
#ifndef CLI_WATCH_PAGE_H
#define CLI_WATCH_PAGE_H

#include "cli.h"

typedef struct cli_watch_page cli_watch_page;
/* folder: of the run, whose page may not be there yet. Says the address on stderr; NULL after a message. */
cli_watch_page *cli_watch_page_start(const char *folder);
/* The same of the folder that options name. -1 = *watch is open, or none is wanted; else the program's exit code. */
int cli_watch_page_open(const cli_session *session, const cli_command *command, int wanted, cli_watch_page **watch);
/* A browser that was watching gets the last page first, for which a few seconds are waited. */
void cli_watch_page_end(cli_watch_page *watch);

#endif
