"What the studies of the three strategies share: development data, errors of each utterance, rows in a file, and paired intervals"
import argparse, datetime, json, multiprocessing, os, platform, time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
import torch
from qlora_audio.adapters.saving import base_fingerprint, quantized_fingerprint
from qlora_audio.models.quantize import NF4Config
from qlora_audio.sound.metrics import word_errors
from qlora_audio.tools.base import load_base
from qlora_audio.training.loop import evaluate


SPEAKERS = 'george jackson lucas nicolas'.split() # of FSDD, whose recordings the package finds


def address(home, kind, split, left_out='', heard=()):
    "Where the rows of a run are: all of `heard` (everybody), or the others in training and the one left out in the test; who is left out takes no part in tuning"
    if left_out: heard = [left_out] if split == 'test' and kind != 'tune' else [s for s in SPEAKERS if s != left_out]
    return f'fsdd:{home}' + (f'?speakers={",".join(heard)}' if heard else '')


def development(path, folder):
    "A view of FSDD in which recordings 10 and up are for training and 5 to 9 are the test; the real test recordings are not in it"
    source = Path(path)/'recordings' if (Path(path)/'recordings').is_dir() else Path(path)
    for file in source.glob('[0-9]_*_*.wav'):
        digit, speaker, index = file.stem.rsplit('_', 2)
        if (i := int(index)) >= 5: os.symlink(file.resolve(), Path(folder)/f'{digit}_{speaker}_{i - 5 if i < 10 else i}.wav')
    return folder


def errors(model, rows):
    "Word errors of each utterance, in the order of `rows`, and the seconds that it took"
    order, start = sorted(range(len(rows)), key=lambda i: rows[i]['duration']), time.time() # as `evaluate` goes
    got = evaluate(model, rows)
    seconds = time.time() - start
    wrong = dict(zip(order, (word_errors(r, h) for r, h in zip(got['references'], got['hypotheses'], strict=True)), strict=True))
    return [wrong[i] for i in range(len(rows))], seconds


def fingerprint():
    "The built-in base in 4 bits, by its shape and by its numbers"
    base = load_base(quantize=NF4Config())
    return f'{base_fingerprint(base, version=1)}-{quantized_fingerprint(base)}' # of the version that the rows have


def machine(): return dict(date=datetime.date.today().isoformat(), machine=f'{platform.machine()}, {os.cpu_count()} cores', threads=torch.get_num_threads(), torch=torch.__version__)


def read(file): return [json.loads(l) for l in Path(file).read_text().splitlines()] if Path(file).exists() else []


def run_once(file, key, make, fits=lambda row: True):
    "The row whose fields are those of `key`, and that fits: from the file if it is there, else `key | make()`, appended"
    for row in read(file):
        if all(row.get(k) == v for k, v in key.items()) and fits(row): return row
    row = key | make() | machine()
    with open(file, 'a') as f: f.write(json.dumps(row) + '\n')
    print({k: v for k, v in row.items() if k not in ('words', 'errors', 'ranks')}, flush=True)
    return row


def without(left_out): return {'left_out': left_out} if left_out else {} # rows of the study on heard speakers do not name it


def options(doc, arms, seeds, steps, results, called='arms'):
    "A parser with the options that every study has"
    p = argparse.ArgumentParser(description=doc.split('\n')[0])
    p.add_argument('path', nargs='?')
    p.add_argument('--only', nargs='*', choices=list(arms), default=list(arms), help=called)
    p.add_argument('--seeds', nargs='*', type=int, default=seeds)
    p.add_argument('--steps', type=int, default=steps)
    p.add_argument('--threads', type=int, default=1, help='results may differ in the last digits with another number')
    p.add_argument('--results', type=Path, default=results)
    p.add_argument('--left-out', choices=SPEAKERS, default='', help='train on the other speakers and test on this one')
    for flag in ('table', 'plan', 'smoke'): p.add_argument(f'--{flag}', action='store_true')
    return p


def folders_options(doc, models, results):
    "A parser with the options of studies on released models"
    p = argparse.ArgumentParser(description=doc.split('\n')[0])
    p.add_argument('models', nargs='?', help=f'folder with {models}')
    p.add_argument('folder', nargs='?', help='folder with the corpora')
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--results', type=Path, default=results)
    p.add_argument('--table', action='store_true')
    return p


def parsed_folders(p, table):
    "The options as given, threads set; with --table that and the end"
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.table: print(table(read(a.results))); raise SystemExit
    if not a.folder: p.error('MODELS and CORPORA are missing')
    return a


def apart(run, *arguments):
    "What `run` gives, in a fresh process, whose peak memory is its own"
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool: return pool.submit(run, *arguments).result()


def parsed(p, table):
    "The options as given, threads set; with --table that and the end"
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.table: print(table(read(a.results))); raise SystemExit
    if not a.path: p.error('PATH_TO_FSDD is missing')
    return a


def best(tuned):
    "The learning rate of the row with the lowest WER, the smaller of two"
    return min(tuned, key=lambda r: (r['wer'], r['lr']))['lr']


