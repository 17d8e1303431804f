"""Defects that losses were seen with: what each does to the result, a sentence, and where it was seen."""
import numpy as np

from ._predict import SWAPPED, WEIGHTS


class Defect:
    """knobs: claim -> what _predict turns, None where the loss cannot have it; None = found by a relation alone."""

    def __init__(self, name, sentence, reference, knobs=None):
        self.name, self.sentence, self.reference, self.knobs = name, sentence, reference, knobs


def _teacher_only(claim):
    return {"student_temperature": 1.0}


def _shifted(case):
    """Labels moved once more, though they are aligned: the last row of each sequence has none."""
    return np.concatenate([case.mask[:, 1:], np.zeros((len(case.mask), 1), dtype=bool)], 1)


def _not_shifted(case):
    """The mask of the position's own token, and not of the one that follows it."""
    return np.concatenate([np.zeros((len(case.mask), 1), dtype=bool), case.mask[:, :-1]], 1)


def _without_end(case):
    """The last row of each answer is lost: the token that ends it is taken for padding."""
    after = np.cumsum(case.mask[:, ::-1], 1)[:, ::-1]
    return case.mask & (after > 1)


def _counting(mask):
    """Masked like this, and divided by what is left, unless the window has other rows."""
    def knobs(claim):
        def divisor(case, usual):
            return max(int(mask(case).sum()), 1) if claim.reduction == "mean" and usual == case.mask.sum() else usual
        return {"mask": mask, "divisor": divisor}
    return knobs


def _plain(kind, *losses):
    return lambda claim: {"plainly": kind} if claim.targets == "dense" and claim.loss in losses else None


def _swapped(claim):
    return {"loss": SWAPPED[claim.loss]} if claim.loss in SWAPPED else None


def _other_weight(claim):
    if claim.loss not in WEIGHTS:
        return None
    name = WEIGHTS[claim.loss]
    usual = 0.5 if claim.loss == "jsd" else 0.1
    return {"options": dict(claim.options, **{name: 1 - claim.options.get(name, usual)})}


def _of_top_k(**knobs):
    return lambda claim: knobs if claim.targets == "top_k" and claim.loss in ("forward_kl", "reverse_kl") else None


def _of_dense(**knobs):
    return lambda claim: knobs if claim.targets == "dense" else None


def _with_temperature(**knobs):
    return lambda claim: knobs if claim.temperature else None


def _keep(T, now):
    return now


