/* What GGUF's names of pre-tokenizers (tokenizer.ggml.pre) stand for: patterns that are applied one after the other.
 * Where llama.cpp has a pattern by another one that is nearly the same, the pattern of the model's own tokenizer.json
 * stands here, which the model was trained with. */
#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define LISTED "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define SWITCHED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s+(?!\\S)|\\s+"
#define BEHIND_WORDS "\\s*[\\r\\n]+|" SPACES
#define SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
#define NOT_WORD "[^\\r\\n\\p{L}\\p{N}]?"
#define WORD NOT_WORD "\\p{L}+"
/* Words cut where small letters meet a capital. */
#define CASED(behind) NOT_WORD "[" UPPER "]*[" LOWER "]+" behind "|" NOT_WORD "[" UPPER "]+[" LOWER "]*" behind
#define LLAMA3 LISTED "|" WORD "|\\p{N}{1,3}" SYMBOLS BEHIND_WORDS
#define QWEN2 LISTED "|" WORD "|\\p{N}" SYMBOLS BEHIND_WORDS
#define GPT4O CASED(LISTED "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BEHIND_WORDS
#define ASCII_SYMBOL "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define DEEPSEEK3_WORD ASCII_SYMBOL "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define IDEOGRAPHS_AND_KANA "\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}"
#define IDEOGRAPHS_AND_ABOVE "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define NOT_HAN(set) "(?:(?!\\p{Han})[" set "])"
#define KIMI_WORD(many, some) \
    NOT_WORD NOT_HAN(UPPER)   \
    many NOT_HAN(LOWER)       \
    some LISTED "?"
/* afmoe's scripts that write words without spaces. */
#define UNSPACED                                                                                                \
    "\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{8c48}-\\x{d7ff}\\x{e000}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-" \
    "\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}"      \
    "\\x{1000}-\\x{109f}\\x{1100}-\\x{11ff}"
/* Letters that have case, as deepseek-llm lists them. */
#define CASED_LETTERS                                                                                                 \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-"          \
    "\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-"    \
    "\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-"       \
    "\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"        \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-"       \
    "\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}"          \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-"       \
    "\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}" \
    "\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"         \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-"         \
    "\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}"        \
    "\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-"    \
    "\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-"       \
    "\\x{1e943}"

