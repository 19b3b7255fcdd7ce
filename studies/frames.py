"""How many frames can be left out of human digits (FSDD), by which rule, and does it help to know what 4 bits will do to a frame?

    python studies/frames.py PATH_TO_FSDD                # all of it: adapters, every rule without training, then rules trained with the adapter; goes on where it stopped
    python studies/frames.py PATH_TO_FSDD --only uniform pool novelty --keep 0.5 --seeds 0
    python studies/frames.py PATH_TO_FSDD --time         # seconds of a pass and of a step with some rules and shares, in turns; wants a quiet machine
    python studies/frames.py PATH_TO_FSDD --confirm --keep 0.5 --only uniform pool uniform+kept pool+kept   # the free half again, on other recordings
    python studies/frames.py PATH_TO_FSDD --bits 16 --keep 0.5 --halves free --only uniform pool uniform+kept pool+kept   # the same frames, heard in 16 bits
    python studies/frames.py PATH_TO_FSDD --halves trained --trained-keep 0.333 --only uniform pool   # trained with a third of the frames
    python studies/frames.py PATH_TO_FSDD --left-out lucas --keep 0.5 --halves free --only uniform pool uniform+kept pool+kept
    python studies/frames.py PATH_TO_FSDD --elsewhere    # minding on other speech, with the same adapters and without: where does it help?
    python studies/frames.py PATH_TO_FSDD --plan         # measures one step and one test on this machine and says what all of it costs
    python studies/frames.py PATH_TO_FSDD --smoke        # a few steps and rules into a temporary file: rows, resuming, determinism, the table
    python studies/frames.py --table                     # the tables from the runs so far

Question. `select_frames` wants half of the frames at a relative loss of at most 1 %, and rules that mind the 4 bits (kept, merged) ahead of the same rule without.

Rules. uniform, random, energy, structure (spectral entropy), flux, novelty: the others are dropped. pool (average pooling), similarity (adjacent merging, A-ToMe's idea), novelty+merge: the others are merged into them.
similarity+kept, similarity+merged, and uniform and pool with them: minding the 4 bits; with +random, +energy, +flux, +importance: as +kept, with random numbers, a cue of the sound, or the same predictor fitted to how much the 16-bit model's loss changes with a frame, in the place of predicted errors; error: those that 4 bits hear worst, others merged into them. learned: a scorer trained with the adapter. Each in both places, between encoder and decoder and before the encoder's
4-bit layers. ctc: frames to which the encoder's CTC head gives a blank are dropped; the head hears what the encoder makes, so between encoder and decoder only.

Two halves. free: an adapter of rank 16 is trained on all frames, one a seed, and frames are left out afterwards. trained: the adapter is trained with half of the frames left out, from the start.

Data. Connected digits of one to five, all speakers. Training: recordings 5 and up of each digit and speaker. Test: recordings 0 to 4. Errors are predicted after 8 batches of 8 training utterances: the 4-bit base with its adapter against the 16-bit
base with the same adapter (trained: without adapters, before training).
--bits 16 lets the 16-bit base, with the same adapter, hear the frames that were chosen for 4 bits: is it the 4 bits that gain from minding them?
--elsewhere compares uniform and pool with and without minding on the synthesizer's digits, as they are and with silences put in, and on people's, by the base without an adapter and with those of the free half.
--left-out SPEAKER trains on the other speakers and tests on that one.
--confirm trains on recordings 10 and up and tests on 5 to 9 (those that chose the learning rate with all frames, the same for every rule), for rules that were added when the results on the others were known.

Learning rates. The adapter of the free half, and every rule of the trained half, get the same effort: each rate of `LRS` once, half the steps, seed 100, trained on recordings 10 and up, judged on recordings 5 to 9. Test recordings take no part.

Evidence. Every row keeps each utterance's errors, the operations counted (`forward_flops`, a mean over the test, as many words as were said), and the seconds of the test on a machine that did other things; times that can be compared come from --time. Intervals: 10,000 paired bootstrap draws of utterances and of seeds, the same for both arms.

Compute plan. free: 5 adapters of STEPS steps of 8 utterances, 4 tuning runs of half that, and tests of N_TEST utterances: 25 rules, one of them in one place, 4 shares, 2 places, 5 seeds, 980 tests. trained: 9 rules in 2 places, 72 tuning runs and 90 runs. An hour and an hour and a half on
one thread. --plan measures this machine.
Rows state the fingerprint of the base they were run on, and a table is made for each base.
"""
import random, statistics, tempfile, time
from collections import Counter
from pathlib import Path
import torch
from torch import nn
from paired import address, best, development, errors, fingerprint, left_out_table, more_errors, options, parsed, read, run_once, said, without
from qlora_audio.adapters.saving import load_adapter, save_adapter
from qlora_audio.models.audio_text import SpeechCollator
from qlora_audio.sound.corpora import load_speech
from qlora_audio.models.encoders import encoder_frames, lengths_to_mask
from qlora_audio.strategies.frames import CUES, encoder_layers, forward_flops, frame_errors, put_selector, select_all, select_frames
from qlora_audio.adapters.targets import LoRAConfig, add_lora
from qlora_audio.models.quantize import NF4Config
from qlora_audio.tools.base import load_base, load_ctc_head
from qlora_audio.strategies.temporal import UNEVEN
from qlora_audio.training.loop import TUNE_AUGMENT, finetune

