"""Where do ranks belong on a released model, and do shared-out ranks beat the same rank everywhere?

    python studies/ranks_released.py FOLDER_OF_MODELS FOLDER_OF_CORPORA      # every arm and seed; goes on where it stopped
    python studies/ranks_released.py MODELS CORPORA --corpora speechocean762_child --only uniform gradient --seeds 0 1
    python studies/ranks_released.py MODELS CORPORA --places                 # where each rule puts the ranks; trains nothing
    python studies/ranks_released.py --table                                       # the tables from the runs so far

Question. A shift of the sound (children who learn English, whisper-tiny.en) and a shift of the language and its
spelling (Belarusian, whisper-base) should want adapters in different places. Does a rule find them, and does it
matter? Wanted: 10 % fewer errors than the same rank everywhere at the smallest budget on one of them, and its WER
with half of the parameters.

Arms, all on the NF4 base at the parameters of rank 1 on every linear layer: `uniform`; `gradient`, `activations`,
`quantization` (`allocate_ranks`); `encoder` and `decoder`, by hand: 70 % of the parameters there; `eva` and
`adalora` by peft on a copy with the same numbers written out in 32 bits (AdaLoRA starts at rank 2 and ends at a
mean of 1). `uniform 2` has twice the parameters. rsLoRA is LoRA with another scaling, and at rank 1 with the same
one: no arm here. Larger budgets are not part of this plan: a run costs minutes, and an allocation has the most to
win where ranks are scarce.

Learning rates. Every arm gets the same effort: each of `RATES` once, `TUNING_STEPS` steps, seed 100, on a part of the
training split, judged on the rest of it by the capped errors (below). The test split takes no part.

Evidence. A row keeps the errors of each utterance. WER is without case and punctuation. A text that repeats itself
can have more errors than the rest of the test together, so a second number counts at most as many errors as an
utterance has words; intervals are of that one. 10,000 paired bootstrap draws of utterances and seeds. Every run is
a process of its own.
"""
import time
from statistics import mean
from pathlib import Path
import torch
import transformers
from paired import apart, folders_options, more_errors, parsed_folders, read, run_once, said
from ranks import parameters, with_adalora, with_eva
from released import CORPORA, capped, split_rows, word_counts
from qlora_audio.adapters.targets import LoRAConfig, add_lora, modalities
from qlora_audio.models.quantize import NF4Config
from qlora_audio.models.released import load_model
from qlora_audio.strategies.ranks import allocate_ranks
from qlora_audio.training.loop import finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
RATES = (2e-3, 5e-3)
TUNING_SEED = 100
SEEDS = tuple(range(5))
STEPS, TUNING_STEPS, BATCH, CALIBRATION = 60, 40, 8, 4
PLANNED = ('speechocean762_child', 'tuxpaint_be')
SHARES = dict( # cross-attention is the fusion
    encoder=dict(encoder=.7, fusion=.15, decoder=.15),
    decoder=dict(encoder=.15, fusion=.15, decoder=.7))
ARMS = ('uniform', 'gradient', 'activations', 'quantization', 'encoder', 'decoder', 'eva', 'adalora', 'uniform 2')
RULES = ARMS[:6]


def opened(models, corpus, quantize=True):
    "The base of a corpus, in windows of its own"
    about = CORPORA[corpus]
    language = None if about['base'].endswith('.en') else about['language']
    return load_model(
        f"{models}/{about['base']}", NF4Config() if quantize else None, language=language, window='own',
        fallback=False, dtype=torch.float32)


def shared_out(models, corpus, arm, speech, batches):
    "Ranks by the rule of an arm"
    budget = 2 if arm == 'uniform 2' else 1
    by = dict(encoder='uniform', decoder='uniform', eva='activations').get(arm, arm.split()[0])
    original = opened(models, corpus, quantize=False).model if by == 'quantization' else None
    return allocate_ranks(
        speech.model, batches, budget, by=by, per='rank' if arm == 'eva' else 'parameter', shares=SHARES.get(arm),
        original=original)


def calibration(speech, rows):
    collate = speech.collator()
    return [collate(rows[i * BATCH:(i + 1) * BATCH]) for i in range(CALIBRATION)]


def place_shares(ranks, model):
    "Share of the parameters in each modality"
    layers, part, sizes = dict(model.named_modules()), modalities(model), {}
    for name, rank in ranks.items():
        size = rank * (layers[name].in_features + layers[name].out_features)
        sizes[part.get(name)] = sizes.get(part.get(name), 0) + size
    return {k: round(v / sum(sizes.values()), 3) for k, v in sizes.items()}


