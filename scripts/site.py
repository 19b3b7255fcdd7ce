"What a visitor would stumble over, found without Quarto: `python scripts/site.py` lists it and fails if there is any"
import json
import re
import sys
from collections import Counter
from pathlib import Path

here = Path(__file__).resolve().parent.parent
WIDEST = 88 # characters of a line in a shown cell: what the column holds at 1280 pixels, with the margin folded
FIGURES = ('image/png', 'image/svg+xml')
EXPORTS = {'export', 'exports', 'exporti'}


def source(cell):
    return ''.join(cell['source'])


def directives(text):
    "Names after `#|`"
    return set(re.findall(r'^#\|\s*([\w-]+)', text, re.M))


def prose(cells):
    "Markdown of a page without its code"
    texts = [source(c) for c in cells if c['cell_type'] == 'markdown']
    return re.sub(r'^```.*?^```', '', '\n\n'.join(texts), flags=re.M | re.S)


def missing_images(page, cells):
    "Pictures that the build would not find beside the page"
    names = re.findall(r'!\[[^\]]*\]\(([^)\s]+)\)', prose(cells))
    return [f'image {n} does not exist' for n in names if not re.match(r'\w+:', n) and not (page.parent/n).is_file()]


def repeated_headings(page, cells):
    "Anchors would lead to the first of them"
    counts = Counter(re.findall(r'^#+ (.+)$', prose(cells), re.M))
    return [f'heading {h!r} {n} times' for h, n in counts.items() if n > 1]


def open_callouts(page, cells):
    "Every `:::` is closed, and solutions are in one"
    problems = []
    depth = 0
    for line in prose(cells).split('\n'):
        if re.match(r':::+ *\{', line):
            depth += 1
        elif re.match(r':::+ *$', line):
            depth -= 1
    if depth:
        problems.append('a ::: is not closed')
    folded = [c for c in cells if c['cell_type'] == 'code' and re.search(r'code-summary: "Solution"', source(c))]
    return problems + ['a solution outside a callout'] * len(folded)


def linked_parameters(page, cells):
    "nbdev makes links of names in backticks, and a signature shows them raw"
    problems = []
    for cell in cells:
        text = source(cell)
        if cell['cell_type'] == 'code' and directives(text) & EXPORTS:
            for line in re.findall(r'^\s+\*{0,2}\w+ *(?::[^#\n\'"]*|=[^#\n\'"]*|), *#.*`.*$', text, re.M):
                problems.append(f'backticks in a parameter comment: {line.strip()}')
    return problems


def shown_cells(cells):
    "Code that is on the page"
    for cell in cells:
        if cell['cell_type'] == 'code' and not directives(source(cell)) & (EXPORTS | {'hide'}):
            yield cell


def without_strings(line):
    "The code of a line; what is quoted may wrap"
    return re.sub(r"""(['"])(?:\\.|(?!\1).)*\1""", '', line)


def wide_lines(page, cells):
    "Lines of code, not of a program in a string, and without what they quote"
    problems = []
    for cell in shown_cells(cells):
        text = re.sub(r"('''|\"\"\").*?\1", '', source(cell), flags=re.S)
        for line in text.split('\n'):
            if len(line) > WIDEST and len(without_strings(line)) > WIDEST / 2 and not line.startswith('#|'):
                problems.append(f'{len(line)} characters: {line.strip()[:60]}')
    return problems


def mute_figures(page, cells):
    "Pictures without words for who cannot see them"
    problems = []
    for cell in cells:
        data = [o.get('data', {}) for o in cell.get('outputs', [])]
        if any(kind in d for d in data for kind in FIGURES) and 'fig-alt' not in directives(source(cell)):
            problems.append(f'a figure without fig-alt: {source(cell).strip()[:60]!r}')
    return problems


def heavy(page, cells):
    size = page.stat().st_size
    return [f'{size / 1e6:.1f} MB; 1 is enough'] if size > 1e6 else []


CHECKS = (missing_images, repeated_headings, open_callouts, linked_parameters, wide_lines, mute_figures, heavy)


def problems_of(page):
    cells = json.loads(page.read_text(encoding='utf-8'))['cells']
    return [p for check in CHECKS for p in check(page, cells)]


if __name__ == '__main__':
    pages = sorted(p for p in (here/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
    found = [f'{page.relative_to(here)}: {p}' for page in pages for p in problems_of(page)]
    print('\n'.join(found))
    sys.exit(bool(found))
