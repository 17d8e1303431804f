/* main.c - the commands and their help. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli_ranks.h"

#define SET_HELP "  --set KEY=VALUE   an option of the table, as YAML; may be repeated (`distill options` lists them)\n"

#define SAMPLING_HELP                                                                                             \
    "  --max-tokens N    longest answer\n"                                                                        \
    "  --temperature F   0, the default = always the most probable token\n"                                       \
    "  --top-k N         draw from the N most probable tokens; 0 = from all\n"                                    \
    "  --top-p F         draw from the most probable tokens that together have this mass\n"                       \
    "  --min-p F         draw from tokens that have at least this share of the most probable one's probability\n" \
    "  --repetition-penalty F\n"                                                                                  \
    "                    logits of tokens that prompt or answer has: divided by it, or multiplied below 0\n"      \
    "  --presence-penalty F\n"                                                                                    \
    "                    taken off the logit of each token that the answer has\n"                                 \
    "  --logit-bias ID=F added to the logit of the token with this id; may be given again\n"                      \
    "  --stop TEXT       ends the answer, which leaves it out; may be given again\n"                              \
    "  --stop-id ID      ends the answer; may be given again\n"                                                   \
    "  --seed N          seed of the draws, where there is a temperature\n"                                       \
    "  --quantized X     exact = Q8_0, Q4_0, Q4_1 and K-quants are widened, not multiplied as they are\n"         \
    "  --precision P     bf16 = products round what they multiply, and a copy of the weights is kept for them\n"

static const cli_command commands[] = {
    {"run", "distils as a recipe says",
     "usage: distill run RECIPE.yaml [--set KEY=VALUE]... [--resume] [--again] [--watch] [--quiet] [--json]\n"
     "                   [--communicator mpi] [--log-ranks]\n\n"
     "Distils as the recipe says and writes the student, metrics, result.json and report.html to its output "
     "folder.\n\n" SET_HELP
     "  --resume          goes on from the newest checkpoint in the output folder; stages always do\n"
     "  --again           a stage whose settings or inputs are others than when it was made is made again\n"
     "  --watch           report.html at a port of 127.0.0.1 while it trains; the address is said\n"
     "  --quiet           no progress\n"
     "  --json            prints result.json instead of the table\n" CLI_RANKS_HELP "\n"
     "Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 finish the step, save a checkpoint and exit with 130; a second Ctrl-C exits "
     "at "
     "once.\n",
     cli_run},
    {"augment", "makes data by a teacher: samples in, more and better ones out",
     "usage: distill augment RECIPE.yaml [--set KEY=VALUE]... [--dry-run] [--resume | --overwrite] [--quiet] "
     "[--json]\n"
     "                       " CLI_RANKS_USAGE "\n\n"
     "Samples of augment.in go through the operators of augment.steps and become lines of augment.out.\n\n" SET_HELP
     "  --dry-run         shows the first prompts as they would be asked, and an estimate; writes nothing\n"
     "  --resume          goes on with a run that was stopped, killed, or came to the end of its budget\n"
     "  --overwrite       replaces what augment.out already holds\n"
     "  --quiet           no progress\n"
     "  --json            one JSON document\n" CLI_RANKS_HELP "\n"
     "Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 leave a state that --resume goes on from and exit with 130.\n",
     cli_augment},
    {"plan", "what a run would take: memory, disk, time, energy, money",
     "usage: distill plan RECIPE [--set KEY=VALUE]... [--quiet] [--json] " CLI_RANKS_USAGE "\n\n"
     "A few steps and a small evaluation are made and forgotten; nothing is written. With a cache of targets and "
     "without.\n\n"
     "  --quiet           without progress\n" SET_HELP "  --json            one JSON document\n" CLI_RANKS_HELP,
     cli_plan},
    {"report", "a page for a browser of what a run achieved, or of several",
     "usage: distill report DIR... [-o FILE] [--language en|pt]\n\n"
     "Makes report.html of a run again, from the result.json and metrics.jsonl in its output folder: verdict, curves,\n"
     "where student and teacher differ, size, speed, cost, samples, recipe. Of several runs one page that compares "
     "them;\n"
     "a run beside one on hard labels alone is shown whole, with that as its baseline. Prints the file's name.\n\n"
     "  -o FILE           the page; DIR/report.html of one run\n"
     "  --language L      en, the default, or pt\n",
     cli_report},
    {"eval", "measures a student, and how close it is to a teacher",
     "usage: distill eval --student MODEL [--teacher MODEL] --data FILE [--set KEY=VALUE]... [--json]\n"
     "       distill eval --student MODEL [--choices FILE] [--answers FILE [--verify numeric|exact]] [--chat]\n"
     "                    [--aside FILE] [--data FILE] [--set KEY=VALUE]... [--json] " CLI_RANKS_USAGE "\n\n"
     "Perplexity in non-overlapping windows, and with a teacher KL(teacher||student), agreement on the most "
     "probable token,\n"
     "and what the student is worth as the teacher's draft: expected, and measured by some answers "
     "(train.eval_draft_tokens).\n"
     "Questions: how many are answered right, with an interval. Ctrl-C stops, and nothing is written.\n\n"
     "  --student MODEL   folder with config.json and safetensors, or a GGUF file\n"
     "  --teacher MODEL   the same; left out = the student alone\n"
     "  --data FILE       text, JSONL or token file\n"
     "  --choices FILE    lines of {\"question\", \"choices\": [...], \"answer\": number, letter or text}: which "
     "choice is "
     "likeliest\n"
     "  --answers FILE    lines of {\"question\", \"answer\"}: the model writes its answer\n"
     "  --verify HOW      numeric, the default = the number at the end, as GSM8K has it; exact = the same words\n"
     "  --chat            questions are what a user says, in the model's own chat template\n"
     "  --aside FILE      gets the questions that were not answered right, and why\n" SET_HELP
     "  --json            one JSON document\n" CLI_RANKS_HELP,
     cli_eval},
    {"compare", "two models side by side: how good, how large, how fast, at what cost",
     "usage: distill compare A B [--data FILE] [--choices FILE] [--answers FILE [--verify numeric|exact]] [--chat]\n"
     "                       [--set KEY=VALUE]... [--json]\n\n"
     "A is the model that is imitated. Perplexity, bits per byte and calibration on data; KL, agreement and B as A's\n"
     "draft where the tokenizers are equal; size, memory, speed, latency and energy; questions as distill eval asks "
     "them. Right where\n"
     "nothing else runs.\n\n"
     "  --data FILE       text or JSONL, which each model reads with its own tokenizer\n"
     "  --choices FILE    lines of {\"question\", \"choices\": [...], \"answer\"}\n"
     "  --answers FILE    lines of {\"question\", \"answer\"}\n"
     "  --verify HOW      numeric or exact\n"
     "  --chat            questions are what a user says, in each model's own chat template\n" SET_HELP
     "  --json            one JSON document\n",
     cli_compare},
    {"score", "negative log-likelihood of every token",
     "usage: distill score MODEL --tokens FILE.json [--logits OUT.npy] [--set KEY=VALUE]... [--json]\n\n"
     "FILE holds [[ids], [ids], ...]; row t of a sequence predicts its token t+1, so n tokens give n-1 values.\n\n"
     "  --tokens FILE     the sequences; - = stdin\n"
     "  --logits FILE     writes the logits of all rows as float32 [sequences, tokens, vocabulary]; needs equal "
     "lengths\n" SET_HELP "  --json            {\"nll\": [[per target], ...]}\n",
     cli_score},
    {"tokenize", "text to token ids",
     "usage: distill tokenize MODEL [--no-special] [--batch FILE.json] [--json] < TEXT\n\n"
     "stdin is taken byte for byte. MODEL may be a folder with tokenizer files only, or a vocabulary-only GGUF.\n\n"
     "  --no-special      without the tokens that the tokenizer adds around a text (BOS, EOS)\n"
     "  --batch FILE      [text, ...] instead of stdin\n"
     "  --json            changes nothing: the answer is {\"ids\": [...]} either way\n",
     cli_tokenize},
    {"detokenize", "token ids to text",
     "usage: distill detokenize MODEL [--skip-special] [--json] < IDS.json\n\n"
     "Reads [ids] or {\"ids\": [ids]} and writes the exact bytes.\n\n"
     "  --skip-special    leaves special tokens out\n"
     "  --json            {\"text\": ...}, with U+FFFD for bytes that are not UTF-8\n",
     cli_detokenize},
    {"generate", "continues a text, or answers in a chat",
     "usage: distill generate MODEL (--prompt TEXT | --prompt-ids FILE.json | --chat TEXT | --messages FILE.json)\n"
     "                        [--chat-template NAME|FILE] [--max-tokens N] [--temperature F] [--top-k N] [--top-p F]\n"
     "                        [--min-p F] [--repetition-penalty F] [--presence-penalty F] [--logit-bias ID=F]...\n"
     "                        [--stop TEXT]... [--stop-id ID]... [--samples N] [--seed N] [--top-logprobs N]\n"
     "                        [--quantized auto|int8|exact] [--precision fp32|bf16] [--no-special] [--draft MODEL]\n"
     "                        [--stream] [--cost] [--set KEY=VALUE]... [--json]\n\n"
     "  --prompt TEXT     the text to continue\n"
     "  --prompt-ids FILE [ids]; - = stdin\n"
     "  --chat TEXT       what a user says, in the model's own chat template\n"
     "  --messages FILE   a chat: [{\"role\", \"content\"}, ...] or {\"messages\", \"tools\", ...}; - = stdin; an "
     "answer\n"
     "                    that stands last goes on\n"
     "  --chat-template X chatml, llama2, llama3, mistral, or a Jinja file, where the model brings none; plain = a\n"
     "                    model that knows no chats continues what is said\n" SAMPLING_HELP
     "  --samples N       answers, numbered from 0; they need a temperature\n"
     "  --top-logprobs N  with --json: \"log_probs\" of the tokens, and \"top\", the N likeliest in the place of each\n"
     "  --no-special      the prompt goes without BOS and EOS\n"
     "  --draft MODEL     a smaller model of the same tokenizer that proposes tokens: the same text, sooner\n"
     "  --stream          text as it comes, which one answer without --json does anyway; with --json a line for each\n"
     "                    token before the document: {\"token\": {\"id\", \"text\", \"log_prob\"}}\n"
     "  --cost            what it took, on stderr: seconds, CPU, tokens, operations, energy, money; with --json "
     "\"cost\"\n" SET_HELP
     "  --json            {\"text\", \"ids\"} of the answer, without the prompt; {\"answers\": [...]} of several\n",
     cli_generate},
    {"chat", "talks with a model, in a terminal or a pipe",
     "usage: distill chat MODEL [--draft MODEL] [--system TEXT] [--messages FILE.json] [--chat-template NAME|FILE]\n"
     "                    [--max-tokens N] [--temperature F] [--top-k N] [--top-p F] [--min-p F]\n"
     "                    [--repetition-penalty F] [--presence-penalty F] [--logit-bias ID=F]... [--stop TEXT]...\n"
     "                    [--stop-id ID]... [--seed N] [--quantized auto|int8|exact] [--precision fp32|bf16]\n"
     "                    [--context N] [--no-commands] [--set KEY=VALUE]...\n\n"
     "A line is a message; the answer comes as it is written. /help lists the commands; Ctrl-C stops an answer,\n"
     "Ctrl-D leaves. In a pipe answers alone go to stdout, and what fails ends it.\n\n"
     "  --draft MODEL     a smaller model of the same tokenizer that proposes tokens: the same text, sooner\n"
     "  --system TEXT     system message, in the place of one in FILE\n"
     "  --messages FILE   a chat to go on with, as /save writes it; a question that stands last is answered\n"
     "  --chat-template X chatml, llama2, llama3, mistral, or a Jinja file, where the model brings none; plain = a\n"
     "                    model that knows no chats continues what was said\n" SAMPLING_HELP
     "  --context N       tokens that there is room for; beyond, the oldest turns are left out, and that is said\n"
     "  --no-commands     a line that begins with a slash is a message, too\n" SET_HELP,
     cli_chat},
    {"serve", "a model behind HTTP: the OpenAI API, metrics, and a page to try it",
     "usage: distill serve MODEL [--draft MODEL] [--host HOST] [--port PORT] [--name NAME] [--chat-template "
     "NAME|FILE]\n"
     "                     [--api-key-file FILE | --api-key-env NAME] [--places N] [--context N]\n"
     "                     [--quantized auto|int8|exact] [--precision fp32|bf16] [--ignore PARAMETER]...\n"
     "                     [--max-prompt N] [--max-tokens N] [--max-logprobs N] [--max-choices N] [--max-body BYTES]\n"
     "                     [--max-queue N] [--max-connections N] [--timeout S] [--read-timeout S] [--stop-timeout S]\n"
     "                     [--set KEY=VALUE]...\n\n"
     "/v1/chat/completions, /v1/completions, /v1/models, /tokenize, /detokenize, /health, /metrics, and a page at "
     "/.\n\n"
     "  --draft MODEL     a smaller model of the same tokenizer, whose proposals are checked several at a time\n"
     "  --host HOST       where it listens; 127.0.0.1, the default = this machine alone\n"
     "  --port PORT       8080; 0 = any that is free, which is printed\n"
     "  --name NAME       what clients call the model; the last part of MODEL\n"
     "  --chat-template X chatml, llama2, llama3, mistral, or a Jinja file, where the model brings none; plain = a\n"
     "                    model that knows no chats continues what is said\n"
     "  --api-key-file F  a file of keys, one a line: clients send one of them\n"
     "  --api-key-env X   the name of a variable that holds such a key\n"
     "  --places N        answers that are written at once, in one batch; 8, and 4 where products are by CBLAS\n"
     "  --context N       tokens of a prompt and its answer together\n"
     "  --quantized X     exact = Q8_0, Q4_0, Q4_1 and K-quants are widened, not multiplied as they are\n"
     "  --precision P     bf16 = products round what they multiply, and a copy of the weights is kept for them\n"
     "  --ignore X        a parameter that is not supported is let pass, unused; may be given again\n"
     "  --max-prompt N    tokens of a prompt\n"
     "  --max-tokens N    tokens of an answer; 4096\n"
     "  --max-logprobs N  likeliest tokens in the place of each; 20\n"
     "  --max-choices N   answers of one request: n times prompts; 128\n"
     "  --max-body BYTES  of a request; 1048576\n"
     "  --max-queue N     requests that wait for a place; 64, more get 429\n"
     "  --max-connections N\n"
     "                    clients at once; 256\n"
     "  --timeout S       seconds of a request, its wait included; 600\n"
     "  --read-timeout S  seconds in which a client has to send a request; 30\n"
     "  --stop-timeout S  seconds that requests have to end in when the server is stopped; 10\n" SET_HELP
     "\nCtrl-C, SIGTERM and SIGHUP end it: no new requests, those at work end or are ended, exit code 0.\n",
     cli_serve},
    {"inspect", "what a path is, and whether it is whole",
     "usage: distill inspect [PATH] [--tokenizer MODEL [--set KEY=VALUE]...] [--json]\n\n"
     "PATH is a model, a tokenizer, a file of data or tokens, or a checkpoint; without PATH this library. Exit code 1 "
     "where it is not whole.\n\n"
     "  --tokenizer MODEL what becomes of the samples of a file of data: learnt from, too long, truncated, "
     "...\n" SET_HELP "  --json            one JSON document\n",
     cli_inspect},
    {"export", "a model as new files: GGUF for llama.cpp, or an HF folder",
     "usage: distill export MODEL --to gguf|hf|both [--type TYPE] -o PATH [--set KEY=VALUE]... [--json]\n\n"
     "At PATH there may be nothing yet. Prints what inspect says of it.\n\n"
     "  --to FORMAT       gguf = one file; hf = a folder; both = a folder with model.gguf in it\n"
     "  --type TYPE       f32, bf16, f16, and for GGUF q8_0, q4_0 or q4_k; auto, the default = as MODEL is stored,\n"
     "                    bf16 where that is quantised\n"
     "  -o PATH           the new file or folder\n" SET_HELP "  --json            one JSON document\n",
     cli_export},
    {"cache", "a teacher's targets in a file: build, measure, inspect, verify, merge",
     "usage: distill cache build|measure|inspect|verify|merge ...\n\n"
     "  build             runs a teacher over data and keeps its targets\n"
     "  measure           how large tiers are and what they lose, on some rows of data\n"
     "  inspect           what a cache holds, and of which teacher\n"
     "  verify            reads every block and row of it\n"
     "  merge             makes one of several\n\n"
     "distill cache build --help says more, and so do the others.\n",
     cli_cache},
    {"classify", "a small classifier of a teacher's answers: train, predict, eval",
     "usage: distill classify train|predict|eval ...\n\n"
     "  train             on texts with a teacher's probabilities\n"
     "  predict           lines of text in, lines of JSON out; asks a teacher where it is not sure\n"
     "  eval              how often it says what the teacher says\n\n"
     "distill classify train --help says more, and so do the others.\n",
     cli_classify},
    {"bench", "how fast this machine is, and how far its limits are",
     "usage: distill bench limits|step|prefill|decode|draft|loss|tokenize|load ...\n\n"
     "  limits            what the machine can do at most\n"
     "  step              a training step\n"
     "  prefill           reading a prompt\n"
     "  decode            writing text\n"
     "  draft             what a smaller model that proposes tokens is worth\n"
     "  loss              a loss and its gradient\n"
     "  tokenize          text to ids\n"
     "  load              opening a model\n\n"
     "distill bench step --help says more, and so do the others. Right where nothing else runs.\n",
     cli_bench},
    {"options", "every option of a recipe",
     "usage: distill options [NAME] [--json] [--markdown]\n\n"
     "NAME is an option or a section: type, default, bounds and help.\n\n"
     "  --json            one JSON document\n"
     "  --markdown        the page docs/options.md\n",
     cli_options},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int print_help(FILE *out, int code)
{
    fprintf(out, "usage: distill COMMAND [ARGUMENTS]\n\nDistils large language models into small ones.\n\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\ndistill COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
    return code;
}

static const cli_command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *nearest = cli_nearest(name, names, COMMANDS);
    cli_message("unknown command %s%s%s (see distill --help)", name, nearest ? "; did you mean " : "",
                nearest ? nearest : "");
    return CLI_USAGE;
}

/* A file that is opened where a standard stream is closed would get what is meant for that stream. Closed output stays
 * an error: nothing is written to what is open for reading alone. */
static void hold_standard_streams(void)
{
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", modes[i]) < 0) _exit(CLI_FAILED);
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) return print_help(stderr, CLI_USAGE);
    if (!strcmp(name, "--version")) return printf("distill %s\n", distill_version()), cli_finish(CLI_DONE);
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        const cli_command *command = argc > 2 ? find_command(argv[2]) : NULL;
        if (argc > 2 && !command) return unknown_command(argv[2]);
        if (command) return fputs(command->help, stdout), cli_finish(CLI_DONE);
        return cli_finish(print_help(stdout, CLI_DONE));
    }
    const cli_command *command = find_command(name);
    if (!command) return unknown_command(name);
    return cli_finish(command->run(command, argc - 2, argv + 2));
}
