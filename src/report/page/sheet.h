/* sheet.h - what the parts of a page share; for the files of this folder only. */
#ifndef DI_REPORT_PAGE_SHEET_H
#define DI_REPORT_PAGE_SHEET_H

#include "report/page/page.h"

enum { DI_SHEET_RUNS = 12, DI_LABEL = 96, DI_FIGURE = 48 };
typedef enum { DI_RUN_NOTHING, DI_RUN_MODEL, DI_RUN_CLASSIFIER } di_run_kind;
typedef struct di_sheet_run {
    const dk_node *result, *metrics, *damaged, *problems; /* NULL = not there */
    const dk_node *teacher, *student, *eval, *training;   /* of the result */
    int64_t damaged_lines, left_out;
    const char *folder;   /* "" = not known */
    char label[DI_LABEL]; /* plain text */
    di_run_kind kind;
    int32_t hard_labels; /* learnt from no teacher */
    const char *colour;  /* class of its lines */
} di_sheet_run;
typedef struct di_sheet_teacher {
    const dk_node *model;
    const di_sheet_run *run; /* the first one that has it */
    char label[DI_LABEL];
    int32_t again; /* the same model stands before it, measured on other text */
} di_sheet_teacher;
typedef struct di_sheet {
    dk_host *host;
    dk_strbuf *out;
    int32_t portuguese;
    int64_t refresh, count;
    di_sheet_run runs[DI_SHEET_RUNS];
    di_sheet_teacher teachers[DI_SHEET_RUNS]; /* of all runs, each once */
    int64_t teacher_count;
    int64_t left_out;                    /* runs beyond them */
    const di_sheet_run *main, *baseline; /* baseline NULL = none; main NULL = several runs are compared */
} di_sheet;

/* ---- html_text.c: out, escaped ---- */
void di_html(di_sheet *s, const char *html);                                    /* as it is */
void di_html_text(dk_strbuf *out, const char *text, size_t size);               /* from data */
void di_html_cut(dk_strbuf *out, const char *text, size_t size, size_t most);   /* at most so many characters */
void di_html_token(dk_strbuf *out, const char *text, size_t size, size_t most); /* with spaces and line ends seen */
size_t di_html_width(const char *text, size_t size);                            /* characters */
/* ---- html_say.c: words and numbers of a language ---- */
const char *di_say(const di_sheet *s, const char *english, const char *portuguese);
/* {0}, {1}, ... stand for html. */
void di_fill(di_sheet *s, const char *english, const char *portuguese, const char *const *html);
void di_number_text(const di_sheet *s, double value, int32_t decimals, char out[DI_FIGURE]);
void di_short_number(const di_sheet *s, double value, char out[DI_FIGURE]);              /* three digits that count */
void di_interval_text(const di_sheet *s, double mean, double half, char out[DI_FIGURE]); /* 0.148 +- 0.0046 */
void di_large_number(const di_sheet *s, double value, char out[DI_FIGURE]);              /* 5.83 M */
void di_bytes_text(const di_sheet *s, double value, char out[DI_FIGURE]);                /* 23.3 MB */
void di_percent_text(const di_sheet *s, double share, char out[DI_FIGURE]);              /* 51.8 % */
void di_seconds_text(const di_sheet *s, double seconds, char out[DI_FIGURE]);            /* 1 min 12 s */
typedef void (*di_text_fn)(const di_sheet *s, double value, char out[DI_FIGURE]);
/* ---- html_units.c: what a model costs ---- */
void di_rate_text(const di_sheet *s, double value, char out[DI_FIGURE]);           /* 51.8 /s */
void di_milliseconds_text(const di_sheet *s, double seconds, char out[DI_FIGURE]); /* 1.19 ms */
void di_cpu_text(const di_sheet *s, double seconds, char out[DI_FIGURE]);          /* 0.518 s */
void di_joules_text(const di_sheet *s, double value, char out[DI_FIGURE]);         /* 51.8 kJ */
void di_euros_text(const di_sheet *s, double value, char out[DI_FIGURE]);          /* 0.00012 EUR */
void di_dollars_text(const di_sheet *s, double value, char out[DI_FIGURE]);
void di_times_text(const di_sheet *s, double value, char out[DI_FIGURE]); /* 1.83 x */
/* ---- nodes.c: "student/perplexity" below a map ---- */
const dk_node *di_node(const dk_node *map, const char *path);
int32_t di_value(const dk_node *map, const char *path, double *out); /* 1 = a finite number is there */
const char *di_text(const dk_node *map, const char *path);           /* "" = no text there */
/* ---- paired.c ---- */
typedef struct di_interval {
    double mean, half; /* 95 %: mean - half to mean + half, per token */
    int64_t blocks;
} di_interval;
/* of a[key] over tokens, less b[other] over the same; b NULL = 0. 0 = it cannot be told. */
int32_t di_paired(const dk_node *a, const char *key, const dk_node *b, const char *other, di_interval *out);
int32_t di_same_text(const di_sheet_run *a, const di_sheet_run *b); /* held out; older results do not say: 1 */
/* As di_paired, of two runs: 0 where they were measured on different texts. */
int32_t di_paired_runs(const di_sheet_run *a, const char *key, const di_sheet_run *b, const char *other,
                       di_interval *out);
