"""The documentation as a site: `nox -s site` writes it to build/site, from the pages that GitHub shows, too.

GitHub shows a page where it lies; a site has its own folder. So every page is laid out anew in build/pages: links to
pages are kept, links to source files become their words alone, Mermaid's drawings become SVG (a browser would fetch a
program from elsewhere to draw them), and cog's code is left out. Then zensical builds what mkdocs.yml names, and fails
on a link or an anchor that leads nowhere. Nothing is fetched: not now, and not by who reads.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"
ELSEWHERE = {ROOT / "CONTRIBUTING.md": Path("contributing.md"), ROOT / "CHANGELOG.md": Path("changelog.md")}
"""Pages of the site that lie outside of docs/, and where the site has them."""

_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_COG = re.compile(r"<!-- \[\[\[(?:cog.*?\]\]\]|end\]\]\]) -->\n?", re.DOTALL)
_BAR = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")  # code in a table with `\|`, of which only GitHub makes a bar
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def places() -> dict[Path, Path]:
    """Return where the site has each file: pages, pictures, style sheet, script."""
    kinds = (".md", ".png", ".svg", ".css", ".js")
    ours = {path: path.relative_to(DOCS) for path in sorted(DOCS.rglob("*")) if path.suffix in kinds}
    return ours | ELSEWHERE


def laid_out(text: str, source: Path, where: dict[Path, Path]) -> tuple[str, dict[Path, str]]:
    """Return a page as the site has it, and the drawings that belong to it.

    Args:
        text: The page.
        source: The file that it is from; links are relative to it.
        where: The places of all files.

    Returns:
        Its Markdown, and SVG by its place on the site.
    """
    page = where[source]
    drawings: dict[Path, str] = {}

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups(default="")
        place = where.get((source.parent / target).resolve())
        return f"{picture}[{words}]({_relative(place, page)}{anchor})" if place else words

    def fence(block: str) -> str:
        if not block.startswith("```mermaid\n"):
            return block
        place = Path("images", f"drawing_{page.stem}_{len(drawings) + 1}.svg")
        drawings[place] = drawn(block.removeprefix("```mermaid\n").removesuffix("```"))
        seen = _relative(place, page)
        return f"[![A drawing of what is said below]({seen})]({seen})"

    def bar(code: re.Match[str]) -> str:
        return f"<code>{html.escape(code[1])}</code>".replace("\\|", "&#124;")

    def prose(part: str) -> str:
        return _BAR.sub(bar, _LINK.sub(link, part))

    parts = _FENCE.split(_COG.sub("", text))
    return "".join(fence(part) if k % 2 else prose(part) for k, part in enumerate(parts)), drawings


def drawn(mermaid: str) -> str:
    """Return a Mermaid flowchart as SVG."""
    import mmdr

    return str(mmdr.render(mermaid).svg())


def lay_out(target: Path) -> None:
    """Write all pages and pictures of the site into an empty folder."""
    where = places()
    for source, place in where.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copy(source, target / place)
            continue
        text, drawings = laid_out(source.read_text(encoding="utf-8"), source, where)
        (target / place).write_text(text, encoding="utf-8")
        for name, svg in drawings.items():
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_text(svg, encoding="utf-8")


def _relative(place: Path, page: Path) -> str:
    return Path(os.path.relpath(place, page.parent)).as_posix()


def main() -> int:
    """Lay the pages out and build the site; return the exit code."""
    shutil.rmtree(PAGES, ignore_errors=True)
    lay_out(PAGES)
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    code = subprocess.run(build, cwd=ROOT, check=False).returncode
    print(f"The site: {(ROOT / 'build' / 'site' / 'index.html').as_uri()}" if not code else "No site was built.")
    return code


if __name__ == "__main__":
    sys.exit(main())
