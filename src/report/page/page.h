/* page.h - what a run achieved as one page for a browser: HTML with its styles and drawings inside, nothing from
 * elsewhere, no scripts. It is made of JSON alone, so that it can be made again of a run's folder, or of several.
 *
 *   page.c          the whole page: which run is shown, beside which
 *   page_folder.c   a run's folder as JSON; page_history.c: its metrics.jsonl, each line checked
 *   sheet.h         what the parts share: html_*.c escape and say, svg_*.c draw, part_*.c are the page's sections
 *   paired.c        intervals over blocks of held-out text, of one run and between two
 *
 * Whatever comes from data (names, texts, tokens) is escaped by html_text.c; what is missing is said. */
#ifndef DI_REPORT_PAGE_PAGE_H
#define DI_REPORT_PAGE_PAGE_H

#include "conf/document.h"
#include "options/options.h"

typedef struct di_page_settings {
    int32_t portuguese;
    int64_t refresh; /* seconds after which a browser reads it again; 0 = never: the run is over */
} di_page_settings;

/* runs [count]: result.json, {"stages":{NAME:result.json}}, or what di_page_folder gives. */
int32_t di_page_make(dk_host *host, const dk_node *const *runs, int64_t count, const di_page_settings *settings,
                     dk_strbuf *html, dk_error *err);
/* The same as a file, written beside and renamed. */
int32_t di_page_write(dk_host *host, const dk_node *const *runs, int64_t count, const di_page_settings *settings,
                      const char *path, dk_error *err);
/* A run's folder: {"folder":...,"result":{...} or null,"metrics":[...],"damaged":[{"line":7,"problem":"..."}],
 * "problems":["..."]}. E_NOT_FOUND where there is neither result.json nor metrics.jsonl. result NULL = as the file has
 * it, else this JSON instead. */
int32_t di_page_folder(dk_host *host, const char *folder, const dk_strbuf *result, dk_strbuf *json, dk_error *err);
/* report.html in a run's folder; result as above. */
int32_t di_page_of_folder(dk_host *host, const char *path, const dk_strbuf *result, const di_page_settings *settings,
                          dk_error *err);
/* ,"metrics":[...],"damaged":[...] of the text of a metrics.jsonl, with "metrics_left_out": N lines where a long run
 * has more than a page can show. A last line without its end is being written, and is no damage. */
int32_t di_page_history(dk_host *host, const char *text, size_t size, dk_strbuf *json, dk_error *err);

#endif
