/* cmd_cache.c - distill cache: which of its commands, and those that need no teacher. */
#include <string.h>

#include "cli_ranks.h"

static int one_file(const cli_command *command, int argc, char **argv, int32_t every_row)
{
    int as_json = 0, whole = 1;
    const char *path = NULL;
    const cli_option options[] = {{"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 1, argc, argv, &path, 1);
    if (code >= 0) return code;
    if (!path) return cli_usage(command, "a cache is missing");
    code = cli_open(&s, command, NULL, NULL);
    if (code < 0) {
        int32_t rc = every_row ? distill_cache_verify(s.env, path, &report, &s.err)
                               : distill_cache_inspect(s.env, path, &report, &s.err);
        code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, &whole);
    }
    cli_close(&s);
    return code == CLI_DONE && !whole ? CLI_FAILED : code;
}

static int inspect(const cli_command *command, int argc, char **argv) { return one_file(command, argc, argv, 0); }
static int verify(const cli_command *command, int argc, char **argv) { return one_file(command, argc, argv, 1); }

static int merge(const cli_command *command, int argc, char **argv)
{
    enum { FILES = 1024 };
    int as_json = 0, skip = 0, count = 0;
    const char *paths[FILES] = {NULL}, *into = NULL;
    const cli_option options[] = {{"--into", CLI_TEXT, &into, NULL},
                                  {"--skip-damaged", CLI_FLAG, &skip, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 3, argc, argv, paths, FILES);
    if (code >= 0) return code;
    while (count < FILES && paths[count]) count++;
    if (!count) return cli_usage(command, "files to merge are missing");
    if (!into) return cli_usage(command, "--into is missing");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    int32_t rc = skip ? distill_options_set(s.options, "teacher.cache.skip_damaged", "true", &s.err) : DISTILL_OK;
    if (!rc) rc = distill_cache_merge(s.env, paths, count, into, s.options, &s.err);
    if (!rc) rc = distill_cache_inspect(s.env, into, &report, &s.err);
    code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, NULL);
out:
    cli_close(&s);
    return code;
}

static const cli_command commands[] = {
    {"cache build", NULL,
     "usage: distill cache build RECIPE.yaml [--set KEY=VALUE]... [--dry-run] [--quiet] [--json]\n"
     "                           " CLI_RANKS_USAGE "\n"
     "       distill cache build --teacher MODEL --data FILE --cache FILE [--tier TIER] [--set KEY=VALUE]...\n\n"
     "Asks the teacher about all rows of the data and keeps its targets: those of the recipe's teacher.cache, or of "
     "the\n"
     "caches of the teachers that it is made of. Held-out data is asked about, too. What is there is not asked again:\n"
     "the same command goes on where an earlier one was stopped.\n\n"
     "  --teacher MODEL   folder with config.json and safetensors, or a GGUF file (teacher.path)\n"
     "  --data FILE       text, JSONL or token file (data.train)\n"
     "  --cache FILE      where targets are kept (teacher.cache.path)\n"
     "  --tier TIER       auto, hidden, full, top_k or sampled (teacher.cache.tier)\n"
     "  --set KEY=VALUE   an option of the table, as YAML; may be repeated (`distill options` lists them)\n"
     "  --dry-run         only says how large the cache will be and how long it will take, from a few windows\n"
     "  --quiet           no progress\n"
     "  --json            one JSON document\n" CLI_RANKS_HELP "\n"
     "Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 finish the batch, leave a cache that is whole and exit with 130.\n",
     cli_cache_build},
    {"cache measure", NULL,
     "usage: distill cache measure RECIPE.yaml [--student MODEL] [--rows N] [--set KEY=VALUE]... [--json]\n"
     "       distill cache measure --teacher MODEL --data FILE [--student MODEL] [--rows N] [--set KEY=VALUE]...\n\n"
     "What each tier keeps of the teacher, and for how many bytes: KL(teacher||what is read back), mean and largest of "
     "a\n"
     "token, and how far the gradient of a token is off. Draws (sampled) have no KL; they are unbiased. A recipe's\n"
     "held-out data is taken where it names some.\n\n"
     "  --teacher MODEL   folder with config.json and safetensors, or a GGUF file (teacher.path)\n"
     "  --data FILE       text, JSONL or token file (data.train)\n"
     "  --student MODEL   a trained one, whose own KL stands beside\n"
     "  --rows N          about so many rows, evenly over the data; 4096; 0 = all\n"
     "  --set KEY=VALUE   an option of the table, as YAML; may be repeated (`distill options` lists them)\n"
     "  --json            one JSON document\n",
     cli_cache_measure},
    {"cache inspect", NULL,
     "usage: distill cache inspect FILE [--json]\n\n"
     "What a cache says of itself: hashes of teacher and tokenizer, tier, settings, temperature, rows, sequences, "
     "bytes "
     "of a row.\n\n"
     "  --json            one JSON document\n",
     inspect},
    {"cache verify", NULL,
     "usage: distill cache verify FILE [--json]\n\n"
     "Reads every block and row. Exit code 1 where something is damaged; \"damaged\" names each block by its "
     "offset.\n\n"
     "  --json            one JSON document\n",
     verify},
    {"cache merge", NULL,
     "usage: distill cache merge FILE... --into FILE [--skip-damaged] [--json]\n\n"
     "Adds what the last one lacks of the others, which are of the same teacher, tier and settings.\n\n"
     "  --into FILE       the cache that is made or added to\n"
     "  --skip-damaged    leaves damaged blocks out, with a warning, instead of stopping\n"
     "  --json            what --into holds then, as one JSON document\n",
     merge},
};
enum { COMMANDS = sizeof commands / sizeof *commands, PREFIX = sizeof "cache " - 1 };

int cli_cache(const cli_command *command, int argc, char **argv)
{
    return cli_subcommand(command, commands, COMMANDS, PREFIX, argc, argv);
}
