/* session.h - a model that answers: what stands in it, its keys and values, and an answer that comes token by token.
 *
 * A stream is one text. Streams of a family have one model, one cache and one lock: what begins alike lies in the same
 * pages, and one pass over the weights can write a token of each. What a stream writes equals, bit for bit, what
 * distill_teacher_generate writes behind the same ids with the same options, whatever stood in it before, was kept, cut
 * off or forked, and whatever its neighbours do. Prompts are read when their first token is asked for, not before.
 *
 *   session_family.c  what streams of a family share        session_stream.c  one text: its ids, what may be done to it
 *   session_answer.c  an answer's beginning, tokens, end    session_pass.c    one pass: who writes, who reads
 *   session_voices.c  its models, one or a blend's          session_many.c    several streams in one pass
 *   session_draft.c   what a smaller model proposes         session_verify.c  which of it the model writes
 *   session_chat.c    conversations                         session_fork.c    a stream from another one
 *   session_cost.c    time, work, energy, money         latency.c         percentiles in little memory
 *
 * How tokens are drawn is lib/model's business (draw.h), how they become text teacher/'s (writing.h). */
#ifndef DI_SESSION_SESSION_H
#define DI_SESSION_SESSION_H

#include <stdatomic.h>

#include "teacher/teacher.h"

typedef struct di_stream di_stream;

/* Sections: generate, session, cost. draft NULL = none. */
int32_t di_stream_create(di_teacher *model, di_teacher *draft, const di_options *options, di_stream **out,
                         dk_error *err);
/* Another stream of the family that stands where this one does, in the middle of an answer, too. */
int32_t di_stream_fork(const di_stream *from, di_stream **out, dk_error *err);
void di_stream_free(di_stream *stream); /* NULL is fine */
/* 1 while a call is inside one of the family; whoever sets it clears it. */
atomic_int *di_stream_guard(const di_stream *stream);

/* ---- what stands in it; what changes it begins another answer ---- */
int32_t di_stream_append(di_stream *stream, const int32_t *ids, int64_t count, dk_error *err);
int32_t di_stream_append_text(di_stream *stream, const char *text, size_t size, uint32_t flags, dk_error *err);
int32_t di_stream_chat(di_stream *stream, const char *json, int32_t answer, int32_t open_last, dk_error *err);
int32_t di_stream_truncate(di_stream *stream, int64_t tokens, dk_error *err);
const int32_t *di_stream_ids(const di_stream *stream, int64_t *count); /* borrowed until the next call */

/* ---- answers ---- */
int32_t di_stream_configure(di_stream *stream, const di_options *options, dk_error *err);
/* session: what fn is told; destroy runs once, also where this fails. fn NULL = none. */
int32_t di_stream_set_logits(di_stream *stream, distill_logits_fn fn, void *user, distill_destroy_fn destroy,
                             const distill_session *session, dk_error *err);
/* A token, borrowed until the next call; E_END after an answer's last one. */
int32_t di_stream_next(di_stream *stream, const distill_token **out, dk_error *err);
/* One pass for all of them; outs[count] as distill_session_next_many has them. */
int32_t di_stream_next_many(di_stream *const *streams, int64_t count, const distill_token **outs, dk_error *err);
int64_t di_stream_top_count(const di_stream *stream);       /* generate.top_logprobs, as configured */
int64_t di_stream_drafted(const di_stream *stream);         /* proposals so far, as stats have them */
void di_stream_cancel(const di_stream *stream, int32_t on); /* any thread, signal handlers */
void di_stream_stats(const di_stream *stream, distill_session_stats *out);

#endif
