/* part_reproduce.c - how to make it again: recipe, hashes, versions, and what went wrong on the way. */
#include <stdio.h>
#include <string.h>

#include "report/page/sheet.h"

/* ---- options as a recipe: YAML of maps and lists; JSON's scalars are YAML's ---- */

static void scalar(di_sheet *s, const dk_node *node)
{
    dk_strbuf json;
    dk_strbuf_init(&json, s->host);
    dk_node_write_json(node, &json);
    di_html_text(s->out, json.data ? json.data : "", json.size);
    dk_strbuf_free(&json);
}

static int32_t is_plain(const dk_node *node)
{
    if (node->type != DK_NODE_LIST && node->type != DK_NODE_MAP) return 1;
    for (size_t i = 0; i < node->size; i++)
        if (node->items[i]->type == DK_NODE_MAP || node->items[i]->type == DK_NODE_LIST) return 0;
    return node->size == 0 || node->type == DK_NODE_LIST;
}

static void indent(di_sheet *s, int32_t depth)
{
    for (int32_t i = 0; i < depth; i++) di_html(s, "  ");
}

/* first: what stands before the first key of a map is there already, behind a "- ". */
static void yaml(di_sheet *s, const dk_node *node, int32_t depth, int32_t first)
{
    for (size_t i = 0; i < node->size && depth < 12; i++) {
        const dk_node *item = node->items[i];
        if (!first || i) indent(s, depth);
        if (node->type == DK_NODE_LIST) di_html(s, "-");
        else {
            di_html_text(s->out, item->key, item->key_size);
            di_html(s, ":");
        }
        if (is_plain(item)) {
            di_html(s, " ");
            scalar(s, item);
            di_html(s, "\n");
            continue;
        }
        const int32_t inside = node->type == DK_NODE_LIST && item->type == DK_NODE_MAP;
        di_html(s, inside ? " " : "\n");
        yaml(s, item, depth + 1, inside);
    }
}

static void recipe(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *options = di_node(r->result, "options");
    if (!options || options->type != DK_NODE_MAP || !options->size) {
        di_missing(s, "The result does not hold the options.", "O resultado não contém as opções.");
        return;
    }
    dk_strbuf_printf(s->out, "<div class=\"box\"><h3><b>%s</b> %s</h3><pre>", di_say(s, "Recipe", "Receita"),
                     di_say(s, "as a file for <code>distill run</code>", "como arquivo para <code>distill run</code>"));
    yaml(s, options, 0, 0);
    di_html(s, "</pre></div>\n");
}

/* ---- facts ---- */

static void fact(di_sheet *s, const char *name, const char *value)
{
    if (!*value) return;
    dk_strbuf_printf(s->out, "<dt>%s</dt><dd>", name);
    di_html_text(s->out, value, strlen(value));
    di_html(s, "</dd>");
}

static void count(di_sheet *s, const char *name, const dk_node *map, const char *path)
{
    double value;
    char text[DI_FIGURE];
    if (!di_value(map, path, &value)) return;
    di_number_text(s, value, 0, text);
    dk_strbuf_printf(s->out, "<dt>%s</dt><dd>%s</dd>", name, text);
}

/* The teachers of a blend, by name. */
static void members(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *list = di_node(r->teacher, "manifest/members");
    for (size_t i = 0; list && list->type == DK_NODE_LIST && i < list->size && i < 50; i++) {
        const char *name = di_text(list->items[i], "name"), *path = di_text(list->items[i], "path"),
                   *hash = di_text(list->items[i], "hash");
        dk_strbuf_printf(s->out, "<dt>%s ", di_say(s, "teacher", "professor"));
        di_html_cut(s->out, name, strlen(name), 40);
        di_html(s, "</dt><dd>");
        di_html_text(s->out, path, strlen(path));
        di_html(s, *path && *hash ? "<br>" : "");
        di_html_text(s->out, hash, strlen(hash));
        di_html(s, "</dd>");
    }
}

/* Where the data is of several files. */
static void files(di_sheet *s, const char *name, const dk_node *data)
{
    const dk_node *list = di_node(data, "sources");
    if (*di_text(data, "source")) fact(s, name, di_text(data, "source"));
    else
        for (size_t i = 0; list && list->type == DK_NODE_MAP && i < list->size && i < 50; i++)
            fact(s, name, di_text(list->items[i], "path"));
}

