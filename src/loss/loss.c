#include <string.h>

#include "loss/kernels/pair_point.h"
#include "loss/loss_parts.h"

/* ---- making one ---- */

static int32_t add_term(di_loss *loss, di_registry *registry, const char *name, const di_options *options,
                        int64_t index, dk_error *err)
{
    di_term *term = &loss->all[loss->all_count];
    int32_t rc = di_registry_get(registry, name, &term->entry, err);
    if (rc) return rc;
    loss->all_count++;
    term->item = index;
    return di_term_read(term, options, index, err);
}

/* Numbers, then those that are fixed; NULL between and behind them. */
static const char *option_of(const di_builtin *builtin, int k)
{
    return k < DI_LOSS_OPTIONS ? builtin->options[k] : builtin->fixed[k - DI_LOSS_OPTIONS];
}

static int32_t reads(const char *name, const char *key)
{
    for (int64_t i = 0; di_builtin_at(i); i++) {
        const di_builtin *builtin = di_builtin_at(i);
        for (int k = 0; !strcmp(builtin->name, name) && k < 2 * DI_LOSS_OPTIONS; k++) {
            const char *own = option_of(builtin, k);
            if (own && !strcmp(own, key)) return 1;
        }
    }
    return 0;
}

/* Options of built-in losses that neither of these would read; other may be NULL. */
static int32_t check_foreign(const char *name, const char *other, const di_options *options, int64_t index,
                             dk_error *err)
{
    for (int64_t i = 0; di_builtin_at(i); i++)
        for (int k = 0; k < 2 * DI_LOSS_OPTIONS; k++) {
            const char *key = option_of(di_builtin_at(i), k);
            const int32_t given = key && di_options_at_is_set(options, "loss", index, key);
            if (given && !reads(name, key) && !(other && reads(other, key)))
                return dk_fail(err, DK_E_OPTION, "loss.%s is an option of %s, and the loss is %s; leave it out", key,
                               di_builtin_at(i)->name, name);
        }
    return DK_OK;
}

/* Numbers of an item that its loss, the last one read, has no use for. A recipe that is turned to labels alone, to be
 * compared with, keeps those of its teacher's loss: that is said, and no mistake. */
static int32_t check_heat(const di_loss *loss, dk_error *err)
{
    const di_term *term = &loss->all[loss->all_count - 1];
    const di_builtin *builtin = term->entry->builtin;
    const int32_t heated = di_term_is_heated(term);
    if (!builtin || !builtin->plain || (!heated && term->t_squared != 1)) return DK_OK;
    if (!builtin->targets && !builtin->feature && !builtin->pairs) {
        dk_log(loss->host, DK_LOG_WARN, "loss", "loss.%s is not used: %s is always at temperature 1",
               heated ? "temperature" : "t_squared", builtin->name);
        return DK_OK;
    }
    return dk_fail(err, DK_E_OPTION, "loss.%s is not used by %s: it %s; leave it out",
                   heated ? "temperature" : "t_squared", builtin->name,
                   builtin->feature ? "compares what is inside the two models, which has no temperature"
                   : builtin->pairs ? "compares probabilities of whole answers, at temperature 1; dpo.beta is its scale"
                                    : "knows no temperature");
}

/* A loss by name takes the parameters of the term of that type, else those of a single loss, else the defaults. */
static int32_t by_name(di_loss *loss, di_registry *registry, const char *name, const di_options *options, dk_error *err)
{
    const int32_t single = !di_options_is_list(options, "loss");
    int64_t index = single ? 0 : -1;
    int32_t rc;
    for (int64_t i = 0; !single && i < di_options_list_size(options, "loss"); i++)
        if (!strcmp(di_options_at_text(options, "loss", i, "type"), name)) index = i;
    DK_TRY(add_term(loss, registry, name, index < 0 ? NULL : options, index < 0 ? 0 : index, err));
    if (index >= 0) DK_TRY(check_foreign(name, NULL, options, index, err));
    DK_TRY(check_heat(loss, err));
    di_term_weigh(&loss->all[0], (di_number){1, {0, 0, DI_CONSTANT}});
    loss->all[0].on = DI_OF_ALL;
out:
    return rc;
}

