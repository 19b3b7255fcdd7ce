"Everything CI runs, one line a check, and the count at the end: `python scripts/check.py [NOTEBOOK ...]`"
import filecmp, json, os, re, shutil, subprocess, sys, tempfile, time, venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

here = Path(__file__).resolve().parent.parent
bin_ = Path(sys.executable).parent
pages = sorted(p for p in (here/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
notebooks = [p for p in pages if not sys.argv[1:] or p.stem in sys.argv[1:]]
failed, passed = [], []

def run(*argv, cwd=here, **env):
    "Run a command; its output and whether it succeeded"
    out = subprocess.run([str(a) for a in argv], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, 'HF_HUB_OFFLINE': '1', **env})
    return out.returncode == 0, out.stdout

def report(name, ok, output='', start=None):
    (passed if ok else failed).append(name)
    print(f"{'ok  ' if ok else 'FAIL'} {name}" + (f'  {time.time() - start:.0f} s' if start else ''), flush=True)
    if not ok: print(output[-4000:], flush=True)

def copy_of_tree(folder):
    "The files that git knows or would add, so that nothing here is changed by a check"
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=here, text=True, capture_output=True, check=True).stdout.split('\n')
    for name in filter(None, listed):
        if not (here/name).exists(): continue
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(here/name, folder/name, follow_symlinks=False)

def unchanged(name, *commands):
    "A check that commands leave every file of the tree as it is"
    with tempfile.TemporaryDirectory() as d:
        copy_of_tree(d := Path(d))
        subprocess.run(['git', 'init', '-q'], cwd=d, check=True)
        for command in commands:
            ok, out = run(*command, cwd=d)
            if not ok: return report(name, False, out)
        files = [p for folder in ('nbs', 'qlora_audio') for p in (d/folder).rglob('*') if p.suffix in ('.ipynb', '.py')]
        differ = [str(p.relative_to(d)) for p in files if not (here/p.relative_to(d)).exists() or not filecmp.cmp(p, here/p.relative_to(d), shallow=False)]
        report(name, not differ, 'these differ: ' + ' '.join(differ))

def test_notebook(path):
    start = time.time()
    ok, out = run(bin_/'nbdev_test', '--path', path, '--n_workers', '0', '--do_print', OMP_NUM_THREADS='1')
    report(f'notebook {path.stem}', ok, out, start)

def docs_build():
    "Every notebook through nbdev's docs pipeline, without Quarto"
    with tempfile.TemporaryDirectory() as d:
        copy_of_tree(d := Path(d))
        subprocess.run(['git', 'init', '-q'], cwd=d, check=True)
        ok, out = run(sys.executable, '-c', 'from nbdev.serve import proc_nbs; proc_nbs(n_workers=0, force=True)', cwd=d)
        made = {p.stem for p in (d/'_proc').rglob('*.ipynb')}
        missing = [p.stem for p in notebooks if p.stem not in made]
        report('docs: every notebook processed', ok and not missing, out + ' missing: ' + ' '.join(missing))
        broken = broken_links(d/'_proc')
        report('docs: links between the pages that were made lead somewhere', not broken, 'these do not: ' + ', '.join(broken))
        lost = [p.stem for p in notebooks if not re.fullmatch(r'# [^\n]+\n\n> [^\n]+\n*', cells(p, 'markdown')[0])]
        report('docs: title and subtitle alone in the first cell, whose other text nbdev drops', not lost, 'move the introduction into a cell of its own: ' + ' '.join(lost))

def cells(path, kind): return [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]

def anchors(text):
    "What Quarto calls the headings of a page"
    said = re.findall(r'^#+ (.+)$', re.sub(r'^```.*?^```', '', text, flags=re.M | re.S), re.M)
    return {re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', h.lower()))) for h in said}

def built_page(path):
    "Of a processed notebook: the file that Quarto makes of it, and its text, what nbdev wrote about functions included"
    made = json.loads(path.read_text(encoding='utf-8'))['cells']
    text = [''.join(c['source']) for c in made if c['cell_type'] != 'code']
    text += [''.join(o.get('data', {}).get('text/markdown', '')) for c in made for o in c.get('outputs', [])]
    text = '\n\n'.join(text)
    name = re.search(r'^output-file: (\S+)', text, re.M)
    return path.parent/(name[1] if name else f'{path.stem}.html'), re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)

def broken_links(proc):
    "Links of processed notebooks to pages or headings that are not there, those among them that nbdev made of names"
    site = re.search(r'^  site-url: (\S+)', (here/'_quarto.yml').read_text(encoding='utf-8'), re.M)[1]
    made = {p.resolve(): built_page(p) for p in proc.rglob('*.ipynb')}
    headings = {p: anchors(text) for p, (_, text) in made.items()}
    of_page = {page.resolve(): headings[p] for p, (page, _) in made.items()}
    broken = []
    for path, (page, text) in made.items():
        for target in re.findall(r'\]\(([^()\s]+)\)', text):
            file, _, anchor = target.removeprefix(f'{site}/').partition('#')
            if re.match(r'\w+:', file): continue # another site
            to = (proc/file if target.startswith(site) else path.parent/file if file else path).resolve()
            there = of_page.get(to, headings.get(to))
            if there is None and not to.exists() or anchor and there is not None and anchor not in there:
                broken.append(f'{page.name}: {target}')
    return broken

