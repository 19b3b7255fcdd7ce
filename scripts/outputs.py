"""Execute notebooks and store their outputs, figures with twice the pixels:

    python scripts/outputs.py nbs/1_bits/01_nf4.ipynb …
    python scripts/outputs.py --slow nbs/7_tools/45_widgets.ipynb     # cells that are marked slow run, too

Other cells that tests skip (gpu, notest) keep the outputs they have, and so does a notebook in which a cell fails.
Progress bars and what goes to the standard error are left out. Run `nbdev_export` before and `nbdev_clean` after it.
"""
import re
import sys
import time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SKIP = re.compile(r'^#\|\s*(gpu|notest|eval:\s*false)', re.M)
SLOW = re.compile(r'^#\|\s*slow', re.M)
PROGRESS = re.compile(r'\d+%\|')


def last_lines(text):
    "What a terminal shows of lines that were written over"
    return '\n'.join(line.split('\r')[-1] for line in text.split('\n'))


def kept(outputs):
    "Printed text in one piece, without progress bars and warnings"
    out = []
    for o in outputs:
        if o.output_type != 'stream':
            if not PROGRESS.search(str(o.get('data', {}).get('text/plain', ''))):
                out.append(o)
        elif o.name == 'stderr':
            print('    left out:', o.text[:200].replace('\n', ' | '))
        elif out and out[-1].output_type == 'stream':
            out[-1].text += o.text
        else:
            out.append(o)
    for o in out:
        if o.output_type == 'stream':
            o.text = last_lines(o.text)
    return out


def execute(path, slow):
    "True if every cell ran"
    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook, timeout=1200, resources=dict(metadata=dict(path=str(path.resolve().parent))),
        extra_arguments=['--InlineBackend.figure_format=retina'])
    with client.setup_kernel():
        for i, cell in enumerate(notebook.cells):
            if cell.cell_type != 'code' or SKIP.search(cell.source) or not slow and SLOW.search(cell.source):
                continue
            start = time.time()
            try:
                client.execute_cell(cell, i)
            except CellExecutionError as e:
                print(f'{path}, cell {i}: {str(e)[-600:]}')
                return False
            if time.time() - start > 6:
                first = cell.source.splitlines()[0]
                print(f'    {time.time() - start:.0f} s: {first[:80]}', flush=True)
            cell.outputs = kept(cell.outputs)
    nbformat.write(notebook, path)
    return True


def main():
    wrong = 0
    slow = '--slow' in sys.argv
    for path in [Path(a) for a in sys.argv[1:] if a != '--slow']:
        start = time.time()
        ok = execute(path, slow)
        wrong += not ok
        print(f"{path}: {'executed' if ok else 'left as it was'}, {time.time() - start:.0f} s", flush=True)
    return bool(wrong)


if __name__ == '__main__':
    sys.exit(main())
