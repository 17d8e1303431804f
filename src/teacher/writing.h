/* writing.h - what a model is told of a text that it writes, and how its tokens become text. */
#ifndef DI_TEACHER_WRITING_H
#define DI_TEACHER_WRITING_H

#include "teacher/teacher.h"

/* Whose weights write its text: itself, or of a cache the one that it is filled from; NULL = no model of this process
 * alone. */
di_teacher *di_teacher_writer(di_teacher *teacher);

/* ---- section generate as a model takes it: writing.c ---- */
typedef struct di_writing {
    dk_generate_args args; /* spoken by a speaker, args.user */
    dk_host *host;
    int32_t *stops, *bias_ids;
    double *bias;
    const char **texts; /* [text_count] that end an answer; the options' own */
    int64_t text_count;
} di_writing;
/* stops [stop_count]: of the model; ids below vocab are drawn. Close it on failure, too. */
int32_t di_writing_open(const di_teacher *teacher, const di_options *options, const di_reader *reader,
                        const int32_t *stops, int64_t stop_count, int64_t vocab, di_writing *out, dk_error *err);
void di_writing_close(di_writing *writing);

/* ---- text of what a model writes: speak.c ---- */
typedef struct di_speaker di_speaker;
enum { DI_STOP_TEXT = 3 }; /* finished, of distill_token_fn */
/* A text goes on where its prompt ended. writing outlives the speaker. */
int32_t di_speaker_create(di_teacher *teacher, const distill_batch *prompts, const di_writing *writing,
                          const di_reader *reader, di_speaker **out, dk_error *err);
/* One that stands where another one does, of as many texts. */
int32_t di_speaker_copy(const di_speaker *from, const di_writing *writing, const di_reader *reader, di_speaker **out,
                        dk_error *err);
void di_speaker_free(di_speaker *speaker);
/* emit, top and logits of dk_generate_args, user = the speaker */
void di_speaker_top(void *speaker, const int32_t *ids, const float *log_probs, int64_t count);
int32_t di_speaker_logits(void *speaker, int64_t sequence, const int32_t *ids, int64_t count, float *logits,
                          int64_t vocab);
int32_t di_speaker_emit(void *speaker, int64_t sequence, int32_t id, double log_prob, int32_t finished);
/* What ended a generation from inside emit, or DK_OK. */
int32_t di_speaker_status(const di_speaker *speaker, dk_error *err);

/* ---- models that write one text together, as a blend's: blend_generate.c ---- */
typedef struct di_choir di_choir;
int32_t di_teacher_is_choir(const di_teacher *teacher);
di_teacher *
di_teacher_choir(di_teacher *teacher); /* itself, or of a cache the one that it is filled from; NULL = none */
/* max_tokens: of an answer, at most. E_UNSUPPORTED by name where a member is no model of this process, and for blends
 * that go by the true token. */
int32_t di_choir_open(di_teacher *blend, int64_t max_tokens, di_choir **out, dk_error *err);
void di_choir_close(di_choir *choir); /* NULL is fine */
int64_t di_choir_models(const di_choir *choir, dk_model *const **models);
int64_t di_choir_stops(const di_choir *choir, const int32_t **stops);
int64_t di_choir_vocab(const di_choir *choir); /* ids below it are drawn */
/* What the next rows are joined for: draws of members hang on it. */
void di_choir_begin(di_choir *choir, int64_t max_tokens);
/* As dk_choir has it. */
int32_t di_choir_join(void *choir, const dk_view *logits, int64_t sequence, int64_t written, dk_view out,
                      dk_error *err);

#endif