def links():
    "Relative links of all pages lead somewhere, and the sidebar has every notebook once"
    texts = {p: '\n\n'.join(cells(p, 'markdown')) for p in pages} | {p: p.read_text(encoding='utf-8') for p in sorted(here.glob('*.md'))}
    broken = []
    for page, text in texts.items():
        for target in re.findall(r'(?<!`)\[[^\]\n]*\]\(([^()\s]+)\)', re.sub(r'```.*?```|`[^`\n]*`(?!\])', '', text, flags=re.S)):
            file, _, anchor = target.partition('#')
            to = page if not file else page.parent/file
            if re.match(r'\w+:', target): continue
            if not to.exists() or anchor and to.resolve() in {p.resolve() for p in texts} and anchor not in anchors(texts[to.resolve()]): broken.append(f'{page.relative_to(here)}: {target}')
    listed = re.findall(r'[\w/-]+\.ipynb', (here/'_quarto.yml').read_text(encoding='utf-8'))
    broken += [f'_quarto.yml: {n}' for n in sorted({*listed} ^ {p.relative_to(here/'nbs').as_posix() for p in pages} | {n for n in listed if listed.count(n) > 1})]
    report('links lead somewhere, and the sidebar has every notebook', not broken, 'these do not: ' + ', '.join(broken))

PARTS = '''
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, WhisperConfig, WhisperFeatureExtractor, WhisperModel
words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(['<pad>', '<s>', '</s>', '<unk>', 'one'])}, unk_token='<unk>'))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token='<pad>', bos_token='<s>', eos_token='</s>', unk_token='<unk>')
ids = dict(vocab_size=5, pad_token_id=0, bos_token_id=1, eos_token_id=2)
def encoder(folder):
    WhisperFeatureExtractor().save_pretrained(folder)
    WhisperModel(WhisperConfig(d_model=64, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, decoder_start_token_id=1, **ids)).save_pretrained(folder)
def decoder(folder):
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, **ids)).save_pretrained(folder)
'''

def python_example(python, folder):
    "The Python of the README exactly as it stands, run in `folder`, where small models lie under the Hub ids that it names"
    code = '\n'.join(re.findall(r'^```python\n(.*?)^```', (here/'README.md').read_text(encoding='utf-8'), re.M | re.S))
    named = list(dict.fromkeys(re.findall(r"'(\w[\w.-]*/\w[\w.-]*)'", code))) # encoder first, as in from_parts
    (folder/'parts.py').write_text(PARTS + ''.join(f'{make}({name!r})\n' for make, name in zip(('encoder', 'decoder'), named)))
    (folder/'example.py').write_text(code)
    for script in ('parts.py', 'example.py'):
        ok, out = run(python, script, cwd=folder)
        if not ok: break
    report("the README's Python example runs where only the wheel is installed", ok and bool(code), out)

def package_builds():
    "sdist and wheel, and the wheel alone in an empty environment"
    with tempfile.TemporaryDirectory() as d:
        copy_of_tree((tree := Path(d)/'tree'))
        ok, out = run(sys.executable, '-m', 'build', '--outdir', Path(d)/'dist', cwd=tree)
        report('sdist and wheel build', ok, out)
        if not ok: return
        wheel = next((Path(d)/'dist').glob('*.whl'))
        venv.create(Path(d)/'empty', with_pip=True)
        python, size = Path(d)/'empty'/'bin'/'python', 'from qlora_audio.tools.base import load_base; print(load_base().num_parameters())'
        ok, out = run(python, '-m', 'pip', 'install', '--quiet', wheel)
        if ok: ok, out = run(python.parent/'qlora_audio', '--help', cwd=d)
        if ok: ok, out = run(python, '-c', size, cwd=d)
        report('wheel installs into an empty environment, and its command and base work', ok and out.split()[-1] == run(sys.executable, '-c', size)[1].split()[-1], out)
        if ok: (Path(d)/'example').mkdir(); python_example(python, Path(d)/'example')

def boards():
    "The widgets in JupyterLab under a headless browser, where there are a browser and playwright"
    start, (ok, out) = time.time(), run(sys.executable, here/'scripts/widgets_browser.py')
    if ok and out.strip().startswith('skipped'): return print(f'skip widgets in a browser: {out.strip()[9:]}', flush=True)
    report('widgets in a browser', ok, out, start)

if __name__ == '__main__':
    unchanged('notebooks are clean', [bin_/'nbdev_clean'])
    unchanged('the package is what the notebooks export', [bin_/'nbdev_export'])
    ok, out = run(sys.executable, here/'scripts/readme.py', '--check')
    report('README is what index gives', ok, out)
    for script, name in (('version.py', 'one version everywhere'), ('licenses.py', 'LICENSES.md names every dependency and its licence')):
        ok, out = run(sys.executable, here/'scripts'/script, *(['--check'] if script == 'licenses.py' else []))
        report(name, ok, out)
    links()
    ok, out = run(sys.executable, here/'scripts/site.py')
    report('pages as a visitor sees them: pictures, headings, callouts, widths, words for figures', ok, out)
    ok, out = run(bin_/'lint-imports', PYTHONPATH=str(here))
    report('every room imports only from rooms below it (.importlinter)', ok, out)
    with ThreadPoolExecutor(2) as pool: list(pool.map(test_notebook, notebooks))
    boards()
    docs_build()
    package_builds()
    print(f'{len(passed)} passed, {len(failed)} failed')
    sys.exit(bool(failed))
