#include "report/page/page.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "report/page/sheet.h"

/* ---- what each run is ---- */

/* A text of at most cap - 1 bytes that ends between characters. */
static void copy_text(char *out, size_t cap, const char *text, size_t size)
{
    size_t used = 0;
    while (used < size) {
        const size_t length = dk_utf8_length((const unsigned char *)text + used, size - used),
                     taken = length ? length : 1;
        if (used + taken >= cap || !text[used]) break;
        used += taken;
    }
    memcpy(out, text, used);
    out[used] = 0;
}

/* The last folder of a path. */
static void name_by_path(di_sheet_run *r, const char *path)
{
    size_t size = strlen(path), from;
    while (size > 1 && path[size - 1] == '/') size--;
    for (from = size; from > 0 && path[from - 1] != '/'; from--) continue;
    copy_text(r->label, sizeof r->label, path + from, size - from);
}

static void name_run(const di_sheet *s, di_sheet_run *r, const dk_node *given)
{
    const char *name = di_text(r->result, "name");
    if (given && given->key) copy_text(r->label, sizeof r->label, given->key, given->key_size);
    else if (*name) copy_text(r->label, sizeof r->label, name, strlen(name));
    else if (*r->folder) name_by_path(r, r->folder);
    else name_by_path(r, di_text(r->student, "path"));
    if (!*r->label) copy_text(r->label, sizeof r->label, di_say(s, "student", "aluno"), 16);
}

/* From labels alone: all that has weight is cross_entropy. */
static int32_t learnt_from_labels(const di_sheet_run *r)
{
    const dk_node *terms = di_node(r->training, "terms");
    double weight;
    int32_t labels = 0;
    if (!terms || terms->type != DK_NODE_LIST) return 0;
    for (size_t i = 0; i < terms->size; i++) {
        if (!di_value(terms->items[i], "weight", &weight) || weight <= 0) continue;
        if (strcmp(di_text(terms->items[i], "loss"), "cross_entropy") != 0) return 0;
        labels = 1;
    }
    return labels;
}

static const dk_node *map_of(const dk_node *map, const char *path)
{
    const dk_node *node = di_node(map, path);
    return node && node->type == DK_NODE_MAP ? node : NULL;
}

static void fill_run(const di_sheet *s, di_sheet_run *r, const dk_node *root, const dk_node *given)
{
    static const char *const colours[] = {"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"};
    const int32_t folder = map_of(root, "result") || di_node(root, "folder") || di_node(root, "metrics");
    double lines;
    *r = (di_sheet_run){.result = folder ? map_of(root, "result") : root,
                        .folder = folder ? di_text(root, "folder") : ""};
    if (folder) {
        r->metrics = di_node(root, "metrics");
        r->damaged = di_node(root, "damaged");
        r->problems = di_node(root, "problems");
        if (r->metrics && r->metrics->type != DK_NODE_LIST) r->metrics = NULL;
        if (di_value(root, "damaged_lines", &lines)) r->damaged_lines = (int64_t)lines;
        if (di_value(root, "metrics_left_out", &lines)) r->left_out = (int64_t)lines;
    }
    r->teacher = map_of(r->result, "teacher");
    r->student = map_of(r->result, "student");
    r->eval = map_of(r->result, "eval");
    r->training = map_of(r->result, "training");
    r->kind = map_of(r->result, "classifier") ? DI_RUN_CLASSIFIER : r->training ? DI_RUN_MODEL : DI_RUN_NOTHING;
    if (r->kind == DI_RUN_CLASSIFIER) {
        r->eval = map_of(r->result, "classifier/held_out");
        r->student = map_of(r->result, "classifier");
    }
    r->hard_labels = learnt_from_labels(r);
    r->colour = colours[(size_t)(r - s->runs) % (sizeof colours / sizeof *colours)];
    name_run(s, r, given);
}

static void add_run(di_sheet *s, const dk_node *root, const dk_node *given)
{
    if (s->count == DI_SHEET_RUNS) s->left_out++;
    else {
        fill_run(s, &s->runs[s->count], root, given);
        s->count++;
    }
}

static void add_root(di_sheet *s, const dk_node *root)
{
    const dk_node *stages = map_of(root, "stages");
    if (!stages) add_run(s, root, NULL);
    for (size_t i = 0; stages && i < stages->size; i++) add_run(s, stages->items[i], stages->items[i]);
}

/* One run, or one beside its baseline on hard labels, is shown whole; more are compared. */
static void choose(di_sheet *s)
{
    int64_t hard = 0;
    for (int64_t i = 0; i < s->count; i++) hard += s->runs[i].hard_labels;
    if (s->count == 1) s->main = &s->runs[0];
    if (s->count != 2 || hard != 1) return;
    s->main = &s->runs[s->runs[0].hard_labels ? 1 : 0];
    s->baseline = &s->runs[s->runs[0].hard_labels ? 0 : 1];
    s->runs[s->runs[0].hard_labels ? 0 : 1].colour = "cb";
    s->runs[s->runs[0].hard_labels ? 1 : 0].colour = "c0";
}

/* ---- their teachers ---- */

static int32_t same_text(const dk_node *a, const dk_node *b, const char *path)
{
    return strcmp(di_text(a, path), di_text(b, path)) == 0;
}

