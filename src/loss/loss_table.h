/* loss_table.h - the built-in losses, a row each; builtin.c includes this where LOSS says what to make of them.
 *
 * A loss is a file in kernels/ of this name and a row here: the kinds of targets that it takes, and why it takes no
 * others; its options (in src/options/table.c as loss.NAME), in the order in which the file reads them; what
 * docs/losses.md says of it.
 *
 * FEATURE is a row of a loss on what is inside the two models: the places that it asks both for (taps), and options
 * that are read once, when the two are known (fixed). Planning of passes, projections and their updates and files
 * follow from it; features/ has the arithmetic. */

#define DRAWS_ARE_BIASED                                                                                          \
    "it is not linear in the teacher's probabilities, so that draws of tokens would give it another gradient on " \
    "average"
#define NEEDS_ALL_MASS "it is infinite where the teacher gives a token no probability"
#define NEEDS_LOGITS "it compares logits, and such a target says probabilities"
#define TOOL_IS_DENSE "the tool compares whole distributions"
#define TOOL_IS_TOPK "the tool has the teacher's likeliest ids and their probabilities"
#define TOOL_NEEDS_PROBABILITIES "the tool has the teacher's logits, or its likeliest ids and their probabilities"

LOSS(cross_entropy, .flags = ROWS, .needs_labels = 1, .plain = 1, .by_logits = smooths,
     .options = {"cross_entropy.label_smoothing", "cross_entropy.z_loss"},
     .formula = "-log q[label]; with smoothing e: -(1 - e) log q[label] - e/V sum log q; plus z_loss (log sum exp z)^2",
     .gradient = "q - 1 at the label, q elsewhere; with smoothing q - (1 - e)[label] - e/V; plus 2 z_loss (log sum exp "
                 "z) q",
     .paper = "Szegedy et al. 2016 (smoothing), Chowdhery et al. 2022 (z-loss)",
     .use = "what data alone teaches; beside a teacher's loss it anchors the student to the text")
LOSS(forward_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK | SAMPLED | ONE_HOT,
     .formula = "KL(p || q) = sum p (log p - log q)", .gradient = "q - p", .paper = "Hinton et al. 2015",
     .use = "the default: the student covers all that the teacher holds possible; the only one that draws serve")
LOSS(reverse_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .floors = 1, .targets = DENSE | TOPK,
     .formula = "KL(q || p) = sum q (log q - log p)", .gradient = "q (log(q/p) - KL(q || p))",
     .paper = "Gu et al. 2023 (MiniLLM), Agarwal et al. 2023 (GKD)", .no_draws = DRAWS_ARE_BIASED,
     .no_one_hot = NEEDS_ALL_MASS,
     .use = "a student too small for all of the teacher: it keeps to what the teacher finds likely; on its own text")
LOSS(symmetric_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .floors = 1, .targets = DENSE | TOPK,
     .options = {"symmetric_kl.reverse_weight"}, .formula = "(1 - w) KL(p || q) + w KL(q || p), w = reverse_weight",
     .gradient = "(1 - w)(q - p) + w q (log(q/p) - KL(q || p))", .paper = "Jeffreys 1946", .no_draws = DRAWS_ARE_BIASED,
     .no_one_hot = NEEDS_ALL_MASS, .use = "between the two directions")
LOSS(jsd, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK | ONE_HOT, .check = check_jsd,
     .options = {"jsd.teacher_weight", "jsd.normalised"},
     .formula = "b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q, b = teacher_weight; normalised: divided by b "
                "(1 - b)",
     .gradient = "(1 - b) q (log(q/m) - KL(q || m))", .paper = "Lin 1991; Agarwal et al. 2023 (GKD)",
     .no_draws = DRAWS_ARE_BIASED,
     .use = "bounded, so that no token outweighs the rest; small b is near forward_kl, large b near reverse_kl; "
            "normalised keeps its size, and 0 and 1 are allowed")
LOSS(skew_forward_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK | ONE_HOT,
     .options = {"skew.lambda"}, .formula = "KL(p || m), m = l p + (1 - l) q, l = lambda",
     .gradient = "(1 - l)(q sum(p q/m) - p q/m)", .paper = "Lee 1999; Ko et al. 2024 (DistiLLM)",
     .no_draws = DRAWS_ARE_BIASED, .use = "forward_kl whose gradient is bounded: steadier where the student is far off")
