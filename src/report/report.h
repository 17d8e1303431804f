/* report.h - results that can be read: numbers by dotted name, JSON as a whole; and what a path or this library is.
 * How results come about lives in evaluate/ and run/. */
#ifndef DI_REPORT_REPORT_H
#define DI_REPORT_REPORT_H

#include "loss/loss.h"
#include "run/run.h"

typedef struct di_report di_report;
int32_t di_report_create(dk_host *host, const char *json, size_t size, di_report **out, dk_error *err); /* copied */
void di_report_free(di_report *report);
/* "student.forward_kl"; list items by number */
int32_t di_report_get_f64(const di_report *report, const char *key, double *out, dk_error *err);
const char *di_report_json(const di_report *report, size_t *size);
const dk_node *di_report_root(const di_report *report);

int32_t di_inspect_path(dk_backend *backend, const char *path, dk_strbuf *json, dk_error *err);
int32_t di_inspect_library(dk_backend *backend, di_registry *registry, dk_strbuf *json, dk_error *err);
int32_t di_limits_json(dk_host *host, dk_strbuf *json, dk_error *err); /* measures */

#endif