/* A single loss and what hard_label_weight makes of it, or a list of terms. */
static int32_t by_options(di_loss *loss, di_registry *registry, const di_options *options, dk_error *err)
{
    const int32_t single = !di_options_is_list(options, "loss");
    const int32_t has_hard = di_options_differs(options, "loss.hard_label_weight");
    const int64_t count = single ? 1 : di_options_list_size(options, "loss");
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        const char *name = di_options_at_text(options, "loss", i, "type");
        if (single) DK_TRY(add_term(loss, registry, "cross_entropy", options, i, err));
        DK_TRY(add_term(loss, registry, name, options, i, err));
        DK_TRY(check_foreign(name, single && has_hard ? "cross_entropy" : NULL, options, i, err));
        DK_TRY(check_heat(loss, err));
    }
out:
    return rc;
}

/* hard_label_weight is the share of the first of two terms. */
static void weigh(di_loss *loss, const di_options *options)
{
    di_number hard = {di_options_f64(options, "loss.hard_label_weight"),
                      di_options_course(options, "loss.hard_label_weight")};
    if (di_options_is_list(options, "loss")) return;
    di_term_weigh(&loss->all[0], hard);
    hard.from = 1 - hard.from;
    hard.course.to = 1 - hard.course.to;
    di_term_weigh(&loss->all[1], hard);
}

static int32_t name_terms(di_loss *loss, dk_error *err)
{
    dk_strbuf text;
    int32_t rc;
    dk_strbuf_init(&text, loss->host);
    DK_TRY(dk_new(loss->host, loss->count, &loss->names, err));
    for (int64_t i = 0; i < 2 * loss->count; i++) {
        dk_strbuf_clear(&text);
        di_term_describe(&loss->terms[i / 2], 0, (int32_t)(i % 2), &text);
        DK_TRY(dk_strbuf_check(&text, err));
        if (!(loss->names[i / 2][i % 2] = dk_strdup(loss->host, text.data))) {
            rc = dk_fail_nomem(err, text.size);
            goto out;
        }
    }
out:
    dk_strbuf_free(&text);
    return rc;
}

/* Two of them would have two references, and two rewards. */
static int32_t check_pair_terms(const di_loss *loss, dk_error *err)
{
    int64_t count = 0;
    for (int64_t i = 0; i < loss->all_count; i++) {
        if (!di_entry_is_pair(loss->all[i].entry) || ++count < 2) continue;
        return dk_fail(err, DK_E_OPTION, "loss.%lld: one loss of a list compares pairs, and %s is the second one",
                       (long long)loss->all[i].item, loss->all[i].entry->name);
    }
    return DK_OK;
}

/* Terms with weight 0 are not evaluated: they would only cost. */
static int32_t choose_terms(di_loss *loss, dk_error *err)
{
    loss->count = 0;
    for (int64_t i = 0; i < loss->all_count; i++) {
        const di_builtin *builtin = di_entry_builtin(loss->all[i].entry);
        if (!di_term_counts(&loss->all[i])) continue;
        loss->terms[loss->count++] = loss->all[i];
        loss->precise |= builtin && builtin->precise;
    }
    return loss->count ? name_terms(loss, err)
                       : dk_fail(err, DK_E_OPTION, "loss: every term has weight 0; give one a weight above 0");
}

static int32_t make(dk_host *host, int64_t capacity, di_loss **out, dk_error *err)
{
    di_loss *loss = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &loss, err));
    atomic_init(&loss->references, 1);
    loss->host = dk_host_retain(host);
    *out = loss;
    DK_TRY(dk_new(host, capacity, &loss->all, err));
    DK_TRY(dk_new(host, capacity, &loss->terms, err));
out:
    return rc;
}

/* Options that nothing would read: they are refused, or where they may be read later, named. */
static int32_t check_read(const di_loss *loss, double hard, const di_options *options, dk_error *err)
{
    const int32_t stays = di_options_course(options, "loss.hard_label_weight").kind == DI_CONSTANT;
    int32_t rc = DK_OK;
    if (hard == 1 && stays && !di_options_is_list(options, "loss") &&
        (di_options_differs(options, "loss.temperature") || di_options_differs(options, "loss.t_squared")))
        dk_log(loss->host, DK_LOG_WARN, "loss",
               "loss.temperature and loss.t_squared are not used: with loss.hard_label_weight 1 no loss looks at the "
               "teacher");
    if (!di_options_is_list(options, "loss"))
        DK_TRY(di_options_refuse(options, "loss.weight", "is of a list of losses: a single one counts fully", err));
out:
    return rc;
}

