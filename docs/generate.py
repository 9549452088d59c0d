"""Regenerate, or check, everything in README.md and docs/ that a program can say: `nox -s docs [-- --write]`.

Two checks: text between cog's markers equals what its code prints now (the README's tour runs the real commands), and
every relative link leads to a file and to a heading in it. `--check` changes nothing and fails with a diff; `--write`
brings the text up to date. Files may be named to do only those. Tutorials (docs/newcomer.py) are run by `--write`, and
checked by the tests, in few steps.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from cogapp import Cog

from docs import newcomer, tour

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def pages() -> list[Path]:
    """Return every Markdown page of the repository that is ours: the root's, docs/ and the base's cards."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("base_model/*.md")])


def broken_links(page: Path) -> list[str]:
    """Return the relative link targets of a page that do not exist: files, and headings of Markdown pages."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [
        f"{name}#{anchor}" if anchor else name
        for name, anchor in _LINK.findall(text)
        if not (target := page.parent / name if name else page).exists() or (anchor and anchor not in anchors(target))
    ]


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings in links, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"\]\([^)]*\)", "]", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(next(one for one in [name, *(f"{name}-{n}" for n in range(1, 1000))] if one not in found))
    return found


def run_cog(flags: list[str], chosen: list[Path]) -> int:
    """Run cog over pages; return its exit code."""
    return int(Cog().main(["cog", "-n", "utf-8", "-I", str(ROOT), *flags, *map(str, chosen)]) or 0)


def main() -> int:
    """Run cog over the pages, then look at their links; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing, fail when a page is stale (the default)")
    mode.add_argument("--write", action="store_true", help="bring the pages up to date")
    parser.add_argument("files", nargs="*", type=Path, help="only these pages")
    options = parser.parse_args()

    chosen = [file.resolve() for file in options.files] or pages()
    flags = ["-r"] if options.write else ["--check", "--diff"]
    toured = {page: page.read_text(encoding="utf-8") for page in chosen if "docs.tour" in page.read_text("utf-8")}
    code = run_cog(flags, chosen)
    if changed := [page for page, text in toured.items() if page.read_text(encoding="utf-8") != text]:
        tour.begin_anew()
        code = run_cog(flags, changed) or code
    for page in set(newcomer.pages()) & set(chosen) if options.write else ():
        newcomer.rewrite(page)
    broken = [f"{page.relative_to(ROOT)}: no file at {target}" for page in chosen for target in broken_links(page)]
    print("\n".join(broken), end="\n" if broken else "")
    if code and not options.write:
        print("Stale text. Bring it up to date with: nox -s docs -- --write")
    return int(bool(code or broken))


if __name__ == "__main__":
    sys.exit(main())
