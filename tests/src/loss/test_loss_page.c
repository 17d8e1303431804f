/* docs/losses.md is what the table of built-in losses says. test_loss_page --print writes it:
 * `build/tests/test_loss_page --print > docs/losses.md`. */
#include "base/file.h"
#include "loss/builtin.h"
#include "loss_fixture.h"

static const char intro[] =
    "# Losses\n"
    "\n"
    "This page is made from the table of built-in losses (`src/loss/loss_table.h`); a test keeps it so.\n"
    "\n"
    "`p` is the teacher, `q` the student, `z` logits, `T` the temperature, `V` the number of ids that both know. All "
    "but the logit losses compare `p = softmax(z_p/T)` and `q = softmax(z_q/T)`; gradients are with respect to "
    "`z_q/T`, "
    "for logit losses to `z_q`. Values are per position, true divergences with the teacher's entropy; `loss.t_squared` "
    "multiplies value and gradient by T squared. `p = 0` adds exactly nothing where the formula allows it; where it "
    "would be infinite, `log p` counts as `loss.log_floor`, and how often is counted. `q = 0` where `p > 0` is an "
    "error "
    "that names the row, and so is a value, or a gradient as it is written, that fp32 does not hold.\n"
    "\n"
    "One loss is `loss: {type: jsd, jsd.teacher_weight: 0.3}`; several are a list, each with its weight, and are "
    "summed:\n"
    "\n"
    "```yaml\n"
    "loss:\n"
    "  - {type: jsd, weight: 0.7, jsd.teacher_weight: 0.3}\n"
    "  - {type: cross_entropy, weight: 0.3}\n"
    "```\n"
    "\n"
    "`loss: {type: jsd, hard_label_weight: 0.3}` says the same in short. Every weight, temperature and number of a "
    "loss "
    "may be `{schedule: linear|cosine|step, from: a, to: b, steps: n}`: it advances once per optimiser step. An option "
    "of a loss that is not asked for is refused. `train.balance: gradient_norm` balances two losses: the second one's "
    "weight is multiplied by the norm of the first one's gradient by the logits over that of its own, both smoothed "
    "over the windows before, the ratio between a floor and a ceiling; `metrics.jsonl` has both norms and the factor.\n"
    "\n"
    "A teacher known on `k` ids and the rest (top-k targets) is compared as `k + 1` outcomes; the student's last one "
    "is "
    "a log-sum-exp over the ids that are not listed. Draws of tokens (sampled targets) serve only what is linear in "
    "`p`; where they carry the entropy of what was drawn from, the value is an unbiased KL, else it is reported as "
    "`soft_cross_entropy`. Top-k and "
    "sampled "
    "targets carry the temperature that they were made at, and no other is taken.\n"
    "\n"
    "Losses on features (`hidden_mse`, `hidden_cosine`, `attention_mse`, `relation`) compare what is inside the two "
    "models, at the same positions that other losses count: those with a label that is not masked, each by its weight, "
    "divided by the sum of weights of the window. Tokens without a label (prompts, the last one) are seen by attention "
    "and relations as they are by the models, and have no value of their own; sequences that are packed together are "
    "apart. Queries and keys are those that enter the product, behind norms and rotations. The teacher is a model, or "
    "callbacks that give these places (`distill_tap`): a cache, a blend or a route has nothing inside. Where widths "
    "differ, `hidden_mse` and `hidden_cosine` learn a projection, which is kept in checkpoints and no part of the "
    "student; `train.projection_rate` is its learning rate beside the student's. A call on rows "
    "(`distill_loss_eval`) takes no loss on features.\n";