def one(models, folder, corpus, kind, arm, seed, lr, steps, threads):
    "Train and test one arm; in a process of its own"
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    train, test = split_rows(folder, corpus, kind)
    speech = opened(models, corpus)
    torch.manual_seed(seed)
    start, after, shares, trained = time.time(), None, {}, speech.model
    if arm == 'adalora':
        trained, after = with_adalora(speech.model, 1, steps)
    else:
        batches = calibration(speech, train)
        chosen = shared_out(models, corpus, arm, speech, batches)
        shares = place_shares(chosen.ranks, speech.model)
        if arm == 'eva':
            trained = with_eva(speech.model, chosen, batches)
        else:
            add_lora(speech.model, chosen.config(LoRAConfig(lora_dropout=0.)))
    calibrated = time.time()
    losses = finetune(
        trained, train, speech.collator(), steps=steps, batch_size=BATCH, lr=lr, seed=seed, on_step=after,
        desc=f'{corpus} {kind} {arm} seed {seed} lr {lr:g}')
    finished = time.time()
    texts = speech.transcribe([r['audio'] for r in test], batch_size=16)
    wrong, words, rates = word_counts(test, texts, CORPORA[corpus]['normalizer'])
    return rates | capped(wrong, words) | dict(
        parameters=parameters(trained, arm), shares=shares, loss=round(mean(losses[-20:]), 4),
        calibration_seconds=round(calibrated - start, 1), seconds=round(finished - calibrated),
        test_seconds=round(time.time() - finished))


def study(file, models, folder, corpora, arms, seeds, threads):
    "Learning rates, then every arm seed by seed"
    for corpus in corpora:
        def run(kind, arm, seed, lr, steps):
            key = dict(corpus=corpus, kind=kind, arm=arm, seed=seed, lr=lr, steps=steps)
            return run_once(file, key, lambda: apart(one, models, folder, corpus, kind, arm, seed, lr, steps, threads))
        rates = {}
        for arm in arms:
            tuned = [run('tune', arm, TUNING_SEED, lr, TUNING_STEPS) for lr in RATES]
            rates[arm] = min(tuned, key=lambda r: (r['capped'], r['lr']))['lr']
        for seed in seeds:
            for arm in arms:
                run('run', arm, seed, rates[arm], STEPS)


def places(file, models, folder, corpora):
    "A row for each rule: the share of each modality, and the layers with the most parameters"
    for corpus in corpora:
        train, _ = split_rows(folder, corpus, 'run')
        speech = opened(models, corpus)
        batches = calibration(speech, train)
        for rule in RULES:
            chosen = shared_out(models, corpus, rule, speech, batches)
            top = sorted(chosen.ranks, key=lambda n: -chosen.ranks[n])[:5]
            def made():
                shares = place_shares(chosen.ranks, speech.model)
                used = sum(r > 0 for r in chosen.ranks.values())
                return dict(shares=shares, layers=used, top={n: chosen.ranks[n] for n in top})
            run_once(file, dict(corpus=corpus, kind='places', arm=rule), made)


def table(rows):
    "Markdown: each corpus, each arm"
    out = []
    for corpus in dict.fromkeys(r['corpus'] for r in rows):
        runs = [r for r in rows if (r['corpus'], r['kind']) == (corpus, 'run')]
        if runs:
            out += [f"{corpus}, {CORPORA[corpus]['base']}, {STEPS} steps of {BATCH}", '']
            head = 'arm | parameters | WER | loops | capped WER | % more capped errors than uniform (95 %) | lr | seeds'
            out += [f'| {head} |', '|---' * 8 + '|', *_lines(runs), '']
        placed = [r for r in rows if (r['corpus'], r['kind']) == (corpus, 'places')]
        if placed:
            head = 'rule | encoder | cross-attention | decoder | layers | most'
            out += [f'{corpus}: where the ranks go', '', f'| {head} |', '|---' * 6 + '|']
            out += [_place(r) for r in placed] + ['']
    return '\n'.join(out)


def _lines(runs):
    uniform = [r for r in runs if r['arm'] == 'uniform']
    lines = []
    for arm in ARMS:
        mine = [r for r in runs if r['arm'] == arm]
        if mine:
            more = '-' if arm == 'uniform' else said(more_errors(mine, uniform))
            lines.append(
                f"| {arm} | {mean(r['parameters'] for r in mine):,.0f} | "
                f"{mean(r['wer_normalized'] for r in mine):.1%} | {sum(r['loops'] for r in mine)} | "
                f"{mean(r['capped'] for r in mine):.2%} | {more} | {mine[0]['lr']:g} | {len(mine)} |")
    return lines


def _place(row):
    most = ', '.join(f'{n.removeprefix("model.")} {r}' for n, r in list(row['top'].items())[:2])
    shares = ' | '.join(f"{row['shares'].get(part, 0):.0%}" for part in ('encoder', 'fusion', 'decoder'))
    return f"| {row['arm']} | {shares} | {row['layers']} | {most} |"


if __name__ == '__main__':
    p = folders_options(__doc__, 'whisper-base and whisper-tiny.en', RESULTS)
    p.add_argument('--corpora', nargs='*', choices=PLANNED, default=list(PLANNED))
    p.add_argument('--only', nargs='*', choices=ARMS, default=ARMS, help='arms')
    p.add_argument('--seeds', nargs='*', type=int, default=SEEDS)
    p.add_argument('--places', action='store_true', help='where the ranks go; trains nothing')
    a = parsed_folders(p, table)
    if a.places:
        places(a.results, a.models, a.folder, a.corpora)
    else:
        study(a.results, a.models, a.folder, a.corpora, a.only, a.seeds, a.threads)