LOSS(skew_reverse_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK | ONE_HOT,
     .options = {"skew.lambda", "skew.detach"}, .formula = "KL(q || m), m = (1 - l) p + l q, l = lambda",
     .gradient = "h - q sum(h), h = q (log(q/m) + l (1 - q/m)); detach: m is a constant, h = q log(q/m)",
     .paper = "Ko et al. 2024 (DistiLLM), 2025 (DistiLLM-2, which detaches)", .no_draws = DRAWS_ARE_BIASED,
     .detached = "with skew.detach the mixture m", .use = "reverse_kl that stays finite where the teacher has no mass")
LOSS(tvd, .flags = ROWS, .fills = 1, .targets = DENSE | TOPK | ONE_HOT, .formula = "sum |p - q| / 2",
     .gradient = "h - q sum(h), h = q sign(q - p) / 2, 0 at ties", .paper = "Wen et al. 2023",
     .no_draws = DRAWS_ARE_BIASED, .use = "what speculative decoding rejects; robust against a teacher that errs")
LOSS(alpha_beta, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK,
     .options = {"alpha_beta.alpha", "alpha_beta.beta"},
     .formula = "-1/(a b) sum(p^a q^b - a/(a + b) p^(a + b) - b/(a + b) q^(a + b)), and its limits where a, b or a + b "
                "is 0",
     .gradient = "h - q sum(h), h = (q^(a + b) - p^a q^b)/a", .paper = "Cichocki et al. 2011; Wang et al. 2025 (ABKD)",
     .no_draws = DRAWS_ARE_BIASED, .no_one_hot = "it may be infinite where the teacher gives a token no probability",
     .use = "two knobs: alpha says how much large errors count, beta how much what the student is sure of; (1, 0) is "
            "forward_kl, (0, 1) reverse_kl")
LOSS(taid, .flags = ROWS, .fills = 1, .t_squared = 1, .targets = DENSE | TOPK, .options = {"taid.t"},
     .formula = "KL(m || q), m = softmax((1 - t) z_q + t z_p)", .gradient = "q - m",
     .paper = "Shing et al. 2025 (TAID)", .no_draws = DRAWS_ARE_BIASED, .detached = "the mixture m",
     .no_one_hot = "it mixes logits, and those of one token alone are infinite",
     .use = "a teacher far above the student: let t go from 0.4 to 1 as a schedule")
LOSS(adaptive_kl, .flags = ROWS, .fills = 1, .t_squared = 1, .floors = 1, .targets = DENSE | TOPK,
     .options = {"adaptive_kl.head_mass"},
     .formula = "w KL(p || q) + (1 - w) KL(q || p), w = share of sum |p - q| in the teacher's head: its likeliest "
                "tokens with no more than head_mass together, at least one, ties to the lowest id",
     .gradient = "w (q - p) + (1 - w) q (log(q/p) - KL(q || p))", .paper = "Wu et al. 2024",
     .no_draws = DRAWS_ARE_BIASED, .no_one_hot = NEEDS_ALL_MASS, .detached = "w",
     .use = "the direction that fits where the student is wrong: forward for the head, reverse for the tail")
LOSS(dkd, .flags = ROWS, .fills = 1, .t_squared = 1, .needs_labels = 1, .skips_labels = 1, .targets = DENSE,
     .options = {"dkd.target_weight", "dkd.non_target_weight"},
     .formula = "t KL(p[label], rest || q[label], rest) + n KL of the rest renormalised, t = target_weight, n = "
                "non_target_weight",
     .gradient = "t (q - p) of the two outcomes, the rest's shared out by q; plus n (q' - p') of the rest renormalised",
     .paper = "Zhao et al. 2022", .no_draws = DRAWS_ARE_BIASED,
     .no_topk = "the label may lie outside of the ids that it lists",
     .no_one_hot = "nothing is said of the tokens beside the label",
     .use = "weighs what the teacher says beside the label apart from how sure it is")
