/* cmd_bench.c - distill bench: which of its commands, and the limits of the machine. */
#include <string.h>

#include "bench.h"

static int limits(const cli_command *command, int argc, char **argv)
{
    bench b = {.as_json = 0};
    const cli_option options[] = {{"--json", CLI_FLAG, &b.as_json, NULL}};
    int code = cli_parse(command, options, 1, argc, argv, NULL, 0);
    if (code >= 0) return code;
    code = bench_open(&b, command, NULL);
    if (code < 0) code = bench_measure_limits(&b);
    return bench_close(&b, code, json_incref(b.limits));
}

#define SET_HELP \
    "  --set KEY=VALUE      an option of the table, as YAML; may be repeated (`distill options` lists them)\n"
#define JSON_HELP "  --json               one JSON document\n"

static const cli_command commands[] = {
    {"bench limits", NULL,
     "usage: distill bench limits [--json]\n\n"
     "The best rate of fp32, bf16 and int8 products out of registers, of reading memory (read) and of reading two "
     "blocks "
     "and\n"
     "writing a third (stream), on all threads: what the other benches are held against. A product and a sum are two\n"
     "operations.\n\n" JSON_HELP,
     limits},
    {"bench step", NULL,
     "usage: distill bench step [--teacher-config A.json] [--student-config B.json] [--no-teacher] [--batch N] [--seq "
     "N]\n"
     "                          [--precision auto|bf16|fp32] [--steps N] [--set KEY=VALUE]... [--json]\n\n"
     "The median of training steps on random weights and random tokens. mfu is the FLOP of a token (2 of a teacher, 6 "
     "of a\n"
     "student for each number of their matrices, heads included, and causal attention) times tokens per second, over "
     "the\n"
     "limit of the precision, measured in the same run.\n\n"
     "  --teacher-config A   a config.json; a Llama of 12 layers of width 768\n"
     "  --student-config B   a config.json; a Llama of 6 layers of width 384\n"
     "  --no-teacher         on hard labels alone\n"
     "  --batch N            sequences of a step; 4\n"
     "  --seq N              tokens of a sequence; 256\n"
     "  --precision P        train.precision; fp32\n"
     "  --steps N            steps that are counted, behind two that are not; 10\n" SET_HELP JSON_HELP,
     bench_step},
    {"bench prefill", NULL,
     "usage: distill bench prefill [MODEL | --config A.json] [--tokens N] [--set KEY=VALUE]... [--json]\n\n"
     "The time from a prompt to its first token, the median of five.\n\n"
     "  --config A.json      random weights; a Llama of 12 layers of width 768\n"
     "  --tokens N           of the prompt; 512\n" SET_HELP JSON_HELP,
     bench_prefill},
    {"bench decode", NULL,
     "usage: distill bench decode [MODEL | --config A.json] [--tokens N] [--keys N] [--batch N] [--set KEY=VALUE]... "
     "[--json]\n\n"
     "Tokens per second of all sequences together, in the turns in which all of them write, and the share that reading "
     "all\n"
     "weights once for each turn has of the fastest read of memory, measured before and behind them. side_by_side is\n"
     "false where some ended before others began: then prompts that were read meanwhile count too.\n\n"
     "  --config A.json      random weights; a Llama of 12 layers of width 768\n"
     "  --tokens N           that each sequence is continued by; 128\n"
     "  --keys N             tokens of each prompt; 64\n"
     "  --batch N            sequences side by side; 1\n" SET_HELP JSON_HELP,
     bench_decode},
    {"bench draft", NULL,
     "usage: distill bench draft --model M --draft D [--data FILE] [--gamma N] [--prompts N] [--keys N] [--tokens N]\n"
     "                           [--set KEY=VALUE]... [--json]\n\n"
     "How much sooner a model writes with a smaller one that proposes its tokens: the same greedy texts without and "
     "with it,\n"
     "in turns, the medians of three. acceptance is the share of proposals that the model took of those that it looked "
     "at;\n"
     "expected_speedup is (1 - a^(g+1)) / ((1 - a)(g c + v)), a the acceptance, g gamma, c draft_over_model (a token "
     "of "
     "each),\n"
     "v rows_over_one (a pass of g + 1 rows over one of one).\n\n"
     "  --data FILE          text that prompts are taken from; random tokens, of which nothing can be said\n"
     "  --gamma N            tokens that are proposed at a time; 4\n"
     "  --prompts N          8\n"
     "  --keys N             tokens of each prompt; 64\n"
     "  --tokens N           that each is continued by; 96\n" SET_HELP JSON_HELP,
     bench_draft},
    {"bench loss", NULL,
     "usage: distill bench loss [--type TYPE] [--rows N] [--vocab N] [--set KEY=VALUE]... [--json]\n\n"
     "Losses and their gradients on rows of logits of teacher and student, the median of eleven each. of_streaming is "
     "the\n"
     "rate of what must pass through memory (the logits that the loss reads, and the gradient), over the rate at which "
     "this\n"
     "machine streams, measured in the same run.\n\n"
     "  --type TYPE          loss.type; every built-in loss that compares rows\n"
     "  --rows N             256\n"
     "  --vocab N            logits of a row; 32000\n" SET_HELP JSON_HELP,
     bench_loss},
    {"bench tokenize", NULL,
     "usage: distill bench tokenize MODEL --data FILE [--json]\n\n"
     "Text to ids, on one thread, the median of five. No limit of the machine bounds it: it has no share.\n\n"
     "  --data FILE          taken byte for byte\n" JSON_HELP,
     bench_tokenize},
    {"bench load", NULL,
     "usage: distill bench load MODEL [--json]\n\n"
     "Opening a model until it could be asked: the first time, and the median of five; and the share that reading all "
     "its\n"
     "weights once has of the fastest read of memory: above 1 where they are mapped, and read by whoever "
     "asks.\n\n" JSON_HELP,
     bench_load},
};
enum { COMMANDS = sizeof commands / sizeof *commands, PREFIX = sizeof "bench " - 1 };

int cli_bench(const cli_command *command, int argc, char **argv)
{
    return cli_subcommand(command, commands, COMMANDS, PREFIX, argc, argv);
}