int32_t di_loss_create(di_registry *registry, const char *name, const di_options *options, di_loss **out, dk_error *err)
{
    di_loss *loss = NULL;
    int32_t rc;
    DK_TRY(make(di_registry_host(registry), di_options_list_size(options, "loss") + 2, &loss, err));
    if (name) DK_TRY(by_name(loss, registry, name, options, err));
    else DK_TRY(by_options(loss, registry, options, err));
    if (!name) weigh(loss, options);
    DK_TRY(check_pair_terms(loss, err));
    DK_TRY(choose_terms(loss, err));
    DK_TRY(di_preset_check(loss, err));
    DK_TRY(check_read(loss, name ? -1 : di_options_f64(options, "loss.hard_label_weight"), options, err));
    *out = loss;
    return DK_OK;
out:
    di_loss_release(loss);
    return rc;
}

int32_t di_loss_reweighed(const di_loss *loss, const di_options *options, di_loss **out, dk_error *err)
{
    const int32_t single = !di_options_is_list(options, "loss");
    di_loss *other = NULL;
    int32_t rc;
    DK_TRY(make(loss->host, loss->all_count, &other, err));
    for (int64_t i = 0; i < loss->all_count; i++) {
        other->all[i].entry = loss->all[i].entry;
        atomic_fetch_add(&other->all[i].entry->references, 1);
        other->all_count++;
        other->all[i].item = loss->all[i].item;
        DK_TRY(di_term_read(&other->all[i], options, single ? 0 : i, err));
        if (i || !single) DK_TRY(check_heat(other, err)); /* what hard_label_weight adds shares the item */
    }
    weigh(other, options);
    DK_TRY(choose_terms(other, err));
    *out = other;
    return DK_OK;
out:
    di_loss_release(other);
    return rc;
}

di_loss *di_loss_retain(di_loss *loss)
{
    atomic_fetch_add(&loss->references, 1);
    return loss;
}

void di_loss_release(di_loss *loss)
{
    dk_host *host;
    if (!loss || atomic_fetch_sub(&loss->references, 1) != 1) return;
    host = loss->host;
    for (int64_t i = 0; i < loss->all_count; i++) di_entry_release(loss->all[i].entry);
    for (int64_t i = 0; loss->names && i < 2 * loss->count; i++) dk_free(host, loss->names[i / 2][i % 2]);
    dk_free(host, loss->names);
    dk_free(host, loss->all);
    dk_free(host, loss->terms);
    dk_free(host, loss);
    dk_host_release(host);
}

/* ---- what it wants ---- */

static int32_t any_entry(const di_loss *loss, int32_t (*is)(const di_entry *entry))
{
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback)
            if (is(entry)) return 1;
    return 0;
}

static int32_t takes_teacher(const di_entry *entry) { return entry->table.targets != 0; }

static int32_t takes_labels(const di_entry *entry) { return entry->builtin && entry->builtin->needs_labels; }

static int32_t takes_sequences(const di_entry *entry)
{
    return (entry->table.flags & DISTILL_LOSS_WHOLE_SEQUENCES) != 0;
}

static int32_t is_serial(const di_entry *entry) { return !(entry->table.flags & DISTILL_LOSS_MT); }

static int32_t takes_rows(const di_entry *entry) { return !di_entry_is_feature(entry); }

int32_t di_loss_pair_term(const di_loss *loss, int64_t *term, int64_t *item)
{
    for (int64_t i = 0; i < loss->count; i++) {
        if (!di_entry_is_pair(loss->terms[i].entry)) continue;
        *term = i;
        *item = loss->terms[i].item;
        return 1;
    }
    return 0;
}

int32_t di_loss_teacher_labels(const di_loss *loss)
{
    int64_t term, item;
    return di_loss_pair_term(loss, &term, &item) && loss->terms[term].teacher_labels;
}

double di_loss_pair_beta(const di_loss *loss, int64_t step)
{
    int64_t term, item;
    if (!di_loss_pair_term(loss, &term, &item)) return 0;
    return di_term_at(&loss->terms[term], step).options[DI_PAIR_BETA];
}

int32_t di_loss_compares_rows(const di_loss *loss) { return any_entry(loss, takes_rows); }

int32_t di_loss_reads_teacher(const di_loss *loss) { return any_entry(loss, takes_teacher); }

static int32_t measures_teacher(const di_entry *entry) { return entry->table.sums && takes_teacher(entry); }

int32_t di_loss_measures_teacher(const di_loss *loss) { return any_entry(loss, measures_teacher); }

int64_t di_loss_sum_count(const di_loss *loss)
{
    int64_t count = 0;
    for (int64_t i = 0; i < loss->count; i++) count += loss->terms[i].entry->table.sums;
    return count;
}