LOSS(logit_mse, .flags = LOGITS, .fills = 1, .raw = 1, .targets = DENSE, .formula = "sum ((z_q - z_p)/T)^2 / V",
     .gradient = "2 (z_q - z_p)/(T^2 V)", .paper = "Ba and Caruana 2014", .no_draws = NEEDS_LOGITS,
     .no_topk = NEEDS_LOGITS, .no_one_hot = NEEDS_LOGITS,
     .use = "a student of the teacher's own family, with the same scale of logits")
LOSS(logit_cosine, .flags = LOGITS, .fills = 1, .raw = 1, .plain = 1, .targets = DENSE, .formula = "1 - cos(z_q, z_p)",
     .gradient = "(cos z_q/|z_q| - z_p/|z_p|)/|z_q|", .paper = "Hsu et al. 2024 (Liger)", .no_draws = NEEDS_LOGITS,
     .no_topk = NEEDS_LOGITS, .no_one_hot = NEEDS_LOGITS,
     .use = "the direction of the logits alone, whatever their size")
LOSS(acceptance, .flags = ROWS, .fills = 1, .targets = DENSE | TOPK | ONE_HOT, .formula = "-log sum min(p, q)",
     .gradient = "q S - m, m = min(p, q)/sum where q < p, half of it at ties, S = sum m",
     .paper = "Leviathan et al. 2023; Zhou et al. 2024 (DistillSpec)", .no_draws = DRAWS_ARE_BIASED,
     .use = "a draft model: its probability is that of a token being accepted by the teacher")
LOSS(rank_hinge, .flags = ROWS, .fills = 1, .precise = 1, .targets = DENSE | TOPK,
     .options = {"rank_hinge.top_k", "rank_hinge.margin"},
     .formula = "mean of max(0, margin - (q_i - q_j)) over pairs with p_i > p_j of the teacher's top_k; margin p_i - "
                "p_j unless given",
     .gradient = "h - q sum(h), h = -q_i and q_j per pair inside the margin, divided by the pairs; 0 at the hinge",
     .paper = "Weston and Watkins 1999; DistillKit", .no_draws = DRAWS_ARE_BIASED,
     .no_one_hot = "it says no order of the other tokens",
     .use = "the order of the likeliest tokens, beside another loss")
LOSS(rank_logistic, .flags = ROWS, .fills = 1, .targets = DENSE | TOPK, .options = {"rank_logistic.top_k"},
     .formula = "mean of log(1 + exp(-(z_i - z_j)/T)) over pairs with p_i > p_j of the teacher's top_k",
     .gradient = "-s and s per pair, s = 1/(1 + exp((z_i - z_j)/T)), divided by the pairs",
     .paper = "Burges et al. 2005 (RankNet)", .no_draws = DRAWS_ARE_BIASED,
     .no_one_hot = "it says no order of the other tokens",
     .use = "as rank_hinge, without a margin: it never is content")
LOSS(dpo, .flags = ROWS, .needs_labels = 1, .plain = 1, .sums = 3, .pairs = 1,
     .options = {"dpo.beta", "dpo.label_smoothing", "dpo.teacher_beta", "dpo.form"},
     .fixed = {"dpo.reference", "dpo.label"},
     .formula = "of a pair, s = sum of log q - log r over a side's tokens, r = reference, h = beta (s[chosen] - "
                "s[rejected]): -p log sigmoid(h) - (1 - p) log sigmoid(-h); p = 1 - e with label_smoothing e; label "
                "teacher: e + (1 - 2e) sigmoid(teacher_beta (log p[chosen] - log p[rejected])); hinge: p max(0, 1 - h) "
                "+ (1 - p) max(0, 1 + h); ipo: (m - (2p - 1)/(2 beta))^2, m = h/beta with means over the tokens for s",
     .gradient = "with respect to log q of a label: beta (sigmoid(h) - p) in the chosen side, the opposite in the "
                 "rejected one",
     .paper = "Rafailov et al. 2023; smoothing: Mitchell 2023 (cDPO); the teacher's preference: Furuta et al. 2024, "
              "Fisch et al. 2024; hinge: Zhao et al. 2023 (SLiC), Liu et al. 2024; ipo: Azar et al. 2024",
     .detached = "reference and teacher",
     .use = "pairs of a better and a worse answer (docs/preference-pairs.md); divided by the pairs, and losses beside "
            "it by their positions, which are those of chosen sides and other samples")
