"""Makes the site: these pages, the source files that they point at, and the API reference from the docstrings.

    python docs/make_site.py [DIRECTORY]        (default: site; tox -e docs)

Every link between pages is looked up in what was made; exit status 1 if one leads nowhere.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
import shutil
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from posixpath import relpath

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "guests/README.md", "examples/*/README.md")
#: What users, and modules from outside, import.
API = (
    "mmu", "emu.machine", "emu.testing", "guests", "msharefs", "sharing", "emu.kernel.modules", "emu.kernel.kernel",
    "emu.kernel.task", "emu.linux.errors", "emu.linux.syscall", "emu.linux.argument", "emu.linux.layout",
    "emu.linux.tracer", "emu.linux.event_kind", "emu.kernel.tracer", "emu.fs.superblock", "emu.fs.inode",
    "emu.fs.file", "emu.fs.libfs", "emu.fs.pseudo", "emu.linux.mman", "emu.mm.flags", "emu.mm.vma", "emu.mm.vmops",
    "emu.mm.memory", "emu.mm.shared_tables",
)  # fmt: skip
STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; display: flex; gap: 2rem; }
body { font: 1rem/1.5 system-ui, sans-serif; }
nav { flex: 0 0 14rem; font-size: .9rem; } nav a { display: block; padding: .1rem 0; }
main { flex: 1; min-width: 0; } img { max-width: 100%; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--line); border-radius: .3rem; line-height: 1.35; }
code { font-size: .9em; } a { color: light-dark(#0a58ca, #7db3ff); }
@media (max-width: 60rem) { body { display: block; } }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="{up}style.css"></head>
<body><nav>{nav}</nav><main>{body}</main></body></html>
"""


