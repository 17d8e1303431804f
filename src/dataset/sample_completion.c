/* sample_completion.c - a completion and its prompt, both texts. */
#include "dataset/sample.h"

/* The completion ends with EOS, which may be spelled out already. */
static int32_t end_completion(const di_encoder *encoder, int64_t first, di_encoded *out, dk_error *err)
{
    int32_t ended = out->count > first && out->ids[out->count - 1] == encoder->eos;
    out->notes.endless += encoder->eos < 0;
    return ended ? DK_OK : di_encode_id(out, encoder->eos, 1, err);
}

int32_t di_encode_completion(const di_encoder *encoder, const dk_node *prompt, const dk_node *completion,
                             di_encoded *out, dk_error *err)
{
    dk_strbuf both;
    int32_t rc;
    dk_strbuf_init(&both, encoder->host);
    dk_strbuf_append(&both, prompt->text, prompt->size);
    dk_strbuf_append(&both, completion->text, completion->size);
    DK_TRY(dk_strbuf_check(&both, err));
    di_note_special(encoder, both.data, both.size, out);
    DK_TRY(di_encode_id(out, encoder->bos, encoder->prompt_loss, err));
    DK_TRY(di_encode_segment(encoder, both.data, prompt->size, 0, encoder->text_flags, encoder->prompt_loss, out, err));
    int64_t first = out->count;
    DK_TRY(di_encode_segment(encoder, both.data + prompt->size, completion->size, prompt->size, encoder->text_flags, 1,
                             out, err));
    DK_TRY(end_completion(encoder, first, out, err));
out:
    dk_strbuf_free(&both);
    return rc;
}