RESULTS = Path(__file__).with_suffix('.jsonl')
STEPS, BATCH, N_TRAIN, N_TEST, SEEDS, KEEP, LRS, TUNING_SEED = 150, 8, 1500, 300, (0, 1, 2, 3, 4), (.75, .5, .35, .25), (1e-3, 2e-3, 4e-3, 8e-3), 100
THINNED = dict(uniform=dict(by='uniform'), pool=dict(by='uniform', mode='merge'), similarity=dict(by='similarity', mode='merge')) # rules that minding is tried on
MINDING = dict(uniform='kept random energy flux importance', pool='kept merged random energy flux importance', similarity='kept merged random')
RULES = {r: dict(by=r) for r in ('uniform', 'random', *CUES)} | THINNED | {'error': dict(by='error', mode='merge'), 'novelty+merge': dict(by='novelty', mode='merge')} | {
    f'{rule}+{how}': THINNED[rule] | dict(mind='merge' if how == 'merged' else 'keep') for rule, hows in MINDING.items() for how in hows.split()} | {'ctc': dict(by='ctc'), 'learned': dict(by='learned', mode='merge')}
SPEECH = 'synthesizer', 'synthesizer with silences', 'people'
TIMED = 'uniform', 'pool', 'similarity', 'similarity+kept'
FREE, TRAINED = tuple(r for r in RULES if r != 'learned'), ('all', 'uniform', 'pool', 'novelty', 'similarity', 'similarity+kept', 'similarity+merged', 'uniform+kept', 'pool+kept', 'learned')


def places_of(rule, places): return [p for p in places if not (rule == 'ctc' and p == 'encoder')]


def minds(rule): return rule in RULES and (RULES[rule].get('mind') or RULES[rule]['by'] == 'error')


def sounds(home, kind, split, n, seed, left_out=''): return [*load_speech(address(home, kind, split, left_out), split, n=n, seed=seed)]


def calibration(model, rows): return [SpeechCollator(model.processor, select_all(model).num_audio_tokens)(rows[i * BATCH:(i + 1) * BATCH]) for i in range(8)]


def tested(model, test):
    "WER, errors of each utterance, operations and seconds"
    wrong, seconds = errors(model.eval(), test)
    words, p = [len(r['text'].split()) for r in test], model.processor
    flops = [forward_flops(model, p.features(p.wave(r['audio']))[1], len(p.tokenizer(r['text']).input_ids))['all'] for r in test[:50]]
    return dict(wer=sum(wrong) / sum(words), gflops=round(statistics.mean(flops) / 1e9, 4), test_seconds=round(seconds, 2), words=words, errors=wrong)


class Noise(nn.Module):
    "In the place of a predictor: random numbers, the same for clips of the same length"
    def forward(self, cues): return torch.randn(cues.shape[1], generator=torch.Generator().manual_seed(cues.shape[1])).expand(cues.shape[:2])


class Cue(nn.Module):
    "In the place of a predictor: one cue of the sound"
    def __init__(self, name): super().__init__(); self.number = CUES.index(name)
    def forward(self, cues): return cues[..., self.number]