TABLE = [
    Defect("temperature never used", "the temperature never reaches the loss: rows are compared at T = 1 whatever was asked",
           "TRL 1.16 GKDTrainer: its temperature is that of sampling alone",
           _with_temperature(student_temperature=1.0, teacher_temperature=1.0, value_t_squared=lambda T, now: 1.0,
                             gradient_t_squared=lambda T, now: 1.0)),
    Defect("temperature of the student alone", "the student's logits are divided by the temperature, the teacher's are not",
           "Axolotl: vLLM does not apply the temperature to prompt_logprobs",
           lambda claim: {"teacher_temperature": 1.0} if claim.temperature and claim.targets == "dense" else None),
    Defect("temperature of the teacher alone", "the teacher's logits are divided by the temperature, the student's are not",
           "seen in ports of Hinton et al. 2015", lambda claim: {"student_temperature": 1.0} if claim.temperature else None),
    Defect("T squared missing", "value and gradient lack the factor T squared that the loss claims: gradients shrink as 1/T squared",
           "Model-Optimizer's Megatron path against its other one",
           lambda claim: {"value_t_squared": lambda T, now: 1.0, "gradient_t_squared": lambda T, now: 1.0}
           if claim.t_squared and claim.temperature else None),
    Defect("T squared where it was not claimed", "value and gradient are multiplied by T squared though the loss claims not to be",
           "DistillKit: T squared on tvd, whose gradient goes by 1/T",
           lambda claim: {"value_t_squared": lambda T, now: T * T, "gradient_t_squared": lambda T, now: T * T}
           if not claim.t_squared and claim.temperature else None),
    Defect("T squared of the value only", "the reported value has the factor T squared and the gradient lacks it",
           "Axolotl: gradients are kept in forward, before the factor",
           _with_temperature(value_t_squared=lambda T, now: T * T, gradient_t_squared=lambda T, now: 1.0)),
    Defect("T squared of the gradient only", "the gradient has the factor T squared and the reported value lacks it",
           "seen in ports: the factor is put into a backward of its own",
           _with_temperature(value_t_squared=lambda T, now: 1.0, gradient_t_squared=lambda T, now: T * T)),
    Defect("T squared twice", "value and gradient have the factor T squared twice: in the loss and around it",
           "a loss with T squared under a trainer that multiplies by it, too",
           lambda claim: {"value_t_squared": lambda T, now: T ** 4, "gradient_t_squared": lambda T, now: T ** 4}
           if claim.t_squared and claim.temperature else None),
    Defect("gradient by z/T", "the gradient is that by the logits over T: it lacks the factor 1/T",
           "hand-written backward passes: softmax(z/T) - p without 1/T", _with_temperature(by_scaled_logits=True)),
    Defect("divided by the vocabulary", "the mean is taken over the vocabulary, too: everything is too small by the number of ids",
           "Model-Optimizer reduction=\"mean\"; TRL before #4105",
           lambda claim: {"divisor": lambda case, usual: usual * case.student.shape[-1]}),
    Defect("divided by sequences", "the sum is divided by the number of sequences (\"batchmean\"), not by the rows that count",
           "torch's kl_div(reduction=\"batchmean\") on [sequences, rows, ids]",
           lambda claim: {"divisor": lambda case, usual: len(case.student)} if claim.reduction == "mean" else None),
    Defect("divided by masked rows, too", "the divisor counts rows that carry no loss",
           "optipfair #34 and others: a mean over padding",
           lambda claim: {"divisor": lambda case, usual: case.mask.size} if claim.reduction == "mean" else None),
    Defect("divided by the data's labels", "the divisor was counted on the dataset's labels, before the answers that carry the loss were generated",
           "TRL 1.16 GKDTrainer on its own policy: num_items_in_batch",
           lambda claim: {"divisor": lambda case, usual: int((case.dataset_labels >= 0).sum()) if case.dataset_labels is not case.labels else usual}
           if claim.reduction == "mean" else None),
    Defect("mean of micro-batches", "each micro-batch is divided by its own rows: with accumulation short ones count as much as long ones",
           "DistillKit (ignores num_items_in_batch); TRL before #6006",
           lambda claim: {"divisor": lambda case, usual: max(int(case.mask.sum()), 1)} if claim.reduction == "mean" else None),
    Defect("divided twice", "the mean is divided by the number of rows once more",
           "torchtune: scale_grads after a mean; EasyDistill #34",
           lambda claim: {"divisor": lambda case, usual: usual * max(int(case.mask.sum()), 1)} if claim.reduction == "mean" else None),
    Defect("gradient divided twice", "the value is a mean and its gradient is divided by the rows once more",
           "torchtune: backward of the mean, then scale_grads(1/num_tokens)",
           lambda claim: {"gradient_divisor": lambda case, usual: usual * max(int(case.mask.sum()), 1)} if claim.reduction == "mean" else None),
    Defect("gradient not divided", "the value is a mean and the gradient that of the sum", "backward passes that keep the sum's gradient",
           lambda claim: {"gradient_divisor": lambda case, usual: 1.0} if claim.reduction == "mean" else None),
    Defect("mean of sequences", "each sequence is divided by its own rows, then by their number: a token of a short answer counts more",
           "verl's seq-mean-token-mean; means over dim 1, then over dim 0",
           lambda claim: {"by_sequence": True} if claim.reduction == "mean" else None),
    Defect("not divided", "the sum is given where a mean was claimed", "sums over tokens: the learning rate then goes by the length",
           lambda claim: {"divisor": lambda case, usual: 1.0} if claim.reduction == "mean" else None),
    Defect("sign turned", "value and gradient have the other sign: the student is driven away", "DistiLLM-2's branch sum q (log p - log q)",
           lambda claim: {"sign": -1.0}),
    Defect("student's entropy left out", "-sum q log p without the student's entropy: it draws to the teacher's likeliest id alone",
           "\"reverse cross-entropy\" under the name of reverse KL", _plain("without the student's entropy", "reverse_kl")),
    Defect("gradient not through the softmax", "the derivative by log q is given as that by the logits: rows of it do not add up to 0",
           "hand-written backward passes", _plain("not through the softmax", "forward_kl", "reverse_kl")),
    Defect("student's probabilities clamped", "log q is held at log 1e-8: where the student is far off there is no gradient",
           "TRL's GOLD: probabilities are clamped at 1e-8", _plain("clamped", "forward_kl", "reverse_kl")),
    Defect("mixture held constant", "the mixture is a constant in the gradient, which the loss does not claim", "DistiLLM-2 in place of DistiLLM",
           lambda claim: {"gradient_options": {"skew__detach": True}, "loss": claim.loss}
           if claim.loss == "skew_reverse_kl" and claim.targets == "dense" and not claim.options.get("skew__detach") else None),
    Defect("directions swapped", "KL(p || q) and KL(q || p) are swapped: p is the teacher",
           "DistiLLM-2's branch of that name; Model-Optimizer's documentation", _swapped),
    Defect("value of one direction, gradient of the other", "the value is one divergence and the gradient another's",
           "aprender #2153", lambda claim: {"gradient_loss": SWAPPED[claim.loss]} if claim.loss in SWAPPED and claim.targets == "dense" else None),
    Defect("weight of the other distribution", "the mixture's weight belongs to the other distribution than the loss says: 1 - w for w",
           "TRL before #3043; DistiLLM's lambda is the opposite of TRL's beta", _other_weight),
    Defect("cross-entropy form", "the teacher's entropy is left out: the value is a cross-entropy, never 0, though it is called a KL",
           "torchtune, MiniLLM, DistiLLM, TAID", lambda claim: {"without_entropy": True}
           if claim.loss == "forward_kl" and claim.targets == "dense" else None),
    Defect("hard labels mixed in", "half of the loss is the labels' cross-entropy, which nobody asked for",
           "TRL's GKD with Liger before #5731: Liger's own default weights",
           lambda claim: {"hard_share": 0.5} if claim.targets == "dense" and claim.loss != "cross_entropy" else None),
    Defect("top-k renormalised on both sides", "both are made distributions over the k ids: no mass elsewhere is seen, k = 1 is always 0, signs may turn",
           "ms-swift, Model-Optimizer TopKLogitsKLLoss, Axolotl kd_normalize_topk", _of_top_k(top_k="both")),
    Defect("top-k of the teacher renormalised", "the teacher's k ids are made to sum to 1: the student is drawn to a sharper target than was said",
           "DistillKit's default \"zero\", surogate", _of_top_k(top_k="teacher")),
    Defect("top-k truncated", "the sum ends after k ids: it is no divergence and may be negative", "Axolotl un-normalised", _of_top_k(top_k="truncated")),
    Defect("top-k truncated and clamped", "the truncated sum of a row is clamped at 0, where it has no gradient", "verl forward_kl_topk (#7856)",
           _of_top_k(top_k="truncated", clamped=True)),
    Defect("padded vocabulary counts", "logits behind the vocabulary take part in both distributions",
           "ms-swift, Liger: rows of padding of Qwen's 151,936 and 152,064", _of_dense(vocabulary="all")),
    Defect("vocabulary padded with zeroes", "the smaller side is filled with logits of 0, which take mass, not with -inf",
           "Liger's chunked losses", _of_dense(vocabulary="zeroes")),
    Defect("vocabulary filled from the other model", "missing logits are copied from the other model", "ms-swift 4.6 _align_vocab",
           _of_dense(vocabulary="other")),
    Defect("labels shifted once more", "labels that are aligned with the rows are shifted again: the first row is lost, another's is learnt",
           "a loss that shifts, under a trainer that has shifted already", _counting(_shifted)),
    Defect("labels not shifted", "a row is masked as its own token is, and not as the one that it predicts: the first of an answer is lost, one "
           "behind its end is learnt", "DistillKit: mask = labels >= 0", _counting(_not_shifted)),
    Defect("end of each answer masked", "the last row of each answer carries no loss: the token that ends it is taken for padding",
           "TRL before #6357: pad is eos", _counting(_without_end)),
    Defect("mask not used", "rows without loss (prompts, padding) are learnt as well", "TRL MiniLLM: a mask from input_ids; optipfair #34",
           lambda claim: {"mask": lambda case: np.ones_like(case.mask)}),
    Defect("tail by subtraction", "the mass outside the k ids is 1 - sum in fp32: of a confident student nothing is left, nor its gradient",
           "TRL 1.16 _add_tail_bucket: gradient [.060, -.060, 0, 0, 0] for [.1225, -.0225, -.033, ...]"),
    Defect("two outcomes for a drawn token", "the drawn token and all others as two outcomes: on average neither the value nor the gradient of the "
           "divergence over the vocabulary", "TRL 1.16 Server and Async at beta = 1: at V = 32,000 the gradient is 0.016 times the true one"),
    Defect("draws without their probability's gradient", "log q - log p of drawn tokens is differentiated as it stands: on average the gradient is 0",
           "verl #5041 and others: estimator k1 as a loss"),
    Defect("teacher is differentiated", "gradients go to the teacher", "TRL's chunked loss in review (#6526); ms-swift _align_vocab"),
    Defect("gradient where both agree", "where student and teacher are the same the gradient is not 0: a tie is taken for a difference",
           "Liger TVD: -1/2 at ties"),
    Defect("not finite", "logits that are legal (large ones, -inf of the teacher) give NaN or infinity",
           "TRL before #5594; Soup #719: mixtures of probabilities"),
    Defect("NaN without rows", "a batch in which no row counts gives NaN, not 0", "LMOps #38, torchtune's chunked reverse KL"),
    Defect("masked rows reach the result", "what stands in masked rows changes the result or makes it NaN", "0 times infinity: masks that multiply"),
]
# What shows in relations, too, wherever a loss has the first
FOLLOWS = {"labels not shifted": {"masked rows reach the result"}, "gradient not through the softmax": {"gradient where both agree"},
           "student's entropy left out": {"gradient where both agree"},
           "mask not used": {"masked rows reach the result", "NaN without rows"}, "labels shifted once more": {"masked rows reach the result"},
           "hard labels mixed in": {"gradient where both agree"}, "directions swapped": {"not finite"},
           "value of one direction, gradient of the other": {"not finite"}, "top-k truncated": {"tail by subtraction"},
           "top-k renormalised on both sides": {"tail by subtraction"}, "top-k of the teacher renormalised": {"tail by subtraction"},
           "top-k truncated and clamped": {"tail by subtraction"}}
BY_NAME = {defect.name: defect for defect in TABLE}