/* Speeds and energy are of it; bits hang on its instructions, threads and CBLAS. */
static void machine(di_sheet *s, const di_sheet_run *r)
{
    const dk_node *m = di_node(r->result, "machine");
    const char *parts[] = {di_text(m, "isa"), di_text(m, "products"), di_text(m, "cblas")};
    double memory;
    char text[DI_FIGURE];
    if (!m) return;
    fact(s, di_say(s, "processor", "processador"), di_text(m, "cpu"));
    count(s, di_say(s, "cores", "núcleos"), m, "cores");
    count(s, "threads", m, "threads");
    dk_strbuf_printf(s->out, "<dt>%s</dt><dd>", di_say(s, "instructions, products", "instruções, produtos"));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i && *parts[i]) di_html(s, ", ");
        di_html_text(s->out, parts[i], strlen(parts[i]));
    }
    di_html(s, "</dd>");
    if (di_value(m, "memory_bytes", &memory)) {
        di_bytes_text(s, memory, text);
        dk_strbuf_printf(s->out, "<dt>%s</dt><dd>%s</dd>", di_say(s, "its memory", "sua memória"), text);
    }
    fact(s, di_say(s, "system", "sistema"), di_text(m, "system"));
}

/* The usual end in the page's language, any other as the run said it. */
static void reason(di_sheet *s, const di_sheet_run *r)
{
    const char *said = di_text(r->result, "reason");
    if (!strncmp(said, "all ", 4)) fact(s, di_say(s, "end", "fim"), di_say(s, said, "todos os passos foram feitos"));
    else fact(s, di_say(s, "end", "fim"), said);
}

static void facts(di_sheet *s, const di_sheet_run *r)
{
    dk_strbuf_printf(s->out, "<div class=\"box\"><h3><b>%s</b></h3><dl>",
                     di_say(s, "What it was made of", "Do que foi feito"));
    fact(s, "libdistill", di_text(r->result, "version"));
    reason(s, r);
    fact(s, di_say(s, "loss", "perda"), di_text(r->training, "loss"));
    fact(s, di_say(s, "teacher", "professor"), di_text(r->teacher, "path"));
    fact(s, di_say(s, "teacher's hash", "hash do professor"), di_text(r->teacher, "manifest/hash"));
    fact(s, di_say(s, "student", "aluno"), di_text(r->student, "path"));
    members(s, r);
    files(s, di_say(s, "training data", "dados de treino"), di_node(r->result, "data"));
    fact(s, di_say(s, "its hash", "seu hash"), di_text(r->result, "data/hash"));
    count(s, di_say(s, "its tokens", "seus tokens"), r->result, "data/tokens");
    files(s, di_say(s, "held-out data", "dados reservados"), di_node(r->result, "data/eval"));
    fact(s, di_say(s, "its hash", "seu hash"), di_text(r->result, "data/eval/hash"));
    count(s, di_say(s, "tokens scored", "tokens avaliados"), r->eval, "tokens");
    count(s, di_say(s, "texts learnt", "textos aprendidos"), r->result, "data/train");
    count(s, di_say(s, "texts held out", "textos reservados"), r->result, "data/held_out");
    count(s, di_say(s, "texts by the student", "textos do aluno"), r->training, "on_policy/texts");
    count(s, di_say(s, "their tokens", "tokens deles"), r->training, "on_policy/tokens");
    fact(s, di_say(s, "evaluated in", "avaliado em"), di_text(r->eval, "precision"));
    fact(s, di_say(s, "folder", "pasta"), r->folder);
    machine(s, r);
    di_html(s, "</dl></div>\n");
}

static void one(di_sheet *s, const di_sheet_run *r, int32_t named)
{
    if (named) {
        dk_strbuf_printf(s->out, "<details%s><summary><span class=\"key %s\"></span>", r == s->main ? " open" : "",
                         r->colour);
        di_html_cut(s->out, r->label, strlen(r->label), 60);
        di_html(s, "</summary>\n");
    }
    di_html(s, "<div class=\"grid\">\n");
    facts(s, r);
    recipe(s, r);
    di_html(s, "</div>\n");
    if (named) di_html(s, "</details>\n");
}