@lru_cache
def drawn(n, seeds, draws):
    "Which seeds each draw has, and how often it has each of n utterances"
    g = torch.Generator().manual_seed(0)
    return torch.randint(seeds, (draws, seeds), generator=g), torch.stack([torch.bincount(torch.randint(n, (n,), generator=g), minlength=n) for _ in range(draws)]).double()


def compared(rows, than, by, draws):
    "A number from errors of `rows`, errors of `than` and words, with the 95 % interval of a paired bootstrap over utterances and seeds, and the number of seeds; None without a common seed"
    a, b = ({r['seed']: torch.tensor(r['errors']).double() for r in rs} for rs in (rows, than))                                  # seed → (utterances,)
    if not (seeds := sorted(a.keys() & b.keys())): return None
    a, b = torch.stack([a[s] for s in seeds]), torch.stack([b[s] for s in seeds])                                                # (seeds, utterances)
    words = torch.tensor(rows[0].get('words', [1] * a.shape[1])).double().expand_as(a)
    which, counts = drawn(a.shape[1], len(seeds), draws)
    of = lambda e: (counts @ e.T).gather(1, which).sum(1)                                                                        # (draws,)
    low, high = by(of(a), of(b), of(words)).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return by(a.sum(), b.sum(), words.sum()).item(), low, high, len(seeds)


def more_errors(rows, than, draws=10_000):
    "How many % more errors `rows` make than `than`: minus is better"
    return compared(rows, than, lambda a, b, words: 100 * (a / b.clamp_min(1) - 1), draws)


def points(rows, than, draws=10_000):
    "How many points of WER `rows` lie above `than`; needs the words of each utterance in `rows`"
    return compared(rows, than, lambda a, b, words: 100 * (a - b) / words, draws)


def said(got): return f'{got[0]:+.1f} ({got[1]:+.1f} to {got[2]:+.1f})' if got else '-'


def left_out_table(rows, label, against, what=''):
    "Markdown: WER of each arm on each speaker who was left out, and on all of them how many % more errors than another arm; a seed counts once all have been left out"
    cells = {}                                                                                                                   # (label, seed) → speaker → row
    for r in rows:
        if r.get('left_out') and r['kind'] != 'tune': cells.setdefault((label(r), r['seed']), {})[r['left_out']] = r
    whole = {k: dict(seed=k[1], words=sum((of[s]['words'] for s in SPEAKERS), []), errors=sum((of[s]['errors'] for s in SPEAKERS), []), of=of) for k, of in cells.items() if len(of) == len(SPEAKERS)}
    by = {name: [r for (l, _), r in whole.items() if l == name] for name in dict.fromkeys(l for l, _ in whole)}
    if not by: return []
    wer = lambda rs: sum(sum(r['errors']) for r in rs) / sum(sum(r['words']) for r in rs)
    rates = lambda rs: ', '.join(f'{lr:g}' for lr in sorted({r['of'][s]['lr'] for r in rs for s in SPEAKERS}))
    each = lambda rs: ' | '.join(f"{wer([r['of'][s] for r in rs]):.1%}" for s in SPEAKERS)
    lines = [f'| {name} | {each(rs)} | {wer(rs):.2%} | '
             + ' | '.join(said(more_errors(rs, by[other])) if (other := than(name)) in by and other != name else '-' for than in against.values()) + f' | {rates(rs)} | {len(rs)} |' for name, rs in by.items()]
    return ['', f'Each speaker left out in turn{what}', '', f"| arm | {' | '.join(SPEAKERS)} | all four | {' | '.join(f'% more errors than {than} (95 %)' for than in against)} | lr | seeds |", '|---' * (len(SPEAKERS) + len(against) + 4) + '|', *lines, '']


KEYS = {'arm', 'method', 'trained on', 'tested on', 'training', 'place', 'kept', 'rule', 'digits of', 'quiet frames',
        'adapter', 'budget, rank'} # columns that say which run a row is about


def _parts(rows, most):
    "A table as several, the columns that say what a row is about joined in the first of each"
    keys = max(1, next((i for i, name in enumerate(rows[0]) if name not in KEYS), 1))
    others = len(rows[0]) - keys
    each = -(-others // -(-others // (most - 1))) # as even as can be
    for first in range(keys, len(rows[0]), each):
        yield [[', '.join(row[:keys]), *row[first:first + each]] for row in rows]


def narrow(text, most=6):
    "Markdown whose tables have at most so many columns, so that a phone can show them"
    out = []
    for block in text.split('\n\n'):
        lines = block.splitlines()
        if not lines or not all(line.startswith('|') for line in lines) or lines[0].count('|') - 1 <= most:
            out.append(block)
            continue
        rows = [[cell.strip() for cell in line.strip().strip('|').split('|')] for line in [lines[0], *lines[2:]]]
        for part in _parts(rows, most):
            table = ['| ' + ' | '.join(row) + ' |' for row in part]
            out.append('\n'.join([table[0], '|' + '---|' * len(part[0]), *table[1:]]))
    return '\n\n'.join(out)
