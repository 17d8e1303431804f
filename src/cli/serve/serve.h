/* serve.h - `distill serve`: a model behind HTTP, in the shapes of the OpenAI API. It uses distill.h, jansson and
 * libmicrohttpd alone.
 *
 *   cmd_serve.c           options, start, the wait, the orderly end
 *   serve_sampling.c      how a request's tokens are drawn
 *   serve_listen.c        the socket                       serve_key.c       API keys
 *   serve_http.c          libmicrohttpd's callbacks        serve_route.c     which request goes where, and may it
 *   serve_connections.c   clients that are too slow        serve_job.c       a request on its way, who waits for whom
 *   serve_prepare.c       a request's prompts as tokens    serve_score.c     log-probabilities of a prompt
 *   serve_schedule.c      answers, all in one batch        serve_places.c    sessions, and the one that suits a prompt
 *   serve_deliver.c       a token on its way to a client   serve_shapes.c    the API's objects
 *   serve_logprobs.c      log-probabilities in these       serve_tokenize.c  /tokenize, /detokenize
 *   serve_metrics.c       /metrics                         serve_request.h   what a client asks for
 *
 * Threads: one of libmicrohttpd for all clients, PREPARERS that read requests, one that writes answers, and the main
 * thread, which waits for signals and looks after deadlines. One lock guards what they share; nothing that takes long
 * is done while it is held. */
#ifndef CLI_SERVE_SERVE_H
#define CLI_SERVE_SERVE_H

#include <microhttpd.h>
#include <pthread.h>
#include <sys/socket.h>

#include "../cli.h"
#include "serve_request.h"

typedef struct serve_server serve_server;
typedef struct serve_job serve_job;
typedef struct serve_place serve_place;

/* ---- keys ---- */

enum { SERVE_KEYS = 64 };
typedef struct serve_keys {
    int count; /* 0 = everybody may */
    char *of[SERVE_KEYS];
} serve_keys;
/* Lines of a file, or a variable of the environment, by name; 0 after a message. */
int serve_keys_read(serve_keys *keys, const char *path, const char *variable);
/* given: "Bearer KEY" or NULL. Takes the same time whatever is wrong about it. */
int serve_keys_fit(const serve_keys *keys, const char *given);
void serve_keys_free(serve_keys *keys);

/* ---- clients ---- */

typedef struct serve_connection { /* of a client, from accept to close */
    int fd;
    double deadline; /* when it is shut down: reading a request, or answering it, has taken too long */
    struct serve_connection *next, *before;
} serve_connection;
typedef struct serve_connections {
    pthread_mutex_t lock; /* of this list alone; nothing else is taken while it is held */
    serve_connection *first;
    int64_t count, cut; /* cut: shut down at a deadline */
} serve_connections;
serve_connection *serve_connections_add(serve_connections *all, int fd, double deadline);
void serve_connections_remove(serve_connections *all, serve_connection *connection);
void serve_connections_until(serve_connections *all, serve_connection *connection, double deadline);
void serve_connections_check(serve_connections *all, double now); /* shuts down what is past its deadline */

/* ---- metrics ---- */

enum { SERVE_BUCKETS = 16 };
typedef struct serve_histogram {
    int64_t buckets[SERVE_BUCKETS + 1], count; /* the last one: above all bounds */
    double sum;
} serve_histogram;
enum { SERVE_ENDS = 9, SERVE_CODES = 16 };
typedef struct serve_metrics {                 /* under the server's lock */
    int64_t requests[SERVE_ENDS][SERVE_CODES]; /* by endpoint and status, see serve_metrics.c */
    int64_t prompt_tokens, kept_tokens, tokens, drafted, accepted, gone;
    serve_histogram request_seconds, first_token_seconds, token_seconds, queue_seconds;
} serve_metrics;
void serve_metrics_request(serve_server *server, int end, int status, double seconds);
void serve_metrics_observe(serve_histogram *histogram, double seconds);
void serve_metrics_text(serve_server *server, serve_text *out);
void serve_metrics_poll(serve_server *server, double now); /* now and then: energy counters go round */

/* ---- jobs ---- */

enum { SERVE_WAITING, SERVE_RUNNING, SERVE_ENDED };