static const char presets[] =
    "\n"
    "# Presets: the numbers of other tools\n"
    "\n"
    "These are losses as another tool computes them, divisor and oddities included, so that a run of that tool can be "
    "compared with ours number by number. `distill_loss_eval` takes them, and in Python `distill.Loss(\"trl-gkd\")` "
    "and "
    "`distill.torch.trl_gkd`: the sum is the tool's number and gradients are of it, both divided already; "
    "`args.divisor` is what the tool was told to divide by, where it is told. A preset stands alone: recipes, trainers "
    "and lists of losses refuse it, since a window has a divisor of its own. Golden values from these tools' formulas, "
    "and from TRL itself, are in `tests/src/loss/test_loss_presets.c`.\n";

static void put_options(const di_builtin *loss, dk_strbuf *out)
{
    int count = 0;
    for (int i = 0; i < 2 * DI_LOSS_OPTIONS; i++) {
        const char *key = i < DI_LOSS_OPTIONS ? loss->options[i] : loss->fixed[i - DI_LOSS_OPTIONS];
        char name[96];
        if (!key) continue;
        snprintf(name, sizeof name, "loss.%s", key);
        const di_option_info *row = di_option_at(di_option_find(name, strlen(name)));
        dk_strbuf_printf(out, "%s`%s`%s%s (%s)", count++ ? "; " : "", key, row->default_text ? " = " : "",
                         row->default_text ? row->default_text : "", row->help);
    }
    dk_strbuf_puts(out, count ? "\n" : "none\n");
}

static void put_targets(const di_builtin *loss, dk_strbuf *out)
{
    static const int32_t kinds[] = {DISTILL_TOPK, DISTILL_SAMPLED, DISTILL_ONE_HOT};
    static const char *const names[] = {"top-k and the rest", "sampled", "one-hot"};
    if (loss->feature) {
        dk_strbuf_puts(out, "none: it compares what is inside the two models\n");
        return;
    }
    if (!loss->targets) {
        dk_strbuf_puts(out, "labels alone\n");
        return;
    }
    if (loss->needs_labels) dk_strbuf_puts(out, "labels, and ");
    dk_strbuf_puts(out, loss->targets >> DISTILL_DENSE & 1 ? "dense, hidden and head" : "not dense or hidden and head");
    for (int i = 0; i < 3; i++)
        if (loss->targets & (int64_t)1 << kinds[i]) dk_strbuf_printf(out, ", %s", names[i]);
    for (int i = 0; i < 3; i++)
        if (!(loss->targets & (int64_t)1 << kinds[i]))
            dk_strbuf_printf(out, "; not %s: %s", names[i], di_builtin_refusal(loss, kinds[i]));
    dk_strbuf_puts(out, "\n");
}

static void put_preset(const di_builtin *loss, dk_strbuf *out)
{
    if (!loss->tool) return;
    dk_strbuf_printf(out, "* tool: %s\n* divided by: %s\n* odd: %s\n* instead: %s\n", loss->tool, loss->divisor,
                     loss->odd, loss->instead);
}

static void put_loss(const di_builtin *loss, dk_strbuf *out)
{
    dk_strbuf_printf(out, "\n## %s\n\n", loss->name);
    dk_strbuf_printf(out, "* value: `%s`\n", loss->formula);
    dk_strbuf_printf(out, "* gradient: `%s`\n", loss->gradient);
    if (loss->detached) dk_strbuf_printf(out, "* constant in the gradient: %s\n", loss->detached);
    dk_strbuf_puts(out, "* options: ");
    put_options(loss, out);
    dk_strbuf_puts(out, "* targets: ");
    put_targets(loss, out);
    dk_strbuf_printf(out, "* T squared: %s\n",
                     loss->plain                     ? "no temperature"
                     : loss->tool && loss->t_squared ? "always on"
                     : loss->tool                    ? "never on"
                     : loss->t_squared               ? "on unless loss.t_squared says otherwise"
                                                     : "off unless loss.t_squared says otherwise");
    dk_strbuf_printf(out, "* paper: %s\n", loss->paper);
    if (loss->use) dk_strbuf_printf(out, "* when: %s\n", loss->use);
    put_preset(loss, out);
}