def importance(model, batches, place):
    "→ (N,) how much the loss changes with each frame, relative to the frame's length: what matters in 16 bits, whatever 4 do to it"
    found, got = [], {}
    def grab(module, args, kwargs):
        got['frames'] = (args[0] if args else kwargs['hidden_states']).detach().requires_grad_()
        return ((got['frames'], *args[1:]), kwargs) if args else (args, kwargs | dict(hidden_states=got['frames']))
    handle = (model.fusion if place == 'fusion' else encoder_layers(model.encoder)[0]).register_forward_pre_hook(grab, with_kwargs=True)
    try:
        for b in batches:
            model(**b).loss.backward()
            lengths = encoder_frames(model.config.audio_config, b['feature_lengths'])
            frames = got['frames'][:, :int(lengths.max())]
            found.append((got['frames'].grad[:, :frames.shape[1]].norm(dim=-1) * frames.norm(dim=-1))[lengths_to_mask(lengths, frames.shape[1])].detach())
            model.zero_grad()
    finally: handle.remove()
    return torch.cat(found)


def select(model, rule, keep, place, original=None, batches=None):
    if rule == 'all': return select_all(model)
    if rule == 'ctc': return select_frames(model, keep, place=place, ctc_head=load_ctc_head(), **RULES[rule])
    select_frames(model, keep, place=place, **RULES[rule], **(dict(original=original, batches=batches) if minds(rule) else {}))
    if (control := rule.partition('+')[2]) == 'importance': # the same predictor of something else
        cues, _ = frame_errors(model, original, batches, place)
        model.frame_selector.predictor.fit(cues, importance(original.eval(), batches, place))
    if control in ('random', *CUES): model.frame_selector.predictor = Noise() if control == 'random' else Cue(control)
    return model


def trained(path, kind, rule, keep, place, seed, lr, steps, n_train, n_test, folder=None, left_out=''):
    "An adapter trained with a rule, or with all frames, and its test; saved if a folder is given"
    with tempfile.TemporaryDirectory() as view:
        home = development(path, view) if kind == 'tune' else path
        train, test = sounds(home, kind, 'train', n_train, seed, left_out), sounds(home, kind, 'test', n_test, 0, left_out)
    torch.manual_seed(seed)
    model = add_lora(load_base(quantize=NF4Config()), LoRAConfig(r=16, lora_alpha=32, lora_dropout=0.))
    select(model, rule, keep, place, load_base() if minds(rule) else None, calibration(model, train))
    start = time.time()
    finetune(model, train, SpeechCollator(model.processor, model.num_audio_tokens, TUNE_AUGMENT), steps=steps, batch_size=BATCH, lr=lr, seed=seed, desc=f'{kind} {rule} {place} seed {seed} lr {lr:g}')
    seconds = time.time() - start
    if folder: save_adapter(model, folder, overwrite=True)
    return dict(seconds=round(seconds), **tested(model, test))


def free(path, rule, keep, place, seed, folder, n_train, n_test, left_out='', bits=4):
    "The test of a rule on an adapter that was trained on all frames; with 16 bits, the same rule, fitted to 4, chooses for the same adapter on the 16-bit base"
    train, test = sounds(path, 'free', 'train', n_train, seed, left_out), sounds(path, 'free', 'test', n_test, 0, left_out)
    model, original = (load_adapter(load_base(quantize=q), folder) for q in (NF4Config(), None))
    select(model, rule, keep, place, original, calibration(model, train))
    if bits == 16: model = original if rule == 'all' else put_selector(original, model.frame_selector)
    return tested(model, test)


