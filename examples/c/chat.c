/* chat.c - talks with a model, as the words come; Ctrl-C stops an answer.  Usage: chat MODEL [TEMPLATE] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <distill.h>

static const char how[] = "{generate: {temperature: 0}, session: {overflow: oldest}}"; /* the likeliest; old turns go */
static distill_session *session;
static void on_interrupt(int number)
{
    (void)number;
    distill_session_cancel(session, 1); /* async-signal-safe */
}

static void put_json(FILE *out, const char *text, int64_t size)
{
    for (int64_t i = 0; i < size; i++)
        fprintf(out, (unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\' ? "\\u%04x" : "%c", text[i]);
}

int main(int argc, char **argv)
{
    distill_error err;
    distill_env *env = NULL;
    distill_options *options = NULL;
    distill_teacher *model = NULL;
    distill_token token;
    char *line = NULL, *talk = NULL;
    size_t cap = 0, size = 0;
    DISTILL_INIT(&token);
    if (argc < 2) return fprintf(stderr, "usage: chat MODEL [chatml|llama2|llama3|mistral]\n"), 2;
    int32_t rc = distill_env_create(NULL, &env, &err);
    if (!rc) rc = distill_teacher_open(env, argv[1], NULL, &model, &err);
    if (!rc) rc = distill_options_create(env, &options, &err);
    if (!rc) rc = distill_options_parse(options, how, sizeof how - 1, "how", &err);
    if (!rc) rc = distill_session_create(model, NULL, options, &session, &err);
    if (!rc) signal(SIGINT, on_interrupt);
    FILE *out = open_memstream(&talk, &size); /* the conversation so far, as JSON */
    if (argc > 2) fprintf(out, "{\"chat_template\": \"%s\", \"messages\": [", argv[2]);
    else fprintf(out, "{\"messages\": [");
    while (!rc && fputs("> ", stderr) >= 0 && getline(&line, &cap, stdin) >= 0) {
        fprintf(out, "{\"role\": \"user\", \"content\": \"");
        put_json(out, line, (int64_t)strcspn(line, "\n"));
        fprintf(out, "\"}]}"), fflush(out), distill_session_cancel(session, 0);
        rc = distill_session_chat(session, talk, 0, &err); /* what stood is not read again */
        fseek(out, -2, SEEK_CUR);
        fprintf(out, ", {\"role\": \"assistant\", \"content\": \"");
        while (!rc && !(rc = distill_session_next(session, &token, &err))) {
            fwrite(token.text, 1, (size_t)token.size, stdout), fflush(stdout);
            put_json(out, token.text, token.size);
        }
        if (rc == DISTILL_E_END || rc == DISTILL_E_CANCELLED) rc = 0, puts(""), fprintf(out, "\"}, ");
    }
    if (rc) fprintf(stderr, "%s\n", err.message);
    distill_session_free(session), distill_teacher_free(model), distill_options_free(options), distill_env_free(env);
    return fclose(out), free(talk), free(line), rc != 0;
}
