"LICENSES.md, from what the installed packages say of themselves: `python scripts/licenses.py` writes it, `--check` fails if a direct dependency is missing or has another licence"
import re, sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

here = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
DIRECT = {what: [canonicalize_name(Requirement(r).name) for r in config['DEFAULT'][f'{what}requirements'].split()] for what in ('', 'speech_')}
SPDX = { # what packages write → the SPDX identifier that it means
    r'apache[- ]?(software license|license)?,?( version)?[- ]?(2(\.0)?)?( license)?|apache': 'Apache-2.0', r'(the )?mit( license)?': 'MIT', r'bsd[- ]3[- ]clause( license)?|3-clause bsd license|new bsd': 'BSD-3-Clause',
    r'bsd[- ]2[- ]clause( license)?': 'BSD-2-Clause', r'bsd( license)?': 'BSD', r'mpl[- ]2\.0|mozilla public license 2\.0 \(mpl 2\.0\)': 'MPL-2.0', r'psf-2\.0|python software foundation license': 'PSF-2.0', r'isc( license.*)?': 'ISC'}

def licence(name):
    "The licence of an installed package: its SPDX expression, else its short text, else its classifier"
    meta = distribution(name).metadata
    said = [meta.get('License-Expression'), meta.get('License'), *(c.split(' :: ')[-1] for c in meta.get_all('Classifier') or [] if c.startswith('License ::'))]
    for text in (s.strip() for s in said if s and len(s) < 100 and s.strip() not in ('UNKNOWN', 'OSI Approved')):
        return next((spdx for pattern, spdx in SPDX.items() if re.fullmatch(pattern, text, re.I)), text)
    return 'see its own files'

def family(licence): return re.match(r'\w*', licence)[0] # versions of one package differ in how exactly they say it: BSD, BSD-3-Clause

def brought(names):
    "Everything that is installed because of `names`, on this platform"
    found, todo = set(), list(names)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found: continue
        try: needs = distribution(name).requires or []
        except PackageNotFoundError: continue
        found.add(name)
        todo += [r.name for r in map(Requirement, needs) if r.marker is None or r.marker.evaluate(default_environment() | dict(extra=''))]
    return found

def table(names): return '\n'.join(['| package | licence |', '|---|---|', *(f'| {n} | {licence(n)} |' for n in sorted(names))])

def text():
    direct = [*DIRECT[''], *DIRECT['speech_']]
    return f"""# Licences

`qlora_audio` is under the Apache License 2.0 (see `LICENSE`), and so are the weights of the built-in model, `qlora_audio/base`. It has heard synthetic speech only, which espeak-ng made; no recording of a person, and no file of espeak-ng, is in the package.

Nothing below is part of the package: it is installed beside it, under the licence that it names itself. Made by `python scripts/licenses.py`.

## What it needs

{table(DIRECT[''])}

## What `qlora_audio[speech]` needs as well

{table(DIRECT['speech_'])}

espeakng-loader brings the library and the voice data of [espeak-ng](https://github.com/espeak-ng/espeak-ng), which is under the GNU General Public License, version 3 or later. It is loaded when speech is synthesized: in the demo, in the tests, and when the built-in model is made. Whoever passes on a program together with it has to keep to the GPL.

## What these bring

As installed on Linux from the package index. `nvidia-*`, `cuda-*` and triton come with PyTorch's build for NVIDIA's cards, and not with that for the CPU alone; other systems and versions of Python differ in a few more.

{table(brought(direct) - set(direct))}
"""

if __name__ == '__main__':
    target = here/'LICENSES.md'
    if '--check' not in sys.argv: sys.exit(target.write_text(text(), encoding='utf-8') and None)
    listed = dict(re.findall(r'^\| ([\w.-]+) \| (.+) \|$', target.read_text(encoding='utf-8'), re.M))
    if wrong := [f'{n}: {licence(n)}, in LICENSES.md {listed.get(n, "missing")}' for n in [*DIRECT[''], *DIRECT['speech_']] if n not in listed or family(listed[n]) != family(licence(n))]:
        sys.exit('\n'.join(wrong) + '\nrun python scripts/licenses.py, and look at what has changed')
