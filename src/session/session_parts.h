/* session_parts.h - streams and their family from inside; for the files of this folder only. */
#ifndef DI_SESSION_SESSION_PARTS_H
#define DI_SESSION_SESSION_PARTS_H

#include "meter/meter.h"
#include "model/draw.h"
#include "session/latency.h"
#include "session/session.h"
#include "teacher/writing.h"

enum {
    DI_SESSION_PIECE = 256, /* tokens of prompts that a pass reads, as dk_generate has it */
    DI_SESSION_SHARE = 16,  /* fewer tokens are read again rather than shared, as there */
    DI_SESSION_CONTEXT = 4096
};
enum { DI_FINISHED_STOP = 1, DI_FINISHED_LENGTH = 2, DI_FINISHED_BEFORE = 4, DI_FINISHED_CANCELLED = 5 };

typedef struct di_family {
    atomic_int guard;
    int64_t streams;   /* that are alive */
    di_teacher *model; /* a reference */
    dk_host *host;
    dk_backend *backend;
    dk_model *weights;
    int64_t version; /* of the weights that the cache was filled with */
    int64_t context; /* tokens of a text that are read */
    int64_t places, vocab;
    int32_t drops; /* session.overflow: oldest */
    dk_precision precision;
    dk_cache *cache;
    dk_queue queue;
    dk_arena arena;
    dk_view logits;   /* [rows, width] */
    dk_drawer drawer; /* of as many rows */
    di_stream **at;   /* [places]; NULL = free */
    di_meter meter;
    /* a pass: tokens of which[count] sequences, of the first `drawn` of which a token is drawn */
    int32_t *ids;             /* [rows of a pass] */
    int64_t *offsets, *which; /* [places (+ 1)] */
    di_stream **of;           /* [places] */
    dk_draw *draws;           /* [rows] */
    int64_t count, drawn;
} di_family;

typedef struct di_drawn { /* a token that is not handed out yet */
    int32_t id;
    int32_t from_draft;
    double log_prob;
    int64_t top_count;
    int32_t *top_ids; /* [top_most] */
    float *top;
} di_drawn;

struct di_stream {
    di_family *family;
    int64_t place;
    int32_t *ids; /* [context + 1]: what stands */
    int64_t count;
    int64_t whole;       /* of these, the first ones that were read in whole pieces from the beginning on */
    di_options *options; /* section generate */
    di_writing writing;
    distill_writer_callbacks listener; /* of the speaker */
    distill_logits_fn logits;
    distill_destroy_fn destroy;
    void *user;
    const distill_session *session; /* what logits is told */
    _Atomic int32_t cancelled;
    int64_t messages; /* of the last conversation, left out */
    int64_t turns;    /* the same in turns */
    /* the answer */
    int32_t answering, ended;
    int64_t prompt, room, written; /* tokens before it, at most, so far */
    di_speaker *speaker;
    di_drawn *drawn; /* [drawn_most] tokens ready, from first on */
    int64_t drawn_most, ready, first;
    int32_t *top_ids; /* memory of drawn */
    float *top;
    distill_token token; /* handed out, with text: */
    dk_strbuf text;
    double began, last; /* when its first token was asked for; the last token was drawn, or asked for */
    double joules;      /* of the meter when it began; -1 = none */
    /* since create */
    distill_session_stats stats;
    di_latency latency;
};

/* ---- session_family.c ---- */
int32_t di_family_create(di_teacher *model, const di_options *options, const di_writing *writing, di_family **out,
                         dk_error *err);
void di_family_release(di_family *family); /* by its last stream, or before there is one */
int32_t di_family_take_place(di_family *family, di_stream *stream, dk_error *err);
/* Weights that were written meanwhile make keys and values worthless. */
void di_family_check_version(di_family *family);

/* ---- session_stream.c ---- */
void di_stream_change(di_stream *stream); /* another answer begins: what was drawn and not handed out is forgotten */
int32_t di_stream_no_room(const di_stream *stream, int64_t tokens, dk_error *err);

/* ---- session_answer.c ---- */
int32_t di_answer_begin(di_stream *stream, dk_error *err);
void di_answer_end(di_stream *stream);
void di_answer_forget(di_stream *stream);                    /* what is drawn and not handed out */
int32_t di_answer_deliver(di_stream *stream, dk_error *err); /* the next drawn token becomes stream->token */
int32_t di_answer_room_for_top(di_stream *stream, dk_error *err);
double di_stream_joules(const di_stream *stream); /* so far, of the answer under way, too; -1 = not known */

/* ---- session_pass.c ---- */
/* Streams [count] that answer and have nothing ready: each gets a token, or reads a piece of its prompt. */
int32_t di_family_pass(di_family *family, di_stream *const *streams, int64_t count, dk_error *err);

#endif
