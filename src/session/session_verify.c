/* What the model says of proposals: which of them it writes, and which token comes behind them. Greedily these are
 * those that it would write itself. Drawn, a proposal d of the draft's distribution q is accepted with probability
 * min(1, p(d) / q(d)), and the first one that is not gives way to a draw from max(0, p - q) over its sum; so tokens
 * have the model's distribution p (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318). p
 * and q are what tokens are drawn from: adjusted, at the temperature, cut by top_k, top_p and min_p. */
#include <math.h>

#include "base/random.h"
#include "session/session_parts.h"

static int32_t push(di_stream *s, int64_t row, int32_t id, double log_prob, int32_t from_draft, dk_error *err)
{
    di_drawn *t = &s->drawn[s->ready];
    const int64_t most = s->writing.args.top_count;
    int32_t rc = DK_OK;
    t->id = id;
    t->log_prob = log_prob;
    t->from_draft = from_draft;
    t->top_count = 0;
    if (most) DK_TRY(dk_drawer_top(&s->family->drawer, row, most, t->top_ids, t->top, &t->top_count, err));
    s->ready++;
out:
    return rc;
}

/* ---- drawn by the model alone, row by row: the first one that is not as proposed is the last one ---- */

static int32_t draw_rows(di_stream *s, dk_view logits, dk_error *err)
{
    di_family *f = s->family;
    const int64_t rows = s->proposed + 1;
    int32_t rc;
    for (int64_t i = 0; i < rows; i++) f->draws[i] = di_stream_draw(s, i);
    DK_TRY(dk_drawer_draw(&f->drawer, logits, f->draws, rows, err));
    for (int64_t i = 0; i < rows; i++) {
        const int32_t id = f->draws[i].id, accepted = i < s->proposed && id == s->ids[s->count + i];
        DK_TRY(push(s, i, id, f->draws[i].log_prob, accepted, err));
        if (!accepted) break;
    }
out:
    return rc;
}

/* ---- accepted or not ---- */

/* From what is left of p where q is taken off, [vocab]: p stands in the drawer's row, as log-probabilities. */
static int32_t draw_rest(di_stream *s, dk_view q, double uniform, int32_t *id, dk_error *err)
{
    di_family *f = s->family;
    di_drafter *draft = f->draft;
    float *p = f->drawer.row;
    double sum = 0, at = 0;
    int32_t rc;
    DK_TRY(dk_drawer_read(&draft->drawer, q, 0, err));
    for (int64_t i = 0; i < f->vocab; i++) {
        const double rest = exp((double)p[i]) - exp((double)draft->drawer.row[i]);
        p[i] = rest > 0 ? (float)rest : 0;
        sum += (double)p[i];
    }
    if (!(sum > 0))
        return dk_fail(err, DK_E_NUMERIC,
                       "session: what a proposal leaves of the model's distribution is "
                       "nothing, or no number");
    for (int64_t i = 0; i < f->vocab; i++) {
        if (p[i] <= 0) continue;
        *id = (int32_t)i;
        at += (double)p[i];
        if (at > uniform * sum) break;
    }
out:
    return rc;
}

static int32_t accepts(di_stream *s, int64_t i, dk_view q)
{
    const int32_t id = s->ids[s->count + i];
    const double log_p = dk_drawer_element(&s->family->drawer, s->family->shaped, i, id),
                 log_q = dk_drawer_element(&s->family->draft->drawer, q, 0, id);
    return dk_random_uniform(s->writing.args.seed, DK_STREAM_ACCEPT, (uint64_t)(s->written + i)) < exp(log_p - log_q);
}

/* The token behind the proposals that were accepted. */
static int32_t draw_next(di_stream *s, int64_t i, dk_view q, int32_t *id, dk_error *err)
{
    di_family *f = s->family;
    const uint64_t seed = s->writing.args.seed, counter = (uint64_t)(s->written + i);
    int32_t rc;
    if (i == s->proposed) return dk_drawer_pick(&f->drawer, dk_view_rows(f->shaped, i, 1), seed, counter, id, err);
    DK_TRY(dk_drawer_read(&f->drawer, f->shaped, i, err));
    DK_TRY(draw_rest(s, q, dk_random_uniform(seed, DK_STREAM_SAMPLE, counter), id, err));
out:
    return rc;
}

static int32_t accept_rows(di_stream *s, dk_view logits, dk_error *err)
{
    di_family *f = s->family;
    const int64_t rows = s->proposed + 1;
    int64_t i = 0;
    int32_t rc, id = 0;
    dk_view q = dk_view_none();
    for (int64_t r = 0; r < rows; r++) f->draws[r] = di_stream_draw(s, r);
    DK_TRY(dk_drawer_shape(&f->drawer, logits, f->draws, rows, dk_view_rows(f->shaped, 0, rows), err));
    for (; i < s->proposed; i++) {
        q = dk_view_rows(f->draft->shaped, s->place * f->draft->most + i, 1);
        id = s->ids[s->count + i];
        if (!accepts(s, i, q)) break;
        DK_TRY(push(s, i, id, dk_drawer_element(&f->drawer, f->drawer.log_probs, i, id), 1, err));
    }
    DK_TRY(draw_next(s, i, q, &id, err));
    DK_TRY(push(s, i, id, dk_drawer_element(&f->drawer, f->drawer.log_probs, i, id), 0, err));
out:
    return rc;
}

int32_t di_stream_verify(di_stream *s, int64_t first, dk_error *err)
{
    di_family *f = s->family;
    const int64_t rows = s->proposed + 1;
    const int32_t drawn = s->proposed && s->writing.args.temperature >= DK_TEMPERATURE_MIN;
    dk_view logits = dk_view_rows(f->logits, first, rows);
    int32_t rc;
    f->drawer.log_probs = dk_view_rows(f->log_probs, first, rows);
    s->first = s->ready = 0;
    DK_TRY(drawn ? accept_rows(s, logits, err) : draw_rows(s, logits, err));
    const int64_t accepted = s->ready - 1;
    s->stats.drafted += s->proposed;
    di_family_cut(f, s->place, s->count + accepted);
    if (f->draft) di_draft_learn(s, accepted);
    s->proposed = 0;
out:
    if (rc != DK_OK) s->ready = 0;
    return rc;
}
