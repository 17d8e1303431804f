/* serve_schedule.c - the thread that writes: whoever has a place gets a token in every pass, a prompt is read in pieces
 * beside them, and a place that becomes free goes to the request that has the fewest. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* ---- jobs come and go ---- */

static void count_placed(serve_job *job)
{
    serve_server *server = job->server;
    if (job->placed) return;
    job->placed = 1;
    pthread_mutex_lock(&server->lock);
    server->waiting--;
    serve_metrics_observe(&server->metrics.queue_seconds, serve_now() - job->arrived);
    pthread_mutex_unlock(&server->lock);
}

static void leave_all(serve_job *job)
{
    for (int64_t i = 0; i < job->choice_count; i++) serve_places_leave(job->server, &job->choices[i]);
}

static void remove_job(serve_job *job)
{
    serve_server *server = job->server;
    leave_all(job);
    count_placed(job);
    serve_queue_remove(&server->active, job);
    pthread_mutex_lock(&server->lock);
    server->jobs--;
    pthread_mutex_unlock(&server->lock);
    serve_job_release(job);
}

static void fail_job(serve_job *job)
{
    serve_job_fail(job);
    remove_job(job);
}

/* Waits until there is something to do; 0 = there will be nothing any more. */
static int take_prepared(serve_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (!server->prepared.first && !server->active.first && !(server->closing && !server->jobs))
        pthread_cond_wait(&server->to_write, &server->lock);
    serve_job *job;
    while ((job = server->prepared.first)) {
        serve_queue_remove(&server->prepared, job);
        serve_queue_add(&server->active, job);
    }
    pthread_mutex_unlock(&server->lock);
    return server->active.first != NULL;
}

static void drop_those_over(serve_server *server)
{
    for (serve_job *job = server->active.first, *next; job; job = next) {
        next = job->next;
        if (!serve_job_check(job)) fail_job(job);
    }
}

/* ---- choices ---- */

static void end_choice(serve_job *job, serve_choice *choice)
{
    serve_places_leave(job->server, choice);
    choice->state = SERVE_ENDED;
    job->left--;
}

static serve_choice *waiting_choice(const serve_job *job)
{
    for (int64_t i = 0; i < job->choice_count; i++)
        if (job->choices[i].state == SERVE_WAITING) return &job->choices[i];
    return NULL;
}

/* The job with the fewest places, of equal ones the oldest, that has not been passed over in this turn. */
static serve_job *neediest(const serve_server *server, int64_t turn)
{
    serve_job *best = NULL;
    for (serve_job *job = server->active.first; job; job = job->next)
        if (job->passed != turn && (!best || job->running < best->running) && waiting_choice(job)) best = job;
    return best;
}

/* A prompt alone was asked for. */
static void end_without_tokens(serve_job *job)
{
    for (int64_t i = 0; i < job->choice_count; i++) {
        job->choices[i].finish = "length";
        job->choices[i].state = SERVE_ENDED;
    }
    job->left = 0;
    if (job->request.stream)
        for (int64_t i = 0; i < job->choice_count; i++) serve_deliver_finish(job, &job->choices[i]);
}

static void begin_job(serve_job *job)
{
    if (job->begun > 0) return;
    job->begun = serve_now();
    serve_deliver_begin(job);
    if (!job->max_tokens && !job->problem.status) end_without_tokens(job);
}

static void start_choices(serve_server *server)
{
    const int64_t turn = ++server->turn;
    serve_job *job;
    while ((job = neediest(server, turn))) {
        begin_job(job);
        serve_choice *choice = job->problem.status ? NULL : waiting_choice(job);
        const int taken = choice ? serve_places_take(server, job, choice) : -1;
        if (taken > 0) count_placed(job);
        else job->passed = turn;
    }
}

/* Jobs that are done, or that something happened to. */
static void settle(serve_server *server)
{
    for (serve_job *job = server->active.first, *next; job; job = next) {
        next = job->next;
        if (job->problem.status) fail_job(job);
        else if (!job->left) {
            serve_deliver_end(job);
            remove_job(job);
        }
    }
}

/* ---- a pass ---- */

static void take_token(serve_place *place, const distill_token *token)
{
    serve_job *job = place->job;
    serve_choice *choice = place->choice;
    if (token->id >= 0) serve_deliver(job, choice, token);
    if (token->finished) {
        if (!choice->finish) choice->finish = "length";
        end_choice(job, choice);
    }
}

/* Something is wrong with one of them, or with all: each goes by itself, and who fails is told why. */
static void step_alone(serve_server *server)
{
    for (int64_t i = 0; i < server->place_count; i++) {
        serve_place *place = &server->places[i];
        distill_error err;
        distill_token token;
        DISTILL_INIT(&token);
        if (!place->choice || place->job->problem.status) continue;
        const int32_t rc = distill_session_next(place->session, &token, &err);
        if (!rc) take_token(place, &token);
        else if (rc == DISTILL_E_END) end_choice(place->job, place->choice);
        else {
            serve_job_fail_code(place->job, rc, &err);
            distill_session_truncate(place->session, 0, NULL);
        }
    }
}

/* One pass over the weights for all. */
static void step(serve_server *server)
{
    distill_session *sessions[SERVE_PLACES];
    distill_token outs[SERVE_PLACES];
    serve_place *of[SERVE_PLACES];
    int64_t count = 0;
    for (int64_t i = 0; i < server->place_count; i++) {
        if (!server->places[i].choice) continue;
        sessions[count] = server->places[i].session;
        DISTILL_INIT(&outs[count]);
        of[count++] = &server->places[i];
    }
    if (!count) return;
    if (distill_session_next_many(sessions, count, outs, NULL)) {
        step_alone(server);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        if (!of[i]->job->problem.status) take_token(of[i], &outs[i]);
}

void *serve_write_run(void *user)
{
    serve_server *server = user;
    while (take_prepared(server)) {
        drop_those_over(server);
        start_choices(server);
        step(server);
        settle(server);
    }
    return NULL;
}