typedef struct serve_read { /* a prompt as tokens */
    int32_t *ids;           /* [count] */
    int64_t count;
    int64_t kept;     /* of them, found standing in a session when its first answer began */
    float *chosen;    /* [count - 1] log-probability of each but the first; NULL = not asked for */
    int64_t width;    /* likeliest tokens beside them */
    int32_t *top_ids; /* [count - 1, width] */
    float *top_log_probs;
} serve_read;

typedef struct serve_choice { /* one answer of a job; the scheduler's alone once it is prepared */
    int64_t index, prompt;
    int state;
    serve_place *place;
    int32_t *ids; /* [count] written */
    int64_t count, cap;
    serve_text text;
    int64_t text_offset; /* characters so far, the echo of the prompt included */
    json_t *logprobs;    /* in the API's shape, all of them or those of the chunk that is being made; NULL = none */
    const char *finish;  /* NULL = going on */
    double last_token;
    float frequency_penalty;
} serve_choice;

struct serve_job { /* a request from its first line to the last byte of its answer */
    serve_server *server;
    int references, end, kind;
    /* of libmicrohttpd's thread */
    serve_text body;
    int refused, too_large, streams;
    serve_connection *client;
    /* under the server's lock */
    struct MHD_Connection *connection; /* NULL = gone */
    int fd, suspended, submitted, cancelled, placed;
    int status; /* of the answer; 0 = not known yet */
    int ended;  /* nothing will be added to out */
    int retry_seconds;
    serve_text out; /* the answer, or what of a stream has not been sent from sent on */
    size_t sent;
    serve_job *next, *before; /* in a queue, or among those that are being written */
    /* of the thread that works on it */
    serve_request request;
    serve_problem problem;
    serve_read *prompts; /* [request.prompt_count] */
    int64_t prompt_count;
    serve_choice *choices; /* [choice_count] */
    int64_t choice_count, running, left;
    int64_t max_tokens, tokens, passed; /* passed: the turn in which there was no place for it */
    distill_options *options;
    double arrived, begun, first_token, deadline;
    int64_t created;
    char id[40];
};

serve_job *serve_job_create(serve_server *server, int end, int kind);
void serve_job_release(serve_job *job);
/* Hands a job whose body has been read to the preparers; 0 after a problem in job->problem. */
int serve_job_submit(serve_job *job);
/* An answer as a whole: status and out are set, and the client's thread goes on. Takes text over. */
void serve_job_answer(serve_job *job, int status, serve_text *text);
void serve_job_fail(serve_job *job); /* with job->problem; in a stream as its last event */
void serve_job_fail_code(serve_job *job, int32_t rc, const distill_error *err);
void serve_job_begin_stream(serve_job *job);
/* Adds to a stream; last: nothing follows. */
void serve_job_stream(serve_job *job, const serve_text *text, int last);
/* Under no lock: it will not be answered, whatever it was asked; the problem says why. */
int serve_job_check(serve_job *job);

typedef struct serve_queue {
    serve_job *first, *last;
    int64_t count;
} serve_queue;
void serve_queue_add(serve_queue *queue, serve_job *job);
void serve_queue_remove(serve_queue *queue, serve_job *job);

/* ---- the server ---- */

struct serve_place { /* a session that answers one request after the other */
    distill_session *session;
    int32_t *ids; /* [count] that stand in it, [context] at most */
    int64_t count;
    serve_choice *choice;
    serve_job *job;
    int64_t used;    /* the turn in which it was taken last */
    int64_t drafted; /* tokens that the draft had proposed in it before this answer */
};

enum { SERVE_PREPARERS = 2, SERVE_PLACES = 256 };
struct serve_server {
    const char *name; /* of the model */
    char host[256];
    int port, on_loopback;
    serve_limits limits;
    serve_keys keys;
    cli_session *session;
    distill_teacher *teacher, *draft;
    distill_tokenizer *tokenizer;
    json_t *chat; /* what every conversation brings: {"chat_template"}; NULL = the model's own */
    int64_t vocab, place_count;
    double started;
    int64_t created;
    struct MHD_Daemon *daemon;
    serve_connections connections;
    pthread_mutex_t lock;
    pthread_cond_t to_prepare, to_write;
    /* under the lock */
    serve_queue preparing, prepared;
    int64_t waiting, jobs, open; /* jobs that have no place yet; all that are worked on; whose client is still there */
    int stopping, closing;       /* no new requests; no further work */
    serve_metrics metrics;
    distill_meter *meter; /* since it serves */
    double metered;       /* when that was read last */
    double mean_seconds;  /* of requests lately, for Retry-After */
    /* of the writing thread */
    serve_queue active; /* waiting for a place, or being written */
    distill_session *root;
    serve_place *places; /* [place_count] */
    int64_t turn;
    pthread_t preparers[SERVE_PREPARERS], writer;
    int threads, writes;
};