int32_t di_loss_term_is_of(const di_loss *loss, int64_t term, int32_t of)
{
    return !of || (loss->terms[term].on & of) != 0;
}

int32_t di_loss_is_of(const di_loss *loss, int32_t of)
{
    for (int64_t i = 0; i < loss->count; i++)
        if (di_loss_term_is_of(loss, i, of)) return 1;
    return 0;
}

const char *di_loss_apart(const di_loss *loss)
{
    for (int64_t i = 0; i < loss->count; i++)
        if (loss->terms[i].on != DI_OF_ALL) return loss->terms[i].entry->name;
    return NULL;
}

int32_t di_loss_refuse_apart(const di_loss *loss, dk_error *err)
{
    const char *name = di_loss_apart(loss);
    if (!name) return DK_OK;
    return dk_fail(
        err, DK_E_OPTION,
        "loss.on: %s is of some text alone, and whose a text is a trainer knows and nobody else: leave it out", name);
}

const char *di_loss_imitates_labels(const di_loss *loss, int32_t of)
{
    for (int64_t i = 0; i < loss->count; i++) {
        const di_entry *entry = loss->terms[i].entry;
        if (entry->builtin && takes_labels(entry) && !takes_teacher(entry) && di_loss_term_is_of(loss, i, of))
            return entry->name;
    }
    return NULL;
}

int32_t di_loss_needs_teacher(const di_loss *loss)
{
    return di_loss_reads_teacher(loss) || any_entry(loss, di_entry_is_feature);
}

int32_t di_loss_feature(const di_loss *loss, int64_t index, di_feature_term *out)
{
    for (int64_t number = 0, term = 0; number < loss->all_count; number++) {
        if (!di_term_counts(&loss->all[number])) continue;
        if (di_entry_is_feature(loss->all[number].entry) && index-- == 0) {
            *out = (di_feature_term){loss->all[number].entry->builtin, number, term, loss->all[number].item};
            return 1;
        }
        term++;
    }
    return 0;
}

double di_loss_weight(const di_loss *loss, int64_t term, int64_t step)
{
    return di_term_at(&loss->terms[term], step).weight;
}

int32_t di_loss_whole_sequences(const di_loss *loss) { return any_entry(loss, takes_sequences); }

static int32_t refuses_labels(const di_entry *entry) { return !entry->builtin || !entry->builtin->skips_labels; }

int32_t di_loss_skips_labels(const di_loss *loss)
{
    int32_t skips = 0;
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback) {
            if (refuses_labels(entry) && (!entry->builtin || takes_labels(entry))) return 0;
            skips |= !refuses_labels(entry);
        }
    return skips;
}

int32_t di_loss_serial(const di_loss *loss) { return any_entry(loss, is_serial) || any_entry(loss, takes_sequences); }

int64_t di_loss_temperatures(const di_loss *loss, int64_t step, double out[DI_TEMPERATURES])
{
    int64_t count = 0;
    for (int64_t i = 0; i < loss->count; i++) {
        const di_term term = di_term_at(&loss->terms[i], step);
        for (const di_entry *entry = term.entry; entry; entry = entry->fallback) {
            const double temperature = di_term_temperature(&term, entry);
            int64_t at = 0;
            if (!takes_teacher(entry)) continue;
            while (at < count && at < DI_TEMPERATURES && out[at] != temperature) at++;
            if (at < count) continue;
            if (count < DI_TEMPERATURES) out[count] = temperature;
            count++;
        }
    }
    return count;
}

/* The same heat as a teacher's term before it. */
static int32_t is_repeated(const di_loss *loss, int64_t index, const di_entry *entry)
{
    for (int64_t i = 0; i <= index; i++)
        for (const di_entry *other = loss->terms[i].entry; other && (i < index || other != entry);
             other = other->fallback)
            if (takes_teacher(other) && !di_term_heat_differs(&loss->terms[i], other, &loss->terms[index], entry))
                return 1;
    return 0;
}

int64_t di_loss_levels(const di_loss *loss)
{
    int64_t count = 0;
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback)
            count += takes_teacher(entry) && !is_repeated(loss, i, entry);
    return count < DI_TEMPERATURES ? count : DI_TEMPERATURES;
}

