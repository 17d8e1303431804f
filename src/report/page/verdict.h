/* verdict.h - what the files of the verdict share: numbers inside sentences of two languages. */
#ifndef DI_REPORT_PAGE_VERDICT_H
#define DI_REPORT_PAGE_VERDICT_H

#include "report/page/sheet.h"

enum { DI_WORDS = 10 };
typedef struct di_words {                    /* html of {0}, {1}, ... */
    char text[DI_WORDS][2 * DI_FIGURE + 24]; /* an interval, and its markup */
    const char *at[DI_WORDS];
} di_words;
void di_bold(di_words *w, int32_t i, const char *text);
void di_put_value(const di_sheet *s, di_words *w, int32_t i, double value);
void di_put_share(const di_sheet *s, di_words *w, int32_t i, double share);
void di_put_interval(const di_sheet *s, di_words *w, int32_t i, double mean, double half);
void di_put_range(const di_sheet *s, di_words *w, int32_t i, double low, double high); /* of shares */
void di_main_sentence(di_sheet *s, const char *english, const char *portuguese, const di_words *w);
void di_note(di_sheet *s, const char *english, const char *portuguese, const di_words *w);
/* ---- verdict_kinds.c: of what is no language model on text; 0 = it was not measured ---- */
int32_t di_verdict_pairs(di_sheet *s, const di_sheet_run *r);
int32_t di_verdict_classes(di_sheet *s, const di_sheet_run *r);
void di_verdict_several(di_sheet *s);

#endif
