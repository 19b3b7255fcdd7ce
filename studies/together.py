"""The three strategies at once against plain QLoRA, at the same number of parameters, on human digits (FSDD)

    python studies/together.py PATH_TO_FSDD              # all of it: learning rates first, then every arm and seed; goes on where it stopped
    python studies/together.py PATH_TO_FSDD --only plain together --seeds 0 1
    python studies/together.py PATH_TO_FSDD --plan       # measures one step and one test on this machine and says what all of it costs
    python studies/together.py PATH_TO_FSDD --smoke      # a few steps of every arm into a temporary file: rows, resuming, determinism, the table
    python studies/together.py --table                   # the tables from the runs so far

Question. What do adapters that follow the sound, ranks by sensitivity and half of the frames do to word errors and operations together, and which of them does it?

Arms. plain: uniform LoRA of rank 16. together: `allocate_ranks(by='gradient')`, `TemporalConfig('rank')`, and half of the frames, others merged into them, minding the 4 bits (`similarity`, `mind='merge'`), between encoder and
decoder. ranks, gates, frames: one of the three alone. All on the NF4 base. No arm has more parameters than plain: what gates cost is taken from the ranks, by lowering their budget (ranks, together), or from single layers (gates).
The settings of these were fixed before any of these runs, from the notebooks' defaults. averaged, means: together and frames again, with the means of two neighbours (`uniform`, merged) for a rule; added when the others' results were known.

Data. Connected digits of one to five, all speakers. Training: recordings 5 and up of each digit and speaker; half of the rows are changed by one of the three uneven ways, for every arm. Tests: recordings 0 to 4, the same
utterances four times: clean, uneven rate, bursts of noise, silences (as in temporal.py). Ranks are measured on 4, the errors of 4 bits on 8 batches of 8 training utterances.
--left-out SPEAKER trains on the other speakers and tests on that one, at the learning rates that were chosen with all of them.

Learning rates. Every arm gets the same effort: each rate of `LRS` once, half the steps, seed 100, trained on recordings 10 and up, judged by the mean WER of the four conditions on half as many utterances of recordings 5 to 9.
Test recordings take no part.

Evidence. Every row keeps each utterance's errors, and the operations counted (`forward_flops`, a mean over the clean test). Intervals: 10,000 paired bootstrap draws of utterances and of seeds, the same for both arms.

Compute plan. A run is STEPS steps of 8 utterances and four tests of N_TEST utterances: about a minute on one thread. 7 arms: 28 tuning runs and 35 runs, an hour. --plan measures this machine.
Rows state the fingerprint of the base they were run on, and a table is made for each base.
"""
import dataclasses, re, statistics, tempfile, time
from collections import Counter
from pathlib import Path
import torch
from paired import address, development, errors, fingerprint, left_out_table, more_errors, options, parsed, read, run_once, said, without
from temporal import BATCH, LRS, R, STEPS, TESTS, TUNING_SEED, UnevenAugment, summed, tests, together_in
from qlora_audio.adapters.saving import adapted_layers
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.strategies.frames import forward_flops, select_frames
from qlora_audio.adapters.targets import LoRAConfig, add_lora, count_parameters
from qlora_audio.models.quantize import NF4Config
from qlora_audio.strategies.ranks import allocate_ranks
from qlora_audio.tools.base import load_base
from qlora_audio.strategies.temporal import UNEVEN, TemporalConfig, add_temporal_lora
from qlora_audio.training.loop import TUNE_AUGMENT, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
N_TRAIN, N_TEST, SEEDS = 1500, 200, (0, 1, 2, 3, 4)
ARMS = dict(plain=(), together=('ranks', 'gates', 'frames'), ranks=('ranks',), gates=('gates',), frames=('frames',), averaged=('ranks', 'gates', 'means'), means=('means',))


def adapted(parts, config):
    "The 4-bit base with adapters, that follow the sound or not"
    base = load_base(quantize=NF4Config())
    return add_temporal_lora(base, config, TemporalConfig('rank')) if 'gates' in parts else add_lora(base, config)


def size(parts, config): return count_parameters(adapted(parts, config))['trainable']


