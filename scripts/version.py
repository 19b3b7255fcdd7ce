"One version everywhere: `python scripts/version.py` fails if settings.ini, the package, CITATION.cff and CHANGELOG.md differ; with a tag (v0.1.0), if that does"
import re, sys
from configparser import ConfigParser
from pathlib import Path

here = Path(__file__).resolve().parent.parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
version = config['DEFAULT']['version']
read = lambda file, pattern: (re.search(pattern, (here/file).read_text(encoding='utf-8'), re.M) or ['', 'none'])[1]
said = {'qlora_audio/__init__.py': read('qlora_audio/__init__.py', r"^__version__ = ['\"](.+)['\"]"), 'CITATION.cff': read('CITATION.cff', r'^version: (\S+)'),
        'CHANGELOG.md': read('CHANGELOG.md', r'^## (\S+)')} | ({f'the tag {sys.argv[1]}': sys.argv[1].removeprefix('v')} if sys.argv[1:] else {})
if wrong := [f'{where}: {v}, but settings.ini has {version}' for where, v in said.items() if v != version]: sys.exit('\n'.join(wrong))
