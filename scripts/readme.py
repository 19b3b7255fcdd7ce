"README.md from nbs/index.ipynb: `python scripts/readme.py` writes it, `--check` fails if the two differ"
import json, re, sys
from pathlib import Path

here = Path(__file__).parent.parent

def readme(notebook: Path) -> str:
    "Markdown cells as they are, shown code in a fence, its text output in another"
    parts = []
    for cell in json.loads(notebook.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown': parts.append(re.sub(r'\]\(((?:\w+/)*\w+\.ipynb(?:#[\w-]+)?|images/[\w.-]+)\)', r'](nbs/\1)', source))
        elif cell['cell_type'] == 'code' and source.strip() and not re.search(r'^#\|\s*(hide|default_exp|export)', source, re.M):
            parts.append(f'```python\n{source}\n```')
            for out in cell.get('outputs', []):
                text = out.get('text') or out.get('data', {}).get('text/plain', '')
                if text: parts.append('```\n' + ''.join(text).rstrip() + '\n```')
    return '\n\n'.join(p.strip() for p in parts) + '\n'

if __name__ == '__main__':
    text, target = readme(here/'nbs/index.ipynb'), here/'README.md'
    if '--check' not in sys.argv: target.write_text(text, encoding='utf-8')
    elif target.read_text(encoding='utf-8') != text: sys.exit('README.md differs from nbs/index.ipynb: run python scripts/readme.py')