/* ---- svg_curves.c ---- */
enum { DI_CURVES = 16, DI_POINTS = 400 };
typedef struct di_curve {
    char label[DI_LABEL];
    const char *colour;
    int32_t dots, level; /* level: one value all along */
    int64_t count, seen; /* points; those that came, of which each may be a mean of several */
    double x[DI_POINTS], y[DI_POINTS];
} di_curve;
typedef struct di_chart {
    const char *title, *about; /* html */
    const char *x_title;
    int32_t y_log, y_zero;
    const char *const *names; /* [categories] along x instead of numbers; NULL = numbers */
    const double *shares;     /* [categories] of tokens, drawn behind; NULL = none */
    int64_t categories, count;
    di_curve curves[DI_CURVES];
} di_chart;
di_curve *di_chart_curve(di_chart *chart, const char *label, const char *colour); /* NULL = no more room */
void di_curve_add(di_curve *curve, double x, double y);                           /* what is not finite is left out */
void di_chart_draw(di_sheet *s, const di_chart *chart);
/* ---- svg_bars.c ---- */
typedef struct di_bar {
    const char *label, *colour;
    double value;
    char text[DI_FIGURE]; /* the value as it is to be read */
    int32_t below;        /* of the one above, whose name it has */
} di_bar;
void di_bars_draw(di_sheet *s, const char *title, const char *about, const di_bar *bars, int64_t count);
/* Two rows of probabilities of the same tokens, teacher to the left. */
void di_mirror_draw(di_sheet *s, const dk_node *tokens, int32_t label);
typedef struct di_mark { /* value with its interval; half < 0 = none */
    const char *label, *colour;
    double value, half;
} di_mark;
void di_marks_draw(di_sheet *s, const char *title, const char *about, const di_mark *marks, int64_t count);
/* ---- svg_axes.c ---- */
int64_t di_ticks(double low, double high, int64_t most, double *ticks, int32_t *decimals); /* [most + 2] */
void di_svg_number(dk_strbuf *out, double value);                                          /* two decimals */
/* ---- part_*.c: the sections, top to bottom ---- */
void di_part_style(di_sheet *s);
void di_part_head(di_sheet *s);
void di_part_verdict(di_sheet *s);
int32_t di_part_curves(di_sheet *s, dk_error *err);
int32_t di_part_where(di_sheet *s, dk_error *err);
void di_part_disagreements(di_sheet *s);
void di_part_sources(di_sheet *s);
void di_part_models(di_sheet *s);
void di_part_samples(di_sheet *s);
void di_part_reproduce(di_sheet *s);
void di_part_table(di_sheet *s); /* all figures: teacher beside student, or several runs beside each other */
void di_section(di_sheet *s, const char *english, const char *portuguese);
void di_section_end(di_sheet *s);
void di_missing(di_sheet *s, const char *english, const char *portuguese); /* a paragraph that says so */

#endif