def within(parts, batches):
    "A config with no more parameters than plain's, and as many of them as it can have"
    plain = LoRAConfig(r=R, lora_alpha=2 * R, lora_dropout=0.)
    wanted = size((), plain)
    if 'ranks' in parts:
        budget = wanted
        while True: # a gate costs as much for a rank wherever it is, nearly: once or twice will do
            config = allocate_ranks(load_base(quantize=NF4Config()), batches, budget, unit='parameters', config=plain).config(plain)
            if (over := size(parts, config) - wanted) <= 0: return config
            budget -= over
    over, pattern = size(parts, plain) - wanted, {}
    for name, layer in sorted(adapted_layers(adapted(parts, plain)).items(), key=lambda kv: kv[1].in_features + kv[1].out_features):
        if over <= 0: break
        pattern[re.escape(name)] = R - 1
        over -= layer.in_features + layer.out_features
    return dataclasses.replace(plain, rank_pattern=pattern, alpha_pattern={n: 2 * r for n, r in pattern.items()})


def one(path, kind, arm, seed, lr, steps, n_train=N_TRAIN, n_test=N_TEST, left_out=''):
    "One run as a row"
    start, parts = time.time(), ARMS[arm]
    with tempfile.TemporaryDirectory() as folder:
        home = development(path, folder) if kind == 'tune' else path
        train, test = [*load_speech(address(home, kind, 'train', left_out), 'train', n=n_train, seed=seed)], tests(address(home, kind, 'test', left_out), n_test)
    base = load_base()
    collate = SpeechCollator(base.processor, base.num_audio_tokens)
    batches = [collate(train[i * BATCH:(i + 1) * BATCH]) for i in range(8)]
    config = within(parts, batches[:4])
    torch.manual_seed(seed)
    model = adapted(parts, config)
    if 'means' in parts: select_frames(model, .5, 'uniform', 'merge')
    if 'frames' in parts: select_frames(model, .5, 'similarity', 'merge', mind='merge', original=base, batches=batches)
    trainable, prepared = count_parameters(model)['trainable'], time.time()
    augment = UnevenAugment(**dataclasses.asdict(TUNE_AUGMENT))
    finetune(model, train, SpeechCollator(model.processor, model.num_audio_tokens, augment), steps=steps, batch_size=BATCH, lr=lr, seed=seed, desc=f'{kind} {arm} seed {seed} lr {lr:g}')
    trained, words = time.time(), [len(r['text'].split()) for r in test['clean']]
    wrong = {name: errors(model.eval(), rows)[0] for name, rows in test.items()}
    p = model.processor
    flops = statistics.mean(forward_flops(model, p.features(p.wave(r['audio']))[1], len(p.tokenizer(r['text']).input_ids))['all'] for r in test['clean'])
    return dict(wer={n: sum(e) / sum(words) for n, e in wrong.items()}, trainable=trainable, gflops=round(flops / 1e9, 4), prepared_seconds=round(prepared - start), seconds=round(trained - prepared),
                test_seconds=round(time.time() - trained), words=words, errors=wrong)


