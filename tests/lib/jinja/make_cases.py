#!/usr/bin/env python3
"""Writes tests/data/jinja/cases.json: templates of ours, and what the reference (transformers' jinja2) renders of them.

usage: make_cases.py OUT"""
import json
import sys

from diff_templates import NOW, Clock, expected, reference

CONTEXT = {
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "tools": None, "n": None, "e": [], "i": 7, "f": 2.5,
    "s": "Hello <World> it's", "t": "  x\ty\r\nz\n ", "u": "caf\u00e9 \u00df \u65e5\u672c", "l": ["b", "A", "c", "b"], "k": [3, 1, 2],
    "d": {"b": 1, "A": "x", "c": None}, "m": [{"role": "system", "content": " S "}, {"role": "user", "content": "q?"},
                                             {"role": "assistant", "content": "a.", "n": 2}],
}
TEMPLATES = r"""
{{ bos_token }}{% for x in m %}<|{{ x.role }}|>{{ x['content'] | trim }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}
{% for x in m %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }};{% endfor %}
{% for x in e %}x{% else %}none{% endfor %}{% for a, b in d.items() %}{{ a }}={{ b }},{% endfor %}{% for c in 'h\u00e9' %}[{{ c }}]{% endfor %}{% for q in d %}{{ q }}{% endfor %}
{% for x in k if x > 1 %}{{ loop.index }}:{{ x }} {% endfor %}{% for x in k %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}
{% for x in range(3) %}{% for y in range(x) %}{{ x }}{{ y }}{{ loop.cycle('a', 'b') }} {% endfor %}{{ loop.changed(x // 2) }}{% endfor %}
{% set ns = namespace(n=0, s='') %}{% for x in m %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ x.role[0] %}{% set lost = 1 %}{% endfor %}{{ ns.n }}{{ ns.s }}{{ lost is defined }}
{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set c %}block {{ a }}{% endset %}{{ c }}{% set g | upper | replace('B', 'x') %}a b{% endset %}{{ g }}{% with q = 3, r = 4 %}{{ q * r }}{% endwith %}{{ q is defined }}
{% macro f(x, y=2, z='q' ~ y) %}<{{ x }}|{{ y }}|{{ z }}>{% endmacro %}{{ f(1) }}{{ f(1, z=3) }}{{ f(y=5, x=4) }}{{ f() }}{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(3) }}
{% if n %}1{% elif e %}2{% elif i == 7 and not n %}3{% else %}4{% endif %}{{ 'y' if i else 'n' }}{{ 'y' if n }}{{ n or 'o' }}{{ i and 'a' }}{{ not e }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 'a' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1, 2) + (3,) }} {{ 1.0 }} {{ 1e20 }} {{ 0.1 + 0.2 }} {{ 1e-7 }} {{ 3 * 1.5 }}
{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'b' in l }} {{ 'z' not in l }} {{ 'World' in s }} {{ 'A' in d }} {{ 1 == 1.0 == true }} {{ [1, [2]] == [1, [2]] }} {{ {'a': 1} == {'a': 1.0} }} {{ none == none }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}
{{ 'a' 'b' "c" }} {{ 'q' ~ 1 ~ none ~ true ~ [1, 'x'] }} {{ 'it\'s' }} {{ "tab\tx\x41\u00e9\n" }} {{ '\q' }} {{ 1_000 }} {{ (1) }} {{ (1,) }} {{ () }} {{ {} }} {{ {'a': [1, (2, 'b')], "it's": "q\"'"} }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[:-3] }}{{ s[::2] }}{{ s[::-1] }}{{ s[5:1:-2] }} {{ k[1:] }}{{ k[::-1] }}{{ k[-2:] }}{{ k[9:] }}{{ k[99] }} {{ m[0].role }}{{ m[-1]['content'] }}{{ m.0.role }}{{ d.zz }}{{ d['zz'] is defined }}
{{ u | length }} {{ l | count }} {{ d | length }} {{ u | upper }} {{ u | capitalize }} {{ s | title }} {{ s | lower }} {{ '--x--' | trim('-') }} {{ l | first }}{{ l | last }} {{ l | join('+') }} {{ m | join('|', attribute='role') }} {{ s | replace('l', 'L', 1) }} {{ s | replace('', '.') }}
{{ zz | default('d') }} {{ '' | default('d') }} {{ '' | d('d', true) }} {{ none | default('x') }} {{ k | sort }} {{ l | sort }} {{ l | sort(case_sensitive=true, reverse=true) }} {{ m | sort(attribute='role') | map(attribute='role') | list }} {{ l | unique | list }} {{ l | reverse | list }} {{ s | reverse }}
{{ d | dictsort }} {{ d | dictsort(reverse=true, case_sensitive=true) }} {{ {'a': 2, 'b': 1} | dictsort(by='value') }} {{ d | items | list }} {{ k | sum }} {{ k | min }}{{ k | max }} {{ m | map(attribute='n', default=0) | sum }} {{ l | map('upper') | join }} {{ l | map('replace', 'b', 'q') | list }}
{{ m | selectattr('role', 'equalto', 'user') | list | length }} {{ m | rejectattr('role', 'in', ['user', 'system']) | map(attribute='content') | list }} {{ m | selectattr('n') | list }} {{ [0, 1, none, 'x'] | select | list }} {{ [0, 1, 2, 3] | select('odd') | list }} {{ [0, 1, 2] | reject('divisibleby', 2) | list }} {{ k | select('>', 1) | list }}
{{ '5' | int + 1 }} {{ ' 7 ' | int }} {{ 'x' | int(3) }} {{ '3.9' | int }} {{ '2.5' | float }} {{ 'q' | float }} {{ -3 | abs }} {{ 2.5 | round }} {{ 3.5 | round | int }} {{ 2.567 | round(2, 'floor') }} {{ 7 | string ~ 'x' }} {{ '%s-%d%%' | format('a', 3) }} {{ '%s' % i }} {{ '%s %s' % (1, 'b') }}
{{ d | tojson }} {{ m | tojson(indent=2) }} {{ u | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ '\u0001\x7f"\\/' | tojson }} {{ d | tojson(sort_keys=true, separators=(',', ':')) }} {{ [] | tojson(indent=4) }} {{ {1: 2.0, none: true} | tojson }} {{ '\U0001f600' | tojson(ensure_ascii=true) }}
{{ 'a\nb\n\nc' | indent }}| {{ 'a\nb\n\nc\n' | indent(2, true, true) }}| {{ 'a\r\nb' | indent('> ') }}| {{ '<&>' | escape }} {{ ('<' | safe) + '<' }} {{ '<' ~ ('<' | safe) }} {{ ['<' | safe] }}
{{ t.strip() }}|{{ t.lstrip() }}|{{ t.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ s.split() }}|{{ s.split('l') }}|{{ s.split(' ', 1) }}|{{ s.rsplit(' ', 1) }}|{{ t.splitlines() }}|{{ s.partition(' ') }}|{{ s.rpartition('zz') }}|{{ '-'.join(l) }}
{{ s.startswith('Hell') }}{{ s.startswith(('x', 'H')) }}{{ s.endswith('s') }}{{ s.find('l') }}{{ s.rfind('l') }}{{ s.find('z') }}{{ u.find('\u65e5') }}{{ s.count('l') }}{{ s.index('W') }}{{ s.upper() }}{{ s.title() }}{{ s.capitalize() }}{{ s.replace('l', '', 2) }}{{ s.removeprefix('He') }}{{ s.removesuffix("'s") }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ '{} {1} {z}'.format(1, 2, z=3) if false }}{{ '{}-{}'.format(1, 'b') }}{{ '{a}{{}}'.format(a=2) }}
{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 5) }}{{ d.keys() | list }}{{ d.values() | list }}{{ d.items() | list }}{{ dict(a=1, b=2) }}{{ dict([('x', 1)]) }}{{ k.index(2) }}{{ l.count('b') }}{{ range(1, 10, 3) | list }}{{ range(5, 0, -2) | list }}{{ range(4)[1:3] | list }}
{{ zz is defined }}{{ zz is undefined }}{{ n is none }}{{ s is string }}{{ d is mapping }}{{ l is iterable }}{{ l is sequence }}{{ d.items() is sequence }}{{ i is number }}{{ i is integer }}{{ f is float }}{{ true is boolean }}{{ true is true }}{{ 1 is true }}{{ i is odd }}{{ i is even }}{{ i is divisibleby 7 }}{{ i is not none }}{{ i is in [7] }}{{ i is eq 7 }}{{ 'a' is lower }}{{ 'A' is upper }}{{ n is sameas none }}{{ i is ge(7) }}{{ zz is sequence }}{{ 'upper' is filter }}
{{ strftime_now('%d %B %Y, %b %a %A %H:%M:%S %I %p %j %y %m %%') }}{{ strftime_now is defined }}
a {%- if i %} b {%- endif -%}  c  {{- i }} {{ i -}}  d {#- note -#} e {# note #} f
    {% if i %}
  x
    {%+ if true %}y{% endif +%}
  z
    {% endif %}
	{# comment #}
{% raw %}{{ not }} {% if %}{% endraw %} {%- raw -%}  {# x #}  {%- endraw %} end
{%- set x = 1 -%}
   {{- x -}}
x
{% for x in k -%}
    {{ x }},
{%- endfor %}

{% generation %}a{{ i }}{% endgeneration %}-{% for x in k %}{% generation %}{{ x }}{% set q = x %}{% endgeneration %}{{ q is defined }};{% endfor %}
{% for x in m %}{% if x.role == 'assistant' %}<|a|>{% generation %}{{ x.content }}<|end|>{% endgeneration %}{% else %}<|{{ x.role }}|>{{ x.content }}<|end|>{% endif %}{% endfor %}
"""
MULTILINE = ["a\n{% if i %}\n  b\n{% endif %}\nc\n", "a\r\n  {% if i %}\r\n  b\r\n  {% endif %}\r\nc\r\n\r\n", "  {% set x = 1 %}\n  {{ x }}\n  {#- c #}\n y\n",
             "{%- for x in k %}\n    {{- x }}\n    {%- if not loop.last %}, {% endif %}\n{%- endfor %}\n", "x   {%+ if i %} y {% endif %}\nz\n",
             "{% raw %}\n {{ a }}\n{% endraw %}\nb", "{% macro f(a) %}\n  [{{ a }}]\n{% endmacro %}\n{{ f(1) }}\n{{ f('x') }}\n",
             "{{ {'a': {'b': 1}}['a']['b'] }}{{ '}}' }}{{ \"%}\" }}", "\n\n{{ i }}\n\n"]


def main():
    reference.datetime = Clock
    cases = []
    for text in [line for line in TEMPLATES.split("\n") if line] + MULTILINE:
        want, error = expected(text, CONTEXT)
        if error and error.startswith("TemplateSyntaxError"):
            continue  # a line of the block above that is none alone
        case = {"template": text}
        case.update({"refused": True} if error else {"text": want})
        cases.append(case)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"context": CONTEXT, "date": list(NOW.timetuple()[:6]), "cases": cases}, file, indent=1, ensure_ascii=True)
        file.write("\n")
    print(len(cases), [case["template"] for case in cases if "refused" in case])


if __name__ == "__main__":
    main()
