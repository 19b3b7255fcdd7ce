"""The boards of `qlora_audio.tools.widgets` in JupyterLab, driven in a headless browser: `python scripts/widgets_browser.py`

Starts JupyterLab on 127.0.0.1 in a temporary folder, opens a notebook with a cell for each board, and does what a person would: drags a slider, picks, uploads and records a clip,
starts a run, stops it, goes on. After each act its effect is read back from the page. It needs playwright (`pip install playwright`) and a Chromium or Chrome, which it looks for or is
told with --browser. Without them it says `skipped: …` and exits with status 0; with --browser that is an error. --screenshots FOLDER keeps a picture of every board.
"""
import argparse, json, os, re, secrets, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request
from contextlib import contextmanager
from pathlib import Path

here = Path(__file__).resolve().parent.parent
BROWSERS = 'chromium chromium-browser google-chrome google-chrome-stable'.split()

SETUP = '''
import logging, time, warnings; logging.disable(logging.WARNING); warnings.simplefilter('ignore')
import soundfile, torch
from qlora_audio.tools.widgets import FourWays, Listen, TrainLive, nf4_explorer
from qlora_audio.adapters.saving import save_adapter
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.quantize import NF4Config, quantize_model
from qlora_audio.tools.base import load_base
from qlora_audio.tools.speech import load_synthetic
from qlora_audio.training.trainer import QLoRAArguments, QLoRATrainer
from qlora_audio.bench.crash import SignClassifier, sign_batch
from qlora_audio.training.checkpoints import trainable_state

torch.manual_seed(0)
model = add_lora(load_base(quantize=NF4Config()), LoRAConfig(r=8))
for name, p in trainable_state(model).items():
    if 'lora_B' in name: p.data.normal_(std=.2)
save_adapter(model, 'adapter')
speech = load_synthetic('test', n=4)
clips = [speech[i] for i in range(4)]
soundfile.write('clip.wav', clips[1]['audio']['array'], clips[1]['audio']['sampling_rate'])
open('notes.wav', 'w').write('buy milk'); open('empty.wav', 'w').close()

def slow_batch(rows): time.sleep(.1); return sign_batch(rows)
def sound(n): return torch.randn(64, generator=torch.Generator().manual_seed(n))
def word(positive): return 'plus' if positive else 'minus'
def run(folder):
    torch.manual_seed(0)
    small = add_lora(quantize_model(SignClassifier()), LoRAConfig(r=4, lora_dropout=.1))
    def transcribe(numbers): return [word(small.outer(torch.relu(small.inner(sound(n)))).argmax()) for n in numbers]
    rows = [dict(number=n, audio=n, text=word(sound(n).sum() > 0)) for n in range(200)]
    args = QLoRAArguments(folder, max_steps=40, logging_steps=1, save_steps=100, eval_on_start=True, eval_strategy='steps', eval_steps=5, batch_size=8, learning_rate=1e-2, weight_decay=0., use_cpu=True)
    return QLoRATrainer(small, args, rows[:100], rows[100:], data_collator=slow_batch, transcribe=transcribe)
print('ready')
'''
SAME = '''
from qlora_audio.training.trainer import Progress
straight = run('straight'); straight.remove_callback(Progress); straight.train()
pairs = zip(trainable_state(straight.model).values(), trainable_state(live.trainer.model).values())
print('equal to a run that was never stopped:', all(torch.equal(a, b) for a, b in pairs))
'''
CELLS = dict(setup=SETUP, nf4='nf4_explorer()', memory='from qlora_audio.tools.widgets import memory_planner; memory_planner()', listen="Listen(FourWays('adapter'), clips)", train="live = TrainLive(run('stopped')); live", same=SAME, road="from qlora_audio.tools.widgets import Road; Road('synthetic?n=8', 'walked')")


def find_browser(): return next(filter(None, map(shutil.which, BROWSERS)), None)

def make_notebook(file):
    cell = lambda name, source: dict(cell_type='code', id=name, metadata={}, execution_count=None, outputs=[], source=source.strip())
    file.write_text(json.dumps(dict(cells=[cell(*c) for c in CELLS.items()], metadata=dict(kernelspec=dict(name='python3', display_name='python3')), nbformat=4, nbformat_minor=5)))