FEATURE(hidden_mse, .feature = DI_FEATURE_HIDDEN_MSE, .taps = OUTPUTS,
        .fixed = {"hidden_mse.layers", "hidden_mse.teacher_layers", "hidden_mse.projection"},
        .formula = "mean over pairs of blocks and over the width of (W h_q - h_p)^2, h the block's output; W = 1 where "
                   "there is no projection",
        .gradient = "with respect to W h_q: 2 (W h_q - h_p)/(width * pairs); through W to the block and to W itself",
        .paper = "Romero et al. 2015 (FitNets); Jiao et al. 2020 (TinyBERT)",
        .use = "beside a loss on probabilities: a student with blocks that can do as the teacher's do learns faster")
FEATURE(hidden_cosine, .feature = DI_FEATURE_HIDDEN_COSINE, .taps = OUTPUTS,
        .fixed = {"hidden_cosine.layers", "hidden_cosine.teacher_layers", "hidden_cosine.projection"},
        .formula = "mean over pairs of blocks of 1 - cos(W h_q, h_p); 1 where one of them is 0",
        .gradient = "with respect to y = W h_q: (cos y/|y| - h_p/|h_p|)/(|y| * pairs); 0 where the cosine is not "
                    "defined",
        .paper = "Sanh et al. 2019 (DistilBERT)",
        .use = "as hidden_mse where sizes differ: a few channels of large models are hundreds of times as large as "
               "the rest, and rule a squared distance")
FEATURE(attention_mse, .feature = DI_FEATURE_ATTENTION_MSE, .taps = QUERIES_KEYS,
        .fixed = {"attention_mse.layers", "attention_mse.teacher_layers", "attention_mse.heads"},
        .formula =
            "mean over pairs of blocks, heads and the keys that the position sees of (a_q - a_p)^2, a = softmax of "
            "the block's scaled scores, with its window and soft-cap; heads mean: the means over heads are "
            "compared",
        .gradient = "with respect to the scores: a_q (d - sum a_q d), d = 2 (a_q - a_p)/(keys * heads * pairs)",
        .paper = "Jiao et al. 2020 (TinyBERT)",
        .use = "a student that is to look where the teacher looks; keys are shared by heads as the block shares them")
FEATURE(relation, .feature = DI_FEATURE_RELATION, .taps = QUERIES_KEYS_VALUES,
        .fixed = {"relation.layers", "relation.teacher_layers", "relation.heads"},
        .formula =
            "mean over pairs of blocks, over q, k and v, and over relation heads of KL(r_p || r_q), r = softmax of x_t "
            ". x_s/sqrt(width of a head) over s <= t of the sequence, x = the queries, keys or values of the block",
        .gradient = "with respect to the scores: (r_q - r_p)/(3 * heads * pairs), to both x_t and x_s",
        .paper = "Wang et al. 2021 (MiniLMv2)",
        .use = "models of other widths and head counts, without a projection; one block is enough, MiniLMv2 takes one "
               "of the upper ones of a large teacher")
/* PRESET is a row of a loss as another tool computes it, divisor and all, so that its numbers can be compared: its
 * name, the kernel, and whose it is. Only a call on rows takes one. */
PRESET("trl-gkd", jsd, .plain = 1, .fills = 1, .floors = 1, .targets = DENSE, .options = {"trl_gkd.beta"},
       .tool = "TRL 1.16, GKDTrainer",
       .formula = "b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q; b 0: KL(p || "
                  "q), b 1: KL(q || p)",
       .gradient = "that of the value", .paper = "Agarwal et al. 2023 (GKD)",
       .divisor = "the rows with a label, at least 1; where divisor is given (num_items_in_batch), that",
       .odd =
           "its temperature is that of sampling alone and never reaches the loss; at b 0 and 1 the loss jumps: near "
           "them it is nearly 0, there it is a whole KL; num_items_in_batch counts the labels that the data came with, "
           "also "
           "where the student wrote the answer itself; without labels it divides by sequences; -inf of the teacher is "
           "NaN there, and counts as loss.log_floor here",
       .instead = "jsd, forward_kl or reverse_kl, with t_squared off", .no_topk = TOOL_IS_DENSE,
       .no_draws = TOOL_IS_DENSE, .no_one_hot = TOOL_IS_DENSE)
