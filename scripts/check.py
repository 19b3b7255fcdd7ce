"Everything CI runs, one line a check, and the count at the end: `python scripts/check.py [NOTEBOOK ...]`"
import filecmp, os, shutil, subprocess, sys, tempfile, time, venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

here = Path(__file__).resolve().parent.parent
bin_ = Path(sys.executable).parent
notebooks = sorted(p for p in (here/'nbs').glob('*.ipynb') if not sys.argv[1:] or p.stem in sys.argv[1:])
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

def package_builds():
    "sdist and wheel, and the wheel alone in an empty environment"
    with tempfile.TemporaryDirectory() as d:
        copy_of_tree((tree := Path(d)/'tree'))
        ok, out = run(sys.executable, '-m', 'build', '--outdir', Path(d)/'dist', cwd=tree)
        report('sdist and wheel build', ok, out)
        if not ok: return
        wheel = next((Path(d)/'dist').glob('*.whl'))
        venv.create(Path(d)/'empty', with_pip=True)
        python = Path(d)/'empty'/'bin'/'python'
        ok, out = run(python, '-m', 'pip', 'install', '--quiet', wheel)
        if ok: ok, out = run(python.parent/'qlora_audio', '--help', cwd=d)
        if ok: ok, out = run(python, '-c', 'from qlora_audio.speech import load_base; print(load_base().num_parameters())', cwd=d)
        report('wheel installs into an empty environment, and its command and base work', ok and '5523456' in out, out)

if __name__ == '__main__':
    unchanged('notebooks are clean', [bin_/'nbdev_clean'])
    unchanged('the package is what the notebooks export', [bin_/'nbdev_export'])
    ok, out = run(sys.executable, here/'scripts/readme.py', '--check')
    report('README is what index gives', ok, out)
    with ThreadPoolExecutor(2) as pool: list(pool.map(test_notebook, notebooks))
    docs_build()
    package_builds()
    print(f'{len(passed)} passed, {len(failed)} failed')
    sys.exit(bool(failed))
