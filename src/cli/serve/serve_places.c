/* serve_places.c - the sessions that answers are written in. What stands in one after an answer stays there: the next
 * turn of a conversation, or another prompt that begins alike, reads only what is new. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

enum { WORTH_FORKING = 16 }; /* tokens that another place has more of */

int32_t serve_places_open(serve_server *server, distill_error *err)
{
    int32_t rc = DISTILL_OK;
    server->places = cli_memory(NULL, (size_t)server->place_count * sizeof *server->places);
    memset(server->places, 0, (size_t)server->place_count * sizeof *server->places);
    for (int64_t i = 0; !rc && i < server->place_count; i++) {
        server->places[i].ids = cli_memory(NULL, (size_t)server->limits.context * sizeof(int32_t));
        if (i) rc = distill_session_fork(server->root, &server->places[i].session, err);
        else server->places[i].session = server->root;
    }
    return rc;
}

void serve_places_close(serve_server *server)
{
    for (int64_t i = 0; server->places && i < server->place_count; i++) {
        distill_session_free(server->places[i].session);
        free(server->places[i].ids);
    }
    free(server->places);
}

/* Tokens of a prompt that stand at the beginning of a place. The last one is always read: what follows it is asked
 * for. */
static int64_t shared(const serve_place *place, const serve_read *prompt)
{
    const int64_t most = place->count < prompt->count - 1 ? place->count : prompt->count - 1;
    int64_t i = 0;
    while (i < most && place->ids[i] == prompt->ids[i]) i++;
    return i;
}

/* What suits best, of the free places or of all; of equal ones that which was used longest ago. NULL = none is free. */
static serve_place *find(serve_server *server, const serve_read *prompt, int only_free)
{
    serve_place *best = NULL;
    int64_t most = -1;
    for (int64_t i = 0; i < server->place_count; i++) {
        serve_place *place = &server->places[i];
        if (only_free && place->choice) continue;
        const int64_t count = shared(place, prompt);
        if (count > most || (count == most && place->used < best->used)) best = place, most = count;
    }
    return best;
}

/* Answers of one prompt wait for the first of them to read it. */
static int is_being_read(const serve_server *server, const serve_job *job, const serve_choice *choice)
{
    for (int64_t i = 0; i < server->place_count; i++) {
        const serve_place *place = &server->places[i];
        if (place->job == job && place->choice->prompt == choice->prompt && !place->choice->count) return 1;
    }
    return 0;
}

/* The ids that stand in a place. */
static int32_t look(const serve_server *server, serve_place *place, distill_error *err)
{
    return distill_session_ids(place->session, place->ids, server->limits.context, &place->count, err);
}

static int32_t fork_from(serve_server *server, const serve_place *from, serve_place *place, distill_error *err)
{
    distill_session_free(place->session);
    place->session = NULL;
    place->count = 0;
    int32_t rc = distill_session_fork(from->session, &place->session, err);
    return rc ? rc : look(server, place, err);
}

/* A fork that failed has left its place without a session. */
static int32_t mend(serve_server *server, serve_place *place, distill_error *err)
{
    const distill_session *other = NULL;
    for (int64_t i = 0; !other && i < server->place_count; i++) other = server->places[i].session;
    return place->session ? DISTILL_OK : distill_session_fork(other, &place->session, err);
}

/* As much of a prompt as stands somewhere, in its place. A place that is being written in has read its prompt once it
 * has a token. */
static int32_t share(serve_server *server, const serve_read *prompt, serve_place *place, distill_error *err)
{
    serve_place *from = find(server, prompt, 0);
    int32_t rc = mend(server, place, err);
    if (rc || from == place || !from->choice || !from->choice->count) return rc;
    if (shared(from, prompt) < shared(place, prompt) + WORTH_FORKING) return DISTILL_OK;
    return fork_from(server, from, place, err);
}

/* What an answer's tokens take off their own logits, each time that they were written (OpenAI's frequency_penalty). */
static int32_t on_logits(void *user, const distill_session *session, float *logits, int64_t vocab)
{
    const serve_choice *choice = user;
    (void)session;
    for (int64_t i = 0; i < choice->count; i++)
        if (choice->ids[i] < vocab) logits[choice->ids[i]] -= choice->frequency_penalty;
    return DISTILL_CB_OK;
}

static int32_t set_penalty(const serve_job *job, serve_choice *choice, serve_place *place, distill_error *err)
{
    choice->frequency_penalty = (float)job->request.frequency_penalty;
    const int asked = choice->frequency_penalty != 0;
    return distill_session_on_logits(place->session, asked ? on_logits : NULL, asked ? choice : NULL, NULL, err);
}

static int32_t begin(serve_server *server, serve_job *job, serve_choice *choice, serve_place *place, distill_error *err)
{
    serve_read *prompt = &job->prompts[choice->prompt];
    int32_t rc = share(server, prompt, place, err);
    const int64_t kept = shared(place, prompt);
    if (!rc && job->request.temperature > 0)
        rc = distill_options_set_i64(job->options, "generate.seed", job->request.seed + choice->index, err);
    if (!rc) rc = distill_session_truncate(place->session, kept, err);
    if (!rc) rc = distill_session_configure(place->session, job->options, err);
    if (!rc) rc = set_penalty(job, choice, place, err);
    if (!rc) rc = distill_session_append(place->session, prompt->ids + kept, prompt->count - kept, err);
    place->count = kept;
    if (rc) return rc;
    memcpy(place->ids, prompt->ids, (size_t)prompt->count * sizeof *place->ids);
    place->count = prompt->count;
    if (choice->index % job->request.n == 0) prompt->kept = kept;
    pthread_mutex_lock(&server->lock);
    server->metrics.prompt_tokens += prompt->count;
    server->metrics.kept_tokens += kept;
    pthread_mutex_unlock(&server->lock);
    return DISTILL_OK;
}

/* Tokens that the draft has proposed in a session since it was emptied. */
static int64_t drafted(const serve_place *place)
{
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    return distill_session_get_stats(place->session, &stats, NULL) ? 0 : stats.drafted;
}

int serve_places_take(serve_server *server, serve_job *job, serve_choice *choice)
{
    distill_error err;
    serve_place *place = find(server, &job->prompts[choice->prompt], 1);
    if (!place || is_being_read(server, job, choice)) return -1;
    int32_t rc = begin(server, job, choice, place, &err);
    if (rc) return serve_job_fail_code(job, rc, &err), 0;
    place->choice = choice;
    place->job = job;
    place->used = ++server->turn;
    place->drafted = drafted(place);
    choice->place = place;
    choice->state = SERVE_RUNNING;
    job->running++;
    return 1;
}

void serve_places_leave(serve_server *server, serve_choice *choice)
{
    serve_place *place = choice->place;
    if (!place) return;
    const int64_t more = drafted(place) - place->drafted;
    if (more > 0) {
        pthread_mutex_lock(&server->lock);
        server->metrics.drafted += more;
        pthread_mutex_unlock(&server->lock);
    }
    if (look(server, place, NULL)) place->count = 0;
    choice->place = NULL;
    place->choice = NULL;
    place->job->running--;
    place->job = NULL;
}