@contextmanager
def jupyterlab(python, folder):
    "A server on a free port of 127.0.0.1, with settings, data and kernels of its own; gives its address"
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    token, home = secrets.token_hex(16), folder/'.home'
    for plugin, settings in {'notebook-extension/tracker': dict(windowingMode='none'), 'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False)}.items():
        file = home/'settings/@jupyterlab'/f'{plugin}.jupyterlab-settings'
        file.parent.mkdir(parents=True, exist_ok=True); file.write_text(json.dumps(settings))
    env = os.environ | dict(HOME=str(home), JUPYTER_CONFIG_DIR=str(home/'config'), JUPYTER_DATA_DIR=str(home/'data'), JUPYTER_RUNTIME_DIR=str(home/'runtime'), JUPYTERLAB_SETTINGS_DIR=str(home/'settings'),
                            JUPYTERLAB_WORKSPACES_DIR=str(home/'workspaces'), IPYTHONDIR=str(home/'ipython'), MPLCONFIGDIR=str(home/'matplotlib'), HF_HUB_OFFLINE='1', PYTHONPATH=str(here), OMP_NUM_THREADS='1')
    with open(folder/'.lab.log', 'w') as log:
        lab = subprocess.Popen([python, '-m', 'jupyterlab', '--no-browser', '--ip=127.0.0.1', f'--port={port}', '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}', '--allow-root', f'--ServerApp.root_dir={folder}',
                                '--LabApp.expose_app_in_browser=True', '--ContentsManager.allow_hidden=False'], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            if lab.poll() is not None: sys.exit(f'JupyterLab did not start:\n{(folder/".lab.log").read_text()[-3000:]}')
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api?token={token}', timeout=2); break
            except OSError: time.sleep(.5)
        yield f'http://127.0.0.1:{port}', token
    finally:
        try: urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}/api/shutdown?token={token}', method='POST'), timeout=10)
        except OSError: lab.terminate()
        try: lab.wait(20)
        except subprocess.TimeoutExpired: os.killpg(lab.pid, signal.SIGKILL)


class Hand:
    "What a person does with one board, and what they see"
    def __init__(self, page, name):
        self.page, self.name, self.cell = page, name, page.locator('.jp-Notebook .jp-Cell').nth(list(CELLS).index(name))
        self.passed = 0
    def said(self): return self.cell.locator('.board-said').inner_text()
    def picture(self): return self.cell.locator('img.widget-image, .widget-image img').first.evaluate('async i => Array.from(new Uint8Array(await (await fetch(i.src)).arrayBuffer())).join()')
    def sees(self, what, pattern, seconds=60, but=None):
        "Wait until the lines match `pattern` and are not `but`; print both what was done and what is seen"
        end = time.time() + seconds
        while not (re.search(pattern, text := self.said()) and text != but):
            if time.time() > end: raise AssertionError(f'{self.name}: {what}: the page does not say {pattern!r} but {text!r}')
            self.page.wait_for_timeout(100)
        self.passed += 1
        print(f'ok   {self.name}: {what}\n       ' + '\n       '.join(text.split('\n')), flush=True)
        return text
    def hovers(self, what, pattern, x, y):
        "The pointer rests on the picture, at shares of its width and height: a value is there, and the values lie on the picture"
        image = self.cell.locator('img.widget-image, .widget-image img').first
        image.scroll_into_view_if_needed()
        box, over = image.bounding_box(), self.cell.locator('svg.board-values').bounding_box()
        if any(abs(box[k] - over[k]) > 1 for k in box): raise AssertionError(f'{self.name}: {what}: the picture is at {box}, the values at {over}')
        place = dict(x=box['x'] + x * box['width'], y=box['y'] + y * box['height'])
        self.page.mouse.move(**place)
        text = self.page.evaluate('({x, y}) => document.elementFromPoint(x, y)?.querySelector("title")?.textContent ?? ""', place)
        if not re.search(pattern, text): raise AssertionError(f'{self.name}: {what}: the pointer finds {text!r}, not {pattern!r}')
        self.passed += 1
        print(f'ok   {self.name}: {what}\n       {text!r}', flush=True)
    def redrawn(self, before):
        if self.picture() == before: raise AssertionError(f'{self.name}: the picture is still the same')
        self.passed += 1
    def select(self, label, value): self.box(label).locator('select').select_option(value)
    def box(self, label): return self.cell.locator('.widget-inline-hbox', has=self.page.locator('label', has_text=re.compile(f'^{label}$')))
    def press(self, name): self.cell.locator('button', has_text=re.compile(rf'^\s*{name}\s*$')).click()
    def drag(self, label, share):
        "The slider's handle, by mouse, to a share of its way"
        way, handle = self.box(label).locator('.noUi-base').bounding_box(), self.box(label).locator('.noUi-handle').bounding_box()
        y = handle['y'] + handle['height'] / 2
        self.page.mouse.move(handle['x'] + handle['width'] / 2, y); self.page.mouse.down()
        self.page.mouse.move(way['x'] + way['width'] * share, y, steps=8); self.page.mouse.up()


def levels(hand):
    first, picture = hand.sees('opened', r'^error .* of 4 bits carried'), hand.picture()
    hand.drag('bits', 0); hand.sees('bits dragged to the left end', r'of 2 bits carried'); hand.redrawn(picture)
    hand.drag('bits', 2 / 6); again = hand.sees('and back to 4', r'of 4 bits carried')
    if again != first: raise AssertionError(f'nf4: 4 bits said {first!r}, and {again!r} the second time')
    hand.drag('blocksize', 1); text = hand.sees('blocksize dragged to the right end', r'4\.00\d bits stored', but=first)
    hand.select('weights', 'outliers'); worse = hand.sees('outliers chosen', r'^error', but=text)
    hand.drag('amount', 0); hand.sees('amount dragged to 0: normal again', '^' + re.escape(text) + '$', but=worse)
    hand.drag('amount', 1); hand.drag('blocksize', .14); hand.sees('outliers, blocks of 64', r'4\.127 bits stored')

def sounds(hand, folder, deny, screenshot):
    four = r'(?s)16 bits, adapter off.*16 bits, adapter on.*4 bits, adapter off.*4 bits, adapter on'
    first, picture = hand.sees('opened', four), hand.picture()
    hand.box('clip').locator('select').select_option(index=1); picked = hand.sees('second clip picked', four, but=first); hand.redrawn(picture)
    hand.drag('frames', 4 / 9); half = hand.sees('half of the frames left out', four, but=picked); hand.select('chosen by', 'uniform'); hand.page.wait_for_timeout(3000)
    screenshot()
    hand.drag('frames', 1); hand.sees('and all of them again', '^' + re.escape(picked) + '$', but=half)
    def upload(file):
        with hand.page.expect_file_chooser() as chooser: hand.cell.locator('button.widget-upload').click()
        chooser.value.set_files(folder/file)
    upload('clip.wav'); text = hand.sees('the same clip uploaded', four, but=picked)
    words = lambda lines: [re.sub(r'\s+\d+%\s+|\t|   +', '  ', line) for line in lines.split('\n') if 'adapter' in line]
    if words(text) != words(picked): raise AssertionError(f'listen: the uploaded clip gives {words(text)}, the picked one {words(picked)}')
    upload('notes.wav'); hand.sees('a file that is not audio', r'^notes\.wav: not audio')
    upload('empty.wav'); hand.sees('an empty file', r'^empty\.wav: the file is empty')
    hand.press('record'); hand.page.wait_for_timeout(3000); hand.press('stop'); hand.sees('three seconds recorded, the microphone playing that clip', four)
    heard = hand.cell.locator('audio').evaluate('async a => { await new Promise(r => a.readyState ? r() : a.onloadedmetadata = r); return a.duration }')
    if not 2 < heard < 6: raise AssertionError(f'listen: {heard:.1f} s recorded')
    deny(); hand.press('record'); hand.sees('microphone refused', r'^microphone: it was refused')

def training(hand, screenshot):
    hand.press('start'); hand.sees('started', r'step ([5-9]|1\d) of 40.*running')
    hand.press('stop'); text = hand.sees('stopped', r'stopped, checkpoint-\d+ is written')
    if int(re.search(r'checkpoint-(\d+)', text)[1]) >= 40: raise AssertionError('train: the run was over before it was stopped')
    hand.press('go on'); hand.sees('gone on', r'step 40 of 40.*WER [\d.]+%; finished')
    screenshot()
    hand.hovers('the pointer on the loss curve', r'(?s)^step \d+\n.*training [\d.]+', .3, .3); hand.hovers('and on the error rate', r'^step \d+\nWER.* [\d.]+$', .8, .6)

def memory(hand):
    def number(text, name): value, unit = re.search(rf'^  {name} +([\d.]+) ([GMk])B', text, re.M).groups(); return float(value) * dict(G=1e9, M=1e6, k=1e3)[unit]
    first, picture = hand.sees('opened', r'(?s)^the built-in base.*fits.*room for a batch'), hand.picture()
    hand.hovers('the pointer on the bar of the largest batch', r'^[a-z ]+: [\d.]+ GB$', .45, .6)
    hand.select('model', 'openai/whisper-small'); small = hand.sees('another model picked', r'(?s)^whisper-small.*fits'); hand.redrawn(picture)
    hand.drag('rank', 1); text = hand.sees('rank dragged to 128', 'r=128', but=small)
    if number(text, 'adapters') <= number(small, 'adapters'): raise AssertionError('memory: a larger rank takes no more')
    hand.drag('batch', 1); hand.sees('batch dragged to 64', r'64 × 10 s')
    hand.select('card', '8GB'); hand.sees('a smaller card', r'card +8\.59 GB')
    hand.drag('seconds', 1); hand.sees('recordings of a minute', r'^seconds: 60 are more than this encoder hears')
    hand.drag('seconds', 9 / 59); hand.sees('and of ten seconds again', r'64 × 10 s')

def road(hand, screenshot):
    hand.press('1 look'); hand.sees('looked at the data', r'8 recordings, 0 cannot be used', 120)
    hand.box('steps').locator('input').fill('4'); hand.page.keyboard.press('Tab')
    hand.cell.locator('.board-verdict', has_text='done').wait_for(timeout=60_000)
    hand.press('3 train'); hand.sees('trained', r'(?s)step 4/4.*adapter in walked', 300)
    hand.cell.locator('.board-verdict', has_text='done').wait_for(timeout=60_000)
    screenshot()
    hand.press('3 train'); hand.sees('a finished run is not begun again', r'walked: exists already', 120)

def drive(browser, python, shots, only=None):
    from playwright.sync_api import sync_playwright
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        folder = Path(folder)
        make_notebook(folder/'boards.ipynb')
        with jupyterlab(python, folder) as (url, token):
            chrome = p.chromium.launch(executable_path=browser, args=['--use-fake-device-for-media-stream', f'--use-file-for-fake-audio-capture={folder/"clip.wav"}'] + ['--no-sandbox'] * (os.getuid() == 0))
            context = chrome.new_context(viewport=dict(width=1280, height=1000), device_scale_factor=1)
            context.grant_permissions(['microphone'], origin=url)
            page = context.new_page()
            page.goto(f'{url}/lab/tree/boards.ipynb?token={token}')
            page.locator('.jp-Notebook .jp-Cell').nth(len(CELLS) - 1).wait_for(timeout=90_000)
            page.wait_for_function("window.jupyterapp && document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]')", timeout=90_000)
            hands = {name: Hand(page, name) for name in CELLS}

            def run_cell(name):
                prompt, before = hands[name].cell.locator('.jp-InputPrompt').first, None
                while before in (None, prompt.inner_text()): # the editor takes keys later than the kernel is idle
                    before = prompt.inner_text()
                    hands[name].cell.locator('.cm-content').click(); page.keyboard.press('Control+Enter')
                    page.wait_for_timeout(1_000)
            def screenshot(name):
                if not shots: return
                page.mouse.move(0, 0)
                hands[name].cell.locator('.jp-OutputArea-output .widget-vbox').first.screenshot(path=(file := str(shots/f'widgets_{name}.png')))
                subprocess.run([python, '-c', 'import sys; from PIL import Image; i = Image.open(sys.argv[1]); i.convert("RGB").quantize(64).save(sys.argv[1], optimize=True)', file], check=True)
            def printed(name, text): hands[name].cell.locator('.jp-OutputArea-output', has_text=text).first.wait_for(timeout=120_000)

            run_cell('setup'); printed('setup', 'ready')
            acts = dict(nf4=levels, memory=memory, listen=lambda h: sounds(h, folder, context.clear_permissions, lambda: screenshot('listen')), train=lambda h: training(h, lambda: screenshot('train')), road=lambda h: road(h, lambda: screenshot('road')))
            for name, act in acts.items():
                if only and name not in only: continue
                run_cell(name)
                hands[name].cell.locator('.widget-vbox').first.wait_for(timeout=90_000)
                act(hands[name])
                if name in ('nf4', 'memory'): screenshot(name)
                if name == 'train':
                    run_cell('same'); printed('same', 'equal to a run that was never stopped: True'); hands[name].passed += 1
                    print('ok   train: weights equal to those of a run that was never stopped', flush=True)
            chrome.close()
            print(f'{sum(h.passed for h in hands.values())} passed, 0 failed')

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--browser', help='path of a Chromium or Chrome')
    parser.add_argument('--python', default=sys.executable, help='the Python that JupyterLab and qlora_audio are installed for')
    parser.add_argument('--screenshots', type=Path, metavar='FOLDER', help='where pictures of the boards go')
    parser.add_argument('--only', nargs='+', choices=('nf4', 'memory', 'listen', 'train', 'road'), help='these boards alone')
    args = parser.parse_args()
    browser = args.browser or find_browser()
    try: import playwright; missing = '' if browser else f'no browser: none of {", ".join(BROWSERS)} is on the PATH'
    except ImportError: missing = 'playwright is not installed: pip install playwright'
    if missing: print(f'skipped: {missing}'); return int(bool(args.browser))
    if args.screenshots: args.screenshots.mkdir(parents=True, exist_ok=True)
    drive(browser, args.python, args.screenshots, args.only)

if __name__ == '__main__': sys.exit(main())