PRESET(
    "distillkit", distillkit, .t_squared = 1, .retempers = 1, .targets = DENSE | TOPK,
    .options = {"distillkit.symmetric_uniform"}, .tool = "DistillKit of March 2026, function kl",
    .formula = "T^2 KL(p || q); top-k: T^2 sum p' (log p' - log q) over the k ids, p' = p made to sum to 1 there; "
               "symmetric_uniform: over the k ids and the rest",
    .gradient = "q - p; top-k: q - p' at the ids, q elsewhere; symmetric_uniform: as of k + 1 outcomes",
    .paper = "arcee-ai/DistillKit",
    .divisor = "the rows with a label, and never num_items_in_batch: accumulated micro-batches are a mean of means",
    .odd =
        "its mask is labels >= 0 of the same position, not of the next: to get its numbers give labels as the data has "
        "them, to get its loss give them shifted; by default (zero) top-k targets are made to sum to 1, so that the "
        "student is "
        "drawn to a sharper teacher; symmetric_uniform takes 1 - sum as the rest, at least 1e-6, so that a sure "
        "student has no "
        "gradient there; top-k targets change their temperature by p^(T0/T), which they cannot do exactly; a "
        "batch without rows is NaN there and 0 here",
    .instead = "forward_kl, whose top-k targets have the rest as one outcome more",
    .no_draws = TOOL_NEEDS_PROBABILITIES, .no_one_hot = TOOL_NEEDS_PROBABILITIES)
PRESET(
    "msswift-topk", msswift_topk, .retempers = 1, .targets = TOPK, .options = {"msswift_topk.beta"},
    .tool = "ms-swift 4.6, gkd_loss with top-k",
    .formula = "as trl-gkd at T, of p and q made distributions over the k ids: p' = p^(1/T)/sum, q' = "
               "softmax(z_q/T) over the ids",
    .gradient = "(1 - b) q' (log(q'/m) - KL(q' || m)) at the ids, 0 elsewhere", .paper = "modelscope/ms-swift",
    .divisor = "the rows with a label of the micro-batch: accumulated micro-batches are a mean of means",
    .odd =
        "with k 1 value and gradient are 0 whatever the student says; mass outside of the ids is seen by neither side, "
        "so that the student may move it there; gradients may point the other way than those of the divergence",
    .instead = "jsd, forward_kl or reverse_kl, whose top-k targets have the rest as one outcome more",
    .no_draws = TOOL_IS_TOPK, .no_one_hot = TOOL_IS_TOPK)
PRESET(
    "verl-trunc", verl_trunc, .plain = 1, .targets = TOPK,
    .options = {"verl_trunc.log_prob_min_clamp", "verl_trunc.loss_max_clamp"}, .tool = "verl 0.9, forward_kl_topk",
    .formula = "max(0, sum p (log p - log q)) over the k ids",
    .gradient = "q P - p at the ids, q P elsewhere, P = sum p over the ids; 0 where the value was raised to 0",
    .paper = "verl-project/verl", .divisor = "the rows with a label; where divisor is given (batch_num_tokens), that",
    .odd =
        "the sum ends at the k ids and is no divergence: where the student gives them more than the teacher does it is "
        "negative, is raised to 0 and teaches nothing (89 % of the steps in verl#7856); it has no temperature",
    .instead = "forward_kl, whose top-k targets have the rest as one outcome more", .no_draws = TOOL_IS_TOPK,
    .no_one_hot = TOOL_IS_TOPK)
#undef DRAWS_ARE_BIASED
#undef NEEDS_ALL_MASS
#undef NEEDS_LOGITS
#undef TOOL_IS_DENSE
#undef TOOL_IS_TOPK
#undef TOOL_NEEDS_PROBABILITIES
