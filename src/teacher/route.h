/* route.h - a route from inside: who belongs to it, and which member teaches a sample. Private to src/teacher. */
#ifndef DI_TEACHER_ROUTE_H
#define DI_TEACHER_ROUTE_H

#include "teacher/score.h"
#include "teacher/teacher_parts.h"

typedef struct di_routed {
    di_teacher *teacher; /* a reference: who is asked */
    di_teacher *given;   /* the same without the temperature that it has as a member */
    double temperature;
    char *name;
} di_routed;
typedef struct di_route_rule {
    char *name; /* a source or tag */
    int64_t member;
} di_route_rule;
typedef struct di_route {
    di_route_by by;
    di_routed *members; /* [count], by name; where fn decides, in the order given */
    int64_t count;
    int64_t other;        /* the default; -1 = none */
    di_route_rule *rules; /* [rule_count], by name */
    int64_t rule_count;
    distill_route_fn fn;
    void *user;
    distill_destroy_fn destroy;
    atomic_int busy; /* fn runs */
    int32_t formed;  /* at the temperature that is asked for: logits of some members do not serve every one */
    distill_target form;
    distill_tensor values;
    int64_t shape[2];     /* shape[1]: width of the logits, or the most ids of a row */
    int64_t vocab, valid; /* -1 = not known */
} di_route;
int32_t di_route_session(di_session *session, dk_error *err);
void di_route_session_free(di_session *session);
int32_t di_route_begin(di_session *session, dk_error *err);
void di_route_end(di_session *session);
int32_t di_route_forward(di_session *session, dk_error *err);
void di_route_common(const di_session *session, di_common *into);
void di_route_tally(di_session *session, int64_t index, di_member_view *out);

/* ---- which member: route_choose.c ---- */
/* What is known before anything is scored. out [sequences]: the member, or -1 where nothing is asked of the sequence.
 * places [rows]: rows of the batch. E_NOT_FOUND names the source of a sample that no member teaches. */
int32_t di_route_choose(di_route *route, const distill_batch *batch, const int64_t *places, int64_t rows, int32_t *out,
                        dk_error *err);
/* The same of a sample that is not in a batch yet: *member -1 = it hangs on more than that. */
int32_t di_route_of_origin(const di_route *route, const char *source, const char *tag, int64_t *member, dk_error *err);
/* By the lowest perplexity on the prompt: what stands before the first row and its token. scorers [count]: of members.
 */
typedef struct di_prompts di_prompts;
int32_t di_prompts_create(di_route *route, dk_host *host, int64_t max_tokens, int64_t max_sequences, di_prompts **out,
                          dk_error *err);
void di_prompts_free(di_prompts *prompts); /* NULL is fine */
int32_t di_prompts_choose(di_prompts *prompts, di_scorer *const *scorers, const distill_batch *batch,
                          const int64_t *places, int64_t rows, int32_t *out, dk_error *err);
double di_prompts_flops(const di_prompts *prompts, int64_t member); /* of those that were scored last */
/* The name that a sequence is routed by in messages: "sequence 3 (source pt)". */
void di_route_name_sequence(const distill_batch *batch, int64_t sequence, char out[120]);

#endif
