#!/usr/bin/env python3
"""Talks with a model, as the words come; Ctrl-C stops an answer, Ctrl-D leaves.

    python3 chat.py MODEL [--draft MODEL] [--chat-template NAME]
"""
import argparse
import sys

import distill


def answer(session, messages, template):
    text = ""
    session.chat(messages, chat_template=template)  # what stood is not read again
    try:
        for token in session:
            print(token.text, end="", flush=True)
            text += token.text
    except KeyboardInterrupt:
        print(" ...", end="")
    print()
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a Hugging Face folder or a GGUF file")
    parser.add_argument("--draft", help="a smaller model of the same tokenizer, for speed")
    parser.add_argument("--chat-template", help="chatml, llama2, llama3, mistral, or Jinja text")
    parser.add_argument("--max-tokens", type=int, default=500)
    arguments = parser.parse_args()
    messages = []
    try:
        model = distill.Teacher(arguments.model)
        draft = distill.Teacher(arguments.draft) if arguments.draft else None
        session = distill.Session(model, draft, temperature=0, max_tokens=arguments.max_tokens, overflow="oldest")
        while True:
            print("> ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                break
            messages.append({"role": "user", "content": line.rstrip("\n")})
            messages.append({"role": "assistant", "content": answer(session, messages, arguments.chat_template)})
    except distill.DistillError as error:
        print(error, file=sys.stderr)
        return 1
    print(session.stats(), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
