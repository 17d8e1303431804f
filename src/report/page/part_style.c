/* part_style.c - how the page looks: light and dark, wide and narrow, on paper. Readers who see no red or no green tell
 * the colours apart (after Okabe and Ito, Color Universal Design, 2008), and every line has its name at its end. */
#include "report/page/sheet.h"

static const char *const style[] = {
    ":root{--paper:#fcfbf9;--card:#fff;--ink:#1c2126;--soft:#636b74;--rule:#e4e1db;--wash:#efece6;--good:#00694b;"
    "--bad:#a03410;--c0:#0069a8;--ct:#b84a00;--cb:#6c6f76;--c1:#00785a;--c2:#a8417f;--c3:#8a6500;--c4:#5b4bb5;"
    "--c5:#1d7f9c;--c6:#7c5a3c;--c7:#4d6b2f}",
    "@media "
    "(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1b1f25;--ink:#e7e9ec;--soft:#9aa3ad;--rule:#2e343c;"
    "--wash:#242a31;--good:#48cfa5;--bad:#ff9c6e;--c0:#5ab4ee;--ct:#f59145;--cb:#a2a8b0;--c1:#3fc79e;--c2:#e593c4;"
    "--c3:#e6bd45;--c4:#a99cf5;--c5:#6fd0e8;--c6:#d3a67f;--c7:#a9cf7d}}",
    "*{box-sizing:border-box}html{color-scheme:light dark;-webkit-text-size-adjust:100%}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,"
    "'Helvetica Neue',Arial,'Liberation Sans',sans-serif;font-variant-numeric:tabular-nums lining-nums}"
    "main,header,footer{max-width:1440px;margin:0 auto;padding:0 max(16px,3.2vw)}",
    "header{padding-top:44px}.eyebrow{color:var(--soft);font-size:12.5px;letter-spacing:.09em;text-transform:uppercase;"
    "margin:0 0 "
    "8px}h1{font-size:clamp(26px,3.4vw,40px);line-height:1.14;margin:0 0 10px;letter-spacing:-.018em;font-weight:680;"
    "overflow-wrap:anywhere}h1 .ct{color:var(--ct)}h1 .c0{color:var(--c0)}h1 .to{color:var(--soft);font-weight:400}"
    ".lead{color:var(--soft);margin:0;max-width:78ch;overflow-wrap:anywhere}",
    ".verdict{margin:30px 0 0;padding:24px clamp(16px,2.4vw,34px);background:var(--card);border:1px solid var(--rule);"
    "border-left:5px solid var(--c0);border-radius:10px}.verdict p{margin:0;max-width:70ch;text-wrap:pretty}"
    ".verdict .main{font-size:clamp(18px,1.75vw,23px);line-height:1.42;letter-spacing:-.006em}.verdict "
    "b{white-space:nowrap}.verdict b.name{white-space:normal;overflow-wrap:anywhere}"
    ".verdict .note{margin-top:10px;color:var(--soft);font-size:14px}.verdict.live{border-left-color:var(--ct)}",
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));margin:22px 0 0;padding:0;"
    "list-style:none;background:var(--card);border:1px solid var(--rule);border-radius:10px;overflow:hidden}.cards "
    "li{padding:14px 18px 13px;border:solid var(--rule);border-width:0 1px 1px 0;margin:0 -1px -1px 0}.cards "
    ".of{display:block;color:var(--soft);font-size:13px}.cards "
    "strong{display:block;font-size:27px;line-height:1.22;font-weight:640;letter-spacing:-.015em;color:var(--c0)}",
    "@media(min-width:600px) and (max-width:1060px){.cards:has(li:nth-child(6):last-child){grid-template-columns:"
    "repeat(3,1fr)}}",
    "section{margin:52px 0 0}h2{font-size:21px;margin:0 0 4px;letter-spacing:-.01em;font-weight:660}"
    ".about{color:var(--soft);margin:0 0 "
    "16px;max-width:78ch;font-size:15px}.foot{color:var(--soft);font-size:13px;margin:8px 0 "
    "2px}.grid{display:grid;grid-template-columns:repeat(auto-fill,"
    "minmax(min(100%,390px),1fr));gap:18px}figure,.box{margin:0;background:var(--card);border:1px solid var(--rule);"
    "border-radius:10px;padding:15px 16px "
    "11px;break-inside:avoid;min-width:0}figcaption{font-size:14px;line-height:1.42;"
    "color:var(--soft);margin:0 0 9px;min-height:2.8em}figcaption b{display:block;color:var(--ink);font-size:15.5px;"
    "font-weight:640}svg{display:block;width:100%;height:auto;max-width:560px;overflow:visible}",
    ".bars figcaption{min-height:0}"
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}"
    ".c6{--c:var(--c6)}.c7{--c:var(--c7)}.ct{--c:var(--ct)}.cb{--c:var(--cb)}",
    "svg text{font-size:12px;fill:var(--ink)}svg .tick{fill:var(--soft);font-size:11.5px}svg .name{fill:var(--soft);"
    "font-size:12px}svg g .label,svg .name.ct,svg .name.c0{fill:var(--c);font-weight:620}svg .figure{font-weight:400;"
    "fill:var(--ink)}svg .soft{fill:var(--soft)}.end{text-anchor:end}.mid{text-anchor:middle}svg .token{font-family:"
    "ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace;font-size:12px}svg .right{"
    "font-weight:700;fill:var(--good)}",
    ".grid line,line.grid{stroke:var(--rule)}line.axis{stroke:var(--soft);stroke-width:1}line.leader{stroke:var(--c);"
    "stroke-width:.8;opacity:.45}.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:"
    "round}"
    ".cb .line{stroke-dasharray:6 4}.line.level{stroke-dasharray:2 4;stroke-width:1.8}.dots circle{fill:var(--c);"
    "stroke:var(--card);stroke-width:1.2}.ghosts circle{fill:var(--c);opacity:0}.ghosts circle:hover{opacity:.55}"
    ".share{fill:var(--wash)}.bar{fill:var(--c)}.reach{fill:var(--c);opacity:.28}.rule{fill:var(--rule)}",
    "table{border-collapse:collapse;width:100%;font-size:14px}.scroll{overflow-x:auto;background:var(--card);border:"
    "1px solid "
    "var(--rule);border-radius:10px}th,td{padding:8px 14px;text-align:right;border-bottom:1px solid var(--rule);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}thead "
    "th{color:var(--soft);font-weight:500;font-size:"
    "12.5px;line-height:1.25;white-space:normal;vertical-align:bottom}tbody th{font-weight:600}tbody "
    "tr:last-child>*{border-bottom:0}td small,th "
    "small{display:"
    "block;color:var(--soft);font-weight:400}.panel{margin:18px 0 "
    "0;width:max-content;max-width:100%}.key{display:inline-block;width:10px;height:10px;border-radius:3px;"
    "background:"
    "var(--c);margin-right:8px}.best{color:var(--good);font-weight:650}",
    ".figures{border-collapse:separate;border-spacing:0}.figures .group th{text-align:left;color:var(--soft);font-size:"
    "12.5px;font-weight:560;padding-top:16px}.figures tbody th{font-weight:400;white-space:normal;min-width:8em}"
    ".figures thead th{white-space:nowrap;color:var(--ink);font-weight:600}.figures small:empty{display:none}"
    ".figures th:first-child{position:sticky;left:0;background:var(--card)}.figures td,.figures tbody "
    "th{padding-top:5px;"
    "padding-bottom:5px}",
    "pre,code,.data{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace;"
    "font-size:13px}pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5}.data{unicode-bidi:"
    "isolate;"
    "white-space:pre-wrap;overflow-wrap:anywhere}.box h3{font-size:13px;margin:0 0 "
    "7px;color:var(--soft);font-weight:560}"
    ".box h3 b{color:var(--ink)}.context{margin:0 0 10px;line-height:1.55}.context "
    "mark{background:none;color:var(--good);"
    "font-weight:700;border-bottom:2px solid var(--good)}.more{color:var(--soft)}",
    ".sample p{margin:0 0 9px}.sample .who{display:block;font:600 12.5px/1.5 "
    "system-ui,sans-serif;color:var(--c)}.sample "
    ".who.truth{color:var(--soft)}dl{display:grid;grid-template-columns:fit-content(10em) 1fr;gap:5px "
    "18px;margin:0;font-size:14px}"
    "dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}.missing{color:var(--soft);font-"
    "style:italic;margin:6px "
    "0}.box .missing{font-size:13px}"
    ".warn{border-left:4px solid var(--bad)}.warn li{overflow-wrap:anywhere}.box ul{margin:0;padding-left:18px}",
    ".progress{height:8px;border-radius:4px;background:var(--wash);margin:14px 0 0;overflow:hidden}.progress "
    "i{display:block;"
    "height:100%;background:var(--ct)}footer{color:var(--soft);font-size:13px;padding-top:44px;padding-bottom:52px}"
    "details summary{cursor:pointer;color:var(--soft);font-size:14px;margin:0 0 8px}",
    "@media (max-width:520px){section{margin-top:40px}dl{grid-template-columns:1fr;gap:0 0}dd{margin-bottom:8px}header{"
    "padding-top:26px}figure,.box{padding:12px 11px 9px}th,td{padding:7px 10px}figcaption{min-height:0}.cards{"
    "grid-template-columns:1fr 1fr}.cards strong{font-size:23px}.figures{font-size:13px}.figures tbody th,.figures td"
    "{padding-left:6px;padding-right:6px}}",
    "@media "
    "print{:root{--paper:#fff;--card:#fff;--ink:#000;--soft:#4d545c;--rule:#d5d2cc;--wash:#efece6;--good:#00694b;"
    "--bad:#a03410;--c0:#0069a8;--ct:#b84a00;--cb:#6c6f76;--c1:#00785a;--c2:#a8417f;--c3:#8a6500;--c4:#5b4bb5;"
    "--c5:#1d7f9c;--c6:#7c5a3c;--c7:#4d6b2f}@page{margin:14mm 12mm}*{-webkit-print-color-adjust:exact;"
    "print-color-adjust:exact}body{font-size:11.5px}main,header,footer{max-width:none;padding:0}header{padding-top:0}"
    "section{"
    "margin-top:22px}.cards{grid-template-columns:repeat(auto-fit,minmax(100px,1fr));margin-top:12px}.cards "
    "li{padding:8px "
    "10px}.verdict{margin-top:14px;padding:14px 18px}.grid{grid-template-columns:1fr "
    "1fr;gap:10px}h2{break-after:avoid}.about{break-after:avoid}.verdict,"
    "figure,.box,tr,.cards{break-inside:avoid}pre,.data{font-size:10px}.cards "
    "strong{font-size:19px}.scroll{overflow:visible}"
    "figcaption{font-size:11px}figcaption b{font-size:12.5px}table{font-size:11px}th,td{padding:5px 8px}"
    ".figures td,.figures tbody th{padding:2.5px 8px}.figures .group th{padding-top:8px}}",
};

void di_part_style(di_sheet *s)
{
    di_html(s, "<style>\n");
    for (size_t i = 0; i < sizeof style / sizeof *style; i++) {
        di_html(s, style[i]);
        di_html(s, "\n");
    }
    di_html(s, "</style>\n");
}
