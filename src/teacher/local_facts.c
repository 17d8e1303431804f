/* local_facts.c - what a local model says of itself, whoever holds it. */
#include "teacher/teacher_parts.h"

int64_t di_vocab_valid(const dk_model *model, const dk_tokenizer *tokenizer)
{
    return tokenizer ? dk_tokenizer_vocab_size(tokenizer) : model->config.vocab_size;
}

void di_facts_of_model(const dk_model *model, const dk_tokenizer *tokenizer, di_facts *out)
{
    out->vocab_size = model->config.vocab_size;
    out->vocab_valid = di_vocab_valid(model, tokenizer);
    out->hidden_size = model->config.hidden_size;
    out->layers = model->config.layers;
    out->context_length = model->config.max_positions;
    out->parameters = dk_model_elements(model);
    out->bytes = (int64_t)model->file_bytes;
}
