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

typedef struct di_drafter { /* the smaller model's side of a family */
    di_teacher *model;      /* a reference */
    dk_model *weights;
    int64_t version;
    int64_t context;      /* tokens behind which nothing is proposed */
    int64_t tokens, most; /* proposed at a time: at first, at most */
    int32_t adaptive;
    dk_precision precision;
    double cost;     /* of a proposal over a token of the model, by the weights that are read */
    double row_cost; /* of a further row in a pass of the model over the first: measured 0.2 to 0.5, in bf16 0.03 */
    dk_arena arena;
    dk_cache *cache;
    dk_drawer drawer;
    dk_view logits; /* [places, width] */
    dk_view shaped; /* [places * most, width] what each proposal was drawn from, place after place */
    /* a pass */
    int32_t *ids;
    int64_t *offsets, *which; /* [places (+ 1)] */
    di_stream **of;           /* [places] */
    int64_t count;
} di_drafter;

typedef struct di_voices { /* session_voices.c */
    dk_host *host;
    di_choir *choir;         /* how a blend's models are joined; NULL = one model alone */
    dk_model *alone;         /* that one */
    dk_model *const *models; /* [count] */
    dk_cache **caches;       /* [count] */
    dk_view *logits;         /* [count] of a blend's models: [rows, width of each] */
    dk_view *row, *hidden;   /* [count] of a pass */
    int64_t count;
    int64_t context, ids; /* that all of them have */
    int64_t vocab;        /* ids below it are drawn */
    const int32_t *stops; /* [stop_count] */
    int64_t stop_count;
} di_voices;

typedef struct di_family {
    atomic_int guard;
    int64_t streams;   /* that are alive */
    di_teacher *model; /* a reference */
    dk_host *host;
    dk_backend *backend;
    di_voices *voices;
    int64_t version; /* of the weights that the caches were filled with */
    int64_t context; /* tokens of a text that are read */
    int64_t places, vocab;
    int32_t drops; /* session.overflow: oldest */
    dk_precision precision;
    dk_queue queue;
    dk_arena arena;
    dk_view logits, log_probs; /* [rows, width] */
    dk_view shaped;            /* the same, with a draft */
    dk_drawer drawer;          /* of the rows of a stream at a time */
    di_drafter *draft;         /* NULL = none */
    di_stream **at;            /* [places]; NULL = free */
    di_meter meter;
    double told_joules; /* of the meter's counters: shared out among streams so far */
    /* a pass: tokens of which[count] sequences, of the first `drawn` of which a token is drawn */
    int32_t *ids;                    /* [rows of a pass] */
    int64_t *offsets, *which, *last; /* [places (+ 1)]; last: rows of each that are looked at */
    di_stream **of, **active;        /* [places] */
    dk_draw *draws;                  /* [1 + proposals] */
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
    int64_t planned;               /* tokens that its keys are rotated for */
    int64_t proposals, proposed;   /* of the draft: next time; this time, which stand behind count */
    double taken;                  /* session.draft_adaptive: the share of late that were accepted, */
    int64_t known;                 /* out of so many */
    int64_t pause, waited;         /* passes without a proposal before another look: to be, so far */
    di_speaker *speaker;
    di_drawn *drawn; /* [drawn_most] tokens ready, from first on */
    int64_t drawn_most, ready, first;
    int32_t *top_ids; /* memory of drawn */
    float *top;
    distill_token token; /* handed out, with text: */
    dk_strbuf text;
    double began, last; /* when its first token was asked for; the last token was drawn, or asked for */
    /* since create */
    distill_session_stats stats; /* joules: measured ones */
    double told_cpu;             /* of stats.cpu_seconds: energy of it has been shared out */
    di_latency latency;
};

/* ---- session_voices.c ---- */
int32_t di_voices_open(di_teacher *model, di_voices **out, dk_error *err); /* without caches */
void di_voices_close(di_voices *voices);                                   /* NULL is fine */
int32_t di_voices_check(const di_voices *voices, const dk_generate_args *args, dk_error *err);
int32_t di_voices_make_caches(di_voices *voices, const dk_cache_spec *spec, dk_error *err);
void di_voices_plan(di_voices *voices, dk_arena *arena, dk_dtype real, int64_t rows);
int64_t di_voices_held(const di_voices *voices, int64_t place);
void di_voices_reset(di_voices *voices, int64_t place);
void di_voices_cut(di_voices *voices, int64_t place, int64_t tokens);
void di_voices_replan(di_voices *voices, int64_t place, int64_t tokens); /* as dk_cache_replan */
int32_t di_voices_alike(const di_voices *voices, int64_t a, int64_t b);
int32_t di_voices_share(di_voices *voices, int64_t from, int64_t to, int64_t tokens, dk_error *err);
/* All that from holds; planned 0 = nothing was. */
int32_t di_voices_share_all(di_voices *voices, int64_t from, int64_t to, int64_t planned, dk_error *err);
int32_t di_voices_read(di_voices *voices, const dk_tokens *tokens, const int64_t *which, const int64_t *last,
                       dk_error *err);
