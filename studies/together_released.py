"""What won alone, all together, against plain QLoRA in the same time

    python studies/together_released.py FOLDER_OF_MODELS FOLDER_OF_CORPORA  # all arms and seed; goes on where it stopped
    python studies/together_released.py --table                                    # the table from the runs so far

Question. On a released model no rule for ranks and no gate made fewer errors than plain LoRA (`ranks_released.py`,
`temporal_released.py`). Two things made a step cheaper without errors that could be told from chance: means of two
neighbouring frames in place of all (`pool` of `frames_released.py`), and products in 8-bit integers (`nf4 int8` of
`released.py`). Together they leave time for more steps. Do these make fewer errors in the same time? And how many more
are made in the same number of steps?

Ground. whisper-tiny.en in NF4 with double quantization, bfloat16 arithmetic, LoRA of rank 16 on every linear layer, no
dropout; children who learn English (speechocean762_child); windows as long as the recordings and one second of silence.

Arms. `plain`: QLoRA, `STEPS` steps. `together`: half of the frames as means, integers, as many steps as take the time
of `plain`. `together, same steps`: the same, `STEPS` steps. `frames, same time`: the means alone, in bfloat16, as many
steps as take the time of `plain`.

Time. Measured once, before all runs: ten steps of each way in turn, in one process, `ROUNDS` rounds after one that
warms up; the median over the rounds of the ratio to `plain`. Run it on an idle machine.

Learning rates. Every arm gets the same effort: each of `RATES` once, six tenths of its steps, seed 100, on a part of
the training split, judged on the rest of it by the capped errors. The test split takes no part.

Evidence. As in `frames_released.py`: errors of each utterance, capped at its words; 10,000 paired bootstrap draws of
utterances and seeds.
"""
import random
import time
from pathlib import Path
from statistics import mean, median
import torch
import transformers
from frames_released import BASE, BATCH, CORPUS, KEEP, RULES
from paired import apart, folders_options, more_errors, parsed_folders, run_once, said
from released import capped, split_rows, word_counts
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model
from qlora_audio.strategies.frames import select_frames
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
RATES = (5e-4, 1e-3, 2e-3)
TUNING_SEED = 100
SEEDS = tuple(range(5))
STEPS, ROUNDS = 100, 9
WAYS = dict(plain=(None, None), frames=('pool', None), together=('pool', torch.int8)) # frames, dtype of the products
ARMS = { # way, and whether it gets the time of `plain` or its steps
    'plain': ('plain', 'steps'), 'together': ('together', 'time'), 'together, same steps': ('together', 'steps'),
    'frames, same time': ('frames', 'time')}


def opened(models, way, seed):
    "The model with its adapters"
    rule, products = WAYS[way]
    config = NF4Config(compute_dtype=products)
    speech = load_model(f'{models}/{BASE}', config, window='own', fallback=False, dtype=torch.bfloat16)
    if rule:
        select_frames(speech.model, keep=KEEP, place='encoder', **RULES[rule])
    torch.manual_seed(seed)
    add_lora(speech.model, LoRAConfig(lora_dropout=0.))
    return speech


def cost(models, folder, threads):
    "Seconds of ten steps by each way, in turn"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    train, _ = split_rows(folder, CORPUS, 'run')
    rows = random.Random(0).sample([*train], 10 * BATCH)
    ways = {way: opened(models, way, 0) for way in WAYS}
    seconds = {way: [] for way in WAYS}
    for i in range(ROUNDS + 1):
        for way, speech in ways.items():
            start = time.perf_counter()
            finetune(speech.model, rows, speech.collator(), steps=10, batch_size=BATCH, lr=1e-4, seed=i)
            seconds[way].append(round(time.perf_counter() - start, 3))
    return dict(seconds={way: s[1:] for way, s in seconds.items()})


def faster(row):
    "How many times as fast as `plain` each way is: median, least and most over the rounds"
    ratios = {way: [a / b for a, b in zip(row['seconds']['plain'], s)] for way, s in row['seconds'].items()}
    return {way: (median(r), min(r), max(r)) for way, r in ratios.items()}


def one(models, folder, kind, arm, seed, lr, steps, threads):
    "Train and test one arm; in a process of its own"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    train, test = split_rows(folder, CORPUS, kind)
    speech = opened(models, ARMS[arm][0], seed)
    losses = finetune(
        speech.model, train, speech.collator(), steps=steps, batch_size=BATCH, lr=lr, seed=seed,
        desc=f'{kind} {arm} seed {seed} lr {lr:g}')
    texts = speech.transcribe([r['audio'] for r in test], batch_size=16)
    wrong, words, rates = word_counts(test, texts, 'english')
    return rates | capped(wrong, words) | dict(loss=round(mean(losses[-20:]), 4))


def study(file, models, folder, arms, seeds, threads):
    "The cost, learning rates, then every arm seed by seed"
    same = dict(corpus=CORPUS, base=BASE)
    ratios = faster(run_once(file, dict(same, kind='cost'), lambda: apart(cost, models, folder, threads)))

    def run(kind, arm, seed, lr, steps):
        key = dict(same, kind=kind, arm=arm, seed=seed, lr=lr, steps=steps)
        return run_once(file, key, lambda: apart(one, models, folder, kind, arm, seed, lr, steps, threads))

    plans = {}
    for arm in arms:
        way, budget = ARMS[arm]
        steps = STEPS if budget == 'steps' else round(STEPS * ratios[way][0])
        tuned = [run('tune', arm, TUNING_SEED, lr, round(.6 * steps)) for lr in RATES]
        plans[arm] = min(tuned, key=lambda r: (r['capped'], r['lr']))['lr'], steps
    for seed in seeds:
        for arm in arms:
            run('run', arm, seed, *plans[arm])


def table(rows):
    "Markdown: the cost of a step, and each arm"
    costs = [r for r in rows if r['kind'] == 'cost']
    runs = [r for r in rows if r['kind'] == 'run']
    reference = [r for r in runs if r['arm'] == 'plain']
    ratios = faster(costs[0]) if costs else {}
    out = [f'{CORPUS}, {BASE} in NF4, bfloat16, batches of {BATCH}', '']
    for way, (middle, low, high) in ratios.items():
        if way != 'plain':
            out.append(f'- {way}: a step {middle:.2f} times as fast ({low:.2f} to {high:.2f})')
    head = 'steps | training, times that of plain | WER | loops | capped WER | % more errors (95 %) | loss | lr | seeds'
    out += ['', f'| arm | {head} |', '|---' * 10 + '|']
    for arm, (way, _) in ARMS.items():
        mine = [r for r in runs if r['arm'] == arm]
        if mine:
            share = mine[0]['steps'] / STEPS / ratios[way][0]
            out.append(
                f"| {arm} | {mine[0]['steps']} | {share:.2f} | {mean(r['wer_normalized'] for r in mine):.1%} | "
                f"{sum(r['loops'] for r in mine)} | {mean(r['capped'] for r in mine):.2%} | "
                f"{'-' if arm == 'plain' else said(more_errors(mine, reference))} | "
                f"{mean(r['loss'] for r in mine):.3f} | {mine[0]['lr']:g} | {len(mine)} |")
    return '\n'.join(out)


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-tiny.en', RESULTS)
    p.add_argument('--only', nargs='*', choices=ARMS, default=tuple(ARMS), help='arms')
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    a = parsed_folders(p, table)
    study(a.results, a.models, a.folder, a.only, a.seeds, a.threads)