static int32_t same_teacher(const di_sheet_run *a, const di_sheet_run *b)
{
    const char *key = *di_text(a->teacher, "manifest/hash") ? "manifest/hash" : "path";
    return same_text(a->teacher, b->teacher, key);
}

static void name_teacher(const di_sheet *s, di_sheet_teacher *t)
{
    const char *path = di_text(t->model, "path");
    size_t size = strlen(path), from;
    while (size > 1 && path[size - 1] == '/') size--;
    for (from = size; from > 0 && path[from - 1] != '/'; from--) continue;
    copy_text(t->label, sizeof t->label, path + from, size - from);
    if (!*t->label)
        snprintf(t->label, sizeof t->label, "%s %d", di_say(s, "teacher", "professor"), (int)(t - s->teachers) + 1);
}

/* Each once: what a teacher is worth hangs on the text, what it costs does not. */
static void collect_teachers(di_sheet *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        const di_sheet_run *r = &s->runs[i];
        int32_t known = !r->teacher, again = 0;
        for (int64_t k = 0; k < s->teacher_count && !known; k++) {
            if (!same_teacher(r, s->teachers[k].run)) continue;
            again = 1;
            known = same_text(r->result, s->teachers[k].run->result, "data/eval/hash");
        }
        if (!known) s->teachers[s->teacher_count++] = (di_sheet_teacher){.model = r->teacher, .run = r, .again = again};
    }
    for (int64_t i = 0; i < s->teacher_count; i++) name_teacher(s, &s->teachers[i]);
    if (s->teacher_count == 1)
        snprintf(s->teachers[0].label, sizeof s->teachers[0].label, "%s", di_say(s, "teacher", "professor"));
}

/* ---- the page ---- */

static void head(di_sheet *s)
{
    dk_strbuf_printf(s->out,
                     "<!DOCTYPE html>\n<html lang=\"%s\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                     "content=\"width=device-width,initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light "
                     "dark\">\n<meta name=\"generator\" content=\"libdistill\">\n",
                     di_say(s, "en", "pt-BR"));
    /* whatever a text from data should bring past the escapes is not run and loads nothing */
    di_html(
        s, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    if (s->refresh) dk_strbuf_printf(s->out, "<meta http-equiv=\"refresh\" content=\"%lld\">\n", (long long)s->refresh);
    di_html(s, "<title>");
    if (s->main) di_html_cut(s->out, s->main->label, strlen(s->main->label), 60);
    else di_html(s, di_say(s, "Comparison of runs", "Comparação de execuções"));
    di_html(s, " &#183; libdistill</title>\n");
    di_part_style(s);
    di_html(s, "</head>\n<body>\n");
}

static void foot(di_sheet *s)
{
    dk_strbuf_printf(
        s->out, "<footer>%s</footer>\n</body>\n</html>\n",
        di_say(
            s,
            "Made by libdistill from result.json and metrics.jsonl; <code>distill report DIR&#8230;</code> makes it "
            "again. KL is KL(teacher &#8741; student) at temperature 1 unless said otherwise. Speeds were measured "
            "on the machine that trained, beside whatever else it did.",
            "Feito pela libdistill a partir de result.json e metrics.jsonl; <code>distill report DIR&#8230;</code> o "
            "refaz. KL é KL(professor &#8741; aluno) à temperatura 1, salvo indicação. Velocidades foram medidas "
            "na "
            "máquina que treinou, ao lado do que mais ela fazia."));
}

static int32_t body(di_sheet *s, dk_error *err)
{
    int32_t rc;
    di_part_head(s);
    di_html(s, "<main>\n");
    if (!s->main) di_part_table(s);
    DK_TRY(di_part_curves(s, err));
    if (!s->main || (s->main->kind == DI_RUN_MODEL && !di_node(s->main->result, "live"))) DK_TRY(di_part_where(s, err));
    di_part_disagreements(s);
    di_part_sources(s);
    di_part_models(s);
    if (s->main && s->main->kind == DI_RUN_MODEL && !di_node(s->main->result, "live")) di_part_table(s);
    di_part_samples(s);
    di_part_reproduce(s);
    di_html(s, "</main>\n");
out:
    return rc;
}

int32_t di_page_make(dk_host *host, const dk_node *const *runs, int64_t count, const di_page_settings *settings,
                     dk_strbuf *html, dk_error *err)
{
    di_sheet *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &s, err));
    s->host = host;
    s->out = html;
    s->portuguese = settings->portuguese;
    s->refresh = settings->refresh;
    for (int64_t i = 0; i < count; i++) add_root(s, runs[i]);
    choose(s);
    collect_teachers(s);
    head(s);
    DK_TRY(body(s, err));
    foot(s);
    DK_TRY(dk_strbuf_check(html, err));
out:
    dk_free(host, s);
    return rc;
}

int32_t di_page_write(dk_host *host, const dk_node *const *runs, int64_t count, const di_page_settings *settings,
                      const char *path, dk_error *err)
{
    dk_strbuf html;
    int32_t rc;
    dk_strbuf_init(&html, host);
    DK_TRY(di_page_make(host, runs, count, settings, &html, err));
    DK_TRY(dk_file_replace(host, path, html.data, html.size, err));
out:
    dk_strbuf_free(&html);
    return rc;
}