double serve_now(void);                                                                 /* seconds, monotonic */
int serve_open_socket(const char *host, int64_t port, int *out_port, int *on_loopback); /* -1 after a message */
int serve_http_start(serve_server *server, int fd);
void serve_http_stop(serve_server *server);

/* ---- routes ---- */

enum {
    SERVE_END_PAGE,
    SERVE_END_MODELS,
    SERVE_END_MODEL,
    SERVE_END_CHAT,
    SERVE_END_COMPLETIONS,
    SERVE_END_TOKENIZE,
    SERVE_END_DETOKENIZE,
    SERVE_END_HEALTH,
    SERVE_END_METRICS
};
extern const char *const serve_end_names[SERVE_ENDS];
typedef struct serve_route {
    int end, kind; /* kind 0: answered at once */
} serve_route;
/* What a request's first lines say; 0 after a problem. */
int serve_route_find(serve_server *server, struct MHD_Connection *connection, const char *url, const char *method,
                     serve_route *out, serve_problem *problem);
extern const unsigned char serve_page[]; /* share/page/serve.html */
extern const size_t serve_page_size;

/* ---- preparing ---- */

void *serve_prepare_run(void *server);
/* Sets generate.* as the request says; 0 after a problem. */
int serve_options_make(serve_job *job);
int serve_score_prompts(serve_job *job);
extern const char serve_template_hint[]; /* what to do about a model without a chat template */
/* The text of a request's messages as ids; 0 after a problem. */
int serve_read_chat(serve_job *job, serve_read *out);
int serve_encode(serve_job *job, const char *text, size_t size, int32_t flags, serve_read *out);
void serve_tokenize(serve_job *job);
void serve_detokenize(serve_job *job);
/* The bytes of a token as they stand inside a text. */
int serve_piece(const serve_server *server, int32_t id, serve_text *out);
int serve_decode(const serve_server *server, const int32_t *ids, int64_t count, serve_text *out);

/* ---- writing ---- */

void *serve_write_run(void *server);
int32_t serve_places_open(serve_server *server, distill_error *err); /* root is open already */
void serve_places_close(serve_server *server);
/* Puts a choice to a place that is free, with as much of its prompt as stands there; 0 after a problem in job->problem,
 * -1 = it has to wait. */
int serve_places_take(serve_server *server, serve_job *job, serve_choice *choice);
void serve_places_leave(serve_server *server, serve_choice *choice);
void serve_deliver(serve_job *job, serve_choice *choice, const distill_token *token);
void serve_deliver_finish(serve_job *job, serve_choice *choice); /* the reason alone, in a stream */
void serve_deliver_end(serve_job *job);                          /* all of its choices have ended */
void serve_deliver_begin(serve_job *job);

/* ---- shapes; each returns a new object or NULL where there is no memory ---- */

json_t *serve_shape_usage(const serve_job *job);
json_t *serve_shape_answer(const serve_job *job);
/* text or NULL; role: the first chunk of a chat's answer. */
json_t *serve_shape_chunk(const serve_job *job, const serve_choice *choice, json_t *text, int role);
json_t *serve_shape_models(const serve_server *server);
json_t *serve_shape_model(const serve_server *server);
void serve_shape_event(serve_text *out, json_t *value); /* data: ...; takes value over */
/* Adds a token to choice->logprobs. */
int serve_logprobs_add(serve_job *job, serve_choice *choice, const distill_token *token);
int serve_logprobs_echo(serve_job *job, serve_choice *choice);                 /* those of the prompt, in front */
json_t *serve_logprobs_prompt(const serve_job *job, const serve_read *prompt); /* vLLM's prompt_logprobs */

#endif