def study(file, path, arms, seeds, steps, lrs=LRS, n_train=N_TRAIN, n_test=N_TEST, left_out=''):
    "Learning rates, then every arm seed by seed"
    base, chosen = fingerprint(), {}
    def run(kind, arm, seed, lr, n):
        tested, out = (n_test // 2, '') if kind == 'tune' else (n_test, left_out)
        return run_once(file, dict(kind=kind, arm=arm, seed=seed, lr=lr, steps=n, base=base, n_train=n_train, n_test=tested) | without(out),
                        lambda: one(path, kind, arm, seed, lr, n, n_train, tested, out), lambda row: row.get('left_out', '') == out)
    for arm in arms:
        tried = [run('tune', arm, TUNING_SEED, lr, max(steps // 2, 1)) for lr in lrs]
        chosen[arm] = min(tried, key=lambda r: (statistics.mean(r['wer'].values()), r['lr']))['lr']
    for seed in seeds:
        for arm in arms: run('run', arm, seed, chosen[arm], steps)


def table(rows):
    "Markdown: for each base, WER of every arm on every test, how many % more errors than plain, and operations"
    out = []
    for base in dict.fromkeys(r['base'] for r in rows):
        mine = [r for r in rows if r['base'] == base and not r.get('left_out')]
        runs = [r for r in mine if r['kind'] == 'run']
        sized = Counter((r['steps'], r['n_train'], r['n_test']) for r in runs).most_common(1)
        runs = [r for r in runs if sized and (r['steps'], r['n_train'], r['n_test']) == sized[0][0]]
        of = lambda arm: [r for r in runs if r['arm'] == arm]
        out += [f'Base {base}' + (f', {sized[0][0][0]} steps' if sized else ''), '', f'| arm | trainable | operations | {" | ".join(TESTS)} | % more errors than plain, uneven (95 %) | % more errors than plain, clean (95 %) | lr | seeds |', '|---' * (len(TESTS) + 7) + '|']
        for arm in ARMS:
            if not (rs := of(arm)): continue
            against = [said(more_errors(summed(rs, names), summed(of('plain'), names))) if arm != 'plain' and of('plain') else '-' for names in (tuple(UNEVEN), ('clean',))]
            cells = ' | '.join(f"{statistics.mean(r['wer'][t] for r in rs):.1%}" for t in TESTS)
            share = f"{statistics.mean(r['gflops'] for r in rs) / statistics.mean(r['gflops'] for r in of('plain')):.0%}" if of('plain') else '-'
            out.append(f"| {arm} | {rs[0]['trainable']:,} | {share} | {cells} | {' | '.join(against)} | {rs[0]['lr']:g} | {len(rs)} |")
        if tuned := [r for r in mine if r['kind'] == 'tune']:
            lrs = sorted({r['lr'] for r in tuned})
            out += ['', 'Tuning, mean WER of the four conditions on recordings 5 to 9', '', f'| arm | {" | ".join(f"{lr:g}" for lr in lrs)} |', '|---' * (len(lrs) + 1) + '|']
            for arm in dict.fromkeys(r['arm'] for r in tuned):
                out.append(f'| {arm} | ' + ' | '.join(next((f"{statistics.mean(r['wer'].values()):.1%}" for r in tuned if r['arm'] == arm and r['lr'] == lr), '-') for lr in lrs) + ' |')
        for what, names in (('the three uneven tests', tuple(UNEVEN)), ('the clean test', ('clean',))):
            out += left_out_table(together_in([r for r in rows if r['base'] == base and r.get('left_out')], names), lambda r: r['arm'], {'plain': lambda name: 'plain'}, f': {what}')
        out.append('')
    return '\n'.join(out)


def plan(path, arms, seeds, steps):
    "What all of it costs, from a few steps and a small test on this machine"
    short, longer = (one(path, 'run', 'together', 0, 1e-3, n, 200, 40) for n in (2, 12))
    run = steps * (longer['seconds'] - short['seconds']) / 10 + N_TEST * longer['test_seconds'] / 40 + longer['prepared_seconds']
    print(f'{torch.get_num_threads()} threads: a run {run / 60:.1f} min; {len(arms) * len(LRS)} tuning runs {len(arms) * len(LRS) * run / 7200:.1f} h, {len(arms) * len(seeds)} runs {len(arms) * len(seeds) * run / 3600:.1f} h')


def smoke(path, arms):
    "Every arm, small: rows, resuming, determinism, the table"
    sizes = dict(n_train=128, n_test=8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'rows.jsonl'
        study(file, path, arms, (0,), 3, lrs=(1e-3,), **sizes)
        rows = read(file)
        study(file, path, arms, (0,), 3, lrs=(1e-3,), **sizes)
        assert read(file) == rows, 'a finished run was repeated'
        first = next(r for r in rows if r['kind'] == 'run' and r['arm'] == arms[-1])
        again = one(path, 'run', first['arm'], 0, first['lr'], 3, **sizes)
        assert again['errors'] == first['errors'], 'the same run gave other errors'
        print(table(rows))


if __name__ == '__main__':
    a = parsed(options(__doc__, ARMS, SEEDS, STEPS, RESULTS), table)
    if a.smoke: smoke(a.path, a.only)
    elif a.plan: plan(a.path, a.only, a.seeds, a.steps)
    else: study(a.results, a.path, a.only, a.seeds, a.steps, left_out=a.left_out)