def study(file, path, rules, keeps, places, seeds, steps, adapters, halves=('free', 'trained'), lrs=LRS, n_train=N_TRAIN, n_test=N_TEST, data='', left_out='', bits=4, trained_keeps=(.5,)):
    "Adapters on all frames, rules without training, and rules with it; `data` names other recordings than the usual ones"
    base = fingerprint()
    once = lambda row, make: run_once(file, row | (dict(data=data) if data and row['kind'] != 'tune' else {}) | without(left_out), make, lambda r: (row['kind'] == 'tune' or r.get('data', '') == data) and r.get('left_out', '') == left_out)
    key = lambda kind, rule, keep, place, seed, lr, n: dict(kind=kind, rule=rule, keep=keep, place=place, seed=seed, lr=lr, steps=n, base=base, n_train=n_train, n_test=n_test)
    train = lambda kind, rule, keep, place, seed, lr, n, folder=None: once(key(kind, rule, keep, place, seed, lr, n), lambda: trained(path, kind, rule, keep, place, seed, lr, n, n_train, n_test, folder, left_out))
    rate = lambda rule, place, keep=1.: best(train('tune', rule, keep, place, TUNING_SEED, lr, max(steps // 2, 1)) for lr in lrs)
    all_rate = rate('all', '-')
    for seed in seeds:
        folder = Path(adapters)/f'{base}_{all_rate:g}_{steps}_{n_train}_{seed}{data and "_" + data}{left_out and "_without_" + left_out}'
        if not folder.exists() and any(r['kind'] == 'trained' and r['rule'] == 'all' and r['seed'] == seed and r['base'] == base and (r.get('data', ''), r.get('left_out', '')) == (data, left_out) for r in read(file)): # rows without their adapter: made again, the same
            trained(path, 'trained', 'all', 1., '-', seed, all_rate, steps, n_train, n_test, folder, left_out)
        train('trained', 'all', 1., '-', seed, all_rate, steps, folder)
        tests = [(r, k, p) for r in rules if r in FREE and 'free' in halves for k in keeps for p in places_of(r, places)]
        for rule, keep, place in [('all', 1., '-')] * (bits == 16) + tests:
            once(key('free' if bits == 4 else 'free, 16 bits', rule, keep, place, seed, all_rate, steps), lambda: free(path, rule, keep, place, seed, folder, n_train, n_test, left_out, bits))
    for rule, place, keep in ((r, p, k) for r in rules if r in TRAINED[1:] and 'trained' in halves for p in places_of(r, places) for k in trained_keeps):
        lr = rate(rule, place, keep)
        for seed in seeds: train('trained', rule, keep, place, seed, lr, steps)


def utterances(path, speech, split, n, seed):
    "Digits of `SPEECH`: people's, the synthesizer's, or these with silences put in"
    if speech == 'people': return sounds(path, 'elsewhere', split, n, seed)
    rows = [*load_speech('synthetic?kind=digits', split, n=n, seed=seed)]
    if speech == 'synthesizer': return rows
    waves = [UNEVEN['silence'](torch.as_tensor(r['audio']['array'], dtype=torch.float32), r['audio']['sampling_rate'], random.Random(i)) for i, r in enumerate(rows)]
    return [r | dict(audio=dict(array=w.numpy(), sampling_rate=r['audio']['sampling_rate']), duration=len(w) / r['audio']['sampling_rate']) for r, w in zip(rows, waves)]


def quiet(rows, seconds=.032, below=40.):
    "Share of the frames that are so many decibels below the loudest of their recording"
    shares = []
    for r in rows:
        n, wave = round(seconds * r['audio']['sampling_rate']), torch.as_tensor(r['audio']['array']).float()
        level = 10 * wave[:len(wave) // n * n].view(-1, n).square().mean(1).clamp_min(1e-12).log10()
        shares.append((level < level.max() - below).float().mean().item())
    return statistics.mean(shares)


def elsewhere(file, path, seeds, adapters, n_test=200):
    "Minding with half of the frames on other speech, with adapters of the free half and without: a row for each"
    base, rows = fingerprint(), read(file)
    chosen = next(r for r in rows if r['kind'] == 'trained' and r['rule'] == 'all' and r['base'] == base and not r.get('data') and not r.get('left_out'))
    for seed, speech in ((seed, speech) for seed in (None, *seeds) for speech in SPEECH):
        adapter = seed is not None and Path(adapters)/f"{base}_{chosen['lr']:g}_{chosen['steps']}_{chosen['n_train']}_{seed}"
        def make(rule, place):
            test, train = utterances(path, speech, 'test', n_test, 0), utterances(path, speech, 'train', 8 * BATCH, 0)
            model, original = (load_adapter(b, adapter) if adapter else b for b in (load_base(quantize=NF4Config()), load_base()))
            select(model, rule, 1. if rule == 'all' else .5, place, original, calibration(model, train))
            return dict(quiet=round(quiet(test), 3)) | tested(model, test)
        for rule, place in (('all', '-'), *((r, p) for r in ('uniform', 'uniform+kept', 'pool', 'pool+kept') for p in ('encoder', 'fusion'))):
            run_once(file, dict(kind='elsewhere', speech=speech, adapter=bool(adapter), rule=rule, place=place, seed=seed or 0, base=base, n_test=n_test), lambda: make(rule, place))


def elsewhere_table(rows):
    "Markdown: what minding does, by speech and adapter"
    lines = []
    for speech, adapter in ((s, a) for s in SPEECH for a in (False, True)):
        of = lambda rule, place: [r for r in rows if (r['speech'], r['adapter'], r['rule'], r['place']) == (speech, adapter, rule, place)]
        if not (every := of('all', '-')): continue
        cells = [said(more_errors(of(f'{rule}+kept', place), of(rule, place))) for rule, place in (('uniform', 'encoder'), ('pool', 'encoder'), ('uniform', 'fusion'), ('pool', 'fusion'))]
        lines.append(f"| {speech} | {every[0]['quiet']:.0%} | {'on digits of people' if adapter else 'none'} | {statistics.mean(r['wer'] for r in every):.2%} | {statistics.mean(r['wer'] for r in of('pool', 'fusion')):.2%} | {' | '.join(cells)} | {len(every)} |")
    return ['', 'Minding (`+kept`) elsewhere, half of the frames: % more errors (95 %) than the rule alone', '',
            '| digits of | quiet frames | adapter | WER, all frames | WER, pool, fusion | encoder, uniform | encoder, pool | fusion, uniform | fusion, pool | seeds |', '|---' * 10 + '|', *lines] if lines else []


def timing(file, path, rounds=11):
    "Seconds of a forward pass and of a training step on 8 utterances, every candidate once in each round, in another order each time: a row for each"
    base, train, every = fingerprint(), sounds(path, 'time', 'train', 9 * BATCH, 0), [('all', '-', 1.)] + [(rule, place, keep) for rule in TIMED for place in ('encoder', 'fusion') for keep in (.75, .5, .25)]
    def measured():
        ready, seconds, rng, original = {}, {c: dict(forward=[], step=[]) for c in every}, random.Random(0), load_base()
        batches = calibration(original, train)
        for rule, place, keep in every:
            model = select(add_lora(load_base(quantize=NF4Config()), LoRAConfig(r=16, lora_alpha=32, lora_dropout=0.)), rule, keep, place, original, batches)
            ready[rule, place, keep] = model.train(), SpeechCollator(model.processor, model.num_audio_tokens)(train[-BATCH:])
        for i in range(rounds + 1):
            for c in rng.sample(every, len(every)):
                model, batch = ready[c]
                start = time.perf_counter()
                with torch.no_grad(): model(**batch)
                middle = time.perf_counter()
                model(**batch).loss.backward()
                if i: seconds[c]['forward'].append(round(middle - start, 5)); seconds[c]['step'].append(round(time.perf_counter() - middle, 5)) # the first round warms up
                model.zero_grad()
        return seconds
    found = []
    for c in every:
        def make():
            if not found: found.append(measured())
            return found[0][c]
        run_once(file, dict(kind='time', rule=c[0], place=c[1], keep=c[2], base=base, rounds=rounds), make)


def time_table(rows):
    "Markdown: time of a forward pass and of a training step, as shares of the same with all frames in the same round"
    every = next(r for r in rows if r['rule'] == 'all')
    share = lambda r, what: (lambda low, middle, high: f'{middle:.0%} ({low:.0%} to {high:.0%})')(*statistics.quantiles([a / b for a, b in zip(r[what], every[what], strict=True)], n=4))
    return ['', f"Time for 8 utterances of all frames: forward {1000 * statistics.median(every['forward']):.0f} ms, training step {1000 * statistics.median(every['step']):.0f} ms (one thread, medians of {every['rounds']}); shares of it, round by round, with the middle half:", '',
            '| place | kept | rule | forward | training step |', '|---' * 5 + '|',
            *(f"| {r['place']} | {r['keep']:.0%} | {r['rule']} | {share(r, 'forward')} | {share(r, 'step')} |" for r in sorted(rows, key=lambda r: (r['place'], -r['keep'], list(RULES).index(r['rule']) if r['rule'] in RULES else -1)) if r is not every)]


def control_table(of):
    "Markdown: where predicted errors say what is kept rather, how many % more errors than where random numbers or a cue of the sound do"
    lines = []
    for rule, place, keep in ((r, p, k) for r in ('uniform', 'pool', 'similarity') for p in ('encoder', 'fusion') for k in KEEP):
        cells = [said(more_errors(of('free', place, keep, f'{rule}+kept'), other)) if (other := of('free', place, keep, f'{rule}{control}')) else '-' for control in ('', '+random', '+energy', '+flux', '+importance')]
        if set(cells) != {'-'}: lines.append(f"| {place} | {keep:.0%} | {rule} | {' | '.join(cells)} |")
    return ['', 'Keeping by predicted errors (`+kept`), % more errors (95 %) than', '', '| place | kept | rule | the rule alone | random numbers | energy | flux | importance in 16 bits |', '|---' * 8 + '|', *lines] if lines else []


def table(rows):
    "Markdown: for each base, WER and operations of every rule, share and place, and how many % more errors than with all frames, than uniform, and than the same rule without minding"
    out = []
    for base, data in dict.fromkeys((r['base'], r.get('data', '')) for r in rows):
        left_out, heard = [r for r in rows if r['base'] == base and r.get('left_out')], [r for r in rows if not r.get('left_out')]
        mine = [r for r in heard if (r['base'], r.get('data', '')) == (base, data) and r['kind'] not in ('tune', 'time', 'elsewhere')]
        size = Counter((r['steps'], r['n_train'], r['n_test']) for r in mine).most_common(1)
        mine = [r for r in mine if size and (r['steps'], r['n_train'], r['n_test']) == size[0][0]]
        whole = {bits: [r for r in mine if r['rule'] == 'all' and r['kind'].endswith('16 bits') == (bits == 16)] for bits in (4, 16)}
        every = whole[4]
        out += [f'Base {base}' + (data and f', tested on {data}') + (f', {size[0][0][0]} steps; all frames: WER {statistics.mean(r["wer"] for r in every):.2%}, {statistics.mean(r["gflops"] for r in every):.3f} GFLOP, {len(every)} seeds' if every else '') + (f'; on 16 bits {statistics.mean(r["wer"] for r in whole[16]):.2%}' if whole[16] else ''), '',
                '| training | place | kept | rule | WER | operations | % more errors than all frames (95 %) | than uniform (95 %) | than without minding (95 %) | seeds |', '|---' * 10 + '|']
        of = lambda *k: [r for r in mine if (r['kind'], r['place'], r['keep'], r['rule']) == k]
        for kind, place, keep, rule in sorted({(r['kind'], r['place'], r['keep'], r['rule']) for r in mine if r['rule'] != 'all'}, key=lambda k: (k[0], k[1], -k[2], list(RULES).index(k[3]))):
            rs, plain = of(kind, place, keep, rule), of(kind, place, keep, rule.partition('+')[0]) if minds(rule) and '+' in rule else None
            against = [said(more_errors(rs, other)) if other else '-' for other in (whole[16 if kind.endswith('16 bits') else 4], rule != 'uniform' and of(kind, place, keep, 'uniform'), plain)]
            share = f"{statistics.median(r['gflops'] for r in rs) / statistics.median(r['gflops'] for r in every):.0%}" if every else '-'
            out.append(f"| {kind} | {place} | {keep:.0%} | {rule} | {statistics.mean(r['wer'] for r in rs):.2%} | {share} | {' | '.join(against)} | {len(rs)} |")
        out += control_table(of)
        if not data: out += elsewhere_table([r for r in heard if r['base'] == base and r['kind'] == 'elsewhere'])
        if timed := [r for r in heard if not data and r['base'] == base and r['kind'] == 'time']: out += time_table(timed)
        if tuned := [r for r in heard if not data and r['base'] == base and r['kind'] == 'tune']:
            lrs = sorted({r['lr'] for r in tuned})
            out += ['', 'Tuning, WER on recordings 5 to 9', '', f'| place | kept | rule | {" | ".join(f"{lr:g}" for lr in lrs)} |', '|---' * (len(lrs) + 3) + '|']
            for place, keep, rule in dict.fromkeys((r['place'], r['keep'], r['rule']) for r in tuned):
                out.append(f'| {place} | {keep:.0%} | {rule} | ' + ' | '.join(next((f"{r['wer']:.1%}" for r in tuned if (r['place'], r['keep'], r['rule'], r['lr']) == (place, keep, rule, lr)), '-') for lr in lrs) + ' |')
        if not data: out += left_out_table(left_out, lambda r: 'all frames' if r['rule'] == 'all' else f"{r['place']} {r['keep']:.0%} {r['rule']}", {'all frames': lambda name: 'all frames', 'uniform': lambda name: f'{name.rpartition(" ")[0]} uniform', 'the rule without minding': lambda name: name.partition('+')[0]})
        out.append('')
    return '\n'.join(out)


def plan(path, rules, keeps, places, seeds, steps):
    "What all of it costs, from a few steps and a small test on this machine"
    short, longer = (trained(path, 'trained', 'all', 1., '-', 0, 1e-3, n, 200, 40) for n in (2, 12))
    step, heard = (longer['seconds'] - short['seconds']) / 10, longer['test_seconds'] / 40
    run, n_free, n_rules = steps * step + N_TEST * heard, len([r for r in rules if r in FREE]) * len(keeps) * len(places) * len(seeds), len([r for r in rules if r in TRAINED[1:]]) * len(places)
    print(f'a step {step:.2f} s, {torch.get_num_threads()} threads: a run {run / 60:.1f} min; free: {len(LRS)} tuning runs, {len(seeds)} runs and {n_free} tests {(len(LRS) * run / 2 + len(seeds) * run + n_free * N_TEST * heard) / 3600:.1f} h; '
          f'trained: {n_rules * len(LRS)} tuning runs and {n_rules * len(seeds)} runs {n_rules * run * (len(LRS) / 2 + len(seeds)) / 3600:.1f} h')


def smoke(path):
    "Some rules, small: rows, resuming, determinism, the table"
    with tempfile.TemporaryDirectory() as folder:
        file, how = Path(folder)/'rows.jsonl', dict(lrs=(1e-3,), n_train=128, n_test=8)
        go = lambda: study(file, path, ('uniform', 'similarity', 'similarity+merged', 'ctc', 'learned'), (.5,), ('fusion', 'encoder'), (0,), 3, folder, **how)
        go()
        rows = read(file)
        go()
        assert read(file) == rows, 'a finished run was repeated'
        first = next(r for r in rows if r['kind'] == 'trained' and r['rule'] == 'learned')
        again = trained(path, 'trained', 'learned', .5, first['place'], 0, first['lr'], 3, 128, 8)
        assert again['errors'] == first['errors'], 'the same run gave other errors'
        print(table(rows))


if __name__ == '__main__':
    p = options(__doc__, RULES, SEEDS, STEPS, RESULTS, 'rules')
    p.add_argument('--keep', nargs='*', type=float, default=KEEP, help='shares of the frames, without training')
    p.add_argument('--places', nargs='*', choices=('fusion', 'encoder'), default=('fusion', 'encoder'))
    p.add_argument('--halves', nargs='*', choices=('free', 'trained'), default=('free', 'trained'))
    p.add_argument('--adapters', type=Path, default=Path('runs/frames'), help='where adapters trained on all frames are kept')
    p.add_argument('--trained-keep', nargs='*', type=float, default=(.5,), help='shares of the frames, with training')
    p.add_argument('--bits', type=int, choices=(4, 16), default=4, help='16: what is chosen for 4 bits, heard in 16, without training')
    for flag in ('time', 'confirm', 'elsewhere'): p.add_argument(f'--{flag}', action='store_true')
    a = parsed(p, table)
    if a.time: timing(a.results, a.path)
    elif a.elsewhere: elsewhere(a.results, a.path, a.seeds, a.adapters)
    elif a.smoke: smoke(a.path)
    elif a.plan: plan(a.path, a.only, a.keep, a.places, a.seeds, a.steps)
    elif a.confirm:
        with tempfile.TemporaryDirectory() as view: study(a.results, development(a.path, view), a.only, a.keep, a.places, a.seeds, a.steps, a.adapters, ('free',), data='recordings 5 to 9')
    else: study(a.results, a.path, a.only, a.keep, a.places, a.seeds, a.steps, a.adapters, a.halves, left_out=a.left_out, bits=a.bits, trained_keeps=a.trained_keep)