static int32_t refuse_kind(const di_loss *loss, const di_entry *entry, int32_t kind, dk_error *err)
{
    const char *why = entry->builtin ? di_builtin_refusal(entry->builtin, kind) : NULL;
    dk_strbuf names;
    int32_t rc;
    dk_strbuf_init(&names, loss->host);
    di_kind_names(entry->table.targets, &names);
    DK_TRY(dk_strbuf_check(&names, err));
    rc = dk_fail(err, DK_E_UNSUPPORTED, "loss %s does not take a teacher that gives %s%s%s; it takes %s", entry->name,
                 di_kind_name(kind), why ? ": " : "", why ? why : "", names.data);
out:
    dk_strbuf_free(&names);
    return rc;
}

static int32_t check_entry(const di_loss *loss, const di_entry *entry, int32_t kind, int32_t has_labels, dk_error *err)
{
    const int64_t logits = (int64_t)1 << DISTILL_DENSE | (int64_t)1 << DISTILL_HIDDEN;
    int64_t bits = entry->table.targets;
    if (takes_labels(entry) && !has_labels) return dk_fail(err, DK_E_INVALID, "loss %s needs labels", entry->name);
    if (!bits) return DK_OK;
    if (!kind) return dk_fail(err, DK_E_INVALID, "loss %s needs a teacher", entry->name);
    if (bits & logits) bits |= logits; /* both arrive as logits */
    return bits & (int64_t)1 << kind ? DK_OK : refuse_kind(loss, entry, kind, err);
}

/* Log-probabilities of some ids, and counts of draws, cannot be brought to another temperature. */
static int32_t check_temperature(const di_term *term, const di_entry *entry, int32_t kind, double temperature,
                                 dk_error *err)
{
    const double wanted = di_term_temperature(term, entry);
    char have[32], want[32];
    if (!entry->table.targets || (kind != DISTILL_TOPK && kind != DISTILL_SAMPLED) ||
        (entry->builtin && entry->builtin->retempers) || di_term_is_at(term, entry, temperature))
        return DK_OK;
    dk_format_f64(temperature, have);
    dk_format_f64(wanted, want);
    return dk_fail(err, DK_E_MISMATCH,
                   "loss %s is at temperature %s and the teacher's %s targets carry %s, which cannot be changed; set "
                   "loss.temperature to %s",
                   entry->name, want, di_kind_name(kind), have, have);
}

int32_t di_loss_check(const di_loss *loss, int32_t teacher_kind, double teacher_temperature, int32_t has_labels,
                      dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback) {
            DK_TRY(check_entry(loss, entry, teacher_kind, has_labels, err));
            DK_TRY(check_temperature(&loss->terms[i], entry, teacher_kind, teacher_temperature, err));
        }
out:
    return rc;
}

int32_t di_loss_check_shifted(const di_loss *loss, dk_error *err)
{
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback)
            if (entry->builtin && entry->table.targets && !di_entry_logs(entry))
                return dk_fail(err, DK_E_UNSUPPORTED,
                               "loss %s compares logits, and a blend of teachers or a cache of tier full says them but "
                               "for an offset per row; take one live teacher, tier hidden, or a loss that compares "
                               "distributions",
                               entry->name);
    return DK_OK;
}

void di_loss_describe(const di_loss *loss, dk_strbuf *out)
{
    for (int64_t i = 0; i < loss->count; i++) {
        if (i) dk_strbuf_puts(out, " + ");
        di_term_describe(&loss->terms[i], 1, 0, out);
    }
}

int64_t di_loss_count(const di_loss *loss) { return loss->count; }

void di_loss_terms(const di_loss *loss, const di_loss_sums *sums, di_term_figures *out)
{
    for (int64_t i = 0; i < loss->count; i++) {
        const di_term term = di_term_at(&loss->terms[i], sums->step);
        out->names[i] = loss->names[i][sums->without_entropy];
        out->weights[i] = term.weight * (sums->factors[i] > 0 ? sums->factors[i] : 1);
        if (!di_loss_term_is_of(loss, i, sums->of)) out->weights[i] = 0;
        out->values[i] = sums->weight_sum > 0 ? sums->terms[i] / sums->weight_sum : 0;
    }
}

void di_loss_terms_json(const di_loss *loss, const di_loss_sums *sums, dk_strbuf *out)
{
    di_term_figures figures;
    di_loss_terms(loss, sums, &figures);
    dk_strbuf_puts(out, "[");
    for (int64_t i = 0; i < loss->count; i++) {
        dk_strbuf_printf(out, "%s{\"loss\":\"%s\",\"weight\":", i ? "," : "", figures.names[i]);
        dk_strbuf_f64(out, figures.weights[i]);
        dk_strbuf_puts(out, ",\"value\":");
        dk_strbuf_f64(out, figures.values[i]);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "]");
}