class Links(HTMLParser):
    """Where a page points to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


class Site:
    """The pages by their paths in the repository, and what they need of it."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
        self.titles = {
            page: page.read_text("utf-8").partition("\n")[0].lstrip("# ").replace("`", "") for page in self.pages
        }
        self.ahead: list[Path] = []

    def address(self, path: Path) -> str:
        """Where a file or folder of the repository is on the site."""
        name = path.relative_to(ROOT).as_posix()
        if path == ROOT / "README.md":
            return "index.html"
        if path in self.titles:
            return name.removesuffix(".md") + ".html"
        if path.suffix == ".svg":
            return name
        return f"source/{name}/index.html" if path.is_dir() else f"source/{name}.html"

    def write(self, name: str, title: str, body: str) -> None:
        up = "../" * name.count("/")
        links = [(self.address(page), text) for page, text in self.titles.items()] + [("api/index.html", "API")]
        nav = "".join(f'<a href="{up}{to}">{html.escape(text)}</a>' for to, text in links)
        target = self.target / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(PAGE.format(title=html.escape(title), up=up, nav=nav, body=body), "utf-8")

    # -- pages ---------------------------------------------------------------------------------------------------------

    def make_page(self, page: Path) -> None:
        markdown = MarkdownIt("commonmark", {"highlight": colour}).enable("table")
        tokens = markdown.parse(page.read_text("utf-8"))
        for token, following in zip(tokens, [*tokens[1:], Token("", "", 0)], strict=True):
            if token.type == "heading_open":
                token.attrSet("id", re.sub(r"[^\w\- ]", "", following.content.lower()).replace(" ", "-"))
            for child in token.children or ():
                for attribute in ("href", "src"):
                    if attribute in child.attrs:
                        child.attrSet(attribute, self.here(page, str(child.attrs[attribute])))
        body = markdown.renderer.render(tokens, markdown.options, {})
        self.write(self.address(page), self.titles[page], body)

    def here(self, page: Path, link: str) -> str:
        """A link of a page as the site has it; what it leads to will be made."""
        name, hash_, anchor = link.partition("#")
        if "://" in link or not name:
            return link
        path = (page.parent / name).resolve()
        self.ahead.append(path)
        return relpath(self.address(path), Path(self.address(page)).parent.as_posix()) + hash_ + anchor

    # -- what they point at --------------------------------------------------------------------------------------------

    def make_rest(self) -> None:
        done = set(self.titles)
        while self.ahead:
            path = self.ahead.pop()
            if path in done or not path.exists():
                continue
            done.add(path)
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".svg":
                shutil.copy(path, self.target / name)
            elif path.is_dir():
                self.make_folder(path, name)
            else:
                self.write(self.address(path), name, f"<h1>{name}</h1>{colour(path.read_text('utf-8'), path.name, '')}")

    def make_folder(self, path: Path, name: str) -> None:
        shown = [p for p in sorted(path.iterdir()) if p.suffix in (".py", ".c", ".h", ".md", ".toml") or p.is_dir()]
        shown = [p for p in shown if p.name != "__pycache__" and not (p.is_dir() and p.name == "bin")]
        base = Path(self.address(path)).parent.as_posix()
        if path.is_relative_to(ROOT / "tests"):  # as many lines as all the rest: named only
            names = [p.name for p in shown]
        else:
            self.ahead += shown
            names = [f'<a href="{relpath(self.address(p), base)}">{p.name}</a>' for p in shown]
        about = [html.escape(first_sentence(p)) for p in shown]
        rows = "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in zip(names, about, strict=True))
        self.write(self.address(path), name, f"<h1>{name}</h1><table>{rows}</table>")

    # -- the reference -------------------------------------------------------------------------------------------------

    def make_reference(self) -> None:
        from pdoc import pdoc, render

        for name in API:
            module = importlib.import_module(name)
            for public in getattr(module, "__all__", ()):
                setattr(module, public, getattr(module, public))  # names that are imported when they are first used
        warnings.filterwarnings("ignore", module="pdoc.doc_types")  # names of fields that only a type checker imports
        render.configure(docformat="restructuredtext", footer_text="unimmu")
        pdoc(*API, output_directory=self.target / "api")

    # -- links ---------------------------------------------------------------------------------------------------------

    def broken(self) -> list[str]:
        found = []
        pages = (self.target / self.address(page) for page in self.titles)
        for file in (*pages, *sorted(self.target.glob("source/**/index.html"))):
            for link in Links(file).found:
                name, _, anchor = link.partition("#")
                goal = (file.parent / name).resolve() if name else file
                if "://" not in link and (
                    not goal.exists() or (anchor and f'id="{anchor}"' not in goal.read_text("utf-8"))
                ):
                    found.append(f"{file.relative_to(self.target)}: {link}")
        return found


def colour(code: str, language: str, _: str) -> str:
    """Code with its colours; ``language`` is that of a block, or the name of a file."""
    try:
        lexer = get_lexer_for_filename(language) if "." in language else get_lexer_by_name(language)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(code, lexer, HtmlFormatter(noclasses=False, cssclass="code")))


def first_sentence(path: Path) -> str:
    if path.suffix != ".py":
        return ""
    found = re.match(r'(?:#[^\n]*\n)*"""(.+?)(?:\.\s|:\s|""")', path.read_text("utf-8"), re.DOTALL)
    return inspect.cleandoc(found[1]).replace("\n", " ") if found else ""


def style() -> str:
    light = HtmlFormatter(style="default").get_style_defs(".code")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".code")
    plain = ".code, .code pre { background: none; }"
    return f"{STYLE}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}\n"


def main(arguments: list[str]) -> int:
    target = Path(arguments[0] if arguments else ROOT / "site").resolve()
    if target.exists() and not (target / "style.css").exists() and any(target.iterdir()):
        print(f"make_site: {target} is not empty, and no site of ours", file=sys.stderr)
        return 2
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "style.css").write_text(style(), "utf-8")
    site = Site(target)
    for page in site.pages:
        site.make_page(page)
    site.make_rest()
    site.make_reference()
    broken = site.broken()
    for link in broken:
        print(f"make_site: a link leads nowhere: {link}", file=sys.stderr)
    print(f"{target / 'index.html'}: {len(site.pages)} pages, {len(list(target.rglob('*.html')))} files")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