enum { IGNORE_MERGES = DK_PRE_IGNORE_MERGES, ADD_BOS = DK_PRE_ADD_BOS, MARKED = DK_PRE_MARKED };
static const dk_named_pre pre_tokenizers[] = {
    {{"default"}, 0, {"[\\p{P}\\$\\+<=>\\^~\\|]+", DK_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling", "gigachat", "a.x-4.0",
      "mellum", "modern-bert", "roberta-bpe", "jina-v1-en", "jina-v2-code", "jina-es", "jina-de", "jina-v2-es",
      "jina-v2-de"},
     0,
     {DK_GPT2_PATTERN}},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
     IGNORE_MERGES | ADD_BOS,
     {LLAMA3}},
    {{"glm4", "glm5"}, IGNORE_MERGES, {LLAMA3}},
    {{"dbrx", "smaug-bpe", "chatglm-bpe"}, 0, {LLAMA3}},
    {{"jais-2"},
     0,
     {LISTED "|" WORD "|\\p{N}{1,3}" SYMBOLS
             "\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)"
             "|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
    {{"minicpm5"}, IGNORE_MERGES, {"\\p{N}{1,3}", LISTED "|" WORD "|\\p{N}+" SYMBOLS BEHIND_WORDS}},
    {{"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "grok-2", "solar-open", "kormo", "f2llmv2"},
     0,
     {QWEN2}},
    {{"qwen35"}, 0, {LISTED "|" NOT_WORD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BEHIND_WORDS}},
    {{"laguna"}, 0, {"[^\\n]+|[\\n]+", QWEN2}},
    {{"ufakzeka"}, 0, {WORD "|\\p{N}" SYMBOLS BEHIND_WORDS}},
    {{"seed-coder"}, 0, {LISTED "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" BEHIND_WORDS}},
    {{"bailingmoe", "bailingmoe2", "llada-moe"},
     0,
     {"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" WORD "|\\p{N}" SYMBOLS "\\s*[\\r\\n]|" SPACES}},
    {{"exaone-moe"},
     0,
     {LISTED "|" NOT_WORD "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?"
             "|\\s*[\\r\\n]|" SPACES}},
    {{"tekken"}, IGNORE_MERGES | ADD_BOS, {CASED("") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BEHIND_WORDS}},
    {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, 0, {GPT4O}},
    {{"granite-embed-multi-97m"}, IGNORE_MERGES, {GPT4O}},
    {{"tiny_aya", "cohere2moe"}, 0, {"\\d{1,3}(?=(?:\\d{3})*\\b)", GPT4O}},
    {{"youtu"},
     IGNORE_MERGES,
     {"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}"
      "\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|"
      "[" IDEOGRAPHS_AND_KANA "]+",
      CASED(LISTED "?") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BEHIND_WORDS}},
    {{"kimi-k2"}, 0, {"[\\p{Han}]+|" KIMI_WORD("*", "+") "|" KIMI_WORD("+", "*") "|\\p{N}{1,3}" SYMBOLS BEHIND_WORDS}},
    {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     0,
     {"\\p{N}", DK_GPT2_PATTERN}},
    {{"deepseek-coder"}, 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", IDEOGRAPHS_AND_ABOVE, "\\p{N}"}},
    {{"deepseek-llm"},
     0,
     {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+",
      "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", "\\s+$",
      IDEOGRAPHS_AND_ABOVE, "\\p{N}+"}},
    {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     0,
     {"\\p{N}{1,3}", "[" IDEOGRAPHS_AND_KANA "]+", DEEPSEEK3_WORD "[\\r\\n]*|" BEHIND_WORDS}},
    {{"spark2_5"}, 0, {"\\p{N}{1,3}", "[" IDEOGRAPHS_AND_KANA "]+", DEEPSEEK3_WORD "|[\\r\\n]|" SPACES, "\\p{N}"}},
    {{"afmoe"},
     0,
     {"\\p{N}{1,3}(?=(?:\\p{N}{3})*+(?!\\p{N}))", "[" UNSPACED "]+", DEEPSEEK3_WORD "[\\r\\n]*|" BEHIND_WORDS}},
    {{"falcon"}, 0, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", DK_GPT2_PATTERN, "[0-9][0-9][0-9]"}},
    {{"superbpe"}, 0, {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}},
    {{"bloom", "poro-chat", "gpt3-finnish"}, 0, {BLOOM}},
    {{"viking"}, 0, {BLOOM, "\\p{N}"}},
    {{"chameleon"},
     ADD_BOS,
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", DK_GPT2_PATTERN}},
    {{"gemma4", "sarvam-moe", "granite-embed-multi-311m"}, MARKED, {NULL}},
};

int32_t dk_find_pre(const char *name, const dk_named_pre **out, dk_error *err)
{
    char known[400] = "";
    int32_t others = 0;
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof *pre_tokenizers; i++) {
        const char *const *names = pre_tokenizers[i].names;
        for (int32_t n = 0; names[n]; n++) {
            if (!strcmp(names[n], name)) return *out = &pre_tokenizers[i], DK_OK;
            others += n > 0;
        }
        strcat(strcat(known, *known ? ", " : ""), names[0]);
    }
    return dk_fail(
        err, DK_E_UNSUPPORTED,
        "pre-tokenizer '%.40s' is not known; known: %s (%d more names mean one of these); take the tokenizer "
        "from a folder with tokenizer.json",
        name, known, (int)others);
}

/* ---- the name of steps ---- */
static int32_t skip(const char **text, const char *what)
{
    const size_t size = strlen(what);
    if (strncmp(*text, what, size) != 0) return 0;
    *text += size;
    return 1;
}

/* Files spell what the patterns above say in several ways: contractions with a switch for case, characters as
 * themselves. */
static uint32_t next_unit(const char **text)
{
    enum { CONTRACTIONS = 0x110000 };
    uint32_t c = 0;
    if (skip(text, LISTED) || skip(text, SWITCHED)) return CONTRACTIONS;
    if (skip(text, "\\r")) return '\r';
    if (skip(text, "\\n")) return '\n';
    if (skip(text, "\\t")) return '\t';
    if (skip(text, "\\x{")) {
        for (; **text && **text != '}'; (*text)++)
            c = c * 16 + (uint32_t)(**text <= '9' ? **text - '0' : (**text | 32) - 'a' + 10);
        *text += **text == '}';
        return c;
    }
    *text += dk_codepoint(*text, &c);
    return c;
}

static int32_t same_pattern(const char *named, const dk_matcher *matcher)
{
    const char *text = matcher->kind == DK_MATCH_NUMBER ? "\\p{N}" : matcher->text;
    if (matcher->kind != DK_MATCH_NUMBER && matcher->kind != DK_MATCH_REGEX) return 0;
    if (matcher->invert || !text) return 0;
    while (*named && *text)
        if (next_unit(&named) != next_unit(&text)) return 0;
    return !*named && !*text;
}

static int32_t is_named(const dk_named_pre *named, const dk_steps *pre)
{
    int32_t at = 0;
    if (named->flags & MARKED) return 0;
    for (; at < pre->count && pre->items[at].kind == DK_STEP_SPLIT; at++)
        if (at >= DK_PRE_PATTERNS || !named->patterns[at] || pre->items[at].behavior != DK_SPLIT_ISOLATED ||
            !same_pattern(named->patterns[at], &pre->items[at].matcher))
            return 0;
    if (at < DK_PRE_PATTERNS && named->patterns[at]) return 0;
    return at + 1 == pre->count && pre->items[at].kind == DK_STEP_BYTES;
}

const char *dk_pre_name(const dk_steps *pre, int32_t ignore_merges)
{
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof *pre_tokenizers; i++) {
        const dk_named_pre *named = &pre_tokenizers[i];
        if (!(named->flags & IGNORE_MERGES) == !ignore_merges && is_named(named, pre)) return named->names[0];
    }
    return NULL;
}