/* ---- what went wrong ---- */

static void begin_warning(di_sheet *s, const di_sheet_run *r, int32_t *open)
{
    if (!*open) {
        dk_strbuf_printf(s->out, "<div class=\"box warn\"><h3><b>%s</b></h3><ul>", di_say(s, "To know", "A saber"));
        *open = 1;
    }
    di_html(s, "<li>");
    if (s->count < 2) return;
    di_html_cut(s->out, r->label, strlen(r->label), 40);
    di_html(s, ": ");
}

static void texts(di_sheet *s, const di_sheet_run *r, const dk_node *list, int32_t *open)
{
    for (size_t i = 0; list && list->type == DK_NODE_LIST && i < list->size && i < 50; i++) {
        const dk_node *item = list->items[i];
        if (item->type != DK_NODE_TEXT) continue;
        begin_warning(s, r, open);
        di_html_text(s->out, item->text, item->size);
        di_html(s, "</li>");
    }
}

static void changes(di_sheet *s, const di_sheet_run *r, int32_t *open)
{
    const dk_node *list = di_node(r->result, "changes");
    double step = 0;
    char text[DI_FIGURE];
    for (size_t i = 0; list && list->type == DK_NODE_LIST && i < list->size && i < 50; i++) {
        const char *parts[] = {di_text(list->items[i], "what"), di_text(list->items[i], "from"),
                               di_text(list->items[i], "to")};
        (void)di_value(list->items[i], "step", &step);
        di_number_text(s, step, 0, text);
        begin_warning(s, r, open);
        dk_strbuf_printf(s->out, "%s %s: ", di_say(s, "changed at step", "mudou no passo"), text);
        for (int32_t p = 0; p < 3; p++) {
            di_html_cut(s->out, parts[p], strlen(parts[p]), 120);
            di_html(s, p == 0 ? ", " : p == 1 ? " &#8594; " : "</li>");
        }
    }
}

static void damaged(di_sheet *s, const di_sheet_run *r, int32_t *open)
{
    char text[DI_FIGURE];
    double line = 0;
    if (!r->damaged_lines) return;
    di_number_text(s, (double)r->damaged_lines, 0, text);
    begin_warning(s, r, open);
    dk_strbuf_printf(s->out, "metrics.jsonl: %s %s", text,
                     di_say(s, "damaged lines are not in the curves", "linhas danificadas não estão nas curvas"));
    for (size_t i = 0; r->damaged && r->damaged->type == DK_NODE_LIST && i < r->damaged->size; i++) {
        const char *why = di_text(r->damaged->items[i], "problem");
        (void)di_value(r->damaged->items[i], "line", &line);
        di_number_text(s, line, 0, text);
        dk_strbuf_printf(s->out, "; %s %s: ", di_say(s, "line", "linha"), text);
        di_html_cut(s->out, why, strlen(why), 160);
    }
    di_html(s, "</li>");
}

static void warnings(di_sheet *s)
{
    int32_t open = 0;
    for (int64_t i = 0; i < s->count; i++) {
        const di_sheet_run *r = &s->runs[i];
        texts(s, r, r->problems, &open);
        damaged(s, r, &open);
        changes(s, r, &open);
        texts(s, r, di_node(r->result, "warnings"), &open);
    }
    if (s->left_out) {
        char text[DI_FIGURE];
        di_number_text(s, (double)s->left_out, 0, text);
        begin_warning(s, &s->runs[0], &open);
        dk_strbuf_printf(s->out, "%s %s</li>", text,
                         di_say(s, "runs more than a page holds", "execuções além do que cabe"));
    }
    if (open) di_html(s, "</ul></div>\n");
}

void di_part_reproduce(di_sheet *s)
{
    di_section(s, "How to make it again", "Como refazer");
    warnings(s);
    for (int64_t i = 0; i < s->count; i++) {
        const di_sheet_run *r = &s->runs[i];
        if (s->main && r == s->main && s->count == 1) one(s, r, 0);
        else one(s, r, 1);
    }
    di_section_end(s);
}