static void put_page(dk_strbuf *out)
{
    dk_strbuf_puts(out, intro);
    dk_strbuf_puts(out, "\n| loss | value | T squared | sparse targets |\n| --- | --- | --- | --- |\n");
    for (int64_t i = 0; di_builtin_at(i); i++) {
        const di_builtin *loss = di_builtin_at(i);
        const int32_t topk = (loss->targets >> DISTILL_TOPK & 1) != 0,
                      one_hot = (loss->targets >> DISTILL_ONE_HOT & 1) != 0;
        if (loss->tool) continue;
        dk_strbuf_printf(out, "| [%s](#%s) | `", loss->name, loss->name);
        for (const char *c = loss->formula; *c; c++) dk_strbuf_printf(out, *c == '|' ? "\\|" : "%c", *c);
        dk_strbuf_printf(out, "` | %s | %s%s%s |\n", loss->t_squared ? "on" : "off", topk ? "top-k" : "",
                         loss->targets >> DISTILL_SAMPLED & 1 ? ", sampled" : "", one_hot ? ", one-hot" : "");
    }
    for (int64_t i = 0; di_builtin_at(i); i++)
        if (!di_builtin_at(i)->tool) put_loss(di_builtin_at(i), out);
    dk_strbuf_puts(out, presets);
    for (int64_t i = 0; di_builtin_at(i); i++)
        if (di_builtin_at(i)->tool) put_loss(di_builtin_at(i), out);
}

TEST(page_is_not_stale)
{
    dk_host *host;
    dk_error err;
    dk_strbuf page;
    char *text = NULL;
    size_t size = 0;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_strbuf_init(&page, host);
    put_page(&page);
    CHECK_OK(dk_file_read(host, TEST_DATA "/../../docs/losses.md", 1 << 20, &text, &size, &err));
    if (!text || strcmp(text, page.data) != 0)
        FAIL("docs/losses.md is not what the table says: test_loss_page --print > docs/losses.md");
    dk_free(host, text);
    dk_strbuf_free(&page);
    dk_host_release(host);
}

/* Whatever is not taken has a reason; whatever is there is described. */
TEST(rows_are_complete)
{
    static const int32_t kinds[] = {DISTILL_TOPK, DISTILL_SAMPLED, DISTILL_ONE_HOT};
    for (int64_t i = 0; di_builtin_at(i); i++) {
        const di_builtin *loss = di_builtin_at(i);
        CHECK(loss->formula && loss->gradient && loss->paper && (loss->use || loss->tool));
        CHECK(!loss->tool || (loss->divisor && loss->odd && loss->instead));
        for (int k = 0; k < 3 && loss->targets; k++)
            if (!(loss->targets & (int64_t)1 << kinds[k]) == !di_builtin_refusal(loss, kinds[k]))
                FAIL("%s: target %s", loss->name, di_kind_name(kinds[k]));
        for (int k = 0; k < 2 * DI_LOSS_OPTIONS; k++) {
            const char *key = k < DI_LOSS_OPTIONS ? loss->options[k] : loss->fixed[k - DI_LOSS_OPTIONS];
            char name[96];
            if (!key) continue;
            snprintf(name, sizeof name, "loss.%s", key);
            CHECK(di_option_find(name, strlen(name)) >= 0);
        }
        CHECK((loss->feature != 0) == (loss->taps != 0));
    }
}

static const test_case cases[] = {TEST_CASE(page_is_not_stale) TEST_CASE(rows_are_complete)};

int main(int argc, char **argv)
{
    dk_host *host;
    dk_strbuf page;
    dk_error err;
    if (argc < 2 || strcmp(argv[1], "--print") != 0)
        return test_main(cases, (int)(sizeof cases / sizeof *cases), argc, argv);
    if (dk_host_create(NULL, &host, &err)) return 1;
    dk_strbuf_init(&page, host);
    put_page(&page);
    fputs(page.data, stdout);
    dk_strbuf_free(&page);
    dk_host_release(host);
    return 0;
}
