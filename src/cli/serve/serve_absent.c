/* serve_absent.c - distill serve in a build without libmicrohttpd. */
#include "../cli.h"

int cli_serve(const cli_command *command, int argc, char **argv)
{
    const char *model = NULL;
    if (argc > 0 && cli_parse(command, NULL, 0, 1, argv, &model, 1) == CLI_DONE) return CLI_DONE;
    return cli_message("this build has no server: libmicrohttpd was not there when it was built, or "
                       "DISTILL_WITH_SERVER was OFF");
}
