"""Can a released Whisper be trained on half of its frames?

    python studies/frames_released.py FOLDER_OF_MODELS FOLDER_OF_CORPORA   # every arm and seed; goes on where it stopped
    python studies/frames_released.py MODELS CORPORA --only all pool --seeds 0 1
    python studies/frames_released.py --table                                        # the table from the runs so far

Question. Windows as long as the recordings leave out five sixths of Whisper's 30 seconds. Without training, both rules
that left out half of the rest made many more errors (`windows.py`). Does a model that is trained on half of the rest
get by with it? Wanted: at most 1 % more errors than with all of them.

Ground. whisper-tiny.en in NF4, float32 arithmetic, LoRA of rank 16 on every linear layer, no dropout; children who
learn English (speechocean762_child); windows as long as the recordings and one second of silence.

Arms, all between the convolutions and the encoder's layers, in training and in the test: `all` frames; every second one
(`uniform`); means of two neighbours (`pool`); half of them, merged where they are alike (`similarity`, the idea of
A-ToMe).

Learning rates. Every arm gets the same effort: each of `RATES` once, `TUNING_STEPS` steps, seed 100, on a part of the
training split, judged on the rest of it by the capped errors (below). The test split takes no part.

Evidence. A row keeps the errors of each utterance. WER is without case and punctuation. A text that repeats itself
can have more errors than the rest of the test together, so a second number counts at most as many errors as an
utterance has words; intervals are of that one. 10,000 paired bootstrap draws of utterances and seeds. Operations and
frames are means over every eighth recording of the test, each heard alone; seconds those of the training, on a
machine that did other things.
"""
import time
from pathlib import Path
from statistics import mean
import torch
import transformers
from paired import apart, folders_options, more_errors, parsed_folders, run_once, said
from released import capped, split_rows, word_counts
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model
from qlora_audio.strategies.frames import forward_flops, select_frames
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
CORPUS, BASE = 'speechocean762_child', 'whisper-tiny.en'
RATES = (1e-3, 2e-3)
TUNING_SEED = 100
SEEDS = tuple(range(5))
STEPS, TUNING_STEPS, BATCH, KEEP = 100, 60, 8, .5
RULES = dict(
    all=None, uniform=dict(by='uniform'), pool=dict(by='uniform', mode='merge'),
    similarity=dict(by='similarity', mode='merge'))


def operations(speech, rows):
    "Billions in a forward pass over a recording, and the frames that enter the layers; means"
    collate = speech.collator()
    selector = speech.model._modules.get('frame_selector')
    ops, frames = [], []
    for row in rows:
        batch = collate([row])
        entries = batch['input_features'].shape[-1]
        with torch.no_grad():
            speech.model(**batch)
        kept = (entries + 1) // 2 if selector is None else int(selector.last.lengths[0])
        ops.append(forward_flops(speech.model, entries, batch['labels'].shape[1], kept)['all'] / 1e9)
        frames.append(kept)
    return round(mean(ops), 3), round(mean(frames), 1)


def one(models, folder, kind, arm, seed, lr, steps, threads):
    "Train and test one arm; in a process of its own"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    train, test = split_rows(folder, CORPUS, kind)
    speech = load_model(f'{models}/{BASE}', NF4Config(), window='own', fallback=False, dtype=torch.float32)
    if RULES[arm]:
        select_frames(speech.model, keep=KEEP, place='encoder', **RULES[arm])
    torch.manual_seed(seed)
    add_lora(speech.model, LoRAConfig(lora_dropout=0.))
    start = time.time()
    losses = finetune(
        speech.model, train, speech.collator(), steps=steps, batch_size=BATCH, lr=lr, seed=seed,
        desc=f'{kind} {arm} seed {seed} lr {lr:g}')
    seconds = time.time() - start
    texts = speech.transcribe([r['audio'] for r in test], batch_size=16)
    wrong, words, rates = word_counts(test, texts, 'english')
    gflops, frames = operations(speech, test[::8])
    return rates | capped(wrong, words) | dict(
        gflops=gflops, frames=frames, loss=round(mean(losses[-20:]), 4), seconds=round(seconds))


def study(file, models, folder, arms, seeds, threads):
    "Learning rates, then every arm seed by seed"
    def run(kind, arm, seed, lr, steps):
        key = dict(corpus=CORPUS, kind=kind, arm=arm, seed=seed, lr=lr, steps=steps)
        return run_once(file, key, lambda: apart(one, models, folder, kind, arm, seed, lr, steps, threads))
    rates = {}
    for arm in arms:
        tuned = [run('tune', arm, TUNING_SEED, lr, TUNING_STEPS) for lr in RATES]
        rates[arm] = min(tuned, key=lambda r: (r['capped'], r['lr']))['lr']
    for seed in seeds:
        for arm in arms:
            run('run', arm, seed, rates[arm], STEPS)


def table(rows):
    "Markdown: each arm"
    runs = [r for r in rows if r['kind'] == 'run']
    reference = [r for r in runs if r['arm'] == 'all']
    head = 'frames | of a recording | GFLOP | WER | loops | capped WER | % more errors (95 %) | loss | lr | seeds'
    out = [f'{CORPUS}, {BASE} in NF4, {STEPS} steps of {BATCH}', '', f'| {head} |', '|---' * 10 + '|']
    for arm in RULES:
        mine = [r for r in runs if r['arm'] == arm]
        if mine:
            more = '-' if arm == 'all' else said(more_errors(mine, reference))
            out.append(
                f"| {arm} | {mine[0]['frames']:.0f} | {mine[0]['gflops']:.2f} | "
                f"{mean(r['wer_normalized'] for r in mine):.1%} | {sum(r['loops'] for r in mine)} | "
                f"{mean(r['capped'] for r in mine):.2%} | {more} | {mean(r['loss'] for r in mine):.3f} | "
                f"{mine[0]['lr']:g} | {len(mine)} |")
    return '\n'.join(out)


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-tiny.en', RESULTS)
    p.add_argument('--only', nargs='*', choices=RULES, default=tuple(RULES), help='arms')
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    a = parsed_folders(p, table)
    study(a.results, a.models, a.folder, a.only, a.seeds, a.threads)