/* What they say of the rows of the family's pass that are drawn from. */
int32_t di_voices_speak(di_family *family, int64_t rows, dk_view logits, dk_view log_probs, dk_error *err);

/* ---- session_family.c ---- */
/* Takes voices over, on failure, too. */
int32_t di_family_create(di_teacher *model, di_voices *voices, di_teacher *draft, const di_options *options,
                         const di_writing *writing, di_family **out, dk_error *err);
void di_family_release(di_family *family); /* by its last stream, or before there is one */
/* What is behind the first tokens of a stream is forgotten, where there is something. */
void di_family_cut(di_family *family, int64_t place, int64_t tokens);
int32_t di_family_take_place(di_family *family, di_stream *stream, dk_error *err);
/* Weights that were written meanwhile make keys and values worthless. */
void di_family_check_version(di_family *family);

/* ---- session_stream.c ---- */
void di_stream_change(di_stream *stream); /* another answer begins: what was drawn and not handed out is forgotten */
di_stream *di_stream_new(dk_host *host, dk_error *err); /* of no family yet */
/* Section generate as s is to write; out is closed on failure, too. */
int32_t di_stream_open_writing(di_stream *s, di_teacher *model, const di_voices *voices, const di_options *options,
                               di_writing *out, dk_error *err);
void di_stream_use_writing(di_stream *s, di_options *options, const di_writing *writing); /* takes both over */
int32_t di_stream_no_room(const di_stream *stream, int64_t tokens, dk_error *err);

/* ---- session_answer.c ---- */
int32_t di_answer_begin(di_stream *stream, dk_error *err);
void di_answer_end(di_stream *stream);
void di_answer_forget(di_stream *stream);                       /* what is drawn and not handed out */
int32_t di_answer_deliver(di_stream *stream, dk_error *err);    /* the next drawn token becomes stream->token */
int32_t di_answer_make_ready(di_stream *stream, dk_error *err); /* begins one; E_END where it has ended */
void di_answer_wake(di_stream *stream);                         /* a call begins */
int32_t di_answer_room_for_top(di_stream *stream, dk_error *err);

/* ---- session_cost.c ---- */
typedef struct di_moment { /* of a call's beginning */
    double wall, cpu;
} di_moment;
di_moment di_cost_now(void);
/* Since a call began, which wrote for several: a share of its CPU time. */
void di_cost_add(di_stream *stream, di_moment since, double share);
void di_cost_pass(di_stream *stream, const dk_model *model, int64_t rows, int64_t stands); /* as dk_fresh_flops */
void di_cost_head(di_stream *stream, const dk_model *model, int64_t rows);
void di_cost_settle(di_family *family);                                 /* energy so far goes to who worked */
void di_cost_forget(di_stream *stream);                                 /* its stats are to be emptied */
void di_cost_tell(const di_stream *stream, distill_session_stats *out); /* energy and money */

/* ---- session_pass.c ---- */
/* Streams [count] that answer and have nothing ready: each gets a token, or reads a piece of its prompt. */
int32_t di_family_pass(di_family *family, di_stream *const *streams, int64_t count, dk_error *err);

/* ---- session_verify.c ---- */
/* Rows first ... first + proposed of the pass's logits, whose log_probs are there, become tokens ready. */
int32_t di_stream_verify(di_stream *stream, int64_t first, dk_error *err);

/* ---- session_draft.c ---- */
int32_t di_drafter_create(di_family *family, di_teacher *draft, const di_options *options, dk_error *err);
void di_drafter_free(di_family *family);
/* Reads with the draft what it has not, so far as there is room in a pass, and lets it propose. */
int32_t di_draft_propose(di_family *family, di_stream *const *streams, int64_t count, dk_error *err);
void di_draft_begin(di_stream *stream);                   /* how many it proposes first */
void di_draft_learn(di_stream *stream, int64_t accepted); /* of those proposed: how many it proposes next */
static inline int64_t di_draft_most(const di_family *family) { return family->draft ? family->draft->most : 0; }

/* All but the last token are read. */
static inline int64_t di_stream_held(const di_stream *s) { return di_voices_held(s->family->voices, s->place); }
static inline int32_t di_stream_writes(const di_stream *s)
{
    return s->written > 0 || di_stream_held(s) == s->count - 1;
}
/* The row behind what stands and the first i proposals. */
static inline dk_draw di_stream_draw(const di_stream *s, int64_t i)
{
    return (dk_draw){.args = &s->writing.args,
                     .written = s->written + i,
                     .ids = s->ids,
                     .prompt = s->prompt,
                     .count = s->count + i,
                     .counter = (uint64_t)(s->written + i)};
}

#endif
