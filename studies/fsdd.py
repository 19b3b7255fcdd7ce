"""Fine-tune the built-in base on human digits (FSDD) and measure WER on clips, or speakers, it was not trained on.

    python studies/fsdd.py PATH_TO_FSDD                      # every run that the table needs, one after the other
    python studies/fsdd.py PATH_TO_FSDD --only joint qlora   # some of them
    python studies/fsdd.py --table                           # the tables from the runs so far

Each run adds a line to studies/fsdd.jsonl; a run that is in it already is not repeated.
"""
import argparse, functools, json, math, statistics, time
from pathlib import Path
import torch
from paired import SPEAKERS, fingerprint, read
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.adapters.targets import LoRAConfig, add_lora, count_parameters
from qlora_audio.models.quantize import NF4Config
from qlora_audio.tools.base import load_base
from qlora_audio.training.loop import TUNE_AUGMENT, evaluate, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
JOINT, SEEDS, NOBODY = 'george,jackson,nicolas', (0, 1, 2), 'nobody'
# One peak learning rate a method, set beforehand. `built-in` has no human speech at all: as many digits of the synthesizer, to see how much of a fall comes from knowing that only digits are said.
METHODS = {'qlora': dict(bits=4, lr=2e-3), 'lora16': dict(bits=16, lr=2e-3), 'full': dict(bits=16, lr=5e-4), 'built-in': dict(bits=4, lr=2e-3)}


def base_of(method): return load_base(quantize=NF4Config() if METHODS[method]['bits'] == 4 else None)


@functools.lru_cache(1)
def trained(path, method, heard, seed, steps, lr):
    "The base after training by `method` on the speakers `heard`, and the seconds"
    train = load_speech('synthetic?kind=digits' if heard == NOBODY else f'fsdd:{path}?speakers={heard}', 'train', n=1500, seed=seed)
    examples = [train[i] for i in range(len(train))]
    model = base_of(method)
    torch.manual_seed(seed)
    if method == 'full': model.requires_grad_(True); model.encoder.embed_positions.requires_grad_(False)
    else: add_lora(model, LoRAConfig(r=16, lora_alpha=32, lora_dropout=0.05))
    start = time.time()
    finetune(model, examples, SpeechCollator(model.processor, model.num_audio_tokens, TUNE_AUGMENT), steps=steps, lr=lr, seed=seed, desc=f'{method} on {heard} seed {seed}')
    return model, time.time() - start


def one(path, method, heard, tested, seed, steps, lr=None):
    "One run: what was trained on whom, WER before and after on the test clips of `tested`"
    lr, test = lr or METHODS[method]['lr'], load_speech(f'fsdd:{path}?speakers={tested}', 'test', n=300, seed=0)
    before = evaluate(base_of(method), test)['wer']
    model, seconds = trained(path, method, heard, seed, steps, lr)
    return dict(method=method, heard=heard, tested=tested, seed=seed, steps=steps, lr=lr, before=before, after=evaluate(model, test)['wer'],
                trainable=count_parameters(model)['trainable'], seconds=round(seconds), threads=torch.get_num_threads(), base=fingerprint())


def runs(steps, loso_methods, seeds=SEEDS):
    "All (method, heard, tested, seed, steps) of the tables"
    for seed in seeds:
        for method in ('qlora', 'lora16', 'full'): yield method, JOINT, JOINT, seed, steps
    for seed in seeds:
        for method in loso_methods:
            for out in SPEAKERS: yield method, NOBODY if method == 'built-in' else ','.join(s for s in SPEAKERS if s != out), out, seed, steps


def finished():
    "The runs so far; numbers of different bases do not mix"
    base = fingerprint()
    return [r for r in read(RESULTS) if r['base'] == base]


def interval(values):
    "Mean and half of the 95 % interval of a mean (Student's t)"
    t = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}.get(len(values), 1.96)
    return statistics.mean(values), t * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float('nan')


def table(rows):
    "Markdown: the joint runs, then each speaker left out"
    out = ['| trained on | tested on | method | WER before | WER after, mean ± 95 % | seeds | trainable | training, s |', '|---|---|---|---|---|---|---|---|']
    groups = {}
    for r in rows: groups.setdefault((r['heard'], r['tested'], r['method']), []).append(r)
    for (heard, tested, method), rs in sorted(groups.items(), key=lambda kv: (kv[0][0] != kv[0][1], kv[0][1], list(METHODS).index(kv[0][2]))):
        mean, half = interval([100 * r['after'] for r in rs])
        out.append(f"| {'the same' if heard == tested else heard if heard == NOBODY else 'the other three'} | {tested.replace(',', ', ')} | {method} | {100*rs[0]['before']:.1f} % | {mean:.1f}{'' if math.isnan(half) else f' ± {half:.1f}'} % "
                   f"| {len(rs)} | {rs[0]['trainable']:,} | {statistics.mean(r['seconds'] for r in rs):.0f} |")
    return '\n'.join(out)


def falls(rows):
    "Markdown: how far WER falls on a speaker left out, relative, mean of the four; a seed counts once all four speakers have been left out"
    out, by_seed = ['| method | WER falls by, mean of the four left-out speakers ± 95 % | seeds | seeds not complete |', '|---|---|---|---|'], {}
    for r in rows:
        if r['heard'] != r['tested']: by_seed.setdefault(r['method'], {}).setdefault(r['seed'], {})[r['tested']] = 100 * (1 - r['after'] / r['before'])
    for method in sorted(by_seed, key=list(METHODS).index):
        whole = [statistics.mean(f.values()) for f in by_seed[method].values() if len(f) == len(SPEAKERS)]
        mean, half = interval(whole) if whole else (float('nan'),) * 2
        part = '; '.join(f'{seed}: {", ".join(sorted(f))}' for seed, f in sorted(by_seed[method].items()) if len(f) < len(SPEAKERS))
        out.append(f"| {method} | {f'{mean:.1f}' if whole else '-'}{'' if math.isnan(half) else f' ± {half:.1f}'}{' %' if whole else ''} | {len(whole)} | {part or '-'} |")
    return '\n'.join(out)


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('path', nargs='?')
    p.add_argument('--steps', type=int, default=200)
    p.add_argument('--only', nargs='*', default=[], help="words that must all be in a run's name, such as: joint loso qlora seed0")
    p.add_argument('--loso-methods', nargs='*', default=['qlora', 'built-in'])
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    p.add_argument('--threads', type=int)
    p.add_argument('--table', action='store_true')
    a = p.parse_args()
    done = finished()
    if a.table: print(table(done), falls(done), sep='\n\n'); raise SystemExit
    if not a.path: p.error('PATH_TO_FSDD is missing')
    if a.threads: torch.set_num_threads(a.threads)
    for method, heard, tested, seed, steps in runs(a.steps, a.loso_methods, a.seeds):
        name = f"{'joint' if heard == tested else 'loso'} {method} {tested} seed{seed}".split()
        if any(w not in name for w in a.only): continue
        if any((r['method'], r['heard'], r['tested'], r['seed'], r['steps']) == (method, heard, tested, seed, steps) for r in done): continue
        row = one(a.path, method, heard, tested, seed, steps)
        with RESULTS.open('a') as f: f.write(json.dumps(row) + '\n')
        print(row, flush=True)
